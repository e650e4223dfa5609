# The tag of C++ exceptions, which zig's library leaves out with what throws them.
	.tagtype __cpp_exception i32
	.globl __cpp_exception
__cpp_exception:
