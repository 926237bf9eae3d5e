/* Telling what `uniface bench search` measured. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_search.h"

long long bench_resident_bytes(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %lld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

typedef struct percentiles {
    double p50, p95, p99, mean, most;
} percentiles;

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of every step-th time from `first` on. */
static percentiles measure(const search_bench *b, size_t first, size_t step)
{
    percentiles p = {0};
    size_t n = 0;
    double *t = cli_need(malloc((b->run_count + 1) * sizeof *t));
    for (size_t i = first; i < b->run_count; i += step) {
        t[n++] = b->times[i];
        p.mean += b->times[i];
    }
    if (n) {
        qsort(t, n, sizeof *t, ascending);
        p = (percentiles){t[n / 2], t[n * 95 / 100], t[n * 99 / 100], p.mean / (double)n, t[n - 1]};
    }
    free(t);
    return p;
}

static double per_face(const search_bench *b)
{
    return b->info.count ? (double)b->info.memory_bytes / (double)b->info.count : 0;
}

/* ---- JSON ---- */

static void latency_json(cli_json *j, const char *key, percentiles p)
{
    json_open(j, key, '{');
    json_number(j, "p50", p.p50);
    json_number(j, "p95", p.p95);
    json_number(j, "p99", p.p99);
    json_number(j, "mean", p.mean);
    json_number(j, "max", p.most);
    json_close(j, '}');
}

static void setting_json(cli_json *j, const search_bench *b)
{
    uf_device d = {.description = ""};
    uf_device_get(0, &d, NULL);
    json_text(j, "version", uf_version());
    json_text(j, "processor", d.description);
    json_integer(j, "cores", d.cores);
    json_text(j, "kernels", uf_searcher_kernels(b->searcher));
    json_text(j, "vectors", b->source.rows ? "file" : "made");
    json_integer(j, "count", (long long)b->source.count);
    json_integer(j, "dimension", b->source.dimension);
    json_integer(j, "probes", (long long)b->probe_count);
    json_integer(j, "threads", b->threads);
    json_integer(j, "batch", (long long)b->batch);
    json_integer(j, "top_k", b->search.top_k);
    json_text(j, "detail", b->detail_name);
    json_integer(j, "lists", b->info.lists);
    json_number(j, "min_score", (double)b->search.min_score);
    json_number(j, "miss_rate", b->search.miss_rate);
    json_integer(j, "seed", (long long)b->source.seed);
}

static void check_json(cli_json *j, const search_bench *b)
{
    const double n = (double)b->check_count;
    json_integer(j, "checked", (long long)b->check_count);
    if (!b->check_count)
        return;
    json_number(j, "agreement", (double)b->agreed / n);
    json_integer(j, "disagreed", (long long)(b->check_count - b->agreed));
    json_number(j, "threshold", (double)b->threshold);
    json_number(j, "decisions_alike", (double)b->decided_alike / n);
    json_bool(j, "decisions_identical", b->decided_alike == b->check_count);
    json_number(j, "agreement_mated", (double)b->agreed_mated / ceil(n / 2));
    json_number(j, "recognised_mated", (double)b->recognised / ceil(n / 2));
    json_number(j, "exact_s", b->exact_s);
    if (b->look_count)
        json_open(j, "looks", '[');
    for (size_t i = 0; i < b->look_count; i++) {
        json_open(j, NULL, '{');
        json_integer(j, "lists", b->looks[i].lists);
        json_number(j, "recall", b->looks[i].recall);
        json_number(j, "recall_mated", b->looks[i].recall_mated);
        json_number(j, "ms_per_probe", b->looks[i].ms);
        json_close(j, '}');
    }
    if (b->look_count)
        json_close(j, ']');
}

static void report_json(const search_bench *b)
{
    cli_json j = {.f = stdout};
    const double n = (double)b->probe_count;
    json_open(&j, NULL, '{');
    setting_json(&j, b);
    json_number(&j, "make_s", b->make_s);
    json_number(&j, "build_s", b->build_s);
    json_number(&j, "train_s", b->train_s);
    json_number(&j, "save_s", b->save_s);
    json_number(&j, "open_s", b->open_s);
    latency_json(&j, "latency_ms", measure(b, 0, 1));
    if (b->batch == 1) {
        latency_json(&j, "latency_mated_ms", measure(b, 0, 2));
        latency_json(&j, "latency_unmated_ms", measure(b, 1, 2));
    }
    json_number(&j, "ms_per_probe", b->search_ms / n);
    check_json(&j, b);
    json_integer(&j, "memory_bytes", (long long)b->info.memory_bytes);
    json_number(&j, "bytes_per_face", per_face(b));
    json_integer(&j, "resident_bytes", b->resident);
    json_integer(&j, "resident_before_bytes", b->resident_before);
    json_integer(&j, "file_bytes", b->file_bytes);
    json_open(&j, "work", '{');
    json_number(&j, "sketches_per_probe", (double)b->work.sketches / n);
    json_number(&j, "codes_per_probe", (double)b->work.codes / n);
    json_number(&j, "exact_per_probe", (double)b->work.exact / n);
    json_close(&j, '}');
    json_close(&j, '}');
    json_end(&j);
}

/* ---- text ---- */

static void latency_text(const char *label, percentiles p)
{
    printf("%-10s p50 %.3f  p95 %.3f  p99 %.3f  max %.3f ms\n", label, p.p50, p.p95, p.p99, p.most);
}

static void report_text(const search_bench *b)
{
    uf_device d = {.description = ""};
    const double n = (double)b->probe_count;
    uf_device_get(0, &d, NULL);
    printf("%llu vectors of %u (%s), %s, %u threads, batch %zu, on %s\nkernels: %s\n",
           (unsigned long long)b->source.count, b->source.dimension,
           b->source.rows ? "from a file" : "made", b->detail_name, b->threads, b->batch,
           d.description, uf_searcher_kernels(b->searcher));
    printf("build %.2f s (%.0f vectors/s)", b->build_s, (double)b->source.count / b->build_s);
    if (isfinite(b->open_s))
        printf(", save %.2f s, open to first answer %.3f s", b->save_s, b->open_s);
    putchar('\n');
    latency_text(b->batch > 1 ? "batch" : "probe", measure(b, 0, 1));
    if (b->batch == 1) {
        latency_text("with mate", measure(b, 0, 2));
        latency_text("without", measure(b, 1, 2));
    }
    printf("%.4f ms per probe; looked at %.0f sketches, %.1f codes, %.2f exact vectors\n",
           b->search_ms / n, (double)b->work.sketches / n, (double)b->work.codes / n,
           (double)b->work.exact / n);
    printf("%.1f bytes per face in memory; process %.1f MB (%.1f before)\n", per_face(b),
           (double)b->resident / 1e6, (double)b->resident_before / 1e6);
    if (b->check_count)
        printf("%zu probes checked against all vectors: top answer the same for %zu, decisions at "
               "%.4f for %zu; %zu of %zu mates named\n",
               b->check_count, b->agreed, (double)b->threshold, b->decided_alike, b->recognised,
               (b->check_count + 1) / 2);
    for (size_t i = 0; i < b->look_count; i++)
        printf("looking at %u of %u lists: top answer the same for %.2f %% (with a mate %.2f %%), "
               "%.3f ms per probe\n",
               b->looks[i].lists, b->info.lists, 100 * b->looks[i].recall,
               100 * b->looks[i].recall_mated, b->looks[i].ms);
}

void bench_search_report(search_bench *b, bool as_json)
{
    if (as_json)
        report_json(b);
    else
        report_text(b);
}
