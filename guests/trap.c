// trap: traps in the way it is told.
//
//   trap unreachable   `unreachable`, as abort() does
//   trap divide        integer division by zero
//   trap overflow      the smallest integer divided by -1
//   trap memory        a load outside the memory
//   trap convert       a NaN converted to an integer
//   trap null          a call through an empty table entry
//   trap signature     a call of a function of another type
//   trap table         a call of an entry outside the table
//   trap stack         recursion without end
//
// Prints `before` first, in all cases. Anything else: exit status 2 and a list.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static volatile int zero, minus_one = -1, smallest = INT32_MIN, sink;

typedef int (*Function)(int);
typedef double (*Other)(double, double);

static int one(int x) { return x + 1; }
static volatile Function function = one;

__attribute__((noinline)) static int forever(int depth) {
    int below = forever(depth + 1);
    return below + depth + zero;
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    puts("before");
    fflush(stdout);
    if (!strcmp(kind, "unreachable")) {
        __builtin_trap();
    } else if (!strcmp(kind, "divide")) {
        sink = smallest / zero;
    } else if (!strcmp(kind, "overflow")) {
        sink = smallest / minus_one;
    } else if (!strcmp(kind, "memory")) {
        sink = *(volatile int *)(uintptr_t)(0xfffffff0u + (unsigned)zero);
    } else if (!strcmp(kind, "convert")) {
        sink = __builtin_wasm_trunc_s_i32_f64(NAN * (zero + 1));
    } else if (!strcmp(kind, "null")) {
        function = (Function)(uintptr_t)zero;
        sink = function(1);
    } else if (!strcmp(kind, "signature")) {
        sink = (int)((Other)(uintptr_t)function)(1, 2);
    } else if (!strcmp(kind, "table")) {
        function = (Function)(uintptr_t)(100000 + zero);
        sink = function(1);
    } else if (!strcmp(kind, "stack")) {
        sink = forever(1);
    } else {
        fprintf(stderr, "trap: say one of unreachable divide overflow memory convert null "
                        "signature table stack\n");
        return 2;
    }
    puts("after: no trap");
    return 1;
}
