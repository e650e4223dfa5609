// matmul: a short innermost loop over memory.
//
//   matmul        the same as matmul 160
//   matmul N      multiplies two N x N matrices of doubles, the obvious way; N up to 2048.

#include <stdio.h>
#include <stdlib.h>

static double *matrix(int n) {
    double *m = malloc((size_t)n * n * sizeof(double));
    if (!m) {
        fprintf(stderr, "matmul: out of memory\n");
        exit(1);
    }
    return m;
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 160;
    if (n < 1 || n > 2048) {
        fprintf(stderr, "matmul: give a size from 1 to 2048\n");
        return 2;
    }
    double *a = matrix(n), *b = matrix(n), *c = matrix(n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            a[i * n + j] = (double)(i * 7 + j * 3 % 11) / n;
            b[i * n + j] = (double)(i * 5 % 13 - j) / n;
            c[i * n + j] = 0;
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
    double trace = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        trace += c[i * n + i];
        for (int j = 0; j < n; j++) sum += c[i * n + j];
    }
    printf("trace %.6f sum %.6f\n", trace, sum);
    return 0;
}
