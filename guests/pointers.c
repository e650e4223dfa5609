// pointers: calls through function pointers, in loops.
//
//   pointers        the same as pointers 200000
//   pointers N      sorts N numbers by qsort with four comparison functions, then runs a little
//                   stack machine whose instructions are a table of functions, for 10 N steps.
//
// Prints a line for each part. The same for the same N.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int (*Compare)(const void *, const void *);

static unsigned long compared;

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    compared++;
    return x < y ? -1 : x > y;
}
static int descending(const void *a, const void *b) { return ascending(b, a); }
static int by_low_bits(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a & 0xffff, y = *(const uint32_t *)b & 0xffff;
    return x == y ? ascending(a, b) : x < y ? -1 : 1;
}
static int by_digits(const void *a, const void *b) {
    int x = 0, y = 0;
    for (uint32_t n = *(const uint32_t *)a; n; n /= 10) x += n % 10;
    for (uint32_t n = *(const uint32_t *)b; n; n /= 10) y += n % 10;
    return x == y ? ascending(a, b) : x - y;
}

static const Compare compares[] = {ascending, descending, by_low_bits, by_digits};
static const char *names[] = {"ascending", "descending", "low bits", "digit sum"};

typedef struct {
    uint64_t stack[16];
    unsigned top;
    uint64_t random;
} Machine;

typedef void (*Instruction)(Machine *);

static uint64_t *slot(Machine *m, unsigned back) { return &m->stack[(m->top - back) & 15]; }
static void push(Machine *m) { m->top++, *slot(m, 0) = m->random; }
static void pop(Machine *m) { m->top--; }
static void plus(Machine *m) { *slot(m, 1) += *slot(m, 0), m->top--; }
static void times(Machine *m) { *slot(m, 1) *= *slot(m, 0) | 1, m->top--; }
static void mix(Machine *m) { *slot(m, 0) ^= *slot(m, 1) >> 7 ^ *slot(m, 2) << 9; }
static void swap(Machine *m) {
    uint64_t t = *slot(m, 0);
    *slot(m, 0) = *slot(m, 1), *slot(m, 1) = t;
}
static void root(Machine *m) { *slot(m, 0) += (uint64_t)__builtin_sqrt((double)*slot(m, 1)); }
// Runs a short program of its own: a call through the table from within one.
static void nested(Machine *m);
static Instruction instructions[] = {push, pop, plus, times, mix, swap, root, nested};
static void nested(Machine *m) {
    for (unsigned i = 0; i < 4; i++) instructions[(m->random >> (8 * i)) % 7](m);
}

static uint64_t step(uint64_t random) {
    return random * 6364136223846793005u + 1442695040888963407u;
}

int main(int argc, char **argv) {
    long n = argc > 1 ? atol(argv[1]) : 200000;
    if (n < 1 || n > 10000000) {
        fprintf(stderr, "pointers: give a number from 1 to 10000000\n");
        return 2;
    }
    uint32_t *numbers = malloc((size_t)n * sizeof *numbers);
    if (!numbers) return 1;
    uint64_t random = 2026;
    for (long i = 0; i < n; i++) numbers[i] = (uint32_t)((random = step(random)) >> 32);
    for (int i = 0; i < 4; i++) {
        compared = 0;
        qsort(numbers, (size_t)n, sizeof *numbers, compares[i]);
        uint64_t hash = 0;
        for (long j = 0; j < n; j++) hash = hash * 1099511628211u ^ numbers[j];
        printf("%s: %lu comparisons, %016llx\n", names[i], compared, (unsigned long long)hash);
    }
    Machine machine = {.random = random};
    for (long i = 0; i < 10 * n; i++) {
        machine.random = step(machine.random);
        instructions[machine.random >> 61](&machine);
    }
    uint64_t hash = machine.top;
    for (int i = 0; i < 16; i++) hash = hash * 31 + machine.stack[i];
    printf("machine: %016llx\n", (unsigned long long)hash);
    return 0;
}
