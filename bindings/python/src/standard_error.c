/*
 * `stderr` for libraries that are linked in from archives.
 *
 * Debian's libpng.a is not compiled for shared objects: its one mistake is that it reads the
 * variable `stderr` of libc directly, which a shared object cannot do. The linker is told to call
 * that variable __wrap_stderr (--wrap=stderr), and here it is.
 */
#include <stdio.h>

extern FILE *__real_stderr;
FILE *__wrap_stderr __attribute__((visibility("hidden")));

__attribute__((constructor)) static void find_standard_error(void)
{
    __wrap_stderr = __real_stderr;
}
