/*
 * Search by pgvector against a real server, which postgres_test.py starts (UNIFACE_TEST_POSTGRES):
 * answers compared with brute force, and EXPLAIN for the proof that an index gave them. With
 * UNIFACE_TEST_SHARDS the tables are those that shards.sh made before: the partitions are foreign.
 */
#include "gallery/postgres.h"

#include "test.h"

enum { DIMENSION = 64, COUNT = 1600, PEOPLE = 800, PROBES = 40, WANTED = 64 };

static float vectors[COUNT][DIMENSION], probes[PROBES][DIMENSION];
static uint64_t keys[COUNT], groups[COUNT];

static void make_vectors(void)
{
    uint64_t seed = 7;
    float centre[DIMENSION];
    for (int i = 0; i < COUNT; i++) {
        for (int d = 0; d < DIMENSION; d++) {
            if (i % 2 == 0)
                centre[d] = test_random_float(&seed);
            vectors[i][d] = centre[d] + 0.3f * test_random_float(&seed);
        }
        keys[i] = (uint64_t)i + 1;
        groups[i] = (uint64_t)i / 2 + 1; /* two pictures each */
    }
    for (int i = 0; i < PROBES; i++)
        for (int d = 0; d < DIMENSION; d++)
            probes[i][d] = vectors[i * 31][d] + 0.3f * test_random_float(&seed);
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < DIMENSION; d++) {
        ab += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return ab / sqrt(aa * bb);
}

static uint64_t nearest(const float *probe, uint64_t first_group, uint64_t last_group)
{
    uint64_t best = 0;
    double score = -2;
    for (int i = 0; i < COUNT; i++)
        if (groups[i] >= first_group && groups[i] <= last_group) {
            double s = cosine(probe, vectors[i]);
            best = s > score ? keys[i] : best;
            score = s > score ? s : score;
        }
    return best;
}

static ufi_sql *open_search(const char *kind)
{
    char address[600];
    const char *base = getenv("UNIFACE_TEST_POSTGRES");
    snprintf(address, sizeof address, "%s?gallery=search_%s&search=%s&partitions=3", base, kind,
             kind);
    ufi_sql *s;
    uf_error err = {0};
    CHECK_OK(ufi_postgres_open(&s, address, false, &err), err);
    if (!s)
        exit(1);
    return s;
}

/* What vectors need of the tables of records. */
static const char records[] = "CREATE TABLE IF NOT EXISTS model (number bigint, name text);"
                              "CREATE TABLE IF NOT EXISTS template (number bigint PRIMARY KEY,"
                              " model bigint);"
                              "INSERT INTO model SELECT 1, 'some model'";

static void fill(ufi_sql *s)
{
    uf_error err = {0};
    REQUIRE_OK(s->ops->begin(s, &err), err);
    REQUIRE_OK(s->ops->script(s, records, &err), err);
    REQUIRE(s->ops->vectors != NULL);
    REQUIRE_OK(
        s->ops->vectors->add(s, "some model", DIMENSION, 5, keys, groups, vectors[0], COUNT, &err),
        err);
    uint64_t other[] = {COUNT + 1};
    REQUIRE_OK(
        s->ops->vectors->add(s, "some model", DIMENSION, 6, other, other, probes[0], 1, &err), err);
    REQUIRE_OK(s->ops->commit(s, &err), err);
    CHECK_OK(s->ops->run(s, "INSERT INTO template SELECT generate_series(1, 1600), 1", NULL, 0,
                         NULL, NULL, NULL, &err),
             err);
    /* So few rows would be read one by one, and rightly so. */
    REQUIRE_OK(s->ops->script(s, "SET enable_sort = off", &err), err);
    REQUIRE_OK(s->ops->scrub(s, true, &err), err); /* and figures for the planner */
}

/* Share of probes whose nearest vector is among the candidates. */
static double recall(ufi_sql *s, const uint64_t *among, size_t among_count, uint64_t last_group)
{
    int found = 0;
    for (int i = 0; i < PROBES; i++) {
        uint64_t near[WANTED], near_groups[WANTED], want = nearest(probes[i], 1, last_group);
        size_t count = 0;
        uf_error err = {0};
        CHECK_OK(s->ops->vectors->search(s, "some model", DIMENSION, 5, probes[i], among,
                                         among_count, WANTED, near, near_groups, &count, &err),
                 err);
        CHECK_MSG(count == WANTED, "%zu", count);
        bool here = false;
        for (size_t k = 0; k < count; k++) {
            here |= near[k] == want;
            CHECK(near_groups[k] == groups[near[k] - 1] && near_groups[k] <= last_group);
        }
        found += here;
    }
    return (double)found / PROBES;
}

static uf_status print_line(void *user, const ufi_value *c, size_t count, uf_error *err)
{
    (void)count, (void)err;
    char *plan = user;
    if (strstr(c[0].data, "Output:") || strstr(c[0].data, "Sort Key:"))
        return UF_OK; /* whole vectors */
    strncat(plan, c[0].data, 20000 - strlen(plan) - 2);
    strcat(plan, "\n");
    return UF_OK;
}

static int count_of(const char *text, const char *what)
{
    int n = 0;
    for (const char *c = strstr(text, what); c; c = strstr(c + 1, what))
        n++;
    return n;
}

/* The plan of a search; static: the text of a statement must stay. */
static const char *plan_of(ufi_sql *s, ufi_pg_reach reach)
{
    static char texts[8][20000], plan[20000];
    static int used;
    const char *sql = NULL;
    uf_error err = {0};
    CHECK_OK(
        ufi_pg_search_text((ufi_postgres *)s, "some model", DIMENSION, reach, WANTED, &sql, &err),
        err);
    char *text = texts[used++];
    snprintf(text, sizeof texts[0], "EXPLAIN (VERBOSE) %s", sql ? sql : "");
    plan[0] = '\0';
    const ufi_value args[] = {{.type = UFI_VALUE_VECTOR, .data = probes[0], .size = DIMENSION},
                              ufi_integer(5),
                              {.type = UFI_VALUE_TEXT, .data = "{1,2,3}", .size = 7}};
    CHECK_OK(s->ops->run(s, text, args, reach == UFI_PG_ALL ? 2 : 3, print_line, plan, NULL, &err),
             err);
    return plan;
}

static void check_search(const char *kind, double least)
{
    ufi_sql *s = open_search(kind);
    fill(s);
    const char *plan = plan_of(s, UFI_PG_ALL);
    if (getenv("UNIFACE_TEST_SHARDS")) {
        int limits = count_of(plan, "LIMIT 64");
        CHECK_MSG(limits == atoi(getenv("UNIFACE_TEST_SHARDS")), "%.3000s", plan);
        CHECK_MSG(count_of(plan, "Async Foreign Scan") == limits, "%.3000s", plan);
        CHECK_MSG(count_of(plan, "Remote SQL") == limits && count_of(plan, "ORDER BY") == limits,
                  "%.3000s", plan);
    } else {
        CHECK_MSG(count_of(plan, "Index Scan using") == 3 && count_of(plan, "Order By") == 3, "%s",
                  plan);
    }
    double all = recall(s, NULL, 0, PEOPLE);
    uint64_t few[500];
    for (uint64_t i = 0; i < 500; i++)
        few[i] = i + 1;
    double some = recall(s, few, 500, 500);
    printf(
        "%s: the nearest is among %d candidates for %.0f %% of probes, of 500 people for %.0f %%\n",
        kind, WANTED, 100 * all, 100 * some);
    CHECK(all >= least && some == 1); /* few people are compared one by one */
    s->ops->close(s);
}

TEST(halves_agree_with_brute_force)
{
    check_search("halfvec", 0.98);
}

TEST(signs_agree_with_brute_force)
{
    check_search("bit", 0.9);
}

static size_t search_count(ufi_sql *s, uint64_t *first)
{
    uint64_t near[WANTED], near_groups[WANTED];
    size_t count = 0;
    uf_error err = {0};
    CHECK_OK(s->ops->vectors->search(s, "some model", DIMENSION, 5, vectors[40], NULL, 0, WANTED,
                                     near, near_groups, &count, &err),
             err);
    *first = count ? near[0] : 0;
    return count;
}

TEST(vectors_go_with_their_records)
{
    ufi_sql *s = open_search("halfvec");
    uf_error err = {0};
    uint64_t first;
    CHECK(search_count(s, &first) == WANTED && first == 41);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    CHECK_OK(
        s->ops->run(s, "DELETE FROM template WHERE number = 41", NULL, 0, NULL, NULL, NULL, &err),
        err);
    s->ops->rollback(s);
    CHECK(search_count(s, &first) == WANTED && first == 41);
    CHECK_OK(
        s->ops->run(s, "DELETE FROM template WHERE number = 41", NULL, 0, NULL, NULL, NULL, &err),
        err);
    CHECK(search_count(s, &first) == WANTED && first != 41);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    CHECK_OK(s->ops->vectors->clear(s, "some model", DIMENSION, 5, &err), err);
    REQUIRE_OK(s->ops->commit(s, &err), err);
    CHECK(search_count(s, &first) == 0);
    s->ops->close(s);
}

TEST(a_small_collection_is_found_among_others)
{
    ufi_sql *s = open_search("bit");
    uf_error err = {0};
    uint64_t near[WANTED], near_groups[WANTED];
    size_t count = 0;
    CHECK_OK(s->ops->vectors->search(s, "some model", DIMENSION, 6, vectors[100], NULL, 0, WANTED,
                                     near, near_groups, &count, &err),
             err);
    CHECK(count == 1 && near[0] == COUNT + 1 && near_groups[0] == COUNT + 1);
    s->ops->close(s);
}

TEST(models_that_are_not_there_have_no_vectors)
{
    ufi_sql *s = open_search("halfvec");
    uf_error err = {0};
    uint64_t near[4], near_groups[4];
    size_t count = 9;
    CHECK_OK(s->ops->vectors->search(s, "unknown", DIMENSION, 5, vectors[0], NULL, 0, 4, near,
                                     near_groups, &count, &err),
             err);
    CHECK(count == 0);
    s->ops->close(s);
}

TEST(a_table_that_is_rolled_back_is_made_again)
{
    if (getenv("UNIFACE_TEST_SHARDS"))
        SKIP("the tables of shards are made by a script");
    ufi_sql *s = open_search("halfvec");
    uf_error err = {0};
    uint64_t near[4], near_groups[4];
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(s->ops->begin(s, &err), err);
        CHECK_OK(s->ops->vectors->add(s, "later", DIMENSION, 5, keys, groups, vectors[0], 3, &err),
                 err);
        if (i)
            CHECK_OK(s->ops->commit(s, &err), err);
        else
            s->ops->rollback(s);
        CHECK_OK(s->ops->vectors->search(s, "later", DIMENSION, 5, vectors[0], NULL, 0, 4, near,
                                         near_groups, &count, &err),
                 err);
        CHECK(count == (i ? 3 : 0));
    }
    s->ops->close(s);
}

TEST(the_choice_is_kept)
{
    char address[600];
    snprintf(address, sizeof address, "%s?gallery=search_bit", getenv("UNIFACE_TEST_POSTGRES"));
    ufi_sql *s;
    uf_error err = {0};
    REQUIRE_OK(ufi_postgres_open(&s, address, false, &err), err);
    CHECK(s->ops->vectors != NULL);
    CHECK(strstr(s->ops->warning(s), "pgvector") != NULL);
    s->ops->close(s);
    strcat(address, "&search=memory");
    CHECK(ufi_postgres_open(&s, address, false, &err) == UF_E_MISMATCH);
    CHECK_MSG(strstr(err.message, "search=bit"), "%s", err.message);
}

int main(int argc, char **argv)
{
    make_vectors();
    return test_run_all(argc, argv);
}
