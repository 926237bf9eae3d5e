/*
 * Galleries in PostgreSQL through uniface/gallery.h, against a real server that postgres_test.py
 * starts: UNIFACE_TEST_POSTGRES is its address, UNIFACE_TEST_RESTART a command that restarts it,
 * UNIFACE_TEST_VECTOR tells that it has pgvector.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../unit/gallery_maker.h"

enum { PEOPLE = 60 };

static const char *address(const char *gallery, const char *more)
{
    static _Thread_local char out[8][600];
    static _Thread_local int at;
    char *text = out[at++ % 8];
    snprintf(text, sizeof out[0], "%s?gallery=%s%s", getenv("UNIFACE_TEST_POSTGRES"), gallery,
             more);
    return text;
}

static uf_gallery *open_gallery(const char *gallery, const char *more, uint32_t flags)
{
    uf_gallery *g = NULL;
    uf_error err = {0};
    CHECK_OK(maker_open(&g, address(gallery, more), flags, &err), err);
    if (!g)
        exit(1);
    return g;
}

static bool finds(uf_gallery *g, const char *collection, uint64_t person)
{
    uf_candidate best;
    size_t count;
    uf_error err = {0};
    char name[32];
    snprintf(name, sizeof name, "p%llu", (unsigned long long)person);
    CHECK_OK(maker_identify(g, collection, person, 2, MODEL, &best, &count, &err), err);
    return best.passes && strcmp(best.id, name) == 0;
}

static void enroll(uf_gallery *g, const char *collection, uint64_t first, uint64_t last)
{
    uf_error err = {0};
    for (uint64_t p = first; p < last; p++)
        CHECK_OK(maker_enroll(g, collection, p, 1, MODEL, NULL, &err), err);
}

/* What keeps a gallery in shape; PEOPLE - 1 are left in it, and three in "other". */
static void check_upkeep(uf_gallery *g, bool encrypted, bool by_pgvector)
{
    uf_error err = {0};
    uf_gallery_stats s;
    CHECK_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people == PEOPLE + 2 && s.templates == PEOPLE + 2 && s.collections == 2);
    CHECK(strcmp(s.backend, "postgresql") == 0 && s.database_bytes > 100000);
    CHECK_MSG(strstr(uf_gallery_name(g), "uniface:***@"), "%s", uf_gallery_name(g));
    CHECK(s.encrypted == encrypted && strcmp(s.model_id, MODEL) == 0);
    CHECK_MSG(strstr(s.warning, "fsync"), "%s", s.warning); /* the tests' servers are fast */
    CHECK_MSG(!strstr(s.warning, "pgvector 0.8.0") == !by_pgvector, "%s", s.warning);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_reindex(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK(finds(g, NULL, 14) && finds(g, "other", 1000));
    if (encrypted) {
        int64_t before = s.key_id;
        CHECK_OK(uf_gallery_rotate_key(g, NULL, NULL, &err), err);
        CHECK_OK(uf_gallery_describe(g, &s, &err), err);
        CHECK(s.key_id > before && s.people_to_rotate == 0);
        CHECK(finds(g, NULL, 14));
    }
    CHECK_OK(maker_enroll(g, NULL, 14, 1, "model-b", NULL, &err), err);
    CHECK_OK(uf_gallery_set_model(g, "model-b", &err), err);
    CHECK_OK(uf_gallery_set_model(g, MODEL, &err), err);
    uint64_t dropped = 0;
    CHECK_OK(uf_gallery_drop_model(g, "model-b", &dropped, &err), err);
    CHECK(dropped == 1);
    CHECK_OK(uf_gallery_compact(g, &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK(finds(g, NULL, 14));
}

static int count_template(void *user, const uf_template_info *t)
{
    size_t *count = user;
    (void)t;
    ++*count;
    return 0;
}

/* One of two templates goes, and the person gets another id; then the person goes as well. */
static void check_single_templates(uf_gallery *g)
{
    uf_error err = {0};
    uint64_t first, second;
    uf_receipt receipt;
    size_t count = 0;
    CHECK_OK(maker_enroll(g, "single", 70, 1, MODEL, &first, &err), err);
    CHECK_OK(maker_enroll(g, "single", 70, 2, MODEL, &second, &err), err);
    CHECK(finds(g, "single", 70));
    CHECK(uf_gallery_delete_template(g, NULL, NULL, first, NULL, &err) == UF_E_NOT_FOUND);
    CHECK_OK(uf_gallery_delete_template(g, "single", NULL, first, &receipt, &err), err);
    CHECK(strcmp(receipt.id, "p70") == 0 && receipt.templates == 1);
    CHECK(uf_gallery_template(g, "single", first, count_template, &count, &err) == UF_E_NOT_FOUND);
    CHECK_OK(uf_gallery_template(g, "single", second, count_template, &count, &err), err);
    CHECK(count == 1 && finds(g, "single", 70));
    CHECK_OK(maker_enroll(g, "single", 72, 1, MODEL, NULL, &err), err);
    CHECK(uf_gallery_rename(g, "single", "p70", "p72", 0, &err) == UF_E_STATE);
    CHECK_OK(uf_gallery_delete(g, "single", "p72", NULL, &err), err);
    CHECK_OK(uf_gallery_rename(g, "single", "p70", "p71", 0, &err), err);
    CHECK_OK(uf_gallery_template(g, "single", second, count_template, &count, &err), err);
    CHECK(count == 2);
    CHECK_OK(maker_enroll(g, "single", 72, 1, MODEL, NULL, &err), err);
    CHECK_OK(uf_gallery_rename(g, "single", "p72", "p71", 1, &err), err);
    CHECK_OK(uf_gallery_templates(g, "single", "p71", NULL, count_template, &count, &err), err);
    CHECK(count == 4);
    CHECK_OK(uf_gallery_delete(g, "single", "p71", &receipt, &err), err);
    CHECK(receipt.templates == 2);
}

/* Everything a user does, on one gallery. */
static void check_gallery(const char *name, const char *more, uint32_t flags)
{
    uf_error err = {0};
    uf_gallery *g = open_gallery(name, more, flags | UF_GALLERY_CREATE);
    enroll(g, NULL, 0, PEOPLE);
    enroll(g, "other", 1000, 1003);
    for (int round = 0; round < 2; round++) {
        for (uint64_t p = 0; p < PEOPLE; p += 7)
            CHECK_MSG(finds(g, NULL, p), "p%llu", (unsigned long long)p);
        CHECK(!finds(g, NULL, 1000) && finds(g, "other", 1000));
        CHECK(!finds(g, NULL, 5000));
        uf_gallery_close(g);
        g = open_gallery(name, round ? "" : more, flags);
    }
    float score = 0, face[DIM];
    maker_face(7, 2, face, DIM);
    CHECK_OK(uf_gallery_verify(g, NULL, "p7", face, DIM, MODEL, NULL, &score, &err), err);
    CHECK(score > 0.6f);
    CHECK_OK(uf_gallery_verify(g, NULL, "p8", face, DIM, MODEL, NULL, &score, &err), err);
    CHECK(score < 0.6f);
    CHECK(uf_gallery_verify(g, NULL, "nobody", face, DIM, MODEL, NULL, &score, &err) ==
          UF_E_NOT_FOUND);
    uf_gallery_threshold_info t;
    CHECK_OK(uf_gallery_threshold(g, MODEL, NULL, &t, &err), err);
    CHECK(t.people == PEOPLE && t.impostor_scores == PEOPLE && t.threshold > 0 && t.threshold < 1);
    uf_receipt receipt;
    CHECK_OK(uf_gallery_delete(g, NULL, "p7", &receipt, &err), err);
    CHECK(receipt.templates == 1 && strlen(receipt.audit_digest) == 64);
    CHECK(!finds(g, NULL, 7) && finds(g, NULL, 14));
    CHECK(uf_gallery_delete(g, NULL, "p7", NULL, &err) == UF_E_NOT_FOUND);
    check_upkeep(g, !(flags & UF_GALLERY_PLAIN), strstr(more, "halfvec") || strstr(more, "bit"));
    check_single_templates(g);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uint64_t entries = 0;
    CHECK_OK(uf_gallery_audit_check(g, &entries, &err), err);
    CHECK(entries > PEOPLE);
    uf_gallery_close(g);
}

TEST(encrypted_with_an_index_in_memory)
{
    check_gallery("encrypted", "", 0);
}

TEST(plain_with_an_index_in_memory)
{
    check_gallery("plain", "&search=memory", UF_GALLERY_PLAIN);
}

TEST(plain_searched_by_halves)
{
    if (!getenv("UNIFACE_TEST_VECTOR"))
        SKIP("no pgvector in this server");
    check_gallery("plain_halfvec", "&search=halfvec", UF_GALLERY_PLAIN);
}

TEST(plain_searched_by_signs)
{
    if (!getenv("UNIFACE_TEST_VECTOR"))
        SKIP("no pgvector in this server");
    check_gallery("plain_bit", "&search=bit", UF_GALLERY_PLAIN);
}

TEST(encryption_and_search_by_the_database_exclude_each_other)
{
    if (!getenv("UNIFACE_TEST_VECTOR"))
        SKIP("no pgvector in this server");
    uf_gallery *g = NULL;
    uf_error err = {0};
    CHECK(maker_open(&g, address("both", "&search=halfvec"), UF_GALLERY_CREATE, &err) == UF_E_ARG);
    CHECK_MSG(strstr(err.message, "encrypt"), "%s", err.message);
    CHECK(g == NULL);
    CHECK(maker_open(&g, address("both", ""), 0, &err) == UF_E_NOT_FOUND); /* nothing was made */
}

TEST(filters_reach_the_database)
{
    if (!getenv("UNIFACE_TEST_VECTOR"))
        SKIP("no pgvector in this server");
    uf_gallery *g = open_gallery("plain_halfvec", "", UF_GALLERY_PLAIN);
    const char *ids[] = {"p3", "p21"};
    uf_gallery_filter filter = {ids, 2, NULL};
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    uf_candidate found[5];
    uf_error err = {0};
    size_t count = 0;
    float face[DIM];
    o.filter = &filter;
    o.threshold = 0.6f;
    maker_face(14, 2, face, DIM);
    CHECK_OK(uf_gallery_identify(g, face, DIM, MODEL, &o, found, &count, NULL, &err), err);
    CHECK(count == 2 && !found[0].passes);
    maker_face(21, 2, face, DIM);
    CHECK_OK(uf_gallery_identify(g, face, DIM, MODEL, &o, found, &count, NULL, &err), err);
    CHECK(count == 2 && found[0].passes && strcmp(found[0].id, "p21") == 0);
    uf_gallery_close(g);
}

TEST(several_templates_of_a_person_are_one_answer)
{
    if (!getenv("UNIFACE_TEST_VECTOR"))
        SKIP("no pgvector in this server");
    uf_gallery *g = open_gallery("crowded", "&search=halfvec&partitions=2",
                                 UF_GALLERY_PLAIN | UF_GALLERY_CREATE);
    uf_error err = {0};
    /* More templates of the nearest person than candidates are asked for. */
    for (uint64_t image = 1; image <= 70; image++)
        CHECK_OK(maker_enroll(g, NULL, 1, image, MODEL, NULL, &err), err);
    enroll(g, NULL, 2, 8);
    uf_candidate found[5];
    size_t count = 0;
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    float face[DIM];
    o.threshold = 0.6f;
    maker_face(1, 0, face, DIM);
    CHECK_OK(uf_gallery_identify(g, face, DIM, MODEL, &o, found, &count, NULL, &err), err);
    CHECK_MSG(count == 5, "%zu", count);
    CHECK(strcmp(found[0].id, "p1") == 0);
    for (size_t i = 1; i < count; i++)
        CHECK(strcmp(found[i].id, "p1") != 0 && found[i].score <= found[i - 1].score);
    uf_gallery_close(g);
}

TEST(two_clients_see_each_other)
{
    uf_gallery *a = open_gallery("two", "", UF_GALLERY_CREATE), *b = open_gallery("two", "", 0);
    uf_error err = {0};
    enroll(a, NULL, 0, 5);
    CHECK(finds(b, NULL, 3));
    enroll(b, NULL, 5, 10);
    CHECK(finds(a, NULL, 8));
    CHECK_OK(uf_gallery_delete(a, NULL, "p3", NULL, &err), err);
    CHECK(!finds(b, NULL, 3));
    uf_gallery_close(a);
    uf_gallery_close(b);
}

typedef struct client {
    uint64_t first;
    bool failed;
} client;

static void *enroll_some(void *arg)
{
    client *c = arg;
    uf_error err = {0};
    uf_gallery *g = NULL;
    c->failed = maker_open(&g, address("crowd", ""), UF_GALLERY_CREATE, &err) != UF_OK;
    for (uint64_t p = c->first; p < c->first + 20 && !c->failed; p++)
        c->failed = maker_enroll(g, NULL, p, 1, MODEL, NULL, &err) != UF_OK;
    if (c->failed)
        printf("%s\n", err.message);
    uf_gallery_close(g);
    return NULL;
}

/* They make the gallery at the same time, too. */
TEST(clients_at_once)
{
    client clients[3] = {{0, false}, {100, false}, {200, false}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, enroll_some, &clients[i]) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    uf_gallery *g = open_gallery("crowd", "", 0);
    uint64_t entries = 0;
    uf_error err = {0};
    for (int i = 0; i < 3; i++)
        CHECK(!clients[i].failed && finds(g, NULL, clients[i].first + 19));
    CHECK_OK(uf_gallery_audit_check(g, &entries, &err), err); /* one chain, whoever wrote */
    uf_gallery_close(g);
}

/* Acknowledged by a line on a pipe is what must be there after the kill. */
TEST(acknowledged_enrolments_survive_kills)
{
    uf_gallery *g = open_gallery("kills", "", UF_GALLERY_CREATE);
    uint64_t done = 0;
    for (int round = 0; round < 8; round++) {
        int ends[2];
        REQUIRE(pipe(ends) == 0);
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            uf_gallery *mine = NULL;
            uf_error err = {0};
            if (maker_open(&mine, address("kills", ""), 0, &err))
                _exit(1);
            for (uint64_t p = done; maker_enroll(mine, NULL, p, 1, MODEL, NULL, &err) == UF_OK; p++)
                if (write(ends[1], &p, sizeof p) != sizeof p)
                    _exit(1);
            _exit(1);
        }
        close(ends[1]);
        uint64_t p, want = done + 1 + (uint64_t)round;
        while (done < want && read(ends[0], &p, sizeof p) == sizeof p)
            done = p + 1;
        usleep((useconds_t)(round * 1300));
        kill(child, SIGKILL);
        while (read(ends[0], &p, sizeof p) == sizeof p)
            done = p + 1;
        close(ends[0]);
        REQUIRE(waitpid(child, NULL, 0) == child);
        CHECK(done >= want);
        for (uint64_t i = 0; i < done; i++)
            CHECK_MSG(finds(g, NULL, i), "p%llu", (unsigned long long)i);
        if (finds(g, NULL, done)) /* not acknowledged, but done */
            done++;
    }
    uint64_t entries;
    uf_error err = {0};
    CHECK_OK(uf_gallery_audit_check(g, &entries, &err), err);
    uf_gallery_close(g);
}

TEST(open_galleries_survive_a_restart)
{
    uf_gallery *g = open_gallery("restarted", "", UF_GALLERY_CREATE);
    enroll(g, NULL, 0, 5);
    for (int round = 0; round < 2; round++) {
        CHECK(system(getenv("UNIFACE_TEST_RESTART")) == 0);
        CHECK(finds(g, NULL, 3));
        enroll(g, NULL, 5 + (uint64_t)round, 6 + (uint64_t)round);
        CHECK(finds(g, NULL, 5 + (uint64_t)round));
    }
    uf_gallery_close(g);
}

static int print_person(void *user, const uf_person_info *p)
{
    fprintf(user, "%s/%s %s %s %s %lld %lld %lld %llu\n", p->collection, p->id,
            p->metadata ? p->metadata : "-", p->consent ? p->consent : "-",
            p->purpose ? p->purpose : "-", (long long)p->expires, (long long)p->created,
            (long long)p->updated, (unsigned long long)p->templates);
    return 0;
}

static int print_template(void *user, const uf_template_info *t)
{
    fprintf(user, "%s/%s %s %s %.9g %lld %u:", t->collection, t->id, t->model_id,
            t->source ? t->source : "-", (double)t->quality, (long long)t->created, t->crop_size);
    for (uint32_t i = 0; i < t->dimension; i++)
        fprintf(user, " %.9g", (double)t->vector[i]);
    for (uint32_t i = 0; t->crop && i < t->crop_size * t->crop_size * 3; i++)
        fprintf(user, " %u", t->crop[i]);
    fputc('\n', user);
    return 0;
}

/* All that is in a gallery, as text; of malloc. */
static char *dump(uf_gallery *g)
{
    char *text = NULL;
    size_t size;
    uf_error err = {0};
    FILE *f = open_memstream(&text, &size);
    CHECK_OK(uf_gallery_list(g, NULL, NULL, print_person, f, &err), err);
    CHECK_OK(uf_gallery_templates(g, NULL, NULL, NULL, print_template, f, &err), err);
    fclose(f);
    return text;
}

static void enroll_with_all(uf_gallery *g, uint64_t person)
{
    static uint8_t crop[8 * 8 * 3];
    float faces[2][DIM];
    char name[64];
    uf_error err = {0};
    snprintf(name, sizeof name, "%s-%llu", person % 2 ? "J\xC3\xBCrgen" : "'quoted\\\"",
             (unsigned long long)person);
    for (size_t i = 0; i < sizeof crop; i++)
        crop[i] = (uint8_t)(i * 7 + person);
    maker_face(person, 1, faces[0], DIM);
    maker_face(person, 2, faces[1], DIM);
    const uf_template t[] = {{faces[0], DIM, MODEL, "a.jpg", 0.25f, crop, 8},
                             {faces[1], DIM, "model-b", NULL, -1.0f, NULL, 0}};
    const uf_enrolment e = {.person = {name, person % 3 ? NULL : "staff", "{\"n\": 1}", "paper 7",
                                       "door", person % 4 ? 0 : 4000000000},
                            .templates = t,
                            .count = 2};
    CHECK_OK(uf_gallery_enroll(g, &e, 1, NULL, &err), err);
}

static void check_copies(const char *more, uint32_t flags)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    uf_gallery *from = NULL, *middle = NULL, *to = NULL;
    uf_error err = {0};
    o.flags = UF_GALLERY_CREATE | flags;
    o.passphrase = flags ? NULL : "pass phrase";
    o.keep_crops = 1;
    REQUIRE_OK(uf_gallery_open(&from, maker_path("from"), &o, &err), err);
    REQUIRE_OK(uf_gallery_open(&middle, address(flags ? "copy_plain" : "copy", more), &o, &err),
               err);
    REQUIRE_OK(uf_gallery_open(&to, maker_path("to"), &o, &err), err);
    for (uint64_t p = 0; p < 40; p++)
        enroll_with_all(from, p);
    CHECK_OK(uf_gallery_copy(from, middle, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_copy(from, middle, NULL, NULL, &err), err); /* once more changes nothing */
    CHECK_OK(uf_gallery_check(middle, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_copy(middle, to, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_check(to, NULL, NULL, &err), err);
    char *a = dump(from), *b = dump(middle), *c = dump(to);
    CHECK(strlen(a) > 40000 && strcmp(a, b) == 0 && strcmp(a, c) == 0);
    free(a);
    free(b);
    free(c);
    uf_gallery_close(from);
    uf_gallery_close(middle);
    uf_gallery_close(to);
}

TEST(copies_from_sqlite_and_back_lose_nothing)
{
    NEED_GALLERY;
    check_copies("", 0);
    if (getenv("UNIFACE_TEST_VECTOR"))
        check_copies("&search=halfvec", UF_GALLERY_PLAIN);
}

/* Someone with no more than SELECT searches; the log entry is what cannot be written. */
TEST(roles_that_only_read_search)
{
    uf_gallery *g = open_gallery("readable", "", UF_GALLERY_CREATE);
    ufi_sql *s = NULL;
    uf_error err = {0};
    enroll(g, NULL, 0, 3);
    REQUIRE_OK(ufi_postgres_open(&s, address("readable", ""), false, &err), err);
    CHECK_OK(s->ops->script(s,
                            "CREATE ROLE reader LOGIN PASSWORD 'read';"
                            "GRANT USAGE ON SCHEMA readable TO reader;"
                            "GRANT SELECT ON ALL TABLES IN SCHEMA readable TO reader",
                            &err),
             err);
    s->ops->close(s);
    char name[600];
    uf_gallery *reader = NULL;
    snprintf(name, sizeof name, "postgresql://reader:read%s", strchr(address("readable", ""), '@'));
    REQUIRE_OK(maker_open(&reader, name, UF_GALLERY_READ_ONLY, &err), err);
    CHECK(finds(reader, NULL, 2));
    enroll(g, NULL, 3, 5);
    CHECK(finds(reader, NULL, 4));
    CHECK(maker_enroll(reader, NULL, 9, 1, MODEL, NULL, &err) == UF_E_STATE);
    uf_gallery_close(reader);
    REQUIRE_OK(maker_open(&reader, name, 0, &err), err);
    CHECK(maker_enroll(reader, NULL, 9, 1, MODEL, NULL, &err) == UF_E_STATE);
    CHECK_MSG(strstr(err.message, "42501"), "%s", err.message);
    uf_gallery_close(reader);
    uf_gallery_close(g);
}

TEST(passwords_are_not_shown)
{
    char wrong[600];
    const char *base = getenv("UNIFACE_TEST_POSTGRES"), *at = strchr(base, '@');
    snprintf(wrong, sizeof wrong, "postgresql://uniface:wrong-secret%s", at);
    uf_gallery *g = NULL;
    uf_error err = {0};
    CHECK(maker_open(&g, wrong, UF_GALLERY_CREATE, &err) == UF_E_IO);
    CHECK_MSG(!strstr(err.message, "wrong-secret") && strstr(err.message, "uniface:***@"), "%s",
              err.message);
    CHECK(maker_open(&g, address("nobody_made_it", ""), 0, &err) == UF_E_NOT_FOUND);
    CHECK_MSG(!strstr(err.message, "not-to-be-shown"), "%s", err.message);
}

TEST_MAIN
