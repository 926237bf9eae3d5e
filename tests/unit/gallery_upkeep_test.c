/* Upkeep of galleries: compacting, copies, change of model, versions of tables, media. */
#include "gallery_maker.h"

#include <sys/mount.h>
#include <sys/wait.h>

#include "gallery/impl.h"

enum { CROP = 12 };

static void crop_of(uint64_t person, uint64_t image, uint8_t *out)
{
    uint64_t state = person * 31 + image;
    for (size_t i = 0; i < CROP * CROP * 3; i++)
        out[i] = (uint8_t)test_random(&state);
    memcpy(out, &person, sizeof person); /* what `embed` reads */
    out[8] = (uint8_t)image;
}

static uf_gallery *with_crops(const char *path, uint32_t flags, uint32_t keep)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = flags | UF_GALLERY_CREATE;
    o.passphrase = flags & UF_GALLERY_PLAIN ? NULL : "pass phrase";
    o.keep_crops = keep;
    if (uf_gallery_open(&g, path, &o, &err))
        printf("%s\n", err.message);
    return g;
}

static uf_status enroll_crop(uf_gallery *g, uint64_t person, uint64_t image, uf_error *err)
{
    float face[DIM];
    uint8_t crop[CROP * CROP * 3];
    char id[32], source[32];
    const uf_template t = {.vector = face,
                           .dimension = DIM,
                           .model_id = MODEL,
                           .source = source,
                           .quality = 0.25f,
                           .crop = crop,
                           .crop_size = CROP};
    const uf_enrolment e = {.person = {.id = id,
                                       .collection = person % 4 ? NULL : "fourth",
                                       .metadata = "{\"a\":1}",
                                       .consent = "form",
                                       .expires = 4000000000 + (int64_t)person},
                            .templates = &t,
                            .count = 1};
    snprintf(id, sizeof id, "p%llu", (unsigned long long)person);
    snprintf(source, sizeof source, "%llu.jpg", (unsigned long long)image);
    maker_face(person, image, face, DIM);
    crop_of(person, image, crop);
    return uf_gallery_enroll(g, &e, 1, NULL, err);
}

/* ---- copies ---- */

/* Everything of a gallery, order included, but for templates' numbers. */
typedef struct content {
    ufi_sha256 h;
    size_t people, templates;
} content;

static void add_text(content *c, const char *s)
{
    ufi_sha256_update(&c->h, s ? s : "\1", s ? strlen(s) + 1 : 1);
}

static int add_person(void *user, const uf_person_info *p)
{
    content *c = user;
    const int64_t numbers[] = {p->expires, p->created, p->updated, (int64_t)p->templates};
    const char *const texts[] = {p->collection, p->id, p->metadata, p->consent, p->purpose};
    for (size_t i = 0; i < 5; i++)
        add_text(c, texts[i]);
    ufi_sha256_update(&c->h, numbers, sizeof numbers);
    c->people++;
    return 0;
}

static int add_template(void *user, const uf_template_info *t)
{
    content *c = user;
    const char *const texts[] = {t->collection, t->id, t->model_id, t->source};
    for (size_t i = 0; i < 4; i++)
        add_text(c, texts[i]);
    ufi_sha256_update(&c->h, &t->quality, sizeof t->quality);
    ufi_sha256_update(&c->h, &t->created, sizeof t->created);
    ufi_sha256_update(&c->h, t->vector, t->dimension * sizeof(float));
    ufi_sha256_update(&c->h, &t->crop_size, sizeof t->crop_size);
    if (t->crop)
        ufi_sha256_update(&c->h, t->crop, (size_t)t->crop_size * t->crop_size * 3);
    c->templates++;
    return 0;
}

static void digest_of(uf_gallery *g, uint8_t out[UFI_SHA256_BYTES])
{
    uf_error err = {0};
    content c = {.people = 0};
    ufi_sha256_init(&c.h);
    CHECK_OK(uf_gallery_list(g, NULL, NULL, add_person, &c, &err), err);
    CHECK_OK(uf_gallery_templates(g, NULL, NULL, NULL, add_template, &c, &err), err);
    CHECK(c.people == 300 && c.templates == 400);
    ufi_sha256_final(&c.h, out);
}

TEST(copies_are_the_same_to_the_last_bit)
{
    uf_error err = {0};
    uint8_t a[UFI_SHA256_BYTES], b[UFI_SHA256_BYTES];
    NEED_GALLERY;
    const char *path = maker_path("from");
    uf_gallery *from = with_crops(path, 0, 1),
               *to = with_crops(maker_path("to"), UF_GALLERY_PLAIN, 0),
               *back = with_crops(maker_path("back"), 0, 0);
    REQUIRE(from && to && back);
    for (uint64_t p = 0; p < 300; p++)
        for (uint64_t image = 1; image <= (p % 3 ? 1 : 2); image++)
            REQUIRE_OK(enroll_crop(from, p, image, &err), err);
    REQUIRE_OK(uf_gallery_copy(from, to, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_copy(to, back, NULL, NULL, &err), err);
    digest_of(from, a);
    digest_of(to, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    digest_of(back, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_OK(uf_gallery_check(to, NULL, NULL, &err), err);
    /* Again: those who are the same are passed over; one who differs is an error. */
    REQUIRE_OK(uf_gallery_copy(from, to, NULL, NULL, &err), err);
    digest_of(to, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    REQUIRE_OK(enroll_crop(to, 7, 9, &err), err);
    CHECK(uf_gallery_copy(from, to, NULL, NULL, &err) == UF_E_STATE && strstr(err.message, "p7"));
    CHECK(uf_gallery_copy(from, from, NULL, NULL, &err) == UF_E_ARG);
    uf_gallery *again = with_crops(path, 0, 0);
    REQUIRE(again);
    CHECK(uf_gallery_copy(from, again, NULL, NULL, &err) == UF_E_ARG &&
          strstr(err.message, "the same gallery"));
    uf_gallery_close(again);
    uf_gallery_close(from);
    uf_gallery_close(to);
    uf_gallery_close(back);
}

/* ---- change of model ---- */

typedef struct embedder {
    int calls, fail_at;
    bool is_former; /* the model that was in use first */
} embedder;

/* The new model sees other faces in the same crops. */
static uf_status embed(void *user, const uint8_t *crop, uint32_t crop_size, float *vector,
                       uf_error *err)
{
    embedder *e = user;
    uint64_t person;
    memcpy(&person, crop, sizeof person);
    if (crop_size != CROP || ++e->calls == e->fail_at)
        return UF_E_CANCELLED;
    maker_face(5000 + person, crop[8], vector, e->is_former ? DIM : 2 * DIM);
    return UF_OK;
}

static int count_without(void *user, const uf_person_info *p)
{
    *(size_t *)user += strcmp(p->id, "bare") == 0 && p->templates == 1;
    return 0;
}

static void found_by(uf_gallery *g, uint64_t person, const char *model, bool expected)
{
    uf_error err = {0};
    float face[2 * DIM];
    uf_candidate best[1];
    char id[32];
    size_t count = 0;
    bool is_new = strcmp(model, MODEL) != 0;
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.threshold = 0.6f;
    o.top_k = 1;
    snprintf(id, sizeof id, "p%llu", (unsigned long long)person);
    maker_face(is_new ? 5000 + person : person, 2, face, is_new ? 2 * DIM : DIM);
    uf_status st =
        uf_gallery_identify(g, face, is_new ? 2 * DIM : DIM, model, &o, best, &count, NULL, &err);
    CHECK_MSG((!st && count == 1 && best[0].passes && strcmp(best[0].id, id) == 0) == expected,
              "%d %s", st, err.message);
}

TEST(models_change_side_by_side_and_back)
{
    uf_error err = {0};
    uf_gallery_stats s;
    uint64_t made, missing, dropped;
    size_t without = 0;
    embedder e = {.fail_at = 8};
    NEED_GALLERY;
    uf_gallery *g = with_crops(maker_path("g"), 0, 1);
    REQUIRE(g);
    for (uint64_t p = 1; p < 20; p++)
        for (uint64_t image = 1; image <= 2; image++)
            REQUIRE_OK(enroll_crop(g, p * 4 + 1, image, &err), err);
    float face[DIM];
    const uf_template t = {.vector = face, .dimension = DIM, .model_id = MODEL};
    const uf_enrolment bare = {.person = {.id = "bare"}, .templates = &t, .count = 1};
    maker_face(999, 1, face, DIM);
    REQUIRE_OK(uf_gallery_enroll(g, &bare, 1, NULL, &err), err);
    CHECK(uf_gallery_migrate(g, "new", 2 * DIM, embed, &e, count_without, &without, &made, &missing,
                             &err) == UF_E_CANCELLED);
    CHECK(made == 6); /* three people of two; the fourth stopped in the middle */
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err); /* the newest templates are not in use */
    CHECK(strcmp(s.model_id, MODEL) == 0);
    found_by(g, 5, "new", true);
    found_by(g, 5, MODEL, true);
    e.fail_at = 0;
    REQUIRE_OK(uf_gallery_migrate(g, "new", 2 * DIM, embed, &e, count_without, &without, &made,
                                  &missing, &err),
               err);
    CHECK(made == 32 && missing == 1 && without == 1);
    for (uint64_t p = 1; p < 20; p++) {
        found_by(g, p * 4 + 1, "new", true);
        found_by(g, p * 4 + 1, MODEL, true);
    }
    REQUIRE_OK(uf_gallery_migrate(g, "new", 2 * DIM, embed, &e, NULL, NULL, &made, NULL, &err),
               err);
    CHECK(made == 0);
    CHECK(uf_gallery_migrate(g, "new", DIM, embed, &e, NULL, NULL, NULL, NULL, &err) ==
          UF_E_MISMATCH);
    CHECK(uf_gallery_set_model(g, "none", &err) == UF_E_NOT_FOUND);
    REQUIRE_OK(uf_gallery_set_model(g, MODEL, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(strcmp(s.model_id, MODEL) == 0 && s.models == 2 && s.templates == 39 + 38);
    CHECK(uf_gallery_drop_model(g, MODEL, &dropped, &err) == UF_E_STATE);
    CHECK(uf_gallery_drop_model(g, "new", &dropped, &err) == UF_E_STATE); /* not cut over yet */
    CHECK(strstr(err.message, "Cut over") && dropped == 0);
    found_by(g, 5, "new", true);
    REQUIRE_OK(uf_gallery_set_model(g, "new", &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_drop_model(g, MODEL, &dropped, &err), err);
    CHECK(dropped == 39);
    found_by(g, 5, MODEL, false);
    found_by(g, 5, "new", true);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    /* The crops went along: the next change needs the first model no more. */
    e.calls = 0;
    REQUIRE_OK(
        uf_gallery_migrate(g, "newest", 2 * DIM, embed, &e, NULL, NULL, &made, &missing, &err),
        err);
    CHECK(made == 38 && missing == 1 && e.calls == 38);
    /* Back to a model that was in use before: until the cut-over it is the one that comes. */
    REQUIRE_OK(uf_gallery_set_model(g, "newest", &err), err);
    e.is_former = true;
    REQUIRE_OK(uf_gallery_migrate(g, MODEL, DIM, embed, &e, NULL, NULL, &made, &missing, &err),
               err);
    CHECK(made == 38 && uf_gallery_drop_model(g, MODEL, &dropped, &err) == UF_E_STATE);
    uf_gallery_close(g);
}

typedef struct deleter {
    embedder embed;
    uf_gallery *other; /* another process's view */
    uf_error err;
} deleter;

/* The person goes while the crop is looked at. */
static uf_status embed_and_delete(void *user, const uint8_t *crop, uint32_t crop_size,
                                  float *vector, uf_error *err)
{
    deleter *d = user;
    char id[32];
    uint64_t person;
    memcpy(&person, crop, sizeof person);
    snprintf(id, sizeof id, "p%llu", (unsigned long long)person);
    CHECK_OK(uf_gallery_delete(d->other, NULL, id, NULL, &d->err), d->err);
    return embed(&d->embed, crop, crop_size, vector, err);
}

TEST(who_is_deleted_while_models_change_stays_away)
{
    uf_error err = {0};
    uf_gallery_stats s;
    uint64_t made = 9;
    deleter d = {0};
    NEED_GALLERY;
    const char *path = maker_path("g");
    uf_gallery *g = with_crops(path, 0, 1);
    REQUIRE(g);
    REQUIRE_OK(maker_open(&d.other, path, 0, &err), err);
    REQUIRE_OK(enroll_crop(g, 5, 1, &err), err);
    CHECK_OK(
        uf_gallery_migrate(g, "new", 2 * DIM, embed_and_delete, &d, NULL, NULL, &made, NULL, &err),
        err);
    CHECK(made == 0 && g->depth == 0); /* no transaction is left open */
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people == 0 && s.templates == 0);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uf_gallery_close(g);
    uf_gallery_close(d.other);
}

/* A copy knows which models were in use, though it numbers them otherwise. */
TEST(a_copy_lets_the_same_models_go)
{
    uf_error err = {0};
    uf_gallery_stats s;
    uint64_t dropped = 0;
    embedder e = {0};
    uf_gallery *back = NULL, *before = NULL;
    NEED_GALLERY;
    uf_gallery *g = with_crops(maker_path("g"), 0, 1);
    REQUIRE(g);
    REQUIRE_OK(enroll_crop(g, 5, 1, &err), err);
    REQUIRE_OK(uf_gallery_migrate(g, "new", 2 * DIM, embed, &e, NULL, NULL, NULL, NULL, &err), err);
    before = with_crops(maker_path("before"), 0, 1);
    REQUIRE(before);
    REQUIRE_OK(uf_gallery_copy(g, before, NULL, NULL, &err), err);
    CHECK(uf_gallery_drop_model(before, "new", &dropped, &err) == UF_E_STATE); /* it comes */
    REQUIRE_OK(uf_gallery_set_model(g, "new", &err), err);
    REQUIRE_OK(uf_gallery_set_model(g, MODEL, &err), err); /* given up */
    back = with_crops(maker_path("back"), 0, 1);
    REQUIRE(back);
    REQUIRE_OK(uf_gallery_copy(g, back, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_describe(back, &s, &err), err);
    CHECK(strcmp(s.model_id, MODEL) == 0 && s.templates == 2);
    CHECK_OK(uf_gallery_drop_model(back, "new", &dropped, &err), err);
    CHECK(dropped == 1);
    /* Copied again, the first copy knows that it comes no more. */
    REQUIRE_OK(uf_gallery_delete(before, NULL, "p5", NULL, &err), err);
    REQUIRE_OK(uf_gallery_copy(g, before, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_drop_model(before, "new", &dropped, &err), err);
    uf_gallery_close(g);
    uf_gallery_close(before);
    uf_gallery_close(back);
}

/* ---- space, versions, media ---- */

TEST(compacting_gives_space_back)
{
    uf_error err = {0};
    uf_gallery_stats before, after;
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    const char *path = maker_path("g");
    uf_gallery *g = with_crops(path, 0, 1);
    REQUIRE(g);
    for (uint64_t p = 0; p < 400; p++)
        REQUIRE_OK(enroll_crop(g, p * 4 + 1, 1, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &before, &err), err);
    for (uint64_t p = 0; p < 380; p++) {
        char id[32];
        snprintf(id, sizeof id, "p%llu", (unsigned long long)(p * 4 + 1));
        REQUIRE_OK(uf_gallery_delete(g, NULL, id, NULL, &err), err);
    }
    REQUIRE_OK(uf_gallery_compact(g, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &after, &err), err);
    CHECK_MSG(after.database_bytes * 4 < before.database_bytes * 3, "%llu of %llu",
              (unsigned long long)after.database_bytes, (unsigned long long)before.database_bytes);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_reindex(g, NULL, NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 390 * 4 + 1, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p1561") == 0);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(tables_of_a_newer_version_are_refused)
{
    uf_error err = {0};
    NEED_GALLERY;
    const char *path = maker_path("g");
    uf_gallery *g = with_crops(path, 0, 0);
    REQUIRE(g);
    REQUIRE_OK(ufi_setting_put(g->sql, "schema", UFI_SCHEMA_VERSION + 1, NULL, 0, &err), err);
    uf_gallery_close(g);
    CHECK(maker_open(&g, path, UF_GALLERY_CREATE, &err) == UF_E_FORMAT && !g);
    CHECK(strstr(err.message, "newer"));
}

TEST(read_only_galleries_answer_and_log)
{
    uf_error err = {0};
    uf_candidate best;
    size_t count;
    uint64_t before, after;
    NEED_GALLERY;
    const char *path = maker_path("g");
    uf_gallery *g = with_crops(path, 0, 0);
    REQUIRE(g);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_audit_check(g, &before, &err), err);
    uf_gallery_close(g);
    CHECK(maker_open(&g, maker_path("none"), UF_GALLERY_READ_ONLY | UF_GALLERY_CREATE, &err) ==
          UF_E_NOT_FOUND);
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_READ_ONLY, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 1, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes);
    CHECK(maker_enroll(g, NULL, 2, 1, MODEL, NULL, &err) == UF_E_STATE);
    CHECK(uf_gallery_delete(g, NULL, "p1", NULL, &err) == UF_E_STATE);
    CHECK(uf_gallery_compact(g, &err) == UF_E_STATE);
    REQUIRE_OK(uf_gallery_audit_check(g, &after, &err), err);
    CHECK(after == before + 1);
    uf_gallery_close(g);
}

TEST(a_gallery_on_a_medium_that_cannot_be_written)
{
    uf_error err = {0};
    uf_candidate best = {.id = ""};
    size_t count = 0;
    uf_gallery *g = NULL;
    char folder[100], path[128];
    NEED_GALLERY;
    snprintf(folder, sizeof folder, "%s/medium", maker_folder());
    snprintf(path, sizeof path, "%s/g", folder);
    REQUIRE(mkdir(folder, 0700) == 0);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=8m") != 0)
        SKIP("cannot mount (not root, or a container)");
    CHECK_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    CHECK_OK(maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err), err);
    uf_gallery_close(g);
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0) {
        CHECK(maker_open(&g, path, 0, &err) == UF_E_IO && !g);
        CHECK_OK(maker_open(&g, path, UF_GALLERY_READ_ONLY, &err), err);
        CHECK_OK(maker_identify(g, NULL, 1, 2, MODEL, &best, &count, &err), err);
        CHECK(best.passes && strcmp(best.id, "p1") == 0);
        CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
        uf_gallery_close(g);
    }
    umount(folder);
}

/* Two that make the same gallery at once: one is made, both have it. */
TEST(made_by_two_at_once)
{
    uf_error err = {0};
    NEED_GALLERY;
    for (int round = 0; round < 4; round++) {
        const char *path = maker_path("g");
        uf_gallery *g = NULL;
        char command[600];
        pid_t child = fork();
        if (child == 0)
            _exit(maker_open(&g, path, UF_GALLERY_CREATE | UF_GALLERY_PLAIN, &err) ||
                  maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err));
        CHECK_OK(maker_open(&g, path, UF_GALLERY_CREATE | UF_GALLERY_PLAIN, &err), err);
        CHECK_OK(maker_enroll(g, NULL, 2, 1, MODEL, NULL, &err), err);
        int status = -1;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        uf_gallery_stats s = {0};
        CHECK_OK(uf_gallery_describe(g, &s, &err), err);
        CHECK(s.people == 2);
        uf_gallery_close(g);
        snprintf(command, sizeof command, "ls '%s' | grep -q new-", maker_folder());
        CHECK(system(command) != 0); /* nothing temporary is left */
    }
}

TEST_MAIN
