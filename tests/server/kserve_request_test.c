/* Requests for inference: every type as JSON and as bytes. What is wrong with them: kserve_test.py.
 */
#include "server/kserve_request.h"

#include <sys/resource.h>

#include "server/json_parse.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static char why[200];
static int status;

static bool read_text(ks_request *r, const char *json, const char *bytes, size_t size)
{
    static uint8_t body[2000];
    const size_t n = strlen(json);
    memcpy(body, json, n);
    memcpy(body + n, bytes, size);
    return ks_request_read(r, body, n + size, n, why, &status);
}

/* One input of this type whose data as JSON is these bytes. */
static bool reads_as(const char *type, const char *data, const void *bytes, size_t size)
{
    char json[400];
    ks_request r;
    snprintf(json, sizeof json,
             "{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"%s\",\"data\":%s}]}", type,
             data);
    if (!read_text(&r, json, "", 0))
        return false;
    const bool same = r.inputs[0].bytes == size && !memcmp(r.inputs[0].data, bytes, size) &&
                      !strcmp(ks_type_name(r.inputs[0].info.dtype), type);
    ks_request_free(&r);
    return same;
}

TEST(every_type_as_json)
{
    CHECK(reads_as("FP32", "[1.5,-2]", (const float[]){1.5f, -2}, 8));
    CHECK(reads_as("FP64", "[1e300,-2]", (const double[]){1e300, -2}, 16));
    CHECK(reads_as("INT8", "[-128,127]", (const int8_t[]){-128, 127}, 2));
    CHECK(reads_as("UINT8", "[0,255]", (const uint8_t[]){0, 255}, 2));
    CHECK(reads_as("INT16", "[-32768,1]", (const int16_t[]){-32768, 1}, 4));
    CHECK(reads_as("UINT16", "[65535,1]", (const uint16_t[]){65535, 1}, 4));
    CHECK(reads_as("INT32", "[-2147483648,1]", (const int32_t[]){INT32_MIN, 1}, 8));
    CHECK(reads_as("UINT32", "[4294967295,1]", (const uint32_t[]){UINT32_MAX, 1}, 8));
    CHECK(reads_as("INT64", "[-9223372036854775808,1]", (const int64_t[]){INT64_MIN, 1}, 16));
    CHECK(reads_as("UINT64", "[9223372036854775807,1]", (const uint64_t[]){INT64_MAX, 1}, 16));
    CHECK(reads_as("BOOL", "[true,false]", (const uint8_t[]){1, 0}, 2));
}

TEST(what_a_type_does_not_hold)
{
    static const char *const rows[][2] = {
        {"FP32", "[1e39,0]"},        {"FP32", "[true,0]"},   {"INT8", "[128,0]"},
        {"INT8", "[-129,0]"},        {"INT8", "[1.0,0]"},    {"UINT8", "[-1,0]"},
        {"UINT16", "[65536,0]"},     {"INT16", "[32768,0]"}, {"UINT32", "[4294967296,0]"},
        {"INT32", "[2147483648,0]"}, {"UINT64", "[-1,0]"},   {"BOOL", "[1,0]"},
        {"FP16", "[1,0]"},           {"BF16", "[1,0]"},      {"BYTES", "[\"a\",\"b\"]"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_MSG(!reads_as(rows[i][0], rows[i][1], "", 0) && *why, "%s %s", rows[i][0],
                  rows[i][1]);
}

TEST(tensors_behind_the_json_follow_each_other)
{
    ks_request r;
    REQUIRE(read_text(&r,
                      "{\"inputs\":["
                      "{\"name\":\"a\",\"shape\":[1,3],\"datatype\":\"UINT8\","
                      "\"parameters\":{\"binary_data_size\":3}},"
                      "{\"name\":\"b\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[9]},"
                      "{\"name\":\"c\",\"shape\":[2],\"datatype\":\"FP16\","
                      "\"parameters\":{\"binary_data_size\":4}}],"
                      "\"outputs\":[{\"name\":\"y\"},"
                      "{\"name\":\"z\",\"parameters\":{\"binary_data\":false}}],"
                      "\"parameters\":{\"binary_data_output\":true}}",
                      "abcdefg", 7));
    CHECK(r.input_count == 3 && r.inputs[0].bytes == 3 && !memcmp(r.inputs[0].data, "abc", 3));
    CHECK(r.inputs[1].bytes == 1 && *(const int8_t *)r.inputs[1].data == 9);
    CHECK(r.inputs[2].bytes == 4 && !memcmp(r.inputs[2].data, "defg", 4));
    CHECK(r.inputs[0].info.rank == 2 && r.inputs[0].info.dims[1] == 3);
    CHECK(r.output_count == 2 && r.outputs[0].binary && !r.outputs[1].binary && !r.id);
    ks_request_free(&r);
}

TEST(json_longer_than_the_body)
{
    ks_request r;
    CHECK(!ks_request_read(&r, (const uint8_t *)"{}", 2, 3, why, &status));
    CHECK(status == 400 && strstr(why, "shorter"));
}

/* Not wrong text: the same request may pass later. */
TEST(json_without_memory)
{
    ks_request r;
    struct rlimit limit;
    if (IS_SANITIZED)
        SKIP("sanitizers end a process that has no memory");
    const size_t size = 16u << 20;
    char *text = malloc(size);
    REQUIRE(text && getrlimit(RLIMIT_AS, &limit) == 0);
    memset(text, 'a', size);
    memcpy(text, "{\"id\":\"", 7);
    memcpy(text + size - 2, "\"}", 2);
    srv_json_watch_memory();
    const struct rlimit none = {1 << 20, limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
    const bool read = ks_request_read(&r, (const uint8_t *)text, size, size, why, &status);
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK_MSG(!read && status == 503 && strstr(why, "memory"), "%d: %s", status, why);
    free(text);
}

TEST_MAIN
