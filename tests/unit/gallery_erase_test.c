/* After a deletion no file of the gallery holds anything of the person. */
#include "gallery_maker.h"

#include "gallery/impl.h"

/* Rows as the database holds them: sealed bytes of templates, crops and the key. */
typedef struct traces {
    struct {
        uint8_t bytes[16];
        bool seen;
    } runs[4096];
    size_t count;
} traces;

static void add_runs(traces *t, const void *data, size_t size)
{
    for (size_t at = 0; at + 16 <= size && t->count < 4096; at += 16)
        memcpy(t->runs[t->count++].bytes, (const uint8_t *)data + at, 16);
}

static uf_status add_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (columns[i].type == UFI_VALUE_BYTES || columns[i].type == UFI_VALUE_TEXT)
            add_runs(user, columns[i].data, columns[i].size);
    return UF_OK;
}

static void look_into(const char *path, traces *t)
{
    struct stat info;
    FILE *f = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    if (!f)
        return;
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    uint8_t *data = malloc(size + 1);
    rewind(f);
    size = fread(data, 1, size, f);
    fclose(f);
    for (size_t i = 0; i < t->count; i++)
        if (memmem(data, size, t->runs[i].bytes, 16))
            t->runs[i].seen = true;
    free(data);
}

/* Runs that some file of the gallery has: database, log, shared memory, snapshots. */
static size_t look_around(const char *gallery, traces *t)
{
    char path[400];
    size_t seen = 0;
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < t->count; i++)
        t->runs[i].seen = false;
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", gallery, ends[i]);
        look_into(path, t);
    }
    snprintf(path, sizeof path, "%s-index", gallery);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s-index/%s", gallery, e->d_name);
        look_into(path, t);
    }
    if (d)
        closedir(d);
    for (size_t i = 0; i < t->count; i++)
        seen += t->runs[i].seen;
    return seen;
}

static void enroll_with_crop(uf_gallery *g, uint64_t person, uint64_t image, uint8_t *crop)
{
    float face[DIM];
    char name[48];
    uf_error err = {0};
    const uf_template t = {
        .vector = face, .dimension = DIM, .model_id = MODEL, .crop = crop, .crop_size = 16};
    uint64_t state = person * 100 + image;
    for (size_t i = 0; i < 16 * 16 * 3; i++)
        crop[i] = (uint8_t)test_random(&state);
    snprintf(name, sizeof name, "a person with a long name, %llu", (unsigned long long)person);
    const uf_enrolment e = {.person = {.id = name, .metadata = "{\"town\": \"of this person\"}"},
                            .templates = &t,
                            .count = 1};
    maker_face(person, image, face, DIM);
    CHECK_OK(uf_gallery_enroll(g, &e, 1, NULL, &err), err);
}

/* Everything of the person that is in files, as it stands there, and the plain vectors and crops.
 */
static void collect(uf_gallery *g, const char *id, uint64_t person, traces *t)
{
    uf_error err = {0};
    float face[DIM];
    uint8_t crop[16 * 16 * 3];
    const ufi_value args[] = {ufi_text(id)};
    t->count = 0;
    CHECK_OK(ufi_sql_rows(g->sql, "SELECT id, metadata, sealed FROM person WHERE id = ?1", args, 1,
                          add_row, t, &err),
             err);
    CHECK_OK(ufi_sql_rows(g->sql,
                          "SELECT t.sealed, k.sealed FROM template t JOIN person p ON p.number ="
                          " t.person LEFT JOIN crop k ON k.template = t.number WHERE p.id = ?1",
                          args, 1, add_row, t, &err),
             err);
    CHECK(t->count > 20);
    for (uint64_t image = 1; image <= 3; image++) {
        maker_face(person, image, face, DIM);
        add_runs(t, face, sizeof face);
        uint64_t state = person * 100 + image;
        for (size_t i = 0; i < sizeof crop; i++)
            crop[i] = (uint8_t)test_random(&state);
        add_runs(t, crop, sizeof crop);
    }
}

/* All people's metadata is the same text: that stays. */
static void forget_common(traces *t)
{
    for (size_t i = 0; i < t->count;)
        if (memmem("{\"town\": \"of this person\"}", 26, t->runs[i].bytes, 16) ||
            memmem("a person with a long name, ", 27, t->runs[i].bytes, 16))
            t->runs[i] = t->runs[--t->count];
        else
            i++;
}

static void delete_leaves_nothing(uint32_t flags)
{
    static traces t;
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_receipt receipt;
    uint64_t state = 3;
    uint8_t crop[16 * 16 * 3];
    const char *path = maker_path("g");
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = UF_GALLERY_CREATE | flags;
    o.passphrase = flags ? NULL : "pass phrase";
    o.keep_crops = 1;
    REQUIRE_OK(uf_gallery_open(&g, path, &o, &err), err);
    for (uint64_t p = 0; p < 120; p++)
        for (uint64_t image = 1; image <= 1 + p % 3; image++)
            enroll_with_crop(g, p, image, crop);
    /* In any order, with new people between, so that pages are split and merged. */
    uint64_t order[120];
    for (uint64_t i = 0; i < 120; i++)
        order[i] = i;
    for (size_t i = 0; i < 60; i++) {
        char name[48];
        size_t other = i + test_random(&state) % (120 - i);
        uint64_t p = order[other];
        order[other] = order[i];
        snprintf(name, sizeof name, "a person with a long name, %llu", (unsigned long long)p);
        collect(g, name, p, &t);
        forget_common(&t);
        CHECK(look_around(path, &t) > 20);
        REQUIRE_OK(uf_gallery_delete(g, NULL, name, &receipt, &err), err);
        CHECK(receipt.templates == 1 + p % 3 && receipt.crops == receipt.templates);
        CHECK(strcmp(receipt.id, name) == 0 && strlen(receipt.audit_digest) == 64);
        size_t left = look_around(path, &t);
        CHECK_MSG(left == 0, "%zu runs after %zu deletions", left, i + 1);
        if (i % 2)
            enroll_with_crop(g, 1000 + i, 1, crop);
    }
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uf_gallery_close(g);
    CHECK(look_around(path, &t) == 0);
}

TEST(delete_leaves_nothing_of_the_sealed)
{
    NEED_GALLERY;
    delete_leaves_nothing(0);
}

TEST(delete_leaves_nothing_of_the_plain)
{
    NEED_GALLERY;
    delete_leaves_nothing(UF_GALLERY_PLAIN);
}

/* With a snapshot beside the gallery, which the deletion must reach as well. */
static void snapshots_forget(uint32_t flags)
{
    enum { PEOPLE = 2200 };
    static traces t;
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_candidate best;
    uf_gallery_stats s;
    size_t count;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE | flags, &err), err);
    for (uint64_t p = 0; p < PEOPLE; p++)
        REQUIRE_OK(maker_enroll(g, NULL, p, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 3, 2, MODEL, &best, &count, &err), err);
    uf_gallery_close(g);
    REQUIRE_OK(maker_open(&g, path, flags, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.index_file_bytes > PEOPLE * DIM && s.memory_bytes == 0);
    REQUIRE_OK(maker_identify(g, NULL, 3, 2, MODEL, &best, &count, &err), err);
    CHECK(strcmp(best.id, "p3") == 0);
    t.count = 0;
    const ufi_value id = ufi_text("p3");
    REQUIRE_OK(ufi_sql_rows(g->sql,
                            "SELECT t.sealed, p.sealed FROM template t JOIN person p ON p.number ="
                            " t.person WHERE p.id = ?1",
                            &id, 1, add_row, &t, &err),
               err);
    REQUIRE_OK(uf_gallery_delete(g, NULL, "p3", NULL, &err), err);
    CHECK(look_around(path, &t) == 0);
    for (int round = 0; round < 2; round++) {
        REQUIRE_OK(maker_identify(g, NULL, 3, 2, MODEL, &best, &count, &err), err);
        CHECK(count > 0 && !best.passes);
        REQUIRE_OK(maker_identify(g, NULL, 4, 2, MODEL, &best, &count, &err), err);
        CHECK(strcmp(best.id, "p4") == 0);
        CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
        uf_gallery_close(g);
        REQUIRE_OK(maker_open(&g, path, flags, &err), err);
    }
    uf_gallery_close(g);
}

TEST(snapshots_forget_the_sealed)
{
    NEED_GALLERY;
    snapshots_forget(0);
}

TEST(snapshots_forget_the_plain)
{
    NEED_GALLERY;
    snapshots_forget(UF_GALLERY_PLAIN);
}

/* A process that died after the commit of a deletion: the next opening ends it. */
TEST(an_interrupted_erasure_is_ended_at_opening)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    int64_t number, left;
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(g->sql->ops->begin(g->sql, &err), err);
    REQUIRE_OK(ufi_erase_begin(g, &number, &err), err);
    REQUIRE_OK(g->sql->ops->commit(g->sql, &err), err);
    uf_gallery_close(g);
    REQUIRE_OK(maker_open(&g, path, 0, &err), err);
    REQUIRE_OK(ufi_sql_integer(g->sql, "SELECT count(*) FROM erasure", NULL, 0, -1, &left, &err),
               err);
    CHECK(left == 0);
    uf_gallery_close(g);
}

TEST(numbers_of_templates_never_come_back)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uint64_t first, second;
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, &first, &err), err);
    REQUIRE_OK(uf_gallery_delete(g, NULL, "p1", NULL, &err), err);
    CHECK(uf_gallery_delete(g, NULL, "p1", NULL, &err) == UF_E_NOT_FOUND);
    uf_gallery_close(g);
    REQUIRE_OK(maker_open(&g, path, 0, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, &second, &err), err);
    CHECK(second > first);
    uf_gallery_close(g);
}

/* ---- one template ---- */

typedef struct seen {
    uint64_t ids[16];
    size_t count, crops;
    float vector[DIM];
    char person[64];
} seen;

static int see(void *user, const uf_template_info *t)
{
    seen *s = user;
    if (s->count < 16)
        s->ids[s->count] = t->template_id;
    s->count++;
    s->crops += t->crop != NULL;
    memcpy(s->vector, t->vector, sizeof s->vector);
    snprintf(s->person, sizeof s->person, "%s", t->id);
    return 0;
}

/* The key of the person as the master key opens it. */
static uf_status key_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    add_runs(user, columns[0].data, columns[0].size);
    return UF_OK;
}

static void delete_one_template(uint32_t flags)
{
    static traces t, key;
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_receipt receipt;
    uint8_t crop[16 * 16 * 3];
    float face[DIM];
    const char *path = maker_path("g"), *name = "a person with a long name, 7";
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = UF_GALLERY_CREATE | flags;
    o.passphrase = flags ? NULL : "pass phrase";
    o.keep_crops = 1;
    REQUIRE_OK(uf_gallery_open(&g, path, &o, &err), err);
    for (uint64_t image = 1; image <= 3; image++)
        enroll_with_crop(g, 7, image, crop);
    seen before = {.count = 0}, after = {.count = 0}, one = {.count = 0};
    REQUIRE_OK(uf_gallery_templates(g, NULL, name, NULL, see, &before, &err), err);
    REQUIRE(before.count == 3 && before.crops == 3);
    t.count = key.count = 0;
    const ufi_value args[] = {ufi_integer((int64_t)before.ids[1])};
    REQUIRE_OK(ufi_sql_rows(g->sql,
                            "SELECT t.sealed, k.sealed FROM template t JOIN crop k ON k.template ="
                            " t.number WHERE t.number = ?1",
                            args, 1, add_row, &t, &err),
               err);
    REQUIRE_OK(ufi_sql_rows(g->sql, "SELECT sealed FROM person", NULL, 0, key_row, &key, &err),
               err);
    maker_face(7, 2, face, DIM);
    add_runs(&t, face, sizeof face);
    CHECK(look_around(path, &t) > 20);
    CHECK(flags || look_around(path, &key) > 0);

    CHECK(uf_gallery_delete_template(g, NULL, "nobody", before.ids[1], NULL, &err) ==
          UF_E_NOT_FOUND);
    CHECK(uf_gallery_delete_template(g, "other", NULL, before.ids[1], NULL, &err) ==
          UF_E_NOT_FOUND);
    CHECK(uf_gallery_delete_template(g, NULL, NULL, UINT64_MAX, NULL, &err) == UF_E_NOT_FOUND);
    REQUIRE_OK(uf_gallery_delete_template(g, NULL, NULL, before.ids[1], &receipt, &err), err);
    CHECK(strcmp(receipt.id, name) == 0 && receipt.templates == 1 && receipt.crops == 1);
    CHECK(receipt.audit_entry > 0 && strlen(receipt.audit_digest) == 64);
    CHECK_MSG(look_around(path, &t) == 0, "%zu runs are left", look_around(path, &t));
    /* An old copy of the template could be opened by the old key. */
    CHECK(flags || look_around(path, &key) == 0);

    REQUIRE_OK(uf_gallery_templates(g, NULL, name, NULL, see, &after, &err), err);
    CHECK(after.count == 2 && after.crops == 2 && after.ids[0] == before.ids[0] &&
          after.ids[1] == before.ids[2]);
    maker_face(7, 3, face, DIM);
    CHECK(uf_similarity(face, after.vector, DIM) > 0.9999f);
    REQUIRE_OK(uf_gallery_template(g, NULL, before.ids[0], see, &one, &err), err);
    maker_face(7, 1, face, DIM);
    CHECK(one.count == 1 && uf_similarity(face, one.vector, DIM) > 0.9999f);
    CHECK(uf_gallery_template(g, NULL, before.ids[1], see, &one, &err) == UF_E_NOT_FOUND);
    CHECK(uf_gallery_template(g, "other", before.ids[0], see, &one, &err) == UF_E_NOT_FOUND);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(one_template_goes_without_a_trace_of_the_sealed)
{
    NEED_GALLERY;
    delete_one_template(0);
}

TEST(one_template_goes_without_a_trace_of_the_plain)
{
    NEED_GALLERY;
    delete_one_template(UF_GALLERY_PLAIN);
}

/* The index knows nothing of a deleted template, and people count as long as they have one. */
TEST(a_search_forgets_one_template)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_candidate best;
    uint64_t far_id, near_id;
    size_t count;
    float score;
    float face[DIM];
    NEED_GALLERY;
    REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE, &err), err);
    for (uint64_t p = 0; p < 5; p++)
        REQUIRE_OK(maker_enroll(g, NULL, p, 1, MODEL, NULL, &err), err);
    maker_face(50, 1, face, DIM);
    const uf_template t = {.vector = face, .dimension = DIM, .model_id = MODEL};
    const uf_enrolment e = {.person = {.id = "p3"}, .templates = &t, .count = 1};
    REQUIRE_OK(uf_gallery_enroll(g, &e, 1, &far_id, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 50, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p3") == 0 && best.template_id == far_id);
    REQUIRE_OK(uf_gallery_delete_template(g, NULL, "p3", far_id, NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 50, 2, MODEL, &best, &count, &err), err);
    CHECK(!best.passes && count == 5);
    REQUIRE_OK(maker_identify(g, NULL, 3, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p3") == 0);
    near_id = best.template_id;
    REQUIRE_OK(uf_gallery_delete_template(g, NULL, "p3", near_id, NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 3, 2, MODEL, &best, &count, &err), err);
    CHECK(!best.passes && count == 4);
    maker_face(3, 1, face, DIM);
    CHECK(uf_gallery_verify(g, NULL, "p3", face, DIM, MODEL, NULL, &score, &err) == UF_E_MISMATCH);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(a_person_gets_another_id)
{
    static traces t;
    uf_error err = {0};
    uf_gallery *g = NULL;
    uint8_t crop[16 * 16 * 3];
    seen had = {.count = 0}, has = {.count = 0};
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    enroll_with_crop(g, 7, 1, crop);
    const char *name = "a person with a long name, 7", *to = "another name";
    REQUIRE_OK(uf_gallery_templates(g, NULL, name, NULL, see, &had, &err), err);
    t.count = 0;
    add_runs(&t, name, strlen(name));
    CHECK(look_around(path, &t) == 1);
    CHECK(uf_gallery_rename(g, NULL, "nobody", to, 0, &err) == UF_E_NOT_FOUND);
    CHECK(uf_gallery_rename(g, NULL, name, "", 0, &err) == UF_E_ARG);
    CHECK(uf_gallery_rename(g, NULL, name, "a\xFF", 0, &err) == UF_E_ARG);
    CHECK_OK(uf_gallery_rename(g, NULL, name, name, 0, &err), err);
    REQUIRE_OK(uf_gallery_rename(g, NULL, name, to, 0, &err), err);
    CHECK(look_around(path, &t) == 0);
    CHECK(uf_gallery_templates(g, NULL, name, NULL, see, &has, &err) == UF_E_NOT_FOUND);
    REQUIRE_OK(uf_gallery_templates(g, NULL, to, NULL, see, &has, &err), err);
    CHECK(has.count == 1 && has.ids[0] == had.ids[0]);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(two_people_become_one)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_candidate best;
    size_t count;
    seen has = {.count = 0};
    uf_gallery_stats s;
    NEED_GALLERY;
    REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 2, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 2, 2, MODEL, NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 2, 3, MODEL, &best, &count, &err), err);
    CHECK(uf_gallery_rename(g, NULL, "p2", "p1", 0, &err) == UF_E_STATE);
    REQUIRE_OK(uf_gallery_rename(g, NULL, "p2", "p1", 1, &err), err);
    REQUIRE_OK(uf_gallery_templates(g, NULL, "p1", NULL, see, &has, &err), err);
    CHECK(has.count == 3);
    REQUIRE_OK(maker_identify(g, NULL, 2, 3, MODEL, &best, &count, &err), err);
    CHECK(count == 1 && best.passes && strcmp(best.id, "p1") == 0);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people == 1 && s.templates == 3);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uf_gallery_close(g);
}

TEST_MAIN
