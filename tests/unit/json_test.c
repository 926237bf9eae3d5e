/* JSON of metadata: what is an object, and what it holds. */
#include "gallery/json.h"

#include "test.h"

TEST(objects_and_what_is_none)
{
    static const char *const good[] = {"{}",
                                       " { } ",
                                       "{\"a\":1}",
                                       "{\"a\":[1,2,{\"b\":null}],\"c\":-0.5e+3}",
                                       "{\"\\u00e9\\ud83d\\ude00\":\"\\\"\\n\"}",
                                       "{\"a\":{\"a\":{}}}"};
    static const char *const bad[] = {"",
                                      "[]",
                                      "1",
                                      "{",
                                      "}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{\"a\":01}",
                                      "{\"a\":1.}",
                                      "{\"a\":.5}",
                                      "{\"a\":+1}",
                                      "{\"a\":1e}",
                                      "{\"a\":tru}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":\"\\u12g4\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":\"\\udc00\"}",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":1}x",
                                      "{\"a\":1}{}",
                                      "{\"a\":\"",
                                      "{\"a\":\"\\"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK_MSG(ufi_json_is_object(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_MSG(!ufi_json_is_object(bad[i]), "%s", bad[i]);
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    memset(deep + 105, ']', 60);
    CHECK(!ufi_json_is_object(deep));
}

static bool has(const char *object, const char *key, const char *value)
{
    return ufi_json_has(object, key, strlen(key), value);
}

TEST(values_at_the_top)
{
    const char *o = "{\"town\": \"Br\\u00fcnn\", \"floor\":30.0,\"vip\" : true, \"n\":null,"
                    " \"deep\":{\"x\":1}, \"list\":[2], \"a\\\"b\":\"=\", \"e\":\"\"}";
    CHECK(has(o, "town", "Br\xc3\xbcnn") && !has(o, "town", "Br") && !has(o, "town", "Brno"));
    CHECK(has(o, "floor", "30") && has(o, "floor", "3e1") && !has(o, "floor", "31"));
    CHECK(has(o, "vip", "true") && !has(o, "vip", "false") && !has(o, "vip", "\"true\""));
    CHECK(!has(o, "n", "null") && !has(o, "x", "1") && !has(o, "list", "2"));
    CHECK(has(o, "a\"b", "=") && has(o, "e", "") && !has(o, "none", ""));
    CHECK(!has("[1]", "a", "1") && !has("{\"a\":1", "a", "1"));
}

TEST_MAIN
