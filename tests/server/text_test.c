/* Text that grows, and the JSON in it. */
#include "server/text.h"

#include "test.h"

TEST(text_grows)
{
    srv_text t = {0};
    for (int i = 0; i < 5000; i++)
        srv_text_printf(&t, "%d,", i % 10);
    CHECK(t.size == 10000 && strlen(t.data) == 10000 && !t.failed);
    srv_text_add(&t, NULL, 0);
    CHECK(t.size == 10000);
    srv_text_free(&t);
    CHECK(!t.data && !t.size && !t.room);
    srv_text_free(&t);
}

TEST(what_cannot_be_had_fails_and_stays_failed)
{
    srv_text t = {0};
    srv_text_puts(&t, "a");
    srv_text_add(&t, NULL, SIZE_MAX / 2);
    CHECK(t.failed);
    srv_text_puts(&t, "b");
    CHECK(t.size == 1 && !strcmp(t.data, "a"));
    srv_text_free(&t);
}

TEST(json_has_its_commas)
{
    srv_text t = {0};
    srv_json_open(&t, '{');
    srv_json_key(&t, "a");
    srv_json_open(&t, '[');
    srv_json_integer(&t, -9223372036854775807);
    srv_json_open(&t, '[');
    srv_json_close(&t, ']');
    srv_json_open(&t, '{');
    srv_json_close(&t, '}');
    srv_json_bool(&t, true);
    srv_json_null(&t);
    srv_json_close(&t, ']');
    srv_json_key(&t, "b");
    srv_json_string(&t, NULL);
    srv_json_key(&t, "c");
    srv_json_floats(&t, NULL, 0);
    srv_json_close(&t, '}');
    CHECK_MSG(!strcmp(t.data, "{\"a\":[-9223372036854775807,[],{},true,null],\"b\":null,\"c\":[]}"),
              "%s", t.data);
    srv_text_free(&t);
}

TEST(strings_are_escaped)
{
    static const struct {
        const char *text, *json;
    } cases[] = {{"", "\"\""},
                 {"a\"b\\c", "\"a\\\"b\\\\c\""},
                 {"\n\r\t\b\f\x01\x7f", "\"\\n\\r\\t\\b\\f\\u0001\\u007f\""},
                 {"Br\xc3\xbcnn \xf0\x9f\x98\x80", "\"Br\xc3\xbcnn \xf0\x9f\x98\x80\""},
                 {"\xff"
                  "a\xc3",
                  "\"\xef\xbf\xbd"
                  "a\xef\xbf\xbd\""},
                 {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
                 {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        srv_text t = {0};
        srv_json_string(&t, cases[i].text);
        CHECK_MSG(!strcmp(t.data, cases[i].json), "%s", t.data);
        srv_text_free(&t);
    }
    srv_text t = {0};
    srv_json_bytes(&t, "a\0b\xc3\xbc", 4); /* the last character is cut in its middle */
    CHECK_MSG(!strcmp(t.data, "\"a\\u0000b\xef\xbf\xbd\""), "%s", t.data);
    srv_text_free(&t);
}

TEST(numbers_read_back)
{
    static const double numbers[] = {0.1,  -0.0, 1e300,   5e-324, 1.0 / 3,     123456789012345678.0,
                                     0.25, 1e21, -1234.5, 99.9,   (double)0.1f};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        srv_text t = {0};
        srv_json_number(&t, numbers[i]);
        const double back = strtod(t.data, NULL);
        CHECK_MSG(!memcmp(&back, &numbers[i], sizeof back), "%s", t.data);
        srv_text_free(&t);
    }
    srv_text t = {0};
    srv_json_open(&t, '[');
    srv_json_number(&t, 0.1);
    srv_json_number(&t, (double)NAN);
    srv_json_number(&t, -(double)INFINITY);
    srv_json_number(&t, 3);
    srv_json_close(&t, ']');
    CHECK_MSG(!strcmp(t.data, "[0.1,null,null,3]"), "%s", t.data);
    srv_text_free(&t);
}

/* Writes the floats and reads them back, by both ways that readers take: as floats, and as doubles
 * that are then rounded. False at the first that differs. */
static bool round_trip(const float *v, size_t count)
{
    srv_text t = {0};
    bool same = true;
    srv_json_floats(&t, v, count);
    char *at = t.data + 1;
    for (size_t i = 0; i < count && same; i++) {
        const float direct = strtof(at, NULL), rounded = (float)strtod(at, NULL);
        same = !memcmp(&direct, &v[i], sizeof direct) && !memcmp(&rounded, &v[i], sizeof rounded);
        if (!same)
            printf("%a is written as %.30s\n", (double)v[i], at);
        strtod(at, &at);
        same = same && *at == (i + 1 == count ? ']' : ',');
        at++;
    }
    srv_text_free(&t);
    return same;
}

TEST(floats_read_back_bit_for_bit)
{
    enum { COUNT = 512, ROUNDS = 2000 };
    uint64_t state = 7;
    float v[COUNT];
    static const float edges[] = {
        0.0f,        -0.0f,       1.0f,           -1.0f,         0.5f,        0.1f,
        9.99999e-6f, 1e-5f,       1.00001e-5f,    99999999.0f,   1e8f,        100000008.0f,
        16777216.0f, 1e-45f,      3.4028235e38f,  0.9999999f,    0.99999994f, 9.999999f,
        10.0f,       12345678.0f, 1.1754944e-38f, 9.9999998e-3f, 1000.0f};
    CHECK(round_trip(edges, sizeof edges / sizeof edges[0]));
    for (int r = 0; r < ROUNDS; r++) {
        for (size_t i = 0; i < COUNT; i++) {
            uint32_t bits = (uint32_t)(test_random(&state) >> 32);
            memcpy(&v[i], &bits, sizeof bits); /* all of them */
            if (r % 2 || !isfinite(v[i]))
                v[i] = test_random_float(&state); /* those of templates */
        }
        REQUIRE(round_trip(v, COUNT));
    }
}

TEST(floats_that_are_none)
{
    const float v[] = {NAN, 1.5f, INFINITY, -2};
    srv_text t = {0};
    srv_json_floats(&t, v, 4);
    CHECK_MSG(!strcmp(t.data, "[null,1.5,null,-2]"), "%s", t.data);
    srv_text_free(&t);
}

TEST_MAIN
