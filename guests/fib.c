// fib: nothing but calls.
//
//   fib        the same as fib 32
//   fib N      the N-th Fibonacci number by the doubly recursive definition; N up to 50.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static uint64_t fib(unsigned n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 32;
    if (n < 0 || n > 50) {
        fprintf(stderr, "fib: give a number from 0 to 50\n");
        return 2;
    }
    printf("fib(%d) = %llu\n", n, (unsigned long long)fib((unsigned)n));
    return 0;
}
