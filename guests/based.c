// based: a long start-up, the same every time, and then a short task.
//
//   based        builds a table of primes below a million (the start-up), asks for the path
//                /.jusha-base, which marks its end, and then prints how many of the numbers on
//                standard input are prime, and a random number of the task's own.
//
// `jusha exec --snapshot FILE` stops at the mark; `--from FILE` begins there.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT 1000000

static uint8_t composite[LIMIT];

__attribute__((noinline)) static void start_up(void) {
    composite[0] = composite[1] = 1;
    for (int i = 2; i * i < LIMIT; i++)
        if (!composite[i])
            for (int j = i * i; j < LIMIT; j += i) composite[j] = 1;
}

__attribute__((noinline)) static int answer(void) {
    int number, primes = 0, numbers = 0;
    for (; scanf("%d", &number) == 1; numbers++) {
        if (number < 0 || number >= LIMIT) {
            fprintf(stderr, "based: give numbers from 0 to %d\n", LIMIT - 1);
            return 2;
        }
        primes += !composite[number];
    }
    uint64_t random;
    if (getentropy(&random, sizeof random) != 0) return 3;
    printf("%d of %d are prime; random %016llx\n", primes, numbers, (unsigned long long)random);
    return 0;
}

int main(void) {
    start_up();
    access("/.jusha-base", F_OK);
    return answer();
}
