/* Fewer system calls (seccomp): what a server that has started does not need is refused by the
 * kernel, so that a fault in a decoder or parser cannot start programs or reach other processes. */
#ifndef UF_SERVER_SANDBOX_H
#define UF_SERVER_SANDBOX_H

#include <stdbool.h>

/*
 * From then on, for all threads of the process and for good: new programs, debugging, mounts,
 * namespaces, modules, changes of identity and the like end the process (SIGSYS); code cannot be
 * made (memory that is mapped cannot become executable), processes cannot be forked, and sockets
 * are of the internet's families or local ones; these fail with EPERM. Calls that are not known
 * here fail with ENOSYS, as on an older kernel. False: `why` says what the kernel has against it.
 * Where this is not written for the processor, *active is false and nothing happens.
 */
bool srv_sandbox_enter(bool *active, char why[512]);

#endif
