// files: reads every file below /in and standard input, writes below /out.
//
//   files          counts lines, words and bytes, and a checksum, of each file
//   files NAME...  looks at these paths only (relative or absolute) instead of all below /in
//
// Writes the counts of `/in/a/b.txt` to `/out/a/b.txt.count`, all of them to `/out/index.txt`
// (by way of /tmp and a rename), appends to `/out/log.txt`, and prints a summary. A missing
// file: a message on standard error and exit status 1, after the others were done.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    unsigned long long lines, words, bytes, checksum;
} Counts;

static Counts all;
static int files, directories, failed;
static FILE *index_file, *log_file;

static void fail(const char *what, const char *path) {
    fprintf(stderr, "files: can't %s `%s`: %s\n", what, path, strerror(errno));
    failed = 1;
}

static Counts count(FILE *file) {
    Counts counts = {.checksum = 14695981039346656037u};
    static unsigned char buffer[4096];
    size_t size;
    int in_word = 0;
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) {
        for (size_t i = 0; i < size; i++) {
            unsigned char c = buffer[i];
            int is_space = c == ' ' || (c >= '\t' && c <= '\r');
            counts.words += !is_space && !in_word;
            in_word = !is_space;
            counts.lines += c == '\n';
            counts.checksum = (counts.checksum ^ c) * 1099511628211u;
        }
        counts.bytes += size;
    }
    return counts;
}

static void print(FILE *to, const char *name, Counts c) {
    fprintf(to, "%llu lines, %llu words, %llu bytes, %016llx: %s\n", c.lines, c.words, c.bytes,
            c.checksum, name);
}

// Creates the directories that lead to `path`.
static void make_parents(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST) fail("create", path);
        *slash = '/';
    }
}

static void take(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail("open", path);
        return;
    }
    Counts counts = count(file);
    fclose(file);
    files++;
    all.lines += counts.lines, all.words += counts.words, all.bytes += counts.bytes;
    all.checksum ^= counts.checksum;
    print(index_file, path, counts);
    fprintf(log_file, "%s\n", path);
    const char *below = strncmp(path, "/in/", 4) == 0 ? path + 4 : path;
    char name[4200];
    snprintf(name, sizeof name, "/out/%s.count", below);
    make_parents(name);
    FILE *out = fopen(name, "wb");
    if (!out) {
        fail("create", name);
        return;
    }
    print(out, path, counts);
    if (fclose(out) != 0) fail("write", name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void visit(const char *path) {
    struct stat stat_of;
    if (stat(path, &stat_of) != 0) {
        fail("look at", path);
        return;
    }
    if (!S_ISDIR(stat_of.st_mode)) {
        take(path);
        return;
    }
    DIR *directory = opendir(path);
    if (!directory) {
        fail("list", path);
        return;
    }
    directories++;
    char **names = NULL;
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        names = realloc(names, (count + 1) * sizeof *names);
        names[count] = malloc(strlen(path) + strlen(entry->d_name) + 2);
        sprintf(names[count++], "%s/%s", path, entry->d_name);
    }
    closedir(directory);
    if (count) qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        visit(names[i]);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv) {
    index_file = fopen("/tmp/index.txt", "wb");
    log_file = fopen("/out/log.txt", "ab");
    if (!index_file || !log_file) {
        fail("create", index_file ? "/out/log.txt" : "/tmp/index.txt");
        return 1;
    }
    Counts from_stdin = count(stdin);
    if (argc > 1) {
        for (int i = 1; i < argc; i++) visit(argv[i]);
    } else {
        visit("/in");
    }
    if (fclose(index_file) != 0 || fclose(log_file) != 0) fail("write", "index");
    if (rename("/tmp/index.txt", "/out/index.txt") != 0) fail("rename", "/tmp/index.txt");
    print(stdout, "standard input", from_stdin);
    print(stdout, "all files", all);
    printf("%d files in %d directories\n", files, directories);
    return failed;
}
