/*
 * The PostgreSQL driver against a real server, which postgres_test.py starts:
 * UNIFACE_TEST_POSTGRES is its address, UNIFACE_TEST_RESTART a command that restarts it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gallery/postgres.h"

#include "test.h"

static const char *address(void)
{
    return getenv("UNIFACE_TEST_POSTGRES");
}

static const char *schema_address(const char *schema)
{
    static char out[500];
    snprintf(out, sizeof out, "%s%sgallery=%s", address(), strchr(address(), '?') ? "&" : "?",
             schema);
    return out;
}

static ufi_sql *open_sql(const char *schema)
{
    ufi_sql *s;
    uf_error err = {0};
    CHECK_OK(ufi_postgres_open(&s, schema_address(schema), false, &err), err);
    if (!s)
        exit(1);
    return s;
}

static uf_status run(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                     uf_error *err)
{
    return s->ops->run(s, sql, args, count, NULL, NULL, NULL, err);
}

static uf_status take_integer(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    (void)count, (void)err;
    *(int64_t *)user = columns[0].integer;
    return UF_OK;
}

static int64_t integer_of(ufi_sql *s, const char *sql)
{
    int64_t out = -1;
    uf_error err = {0};
    CHECK_OK(s->ops->run(s, sql, NULL, 0, take_integer, &out, NULL, &err), err);
    return out;
}

static ufi_sql *open_numbers(const char *schema)
{
    ufi_sql *s = open_sql(schema);
    uf_error err = {0};
    CHECK_OK(s->ops->script(s, "CREATE TABLE IF NOT EXISTS numbers (n bigint PRIMARY KEY)", &err),
             err);
    return s;
}

static uf_status insert(ufi_sql *s, int64_t n, uf_error *err)
{
    ufi_value v = ufi_integer(n);
    return run(s, "INSERT INTO numbers VALUES (?1)", &v, 1, err);
}

typedef struct round_trip {
    const ufi_value *sent;
    int rows;
} round_trip;

static uf_status check_row(void *user, const ufi_value *c, size_t count, uf_error *err)
{
    (void)err;
    round_trip *t = user;
    t->rows++;
    CHECK(count == 9);
    CHECK(c[0].type == UFI_VALUE_INTEGER && c[0].integer == t->sent[0].integer);
    CHECK(c[1].type == UFI_VALUE_INTEGER && c[1].integer == t->sent[1].integer);
    CHECK(c[2].type == UFI_VALUE_REAL && c[2].real == t->sent[2].real);
    CHECK(c[3].type == UFI_VALUE_REAL && c[3].real == (double)(float)t->sent[3].real);
    CHECK(c[4].type == UFI_VALUE_TEXT && c[4].size == t->sent[4].size);
    CHECK(memcmp(c[4].data, t->sent[4].data, c[4].size + 1) == 0);
    CHECK(c[5].type == UFI_VALUE_BYTES && c[5].size == t->sent[5].size);
    CHECK(memcmp(c[5].data, t->sent[5].data, c[5].size) == 0);
    CHECK(c[6].type == UFI_VALUE_NULL);
    CHECK(c[7].type == UFI_VALUE_INTEGER && c[7].integer == 1);
    CHECK(c[8].type == UFI_VALUE_TEXT && strcmp(c[8].data, "{\"a\": 1}") == 0);
    return UF_OK;
}

TEST(values_come_back_as_they_went)
{
    ufi_sql *s = open_sql("values_test");
    uf_error err = {0};
    REQUIRE_OK(s->ops->script(s,
                              "CREATE TABLE v (a bigint, b integer, c double precision, d real,"
                              " e text, f bytea, g text, h boolean, i jsonb)",
                              &err),
               err);
    static const uint8_t bytes[] = {0, 1, 0xFF, '\'', '\\', 0};
    const ufi_value sent[] = {ufi_integer(INT64_MIN),
                              ufi_integer(-7),
                              ufi_real(0.1),
                              ufi_real(-1e-30),
                              {.type = UFI_VALUE_TEXT, .data = "K\xC3\xA4the 'x'", .size = 10},
                              ufi_bytes(bytes, sizeof bytes),
                              ufi_null(),
                              ufi_integer(1),
                              {.type = UFI_VALUE_TEXT, .data = "{\"a\":1}", .size = 7}};
    int64_t changed = 0;
    REQUIRE_OK(s->ops->run(s, "INSERT INTO v VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", sent, 9,
                           NULL, NULL, &changed, &err),
               err);
    CHECK(changed == 1);
    round_trip t = {sent, 0};
    REQUIRE_OK(s->ops->run(s, "SELECT * FROM v WHERE a = ?1 AND e = ?2",
                           (ufi_value[]){sent[0], sent[4]}, 2, check_row, &t, NULL, &err),
               err);
    CHECK(t.rows == 1);
    const ufi_value empty[] = {ufi_bytes(NULL, 0), {.type = UFI_VALUE_TEXT, .data = "", .size = 0}};
    REQUIRE_OK(run(s, "INSERT INTO v (f, e) VALUES (?1, ?2)", empty, 2, &err), err);
    CHECK(integer_of(s, "SELECT length(f) + length(e) FROM v WHERE a IS NULL") == 0);
    ufi_value nul = {.type = UFI_VALUE_TEXT, .data = "a\0b", .size = 3};
    CHECK(run(s, "INSERT INTO v (e) VALUES (?1)", &nul, 1, &err) == UF_E_ARG);
    s->ops->close(s);
}

TEST(sums_are_numbers)
{
    ufi_sql *s = open_sql("values_test");
    CHECK(integer_of(s, "SELECT sum(n) FROM generate_series(1::bigint, 100000) n") == 5000050000);
    CHECK(integer_of(s, "SELECT 0::numeric") == 0);
    CHECK(integer_of(s, "SELECT -10000::numeric") == -10000);
    CHECK(integer_of(s, "SELECT 9223372036854775807::numeric") == INT64_MAX);
    CHECK(integer_of(s, "SELECT count(*) FROM generate_series(1, 1000) n") == 1000);
    int64_t got = 0;
    uf_error err = {0};
    ufi_value v = ufi_integer(41); /* nothing tells the type of this parameter */
    static const char one[] = "SELECT 1 WHERE ?1 IS NOT NULL";
    CHECK_OK(s->ops->run(s, one, &v, 1, take_integer, &got, NULL, &err), err);
    CHECK(got == 1);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    CHECK_OK(s->ops->run(s, "SELECT 2 WHERE ?1 IS NOT NULL", &v, 1, take_integer, &got, NULL, &err),
             err);
    CHECK(got == 2);
    s->ops->rollback(s);
    s->ops->close(s);
}

TEST(vectors_come_back_as_halves)
{
    ufi_sql *s = open_sql("values_test");
    uf_error err = {0};
    if (!getenv("UNIFACE_TEST_VECTOR")) {
        s->ops->close(s);
        SKIP("no pgvector in this server");
    }
    REQUIRE_OK(s->ops->script(s, "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public", &err), err);
    s->ops->close(s);
    s = open_sql("values_test");
    float sent[64];
    uint64_t seed = 1;
    for (int i = 0; i < 64; i++)
        sent[i] = (float)((int)(test_random_float(&seed) * 1024)) / 1024.0f; /* halves can say it */
    ufi_value v = {.type = UFI_VALUE_VECTOR, .data = sent, .size = 64};
    REQUIRE_OK(s->ops->script(s, "CREATE TABLE h (h halfvec(64), v vector(64))", &err), err);
    REQUIRE_OK(run(s, "INSERT INTO h VALUES (?1, ?2)", (ufi_value[]){v, v}, 2, &err), err);
    CHECK(integer_of(s, "SELECT count(*) FROM h WHERE h <-> v::halfvec = 0") == 1);
    int64_t same = 0;
    CHECK_OK(s->ops->run(s, "SELECT count(*) FROM h WHERE h = ?1 AND v = ?2", (ufi_value[]){v, v},
                         2, take_integer, &same, NULL, &err),
             err);
    CHECK(same == 1);
    CHECK(strstr(s->ops->warning(s), "fsync") != NULL);
    s->ops->close(s);
}

static uf_status stop_at_ten(void *user, const ufi_value *c, size_t count, uf_error *err)
{
    (void)c, (void)count;
    if (++*(int *)user < 10)
        return UF_OK;
    snprintf(err->message, sizeof err->message, "enough");
    return UF_E_CANCELLED;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(rows_stream_and_stop)
{
    ufi_sql *s = open_sql("values_test");
    for (int transaction = 0; transaction < 2; transaction++) {
        uf_error err = {0};
        int rows = 0;
        if (transaction)
            REQUIRE_OK(s->ops->begin(s, &err), err);
        double start = seconds();
        /* Outside a transaction these are too many to wait for. */
        const char *sql = transaction ? "SELECT n FROM generate_series(1, 1000) n"
                                      : "SELECT a.n FROM generate_series(1, 100000) a(n),"
                                        " generate_series(1, 100000) b(n)";
        CHECK(s->ops->run(s, sql, NULL, 0, stop_at_ten, &rows, NULL, &err) == UF_E_CANCELLED);
        CHECK(rows == 10 && strcmp(err.message, "enough") == 0);
        CHECK(seconds() - start < 20);
        CHECK(integer_of(s, "SELECT 5") == 5);
        if (transaction)
            s->ops->rollback(s);
    }
    s->ops->close(s);
}

TEST(transactions_are_whole)
{
    ufi_sql *a = open_numbers("whole"), *b = open_numbers("whole");
    uf_error err = {0};
    REQUIRE_OK(a->ops->begin(a, &err), err);
    CHECK_OK(insert(a, 1, &err), err);
    CHECK(integer_of(b, "SELECT count(*) FROM numbers") == 0);
    a->ops->rollback(a);
    CHECK(integer_of(a, "SELECT count(*) FROM numbers") == 0);
    REQUIRE_OK(a->ops->begin(a, &err), err);
    CHECK_OK(insert(a, 1, &err), err);
    CHECK_OK(a->ops->commit(a, &err), err);
    CHECK(integer_of(b, "SELECT count(*) FROM numbers") == 1);
    CHECK(insert(b, 1, &err) == UF_E_MISMATCH);
    CHECK_MSG(strstr(err.message, "23505"), "%s", err.message);
    REQUIRE_OK(b->ops->begin(b, &err), err);
    CHECK(insert(b, 1, &err) == UF_E_MISMATCH);
    CHECK(b->ops->commit(b, &err) != UF_OK); /* what failed cannot be committed */
    CHECK_OK(insert(b, 2, &err), err);
    a->ops->close(a);
    b->ops->close(b);
}

TEST(version_tells_changes_of_others)
{
    ufi_sql *a = open_numbers("version"), *b = open_numbers("version");
    uf_error err = {0};
    int64_t before, after;
    REQUIRE_OK(a->ops->version(a, &before, &err), err);
    REQUIRE_OK(a->ops->begin(a, &err), err);
    CHECK_OK(insert(a, 1, &err), err);
    REQUIRE_OK(a->ops->commit(a, &err), err);
    REQUIRE_OK(a->ops->version(a, &after, &err), err);
    CHECK(before == after);
    REQUIRE_OK(b->ops->begin(b, &err), err);
    CHECK_OK(insert(b, 2, &err), err);
    REQUIRE_OK(a->ops->version(a, &after, &err), err);
    CHECK(before == after); /* not yet */
    REQUIRE_OK(b->ops->commit(b, &err), err);
    REQUIRE_OK(a->ops->version(a, &after, &err), err);
    CHECK(before != after);
    a->ops->close(a);
    b->ops->close(b);
}

static void *add_hundred(void *arg)
{
    ufi_sql *s = arg;
    uf_error err = {0};
    for (int i = 0; i < 100; i++) {
        int64_t n = 0;
        uf_status st = s->ops->begin(s, &err);
        if (!st)
            st = s->ops->run(s, "SELECT coalesce(max(n), 0) FROM numbers", NULL, 0, take_integer,
                             &n, NULL, &err);
        if (!st)
            st = insert(s, n + 1, &err);
        if (!st)
            st = s->ops->commit(s, &err);
        if (st) {
            printf("%s\n", err.message);
            s->ops->rollback(s);
            return arg;
        }
    }
    return NULL;
}

TEST(writers_come_one_after_the_other)
{
    ufi_sql *s[3] = {open_numbers("writers"), open_numbers("writers"), open_numbers("writers")};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, add_hundred, s[i]) == 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    CHECK(integer_of(s[0], "SELECT count(*) FROM numbers") == 300);
    CHECK(integer_of(s[0], "SELECT max(n) FROM numbers") == 300);
    for (int i = 0; i < 3; i++)
        s[i]->ops->close(s[i]);
}

TEST(a_writer_that_dies_leaves_nothing)
{
    ufi_sql *s = open_numbers("dies");
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ufi_sql *mine = open_sql("dies");
        uf_error err = {0};
        if (mine->ops->begin(mine, &err) || insert(mine, 1, &err))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    uf_error err = {0};
    REQUIRE_OK(s->ops->begin(s, &err), err); /* the dead writer's lock is free */
    CHECK_OK(insert(s, 2, &err), err);
    REQUIRE_OK(s->ops->commit(s, &err), err);
    CHECK(integer_of(s, "SELECT sum(n) FROM numbers") == 2);
    s->ops->close(s);
}

static void restart(void)
{
    const char *command = getenv("UNIFACE_TEST_RESTART");
    CHECK(command && system(command) == 0);
}

TEST(connections_survive_a_restart)
{
    ufi_sql *s = open_numbers("restart");
    uf_error err = {0};
    CHECK_OK(insert(s, 1, &err), err);
    restart();
    CHECK(integer_of(s, "SELECT count(*) FROM numbers") == 1);
    restart();
    REQUIRE_OK(s->ops->begin(s, &err), err);
    CHECK_OK(insert(s, 2, &err), err);
    restart();
    CHECK(s->ops->commit(s, &err) == UF_E_IO);
    s->ops->rollback(s);
    CHECK(integer_of(s, "SELECT count(*) FROM numbers") == 1);
    restart();
    memset(&err, 0, sizeof err);
    CHECK(insert(s, 3, &err) == UF_E_IO); /* whether it was made cannot be known */
    CHECK_MSG(strstr(err.message, "not known"), "%s", err.message);
    CHECK_OK(insert(s, 4, &err), err);
    s->ops->close(s);
}

/* Ends the session that waits for a standby that is not there: the change is made, the answer is
 * never given. */
static void *end_waiting_session(void *arg)
{
    ufi_sql *s = arg;
    for (int i = 0; i < 200; i++) {
        if (integer_of(s, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                          " WHERE wait_event = 'SyncRep'") > 0)
            return NULL;
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    return arg;
}

TEST(a_commit_without_an_answer_is_looked_up)
{
    ufi_sql *s = open_numbers("lookup"), *other = open_sql("lookup");
    uf_error err = {0};
    REQUIRE_OK(run(other, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", NULL, 0, &err),
               err);
    CHECK(integer_of(other, "SELECT pg_reload_conf()") == 1);
    nanosleep(&(struct timespec){0, 500000000}, NULL);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    CHECK_OK(insert(s, 1, &err), err);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, end_waiting_session, other) == 0);
    CHECK_OK(s->ops->commit(s, &err), err);
    void *failed;
    pthread_join(thread, &failed);
    CHECK(failed == NULL);
    CHECK(integer_of(s, "SELECT count(*) FROM numbers") == 1);
    REQUIRE_OK(run(other, "ALTER SYSTEM RESET synchronous_standby_names", NULL, 0, &err), err);
    CHECK(integer_of(other, "SELECT pg_reload_conf()") == 1);
    s->ops->close(s);
    other->ops->close(other);
}

TEST(other_tables_than_at_preparation)
{
    ufi_sql *a = open_numbers("tables"), *b = open_sql("tables");
    uf_error err = {0};
    CHECK(integer_of(a, "SELECT count(*) FROM (SELECT * FROM numbers) x") == 0);
    int64_t n = 0;
    static const char all[] = "SELECT * FROM numbers";
    CHECK_OK(insert(a, 9, &err), err);
    CHECK_OK(a->ops->run(a, all, NULL, 0, take_integer, &n, NULL, &err), err);
    CHECK_OK(b->ops->script(b, "ALTER TABLE numbers ADD COLUMN more text", &err), err);
    n = 0;
    CHECK_OK(a->ops->run(a, all, NULL, 0, take_integer, &n, NULL, &err), err);
    CHECK(n == 9);
    a->ops->close(a);
    b->ops->close(b);
}

TEST(readers_cannot_write)
{
    ufi_sql *made = open_numbers("readers"), *s;
    uf_error err = {0};
    REQUIRE_OK(ufi_postgres_open(&s, schema_address("readers"), true, &err), err);
    CHECK(integer_of(s, "SELECT count(*) FROM numbers") == 0);
    CHECK(insert(s, 1, &err) == UF_E_STATE);
    CHECK(s->ops->begin(s, &err) == UF_E_STATE);
    s->ops->close(s);
    made->ops->close(made);
}

TEST(upkeep)
{
    ufi_sql *s = open_numbers("upkeep");
    uf_error err = {0};
    CHECK_OK(run(s, "INSERT INTO numbers SELECT generate_series(1, 1000)", NULL, 0, &err), err);
    CHECK_OK(run(s, "DELETE FROM numbers WHERE n > 10", NULL, 0, &err), err);
    CHECK_OK(s->ops->scrub(s, false, &err), err);
    CHECK_OK(s->ops->scrub(s, true, &err), err);
    CHECK(integer_of(s, "SELECT pg_relation_size('numbers')") == 8192);
    CHECK_OK(s->ops->check(s, &err), err);
    CHECK_OK(s->ops->script(s, "CREATE EXTENSION amcheck SCHEMA public", &err), err);
    CHECK_OK(s->ops->check(s, &err), err);
    /* An index that does not know a row. */
    CHECK_OK(s->ops->script(s,
                            "UPDATE pg_index SET indisready = false"
                            " WHERE indexrelid = 'numbers_pkey'::regclass;"
                            "INSERT INTO numbers VALUES (5000);"
                            "UPDATE pg_index SET indisready = true"
                            " WHERE indexrelid = 'numbers_pkey'::regclass",
                            &err),
             err);
    CHECK(s->ops->check(s, &err) == UF_E_FORMAT);
    CHECK_MSG(strstr(err.message, "numbers"), "%s", err.message);
    CHECK_OK(s->ops->script(s, "DROP EXTENSION amcheck", &err), err);
    s->ops->close(s);
}

TEST_MAIN
