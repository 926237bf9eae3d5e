/*
 * A pool of threads for one engine context. Work comes in jobs that are cut into `count` tasks;
 * workers (the calling thread is worker 0) take tasks one after the other. Between two jobs that
 * follow closely, workers spin for some microseconds, then sleep. Starting a job allocates nothing.
 * Floor 1. Confined: one job at a time, from the thread that owns the pool.
 */
#ifndef UFI_BASE_THREADS_H
#define UFI_BASE_THREADS_H

#include <stddef.h>

#include "uniface/base.h"

typedef struct ufi_pool ufi_pool;

/* `task` in 0..count-1, `worker` in 0..ufi_pool_size-1 (index of per-worker scratch). */
typedef void ufi_task_fn(void *arg, size_t task, size_t worker);

/* `threads` >= 1 counts the calling thread; 1 makes no thread at all. When the system refuses
 * threads, the pool has fewer (ufi_pool_size tells) and works. Errors: UF_E_NOMEM, UF_E_ARG. */
uf_status ufi_pool_create(ufi_pool **out, unsigned threads, uf_error *err);
void ufi_pool_destroy(ufi_pool *pool);
unsigned ufi_pool_size(const ufi_pool *pool);
/* Runs all tasks and returns when the last has ended. */
void ufi_pool_run(ufi_pool *pool, ufi_task_fn *fn, void *arg, size_t count);

typedef struct ufi_mutex ufi_mutex;
uf_status ufi_mutex_create(ufi_mutex **out, uf_error *err);
void ufi_mutex_destroy(ufi_mutex *m);
void ufi_mutex_lock(ufi_mutex *m);
void ufi_mutex_unlock(ufi_mutex *m);

/* What threads wait on until others have changed something, with the mutex that protects it. */
typedef struct ufi_condition ufi_condition;
uf_status ufi_condition_create(ufi_condition **out, uf_error *err);
void ufi_condition_destroy(ufi_condition *c);
/* Lets go of the mutex while it waits; may return without cause. */
void ufi_condition_wait(ufi_condition *c, ufi_mutex *m);
void ufi_condition_wake_all(ufi_condition *c);

/* A thread with work of its own, all signals blocked. Join it once; NULL is accepted. */
typedef struct ufi_thread ufi_thread;
uf_status ufi_thread_start(ufi_thread **out, void (*fn)(void *arg), void *arg, uf_error *err);
void ufi_thread_join(ufi_thread *t);

/* Many readers or one writer; a waiting writer goes before new readers. A reader may not lock
 * again. */
typedef struct ufi_rwlock ufi_rwlock;
uf_status ufi_rwlock_create(ufi_rwlock **out, uf_error *err);
void ufi_rwlock_destroy(ufi_rwlock *l);
void ufi_rwlock_read(ufi_rwlock *l);
void ufi_rwlock_write(ufi_rwlock *l);
void ufi_rwlock_unlock(ufi_rwlock *l);

#endif
