/* Settings: where they come from, which win, and what is said of wrong ones. */
#include "server/config.h"

#include <unistd.h>

#include "test.h"

typedef struct flags {
    const char *const *list; /* names and values, NULL at its end */
} flags;

static const char *flag_of(void *user, const char *name)
{
    const flags *given = user;
    for (const char *const *f = given ? given->list : NULL; f && *f; f += 2)
        if (!strcmp(f[0], name))
            return f[1];
    return NULL;
}

#define FLAGS(...) (&(flags){(const char *const[]){__VA_ARGS__, NULL}})

static bool read_flags(srv_config *c, flags *given, char why[512])
{
    return srv_config_read(c, NULL, flag_of, given, why);
}

static const char *file_with(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/uniface-config-XXXXXX");
    const int f = mkstemp(path);
    if (f < 0 || write(f, text, strlen(text)) != (ssize_t)strlen(text) || close(f))
        return "/nowhere";
    return path;
}

static bool read_file(srv_config *c, const char *text, flags *given, char why[512])
{
    const char *path = file_with(text);
    const bool ok = srv_config_read(c, path, flag_of, given, why);
    unlink(path);
    return ok;
}

TEST(defaults_are_safe)
{
    srv_config c;
    char why[512];
    REQUIRE(read_flags(&c, NULL, why));
    CHECK(!strcmp(c.host, "127.0.0.1") && c.port == 8000 && c.loopback);
    CHECK(!c.auth_off && !c.tls && !c.plain && !c.keep_crops && !strcmp(c.seccomp, "on"));
    CHECK(c.batch == 16 && c.queue == 0 && c.verify_failures == 5);
    CHECK(strstr(c.gallery, "gallery.ufg") && strstr(c.releases, "releases"));
}

TEST(flags_win_over_environment_and_file)
{
    srv_config c;
    char why[512];
    const char *text = "{\"batch\": 2, \"queue\": 3, \"batch_wait_us\": 4, \"plain\": true}";
    setenv("UNIFACE_BATCH", "5", 1);
    setenv("UNIFACE_QUEUE", "6", 1);
    setenv("UNIFACE_SIZE", "", 1); /* empty is not given */
    CHECK_MSG(read_file(&c, text, FLAGS("batch", "7"), why), "%s", why);
    CHECK(c.batch == 7 && c.queue == 6 && c.batch_wait_us == 4 && c.plain && c.size == 0);
    unsetenv("UNIFACE_BATCH");
    unsetenv("UNIFACE_QUEUE");
    unsetenv("UNIFACE_SIZE");
    CHECK(read_file(&c, "{\"batch_wait_us\": 9}", NULL, why) && c.batch_wait_us == 9);
}

TEST(addresses)
{
    static const char *const good[] = {"127.0.0.1:0", "127.255.0.9:65535", "[::1]:80",
                                       "localhost:1"};
    static const char *const bad[] = {
        "",         "8000", "127.0.0.1:", "127.0.0.1:70000", "a.b:80",       "127.0.0.1:8x",
        "1.2.3:80", ":80",  "127.0.0.1",  "[::1]",           "127.0.0.1:-1", "[127.0.0.1:80"};
    srv_config c;
    char why[512];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_MSG(read_flags(&c, FLAGS("listen", good[i]), why) && c.loopback, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(!read_flags(&c, FLAGS("listen", bad[i]), why) && strstr(why, "listen"), "%s",
                  bad[i]);
}

TEST(beyond_loopback_only_with_tls_and_keys_or_in_so_many_words)
{
    srv_config c;
    char why[512];
    CHECK(!read_flags(&c, FLAGS("listen", "0.0.0.0:80"), why) && strstr(why, "TLS"));
    CHECK(!read_flags(&c, FLAGS("listen", "[::]:80"), why));
    CHECK(read_flags(&c, FLAGS("listen", "0.0.0.0:80", "tls-cert", "c", "tls-key", "k"), why) &&
          c.tls);
    CHECK(read_flags(&c, FLAGS("listen", "0.0.0.0:80", "allow-remote-without-tls", ""), why));
    CHECK(!read_flags(&c,
                      FLAGS("listen", "0.0.0.0:80", "allow-remote-without-tls", "", "auth", "off"),
                      why) &&
          strstr(why, "auth off"));
    CHECK(!read_flags(&c, FLAGS("listen", "[::ffff:127.0.0.1]:80", "auth", "off"), why));
    CHECK(read_flags(&c, FLAGS("auth", "off"), why) && c.auth_off);
    CHECK(!read_flags(&c, FLAGS("tls-cert", "c"), why) && strstr(why, "belong together"));
    CHECK(!read_flags(&c, FLAGS("tls-client-ca", "c"), why) && strstr(why, "tls-cert"));
}

TEST(wrong_values_name_the_setting_and_where_it_came_from)
{
    static const char *const bad[][2] = {
        {"batch", "0"},        {"batch", "257"},      {"batch", "x"},       {"batch", "1x"},
        {"threads", "1.5"},    {"max-body", "1e6.5"}, {"queue", "2.5"},     {"batch", ""},
        {"batch", "nan"},      {"queue", "1e99"},     {"max-pixels", "-1"}, {"auth", "maybe"},
        {"log-level", "loud"}, {"log-format", "xml"}, {"plain", "perhaps"}, {"seccomp", "some"},
        {"rate", "-0.5"},      {"body-timeout", "0"}};
    srv_config c;
    char why[512], much[2000];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(!read_flags(&c, FLAGS(bad[i][0], bad[i][1]), why) && strstr(why, bad[i][0]),
                  "%s=%s: %s", bad[i][0], bad[i][1], why);
    memset(much, 'a', sizeof much);
    much[sizeof much - 1] = '\0';
    CHECK(!read_flags(&c, FLAGS("data", much), why) && strstr(why, "longer"));
    setenv("UNIFACE_BATCH", "many", 1);
    CHECK(!read_flags(&c, NULL, why) && strstr(why, "UNIFACE_BATCH"));
    unsetenv("UNIFACE_BATCH");
}

TEST(files_that_are_wrong)
{
    static const char *const bad[][2] = {{"", "line 1"},
                                         {"[]", "object"},
                                         {"{\"batch\": 1,}", "line 1"},
                                         {"{\"batc\": 1}", "batc"},
                                         {"{\"batch\": \"1\"}", "number"},
                                         {"{\"batch\": 1.5}", "whole number"},
                                         {"{\"plain\": 1}", "true"},
                                         {"{\"data\": 1}", "text"},
                                         {"{\"batch\": 1, \"batch\": 2}", "uplicate"},
                                         {"{\"batch\": 1e400}", "line"},
                                         {"{\"data\": null}", "text"}};
    srv_config c;
    char why[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(!read_file(&c, bad[i][0], NULL, why) && strstr(why, bad[i][1]), "%s: %s",
                  bad[i][0], why);
    CHECK(!srv_config_read(&c, "/nowhere/c.json", flag_of, NULL, why) &&
          strstr(why, "/nowhere/c.json"));
    CHECK(!srv_config_read(&c, "/tmp", flag_of, NULL, why) && strstr(why, "/tmp"));
}

TEST_MAIN
