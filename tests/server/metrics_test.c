/* Metrics: what is counted, also by many threads at once, and how it is written. */
#include "server/metrics.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static const double bounds[] = {0.001, 0.25, 1, 10};
enum { REQUESTS, DEPTH, SECONDS, PLAIN, FAMILIES };
static const srv_family families[FAMILIES] = {
    {"uniface_requests_total", "Requests.", SRV_COUNTER, {"route", "code"}, NULL, 0},
    {"uniface_queue_depth", "A \\ and a\nline end.", SRV_GAUGE, {"stage"}, NULL, 0},
    {"uniface_request_seconds", "Time.", SRV_HISTOGRAM, {"route"}, bounds, 4},
    {"uniface_plain_total", "No labels.", SRV_COUNTER, {NULL}, NULL, 0}};

TEST(text_line_by_line)
{
    static const char *const want =
        "# HELP uniface_requests_total Requests.\n# TYPE uniface_requests_total counter\n"
        "uniface_requests_total{route=\"/v1\",code=\"200\"} 3\n"
        "uniface_requests_total{route=\"a\\\"\\\\\\n\",code=\"500\"} 0.5\n"
        "# HELP uniface_queue_depth A \\\\ and a\\nline end.\n# TYPE uniface_queue_depth gauge\n"
        "uniface_queue_depth{stage=\"x\"} -2.25\n"
        "uniface_queue_depth{stage=\"y\"} NaN\n"
        "# HELP uniface_request_seconds Time.\n# TYPE uniface_request_seconds histogram\n"
        "uniface_request_seconds_bucket{route=\"r\",le=\"0.001\"} 1\n"
        "uniface_request_seconds_bucket{route=\"r\",le=\"0.25\"} 2\n"
        "uniface_request_seconds_bucket{route=\"r\",le=\"1.0\"} 2\n"
        "uniface_request_seconds_bucket{route=\"r\",le=\"10.0\"} 2\n"
        "uniface_request_seconds_bucket{route=\"r\",le=\"+Inf\"} 3\n"
        "uniface_request_seconds_sum{route=\"r\"} 11.251\n"
        "uniface_request_seconds_count{route=\"r\"} 3\n"
        "# HELP uniface_plain_total No labels.\n# TYPE uniface_plain_total counter\n"
        "uniface_plain_total 0\n";
    srv_metrics *m = srv_metrics_create(families, FAMILIES);
    srv_text t = {0};
    REQUIRE(m);
    srv_series_add(srv_metrics_series(m, REQUESTS, (const char *[]){"/v1", "200"}), 2);
    srv_series_add(srv_metrics_series(m, REQUESTS, (const char *[]){"a\"\\\n", "500"}), 0.5);
    srv_series_add(srv_metrics_series(m, REQUESTS, (const char *[]){"/v1", "200"}), 1);
    srv_series_set(srv_metrics_series(m, DEPTH, (const char *[]){"x"}), 4);
    srv_series_add(srv_metrics_series(m, DEPTH, (const char *[]){"x"}), -6.25);
    srv_series_set(srv_metrics_series(m, DEPTH, (const char *[]){"y"}), (double)NAN);
    srv_series *h = srv_metrics_series(m, SECONDS, (const char *[]){"r"});
    srv_series_observe(h, 0.001); /* bounds belong to their bucket */
    srv_series_observe(h, 0.25);
    srv_series_observe(h, 11);
    CHECK(srv_series_value(h) == 3);
    srv_metrics_write(m, false, &t);
    CHECK_MSG(!strcmp(t.data, want), "%s", t.data);
    srv_text_free(&t);
    srv_metrics_write(m, true, &t);
    CHECK(strstr(t.data, "# TYPE uniface_requests counter\nuniface_requests_total{"));
    CHECK(strstr(t.data, "uniface_plain_total 0\n# EOF\n"));
    srv_text_free(&t);
    srv_metrics_destroy(m);
}

TEST(labels_are_told_apart)
{
    srv_metrics *m = srv_metrics_create(families, FAMILIES);
    REQUIRE(m);
    srv_series *ab = srv_metrics_series(m, REQUESTS, (const char *[]){"a", "b"});
    CHECK(ab != srv_metrics_series(m, REQUESTS, (const char *[]){"ab", ""}));
    CHECK(ab != srv_metrics_series(m, REQUESTS, (const char *[]){"", "ab"}));
    CHECK(ab == srv_metrics_series(m, REQUESTS, (const char *[]){"a", "b"}));
    srv_metrics_destroy(m);
}

TEST(a_family_has_an_end)
{
    srv_metrics *m = srv_metrics_create(families, FAMILIES);
    srv_text t = {0};
    REQUIRE(m);
    for (int i = 0; i < 1500; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        srv_series_set(srv_metrics_series(m, DEPTH, (const char *[]){name}), i);
    }
    srv_metrics_write(m, false, &t);
    CHECK(strstr(t.data, "stage=\"s999\"} 999\n") && !strstr(t.data, "s1000"));
    srv_text_free(&t);
    srv_metrics_destroy(m);
}

enum { THREADS = 8, ROUNDS = 20000 };

static void *count(void *user)
{
    srv_metrics *m = user;
    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i % 40);
        srv_series_add(srv_metrics_series(m, REQUESTS, (const char *[]){name, "200"}), 1);
        srv_series_observe(srv_metrics_series(m, SECONDS, (const char *[]){name}), i % 12);
        srv_series_add(srv_metrics_series(m, PLAIN, NULL), 0.5);
    }
    return NULL;
}

TEST(threads_lose_nothing)
{
    srv_metrics *m = srv_metrics_create(families, FAMILIES);
    pthread_t threads[THREADS];
    double requests = 0, seconds = 0;
    REQUIRE(m);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(!pthread_create(&threads[i], NULL, count, m));
    for (int i = 0; i < 20; i++) { /* meanwhile it is read */
        srv_text t = {0};
        srv_metrics_write(m, i % 2, &t);
        CHECK(!t.failed);
        srv_text_free(&t);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        requests +=
            srv_series_value(srv_metrics_series(m, REQUESTS, (const char *[]){name, "200"}));
        seconds += srv_series_value(srv_metrics_series(m, SECONDS, (const char *[]){name}));
    }
    CHECK(requests == THREADS * ROUNDS && seconds == THREADS * ROUNDS);
    CHECK(srv_series_value(srv_metrics_series(m, PLAIN, NULL)) == THREADS * ROUNDS / 2);
    srv_metrics_destroy(m);
}

/* The value of a sample without labels; NaN when it is not there. */
static double sample(const char *text, const char *name)
{
    for (const char *p = text; (p = strstr(p, name)); p++)
        if ((p == text || p[-1] == '\n') && p[strlen(name)] == ' ')
            return strtod(p + strlen(name), NULL);
    return (double)NAN;
}

TEST(the_process_is_described)
{
    static const char *const names[] = {"process_cpu_seconds_total",
                                        "process_resident_memory_bytes",
                                        "process_virtual_memory_bytes",
                                        "process_start_time_seconds",
                                        "process_threads",
                                        "process_open_fds",
                                        "process_max_fds"};
    srv_text a = {0}, b = {0};
    const double start = (double)clock() / CLOCKS_PER_SEC;
    srv_metrics_write_process(false, &a);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_MSG(sample(a.data, names[i]) >= 0, "%s in %s", names[i], a.data);
    const double cpu = sample(a.data, "process_cpu_seconds_total");
    CHECK_MSG(cpu <= start + 0.5, "%g s", cpu);
    const double began = sample(a.data, "process_start_time_seconds"), now = (double)time(NULL);
    CHECK_MSG(began > now - 3600 && began < now + 5, "it began %g s ago", now - began);
#ifndef UF_CROSS_BUILD /* an emulator's /proc/self/stat is empty but for a few numbers */
    CHECK(sample(a.data, "process_resident_memory_bytes") > 1e5);
    CHECK(sample(a.data, "process_threads") >= 1);
#endif
    const int files[3] = {dup(0), dup(0), dup(0)};
    srv_metrics_write_process(false, &b);
    CHECK(sample(b.data, "process_open_fds") == sample(a.data, "process_open_fds") + 3);
    for (int i = 0; i < 3; i++)
        close(files[i]);
    srv_text_free(&a);
    srv_text_free(&b);
}

/* For promtool: what the parts write, in full. */
static int write_sample_text(void)
{
    srv_metrics *m = srv_metrics_create(families, FAMILIES);
    srv_text t = {0};
    if (!m)
        return 1;
    srv_series_add(srv_metrics_series(m, REQUESTS, (const char *[]){"/v1/a\"\\\n", "200"}), 3);
    srv_series_set(srv_metrics_series(m, DEPTH, (const char *[]){"x"}), 0.1);
    for (int i = 0; i < 20; i++)
        srv_series_observe(srv_metrics_series(m, SECONDS, (const char *[]){"r"}), 0.3 * i);
    srv_metrics_write_process(false, &t);
    srv_metrics_write(m, false, &t);
    fputs(t.data, stdout);
    srv_text_free(&t);
    srv_metrics_destroy(m);
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 && !strcmp(argv[1], "--write") ? write_sample_text() : test_run_all(argc, argv);
}
