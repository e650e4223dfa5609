// floats: numbers at the edges: NaNs and their bits, infinities, denormals, rounding.
//
//   floats        prints a table of values and their bits, then sums with a state that holds
//                 all of these for a while (for stopping in the middle)
//   floats N      with N rounds of the sums instead of 3000000
//
// Under the canonical semantics every NaN that arithmetic makes is 7ff8000000000000 where its
// bits can be seen; a NaN that is only loaded, stored and moved keeps its bits.

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t bits(double x) {
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}
static uint32_t bits_single(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}
static double of_bits(uint64_t b) {
    double x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static void row(const char *name, double x) {
    printf("%-24s %016llx %g\n", name, (unsigned long long)bits(x), x);
}
static void row_single(const char *name, float x) {
    printf("%-24s %08x         %g\n", name, bits_single(x), (double)x);
}

static volatile double zero = 0, one = 1, big = DBL_MAX, tiny = DBL_MIN;
static volatile double infinity = INFINITY;
static volatile float single_zero = 0;

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 3000000;
    volatile double quiet = of_bits(0x7ff8000000000123), negative = of_bits(0xfff8000000000456);
    volatile double signalling = of_bits(0x7ff0000000000789);

    row("0 / 0", zero / zero);
    row("inf - inf", infinity - infinity);
    row("inf * 0", infinity * zero);
    row("sqrt(-1)", sqrt(-one));
    row("0 / 0 negated", -(zero / zero));
    row("fabs(0 / 0)", fabs(zero / zero));
    row("copysign(0 / 0, -1)", copysign(zero / zero, -one));
    row("a NaN, moved", quiet);
    row("a negative NaN, moved", negative);
    row("NaN + 1", quiet + one);
    row("NaN + NaN", quiet + negative);
    row("NaN * NaN", negative * quiet);
    row("signalling + 1", signalling + one);
    row("min(NaN, 1)", __builtin_fmin(quiet, one));
    row("floor(NaN)", floor(negative));
    row_single("0 / 0, single", single_zero / single_zero);
    row_single("NaN to single", (float)quiet);
    row("and back", (double)(float)negative);
    row("1 / 0", one / zero);
    row("-1 / 0", -one / zero);
    row("-0", -zero);
    row("max * 2", big * 2);
    row("min / 2", tiny / 2);
    row("smallest", of_bits(1));
    row("smallest / 2", of_bits(1) / (2 * one));
    row("min - smallest", tiny - of_bits(1));
    row("0.1 + 0.2", 0.1 * one + 0.2 * one);
    row("1 / 3", one / 3);
    row("rint(2.5)", rint(2.5 * one));
    row("rint(-0.4)", rint(-0.4 * one));
    row_single("1 / 3, single", (float)one / 3);
    row("exp(1)", exp(one));
    row("sin(1e22)", sin(1e22 * one));
    row("pow(2, 0.5)", pow(2 * one, 0.5));

    double values[8] = {0, 1, -2.5, tiny, of_bits(3), 1e300, infinity, quiet};
    double sum[8] = {0};
    float singles[8] = {0};
    uint64_t hash = 0;
    for (long i = 0; i < rounds; i++) {
        for (int j = 0; j < 8; j++) {
            double x = values[j] * (double)(i % 7 + 1);
            sum[j] += x / (double)(j + 1) - values[(j + (int)(i & 3)) & 3];
            singles[j] += (float)sum[j] * 0.25f;
        }
        if (i % 1000 == 0) {
            for (int j = 0; j < 8; j++) hash = hash * 31 + bits(sum[j]) + bits_single(singles[j]);
            // A NaN born now and then, and forgotten.
            if (i % 5000 == 0) hash ^= bits((infinity - infinity) * (double)i);
        }
    }
    for (int j = 0; j < 8; j++) row("sum", sum[j]);
    for (int j = 0; j < 8; j++) row_single("sum, single", singles[j]);
    printf("%ld rounds: %016llx\n", rounds, (unsigned long long)hash);
    return 0;
}
