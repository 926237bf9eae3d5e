/* A table of hashed names. Two names may share an entry only when 64 bits of a keyed hash agree. */
#include "server/guard.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "server/server.h"

enum { NAMES = 8192, WAYS = 8, KEY_FAILURES = 10, KEY_LOCK_SECONDS = 60 };

typedef struct entry {
    uint64_t name; /* 0: free */
    double used;   /* last */
    double tokens; /* of a rate */
    unsigned failures;
    double locked_until;
} entry;

struct srv_guard {
    double rate, seconds;
    unsigned failures;
    uint8_t key[crypto_shorthash_KEYBYTES];
    pthread_mutex_t lock; /* protects the table */
    entry table[NAMES];
};

srv_guard *srv_guard_create(double rate, unsigned failures, double seconds)
{
    srv_guard *g = sodium_init() < 0 ? NULL : calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->rate = rate;
    g->failures = failures;
    g->seconds = seconds;
    randombytes_buf(g->key, sizeof g->key);
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void srv_guard_destroy(srv_guard *g)
{
    if (!g)
        return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static uint64_t hash(const srv_guard *g, srv_guarded what, const char *name)
{
    uint64_t h;
    crypto_shorthash((uint8_t *)&h, (const uint8_t *)name, strlen(name), g->key);
    return (h + (uint64_t)what * 0x9E3779B97F4A7C15u) | 1;
}

/* The entry of the name, else the one of its set that was not used for the longest time. */
static entry *find(srv_guard *g, srv_guarded what, const char *name, double now)
{
    const uint64_t h = hash(g, what, name);
    entry *set = &g->table[(h >> 32) % (NAMES / WAYS) * WAYS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].name == h)
            return &set[i];
        if (set[i].used < oldest->used)
            oldest = &set[i];
    }
    *oldest = (entry){.name = h, .used = now, .tokens = 2 * g->rate};
    return oldest;
}

int srv_guard_take(srv_guard *g, const char *client)
{
    int wait = 0;
    if (g->rate <= 0)
        return 0;
    const double now = srv_now(), room = fmax(1, 2 * g->rate);
    pthread_mutex_lock(&g->lock);
    entry *e = find(g, SRV_GUARD_RATE, client, now);
    e->tokens = fmin(room, e->tokens + (now - e->used) * g->rate);
    e->used = now;
    if (e->tokens >= 1)
        e->tokens -= 1;
    else
        wait = (int)ceil((1 - e->tokens) / g->rate);
    pthread_mutex_unlock(&g->lock);
    return wait;
}

int srv_guard_locked(srv_guard *g, srv_guarded what, const char *name)
{
    const double now = srv_now();
    pthread_mutex_lock(&g->lock);
    const entry *e = find(g, what, name, now);
    const double left = e->locked_until - now;
    pthread_mutex_unlock(&g->lock);
    return left > 0 ? (int)ceil(left) : 0;
}

void srv_guard_failed(srv_guard *g, srv_guarded what, const char *name)
{
    const double now = srv_now();
    const bool keys = what == SRV_GUARD_KEYS;
    pthread_mutex_lock(&g->lock);
    entry *e = find(g, what, name, now);
    e->used = now;
    if (++e->failures >= (keys ? KEY_FAILURES : g->failures)) {
        e->failures = 0;
        e->locked_until = now + (keys ? KEY_LOCK_SECONDS : g->seconds);
    }
    pthread_mutex_unlock(&g->lock);
}

void srv_guard_passed(srv_guard *g, srv_guarded what, const char *name)
{
    pthread_mutex_lock(&g->lock);
    find(g, what, name, srv_now())->failures = 0;
    pthread_mutex_unlock(&g->lock);
}
