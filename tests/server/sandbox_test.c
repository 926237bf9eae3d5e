/* What is left of the system calls, tried in children that are filtered. */
#include "server/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* How a child ends that enters the sandbox and then runs `fn`: its exit status, or minus the
 * signal; 200: it could not enter. */
static int outcome(int (*fn)(void))
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        char why[512];
        bool active;
        if (!srv_sandbox_enter(&active, why))
            printf("%s\n", why);
        fflush(stdout);
        _exit(active ? fn() : 200);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 201;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int nothing(void)
{
    return 0;
}

/* Where the kernel or an emulator has no filters, there is nothing to test. */
#define NEED_FILTERS()             \
    if (outcome(nothing) == 200) { \
        SKIP("no seccomp here");   \
    }

static void *add_one(void *n)
{
    ++*(int *)n;
    return n;
}

static int usual_work(void)
{
    int n = 0, pair[2];
    char name[] = "/tmp/uniface-sandbox-XXXXXX", byte = 'x';
    pthread_t t;
    struct rlimit limit;
    if (pthread_create(&t, NULL, add_one, &n) || pthread_join(t, NULL) || n != 1)
        return 1;
    const int f = mkstemp(name);
    if (f < 0 || write(f, &byte, 1) != 1 || fsync(f) || close(f) || unlink(name))
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != -1 || errno != ENOSYS)
        return 3; /* not used by the server, so not there */
    const int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || close(s) || getrlimit(RLIMIT_NOFILE, &limit))
        return 4;
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return m == MAP_FAILED || mprotect(m, 4096, PROT_READ) ? 5 : 0;
}

TEST(what_a_server_does_goes_on)
{
    NEED_FILTERS();
    CHECK_MSG(outcome(usual_work) == 0, "%d", outcome(usual_work));
}

static int refused(void)
{
    const int mapped = PROT_READ | PROT_WRITE | PROT_EXEC;
    struct rlimit limit = {1, 1};
    if (fork() != -1 || (errno != EPERM && errno != ENOSYS))
        return 1;
    if (socket(AF_PACKET, SOCK_RAW, 0) != -1 || errno != EPERM)
        return 2;
    if (mmap(NULL, 4096, mapped, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
        errno != EPERM)
        return 3;
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || !mprotect(m, 4096, PROT_READ | PROT_EXEC) || errno != EPERM)
        return 4;
    if (!setrlimit(RLIMIT_CORE, &limit) || errno != EPERM)
        return 5;
    if (!kill(getppid(), 0) || errno != ENOSYS)
        return 6;
    if (!syscall(SYS_tgkill, getppid(), getppid(), 0) || errno != EPERM)
        return 7;
    return syscall(100000) != -1 || errno != ENOSYS ? 8 : 0;
}

TEST(what_it_does_not_do_is_refused)
{
    NEED_FILTERS();
    CHECK_MSG(outcome(refused) == 0, "%d", outcome(refused));
}

static int run_a_program(void)
{
    char name[] = "/bin/true", *const arguments[] = {name, NULL};
    execve(name, arguments, arguments + 1);
    return 1;
}

static int debug_the_parent(void)
{
    syscall(SYS_ptrace, 16, getppid(), 0, 0);
    return 1;
}

static int leave_namespaces(void)
{
    syscall(SYS_unshare, 0x10000000);
    return 1;
}

static int become_root(void)
{
    syscall(SYS_setuid, 0);
    return 1;
}

TEST(what_an_intruder_does_ends_the_process)
{
    int (*const attempts[])(void) = {run_a_program, debug_the_parent, leave_namespaces,
                                     become_root};
    NEED_FILTERS();
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        CHECK_MSG(outcome(attempts[i]) == -SIGSYS, "%zu: %d", i, outcome(attempts[i]));
}

static int give_up(void)
{
    abort();
}

/* A failed assertion ends as it always does, so that a core is written. */
TEST(abort_still_aborts)
{
    NEED_FILTERS();
    CHECK_MSG(outcome(give_up) == -SIGABRT, "%d", outcome(give_up));
}

static void *wait_then_run(void *go)
{
    while (!atomic_load((_Atomic int *)go))
        usleep(1000);
    return run_a_program() ? go : NULL;
}

/* A thread that was there before is filtered too. */
TEST(all_threads_are_filtered)
{
    int status = 0;
    NEED_FILTERS();
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        static _Atomic int go;
        pthread_t t;
        char why[512];
        bool active;
        if (pthread_create(&t, NULL, wait_then_run, &go) || !srv_sandbox_enter(&active, why))
            _exit(1);
        atomic_store(&go, 1);
        pthread_join(t, NULL);
        _exit(2);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
          WTERMSIG(status) == SIGSYS);
}

TEST_MAIN
