/*
 * A pool of threads for jobs of some ten microseconds.
 *
 * A network is a hundred such jobs, one after the other, so what counts is the time from the call
 * to the first task of the other workers: waking a sleeping thread takes 5 to 50 us, a spinning one
 * sees the job within a fraction of one. Workers spin a little after a job, then sleep on a futex.
 *
 * One 64-bit word, the ticket, says everything about what is left to do: the job's number above,
 * the tasks not yet taken below. A worker takes a task by compare-and-swap; that it succeeded
 * proves that the job is still running, so its function, argument and count may be read. A worker
 * that comes late finds nothing left and touches nothing, hence the caller waits only for tasks
 * that were taken, never for workers that sleep. (Rejected: a counter per job with fetch-and-add,
 * where every worker must report in before the next job may reuse it.)
 *
 * Worker's side of falling asleep: sleepers++, read epoch, look for work, wait on epoch. Caller's
 * side: publish the ticket, epoch++, wake when sleepers > 0. All of these are sequentially
 * consistent, so either the worker sees the job or the caller sees the sleeper.
 */
#include "base/threads.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"

#define MAX_THREADS 1024u
#define SPIN_NS 50000u
#define TICKET_LEFT_MASK 0xFFFFFFFFu

struct worker {
    ufi_pool *pool;
    size_t index;
    pthread_t thread;
};

struct ufi_pool {
    unsigned size;    /* workers, the caller counted; constant after create */
    uint64_t spin_ns; /* constant after create */
    struct worker *workers;

    /* The job: written while the ticket says that nothing is left, read by who took a task. */
    ufi_task_fn *fn;
    void *arg;
    size_t first; /* number of the ticket's first task */
    uint32_t count;

    _Alignas(64) atomic_uint_least64_t ticket; /* job number << 32 | tasks not yet taken */
    _Alignas(64) atomic_uint unfinished;       /* tasks not yet ended; the caller's futex */
    atomic_bool caller_sleeps;
    _Alignas(64) atomic_uint epoch; /* jobs begun; the workers' futex */
    atomic_uint sleepers;
    atomic_bool stop;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, unsigned count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Takes and runs tasks until none is left. */
static void work(ufi_pool *pool, size_t worker)
{
    unsigned done = 0;
    uint64_t t = atomic_load_explicit(&pool->ticket, memory_order_relaxed);
    while ((t & TICKET_LEFT_MASK) != 0) {
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &t, t - 1, memory_order_acquire,
                                                   memory_order_relaxed))
            continue;
        uint32_t left = (uint32_t)(t & TICKET_LEFT_MASK);
        pool->fn(pool->arg, pool->first + (pool->count - left), worker);
        done++;
        t = atomic_load_explicit(&pool->ticket, memory_order_relaxed);
        /* A job that ended may be followed by the next at once: what is counted here belongs to
         * one job only, which cannot end before it is counted. */
    }
    if (done == 0 || atomic_fetch_sub(&pool->unfinished, done) != done)
        return;
    if (atomic_load(&pool->caller_sleeps))
        futex_wake(&pool->unfinished, 1);
}

static bool has_work(ufi_pool *pool)
{
    return (atomic_load(&pool->ticket) & TICKET_LEFT_MASK) != 0 || atomic_load(&pool->stop);
}

static void wait_for_work(ufi_pool *pool)
{
    if (pool->spin_ns > 0) {
        uint64_t end = ufi_clock_ns() + pool->spin_ns;
        do {
            for (int i = 0; i < 32; i++) {
                if (has_work(pool))
                    return;
                relax();
            }
        } while (ufi_clock_ns() < end);
    }
    atomic_fetch_add(&pool->sleepers, 1);
    for (;;) {
        unsigned epoch = atomic_load(&pool->epoch);
        if (has_work(pool))
            break;
        futex_wait(&pool->epoch, epoch);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        wait_for_work(w->pool);
        if (atomic_load(&w->pool->stop))
            return NULL;
        work(w->pool, w->index);
    }
}

static void wait_for_end(ufi_pool *pool)
{
    if (pool->spin_ns > 0) {
        uint64_t end = ufi_clock_ns() + pool->spin_ns;
        do {
            for (int i = 0; i < 32; i++) {
                if (atomic_load_explicit(&pool->unfinished, memory_order_acquire) == 0)
                    return;
                relax();
            }
        } while (ufi_clock_ns() < end);
    }
    atomic_store(&pool->caller_sleeps, true);
    unsigned left;
    while ((left = atomic_load(&pool->unfinished)) != 0)
        futex_wait(&pool->unfinished, left);
    atomic_store(&pool->caller_sleeps, false);
}

static void run_part(ufi_pool *pool, size_t first, uint32_t count)
{
    pool->first = first;
    pool->count = count;
    atomic_store_explicit(&pool->unfinished, count, memory_order_relaxed);
    uint64_t job = (atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store(&pool->ticket, job << 32 | count);
    atomic_fetch_add(&pool->epoch, 1);
    unsigned sleepers = atomic_load(&pool->sleepers);
    if (sleepers > 0)
        futex_wake(&pool->epoch, sleepers < count - 1 ? sleepers : count - 1);
    work(pool, 0);
    wait_for_end(pool);
}

void ufi_pool_run(ufi_pool *pool, ufi_task_fn *fn, void *arg, size_t count)
{
    if (pool->size == 1 || count <= 1) {
        for (size_t i = 0; i < count; i++)
            fn(arg, i, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    for (size_t first = 0; first < count;) {
        size_t part = count - first < INT32_MAX ? count - first : INT32_MAX;
        run_part(pool, first, (uint32_t)part);
        first += part;
    }
}

/* Makes the threads; stops at the first that the system refuses. Signals are for the program's own
 * threads, so ours block them all. */
static void start_workers(ufi_pool *pool, unsigned threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
            break;
        pool->size++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

uf_status ufi_pool_create(ufi_pool **out, unsigned threads, uf_error *err)
{
    *out = NULL;
    if (threads < 1 || threads > MAX_THREADS)
        return ufi_fail(err, UF_E_ARG, "%u threads asked for; 1 to %u are possible", threads,
                        MAX_THREADS);
    ufi_pool *pool = ufi_aligned_calloc(sizeof *pool);
    if (!pool)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a pool of threads");
    pool->size = 1;
    pool->workers = ufi_calloc(threads, sizeof *pool->workers);
    if (!pool->workers) {
        ufi_pool_destroy(pool);
        return ufi_fail(err, UF_E_NOMEM, "no memory for %u threads", threads);
    }
    /* A thread that spins on a core which another one needs delays what it waits for. */
    pool->spin_ns = threads > 1 && threads <= ufi_cpu_count() ? SPIN_NS : 0;
    start_workers(pool, threads);
    *out = pool;
    return UF_OK;
}

void ufi_pool_destroy(ufi_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->epoch, 1);
    futex_wake(&pool->epoch, MAX_THREADS);
    for (unsigned i = 1; i < pool->size; i++)
        pthread_join(pool->workers[i].thread, NULL);
    ufi_free(pool->workers);
    ufi_free(pool);
}

unsigned ufi_pool_size(const ufi_pool *pool)
{
    return pool->size;
}

struct ufi_mutex {
    pthread_mutex_t mutex;
};

uf_status ufi_mutex_create(ufi_mutex **out, uf_error *err)
{
    *out = NULL;
    ufi_mutex *m = ufi_calloc(1, sizeof *m);
    if (!m)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a mutex");
    if (pthread_mutex_init(&m->mutex, NULL) != 0) {
        ufi_free(m);
        return ufi_fail(err, UF_E_NOMEM, "the system refuses a mutex");
    }
    *out = m;
    return UF_OK;
}

void ufi_mutex_destroy(ufi_mutex *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->mutex);
    ufi_free(m);
}

void ufi_mutex_lock(ufi_mutex *m)
{
    pthread_mutex_lock(&m->mutex);
}

void ufi_mutex_unlock(ufi_mutex *m)
{
    pthread_mutex_unlock(&m->mutex);
}

struct ufi_condition {
    pthread_cond_t condition;
};

uf_status ufi_condition_create(ufi_condition **out, uf_error *err)
{
    *out = NULL;
    ufi_condition *c = ufi_calloc(1, sizeof *c);
    if (!c)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a condition");
    if (pthread_cond_init(&c->condition, NULL) != 0) {
        ufi_free(c);
        return ufi_fail(err, UF_E_NOMEM, "the system refuses a condition");
    }
    *out = c;
    return UF_OK;
}

void ufi_condition_destroy(ufi_condition *c)
{
    if (!c)
        return;
    pthread_cond_destroy(&c->condition);
    ufi_free(c);
}

void ufi_condition_wait(ufi_condition *c, ufi_mutex *m)
{
    pthread_cond_wait(&c->condition, &m->mutex);
}

void ufi_condition_wake_all(ufi_condition *c)
{
    pthread_cond_broadcast(&c->condition);
}

struct ufi_thread {
    pthread_t thread;
    void (*fn)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    ufi_thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

uf_status ufi_thread_start(ufi_thread **out, void (*fn)(void *arg), void *arg, uf_error *err)
{
    sigset_t all, before;
    *out = NULL;
    ufi_thread *t = ufi_calloc(1, sizeof *t);
    if (!t)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a thread");
    t->fn = fn;
    t->arg = arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int refused = pthread_create(&t->thread, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (refused) {
        ufi_free(t);
        return ufi_fail(err, UF_E_NOMEM, "the system refuses a thread");
    }
    *out = t;
    return UF_OK;
}

void ufi_thread_join(ufi_thread *t)
{
    if (!t)
        return;
    pthread_join(t->thread, NULL);
    ufi_free(t);
}

struct ufi_rwlock {
    pthread_rwlock_t lock;
};

uf_status ufi_rwlock_create(ufi_rwlock **out, uf_error *err)
{
    *out = NULL;
    ufi_rwlock *l = ufi_calloc(1, sizeof *l);
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a lock");
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
#if defined(__GLIBC__)
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    const int refused = pthread_rwlock_init(&l->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    if (refused) {
        ufi_free(l);
        return ufi_fail(err, UF_E_NOMEM, "the system refuses a lock");
    }
    *out = l;
    return UF_OK;
}

void ufi_rwlock_destroy(ufi_rwlock *l)
{
    if (!l)
        return;
    pthread_rwlock_destroy(&l->lock);
    ufi_free(l);
}

void ufi_rwlock_read(ufi_rwlock *l)
{
    pthread_rwlock_rdlock(&l->lock);
}

void ufi_rwlock_write(ufi_rwlock *l)
{
    pthread_rwlock_wrlock(&l->lock);
}

void ufi_rwlock_unlock(ufi_rwlock *l)
{
    pthread_rwlock_unlock(&l->lock);
}
