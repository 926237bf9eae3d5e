/* The pool: every task runs exactly once, jobs do not overlap, starting one allocates nothing. */
#include "base/threads.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "test.h"

typedef struct count_job {
    atomic_int runs[257];
    atomic_int bad_worker;
    unsigned size;
} count_job;

static void count_task(void *arg, size_t task, size_t worker)
{
    count_job *job = arg;
    atomic_fetch_add(&job->runs[task], 1);
    if (worker >= job->size)
        atomic_store(&job->bad_worker, 1);
}

static void check_pool(unsigned threads)
{
    uf_error err = {0};
    ufi_pool *pool = NULL;
    static count_job job;
    memset(&job, 0, sizeof job);
    REQUIRE_OK(ufi_pool_create(&pool, threads, &err), err);
    job.size = ufi_pool_size(pool);
    CHECK(job.size >= 1 && job.size <= threads);
    uint64_t before = ufi_mem_allocation_count();
    for (size_t n = 0; n <= 257; n++)
        ufi_pool_run(pool, count_task, &job, n);
    CHECK(ufi_mem_allocation_count() == before);
    for (size_t i = 0; i < 257; i++)
        CHECK_MSG(job.runs[i] == (int)(257 - i), "task %zu of %u threads ran %d times", i, threads,
                  job.runs[i]);
    CHECK(!job.bad_worker);
    ufi_pool_destroy(pool);
}

TEST(every_task_runs_once)
{
    for (unsigned threads = 1; threads <= 5; threads++)
        check_pool(threads);
}

TEST(pools_come_and_go)
{
    uf_error err = {0};
    for (int i = 0; i < 50; i++) {
        ufi_pool *pool = NULL;
        REQUIRE_OK(ufi_pool_create(&pool, 3, &err), err);
        ufi_pool_destroy(pool);
    }
    ufi_pool_destroy(NULL);
    ufi_pool *none = NULL;
    CHECK(ufi_pool_create(&none, 0, &err) == UF_E_ARG);
}

TEST(mutex_excludes)
{
    uf_error err = {0};
    ufi_mutex *m = NULL;
    REQUIRE_OK(ufi_mutex_create(&m, &err), err);
    ufi_mutex_lock(m);
    ufi_mutex_unlock(m);
    ufi_mutex_destroy(m);
    ufi_mutex_destroy(NULL);
}

typedef struct meeting {
    ufi_mutex *mutex;
    ufi_condition *changed;
    int turn;
} meeting;

/* Waits for turn 1 and makes it 2. */
static void answer_turn(void *arg)
{
    meeting *m = arg;
    ufi_mutex_lock(m->mutex);
    while (m->turn != 1)
        ufi_condition_wait(m->changed, m->mutex);
    m->turn = 2;
    ufi_condition_wake_all(m->changed);
    ufi_mutex_unlock(m->mutex);
}

TEST(threads_wait_for_each_other)
{
    uf_error err = {0};
    meeting m = {0};
    ufi_thread *t = NULL;
    REQUIRE_OK(ufi_mutex_create(&m.mutex, &err), err);
    REQUIRE_OK(ufi_condition_create(&m.changed, &err), err);
    REQUIRE_OK(ufi_thread_start(&t, answer_turn, &m, &err), err);
    ufi_mutex_lock(m.mutex);
    m.turn = 1;
    ufi_condition_wake_all(m.changed);
    while (m.turn != 2)
        ufi_condition_wait(m.changed, m.mutex);
    ufi_mutex_unlock(m.mutex);
    ufi_thread_join(t);
    ufi_thread_join(NULL);
    ufi_condition_destroy(m.changed);
    ufi_condition_destroy(NULL);
    ufi_mutex_destroy(m.mutex);
}

TEST_MAIN
