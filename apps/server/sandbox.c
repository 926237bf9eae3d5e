/*
 * A filter in classic BPF, made at run time from two tables. Rejected: libseccomp, a dependency for
 * what is a loop over a table; a list of forbidden calls alone, which ages with each kernel.
 *
 * clone3 hides its flags from filters. It is answered with ENOSYS, upon which C libraries take
 * clone, of which only threads are let through. Since Linux 5.11 the kernel knows which numbers are
 * always allowed and does not run the filter for them, so the order in the table does not matter.
 */
#include "server/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

/* Calls that older interfaces of x86-64 have and arm64 has not. */
#ifdef __x86_64__
#define OLDER(...) __VA_ARGS__
#else
#define OLDER(...)
#endif

static const uint32_t allowed[] = {
    /* memory */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_mlock, SYS_munlock, SYS_msync, SYS_mincore,
    SYS_membarrier,
    /* threads, time, signals */
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_gettid, SYS_getpid, SYS_getppid, SYS_exit,
    SYS_exit_group, SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_prctl,
    OLDER(SYS_arch_prctl, ) SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep,
    SYS_gettimeofday, OLDER(SYS_time, ) SYS_restart_syscall, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_getcpu,
    /* what the process is, and how it is doing */
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getrusage, SYS_getrlimit, SYS_times,
    SYS_sysinfo, SYS_uname, SYS_getrandom,
    /* files */
    OLDER(SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink,
          SYS_mkdir, SYS_rmdir, SYS_chmod, ) SYS_openat,
    SYS_close, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv,
    SYS_pwritev, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs,
    SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_renameat, SYS_renameat2, SYS_unlinkat,
    SYS_mkdirat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fcntl, SYS_flock, SYS_fsync,
    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_getdents64, SYS_getcwd,
    SYS_umask, SYS_utimensat, SYS_dup, SYS_dup3, SYS_sendfile,
    /* the network and waiting for it */
    SYS_accept, SYS_accept4, SYS_bind, SYS_connect, SYS_shutdown, SYS_sendto, SYS_recvfrom,
    SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_getsockname, SYS_getpeername,
    SYS_setsockopt, SYS_getsockopt,
    OLDER(SYS_poll, SYS_select, SYS_epoll_wait, SYS_pipe, ) SYS_ppoll, SYS_pselect6,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_pipe2};

/* No fault of ours calls these by mistake: somebody else is at work. */
static const uint32_t fatal[] = {
    OLDER(SYS_modify_ldt, SYS_ioperm, SYS_iopl, SYS_uselib, SYS_create_module, ) SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_personality,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_capset,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_open_by_handle_at,
    SYS_pidfd_getfd};

enum {
    COUNT_ALLOWED = sizeof allowed / sizeof *allowed,
    COUNT_FATAL = sizeof fatal / sizeof *fatal,
    PROGRAM_MAX = 2 * (COUNT_ALLOWED + COUNT_FATAL) + 96
};

typedef struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short size;
} program;

static void add(program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    p->code[p->size++] = (struct sock_filter){code, yes, no, k};
}

static void load(program *p, size_t offset)
{
    add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(program *p, uint32_t what)
{
    add(p, BPF_RET | BPF_K, what, 0, 0);
}

static uint32_t failing_with(int error)
{
    return SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA);
}

/* The low half of an argument; both architectures are little endian. */
static size_t argument(int i)
{
    return offsetof(struct seccomp_data, args) + (size_t)i * sizeof(uint64_t);
}

/* If what is loaded is this number: the answer. */
static void answer_number(program *p, uint32_t number, uint32_t what)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
    answer(p, what);
}

/* The call is allowed when the bits of an argument are (`set`) or are not set, else EPERM. */
static void allow_bits(program *p, int number, int which, uint32_t bits, bool set)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4);
    load(p, argument(which));
    add(p, BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    answer(p, set ? failing_with(EPERM) : SECCOMP_RET_ALLOW);
    answer(p, set ? SECCOMP_RET_ALLOW : failing_with(EPERM));
}

/* The call is allowed with these values of an argument, else EPERM. */
static void allow_values(program *p, int number, int which, const uint32_t *values, uint8_t n)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, (uint8_t)(2 * n + 2));
    load(p, argument(which));
    for (uint8_t i = 0; i < n; i++)
        answer_number(p, values[i], SECCOMP_RET_ALLOW);
    answer(p, failing_with(EPERM));
}

static void allow_arguments(program *p)
{
    /* Netlink and the last: the C library asks for the machine's addresses and interfaces when it
     * looks up names. */
    const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    const uint32_t requests[] = {FIONREAD, FIONBIO, TCGETS, SIOCGIFINDEX, SIOCGIFNAME};
    const uint32_t self = (uint32_t)getpid();
    allow_values(p, SYS_socket, 0, families, sizeof families / sizeof *families);
    allow_values(p, SYS_ioctl, 1, requests, sizeof requests / sizeof *requests);
    allow_values(p, SYS_tgkill, 0, &self, 1);
    allow_bits(p, SYS_mmap, 2, PROT_EXEC, false);
    allow_bits(p, SYS_mprotect, 2, PROT_EXEC, false);
    allow_bits(p, SYS_clone, 0, CLONE_THREAD, true);
}

/* Limits may be read, not set: the pointer to new ones, both halves of it, is NULL. */
static void allow_limits(program *p)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 6);
    load(p, argument(2));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2);
    load(p, argument(2) + sizeof(uint32_t));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    answer(p, failing_with(EPERM));
    answer(p, SECCOMP_RET_ALLOW);
}

static void make(program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    answer(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__ /* numbers of x32, which mean the same calls */
    add(p, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    answer(p, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t i = 0; i < COUNT_ALLOWED; i++)
        answer_number(p, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT_FATAL; i++)
        answer_number(p, fatal[i], SECCOMP_RET_KILL_PROCESS);
    allow_arguments(p);
    allow_limits(p);
#ifdef __x86_64__
    answer_number(p, SYS_fork, failing_with(EPERM));
    answer_number(p, SYS_vfork, failing_with(EPERM));
#endif
    answer(p, failing_with(ENOSYS));
}

bool srv_sandbox_enter(bool *active, char why[512])
{
    program p = {.size = 0};
    make(&p);
    const struct sock_fprog filter = {p.size, p.code};
    *active = false;
    long r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!r)
        r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    if (r > 0)
        snprintf(why, 512, "a thread has a filter of its own");
    else if (r)
        snprintf(why, 512, "%s", strerror(errno));
    *active = !r;
    return !r;
}

#else

bool srv_sandbox_enter(bool *active, char why[512])
{
    why[0] = '\0';
    *active = false;
    return true;
}

#endif
