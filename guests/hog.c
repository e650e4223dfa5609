// hog: takes memory until there is no more.
//
//   hog          takes blocks of 1 MiB, touching each page, until malloc fails; then prints
//                `stopped after N MiB` and ends with status 0
//   hog N        stops after N MiB
//   hog flood    writes to standard output without end; ends with status 0 and
//                `stopped after N bytes: ENOSPC` on standard error when that fails
//   hog file     the same with a file, /out/flood

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#define BLOCK (1 << 20)

static int flood(int fd) {
    static char block[65536];
    memset(block, 'x', sizeof block);
    unsigned long long total = 0;
    for (;;) {
        ssize_t written = write(fd, block, sizeof block);
        if (written < 0) break;
        total += (unsigned long long)written;
    }
    const char *name = errno == ENOSPC ? "ENOSPC" : errno == EFBIG ? "EFBIG" : "another error";
    fprintf(stderr, "stopped after %llu bytes: %s\n", total, name);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "flood") == 0) return flood(1);
    if (argc > 1 && strcmp(argv[1], "file") == 0) {
        return flood(open("/out/flood", O_WRONLY | O_CREAT | O_TRUNC, 0666));
    }
    long limit = argc > 1 ? atol(argv[1]) : -1;
    long taken = 0;
    while (taken != limit) {
        volatile char *block = malloc(BLOCK);
        if (!block) break;
        for (int i = 0; i < BLOCK; i += 4096) block[i] = (char)taken;
        taken++;
    }
    printf("stopped after %ld MiB\n", taken);
    return 0;
}
