/* uniface top: what a running server is doing, from two readings of its metrics. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "http_get.h"
#include "prometheus.h"

/* The server's names of what is shown. */
static const char requests_name[] = "uniface_requests_total";
static const char latency_name[] = "uniface_request_seconds";
static const char stage_name[] = "uniface_stage_seconds";
static const char queue_name[] = "uniface_queue_depth";
static const char batch_name[] = "uniface_batch_size";
static const char people_name[] = "uniface_gallery_people";
static const char templates_name[] = "uniface_gallery_templates";

typedef struct reading {
    prom_text metrics;
    double at_ms;
} reading;

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* 0, or the exit status after having said what is wrong. */
static int take_reading(const char *url, const http_options *o, reading *r)
{
    http_answer answer;
    if (!http_get(url, "/metrics", o, &answer)) {
        free(answer.body);
        return cli_complain(EXIT_INPUT, "%s", answer.why);
    }
    r->at_ms = cli_now_ms();
    if (answer.status != 200) {
        free(answer.body);
        return cli_complain(EXIT_INPUT, "%s answers %d to a request for its metrics%s", url,
                            answer.status,
                            answer.status == 401 || answer.status == 403
                                ? "; --key, or UNIFACE_API_KEY, gives a key"
                                : "");
    }
    if (!prom_read(&r->metrics, answer.body)) {
        prom_free(&r->metrics);
        return cli_complain(EXIT_INPUT, "%s does not answer with metrics", url);
    }
    return 0;
}

/* ---- numbers ---- */

typedef struct view {
    const prom_text *before, *after;
    double seconds;
} view;

static double difference(const view *v, const char *name, const char *label, const char *prefix)
{
    return prom_sum(v->after, name, label, prefix) - prom_sum(v->before, name, label, prefix);
}

static double gauge(const view *v, const char *name)
{
    return prom_sum(v->after, name, NULL, NULL);
}

static double uptime(const view *v)
{
    return (double)time(NULL) - gauge(v, "process_start_time_seconds");
}

/* ---- JSON ---- */

static void json_rows(cli_json *j, const view *v, const char *key, const char *metric,
                      const char *label)
{
    static prom_row rows[PROM_ROWS];
    const size_t count = prom_histogram(v->before, v->after, metric, label, rows);
    json_open(j, key, '[');
    for (size_t i = 0; i < count; i++) {
        json_open(j, NULL, '{');
        json_text(j, label, rows[i].label);
        json_number(j, "per_second", rows[i].count / v->seconds);
        json_number(j, "mean_ms", rows[i].sum / rows[i].count * 1e3);
        json_number(j, "p50_ms", prom_quantile(&rows[i], 0.5) * 1e3);
        json_number(j, "p99_ms", prom_quantile(&rows[i], 0.99) * 1e3);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_batches(cli_json *j, const view *v)
{
    static prom_row rows[PROM_ROWS];
    const size_t count = prom_histogram(v->before, v->after, batch_name, "network", rows);
    json_open(j, "batches", '[');
    for (size_t i = 0; i < count; i++) {
        json_open(j, NULL, '{');
        json_text(j, "network", rows[i].label);
        json_number(j, "per_second", rows[i].count / v->seconds);
        json_number(j, "mean_size", rows[i].sum / rows[i].count);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_json(const view *v)
{
    cli_json j = {.f = stdout};
    json_open(&j, NULL, '{');
    json_number(&j, "seconds", v->seconds);
    json_number(&j, "requests_per_second", difference(v, requests_name, NULL, NULL) / v->seconds);
    json_number(&j, "client_errors_per_second",
                difference(v, requests_name, "status", "4") / v->seconds);
    json_number(&j, "server_errors_per_second",
                difference(v, requests_name, "status", "5") / v->seconds);
    json_number(&j, "queue_depth", gauge(v, queue_name));
    json_rows(&j, v, "routes", latency_name, "route");
    json_rows(&j, v, "stages", stage_name, "stage");
    json_batches(&j, v);
    json_number(&j, "processors_used",
                difference(v, "process_cpu_seconds_total", NULL, NULL) / v->seconds);
    json_number(&j, "resident_bytes", gauge(v, "process_resident_memory_bytes"));
    json_number(&j, "open_files", gauge(v, "process_open_fds"));
    json_number(&j, "threads", gauge(v, "process_threads"));
    json_number(&j, "uptime_seconds", uptime(v));
    json_number(&j, "people", gauge(v, people_name));
    json_number(&j, "templates", gauge(v, templates_name));
    json_close(&j, '}');
    json_end(&j);
}

/* ---- a screen ---- */

static void print_ms(double seconds)
{
    if (isfinite(seconds))
        printf("%10.2f", seconds * 1e3);
    else
        printf("%10s", "-");
}

static void print_rows(const view *v, const char *metric, const char *label)
{
    static prom_row rows[PROM_ROWS];
    const size_t count = prom_histogram(v->before, v->after, metric, label, rows);
    printf("\033[1m%-36s%10s%10s%10s%10s\033[0m\n", label, "per s", "mean ms", "p50 ms", "p99 ms");
    for (size_t i = 0; i < count && i < 10; i++) {
        printf("%-36.36s%10.1f", rows[i].label, rows[i].count / v->seconds);
        print_ms(rows[i].sum / rows[i].count);
        print_ms(prom_quantile(&rows[i], 0.5));
        print_ms(prom_quantile(&rows[i], 0.99));
        putchar('\n');
    }
}

static void print_screen(const view *v, const char *url)
{
    static prom_row rows[PROM_ROWS];
    printf("\033[1muniface\033[0m %s   up %.0f s   processors %.2f   memory %.1f MiB   files %.0f"
           "   threads %.0f\n",
           url, uptime(v), difference(v, "process_cpu_seconds_total", NULL, NULL) / v->seconds,
           gauge(v, "process_resident_memory_bytes") / 1048576, gauge(v, "process_open_fds"),
           gauge(v, "process_threads"));
    printf("requests %.1f/s   errors 4xx %.1f/s, 5xx %.1f/s   queue %.0f   people %.0f   templates "
           "%.0f\n\n",
           difference(v, requests_name, NULL, NULL) / v->seconds,
           difference(v, requests_name, "status", "4") / v->seconds,
           difference(v, requests_name, "status", "5") / v->seconds, gauge(v, queue_name),
           gauge(v, people_name), gauge(v, templates_name));
    print_rows(v, latency_name, "route");
    putchar('\n');
    print_rows(v, stage_name, "stage");
    printf("\n\033[1m%-36s%10s%10s\033[0m\n", "network", "per s", "batch");
    const size_t count = prom_histogram(v->before, v->after, batch_name, "network", rows);
    for (size_t i = 0; i < count; i++)
        printf("%-36.36s%10.1f%10.2f\n", rows[i].label, rows[i].count / v->seconds,
               rows[i].count > 0 ? rows[i].sum / rows[i].count : 0);
    fflush(stdout);
}

static void show(const cli_args *a, const char *url, const reading *before, const reading *after)
{
    const view v = {&before->metrics, &after->metrics, (after->at_ms - before->at_ms) / 1e3};
    if (a->json) {
        print_json(&v);
        return;
    }
    if (!cli_flag(a, "once"))
        fputs("\033[H\033[2J", stdout);
    print_screen(&v, url);
}

static int run_top(const cli_args *a)
{
    double interval;
    http_options o;
    reading r[2] = {0};
    const char *url = http_arguments(a, &o);
    if (!url || !cli_number(a, "interval", 0.05, 3600, 1, &interval))
        return EXIT_USAGE;
    o.key = cli_value(a, "key");
    if (!o.key)
        o.key = getenv("UNIFACE_API_KEY");
    signal(SIGINT, stop);
    int status = take_reading(url, &o, &r[0]);
    for (int i = 1; !status && !stopped; i = 1 - i) {
        usleep((useconds_t)(interval * 1e6));
        if (stopped)
            break;
        status = take_reading(url, &o, &r[i]);
        if (!status)
            show(a, url, &r[1 - i], &r[i]);
        prom_free(&r[1 - i].metrics);
        if (cli_flag(a, "once"))
            break;
    }
    prom_free(&r[0].metrics);
    prom_free(&r[1].metrics);
    return status;
}

const cli_command cli_top = {
    .name = "top",
    .summary = "Show what a server is doing: requests, latencies, queues, batches, memory",
    .operands = "[URL]",
    .min_operands = 0,
    .max_operands = 1,
    .options = {{"interval", 0, "S", "seconds between two readings (default 1)"},
                {"once", 0, NULL, "end after the first two readings"},
                {"key", 0, "KEY", "API key (default: UNIFACE_API_KEY)"},
                {"timeout", 0, "MS", "of a reading (default 3000)"},
                {"ca", 0, "FILE", "PEM file of who may sign the server's certificate"},
                {"insecure", 0, NULL, "take any certificate"}},
    .details =
        "Reads /metrics of the server at URL (http://127.0.0.1:8000 when none is given) and\n"
        "shows what changed between two readings. With --json it prints an object for each.",
    .examples = "  uniface top\n"
                "  uniface top https://faces.example:8443 --once --json\n",
    .run = run_top,
};
