// spin: never ends. For fuel limits, stopping and killing.
//
//   spin            prints nothing
//   spin 10000000   prints the count every so many rounds: `10000000 9f…`

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    uint64_t every = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    volatile uint64_t state = 1;
    for (uint64_t round = 1;; round++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (every && round % every == 0) {
            printf("%llu %016llx\n", (unsigned long long)round, (unsigned long long)state);
            fflush(stdout);
        }
    }
}
