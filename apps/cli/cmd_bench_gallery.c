/*
 * uniface bench gallery: how fast a gallery is on this machine and its disk.
 *
 * Two galleries, an encrypted and a plain one, do the same in turns, and their times are compared
 * pair by pair: what encryption costs is then not lost in what else goes on. Between them the disk
 * itself is timed, since nothing that is durable can be faster.
 */
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_vectors.h"

#define MODEL "bench"

enum { SIDES = 2, BLOCK = 16384 /* what a commit of one face writes into the log, about */ };

typedef struct times {
    double *ms;
    size_t count;
} times;

typedef struct gallery_bench {
    vector_source source;
    size_t bulk_count, transaction, singles, probes, deletions;
    char folder[4096], paths[SIDES][4200], key[4200];
    const char *address; /* of a database, or NULL */
    size_t first, sides; /* the sides that are measured: one only where a database is given */
    uf_gallery *g[SIDES];
    uint64_t next[SIDES]; /* vector to enrol */
    times bulk[SIDES], single[SIDES], identify[SIDES], erase[SIDES], disk;
    double open_s[SIDES];
    size_t found[SIDES]; /* mates of probes that were the best answer */
    uf_gallery_stats stats[SIDES];
} gallery_bench;

static const char *const side_names[SIDES] = {"encrypted", "plain"};

/* ---- times ---- */

static void note(times *t, double ms)
{
    if ((t->count & (t->count + 1)) == 0) /* 0, 1, 3, 7, ...: it is full */
        t->ms = cli_need(realloc(t->ms, (2 * t->count + 2) * sizeof *t->ms));
    t->ms[t->count++] = ms;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const times *t, double share)
{
    if (t->count == 0)
        return NAN;
    double *sorted = cli_need(malloc(t->count * sizeof *sorted));
    memcpy(sorted, t->ms, t->count * sizeof *sorted);
    qsort(sorted, t->count, sizeof *sorted, ascending);
    const double value = sorted[(size_t)(share * (double)(t->count - 1) + 0.5)];
    free(sorted);
    return value;
}

static double mean(const times *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->count; i++)
        sum += t->ms[i];
    return t->count ? sum / (double)t->count : NAN;
}

static double bulk_per_s(const gallery_bench *b, size_t s)
{
    return (double)b->bulk_count * 1e3 / (mean(&b->bulk[s]) * (double)b->bulk[s].count);
}

/* How much longer the first takes than the second, in percent: median of the pairs. */
static double more(const times *a, const times *b)
{
    times ratio = {0};
    for (size_t i = 0; i < a->count && i < b->count; i++)
        note(&ratio, a->ms[i] / b->ms[i]);
    const double median = quantile(&ratio, 0.5);
    free(ratio.ms);
    return 100 * (median - 1);
}

/* ---- what is measured ---- */

static uf_status enroll(gallery_bench *b, size_t side, size_t count, times *t, uf_error *err)
{
    const size_t d = b->source.dimension;
    float *vectors = cli_need(malloc(count * d * sizeof *vectors));
    uf_enrolment *people = cli_need(calloc(count, sizeof *people));
    uf_template *templates = cli_need(calloc(count, sizeof *templates));
    char(*ids)[32] = cli_need(malloc(count * sizeof *ids));
    vector_source_make(&b->source, b->next[side], count, vectors);
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "person-%llu", (unsigned long long)b->next[side]++);
        templates[i] = (uf_template){
            .vector = vectors + i * d, .dimension = (uint32_t)d, .model_id = MODEL, .quality = -1};
        people[i] =
            (uf_enrolment){.person = {.id = ids[i]}, .templates = &templates[i], .count = 1};
    }
    const double start = cli_now_ms();
    const uf_status st = uf_gallery_enroll(b->g[side], people, count, NULL, err);
    note(t, cli_now_ms() - start);
    free(ids);
    free(templates);
    free(people);
    free(vectors);
    return st;
}

/* One write and sync of as much as an enrolment writes. */
static bool touch_disk(gallery_bench *b, int fd, size_t at)
{
    static const char block[BLOCK];
    const double start = cli_now_ms();
    if (pwrite(fd, block, sizeof block, (off_t)(at % 64 * sizeof block)) != sizeof block ||
        fdatasync(fd) != 0)
        return false;
    note(&b->disk, cli_now_ms() - start);
    return true;
}

static uf_status enroll_one_by_one(gallery_bench *b, uf_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/disk", b->folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    uf_status st = UF_OK;
    for (size_t i = 0; fd >= 0 && i < 64; i++) /* a log writes over what it wrote before */
        touch_disk(b, fd, i);
    b->disk.count = 0;
    for (size_t i = 0; !st && i < b->singles; i++) {
        if (fd >= 0)
            touch_disk(b, fd, i);
        for (size_t k = 0; !st && k < b->sides; k++) {
            const size_t side = b->first + (i + k) % b->sides; /* each is first as often */
            st = enroll(b, side, 1, &b->single[side], err);
        }
    }
    if (fd >= 0)
        close(fd);
    return st;
}

static uf_status identify(gallery_bench *b, size_t side, size_t probe, times *t, uf_error *err)
{
    float *vector = cli_need(malloc(b->source.dimension * sizeof *vector));
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    uf_candidate best[5];
    char mate[32];
    size_t count;
    uint64_t group;
    o.threshold = 0.35f;
    vector_source_probe(&b->source, probe, vector, &group);
    const double start = cli_now_ms();
    const uf_status st = uf_gallery_identify(b->g[side], vector, b->source.dimension, MODEL, &o,
                                             best, &count, NULL, err);
    if (t) {
        note(t, cli_now_ms() - start);
        snprintf(mate, sizeof mate, "person-%llu", (unsigned long long)group);
        b->found[side] += !st && probe % 2 == 0 && count > 0 && strcmp(best[0].id, mate) == 0;
    }
    free(vector);
    return st;
}

static uf_status open_side(gallery_bench *b, size_t side, bool create, uf_error *err)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = create ? UF_GALLERY_CREATE : 0;
    if (side)
        o.flags |= UF_GALLERY_PLAIN;
    else
        o.key_file = b->key;
    return uf_gallery_open(&b->g[side], b->address ? b->address : b->paths[side], &o, err);
}

/* Nobody's people are mixed with made ones, or deleted in their place. */
static uf_status open_empty_side(gallery_bench *b, size_t side, uf_error *err)
{
    uf_gallery_stats s;
    uf_status st = open_side(b, side, true, err);
    if (!st)
        st = uf_gallery_describe(b->g[side], &s, err);
    if (!st && s.people > 0) {
        st = err->status = UF_E_STATE;
        snprintf(err->message, sizeof err->message,
                 "%s has %llu people: give the address of an empty gallery, or of one that is not "
                 "there yet",
                 uf_gallery_name(b->g[side]), (unsigned long long)s.people);
    }
    return st;
}

/* Closed, opened, and the first question answered. */
static uf_status reopen(gallery_bench *b, size_t side, uf_error *err)
{
    uf_gallery_close(b->g[side]);
    b->g[side] = NULL;
    const double start = cli_now_ms();
    uf_status st = open_side(b, side, false, err);
    if (!st)
        st = identify(b, side, 0, NULL, err);
    b->open_s[side] = (cli_now_ms() - start) / 1e3;
    return st;
}

static uf_status erase(gallery_bench *b, size_t side, size_t number, uf_error *err)
{
    char id[32];
    snprintf(id, sizeof id, "person-%zu", number);
    const double start = cli_now_ms();
    const uf_status st = uf_gallery_delete(b->g[side], NULL, id, NULL, err);
    note(&b->erase[side], cli_now_ms() - start);
    return st;
}

static uf_status measure_all(gallery_bench *b, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t s = b->first; !st && s < b->first + b->sides; s++)
        st = open_empty_side(b, s, err);
    for (size_t n = 0; !st && n < b->bulk_count; n += b->transaction) {
        const size_t left = b->bulk_count - n,
                     count = left < b->transaction ? left : b->transaction;
        for (size_t s = b->first; !st && s < b->first + b->sides; s++)
            st = enroll(b, s, count, &b->bulk[s], err);
        cli_progress("enrolling", n + count, b->bulk_count);
    }
    if (!st)
        st = enroll_one_by_one(b, err);
    for (size_t s = b->first; !st && s < b->first + b->sides; s++)
        st = reopen(b, s, err);
    for (size_t i = 0; !st && i < b->probes; i++)
        for (size_t k = 0; !st && k < b->sides; k++) {
            const size_t side = b->first + (i + k) % b->sides;
            st = identify(b, side, i, &b->identify[side], err);
        }
    for (size_t i = 0; !st && i < b->deletions; i++)
        for (size_t s = b->first; !st && s < b->first + b->sides; s++)
            st = erase(b, s, i, err);
    for (size_t s = b->first; !st && s < b->first + b->sides; s++)
        st = uf_gallery_describe(b->g[s], &b->stats[s], err);
    return st;
}

/* ---- telling ---- */

static void side_json(cli_json *j, const gallery_bench *b, size_t s)
{
    json_open(j, side_names[s], '{');
    json_number(j, "bulk_per_s", bulk_per_s(b, s));
    json_number(j, "single_per_s", 1e3 / mean(&b->single[s]));
    json_number(j, "single_ms_p50", quantile(&b->single[s], 0.5));
    json_number(j, "single_ms_p99", quantile(&b->single[s], 0.99));
    json_number(j, "open_s", b->open_s[s]);
    json_number(j, "identify_ms_p50", quantile(&b->identify[s], 0.5));
    json_number(j, "identify_ms_p99", quantile(&b->identify[s], 0.99));
    json_number(j, "mates_found", (double)b->found[s] / (double)((b->probes + 1) / 2));
    json_number(j, "delete_ms_p50", quantile(&b->erase[s], 0.5));
    json_integer(j, "people", (long long)b->stats[s].people);
    json_integer(j, "database_bytes", (long long)b->stats[s].database_bytes);
    json_integer(j, "memory_bytes", (long long)b->stats[s].memory_bytes);
    json_close(j, '}');
}

static void report_json(const gallery_bench *b)
{
    uf_device d = {.description = ""};
    cli_json j = {.f = stdout};
    uf_device_get(0, &d, NULL);
    json_open(&j, NULL, '{');
    json_text(&j, "version", uf_version());
    json_text(&j, "processor", d.description);
    json_text(&j, "backend", b->stats[b->first].backend);
    json_integer(&j, "dimension", b->source.dimension);
    json_integer(&j, "transaction", (long long)b->transaction);
    for (size_t s = 0; s < SIDES; s++)
        if (b->bulk[s].count)
            side_json(&j, b, s);
    if (b->sides == SIDES) {
        json_open(&j, "encryption_percent", '{');
        json_number(&j, "bulk", more(&b->bulk[0], &b->bulk[1]));
        json_number(&j, "single", more(&b->single[0], &b->single[1]));
        json_number(&j, "identify", more(&b->identify[0], &b->identify[1]));
        json_close(&j, '}');
    }
    json_number(&j, "disk_ms_p50", quantile(&b->disk, 0.5));
    json_number(&j, "disk_per_s", 1e3 / mean(&b->disk));
    json_close(&j, '}');
    json_end(&j);
}

static void side_text(const gallery_bench *b, size_t s)
{
    printf("%-10s bulk %.0f templates/s, one by one %.0f/s (p50 %.2f ms, p99 %.2f ms)\n"
           "           open to first answer %.3f s, identify p50 %.3f ms, p99 %.3f ms, delete p50 "
           "%.1f ms\n"
           "           %zu of %zu mates found; %llu people, %.0f bytes of the database and %.0f of "
           "memory each\n",
           side_names[s], bulk_per_s(b, s), 1e3 / mean(&b->single[s]), quantile(&b->single[s], 0.5),
           quantile(&b->single[s], 0.99), b->open_s[s], quantile(&b->identify[s], 0.5),
           quantile(&b->identify[s], 0.99), quantile(&b->erase[s], 0.5), b->found[s],
           (b->probes + 1) / 2, (unsigned long long)b->stats[s].people,
           (double)b->stats[s].database_bytes / (double)b->stats[s].people,
           (double)b->stats[s].memory_bytes / (double)b->stats[s].people);
}

static void report_text(const gallery_bench *b)
{
    uf_device d = {.description = ""};
    uf_device_get(0, &d, NULL);
    printf("%s, %u dimensions, %zu a transaction, on %s\n", b->stats[b->first].backend,
           b->source.dimension, b->transaction, d.description);
    for (size_t s = b->first; s < b->first + b->sides; s++)
        side_text(b, s);
    if (b->sides == SIDES)
        printf("encryption costs %.1f %% of bulk, %.1f %% of one by one, %.1f %% of identify\n",
               more(&b->bulk[0], &b->bulk[1]), more(&b->single[0], &b->single[1]),
               more(&b->identify[0], &b->identify[1]));
    if (b->disk.count)
        printf("the disk alone: %d KiB written and synced in %.2f ms (p50), %.0f times a second\n",
               BLOCK / 1024, quantile(&b->disk, 0.5), 1e3 / mean(&b->disk));
}

/* ---- the command ---- */

static int read_options(gallery_bench *b, const cli_args *a)
{
    double count, dimension, transaction, singles, probes, deletions;
    if (!cli_number(a, "count", 1, 1e8, 20000, &count) ||
        !cli_number(a, "dim", UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION, 512, &dimension) ||
        !cli_number(a, "transaction", 1, 100000, 1000, &transaction) ||
        !cli_number(a, "singles", 1, 1e6, 500, &singles) ||
        !cli_number(a, "probes", 1, 1e6, 500, &probes) ||
        !cli_number(a, "deletions", 0, 1e6, 20, &deletions))
        return EXIT_USAGE;
    b->address = cli_value(a, "gallery");
    if (b->address && !strstr(b->address, "://"))
        return cli_complain(EXIT_USAGE,
                            "--gallery takes a postgresql:// address, not \"%s\"; "
                            "galleries in files are made in --dir",
                            b->address);
    if (cli_flag(a, "plain") && !b->address)
        return cli_complain(EXIT_USAGE,
                            "--plain goes with --gallery; files are measured both ways");
    b->first = cli_flag(a, "plain");
    b->sides = b->address ? 1 : SIDES;
    b->transaction = (size_t)(transaction < count ? transaction : count);
    b->bulk_count = (size_t)count;
    b->singles = (size_t)singles;
    b->probes = (size_t)probes;
    b->deletions = (size_t)(deletions < count ? deletions : count);
    /* All that are enrolled: probes are made of the numbers behind these. */
    b->source = (vector_source){.count = b->bulk_count + b->singles,
                                .seed = 1,
                                .dimension = (uint32_t)dimension,
                                .pictures = 1};
    return 0;
}

static int make_folder(gallery_bench *b, const cli_args *a)
{
    const char *dir = cli_value(a, "dir") ? cli_value(a, "dir") : getenv("TMPDIR");
    char secret[64];
    int status = 0;
    snprintf(b->folder, sizeof b->folder, "%s/uniface-bench-XXXXXX", dir ? dir : "/tmp");
    if (!mkdtemp(b->folder)) {
        b->folder[0] = '\0';
        return cli_complain(EXIT_INPUT, "%s: no folder can be made there", dir ? dir : "/tmp");
    }
    for (size_t s = 0; s < SIDES; s++)
        snprintf(b->paths[s], sizeof b->paths[s], "%s/%s.ufg", b->folder, side_names[s]);
    snprintf(b->key, sizeof b->key, "%s/key", b->folder);
    memset(secret, 'k', sizeof secret); /* seals made vectors only */
    FILE *f = fopen(b->key, "wb");
    if (!f || fwrite(secret, sizeof secret, 1, f) != 1)
        status = cli_complain(EXIT_INPUT, "%s: it cannot be written", b->key);
    if (f)
        fclose(f);
    return status;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void clean_up(gallery_bench *b)
{
    times *const all[] = {b->bulk, b->single, b->identify, b->erase};
    for (size_t s = 0; s < SIDES; s++) {
        uf_gallery_close(b->g[s]);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i][s].ms);
    }
    free(b->disk.ms);
    vector_source_close(&b->source);
    if (b->folder[0])
        nftw(b->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int run_bench_gallery(const cli_args *a)
{
    gallery_bench *b = cli_need(calloc(1, sizeof *b));
    uf_error err;
    int status = read_options(b, a);
    if (!status)
        status = make_folder(b, a);
    if (!status && measure_all(b, &err))
        status = cli_fail(&err);
    if (!status && a->json)
        report_json(b);
    else if (!status)
        report_text(b);
    clean_up(b);
    free(b);
    return status;
}

const cli_command cli_bench_gallery = {
    .name = "bench gallery",
    .summary = "Measure a gallery on this disk: enrolment, searches, deletion, encryption",
    .operands = "",
    .options = {{"count", 'n', "N", "people enrolled in bulk (20000)"},
                {"dim", 'd', "N", "dimension of their templates (512)"},
                {"transaction", 0, "N", "people in a transaction of these (1000)"},
                {"singles", 0, "N", "people enrolled one by one after them (500)"},
                {"probes", 'p', "N", "searches: half with a mate, half without (500)"},
                {"deletions", 0, "N", "people deleted at the end (20)"},
                {"dir", 0, "DIR", "where the galleries are made ($TMPDIR or /tmp)"},
                {"gallery", 'g', "ADDRESS", "postgresql:// address of an empty gallery instead"},
                {"plain", 0, NULL, "that one without encryption"}},
    .details =
        "An encrypted and a plain gallery do the same in turns; what encryption costs is the "
        "median\n"
        "of how much longer the one took than the other right beside it. One by one, every\n"
        "enrolment is durable before the next begins; the disk's own time for that is measured\n"
        "between them. The galleries are removed at the end, those of a database are not.",
    .examples = "  uniface bench gallery --dir /var/lib/uniface\n"
                "  uniface bench gallery -g 'postgresql:///faces?gallery=b&search=bit' --plain\n",
    .run = run_bench_gallery,
};
