/* The result as one object of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "server/text.h"

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Percentiles by rank in milliseconds; null where there is nothing. */
static void write_times(srv_text *t, const char *name, float *seconds, size_t count)
{
    static const struct {
        const char *name;
        double share;
    } ranks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    double sum = 0;
    qsort(seconds, count, sizeof *seconds, compare_floats);
    for (size_t i = 0; i < count; i++)
        sum += (double)seconds[i];
    srv_json_key(t, name);
    if (!count) {
        srv_json_null(t);
        return;
    }
    srv_json_open(t, '{');
    srv_json_key(t, "count");
    srv_json_integer(t, (int64_t)count);
    srv_json_key(t, "mean");
    srv_json_number(t, (double)(float)(sum / (double)count * 1e3));
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        size_t rank = (size_t)(ranks[i].share * (double)count + 0.999999);
        rank = rank > count ? count : rank ? rank : 1;
        srv_json_key(t, ranks[i].name);
        srv_json_number(t, (double)(seconds[rank - 1] * 1e3f));
    }
    srv_json_close(t, '}');
}

static bool is_rejection(int status)
{
    return status == 503 || status == 429;
}

/* Times of the records that are rejections or not: from when they were due, or were sent. */
static void write_kind(srv_text *t, const char *name, const load_result *r, bool rejected, bool due)
{
    float *times = malloc((r->count + 1) * sizeof *times);
    size_t n = 0;
    for (size_t i = 0; times && i < r->count; i++) {
        const load_record *x = &r->records[i];
        if (rejected ? is_rejection(x->status) : x->status >= 200 && x->status < 300)
            times[n++] = due ? x->latency : x->service;
    }
    write_times(t, name, times, n);
    free(times);
}

static void member(srv_text *t, const char *name, double v)
{
    srv_json_key(t, name);
    srv_json_number(t, v);
}

static void write_statuses(srv_text *t, const load_result *r)
{
    static size_t counts[600];
    char name[16];
    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].status < 600)
            counts[r->records[i].status]++;
    srv_json_key(t, "status");
    srv_json_open(t, '{');
    for (int s = 1; s < 600; s++)
        if (counts[s]) {
            snprintf(name, sizeof name, "%d", s);
            member(t, name, (double)counts[s]);
        }
    srv_json_close(t, '}');
}

static void write_load(srv_text *t, const load_options *o, const load_result *r)
{
    size_t good = 0, rejected = 0;
    for (size_t i = 0; i < r->count; i++) {
        good += r->records[i].status >= 200 && r->records[i].status < 300;
        rejected += is_rejection(r->records[i].status);
    }
    if (o->mode == LOAD_OPEN)
        member(t, "rate", o->rate);
    member(t, "due", (double)r->due);
    member(t, "ended", (double)r->count);
    /* due, but no connection was free before the end */
    member(t, "never_sent", (double)r->due - (double)r->count);
    member(t, "goodput", (double)good / r->seconds);
    member(t, "rejected", (double)rejected);
    write_statuses(t, r);
    write_kind(t, "latency_ms", r, false, true);
    write_kind(t, "service_ms", r, false, false);
    write_kind(t, "rejection_ms", r, true, false);
    member(t, "backlog_max", (double)r->backlog_max);
}

void load_report(const load_options *o, load_result *r)
{
    static const char *const modes[] = {"open",      "closed",    "slow-header",
                                        "slow-body", "slow-read", "idle"};
    srv_text t = {0};
    srv_json_open(&t, '{');
    srv_json_key(&t, "mode");
    srv_json_string(&t, modes[o->mode]);
    member(&t, "seconds", r->seconds);
    member(&t, "connections", (double)o->connections);
    if (o->mode <= LOAD_CLOSED) {
        write_load(&t, o, r);
    } else {
        member(&t, "open_max", (double)r->open_max);
        member(&t, "open_end", (double)r->open_end);
        member(&t, "closed_by_server", (double)r->closed_by_server);
        member(&t, "answered", (double)r->answered);
    }
    member(&t, "connects", (double)r->connects);
    srv_json_key(&t, "errors");
    srv_json_open(&t, '{');
    member(&t, "connect", (double)r->connect_errors);
    member(&t, "reset", (double)r->resets);
    member(&t, "timeout", (double)r->timeouts);
    member(&t, "bad_answer", (double)r->bad_answers);
    srv_json_close(&t, '}');
    member(&t, "generator_processor_share", r->processor_seconds / r->seconds);
    srv_json_close(&t, '}');
    puts(t.failed ? "null" : t.data);
    srv_text_free(&t);
}
