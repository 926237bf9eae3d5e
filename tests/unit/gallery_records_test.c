/* Records that were changed from outside are never answers; memory that fails harms nothing. */
#include "gallery_maker.h"

#include "base/mem.h"
#include "gallery/impl.h"

static const uint32_t both[2] = {0, UF_GALLERY_PLAIN};

/* A gallery of two people in one collection and one in another, two models. */
static uf_gallery *example(const char *path, uint32_t flags)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    if (maker_open(&g, path, UF_GALLERY_CREATE | flags, &err) ||
        maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err) ||
        maker_enroll(g, NULL, 2, 1, MODEL, NULL, &err) ||
        maker_enroll(g, "other", 3, 1, MODEL, NULL, &err) ||
        maker_enroll(g, NULL, 1, 1, "model-b", NULL, &err))
        printf("%s\n", err.message);
    return g;
}

/* Changes that somebody with the database, but without the keys, could make. */
static const char *const tampering[] = {
    /* templates change places: between people, models, collections */
    "UPDATE template SET sealed = (SELECT sealed FROM template WHERE number = 2) WHERE number = 1",
    "UPDATE template SET person = 2 WHERE number = 1",
    "UPDATE template SET person = 3 WHERE number = 1",
    "UPDATE template SET model = 2 WHERE number = 1",
    "UPDATE template SET number = 77 WHERE number = 1",
    "UPDATE template SET source = 'elsewhere' WHERE number = 1",
    "UPDATE template SET quality = 1.0 WHERE number = 1",
    "UPDATE template SET created = created - 1 WHERE number = 1",
    "UPDATE template SET sealed = zeroblob(length(sealed)) WHERE number = 1",
    "UPDATE template SET sealed = substr(sealed, 2) WHERE number = 1",
    "UPDATE model SET name = 'model-c' WHERE number = 1",
    "UPDATE model SET dimension = 63 WHERE number = 1",
    /* people: their keys change places, their rows say something else */
    "UPDATE person SET sealed = (SELECT sealed FROM person WHERE number = 2) WHERE number = 1",
    "UPDATE person SET id = 'p9' WHERE number = 1",
    "UPDATE person SET collection = 2 WHERE number = 1",
    "UPDATE person SET expires = 4000000000 WHERE number = 1",
    "UPDATE person SET metadata = '{\"role\": \"admin\"}' WHERE number = 1",
    "UPDATE person SET purpose = 'any' WHERE number = 1",
    "UPDATE person SET consent = 'given' WHERE number = 1",
    "UPDATE person SET created = 0 WHERE number = 1",
    "UPDATE person SET master = 9 WHERE number = 1",
    "UPDATE collection SET name = 'third' WHERE number = 1",
    "UPDATE census SET templates = templates + 1 WHERE model = 1",
};

/* A change that calls see as long as nobody undoes it: they find themselves in its transaction. */
static void tamper(uf_gallery *g, const char *change)
{
    uf_error err = {0};
    CHECK_OK(g->sql->ops->script(g->sql, "BEGIN", &err), err);
    CHECK_OK(g->sql->ops->script(g->sql, change, &err), err);
    g->depth = 1;
}

static void undo(uf_gallery *g)
{
    g->depth = 0;
    g->sql->ops->rollback(g->sql);
}

TEST(whatever_is_changed_from_outside_the_check_finds)
{
    uf_error err = {0};
    NEED_GALLERY;
    for (size_t k = 0; k < 2; k++) {
        const char *path = maker_path("g");
        uf_gallery *g = example(path, both[k]);
        REQUIRE(g);
        CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
        for (size_t i = 0; i < sizeof tampering / sizeof tampering[0]; i++) {
            uf_status st;
            ufi_live_retire_all(g);
            REQUIRE_OK(g->sql->ops->script(g->sql, "PRAGMA foreign_keys=OFF", &err), err);
            tamper(g, tampering[i]);
            st = uf_gallery_check(g, NULL, NULL, &err);
            CHECK_MSG(st == UF_E_FORMAT || (st == UF_E_STATE && strstr(err.message, "master key")),
                      "%s: %s", tampering[i], err.message);
            undo(g);
        }
        ufi_live_retire_all(g);
        CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
        uf_gallery_close(g);
    }
}

TEST(records_that_were_swapped_are_errors_not_answers)
{
    uf_error err = {0};
    float face[DIM], score;
    NEED_GALLERY;
    maker_face(2, 1, face, DIM);
    for (size_t k = 0; k < 2; k++) {
        uf_gallery *g = example(maker_path("g"), both[k]);
        REQUIRE(g);
        for (size_t i = 0; i < 2; i++) {
            static const char *const swaps[] = {
                "UPDATE template SET sealed = (SELECT sealed FROM template WHERE number = 2)"
                " WHERE number = 1",
                "UPDATE template SET person = 1 WHERE number = 2"};
            tamper(g, swaps[i]);
            CHECK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, NULL, &score, &err) ==
                  UF_E_FORMAT);
            CHECK(strstr(err.message, "template") && strstr(err.message, "p1"));
            undo(g);
        }
        CHECK_OK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, NULL, &score, &err), err);
        uf_gallery_close(g);
    }
}

TEST(a_changed_audit_log_is_noticed)
{
    uf_error err = {0};
    uint64_t entries;
    static const char *const changes[] = {
        "UPDATE audit SET actor = 'nobody' WHERE number = 2",
        "UPDATE audit SET action = 'delete' WHERE number = 2",
        "UPDATE audit SET subject = '' WHERE number = 2",
        "UPDATE audit SET detail = detail || ' ' WHERE number = 2",
        "UPDATE audit SET moment = moment + 1 WHERE number = 2",
        "UPDATE audit SET digest = zeroblob(32) WHERE number = 2",
        "UPDATE audit SET digest = zeroblob(31) WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM audit",
        "UPDATE audit SET number = 100 WHERE number = 5",
        "UPDATE audit SET actor = 'teste', action = 'renroll' WHERE number = 2",
    };
    NEED_GALLERY;
    uf_gallery *g = example(maker_path("g"), 0);
    REQUIRE(g);
    REQUIRE_OK(uf_gallery_audit_check(g, &entries, &err), err);
    CHECK(entries == 5); /* create, and four enrolments */
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        REQUIRE_OK(g->sql->ops->script(g->sql, "BEGIN", &err), err);
        REQUIRE_OK(g->sql->ops->script(g->sql, changes[i], &err), err);
        CHECK_MSG(uf_gallery_audit_check(g, NULL, &err) == UF_E_FORMAT, "%s", changes[i]);
        g->sql->ops->rollback(g->sql);
    }
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

typedef struct log_seen {
    char actions[256], last_digest[65];
    uint64_t last;
    bool names_somebody;
} log_seen;

static int see(void *user, const uf_audit_entry *e)
{
    log_seen *l = user;
    size_t used = strlen(l->actions);
    snprintf(l->actions + used, sizeof l->actions - used, "%s ", e->action);
    snprintf(l->last_digest, sizeof l->last_digest, "%s", e->digest);
    l->last = e->number;
    l->names_somebody |= strstr(e->subject, "p1") || strstr(e->detail, "p1");
    CHECK(strcmp(e->actor, "tester") == 0 && e->time > 1600000000);
    return 0;
}

TEST(the_log_tells_what_was_done_and_a_receipt_is_in_it)
{
    uf_error err = {0};
    uf_receipt receipt;
    uf_candidate best;
    size_t count;
    float face[DIM], score;
    log_seen l = {.last = 0};
    NEED_GALLERY;
    uf_gallery *g = example(maker_path("g"), 0);
    REQUIRE(g);
    maker_face(1, 2, face, DIM);
    REQUIRE_OK(maker_identify(g, NULL, 1, 2, MODEL, &best, &count, &err), err);
    REQUIRE_OK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, NULL, &score, &err), err);
    REQUIRE_OK(uf_gallery_delete(g, NULL, "p1", &receipt, &err), err);
    REQUIRE_OK(uf_gallery_audit(g, 5, see, &l, &err), err);
    CHECK_MSG(strcmp(l.actions, "enroll identify verify delete ") == 0, "%s", l.actions);
    CHECK(l.last == receipt.audit_entry && strcmp(l.last_digest, receipt.audit_digest) == 0);
    CHECK(!l.names_somebody && receipt.templates == 2);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

/* Each allocation fails in turn: an error of memory or a success, never another one, and the
 * gallery is as good as before. SQLite's own memory is not ours to fail. */
TEST(every_failing_allocation_is_survived)
{
    uf_error err = {0};
    NEED_GALLERY;
    const char *path = maker_path("g");
    uf_gallery *g = example(path, UF_GALLERY_PLAIN);
    REQUIRE(g);
    uf_gallery_close(g);
    uint64_t failed = 0, person = 100;
    for (int for_ever = 0; for_ever < 2; for_ever++)
        for (uint64_t k = 1; k < 400; k++) {
            uf_candidate best;
            size_t count = 0;
            char name[32];
            uint64_t before = ufi_mem_allocation_count();
            ufi_mem_fail_after(k, for_ever);
            g = NULL;
            uf_status st = maker_open(&g, path, UF_GALLERY_PLAIN, &err);
            uf_status enrolled = st ? st : maker_enroll(g, NULL, ++person, 1, MODEL, NULL, &err);
            uf_status found = st ? st : maker_identify(g, NULL, 2, 2, MODEL, &best, &count, &err);
            snprintf(name, sizeof name, "p%llu", (unsigned long long)person);
            uf_status gone = st || enrolled ? UF_OK : uf_gallery_delete(g, NULL, name, NULL, &err);
            ufi_mem_fail_after(0, false);
            bool end = ufi_mem_allocation_count() - before < k;
            CHECK_MSG((st == UF_OK || st == UF_E_NOMEM) &&
                          (enrolled == UF_OK || enrolled == UF_E_NOMEM) &&
                          (found == UF_OK || found == UF_E_NOMEM) &&
                          (gone == UF_OK || gone == UF_E_NOMEM),
                      "%llu: %d %d %d %d %s", (unsigned long long)k, st, enrolled, found, gone,
                      err.message);
            CHECK((st == UF_OK) == (g != NULL));
            if (!st && !found)
                CHECK(count > 0 && strcmp(best.id, "p2") == 0 && best.passes);
            failed += st || enrolled || found || gone;
            uf_gallery_close(g);
            if (end)
                break;
        }
    CHECK_MSG(failed > 30, "%llu", (unsigned long long)failed);
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_PLAIN, &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

typedef struct heard {
    char text[4096];
} heard;

static int hear(void *user, const uf_audit_entry *e)
{
    heard *h = user;
    const size_t used = strlen(h->text);
    snprintf(h->text + used, sizeof h->text - used, "%s:%s:%s\n", e->actor, e->action, e->detail);
    return 0;
}

TEST(the_audit_log_says_who_acted_and_what_for)
{
    uf_error err = {0};
    uf_gallery *g;
    heard h = {""};
    float score, face[DIM];
    char much[300];
    NEED_GALLERY;
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = UF_GALLERY_CREATE | UF_GALLERY_PLAIN;
    o.actor = "the program";
    REQUIRE_OK(uf_gallery_open(&g, maker_path("g"), &o, &err), err);
    maker_face(1, 1, face, DIM);
    const uf_person person = {.id = "p1", .purpose = "door"};
    const uf_template t = {.vector = face, .dimension = DIM, .model_id = MODEL};
    const uf_enrolment e = {.person = person, .templates = &t, .count = 1};
    CHECK_OK(uf_gallery_act_for("key 7", &err), err);
    CHECK_OK(uf_gallery_enroll(g, &e, 1, NULL, &err), err);
    CHECK_OK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, "door", &score, &err), err);
    memset(much, 'a', sizeof much);
    much[sizeof much - 1] = '\0';
    CHECK(uf_gallery_act_for(much, &err) == UF_E_ARG &&
          uf_gallery_act_for("a\nb", &err) == UF_E_ARG);
    CHECK_OK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, NULL, &score, &err), err);
    CHECK_OK(uf_gallery_act_for(NULL, &err), err);
    CHECK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, "payment", &score, &err) ==
              UF_E_NOT_FOUND &&
          strstr(err.message, "another purpose"));
    CHECK(uf_gallery_verify(g, NULL, "p1", face, DIM, MODEL, "", &score, &err) == UF_E_ARG);
    CHECK_OK(uf_gallery_delete(g, NULL, "p1", NULL, &err), err);
    CHECK_OK(uf_gallery_audit(g, 0, hear, &h, &err), err);
    CHECK_MSG(strstr(h.text, "the program:create:") &&
                  strstr(h.text, "key 7:enroll:1 template\n") &&
                  strstr(h.text, "key 7:verify:score 1.000000, for door\n") &&
                  strstr(h.text, "key 7:verify:score 1.000000\n") &&
                  strstr(h.text, "the program:delete:1 template, 0 crops\n"),
              "%s", h.text);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST_MAIN
