// exit: ends with the status it is told.
//
//   exit 7          exit status 7, nothing printed
//   exit 3 oops     the same with `oops` on standard error
//
// Without an argument: 0.

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc > 2) fprintf(stderr, "%s\n", argv[2]);
    exit(argc > 1 ? atoi(argv[1]) : 0);
}
