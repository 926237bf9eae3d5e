/* uf_train: what it refuses, and runs that are scored, stopped, and go on. */
#include "api/model_impl.h"
#include "base/hash.h"
#include "test.h"
#include "train/arch.h"
#include "train/net.h"
#include "train_maker.h"
#include "uniface/train.h"

enum { PERSONS = 4, TAKES = 5, BATCH = 4, STEPS = 12 };

static const char net_text[] = "input 16 16 mean=127.5 scale=0.0078125 align=arcface\n"
                               "conv 8 k=3 s=2 act=prelu\n"
                               "depthwise k=map\n"
                               "linear 8\n"
                               "output embedding\n";

/* ---- a tiny run ---- */

static const char *net_path, *pictures[1];

static void make_inputs(void)
{
    static char net[512], folder[512];
    scratch_open();
    snprintf(net, sizeof net, "%s", in_scratch("net.txt"));
    snprintf(folder, sizeof folder, "%s", in_scratch("people"));
    write_text(net, net_text);
    mkdir(folder, 0755);
    for (int p = 0; p < PERSONS; p++) {
        mkdir(in_scratch("people/p%d", p), 0755);
        for (int t = 0; t < TAKES; t++)
            save_face(in_scratch("people/p%d/%d.png", p, t), 24, 24, 10 * p + t);
    }
    net_path = net;
    pictures[0] = folder;
}

static uf_train_options tiny(void)
{
    uf_train_options o = UF_TRAIN_OPTIONS_INIT;
    o.student = net_path;
    o.pictures = pictures;
    o.picture_count = 1;
    o.persons = UF_PERSON_LOSS_ARCFACE;
    o.batch = BATCH;
    o.threads = 1;
    o.held_out = 0;
    o.epochs = (double)(STEPS * BATCH) / (PERSONS * TAKES);
    o.measure_every = 2;
    o.average = 0.5;
    return o;
}

/* What a run is to do, and what was seen of it. */
typedef struct watch {
    int64_t stop_at;   /* 0: never */
    int64_t best_step; /* scores fall off from there */
    int64_t step, calls, measured;
    double agreement;
} watch;

static int on_step(void *user, const uf_train_state *s)
{
    watch *w = user;
    w->step = s->step;
    w->agreement = s->agreement;
    w->calls++;
    return s->step == w->stop_at;
}

/* Called before on_step of the same step. */
static int on_candidate(void *user, uf_model *candidate, double *score)
{
    watch *w = user;
    w->measured++;
    *score = uf_model_id(candidate) ? 1 / (1 + fabs((double)(w->step + 1 - w->best_step))) : 0;
    return 0;
}

static uf_status run(uf_train_options o, watch *w, uf_model **m, uf_error *err)
{
    o.progress = on_step;
    o.progress_arg = w;
    if (w->best_step) {
        o.validate = on_candidate;
        o.validate_arg = w;
    }
    *m = NULL;
    return uf_train(m, &o, err);
}

static double number_in(const uf_model *m, const char *key)
{
    const char *text = uf_model_meta(m, key);
    return text ? strtod(text, NULL) : -1;
}

static bool same_model(const uf_model *a, const uf_model *b)
{
    return a && b && !strcmp(uf_model_id(a), uf_model_id(b));
}

/* ---- what is refused ---- */

static void refuse(const uf_train_options *o, uf_status want, const char *says)
{
    uf_model *m = NULL;
    uf_error err = {0};
    const uf_status st = uf_train(&m, o, &err);
    CHECK_MSG(st == want && !m && strstr(err.message, says), "%d: %s", st, err.message);
    uf_model_close(m);
}

TEST(options_without_sense_are_refused)
{
    uf_train_options o = tiny();
    uf_model *m = NULL, *none[1] = {NULL};
    const char *nothing[1] = {NULL};
    CHECK(uf_train(NULL, &o, NULL) == UF_E_ARG && uf_train(&m, NULL, NULL) == UF_E_ARG);
    o.student = NULL;
    refuse(&o, UF_E_ARG, "either a student or a model");
    o = tiny();
    o.pictures = nothing;
    refuse(&o, UF_E_ARG, "pictures[0] is NULL");
    o = tiny();
    o.teachers = none;
    o.teacher_count = 1;
    refuse(&o, UF_E_ARG, "teachers[0] is NULL");
    o.teachers = NULL;
    refuse(&o, UF_E_ARG, "teachers");
    o = tiny();
    o.epochs = NAN;
    refuse(&o, UF_E_ARG, "epochs");
    o = tiny();
    o.checkpoint_every_s = NAN;
    refuse(&o, UF_E_ARG, "checkpoint_every_s");
    o = tiny();
    o.patience = 1;
    refuse(&o, UF_E_ARG, "there is no validate");
    const double backwards[2] = {0.8, 0.5};
    o = tiny();
    o.schedule = UF_SCHEDULE_STEP;
    o.milestones = backwards;
    o.milestone_count = 2;
    refuse(&o, UF_E_ARG, "number 2 is 0.5");
    o.milestone_count = UF_MAX_MILESTONES + 1;
    refuse(&o, UF_E_ARG, "9 milestones");
    o = tiny();
    o.schedule = (uf_schedule)2;
    refuse(&o, UF_E_ARG, "no such schedule");
    o = tiny();
    o.persons = UF_PERSON_LOSS_NONE;
    refuse(&o, UF_E_ARG, "neither a teacher nor a loss");
    o.pictures_per_person = 2;
    refuse(&o, UF_E_ARG, "belongs to a loss of persons");
    o = tiny();
    o.persons = UF_PERSON_LOSS_TRIPLET; /* four pictures of each */
    refuse(&o, UF_E_ARG, "cannot hold 4 pictures of each");
    o = tiny();
    o.batch = 64;
    refuse(&o, UF_E_ARG, "20 pictures to learn from");
    o = tiny();
    o.student = "/nowhere/net.txt";
    refuse(&o, UF_E_IO, "/nowhere/net.txt");
    o = tiny();
    nothing[0] = "/nowhere";
    o.pictures = nothing;
    refuse(&o, UF_E_IO, "/nowhere");
}

/* Teachers, and weights that leave nothing to learn from them. */
TEST(teachers_that_are_not_listened_to_are_refused)
{
    uf_train_options o = tiny();
    watch w = {0};
    uf_model *teacher;
    uf_error err;
    REQUIRE_OK(run(o, &w, &teacher, &err), err);
    o.persons = UF_PERSON_LOSS_NONE;
    o.teachers = &teacher;
    o.teacher_count = 1;
    o.angular = 0;
    refuse(&o, UF_E_ARG, "nothing is to be learned");
    uf_model_close(teacher);
}

/* ---- scores ---- */

TEST(the_best_candidate_is_kept_and_its_card_tells_its_score)
{
    const uf_train_options o = tiny();
    watch best = {.best_step = 4}, last = {0};
    uf_model *kept, *m;
    uf_error err;
    REQUIRE_OK(run(o, &best, &kept, &err), err);
    REQUIRE_OK(run(o, &last, &m, &err), err);
    CHECK(best.measured == STEPS / 2 && best.step == STEPS);
    CHECK_MSG(number_in(kept, "trained.score") == 1, "%s", uf_model_meta(kept, "trained.score"));
    CHECK(!same_model(kept, m) && !uf_model_meta(m, "trained.score"));
    uf_model_close(kept);
    uf_model_close(m);
}

static int score_nan(void *user, uf_model *candidate, double *score)
{
    (void)candidate;
    *score = *(double *)user;
    return 0;
}

TEST(scores_that_are_none_are_refused)
{
    uf_train_options o = tiny();
    double values[2] = {NAN, -0.5};
    for (int i = 0; i < 2; i++) {
        o.validate = score_nan;
        o.validate_arg = &values[i];
        refuse(&o, UF_E_ARG, "validate gave a score");
    }
}

/* After the end, or after patience is at its end, the same call makes no further step. */
static void end_twice(uf_train_options o, int64_t best_step, int64_t end)
{
    watch first = {.best_step = best_step}, second = {.best_step = best_step};
    uf_model *a, *b;
    uf_error err;
    o.checkpoint = in_scratch("end.ckpt");
    remove(o.checkpoint);
    REQUIRE_OK(run(o, &first, &a, &err), err);
    REQUIRE_OK(run(o, &second, &b, &err), err);
    CHECK_MSG(first.step == end, "%d, not %d", (int)first.step, (int)end);
    CHECK_MSG(second.calls == 0, "%d steps more", (int)second.calls);
    CHECK(same_model(a, b));
    CHECK(number_in(a, "trained.score") == number_in(b, "trained.score"));
    uf_model_close(a);
    uf_model_close(b);
}

TEST(patience_ends_a_run_for_good)
{
    uf_train_options o = tiny();
    end_twice(o, 4, STEPS);
    o.patience = 2;
    end_twice(o, 4, 8);
    end_twice(o, 2, 6);
}

/* The curves keep every other point of more than 1024; patience counts all. */
TEST(patience_may_be_longer_than_the_curves)
{
    uf_train_options o = tiny();
    watch w = {.best_step = 3};
    uf_model *m;
    uf_error err;
    o.batch = 2;
    o.epochs = 110;
    o.measure_every = 1;
    o.patience = 1030;
    REQUIRE_OK(run(o, &w, &m, &err), err);
    CHECK_MSG(w.step == 3 + o.patience, "%d", (int)w.step);
    uf_model_close(m);
}

TEST(a_model_that_learns_on_sheds_the_card_of_before)
{
    uf_train_options o = tiny();
    watch scored = {.best_step = 4}, plain = {0};
    uf_model *start, *m;
    uf_error err;
    REQUIRE_OK(run(o, &scored, &start, &err), err);
    REQUIRE_OK(uf_model_set_meta(start, "retrained.judged", "better", &err), err);
    o.student = NULL;
    o.start = start;
    REQUIRE_OK(run(o, &plain, &m, &err), err);
    CHECK(uf_model_meta(start, "trained.score") && !uf_model_meta(m, "trained.score"));
    CHECK(!uf_model_meta(m, "retrained.judged") && uf_model_meta(m, "trained.how"));
    uf_model_close(m);
    uf_model_close(start);
}

/* ---- going on ---- */

/* Stopped after each number of steps, a run comes to the same model as one that was not. */
static void stop_and_go_on(uf_train_options o, int64_t best_step)
{
    watch whole = {.best_step = best_step};
    uf_model *want, *m;
    uf_error err;
    REQUIRE_OK(run(o, &whole, &want, &err), err);
    for (int64_t stop = 1; stop < whole.step; stop += 2) {
        watch w = {.best_step = best_step, .stop_at = stop};
        o.checkpoint = in_scratch("run.ckpt");
        remove(o.checkpoint);
        CHECK(run(o, &w, &m, &err) == UF_E_CANCELLED && !m && w.step == stop);
        REQUIRE_OK(run(o, &w, &m, &err), err);
        CHECK_MSG(same_model(want, m) && w.step == whole.step, "stopped at %d", (int)stop);
        CHECK(number_in(want, "trained.score") == number_in(m, "trained.score"));
        CHECK(number_in(want, "trained.agreement") == number_in(m, "trained.agreement"));
        uf_model_close(m);
    }
    uf_model_close(want);
}

TEST(a_stopped_run_goes_on_bit_for_bit)
{
    uf_train_options o = tiny();
    o.blend = 0.3;
    stop_and_go_on(o, 0);
    o.persons = UF_PERSON_LOSS_UNIFIED;
    o.optimizer = UF_OPTIMIZER_SGD;
    o.average = 0;
    o.patience = 1;
    stop_and_go_on(o, 5);
    o.persons = UF_PERSON_LOSS_TRIPLET;
    o.pictures_per_person = 2;
    o.patience = 3;
    stop_and_go_on(o, 4);
}

TEST(agreement_is_measured_on_few_pictures_too)
{
    uf_train_options o = tiny();
    watch w = {0};
    uf_model *teacher, *m;
    uf_error err;
    REQUIRE_OK(run(o, &w, &teacher, &err), err);
    o.persons = UF_PERSON_LOSS_NONE;
    o.teachers = &teacher;
    o.teacher_count = 1;
    o.batch = 8;
    o.held_out = 0.2;
    REQUIRE_OK(run(o, &w, &m, &err), err);
    CHECK_MSG(w.agreement > -1 && w.agreement <= 1.0001, "%g", w.agreement);
    uf_model_close(m);
    stop_and_go_on(o, 0);
    uf_model_close(teacher);
}

TEST(checkpoints_of_other_runs_and_damaged_ones_are_refused)
{
    uf_train_options o = tiny();
    watch w = {.stop_at = 3};
    uf_model *m;
    uf_error err;
    uint8_t *data;
    size_t size;
    o.checkpoint = in_scratch("other.ckpt");
    CHECK(run(o, &w, &m, &err) == UF_E_CANCELLED);
    o.seed = 2;
    refuse(&o, UF_E_MISMATCH, "other options");
    o.seed = 1;
    REQUIRE_OK(ufi_file_read(&data, &size, o.checkpoint, 1 << 24, &err), err);
    data[size / 2] ^= 1;
    write_bytes(o.checkpoint, data, size);
    refuse(&o, UF_E_FORMAT, "damaged");
    data[size / 2] ^= 1;
    write_bytes(o.checkpoint, data, size - 1);
    refuse(&o, UF_E_FORMAT, "damaged");
    write_bytes(o.checkpoint, data, 5);
    refuse(&o, UF_E_FORMAT, "no checkpoint");
    write_bytes(o.checkpoint, data, size);
    ufi_free(data);
    w.stop_at = 0;
    REQUIRE_OK(run(o, &w, &m, &err), err);
    uf_model_close(m);
}

/* Where the run stands is the first part: behind magic, key, count and sizes. */
TEST(a_forged_checkpoint_ends_or_errs)
{
    uf_train_options o = tiny();
    watch w = {.stop_at = 3, .best_step = 2};
    uf_model *m;
    uf_error err;
    uint8_t *data, *forged;
    size_t size, refused = 0;
    uint64_t random = 5;
    o.checkpoint = in_scratch("forged.ckpt");
    CHECK(run(o, &w, &m, &err) == UF_E_CANCELLED);
    REQUIRE_OK(ufi_file_read(&data, &size, o.checkpoint, 1 << 24, &err), err);
    forged = malloc(size);
    const size_t head = 48, at = head + 8 * (data[40] + 256 * (size_t)data[41]);
    w.stop_at = 0;
    for (int i = 0; i < 60; i++) {
        memcpy(forged, data, size);
        for (int k = 0; k < 8; k++) /* of one of the first eight numbers */
            forged[at + 8 * (size_t)(i % 8) + (size_t)k] =
                i < 8 ? 0xFF : (uint8_t)test_random(&random) >> (i < 30 ? 6 : 0);
        ufi_sha256_of(forged, size - 32, forged + size - 32);
        write_bytes(o.checkpoint, forged, size);
        const uf_status st = run(o, &w, &m, &err);
        CHECK_MSG(!st == (m != NULL), "%d: %s", i, err.message);
        refused += st == UF_E_FORMAT;
        uf_model_close(m);
    }
    CHECK_MSG(refused > 20, "%zu", refused);
    free(forged);
    ufi_free(data);
}

/* ---- pictures that cannot be read ---- */

static int count_unreadable(void *user, const uf_train_state *s)
{
    *(size_t *)user = s->unreadable;
    return 0;
}

TEST(pictures_that_cannot_be_read_are_counted_not_fatal)
{
    uf_train_options o = tiny();
    uf_model *m = NULL;
    uf_error err;
    size_t unreadable = 0;
    char list[1024] = "people/p0/missing.png\ta\npeople/broken.png\tb\n";
    const char *path = in_scratch("list.txt");
    write_text(in_scratch("people/broken.png"), "no picture");
    for (int p = 0; p < 2; p++)
        for (int t = 0; t < TAKES; t++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "people/p%d/%d.png\t%c\n", p,
                     t, 'a' + p);
    write_text(path, list);
    o.pictures = &path;
    o.progress = count_unreadable;
    o.progress_arg = &unreadable;
    CHECK_MSG(uf_train(&m, &o, &err) == UF_OK, "%s", err.message);
    CHECK_MSG(unreadable == 2, "%zu", unreadable);
    uf_model_close(m);
    remove(in_scratch("people/broken.png"));
}

/* ---- students that do not fit ---- */

/* A described network as a finished model, untrained. */
static uf_model *finished(const char *text)
{
    ufi_model_file described;
    ufi_net *net = NULL;
    uf_model *m = NULL;
    uf_error err;
    ufi_net_options o = UFI_NET_OPTIONS_INIT;
    o.batch = 1;
    uf_status st = ufi_arch_build_text(&described, "text", text, 1, 1, &err);
    if (!st)
        st = ufi_model_new(&m, &err);
    if (!st)
        st = ufi_net_create(&net, &described.graph, &o, &err);
    if (!st)
        st = ufi_net_store(net, NULL, &m->file.graph, &err);
    if (!st)
        st = ufi_copy_meta(&m->file.meta, &described.meta, &err);
    if (!st)
        st = ufi_model_file_settle(&m->file, true, &err);
    if (!st)
        st = ufi_model_file_seal(&m->file, &err);
    ufi_net_destroy(net);
    if (st) {
        printf("%s\n", err.message);
        abort();
    }
    ufi_model_file_free(&described);
    return ufi_model_finish(&m, m, st) ? NULL : m;
}

/* A detector with one layer of heads for each stride; the class of the first has `parts`. */
static const char *detector_text(int parts)
{
    static const int channels[4] = {1, 1, 4, 10};
    static const char *const names[4] = {"cls", "obj", "bbox", "kps"};
    static char text[2048];
    int n = snprintf(text, sizeof text,
                     "input 32 32 detector=yunet\nconv 8 k=3 s=8 act=relu\ntag t8\npool max\n"
                     "tag t16\npool max\ntag t32\n");
    for (int k = 0; k < 4; k++)
        for (int s = 8; s <= 32; s *= 2)
            n += snprintf(text + n, sizeof text - (size_t)n, "from t%d\nhead %d %s_%d%s\n", s,
                          k || s > 8 ? channels[k] : parts, names[k], s,
                          k < 2 ? " act=sigmoid" : "");
    return text;
}

TEST(a_detector_with_heads_of_another_size_is_refused)
{
    uf_train_options o = tiny();
    uf_model *teacher = finished(detector_text(1)), *m;
    uf_error err = {0};
    watch w = {0};
    const char *path = in_scratch("detector.txt");
    o.persons = UF_PERSON_LOSS_NONE;
    o.teachers = &teacher;
    o.teacher_count = 1;
    o.student = path;
    write_text(path, detector_text(1));
    REQUIRE_OK(run(o, &w, &m, &err), err);
    uf_model_close(m);
    o.held_out = 0.2;
    stop_and_go_on(o, 0);
    write_text(path, detector_text(3));
    refuse(&o, UF_E_MISMATCH, "output 0");
    o.clean_teacher = 1;
    o.teacher_cache = in_scratch("detector.bin");
    refuse(&o, UF_E_ARG, "vectors of embedders");
    o.teacher_cache = NULL;
    o.student = net_path; /* an embedder has nothing to learn from a detector */
    refuse(&o, UF_E_MISMATCH, "teacher 1");
    uf_model_close(teacher);
}

/* `m` in bytes, its ranges measured on noise. */
static void make_bytes(uf_model *m, uf_model **made)
{
    enum { PICTURES = 8, SIDE = 32 };
    static uint8_t noise[PICTURES * SIDE * SIDE * 3];
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    uf_calibration *c = NULL;
    uf_error err = {0};
    uint32_t now = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((now = now * 1664525u + 1013904223u) >> 24);
    o.range = UF_RANGE_MINMAX;
    o.min_agreement = -1;
    REQUIRE_OK(uf_calibration_create(&c, m, NULL, &err), err);
    REQUIRE_OK(uf_calibration_add_pixels(c, noise, PICTURES, &err), err);
    REQUIRE_OK(uf_quantize(made, m, c, &o, &err), err);
    uf_calibration_destroy(c);
}

/* The mean with the mirror image's answers is what the FP32 model does not say itself. */
TEST(a_detector_in_bytes_learns_what_its_teacher_says)
{
    uf_train_options o = tiny();
    uf_model *teacher = finished(detector_text(1)), *start = NULL, *m;
    uf_error err = {0};
    watch w = {0};
    make_bytes(teacher, &start);
    o.persons = UF_PERSON_LOSS_NONE;
    o.teachers = &teacher;
    o.teacher_count = 1;
    o.student = NULL;
    o.start = start;
    o.held_out = 0.3;
    o.rate = o.final_rate = 1e-9; /* as it was quantised */
    REQUIRE_OK(run(o, &w, &m, &err), err);
    CHECK_MSG(w.agreement > 0.95, "%g", w.agreement);
    uf_model_close(m);
    uf_model_close(start);
    uf_model_close(teacher);
}

/* ---- no memory ---- */

TEST(no_memory_is_an_error)
{
    uf_train_options o = tiny();
    uf_model *m = NULL;
    uf_status st = UF_E_NOMEM;
    o.epochs = 0.01; /* one step */
    o.checkpoint = in_scratch("nomem.ckpt");
    uint64_t k = 1;
    for (; st && k < 1000000; k += 1 + k / 24) {
        uf_error err = {0};
        remove(o.checkpoint);
        ufi_mem_fail_after(k, true);
        st = uf_train(&m, &o, &err);
        ufi_mem_fail_after(0, false);
        CHECK_MSG(st == UF_OK || (st == UF_E_NOMEM && !m), "%llu: %d %s", (unsigned long long)k, st,
                  err.message);
    }
    CHECK_MSG(k > 200 && m, "%llu", (unsigned long long)k);
    uf_model_close(m);
}

/* ---- what teachers have said ---- */

static int note_asked(void *user, const uf_train_state *s)
{
    *(uint64_t *)user = s->asked;
    return 0;
}

TEST(a_second_run_asks_the_cache)
{
    uf_train_options o = tiny();
    watch w = {0};
    uf_model *teacher, *m[3] = {NULL};
    uf_error err;
    char cache[512];
    uint64_t asked[3] = {0};
    REQUIRE_OK(run(o, &w, &teacher, &err), err);
    snprintf(cache, sizeof cache, "%s", in_scratch("said.bin"));
    o.persons = UF_PERSON_LOSS_NONE;
    o.teachers = &teacher;
    o.teacher_count = 1;
    o.epochs *= 4;
    o.held_out = 0.2;
    o.progress = note_asked;
    o.teacher_cache = cache;
    refuse(&o, UF_E_ARG, "clean_teacher");
    o.clean_teacher = 1;
    for (int i = 0; i < 3; i++) {
        o.teacher_cache = i < 2 ? cache : NULL;
        o.progress_arg = &asked[i];
        REQUIRE_OK(uf_train(&m[i], &o, &err), err);
    }
    CHECK_MSG(asked[0] > 0 && asked[0] < asked[2], "%llu of %llu pictures",
              (unsigned long long)asked[0], (unsigned long long)asked[2]);
    CHECK_MSG(asked[1] == 0, "the second run asks about %llu pictures",
              (unsigned long long)asked[1]);
    /* The cache is no other teacher. */
    CHECK(same_model(m[0], m[1]) && same_model(m[1], m[2]));
    o.seed++; /* a student of its own is no matter to the cache, other pictures are */
    const char *others[1] = {in_scratch("people/p0")};
    o.pictures = others;
    o.batch = 2;
    o.teacher_cache = cache;
    refuse(&o, UF_E_MISMATCH, "said.bin");
    for (int i = 0; i < 3; i++)
        uf_model_close(m[i]);
    uf_model_close(teacher);
}

/* ---- the rate ---- */

typedef struct rates {
    double at[STEPS + 1];
} rates;

static int note_rate(void *user, const uf_train_state *s)
{
    ((rates *)user)->at[s->step] = s->rate;
    return 0;
}

TEST(the_rate_falls_at_milestones)
{
    const double milestones[2] = {0.5, 0.75};
    uf_train_options o = tiny();
    uf_model *m = NULL;
    uf_error err;
    rates r = {{0}};
    o.schedule = UF_SCHEDULE_STEP;
    o.milestones = milestones;
    o.milestone_count = 2;
    o.rate_factor = 0.5;
    o.rate = 0.004;
    o.warmup = 0;
    o.progress = note_rate;
    o.progress_arg = &r;
    REQUIRE_OK(uf_train(&m, &o, &err), err);
    for (int step = 1; step <= STEPS; step++) {
        const double want = step <= STEPS / 2 ? 0.004 : step <= STEPS * 3 / 4 ? 0.002 : 0.001;
        CHECK_MSG(fabs(r.at[step] - want) < 1e-12, "step %d: %g, not %g", step, r.at[step], want);
    }
    CHECK(strstr(uf_model_meta(m, "trained.how"), "rate 0.004 times 0.5 at 0.5 0.75"));
    uf_model_close(m);
}

int main(int argc, char **argv)
{
    make_inputs();
    const int status = test_run_all(argc, argv);
    scratch_close();
    return status;
}
