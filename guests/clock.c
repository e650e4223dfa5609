// clock: time, sleep and random numbers: the parts of the world that a task's seed, its start of
// time and its fuel decide.
//
//   clock          prints the date, eight random bytes, the time before and after a sleep of one
//                  hour (which takes no time), and whether time passed while computing
//   clock N        the same with N sleeps of a second and N draws of 16 bytes, printing all
//
// The same task prints the same, whenever and wherever it runs. The first line is `UTC 2026-01-01
// 00:00:00` by default.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) return -1;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void print_random(size_t size) {
    unsigned char bytes[64];
    if (getentropy(bytes, size) != 0) puts("no random bytes");
    printf("random ");
    for (size_t i = 0; i < size; i++) printf("%02x", bytes[i]);
    printf("\n");
}

static void print_date(void) {
    time_t seconds = time(NULL);
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", gmtime(&seconds));
    printf("UTC %s\n", text);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        for (long i = atol(argv[1]); i > 0; i--) {
            print_random(16);
            sleep(1);
            print_date();
        }
        return 0;
    }
    print_date();
    print_random(8);
    long long wall = now(CLOCK_REALTIME), steady = now(CLOCK_MONOTONIC);
    sleep(3600);
    wall = now(CLOCK_REALTIME) - wall, steady = now(CLOCK_MONOTONIC) - steady;
    printf("slept %lld s, %lld s\n", wall / 1000000000, steady / 1000000000);
    print_date();
    steady = now(CLOCK_MONOTONIC);
    volatile uint32_t sum = 0;
    for (uint32_t i = 0; i < 1000000; i++) sum += i;
    printf("time passes: %s\n", now(CLOCK_MONOTONIC) > steady ? "yes" : "no");
    return 0;
}
