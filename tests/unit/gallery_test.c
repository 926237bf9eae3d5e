/* Galleries: what was enrolled is found, what was deleted is not, and whom a search may name. */
#include "base/mem.h"
#include "gallery_maker.h"

#include <pthread.h>
#include <time.h>

static void name_of(uint64_t person, char out[32])
{
    snprintf(out, 32, "p%llu", (unsigned long long)person);
}

static uf_gallery *filled(const char *path, uint32_t flags, uint64_t people)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    if (maker_open(&g, path, UF_GALLERY_CREATE | flags, &err) != UF_OK)
        printf("%s\n", err.message);
    for (uint64_t p = 0; g && p < people; p++)
        if (maker_enroll(g, NULL, p, 1, MODEL, NULL, &err) != UF_OK)
            printf("%s\n", err.message);
    return g;
}

TEST(enrolled_people_are_found_after_opening_again)
{
    uf_error err = {0};
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    for (int plain = 0; plain < 2; plain++) {
        const uint32_t flags = plain ? UF_GALLERY_PLAIN : 0;
        const char *path = maker_path("g");
        uf_gallery *g = filled(path, flags, 40);
        REQUIRE(g);
        for (int round = 0; round < 2; round++) {
            for (uint64_t p = 0; p < 40; p++) {
                char name[32];
                name_of(p, name);
                REQUIRE_OK(maker_identify(g, NULL, p, 2, MODEL, &best, &count, &err), err);
                CHECK(count == 5 && best.passes && strcmp(best.id, name) == 0);
            }
            REQUIRE_OK(maker_identify(g, NULL, 1000, 1, MODEL, &best, &count, &err), err);
            CHECK(count == 5 && !best.passes);
            CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
            uf_gallery_close(g);
            REQUIRE_OK(maker_open(&g, path, flags, &err), err);
        }
        uf_gallery_close(g);
    }
}

TEST(bad_input_is_refused_and_nothing_is_enrolled)
{
    uf_error err = {0};
    uf_gallery_stats s;
    float face[DIM], bad[DIM] = {0};
    char longest[258];
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 1);
    REQUIRE(g);
    memset(longest, 'x', 257);
    longest[257] = 0;
    maker_face(5, 1, face, DIM);
    const uf_template good = {.vector = face, .dimension = DIM, .model_id = MODEL};
    uf_template t = good;
    uf_enrolment e[2] = {{.person = {.id = "ok"}, .templates = &good, .count = 1},
                         {.person = {.id = "x"}, .templates = &t, .count = 1}};
#define REFUSED(change, restore, status, text)                                         \
    change;                                                                            \
    CHECK(uf_gallery_enroll(g, e, 2, NULL, &err) == (status));                         \
    CHECK_MSG(strstr(err.message, "enrolment 1") && strstr(err.message, (text)), "%s", \
              err.message);                                                            \
    restore
    REFUSED(e[1].person.id = "", e[1].person.id = "x", UF_E_ARG, "id");
    REFUSED(e[1].person.id = longest, e[1].person.id = "x", UF_E_ARG, "257");
    REFUSED(e[1].person.id = "a\nb", e[1].person.id = "x", UF_E_ARG, "control");
    REFUSED(e[1].person.id = "\xff", e[1].person.id = "x", UF_E_ARG, "UTF-8");
    REFUSED(e[1].person.collection = "", e[1].person.collection = NULL, UF_E_ARG, "collection");
    REFUSED(e[1].person.metadata = "[1]", e[1].person.metadata = NULL, UF_E_ARG, "JSON");
    REFUSED(t.vector = bad, t.vector = face, UF_E_ARG, "direction");
    REFUSED(t.vector = NULL, t.vector = face, UF_E_ARG, "direction");
    REFUSED(t.dimension = 7, t.dimension = DIM, UF_E_ARG, "7");
    REFUSED(t.dimension = DIM - 1, t.dimension = DIM, UF_E_MISMATCH, "63");
    REFUSED(t.quality = NAN, t.quality = 0, UF_E_ARG, "quality");
    REFUSED(t.model_id = NULL, t.model_id = MODEL, UF_E_ARG, "model");
    bad[0] = INFINITY;
    REFUSED(t.vector = bad, t.vector = face, UF_E_ARG, "direction");
    bad[0] = NAN;
    REFUSED(t.vector = bad, t.vector = face, UF_E_ARG, "direction");
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people == 1 && s.templates == 1);
    CHECK_OK(uf_gallery_enroll(g, e, 2, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(several_images_are_one_answer_and_the_best_counts)
{
    uf_error err = {0};
    uf_candidate best;
    uint64_t ids[3];
    size_t count;
    float score, face[DIM];
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 10);
    REQUIRE(g);
    for (uint64_t i = 0; i < 3; i++)
        REQUIRE_OK(maker_enroll(g, NULL, 3, 10 + i, MODEL, &ids[i], &err), err);
    CHECK(ids[1] > ids[0] && ids[2] > ids[1]);
    REQUIRE_OK(maker_identify(g, NULL, 3, 11, MODEL, &best, &count, &err), err);
    CHECK(count == 5 && strcmp(best.id, "p3") == 0 && best.template_id == ids[1]);
    CHECK(best.score > 0.999f);
    maker_face(3, 12, face, DIM);
    REQUIRE_OK(uf_gallery_verify(g, NULL, "p3", face, DIM, MODEL, NULL, &score, &err), err);
    CHECK(score > 0.999f);
    CHECK(uf_gallery_verify(g, NULL, "nobody", face, DIM, MODEL, NULL, &score, &err) ==
          UF_E_NOT_FOUND);
    CHECK(uf_gallery_verify(g, "no such", "p3", face, DIM, MODEL, NULL, &score, &err) ==
          UF_E_NOT_FOUND);
    CHECK(uf_gallery_verify(g, NULL, "p3", face, DIM, "other", NULL, &score, &err) ==
          UF_E_MISMATCH);
    CHECK(uf_gallery_verify(g, NULL, "p3", face, DIM - 1, MODEL, NULL, &score, &err) ==
          UF_E_MISMATCH);
    uf_gallery_close(g);
}

TEST(collections_and_models_are_apart)
{
    uf_error err = {0};
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 3);
    REQUIRE(g);
    REQUIRE_OK(maker_enroll(g, "other", 7, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(maker_enroll(g, "other", 0, 1, "model-b", NULL, &err), err);
    REQUIRE_OK(maker_identify(g, "other", 0, 1, MODEL, &best, &count, &err), err);
    CHECK(count == 1 && strcmp(best.id, "p7") == 0 && !best.passes);
    REQUIRE_OK(maker_identify(g, "other", 0, 1, "model-b", &best, &count, &err), err);
    CHECK(count == 1 && strcmp(best.id, "p0") == 0 && best.passes);
    CHECK(maker_identify(g, NULL, 0, 1, "model-b", &best, &count, &err) == UF_E_MISMATCH);
    CHECK(strstr(err.message, MODEL) && strstr(err.message, "model-b"));
    CHECK(maker_identify(g, "none", 0, 1, MODEL, &best, &count, &err) == UF_E_NOT_FOUND);
    uf_gallery_close(g);
}

static uf_status search_with(uf_gallery *g, uint64_t person, const uf_identify_options *o,
                             uf_candidate *out, size_t *count, uf_error *err)
{
    float face[DIM];
    maker_face(person, 2, face, DIM);
    return uf_gallery_identify(g, face, DIM, MODEL, o, out, count, NULL, err);
}

static uf_status enroll_as(uf_gallery *g, uint64_t n, const uf_person *like, uf_error *err)
{
    float face[DIM];
    char id[32];
    const uf_template t = {.vector = face, .dimension = DIM, .model_id = MODEL};
    uf_enrolment e = {.person = *like, .templates = &t, .count = 1};
    name_of(n, id);
    e.person.id = id;
    maker_face(n, 1, face, DIM);
    return uf_gallery_enroll(g, &e, 1, NULL, err);
}

TEST(who_is_not_alike_is_left_out_when_asked)
{
    uf_error err = {0};
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.min_score = NAN;
    uf_candidate c;
    size_t count = 0;
    float v[8] = {1};
    uf_gallery *g = NULL;
    NEED_GALLERY;
    REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE, &err), err);
    const uf_template t = {.vector = v, .dimension = 8, .model_id = "m"};
    const uf_enrolment e = {.person = {.id = "p"}, .templates = &t, .count = 1};
    CHECK_OK(uf_gallery_enroll(g, &e, 1, NULL, &err), err);
    o.top_k = 1;
    o.threshold = 0.9f;
    v[1] = 1; /* cosine 0.71 */
    CHECK(uf_gallery_identify(g, v, 8, "m", &o, &c, &count, NULL, &err) == UF_E_ARG);
    o.min_score = 0.7f;
    CHECK_OK(uf_gallery_identify(g, v, 8, "m", &o, &c, &count, NULL, &err), err);
    CHECK(count == 1 && !c.passes);
    o.min_score = 0.72f;
    CHECK_OK(uf_gallery_identify(g, v, 8, "m", &o, &c, &count, NULL, &err), err);
    CHECK(count == 0);
    uf_gallery_close(g);
}

TEST(filters_purposes_and_expiry)
{
    uf_error err = {0};
    uf_candidate found[5];
    size_t count;
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 0);
    REQUIRE(g);
    const uf_person door = {.metadata = "{\"floor\": 3, \"vip\":true}", .purpose = "door"},
                    pay = {.metadata = "{\"floor\":\"3\"}", .purpose = "payment"},
                    late = {.metadata = "{\"floor\":4}", .expires = time(NULL) - 1},
                    any = {.expires = time(NULL) + 1000};
    const uf_person *const kinds[4] = {&door, &pay, &late, &any};
    for (uint64_t p = 0; p < 40; p++)
        REQUIRE_OK(enroll_as(g, p, kinds[p % 4], &err), err);
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.threshold = 0.6f;
    REQUIRE_OK(search_with(g, 0, &o, found, &count, &err), err);
    CHECK(count == 5 && strcmp(found[0].id, "p0") == 0);
    REQUIRE_OK(search_with(g, 2, &o, found, &count, &err), err); /* expired: is not named */
    CHECK(count == 5 && !found[0].passes);
    for (size_t i = 0; i < count; i++)
        CHECK(atoi(found[i].id + 1) % 4 != 2);
    o.purpose = "door";
    REQUIRE_OK(search_with(g, 1, &o, found, &count, &err), err);
    CHECK(count == 5 && !found[0].passes);
    for (size_t i = 0; i < count; i++)
        CHECK(atoi(found[i].id + 1) % 4 == 0 || atoi(found[i].id + 1) % 4 == 3);
    o.purpose = NULL;
    const char *const ids[] = {"p7", "p3", "p7", "nobody", "p2"};
    uf_gallery_filter filter = {.ids = ids, .id_count = 5};
    o.filter = &filter;
    REQUIRE_OK(search_with(g, 7, &o, found, &count, &err), err);
    CHECK(count == 2 && strcmp(found[0].id, "p7") == 0 && strcmp(found[1].id, "p3") == 0);
    filter = (uf_gallery_filter){.metadata = "floor=3"};
    REQUIRE_OK(search_with(g, 1, &o, found, &count, &err), err);
    CHECK(count == 5 && strcmp(found[0].id, "p1") == 0);
    filter.metadata = "vip=true";
    REQUIRE_OK(search_with(g, 1, &o, found, &count, &err), err);
    CHECK(count == 5 && !found[0].passes);
    filter.metadata = "floor=9";
    REQUIRE_OK(search_with(g, 1, &o, found, &count, &err), err);
    CHECK(count == 0);
    filter.metadata = "floor";
    CHECK(search_with(g, 1, &o, found, &count, &err) == UF_E_ARG);
    uint64_t expired;
    REQUIRE_OK(uf_gallery_expire(g, &expired, &err), err);
    CHECK(expired == 10);
    REQUIRE_OK(uf_gallery_expire(g, &expired, &err), err);
    CHECK(expired == 0);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    uf_gallery_close(g);
}

typedef struct listed {
    char text[4096];
    size_t stop_after, count;
} listed;

static int list_one(void *user, const uf_person_info *p)
{
    listed *l = user;
    size_t used = strlen(l->text);
    snprintf(l->text + used, sizeof l->text - used, "%s/%s:%s:%s:%s:%lld:%llu ", p->collection,
             p->id, p->metadata ? p->metadata : "-", p->consent ? p->consent : "-",
             p->purpose ? p->purpose : "-", (long long)p->expires,
             (unsigned long long)p->templates);
    return ++l->count == l->stop_after;
}

static int list_template(void *user, const uf_template_info *t)
{
    listed *l = user;
    size_t used = strlen(l->text);
    snprintf(l->text + used, sizeof l->text - used, "%s/%s:%s:%s:%.2f:%u:%d ", t->collection, t->id,
             t->model_id, t->source ? t->source : "-", (double)t->quality, t->dimension,
             t->crop ? (int)t->crop_size : 0);
    l->count++;
    return 0;
}

TEST(lists_are_in_order_and_people_keep_what_is_not_given_again)
{
    uf_error err = {0};
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 0);
    REQUIRE(g);
    const uf_person full = {.collection = "b",
                            .metadata = "{\"k\":1}",
                            .consent = "form 7",
                            .purpose = "door",
                            .expires = 4000000000},
                    bare = {.collection = "b"}, other = {.collection = "a"};
    REQUIRE_OK(enroll_as(g, 2, &full, &err), err);
    REQUIRE_OK(enroll_as(g, 1, &bare, &err), err);
    REQUIRE_OK(enroll_as(g, 9, &other, &err), err);
    REQUIRE_OK(enroll_as(g, 2, &bare, &err), err);
    listed l = {.stop_after = 0};
    REQUIRE_OK(uf_gallery_list(g, NULL, NULL, list_one, &l, &err), err);
    CHECK_MSG(strcmp(l.text, "a/p9:-:-:-:0:1 b/p1:-:-:-:0:1 "
                             "b/p2:{\"k\":1}:form 7:door:4000000000:2 ") == 0,
              "%s", l.text);
    l = (listed){.stop_after = 1};
    CHECK(uf_gallery_list(g, "b", NULL, list_one, &l, &err) == UF_E_CANCELLED && l.count == 1);
    const uf_gallery_filter filter = {.metadata = "k=1"};
    l = (listed){.stop_after = 0};
    REQUIRE_OK(uf_gallery_list(g, "b", &filter, list_one, &l, &err), err);
    CHECK(l.count == 1);
    CHECK(uf_gallery_list(g, "c", NULL, list_one, &l, &err) == UF_E_NOT_FOUND);
    l = (listed){.stop_after = 0};
    REQUIRE_OK(uf_gallery_templates(g, NULL, NULL, MODEL, list_template, &l, &err), err);
    CHECK_MSG(strcmp(l.text, "a/p9:model-a:-:0.00:64:0 b/p1:model-a:-:0.00:64:0 "
                             "b/p2:model-a:-:0.00:64:0 b/p2:model-a:-:0.00:64:0 ") == 0,
              "%s", l.text);
    l = (listed){.stop_after = 0};
    REQUIRE_OK(uf_gallery_templates(g, "b", "p2", NULL, list_template, &l, &err), err);
    CHECK(l.count == 2);
    REQUIRE_OK(uf_gallery_templates(g, "b", "p2", "none", list_template, &l, &err), err);
    CHECK(l.count == 2);
    CHECK(uf_gallery_templates(g, "b", "px", NULL, list_template, &l, &err) == UF_E_NOT_FOUND);
    uf_gallery_close(g);
}

TEST(thresholds_are_measured_and_hold)
{
    uf_error err = {0};
    uf_gallery_threshold_info info = {0}, again = {0};
    uf_candidate found[5];
    float face[DIM];
    size_t count, false_positives = 0, misses = 0;
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), UF_GALLERY_PLAIN, 29);
    REQUIRE(g);
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.fpir = 0.05;
    CHECK(uf_gallery_threshold(g, MODEL, &o, &info, &err) == UF_E_UNCALIBRATED);
    CHECK(strstr(err.message, "29"));
    CHECK(search_with(g, 1, &o, found, &count, &err) == UF_E_UNCALIBRATED);
    enum { PEOPLE = 1000, PROBES = 1000 };
    for (uint64_t p = 29; p < PEOPLE; p++)
        REQUIRE_OK(maker_enroll(g, NULL, p, 1, MODEL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_threshold(g, MODEL, &o, &info, &err), err);
    CHECK(info.people == PEOPLE && info.impostor_scores == PEOPLE && !info.extrapolated);
    for (uint64_t p = 0; p < PROBES; p++) {
        maker_face(1000000 + p, 2, face, DIM);
        REQUIRE_OK(uf_gallery_identify(g, face, DIM, MODEL, &o, found, &count, &again, &err), err);
        false_positives += found[0].passes;
        misses +=
            p < 100 && search_with(g, p, &o, found, &count, &err) == UF_OK && !found[0].passes;
    }
    CHECK(again.threshold == info.threshold && again.people == PEOPLE);
    /* Both sides are binomial with 1,000 trials: 5 standard errors of their difference. */
    CHECK_MSG(false_positives > 1 && false_positives < 50 + 5 * 10, "%zu", false_positives);
    CHECK_MSG(misses < 5, "%zu", misses);
    o.fpir = 0.001;
    REQUIRE_OK(uf_gallery_threshold(g, MODEL, &o, &again, &err), err);
    CHECK(again.extrapolated && again.threshold > info.threshold && again.threshold < 1);
    o.fpir = 0;
    CHECK(uf_gallery_threshold(g, MODEL, &o, &again, &err) == UF_E_ARG);
    uf_gallery_close(g);
}

TEST(two_openings_see_each_others_changes)
{
    uf_error err = {0};
    uf_gallery *a, *b = NULL;
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    const char *path = maker_path("g");
    a = filled(path, 0, 5);
    REQUIRE(a);
    REQUIRE_OK(maker_open(&b, path, 0, &err), err);
    for (uint64_t p = 10; p < 20; p++) {
        char name[32];
        name_of(p, name);
        REQUIRE_OK(maker_enroll(p % 2 ? a : b, NULL, p, 1, MODEL, NULL, &err), err);
        REQUIRE_OK(maker_identify(p % 2 ? b : a, NULL, p, 2, MODEL, &best, &count, &err), err);
        CHECK(best.passes && strcmp(best.id, name) == 0);
        if (p % 3 == 0) {
            REQUIRE_OK(uf_gallery_delete(p % 2 ? a : b, NULL, name, NULL, &err), err);
            REQUIRE_OK(maker_identify(p % 2 ? b : a, NULL, p, 2, MODEL, &best, &count, &err), err);
            CHECK(!best.passes);
        }
    }
    REQUIRE_OK(uf_gallery_compact(a, &err), err);
    REQUIRE_OK(maker_identify(b, NULL, 11, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p11") == 0);
    CHECK_OK(uf_gallery_check(b, NULL, NULL, &err), err);
    uf_gallery_close(a);
    uf_gallery_close(b);
}

/* A source that names a request makes it one that is done once, whoever asks. */
TEST(what_is_enrolled_once_is_refused_again_by_all)
{
    uf_error err = {0};
    uf_gallery *a, *b = NULL;
    uf_gallery_stats s;
    float face[DIM];
    NEED_GALLERY;
    const char *path = maker_path("g");
    a = filled(path, 0, 1);
    REQUIRE(a);
    REQUIRE_OK(maker_open(&b, path, 0, &err), err);
    maker_face(7, 1, face, DIM);
    uf_template t = {
        .vector = face, .dimension = DIM, .model_id = MODEL, .source = "server ab12 x"};
    uf_enrolment e = {.person = {.id = "one"}, .templates = &t, .count = 1, .once = "server ab12"};
    CHECK_OK(uf_gallery_enroll(a, &e, 1, NULL, &err), err);
    CHECK(uf_gallery_enroll(b, &e, 1, NULL, &err) == UF_E_EXISTS);
    CHECK(uf_gallery_enroll(a, &e, 1, NULL, &err) == UF_E_EXISTS);
    e.person.id = "two"; /* of another person it is another request */
    CHECK_OK(uf_gallery_enroll(b, &e, 1, NULL, &err), err);
    e.once = "SERVER AB12"; /* not the same letters */
    CHECK_OK(uf_gallery_enroll(a, &e, 1, NULL, &err), err);
    e.once = "server ab13";
    CHECK_OK(uf_gallery_enroll(b, &e, 1, NULL, &err), err);
    e.once = "server %";
    CHECK(uf_gallery_enroll(b, &e, 1, NULL, &err) == UF_E_ARG);
    e.once = NULL;
    CHECK_OK(uf_gallery_enroll(b, &e, 1, NULL, &err), err);
    REQUIRE_OK(uf_gallery_describe(a, &s, &err), err);
    CHECK(s.people == 3 && s.templates == 6);
    uf_gallery_close(a);
    uf_gallery_close(b);
}

/* ---- many at once ---- */

enum { MANY = 300, LONG = 150 /* templates of one of them */ };

typedef struct many {
    uf_enrolment people[MANY];
    uf_template templates[MANY + LONG];
    float faces[MANY + LONG][DIM];
    char ids[MANY][32], notes[MANY][32];
    size_t count;
} many;

/* Enrolment i is of person i, but for some who come again: at once, soon after, and far later. */
static uint64_t person_of(uint64_t i)
{
    return i % 50 == 3 ? i - 1 : i % 50 == 20 ? i - 10 : i % 100 == 75 ? i - 70 : i;
}

static many *make_many(void)
{
    many *m = calloc(1, sizeof *m);
    for (uint64_t i = 0; m && i < MANY; i++) {
        const size_t count = i == 40 ? LONG : 1;
        name_of(person_of(i), m->ids[i]);
        snprintf(m->notes[i], sizeof m->notes[i], "{\"last\":%d}", (int)i);
        m->people[i] = (uf_enrolment){.person = {.id = m->ids[i], .metadata = m->notes[i]},
                                      .templates = &m->templates[m->count],
                                      .count = count};
        for (size_t k = 0; k < count; k++, m->count++) {
            maker_face(person_of(i), 1 + i + k, m->faces[m->count], DIM);
            m->templates[m->count] = (uf_template){
                .vector = m->faces[m->count], .dimension = DIM, .model_id = MODEL, .quality = -1};
        }
    }
    return m;
}

static int last_of_person(void *user, const uf_person_info *p)
{
    int *wrong = user, last = -1;
    uint64_t person = strtoull(p->id + 1, NULL, 10), latest = 0;
    size_t templates = 0;
    sscanf(p->metadata, "{\"last\":%d}", &last);
    for (uint64_t i = 0; i < MANY; i++)
        if (person_of(i) == person) {
            latest = i;
            templates += i == 40 ? LONG : 1;
        }
    *wrong += (uint64_t)last != latest || p->templates != templates;
    return 0;
}

/* Sealed ahead of the writing, by another thread, in batches. */
TEST(many_are_enrolled_at_once_as_one_after_the_other)
{
    for (uint32_t flags = 0; flags <= UF_GALLERY_PLAIN; flags += UF_GALLERY_PLAIN) {
        uf_error err = {0};
        uf_gallery *g = NULL;
        uf_gallery_stats s;
        uint64_t ids[MANY + LONG] = {0};
        int wrong = 0;
        NEED_GALLERY;
        many *m = make_many();
        REQUIRE(m);
        REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE | flags, &err), err);
        CHECK_OK(uf_gallery_enroll(g, m->people, MANY, ids, &err), err);
        for (size_t i = 1; i < m->count; i++)
            CHECK(ids[i] == ids[0] + i);
        CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
        CHECK_OK(uf_gallery_describe(g, &s, &err), err);
        CHECK(s.people == MANY - 15 && s.templates == m->count);
        CHECK_OK(uf_gallery_list(g, NULL, NULL, last_of_person, &wrong, &err), err);
        CHECK(wrong == 0);
        for (size_t i = 0; i < m->count; i += 31) {
            uf_candidate best;
            size_t count = 0;
            uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
            o.top_k = 1;
            o.threshold = 0.9f;
            CHECK_OK(uf_gallery_identify(g, m->faces[i], DIM, MODEL, &o, &best, &count, NULL, &err),
                     err);
            CHECK(count == 1 && best.template_id == ids[i] && best.score > 0.9999f);
        }
        /* One that is wrong in the midst of them: it is named, and nobody is enrolled. */
        m->people[200].once = "again";
        m->templates[200 + LONG - 1].source = "again 1";
        CHECK_OK(uf_gallery_enroll(g, &m->people[200], 1, NULL, &err), err);
        CHECK(uf_gallery_enroll(g, m->people, MANY, NULL, &err) == UF_E_EXISTS);
        CHECK(strstr(err.message, "enrolment 200 (\"p200\")"));
        CHECK_OK(uf_gallery_describe(g, &s, &err), err);
        CHECK(s.templates == m->count + 1);
        uf_gallery_close(g);
        free(m);
    }
}

/* Memory may run out anywhere in it: all are enrolled, or nobody. */
TEST(many_at_once_survive_every_failing_allocation)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_gallery_stats s;
    uint64_t failed = 0, k = 1;
    NEED_GALLERY;
    many *m = make_many();
    REQUIRE(m);
    for (bool end = false; !end; k++) {
        if (!g)
            REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE | UF_GALLERY_PLAIN, &err),
                       err);
        const uint64_t before = ufi_mem_allocation_count();
        ufi_mem_fail_after(k, false);
        const uf_status st = uf_gallery_enroll(g, m->people, MANY, NULL, &err);
        ufi_mem_fail_after(0, false);
        end = ufi_mem_allocation_count() - before < k;
        CHECK_OK(uf_gallery_describe(g, &s, &err), err);
        CHECK_MSG(st ? st == UF_E_NOMEM && s.people == 0 : s.templates == m->count, "%llu: %d",
                  (unsigned long long)k, st);
        failed += st != UF_OK;
        if (!st) { /* there was another way, as without a thread: the next begins anew */
            CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
            uf_gallery_close(g);
            g = NULL;
        }
    }
    CHECK_MSG(failed > 10, "%llu", (unsigned long long)failed);
    free(m);
}

/* ---- threads ---- */

typedef struct worker {
    uf_gallery *g;
    uint64_t number;
    int wrong;
    uf_error err;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    uf_candidate best;
    size_t count;
    for (uint64_t i = 0; i < 12 && !w->wrong; i++) {
        uint64_t mine = 1000 * (w->number + 1) + i;
        char name[32];
        name_of(mine, name);
        if (maker_enroll(w->g, NULL, mine, 1, MODEL, NULL, &w->err) ||
            maker_identify(w->g, NULL, mine, 2, MODEL, &best, &count, &w->err) || !best.passes ||
            strcmp(best.id, name) != 0)
            w->wrong = 1;
        if (i % 3 == 0 && (uf_gallery_delete(w->g, NULL, name, NULL, &w->err) ||
                           maker_identify(w->g, NULL, mine, 2, MODEL, &best, &count, &w->err) ||
                           (best.passes && strcmp(best.id, name) == 0)))
            w->wrong = 2;
    }
    return NULL;
}

TEST(threads_enroll_search_and_delete_at_once)
{
    uf_error err = {0};
    pthread_t threads[4];
    worker workers[4] = {{0}};
    uf_gallery_stats s;
    NEED_GALLERY;
    uf_gallery *g = filled(maker_path("g"), 0, 50);
    REQUIRE(g);
    for (uint64_t i = 0; i < 4; i++) {
        workers[i] = (worker){.g = g, .number = i};
        REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_MSG(!workers[i].wrong, "%d %s", workers[i].wrong, workers[i].err.message);
    }
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people == 50 + 4 * 8);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST_MAIN
