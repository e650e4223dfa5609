// C: SQLite, whole, on a database file, with a journal that is rolled back.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

static sqlite3 *db;

static int row(void *unused, int columns, char **values, char **names) {
    (void)unused;
    (void)names;
    for (int i = 0; i < columns; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    printf("\n");
    return 0;
}

static void run(const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(db, sql, row, NULL, &message) != SQLITE_OK) {
        printf("refused: %s\n", message);
        sqlite3_free(message);
    }
}

static void show_size(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return;
    }
    fseek(file, 0, SEEK_END);
    printf("%s: %ld bytes\n", path, ftell(file));
    fclose(file);
}

int main(void) {
    printf("SQLite %s\n", sqlite3_libversion());
    if (sqlite3_open("/out/store.db", &db) != SQLITE_OK) {
        printf("can't open: %s\n", sqlite3_errmsg(db));
        return 1;
    }
    run("PRAGMA cache_size = 20");
    run("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, data TEXT)");
    run("CREATE INDEX by_price ON item (price)");
    run("BEGIN");
    sqlite3_stmt *insert;
    sqlite3_prepare_v2(db, "INSERT INTO item (name, price, data) VALUES (?, ?, ?)", -1, &insert, 0);
    for (int i = 0; i < 3000; i++) {
        char name[32], data[80];
        snprintf(name, sizeof name, "item %d", i * 7919 % 3001);
        snprintf(data, sizeof data, "{\"n\":%d,\"even\":%s}", i, i % 2 ? "false" : "true");
        sqlite3_bind_text(insert, 1, name, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(insert, 2, (i * 37 % 1000) / 8.0);
        sqlite3_bind_text(insert, 3, data, -1, SQLITE_TRANSIENT);
        if (sqlite3_step(insert) != SQLITE_DONE) printf("%s\n", sqlite3_errmsg(db));
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    run("COMMIT");
    run("SELECT count(*), round(avg(price), 6), max(name) FROM item");
    // More than the cache holds, so that pages reach the file before they are taken back.
    run("BEGIN");
    run("UPDATE item SET price = price * 2, name = name || '!'");
    run("DELETE FROM item WHERE id % 3 = 0");
    run("SELECT count(*), sum(price) FROM item");
    run("ROLLBACK");
    run("SELECT count(*), sum(price) FROM item");
    run("INSERT INTO item (name) VALUES ('item 1')");
    run("WITH RECURSIVE f(a, b, n) AS (SELECT 0, 1, 0 UNION ALL SELECT b, a + b, n + 1 FROM f"
        " WHERE n < 80) SELECT max(a) FROM f");
    run("SELECT json_extract(data, '$.even') AS even, count(*), total(price) FROM item GROUP BY 1");
    run("SELECT a.name, b.name FROM item a JOIN item b ON a.price = b.price AND a.id < b.id"
        " WHERE a.name LIKE '%99%' ORDER BY a.name, b.name LIMIT 3");
    run("SELECT name, rank() OVER (ORDER BY price DESC, id) FROM item LIMIT 2");
    run("DELETE FROM item WHERE id > 500");
    run("VACUUM");
    run("PRAGMA integrity_check");
    sqlite3_close(db);
    show_size("/out/store.db");
    show_size("/out/store.db-journal");
    return 0;
}
