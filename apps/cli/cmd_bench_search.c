/* uniface bench search: how fast, how exact, how large the vector index is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_search.h"

enum { CHUNK = 8192 };

/* ---- options ---- */

static int read_detail(search_bench *b, const char *text)
{
    static const char *const names[] = {"sketch", "int8", "float"};
    for (int i = 0; i < 3; i++)
        if (!text || !strcmp(text, names[i])) {
            b->detail = text ? (uf_index_detail)i : UF_INDEX_INT8;
            b->detail_name = names[text ? i : UF_INDEX_INT8];
            return 0;
        }
    return cli_complain(EXIT_USAGE, "--detail must be sketch, int8 or float, not \"%s\"", text);
}

static int read_source(search_bench *b, const cli_args *a)
{
    double count, dimension, augment, seed, pictures;
    const char *npy = cli_value(a, "npy");
    if (!cli_number(a, "count", 1, 2147483647, 1000000, &count) ||
        !cli_number(a, "dim", UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION, 512, &dimension) ||
        !cli_number(a, "augment", 1, 2147483647, 1, &augment) ||
        !cli_number(a, "seed", 0, 1e15, 1, &seed) ||
        !cli_number(a, "pictures", 1, 1000, 4, &pictures))
        return EXIT_USAGE;
    if (npy ? cli_value(a, "count") || cli_value(a, "dim")
            : cli_value(a, "augment") || cli_value(a, "groups"))
        return cli_complain(EXIT_USAGE, "bench search takes --count and --dim, or --npy with "
                                        "--augment and --groups");
    b->source = (vector_source){.count = (uint64_t)count,
                                .seed = (uint64_t)seed,
                                .dimension = (uint32_t)dimension,
                                .pictures = (uint32_t)pictures};
    if (!npy)
        return 0;
    const int status = vector_source_open(&b->source, npy, cli_value(a, "groups"));
    b->source.count =
        (uint64_t)augment < b->source.kept_count ? b->source.kept_count : (uint64_t)augment;
    return status;
}

static int read_options(search_bench *b, const cli_args *a)
{
    double probes, threads, batch, lists, look, top, verify, threshold, least, miss;
    b->search = (uf_search_options)UF_SEARCH_OPTIONS_INIT;
    if (!cli_number(a, "probes", 1, 1000000, 1000, &probes) ||
        !cli_number(a, "threads", 0, 256, 1, &threads) ||
        !cli_number(a, "batch", 1, 65536, 1, &batch) ||
        !cli_number(a, "lists", 0, 65536, 0, &lists) ||
        !cli_number(a, "look", 0, 65536, 0, &look) ||
        !cli_number(a, "top", 1, UF_INDEX_MAX_HITS, 1, &top) ||
        !cli_number(a, "verify", 0, 1000000, 200, &verify) ||
        !cli_number(a, "threshold", -1, 1, (double)NAN, &threshold) ||
        !cli_number(a, "min-score", -1, 1, -1, &least) ||
        !cli_number(a, "miss-rate", 0, 0.5, b->search.miss_rate, &miss))
        return EXIT_USAGE;
    b->probe_count = (size_t)probes;
    b->threads = bench_threads((unsigned)threads);
    b->batch = (size_t)(batch < probes ? batch : probes);
    b->lists = (uint32_t)lists;
    b->check_count = (size_t)(verify < probes ? verify : probes);
    b->threshold = (float)threshold;
    b->search.lists = (uint32_t)look;
    b->search.top_k = (uint32_t)top;
    b->search.min_score = (float)least;
    b->search.miss_rate = miss;
    const int status = read_detail(b, cli_value(a, "detail"));
    return status ? status : read_source(b, a);
}

/* ---- building ---- */

static uf_status fetch(void *user, const uint64_t *keys, size_t count, float *vectors,
                       uf_error *err)
{
    const vector_source *s = user;
    (void)err;
    for (size_t i = 0; i < count; i++)
        vector_source_make(s, keys[i], 1, vectors + i * s->dimension);
    return UF_OK;
}

static uf_index_options index_options(search_bench *b)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    o.dimension = b->source.dimension;
    o.detail = b->detail;
    o.lists = b->lists;
    if (b->detail != UF_INDEX_FLOAT) {
        o.fetch = fetch;
        o.fetch_user = &b->source;
    }
    return o;
}

typedef struct making {
    const vector_source *source;
    uint64_t from;
    size_t count, part;
    float *vectors;
} making;

static void make_part(void *arg, uint64_t task, unsigned thread)
{
    const making *m = arg;
    const size_t at = (size_t)task * m->part;
    const size_t n = m->count - at < m->part ? m->count - at : m->part;
    (void)thread;
    vector_source_make(m->source, m->from + at, n, m->vectors + at * m->source->dimension);
}

static uf_status add_all(search_bench *b, uf_error *err)
{
    const vector_source *s = &b->source;
    uint64_t *keys = cli_need(malloc(2 * CHUNK * sizeof *keys)), *groups = keys + CHUNK;
    float *vectors = cli_need(malloc(CHUNK * s->dimension * sizeof *vectors));
    uf_status st = UF_OK;
    for (uint64_t at = 0; !st && at < s->count; at += CHUNK) {
        const size_t n = s->count - at < CHUNK ? (size_t)(s->count - at) : CHUNK;
        making m = {.source = s, .from = at, .count = n, .part = 256, .vectors = vectors};
        double start = cli_now_ms();
        bench_parallel(b->threads, (n + m.part - 1) / m.part, make_part, &m);
        for (size_t i = 0; i < n; i++) {
            keys[i] = at + i;
            groups[i] = vector_source_group(s, at + i);
        }
        b->make_s += (cli_now_ms() - start) / 1e3;
        start = cli_now_ms();
        st = uf_index_add(b->index, keys, groups, vectors, n, err);
        b->build_s += (cli_now_ms() - start) / 1e3;
        cli_progress("adding", (size_t)(at + n), (size_t)s->count);
    }
    free(keys);
    free(vectors);
    return st;
}

static uf_status build(search_bench *b, uf_error *err)
{
    const uf_index_options o = index_options(b);
    uf_status st = uf_index_create(&b->index, &o, err);
    if (!st)
        st = add_all(b, err);
    const double start = cli_now_ms();
    if (!st && b->lists)
        st = uf_index_train(b->index, b->threads, err);
    b->train_s = b->lists ? (cli_now_ms() - start) / 1e3 : 0;
    b->build_s += b->train_s;
    return st;
}

/* ---- saving and opening ---- */

/* Saves, drops and opens the index, up to the first answer. */
static uf_status save_and_open(search_bench *b, const char *folder, bool sealed, uf_error *err)
{
    char path[4096];
    uint8_t secret[UF_INDEX_KEY_BYTES];
    uf_hit *hits = cli_need(malloc(b->search.top_k * sizeof *hits));
    uint32_t count;
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(b->source.seed + 31 * i);
    snprintf(path, sizeof path, "%s/uniface-bench-%ld.ufx", folder, (long)getpid());
    double start = cli_now_ms();
    uf_status st = uf_index_save(b->index, path, sealed ? secret : NULL, err);
    b->save_s = (cli_now_ms() - start) / 1e3;
    b->file_bytes = cli_file_size(path);
    if (!st) {
        const uf_index_options o = index_options(b);
        uf_index_destroy(b->index);
        b->index = NULL;
        start = cli_now_ms();
        st = uf_index_open(&b->index, path, sealed ? secret : NULL, &o, err);
    }
    if (!st)
        st = uf_searcher_create(&b->searcher, b->index, b->threads, err);
    if (!st)
        st = uf_searcher_run(b->searcher, b->probes, 1, &b->search, hits, &count, NULL, err);
    b->open_s = (cli_now_ms() - start) / 1e3;
    free(hits);
    unlink(path);
    return st;
}

/* ---- searching ---- */

static void make_probes(search_bench *b)
{
    const size_t d = b->source.dimension;
    b->probes = cli_need(malloc(b->probe_count * d * sizeof *b->probes));
    b->mates = cli_need(malloc(b->probe_count * sizeof *b->mates));
    for (size_t i = 0; i < b->probe_count; i++)
        vector_source_probe(&b->source, i, b->probes + i * d, &b->mates[i]);
}

static uf_status search_all(search_bench *b, uf_error *err)
{
    const size_t d = b->source.dimension, k = b->search.top_k;
    uf_hit *hits = cli_need(malloc(b->batch * k * sizeof *hits));
    uint32_t *counts = cli_need(malloc(b->batch * sizeof *counts));
    uf_search_work work = {0};
    uf_status st = UF_OK;
    b->answers = cli_need(calloc(b->probe_count, sizeof *b->answers));
    b->times = cli_need(calloc(b->probe_count, sizeof *b->times));
    const size_t warm = b->probe_count < 16 ? b->probe_count : 16;
    for (size_t i = 0; !st && i < warm; i++)
        st =
            uf_searcher_run(b->searcher, b->probes + i * d, 1, &b->search, hits, counts, NULL, err);
    for (size_t at = 0; !st && at < b->probe_count; at += b->batch) {
        const size_t n = b->probe_count - at < b->batch ? b->probe_count - at : b->batch;
        const double start = cli_now_ms();
        st = uf_searcher_run(b->searcher, b->probes + at * d, n, &b->search, hits, counts, &work,
                             err);
        const double ms = cli_now_ms() - start;
        b->search_ms += ms;
        b->work.sketches += work.sketches;
        b->work.codes += work.codes;
        b->work.exact += work.exact;
        b->times[b->run_count++] = ms;
        for (size_t i = 0; !st && i < n; i++)
            b->answers[at + i] = counts[i] ? hits[i * k] : (uf_hit){UINT64_MAX, UINT64_MAX, -2};
        cli_progress("searching", at + n, b->probe_count);
    }
    free(hits);
    free(counts);
    return st;
}

/* ---- checking ---- */

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Between two scores of strangers, so that 1 % of those checked pass. */
static float threshold_of(const search_bench *b, const float *score)
{
    float *strangers = cli_need(malloc((b->check_count + 2) * sizeof *strangers));
    size_t n = 0;
    for (size_t i = 1; i < b->check_count; i += 2)
        strangers[n++] = score[i];
    qsort(strangers, n, sizeof *strangers, descending);
    const size_t pass = (n + 99) / 100;
    const float t = n < 2 ? 0.5f : (strangers[pass - 1] + strangers[pass < n ? pass : n - 1]) / 2;
    free(strangers);
    return t;
}

/* Recall and time at 1/64 to all of the lists. `best`: what exact FP32 says. */
static uf_status look(search_bench *b, const uint64_t *best, uf_error *err)
{
    const size_t n = b->check_count, k = b->search.top_k;
    uf_search_options o = b->search;
    uf_hit *hits = cli_need(malloc(k * sizeof *hits));
    uint32_t count = 0;
    uf_status st = UF_OK;
    for (int shift = BENCH_LOOKS - 1; !st && shift >= 0; shift--) {
        size_t right[2] = {0};
        o.lists = b->info.lists >> shift;
        const double start = cli_now_ms();
        for (size_t i = 0; o.lists && !st && i < n; i++) {
            st = uf_searcher_run(b->searcher, b->probes + i * b->source.dimension, 1, &o, hits,
                                 &count, NULL, err);
            right[i % 2] += !st && count && hits[0].key == best[i];
        }
        if (o.lists)
            b->looks[b->look_count++] = (bench_look){
                o.lists, (double)(right[0] + right[1]) / (double)n,
                (double)right[0] / ceil((double)n / 2), (cli_now_ms() - start) / (double)n};
    }
    free(hits);
    return st;
}

static uf_status check(search_bench *b, uf_error *err)
{
    const size_t n = b->check_count;
    uint64_t *best = cli_need(malloc((n + 1) * sizeof *best));
    float *score = cli_need(malloc((n + 1) * sizeof *score));
    const double start = cli_now_ms();
    bench_exact(&b->source, b->probes, n, bench_threads(0), best, score);
    b->exact_s = (cli_now_ms() - start) / 1e3;
    if (!isfinite(b->threshold))
        b->threshold = threshold_of(b, score);
    for (size_t i = 0; i < n; i++) {
        const uf_hit *hit = &b->answers[i];
        const uint64_t group = vector_source_group(&b->source, best[i]);
        const bool named = hit->score >= b->threshold, exact_named = score[i] >= b->threshold;
        b->agreed += hit->key == best[i];
        b->agreed_mated += i % 2 == 0 && hit->key == best[i];
        b->decided_alike += named == exact_named && (!named || hit->group == group);
        b->recognised += i % 2 == 0 && named && hit->group == b->mates[i];
    }
    const uf_status st = b->lists ? look(b, best, err) : UF_OK;
    free(best);
    free(score);
    return st;
}

/* ---- the command ---- */

static int save_vectors(search_bench *b, const char *prefix)
{
    char path[4096];
    const vector_source *s = &b->source;
    uf_tensor_info t = {
        .dtype = UF_F32, .rank = 2, .dims = {(int64_t)b->probe_count, (int64_t)s->dimension}};
    snprintf(path, sizeof path, "%sprobes.npy", prefix);
    if (!npy_write(path, &t, b->probes))
        return EXIT_INPUT;
    snprintf(path, sizeof path, "%svectors.npy", prefix);
    FILE *f = fopen(path, "wb");
    float *v = cli_need(malloc(CHUNK * s->dimension * sizeof *v));
    t.dims[0] = (int64_t)s->count;
    bool ok = f && npy_write_header(f, &t, 0);
    for (uint64_t at = 0; ok && at < s->count; at += CHUNK) {
        const size_t n = s->count - at < CHUNK ? (size_t)(s->count - at) : CHUNK;
        vector_source_make(s, at, n, v);
        ok = fwrite(v, s->dimension * sizeof *v, n, f) == n;
    }
    if (f)
        ok = fclose(f) == 0 && ok;
    free(v);
    return ok ? 0 : cli_complain(EXIT_INPUT, "%s: it cannot be written", path);
}

static int measure(search_bench *b, const cli_args *a)
{
    uf_error err;
    const char *folder = cli_value(a, "dir") ? cli_value(a, "dir") : getenv("TMPDIR");
    const char *vectors = cli_value(a, "save-vectors");
    make_probes(b);
    int status = vectors ? save_vectors(b, vectors) : 0;
    if (status)
        return status;
    b->resident_before = bench_resident_bytes();
    uf_status st = build(b, &err);
    if (!st && cli_flag(a, "no-file"))
        st = uf_searcher_create(&b->searcher, b->index, b->threads, &err);
    else if (!st)
        st = save_and_open(b, folder ? folder : "/tmp", cli_flag(a, "sealed"), &err);
    if (!st)
        st = search_all(b, &err);
    if (st)
        return cli_fail(&err);
    b->resident = bench_resident_bytes();
    b->info = uf_index_describe(b->index);
    if (b->check_count)
        st = check(b, &err);
    return st ? cli_fail(&err) : 0;
}

static int run_bench_search(const cli_args *a)
{
    search_bench b = {.open_s = NAN, .save_s = NAN};
    int status = read_options(&b, a);
    if (!status)
        status = measure(&b, a);
    if (!status)
        bench_search_report(&b, a->json);
    uf_searcher_destroy(b.searcher);
    uf_index_destroy(b.index);
    vector_source_close(&b.source);
    free(b.probes);
    free(b.mates);
    free(b.answers);
    free(b.times);
    return status;
}

const cli_command cli_bench_search = {
    .name = "bench search",
    .summary = "Measure the vector index: speed, exactness, memory",
    .operands = "",
    .options = {{"count", 'n', "N", "vectors in the index (1000000)"},
                {"dim", 'd', "N", "their dimension (512)"},
                {"pictures", 0, "N", "vectors of each identity (4)"},
                {"npy", 0, "FILE", "real embeddings instead: float32 [N, dimension]"},
                {"groups", 0, "FILE",
                 "who is in each of them: int64 [N]; the last of each is a probe"},
                {"augment", 0, "N", "make N of them by turning and blurring"},
                {"probes", 'p', "N", "searches: half with a mate, half without (1000)"},
                {"threads", 't', "N", "threads of a search; 0: one per core (1)"},
                {"batch", 'b', "N", "probes at once (1)"},
                {"top", 'k', "N", "answers wanted (1)"},
                {"detail", 0, "KIND", "kept in memory: sketch, int8 (default) or float"},
                {"lists", 'l', "N", "lists of an inverted file (0: none)"},
                {"look", 0, "N", "lists that a search looks at"},
                {"min-score", 0, "S", "answers below are of no interest (-1)"},
                {"miss-rate", 0, "RATE", "probability that a right answer is passed over (5e-5)"},
                {"verify", 0, "N", "probes checked against all vectors in FP32 (200)"},
                {"threshold", 0, "S", "of open-set decisions (default: 1 % of strangers pass)"},
                {"dir", 0, "DIR", "where the snapshot is written ($TMPDIR or /tmp)"},
                {"sealed", 0, NULL, "encrypt the snapshot"},
                {"no-file", 0, NULL, "search what was built; no snapshot"},
                {"save-vectors", 0, "PREFIX",
                 "write PREFIXvectors.npy and PREFIXprobes.npy for others"},
                {"seed", 0, "N", "other vectors (1)"}},
    .details =
        "Vectors are made so that pictures of one identity have cosines of 0.4 to 0.8 and\n"
        "strangers those of random directions. Exact vectors that a search asks for are made "
        "again\n"
        "from their number. open_s: from the snapshot to the first answer; latency_ms: of one "
        "call,\n"
        "which searches for --batch probes; agreement: top answers that are those of exact FP32.",
    .examples =
        "  uniface bench search --count 1000000 --dim 512 --probes 10000 --threads 1 --json\n"
        "  uniface bench search --npy faces.npy --groups people.npy --augment 1000000\n",
    .run = run_bench_search,
};
