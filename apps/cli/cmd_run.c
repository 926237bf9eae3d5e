/* uniface run, bench: networks on tensors. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"

enum { MAX_INPUTS = 16 };

static uint32_t thread_count(const cli_args *a, bool *ok)
{
    double v;
    *ok = cli_number(a, "threads", 0, 1024, 0, &v);
    return (uint32_t)v;
}

/* ---- run ---- */

/* input-0.npy ... become the model's inputs. */
static int feed(uf_engine *e, const uf_model *m, const cli_args *a, uf_error *err)
{
    uf_tensor_info in[MAX_INPUTS], want;
    void *data[MAX_INPUTS] = {NULL};
    size_t n = uf_model_input_count(m);
    int status = 0;
    if ((size_t)a->count - 1 != n || n > MAX_INPUTS)
        return cli_complain(EXIT_USAGE, "the model has %zu inputs, %d were given", n, a->count - 1);
    for (size_t i = 0; !status && i < n; i++) {
        if (!npy_read(a->operands[i + 1], &in[i], &data[i]))
            status = EXIT_INPUT;
        else if (uf_model_input(m, i, &want, err) || in[i].dtype != want.dtype)
            status = cli_complain(EXIT_INPUT, "%s: the type is not that of input \"%s\"",
                                  a->operands[i + 1], want.name);
    }
    if (!status && uf_engine_prepare(e, in, n, err))
        status = cli_fail(err);
    for (size_t i = 0; !status && i < n; i++) {
        size_t bytes;
        void *to = uf_engine_input(e, i, &bytes);
        memcpy(to, data[i], bytes);
    }
    for (size_t i = 0; i < n; i++)
        free(data[i]);
    return status;
}

static int write_outputs(const uf_engine *e, const uf_model *m, const char *prefix, bool as_json)
{
    cli_json j = {.f = stdout};
    char path[4096];
    if (as_json)
        json_open(&j, NULL, '[');
    for (size_t i = 0; i < uf_model_output_count(m); i++) {
        uf_tensor_info info;
        const void *data = uf_engine_output(e, i, &info);
        snprintf(path, sizeof path, "%s%zu.npy", prefix, i);
        if (!npy_write(path, &info, data))
            return EXIT_INPUT;
        if (!as_json) {
            printf("%s  %s\n", path, info.name);
            continue;
        }
        json_open(&j, NULL, '{');
        json_text(&j, "name", info.name);
        json_text(&j, "file", path);
        json_close(&j, '}');
    }
    if (as_json) {
        json_close(&j, ']');
        json_end(&j);
    }
    return 0;
}

static int run_run(const cli_args *a)
{
    uf_error err;
    uf_model *m = NULL;
    uf_engine *e = NULL;
    bool ok;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = thread_count(a, &ok);
    if (!ok)
        return EXIT_USAGE;
    uf_status st = cli_open_model_at(&m, a->operands[0], &err);
    if (!st)
        st = uf_engine_create(&e, m, &o, &err);
    int status = st ? cli_fail(&err) : feed(e, m, a, &err);
    if (!status && uf_engine_run(e, &err))
        status = cli_fail(&err);
    if (!status)
        status = write_outputs(e, m, cli_value(a, "output") ? cli_value(a, "output") : "output-",
                               a->json);
    uf_engine_destroy(e);
    uf_model_close(m);
    return status;
}

const cli_command cli_run = {
    .name = "run",
    .summary = "Run a network on NumPy arrays and write its outputs",
    .operands = "MODEL INPUT.npy...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {{"output", 'o', "PREFIX", "outputs go to PREFIX0.npy, PREFIX1.npy, ... (output-)"},
                {"threads", 't', "N", "threads (0: one per core)"}},
    .examples = "  uniface run model.onnx crop.npy -o result-\n",
    .run = run_run,
};

/* ---- bench ---- */

typedef struct bench_result {
    double load_ms, p50, p95, p99, mean, least;
    size_t runs, batch, arena_bytes;
    uint32_t threads;
    double *step_us; /* the fastest of PROFILE_RUNS, for each step */
} bench_result;

enum { PROFILE_RUNS = 10 };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fill_inputs(uf_engine *e, const uf_model *m)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < uf_model_input_count(m); i++) {
        uf_tensor_info t;
        size_t bytes;
        void *data = uf_engine_input(e, i, &bytes);
        uf_model_input(m, i, &t, NULL);
        memset(data, 0, bytes);
        for (size_t k = 0; t.dtype == UF_F32 && k < bytes / 4; k++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            ((float *)data)[k] = (float)(state % 2001) / 1000 - 1;
        }
    }
}

static uf_status prepare(uf_engine *e, const uf_model *m, size_t batch, int64_t side, uf_error *err)
{
    uf_tensor_info in[MAX_INPUTS];
    size_t n = uf_model_input_count(m);
    for (size_t i = 0; i < n && i < MAX_INPUTS; i++) {
        uf_status st = uf_model_input(m, i, &in[i], err);
        if (st)
            return st;
        for (uint32_t d = 1; d < in[i].rank; d++)
            if (in[i].dims[d] < 0)
                in[i].dims[d] = side;
        if (in[i].rank)
            in[i].dims[0] = (int64_t)batch;
    }
    return uf_engine_prepare(e, in, n, err);
}

/* Runs for `seconds` after a warm-up of a tenth; times in ms. */
static uf_status measure(uf_engine *e, double seconds, bench_result *r, uf_error *err)
{
    enum { MAX_RUNS = 1000000 };
    double *times = malloc(MAX_RUNS * sizeof *times), sum = 0;
    uf_status st = UF_OK;
    double start = cli_now_ms(), measured_from = start + seconds * 100;
    r->runs = 0;
    while (!st && times && r->runs < MAX_RUNS) {
        double before = cli_now_ms();
        st = uf_engine_run(e, err);
        double after = cli_now_ms();
        if (before >= measured_from || (r->runs == 0 && after > measured_from)) {
            times[r->runs++] = after - before;
            sum += after - before;
        }
        if (r->runs >= 5 && after - start > seconds * 1100)
            break;
        cli_progress("measuring", (size_t)(after - start), (size_t)(seconds * 1100) + 1);
    }
    cli_progress("measuring", 2, 2);
    if (!st && times && r->runs) {
        qsort(times, r->runs, sizeof *times, ascending);
        r->p50 = times[r->runs / 2];
        r->p95 = times[r->runs * 95 / 100];
        r->p99 = times[r->runs * 99 / 100];
        r->least = times[0];
        r->mean = sum / (double)r->runs;
    }
    free(times);
    return st;
}

/* Single runs are disturbed too often to compare steps by. */
static uf_status profile(uf_engine *e, bench_result *r, uf_error *err)
{
    const size_t steps = uf_engine_step_count(e);
    uf_status st = UF_OK;
    r->step_us = cli_need(calloc(steps + 1, sizeof *r->step_us));
    uf_engine_set_profiling(e, 1);
    for (int run = 0; !st && run < PROFILE_RUNS; run++) {
        st = uf_engine_run(e, err);
        for (size_t i = 0; !st && i < steps; i++) {
            uf_step_profile s;
            st = uf_engine_step(e, i, &s, err);
            if (!st && (run == 0 || s.time_us < r->step_us[i]))
                r->step_us[i] = s.time_us;
        }
    }
    return st;
}

static double gmacs_per_s(const uf_step_profile *s, double time_us)
{
    return time_us > 0 ? (double)s->macs / time_us * 1e-3 : 0;
}

static void print_profile_json(cli_json *j, const uf_engine *e, const bench_result *r)
{
    json_open(j, "operators", '[');
    for (size_t i = 0; i < uf_engine_step_count(e); i++) {
        uf_step_profile s;
        uf_engine_step(e, i, &s, NULL);
        json_open(j, NULL, '{');
        json_text(j, "op", s.op);
        json_text(j, "name", s.name);
        json_text(j, "kernel", s.kernel);
        json_number(j, "time_us", r->step_us[i]);
        json_integer(j, "macs", s.macs);
        json_number(j, "gmacs_per_s", gmacs_per_s(&s, r->step_us[i]));
        json_number(j, "peak_gmacs_per_s", s.peak_gmacs_per_s);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static long long peak_rss(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (long long)u.ru_maxrss * 1024 : 0;
}

static void print_json(const cli_args *a, const uf_engine *e, const bench_result *r)
{
    uf_device d = {.description = ""};
    cli_json j = {.f = stdout};
    uf_device_get(0, &d, NULL);
    json_open(&j, NULL, '{');
    json_text(&j, "model", a->operands[0]);
    json_text(&j, "version", uf_version());
    json_text(&j, "device", uf_engine_device(e));
    json_text(&j, "processor", d.description);
    json_integer(&j, "threads", r->threads);
    json_integer(&j, "batch", (long long)r->batch);
    json_integer(&j, "runs", (long long)r->runs);
    json_open(&j, "latency_ms", '{');
    json_number(&j, "p50", r->p50);
    json_number(&j, "p95", r->p95);
    json_number(&j, "p99", r->p99);
    json_number(&j, "mean", r->mean);
    json_number(&j, "min", r->least);
    json_close(&j, '}');
    json_number(&j, "images_per_s", r->mean > 0 ? (double)r->batch * 1e3 / r->mean : 0);
    json_number(&j, "load_ms", r->load_ms);
    json_integer(&j, "peak_rss_bytes", peak_rss());
    json_integer(&j, "activation_bytes", (long long)r->arena_bytes);
    print_profile_json(&j, e, r);
    json_close(&j, '}');
    json_end(&j);
}

static void print_text(const cli_args *a, const uf_engine *e, const bench_result *r)
{
    uf_device d = {.description = ""};
    double total = 0;
    uf_device_get(0, &d, NULL);
    printf("%s on %s (%s), %u threads, batch %zu, %zu runs\n", a->operands[0], uf_engine_device(e),
           d.description, r->threads, r->batch, r->runs);
    printf("latency ms: p50 %.3f  p95 %.3f  p99 %.3f  min %.3f\n", r->p50, r->p95, r->p99,
           r->least);
    printf("images/s %.1f, load %.2f ms, peak memory %.1f MB\n",
           r->mean > 0 ? (double)r->batch * 1e3 / r->mean : 0, r->load_ms,
           (double)peak_rss() / 1e6);
    if (!cli_flag(a, "profile"))
        return;
    for (size_t i = 0; i < uf_engine_step_count(e); i++)
        total += r->step_us[i];
    printf("%-18s %-24s %10s %6s %9s %7s  %s\n", "operator", "kernel", "us", "%", "GMAC/s",
           "of peak", "name");
    for (size_t i = 0; i < uf_engine_step_count(e); i++) {
        uf_step_profile s;
        uf_engine_step(e, i, &s, NULL);
        const double speed = gmacs_per_s(&s, r->step_us[i]);
        char share[16] = "";
        if (s.peak_gmacs_per_s > 0)
            snprintf(share, sizeof share, "%.0f %%", speed * 100 / s.peak_gmacs_per_s);
        printf("%-18s %-24s %10.1f %6.1f %9.1f %7s  %s\n", s.op, s.kernel, r->step_us[i],
               total > 0 ? r->step_us[i] * 100 / total : 0, speed, share, s.name);
    }
}

static int run_bench(const cli_args *a)
{
    uf_error err;
    uf_model *m = NULL;
    uf_engine *e = NULL;
    bench_result r = {0};
    double batch, seconds, side;
    bool ok;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = thread_count(a, &ok);
    o.device = cli_value(a, "device") ? cli_value(a, "device") : "auto";
    if (!ok || !cli_number(a, "batch", 1, 4096, 1, &batch) ||
        !cli_number(a, "seconds", 0.01, 3600, 2, &seconds) ||
        !cli_number(a, "size", 32, 8192, 320, &side))
        return EXIT_USAGE;
    double start = cli_now_ms();
    uf_status st = cli_open_model_at(&m, a->operands[0], &err);
    if (!st)
        st = uf_engine_create(&e, m, &o, &err);
    r.batch = (size_t)batch;
    if (!st)
        st = prepare(e, m, r.batch, (int64_t)side, &err);
    r.load_ms = cli_now_ms() - start;
    if (!st) {
        fill_inputs(e, m);
        st = measure(e, seconds, &r, &err);
    }
    if (!st) {
        r.threads = uf_engine_threads(e);
        r.arena_bytes = uf_engine_activation_bytes(e);
        st = profile(e, &r, &err);
    }
    if (!st && a->json)
        print_json(a, e, &r);
    else if (!st)
        print_text(a, e, &r);
    free(r.step_us);
    uf_engine_destroy(e);
    uf_model_close(m);
    return st ? cli_fail(&err) : 0;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "Measure a network: latency, throughput, memory, time per operator",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"threads", 't', "N", "threads (0: one per core)"},
                {"batch", 'b', "N", "pictures per run (1)"},
                {"seconds", 's', "S", "how long to measure (2)"},
                {"size", 0, "PIXELS", "height and width where the model leaves them open (320)"},
                {"device", 'd', "NAME", "CPU, GPU:0 or auto"},
                {"profile", 'p', NULL, "print the time of each operator and the kernel that ran"}},
    .details =
        "The profile has the fastest of 10 runs of each operator. Its peak is what the kernels of\n"
        "that arithmetic reach on matrices in the cache, on all threads, measured in the same\n"
        "run; Winograd convolutions, which multiply less than they count, can exceed it.\n",
    .examples = "  uniface bench mobilefacenet.ufm --threads 1\n"
                "  uniface bench scrfd.ufm --size 640 --batch 4 --json\n",
    .run = run_bench,
};
