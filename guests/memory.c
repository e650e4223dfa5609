// memory: shows that there is so much memory, by work that takes that much.
//
//   memory MIB SEED    grows to MIB MiB in all, fills what is new and prints 16 hex digits that
//                      depend on all of it
//
// One lane and one pass of the filling of Argon2d (RFC 9106, section 3.4, without its hash of
// arbitrary length): each block of 1 KiB follows from the one before and from one that the block
// before points to, anywhere among those already there. Who kept only some of the blocks would have
// to compute others again, each from two others.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS 128
#define PAGE 65536

static uint64_t rotr(uint64_t x, int n) { return x >> n | x << (64 - n); }

static uint64_t mix(uint64_t a, uint64_t b) {
    return a + b + 2 * (uint64_t)(uint32_t)a * (uint32_t)b;
}

static inline void quarter(uint64_t *v, int a, int b, int c, int d) {
    v[a] = mix(v[a], v[b]); v[d] = rotr(v[d] ^ v[a], 32);
    v[c] = mix(v[c], v[d]); v[b] = rotr(v[b] ^ v[c], 24);
    v[a] = mix(v[a], v[b]); v[d] = rotr(v[d] ^ v[a], 16);
    v[c] = mix(v[c], v[d]); v[b] = rotr(v[b] ^ v[c], 63);
}

// The round of BLAKE2b over sixteen words: `v[i]` is the word at `step * (i / 2) + i % 2`.
static inline void round16(uint64_t *block, int step) {
    uint64_t v[16];
    for (int i = 0; i < 16; i++) v[i] = block[step * (i / 2) + i % 2];
    quarter(v, 0, 4, 8, 12); quarter(v, 1, 5, 9, 13); quarter(v, 2, 6, 10, 14);
    quarter(v, 3, 7, 11, 15); quarter(v, 0, 5, 10, 15); quarter(v, 1, 6, 11, 12);
    quarter(v, 2, 7, 8, 13); quarter(v, 3, 4, 9, 14);
    for (int i = 0; i < 16; i++) block[step * (i / 2) + i % 2] = v[i];
}

static void compress(const uint64_t *x, const uint64_t *y, uint64_t *out) {
    uint64_t r[WORDS], z[WORDS];
    for (int i = 0; i < WORDS; i++) z[i] = r[i] = x[i] ^ y[i];
    for (int i = 0; i < 8; i++) round16(z + 16 * i, 2);
    for (int i = 0; i < 8; i++) round16(z + 2 * i, 16);
    for (int i = 0; i < WORDS; i++) out[i] = r[i] ^ z[i];
}

static uint64_t next(uint64_t *seed) { // SplitMix64
    uint64_t z = *seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

int main(int argc, char **argv) {
    unsigned long mib = argc == 3 ? strtoul(argv[1], 0, 10) : 0;
    size_t had = __builtin_wasm_memory_size(0), pages = mib * (1048576 / PAGE);
    if (mib > 4096 || pages <= had) {
        fprintf(stderr, "memory MIB SEED, with more MiB than the program has and at most 4096\n");
        return 2;
    }
    uint64_t seed = strtoull(argv[2], 0, 10);
    size_t first = __builtin_wasm_memory_grow(0, pages - had);
    if (first == (size_t)-1) {
        fprintf(stderr, "there are no %lu MiB\n", mib);
        return 1;
    }
    uint64_t *blocks = (uint64_t *)(first * PAGE);
    uint32_t count = (pages - had) * (PAGE / 1024);
    for (int i = 0; i < 2 * WORDS; i++) blocks[i] = next(&seed);
    const uint64_t *last = blocks + WORDS;
    for (uint32_t i = 2; i < count; i++) {
        // Later blocks more often, as the specification has it.
        uint64_t j = (uint32_t)last[0];
        uint64_t back = (i - 1) * (j * j >> 32) >> 32;
        uint64_t *block = blocks + (size_t)i * WORDS;
        compress(last, blocks + (size_t)(i - 2 - back) * WORDS, block);
        last = block;
    }
    uint64_t sum = 0;
    for (int i = 0; i < WORDS; i++) sum = rotr(sum, 7) ^ last[i];
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
