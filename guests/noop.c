// noop: does nothing.
//
//   noop
//
// Prints nothing; exit status 0.

int main(void) { return 0; }
