/* The log: what a line holds, that lines do not mix, and that the file may be rotated. */
#include "server/log.h"

#include <pthread.h>
#include <unistd.h>

#include "test.h"

static char path[] = "/tmp/uniface-log-XXXXXX";

static void make_path(void)
{
    strcpy(path + sizeof path - 7, "XXXXXX");
    const int fd = mkstemp(path);
    if (fd >= 0)
        close(fd);
}

/* The file as text; it is truncated then. */
static char *read_log(void)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    const size_t size = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[size] = '\0';
    if (f)
        fclose(f);
    CHECK(!truncate(path, 0));
    return text;
}

static void write_line(srv_log_level level)
{
    srv_text line;
    if (!srv_log_begin(&line, level, "request"))
        return;
    srv_json_key(&line, "status");
    srv_json_integer(&line, 200);
    srv_json_key(&line, "path");
    srv_json_string(&line, "/a \"b\"\n, {c}:");
    srv_json_key(&line, "deep");
    srv_json_open(&line, '{');
    srv_json_key(&line, "a");
    srv_json_bool(&line, true);
    srv_json_key(&line, "b");
    srv_json_null(&line);
    srv_json_close(&line, '}');
    srv_log_end(&line);
}

TEST(a_line_of_json)
{
    const char *why = "";
    make_path();
    REQUIRE(srv_log_open(path, SRV_LOG_INFO, false, &why));
    write_line(SRV_LOG_DEBUG);
    write_line(SRV_LOG_WARN);
    srv_log_message(SRV_LOG_ERROR, "stop", "%d of \"%s\"", 3, "x");
    const char *text = read_log();
    int year = 0, month, day, hour, minute, second, thousandths, n = 0;
    CHECK(sscanf(text, "{\"ts\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year, &month, &day, &hour,
                 &minute, &second, &thousandths, &n) == 7 &&
          year >= 2024);
    static const char want[] = "\"level\":\"warn\",\"event\":\"request\",\"status\":200,"
                               "\"path\":\"/a \\\"b\\\"\\n, {c}:\","
                               "\"deep\":{\"a\":true,\"b\":null}}\n";
    CHECK_MSG(!strncmp(text + n, want, strlen(want)), "%s", text);
    CHECK(strstr(text, "\"level\":\"error\",\"event\":\"stop\",\"message\":\"3 of \\\"x\\\"\"}\n"));
    unlink(path);
}

TEST(a_line_for_people)
{
    const char *why = "";
    make_path();
    REQUIRE(srv_log_open(path, SRV_LOG_INFO, true, &why));
    write_line(SRV_LOG_INFO);
    const char *text = read_log();
    CHECK_MSG(strlen(text) > 24 &&
                  !strcmp(text + 23, "Z info request status=200 path=\"/a \\\"b\\\"\\n, {c}:\" "
                                     "deep={\"a\":true,\"b\":null}\n"),
              "%s", text);
    unlink(path);
}

TEST(names_of_levels_and_files_that_cannot_be)
{
    srv_log_level level;
    const char *why = "";
    CHECK(srv_log_level_parse("warn", &level) && level == SRV_LOG_WARN);
    CHECK(srv_log_level_parse("debug", &level) && level == SRV_LOG_DEBUG);
    CHECK(!srv_log_level_parse("loud", &level) && !srv_log_level_parse("", &level));
    CHECK(!srv_log_open("/nonexistent/log", SRV_LOG_INFO, false, &why) && *why);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *user)
{
    for (int i = 0; i < LINES; i++)
        write_line(SRV_LOG_INFO);
    return NULL;
}

/* Threads write while the file is opened again and again, as after a rotation. */
TEST(lines_do_not_mix)
{
    const char *why = "";
    pthread_t threads[THREADS];
    make_path();
    REQUIRE(srv_log_open(path, SRV_LOG_INFO, false, &why));
    for (int i = 0; i < THREADS; i++)
        REQUIRE(!pthread_create(&threads[i], NULL, write_lines, NULL));
    for (int i = 0; i < 100; i++)
        CHECK(srv_log_open(path, SRV_LOG_INFO, false, &why));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    for (char *p = read_log(); *p;) {
        char *end = strchr(p, '\n');
        REQUIRE(end && !strncmp(p, "{\"ts\":\"", 7) && !strncmp(end - 10, "\"b\":null}}", 10));
        lines++;
        p = end + 1;
    }
    CHECK_MSG(lines == THREADS * LINES, "%d lines", lines);
    CHECK(srv_log_open("-", SRV_LOG_INFO, false, &why));
    unlink(path);
}

TEST(a_flood_is_logged_sparingly)
{
    unsigned left_out = 7, written = 0;
    for (int i = 0; i < 100; i++)
        written += srv_log_sparingly(1000.0 + i * 0.001, &left_out);
    CHECK(written == 20 && left_out == 0);
    CHECK(srv_log_sparingly(1001.5, &left_out) && left_out == 80);
    CHECK(srv_log_sparingly(1001.6, &left_out) && left_out == 0);
}

TEST_MAIN
