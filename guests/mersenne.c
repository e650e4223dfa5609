// mersenne: the Lucas–Lehmer test. Is 2^p - 1 a prime?
//
//   mersenne 4423 4421       exponents as arguments, or
//   echo 4423 | mersenne     on standard input, one a line.
//
// Prints, for each exponent, one line:
//   4423 prime
//   4421 composite res64=436652647e1e860b
// res64 is the low 64 bits of the last residue, as GIMPS gives it. Exponents from 2 to 1200000;
// for a composite exponent the test is run as well (and says composite).
//
// Exit status: 0; 2 for a bad exponent; 3 when the floating-point error was too large to be sure
// of the result, which is then not printed.
//
// How: s -> s^2 - 2 modulo 2^p - 1, p - 2 times, from 4. Squaring is a cyclic convolution by a
// real FFT of N words with irrational bases (Crandall and Fagin): word j has the weight
// 2^(ceil(pj/N) - pj/N), so that the convolution's wrap-around is the reduction. Digits are
// balanced around 0. The real FFT is a complex one of M = N/2; forward passes leave the
// frequencies in scrambled order, and inverse passes take them in it.

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPONENT_MIN 2
#define EXPONENT_MAX 1200000
#define PASSES_MAX 16
#define STREAMS 4
#define ERROR_MAX 0.4

typedef struct {
    double re, im;
} Complex;

typedef struct {
    int radix;
    int stride;       // Between the inputs of one butterfly.
    Complex *twiddle; // radix - 1 of them for each of `stride` butterflies.
} Pass;

static int exponent, words, half; // p, N, M
static int pass_count;
static Pass passes[PASSES_MAX];
static Complex *data;         // N words as M complex numbers.
static double *weight;        // Of each word.
static double *unweight;      // 1 / (weight * M): the inverse FFT doesn't divide by M.
static uint8_t *is_long;      // Whether a word has one bit more.
static double base[2], base_inverse[2];
static int *partner;          // Pairs of positions of the frequencies k and M - k.
static Complex *pair_factor;  // (1 + exp(-2 pi i k / M)) / 4 for each pair.
static int pair_count;
static double error_max;

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) {
        fprintf(stderr, "mersenne: out of memory\n");
        exit(1);
    }
    return memory;
}

static Complex unit(long long numerator, long long denominator) {
    double angle = -2 * M_PI * (double)(numerator % denominator) / (double)denominator;
    return (Complex){cos(angle), sin(angle)};
}

static inline Complex multiply(Complex a, Complex b) {
    return (Complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static inline Complex multiply_conjugate(Complex a, Complex b) {
    return (Complex){a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

static inline Complex square(Complex a) {
    return (Complex){(a.re + a.im) * (a.re - a.im), 2 * a.re * a.im};
}

static inline Complex add(Complex a, Complex b) { return (Complex){a.re + b.re, a.im + b.im}; }
static inline Complex subtract(Complex a, Complex b) {
    return (Complex){a.re - b.re, a.im - b.im};
}

// The nearest integer, for numbers below 2^51.
static inline double nearest(double x) {
    const double shift = 6755399441055744.0; // 1.5 * 2^52
    return (x + shift) - shift;
}

static const double SIN60 = 0.86602540378443864676;

static void forward3(Complex *x, int m, const Complex *w) {
    for (int j = 0; j < m; j++, w += 2) {
        Complex a = x[j], b = x[j + m], c = x[j + 2 * m];
        Complex s = add(b, c), d = subtract(b, c);
        Complex t = {a.re - 0.5 * s.re, a.im - 0.5 * s.im};
        Complex u = {SIN60 * d.im, -SIN60 * d.re};
        x[j] = add(a, s);
        x[j + m] = multiply(add(t, u), w[0]);
        x[j + 2 * m] = multiply(subtract(t, u), w[1]);
    }
}

static void inverse3(Complex *x, int m, const Complex *w) {
    for (int j = 0; j < m; j++, w += 2) {
        Complex a = x[j];
        Complex b = multiply_conjugate(x[j + m], w[0]);
        Complex c = multiply_conjugate(x[j + 2 * m], w[1]);
        Complex s = add(b, c), d = subtract(b, c);
        Complex t = {a.re - 0.5 * s.re, a.im - 0.5 * s.im};
        Complex u = {-SIN60 * d.im, SIN60 * d.re};
        x[j] = add(a, s);
        x[j + m] = add(t, u);
        x[j + 2 * m] = subtract(t, u);
    }
}

static void forward4(Complex *x, int m, const Complex *w) {
    for (int j = 0; j < m; j++, w += 3) {
        Complex a = x[j], b = x[j + m], c = x[j + 2 * m], d = x[j + 3 * m];
        Complex ac = add(a, c), a_c = subtract(a, c), bd = add(b, d), b_d = subtract(b, d);
        Complex turned = {b_d.im, -b_d.re};
        x[j] = add(ac, bd);
        x[j + m] = multiply(add(a_c, turned), w[0]);
        x[j + 2 * m] = multiply(subtract(ac, bd), w[1]);
        x[j + 3 * m] = multiply(subtract(a_c, turned), w[2]);
    }
}

static void inverse4(Complex *x, int m, const Complex *w) {
    for (int j = 0; j < m; j++, w += 3) {
        Complex a = x[j];
        Complex b = multiply_conjugate(x[j + m], w[0]);
        Complex c = multiply_conjugate(x[j + 2 * m], w[1]);
        Complex d = multiply_conjugate(x[j + 3 * m], w[2]);
        Complex ac = add(a, c), a_c = subtract(a, c), bd = add(b, d), b_d = subtract(b, d);
        Complex turned = {-b_d.im, b_d.re};
        x[j] = add(ac, bd);
        x[j + m] = add(a_c, turned);
        x[j + 2 * m] = subtract(ac, bd);
        x[j + 3 * m] = subtract(a_c, turned);
    }
}

// The pass with stride 1 has no twiddle factors other than 1.
static void forward4_last(Complex *x, int count) {
    for (Complex *end = x + count; x < end; x += 4) {
        Complex a = x[0], b = x[1], c = x[2], d = x[3];
        Complex ac = add(a, c), a_c = subtract(a, c), bd = add(b, d), b_d = subtract(b, d);
        Complex turned = {b_d.im, -b_d.re};
        x[0] = add(ac, bd);
        x[1] = add(a_c, turned);
        x[2] = subtract(ac, bd);
        x[3] = subtract(a_c, turned);
    }
}

static void inverse4_first(Complex *x, int count) {
    for (Complex *end = x + count; x < end; x += 4) {
        Complex a = x[0], b = x[1], c = x[2], d = x[3];
        Complex ac = add(a, c), a_c = subtract(a, c), bd = add(b, d), b_d = subtract(b, d);
        Complex turned = {-b_d.im, b_d.re};
        x[0] = add(ac, bd);
        x[1] = add(a_c, turned);
        x[2] = subtract(ac, bd);
        x[3] = subtract(a_c, turned);
    }
}

static void butterfly2(Complex *x, int count) {
    for (Complex *end = x + count; x < end; x += 2) {
        Complex a = x[0], b = x[1];
        x[0] = add(a, b);
        x[1] = subtract(a, b);
    }
}

static void forward(void) {
    for (int i = 0; i < pass_count; i++) {
        const Pass *pass = &passes[i];
        int m = pass->stride, length = m * pass->radix;
        if (pass->radix == 2) {
            butterfly2(data, half);
        } else if (m == 1) {
            forward4_last(data, half);
        } else {
            for (int at = 0; at < half; at += length) {
                if (pass->radix == 3) forward3(data + at, m, pass->twiddle);
                else forward4(data + at, m, pass->twiddle);
            }
        }
    }
}

static void inverse(void) {
    for (int i = pass_count - 1; i >= 0; i--) {
        const Pass *pass = &passes[i];
        int m = pass->stride, length = m * pass->radix;
        if (pass->radix == 2) {
            butterfly2(data, half);
        } else if (m == 1) {
            inverse4_first(data, half);
        } else {
            for (int at = 0; at < half; at += length) {
                if (pass->radix == 3) inverse3(data + at, m, pass->twiddle);
                else inverse4(data + at, m, pass->twiddle);
            }
        }
    }
}

// Squares the real sequence's transform, in terms of the complex one: with a = Z[k] and
// b = conj(Z[M - k]), the new Z[k] is a^2 - f (a - b)^2 and the new b is b^2 - f (a - b)^2.
static void square_frequencies(void) {
    for (int i = 0; i < pair_count; i++) {
        int k = partner[2 * i], l = partner[2 * i + 1];
        Complex a = data[k], b = {data[l].re, -data[l].im};
        Complex cross = multiply(pair_factor[i], square(subtract(a, b)));
        Complex new_b = subtract(square(b), cross);
        data[l] = (Complex){new_b.re, -new_b.im};
        data[k] = subtract(square(a), cross);
    }
}

// Adds `carry` to the word `j` and what it makes overflow to those after it.
static void propagate(double *x, int j, double carry) {
    while (carry != 0) {
        double value = nearest(x[j] * unweight[j] * half) + carry;
        carry = nearest(value * base_inverse[is_long[j]]);
        x[j] = (value - carry * base[is_long[j]]) * weight[j];
        if (++j == words) j = 0;
    }
}

// Rounds to integers, subtracts 2, and brings all words back to balanced digits. Several
// streams of carries run side by side, since each is one long chain of dependent operations.
static void carry_all(void) {
    double *x = &data[0].re;
    int part = words / STREAMS;
    double carry[STREAMS] = {-2, 0, 0, 0};
    double worst = error_max;
    for (int j = 0; j < part; j++) {
#pragma clang loop unroll(full)
        for (int s = 0; s < STREAMS; s++) {
            int at = s * part + j;
            double exact = x[at] * unweight[at];
            double value = nearest(exact);
            double error = fabs(exact - value);
            if (error > worst) worst = error;
            int kind = is_long[at];
            value += carry[s];
            carry[s] = nearest(value * base_inverse[kind]);
            x[at] = (value - carry[s] * base[kind]) * weight[at];
        }
    }
    error_max = worst;
    for (int s = 0; s < STREAMS; s++) {
        propagate(x, s + 1 == STREAMS ? 0 : (s + 1) * part, carry[s]);
    }
}

// Bits that a word may have on average: a little below where GIMPS sees errors near 0.4.
static double bits_max(int n) { return 20.0 - 0.3 * (log2(n) - 12); }

static void choose_length(void) {
    static const int factors[] = {8, 9, 12};
    for (int scale = 2;; scale *= 2) {
        for (int i = 0; i < 3; i++) {
            half = factors[i] * scale;
            words = 2 * half;
            if ((double)exponent / words <= bits_max(words)) return;
        }
    }
}

static void plan(void) {
    choose_length();
    data = allocate(half, sizeof(Complex));
    weight = allocate(words, sizeof(double));
    unweight = allocate(words, sizeof(double));
    is_long = allocate(words, 1);
    partner = allocate(half + 2, sizeof(int));
    pair_factor = allocate(half / 2 + 1, sizeof(Complex));
    int *position = allocate(half, sizeof(int)); // Of each frequency.

    pass_count = 0;
    int length = half, blocks = 1;
    for (int k = 0; k < half; k++) position[k] = 0;
    while (length > 1) {
        int radix = length % 3 == 0 ? 3 : length % 4 == 0 ? 4 : 2;
        int stride = length / radix;
        Pass *pass = &passes[pass_count++];
        pass->radix = radix;
        pass->stride = stride;
        pass->twiddle = allocate((size_t)stride * (radix - 1), sizeof(Complex));
        for (int j = 0; j < stride; j++) {
            for (int s = 1; s < radix; s++) {
                pass->twiddle[j * (radix - 1) + s - 1] = unit((long long)j * s, length);
            }
        }
        for (int k = 0; k < half; k++) position[k] += k / blocks % radix * stride;
        blocks *= radix;
        length = stride;
    }

    pair_count = 0;
    for (int k = 0; k <= half / 2; k++) {
        Complex w = unit(k, half);
        pair_factor[pair_count] = (Complex){(1 + w.re) / 4, w.im / 4};
        partner[2 * pair_count] = position[k];
        partner[2 * pair_count + 1] = position[k ? half - k : 0];
        pair_count++;
    }
    free(position);

    int bits = exponent / words;
    for (int i = 0; i < 2; i++) {
        base[i] = ldexp(1, bits + i);
        base_inverse[i] = ldexp(1, -bits - i);
    }
    for (int j = 0; j < words; j++) {
        long long start = ((long long)exponent * j + words - 1) / words;
        long long end = ((long long)exponent * (j + 1) + words - 1) / words;
        is_long[j] = end - start != bits;
        weight[j] = exp2((double)(start * words - (long long)exponent * j) / words);
        unweight[j] = 1 / (weight[j] * half);
    }
    error_max = 0;
}

static void unplan(void) {
    for (int i = 0; i < pass_count; i++) free(passes[i].twiddle);
    free(data), free(weight), free(unweight), free(is_long), free(partner), free(pair_factor);
}

// The low 64 bits of the residue in 0 .. 2^p - 2; whether it is 0 in `is_zero`.
static uint64_t residue(int *is_zero) {
    const double *x = &data[0].re;
    int64_t *digits = allocate(words, sizeof(int64_t));
    for (int j = 0; j < words; j++) digits[j] = (int64_t)nearest(x[j] * unweight[j] * half);
    int64_t carry = 0;
    do { // To digits that aren't negative; what leaves at the top comes in at the bottom.
        for (int j = 0; j < words; j++) {
            int bits = exponent / words + is_long[j];
            int64_t value = digits[j] + carry;
            digits[j] = value & (((int64_t)1 << bits) - 1);
            carry = value >> bits;
        }
    } while (carry != 0);
    int zeros = 1, ones = 1;
    uint64_t low = 0;
    int at = 0;
    for (int j = 0; j < words; j++) {
        int bits = exponent / words + is_long[j];
        zeros &= digits[j] == 0;
        ones &= digits[j] == ((int64_t)1 << bits) - 1;
        if (at < 64) low |= (uint64_t)digits[j] << at;
        at += bits;
    }
    free(digits);
    *is_zero = zeros || ones;
    return *is_zero ? 0 : low;
}

static uint64_t residue_of_small(int p) {
    uint64_t modulus = ((uint64_t)1 << p) - 1, s = 4 % modulus;
    for (int i = 0; i < p - 2; i++) {
        s = (uint64_t)(((unsigned __int128)s * s + modulus - 2) % modulus);
    }
    return s;
}

static void test(int p) {
    uint64_t low;
    int is_prime;
    if (p == 2) {
        is_prime = 1; // 3; the test is for odd primes.
        low = 0;
    } else if (p < 64) {
        low = residue_of_small(p);
        is_prime = low == 0;
    } else {
        exponent = p;
        plan();
        data[0].re = 4; // The weight of the first word is 1.
        for (int i = 0; i < p - 2; i++) {
            forward();
            square_frequencies();
            inverse();
            carry_all();
            if (!(error_max <= ERROR_MAX)) {
                fprintf(stderr, "mersenne: %d: rounding error %.3f at iteration %d: no result\n",
                        p, error_max, i);
                exit(3);
            }
        }
        low = residue(&is_prime);
        unplan();
    }
    if (is_prime) printf("%d prime\n", p);
    else printf("%d composite res64=%016llx\n", p, (unsigned long long)low);
    fflush(stdout);
}

// The exponent in `text`; exits when it is none.
static int parse(const char *text) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < EXPONENT_MIN || value > EXPONENT_MAX) {
        fprintf(stderr, "mersenne: `%s` is not an exponent: give numbers from %d to %d\n", text,
                EXPONENT_MIN, EXPONENT_MAX);
        exit(2);
    }
    return (int)value;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        for (int i = 1; i < argc; i++) parse(argv[i]);
        for (int i = 1; i < argc; i++) test(parse(argv[i]));
        return 0;
    }
    char line[128];
    while (fgets(line, sizeof line, stdin)) {
        char *text = line + strspn(line, " \t\r\n");
        text[strcspn(text, "\r\n")] = 0;
        for (size_t n = strlen(text); n && (text[n - 1] == ' ' || text[n - 1] == '\t');) {
            text[--n] = 0;
        }
        if (*text) test(parse(text));
    }
    return 0;
}
