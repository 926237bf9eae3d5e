/*
 * A family's series form a list that only grows, so that readers walk it without a lock; a lock
 * orders those who add to it. Numbers are the bits of doubles in atomic words. A histogram's count
 * is the sum of its buckets, so that a reader in between never sees the two differ.
 */
#include "server/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 1000 };

struct srv_series {
    const srv_family *family;
    _Atomic(srv_series *) next;
    uint64_t hash;
    const char *values[SRV_LABELS_MAX]; /* in the series' own block */
    _Atomic uint64_t number;            /* a double: the value, a histogram's sum */
    _Atomic uint64_t buckets[];         /* a histogram's; the last is +Inf */
};

typedef struct family_state {
    _Atomic(srv_series *) first;
    srv_series *last;   /* under the lock */
    size_t count;       /* under the lock */
    srv_series *hidden; /* what there is no room for */
} family_state;

struct srv_metrics {
    const srv_family *families;
    size_t count;
    pthread_mutex_t lock;
    family_state states[];
};

/* ---- series ---- */

static size_t label_count(const srv_family *f)
{
    size_t n = 0;
    while (n < SRV_LABELS_MAX && f->labels[n])
        n++;
    return n;
}

static srv_series *create_series(const srv_family *f, const char *const *values, uint64_t hash)
{
    const size_t labels = values ? label_count(f) : 0;
    const size_t words = f->type == SRV_HISTOGRAM ? f->bucket_count + 1 : 0;
    size_t size = sizeof(srv_series) + words * sizeof(uint64_t), text = size;
    for (size_t i = 0; i < labels; i++)
        size += strlen(values[i]) + 1;
    srv_series *s = calloc(1, size);
    if (!s)
        return NULL;
    s->family = f;
    s->hash = hash;
    for (size_t i = 0; i < labels; i++) {
        s->values[i] = (char *)s + text;
        memcpy((char *)s + text, values[i], strlen(values[i]) + 1);
        text += strlen(values[i]) + 1;
    }
    return s;
}

/* FNV-1a over the values and their ends. */
static uint64_t hash_values(const char *const *values, size_t count)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < count; i++) {
        const char *p = values[i];
        do
            h = (h ^ (unsigned char)*p) * 0x100000001B3u;
        while (*p++);
    }
    return h;
}

static srv_series *find(srv_series *s, const char *const *values, size_t labels, uint64_t hash)
{
    for (; s; s = atomic_load_explicit(&s->next, memory_order_acquire)) {
        bool same = s->hash == hash;
        for (size_t i = 0; i < labels && same; i++)
            same = !strcmp(s->values[i], values[i]);
        if (same)
            return s;
    }
    return NULL;
}

/* Under the lock. */
static srv_series *append(family_state *state, const srv_family *f, const char *const *values,
                          uint64_t hash)
{
    srv_series *s = state->count < SERIES_MAX ? create_series(f, values, hash) : NULL;
    if (!s)
        return state->hidden;
    atomic_store_explicit(state->last ? &state->last->next : &state->first, s,
                          memory_order_release);
    state->last = s;
    state->count++;
    return s;
}

srv_series *srv_metrics_series(srv_metrics *m, size_t f, const char *const *values)
{
    family_state *state = &m->states[f];
    const size_t labels = label_count(&m->families[f]);
    const uint64_t hash = hash_values(values, labels);
    srv_series *s =
        find(atomic_load_explicit(&state->first, memory_order_acquire), values, labels, hash);
    if (s)
        return s;
    pthread_mutex_lock(&m->lock);
    s = find(atomic_load_explicit(&state->first, memory_order_acquire), values, labels, hash);
    if (!s)
        s = append(state, &m->families[f], values, hash);
    pthread_mutex_unlock(&m->lock);
    return s;
}

srv_metrics *srv_metrics_create(const srv_family *families, size_t count)
{
    srv_metrics *m = calloc(1, sizeof *m + count * sizeof m->states[0]);
    bool complete = m != NULL;
    if (!m)
        return NULL;
    m->families = families;
    m->count = count;
    pthread_mutex_init(&m->lock, NULL);
    for (size_t f = 0; f < count; f++) {
        m->states[f].hidden = create_series(&families[f], NULL, 0);
        complete = complete && m->states[f].hidden;
        /* What has no labels is there from the start, as zero. */
        if (m->states[f].hidden && !families[f].labels[0])
            complete = complete && append(&m->states[f], &families[f], NULL,
                                          hash_values(NULL, 0)) != m->states[f].hidden;
    }
    if (!complete) {
        srv_metrics_destroy(m);
        return NULL;
    }
    return m;
}

void srv_metrics_destroy(srv_metrics *m)
{
    if (!m)
        return;
    for (size_t f = 0; f < m->count; f++) {
        srv_series *s = atomic_load(&m->states[f].first);
        while (s) {
            srv_series *next = atomic_load(&s->next);
            free(s);
            s = next;
        }
        free(m->states[f].hidden);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- numbers ---- */

static double load_number(const srv_series *s)
{
    const uint64_t bits = atomic_load_explicit(&s->number, memory_order_relaxed);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void add_number(srv_series *s, double v)
{
    uint64_t old = atomic_load_explicit(&s->number, memory_order_relaxed);
    double now;
    do {
        memcpy(&now, &old, sizeof now);
        now += v;
    } while (!atomic_compare_exchange_weak_explicit(&s->number, &old, bits_of(now),
                                                    memory_order_relaxed, memory_order_relaxed));
}

void srv_series_add(srv_series *s, double v)
{
    add_number(s, v);
}

void srv_series_set(srv_series *s, double v)
{
    atomic_store_explicit(&s->number, bits_of(v), memory_order_relaxed);
}

void srv_series_observe(srv_series *s, double v)
{
    size_t i = 0;
    while (i < s->family->bucket_count && !(v <= s->family->buckets[i]))
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    add_number(s, v);
}

double srv_series_value(const srv_series *s)
{
    uint64_t count = 0;
    if (s->family->type != SRV_HISTOGRAM)
        return load_number(s);
    for (size_t i = 0; i <= s->family->bucket_count; i++)
        count += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
    return (double)count;
}

/* ---- text ---- */

static void write_number(srv_text *out, double v)
{
    if (isnan(v))
        srv_text_puts(out, "NaN");
    else if (isinf(v))
        srv_text_puts(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == floor(v) && fabs(v) < 9007199254740992.0)
        srv_text_printf(out, "%.0f", v);
    else {
        out->comma = false;
        srv_json_number(out, v);
    }
}

static void write_escaped(srv_text *out, const char *s, bool quotes)
{
    for (; *s; s++)
        if (*s == '\n')
            srv_text_puts(out, "\\n");
        else if (*s == '\\' || (quotes && *s == '"'))
            srv_text_printf(out, "\\%c", *s);
        else
            srv_text_add(out, s, 1);
}

/* {name="value",...} with `le` at the end unless it is NULL; nothing when there are no labels. */
static void write_labels(srv_text *out, const srv_series *s, const double *le)
{
    const size_t labels = label_count(s->family);
    if (!labels && !le)
        return;
    srv_text_puts(out, "{");
    for (size_t i = 0; i < labels; i++) {
        srv_text_printf(out, "%s%s=\"", i ? "," : "", s->family->labels[i]);
        write_escaped(out, s->values[i], true);
        srv_text_puts(out, "\"");
    }
    if (le) {
        srv_text_puts(out, labels ? ",le=\"" : "le=\"");
        write_number(out, *le);
        /* OpenMetrics wants a float here, and a series must have one name in both formats. */
        srv_text_puts(out, isfinite(*le) && *le == floor(*le) ? ".0\"" : "\"");
    }
    srv_text_puts(out, "}");
}

static void write_sample(srv_text *out, const srv_series *s, const char *suffix, const double *le,
                         double v)
{
    srv_text_puts(out, s->family->name);
    srv_text_puts(out, suffix);
    write_labels(out, s, le);
    srv_text_puts(out, " ");
    write_number(out, v);
    srv_text_puts(out, "\n");
}

static void write_histogram(srv_text *out, const srv_series *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= s->family->bucket_count; i++) {
        const double le = i < s->family->bucket_count ? s->family->buckets[i] : (double)INFINITY;
        sum += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        write_sample(out, s, "_bucket", &le, (double)sum);
    }
    write_sample(out, s, "_sum", NULL, load_number(s));
    write_sample(out, s, "_count", NULL, (double)sum);
}

static void write_head(srv_text *out, const srv_family *f, bool open)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t size = strlen(f->name);
    /* OpenMetrics names a counter's family without the suffix of its samples. */
    if (open && f->type == SRV_COUNTER && size > 6 && !strcmp(f->name + size - 6, "_total"))
        size -= 6;
    srv_text_printf(out, "# HELP %.*s ", (int)size, f->name);
    write_escaped(out, f->help, open);
    srv_text_printf(out, "\n# TYPE %.*s %s\n", (int)size, f->name, types[f->type]);
}

void srv_metrics_write(srv_metrics *m, bool open, srv_text *out)
{
    for (size_t f = 0; f < m->count; f++) {
        const srv_series *s = atomic_load_explicit(&m->states[f].first, memory_order_acquire);
        if (s)
            write_head(out, &m->families[f], open);
        for (; s; s = atomic_load_explicit(&s->next, memory_order_acquire))
            if (s->family->type == SRV_HISTOGRAM)
                write_histogram(out, s);
            else
                write_sample(out, s, "", NULL, load_number(s));
    }
    if (open)
        srv_text_puts(out, "# EOF\n");
}

void srv_metrics_write_single(const srv_family *family, double v, bool open, srv_text *out)
{
    srv_series s = {.family = family};
    write_head(out, family, open);
    write_sample(out, &s, "", NULL, v);
}
