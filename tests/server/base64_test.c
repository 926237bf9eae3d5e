/* Base64: known vectors, and every way not to be it. */
#include "server/base64.h"

#include "test.h"

static bool decodes_to(const char *text, const void *bytes, size_t size)
{
    uint8_t out[64];
    size_t n = 99;
    return srv_base64_decode(text, strlen(text), out, &n) && n == size && !memcmp(out, bytes, n);
}

TEST(vectors_of_the_rfc)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i < 7; i++) {
        char text[16];
        srv_base64_encode(plain[i], strlen(plain[i]), text);
        CHECK_MSG(!strcmp(text, coded[i]), "%s", text);
        CHECK_MSG(decodes_to(coded[i], plain[i], strlen(plain[i])), "%s", coded[i]);
    }
    CHECK(decodes_to("//79", "\xff\xfe\xfd", 3) && decodes_to("++++", "\xfb\xef\xbe", 3));
}

TEST(line_ends_are_skipped_wherever_they_stand)
{
    CHECK(decodes_to("\r\nZm\n9v\r\nYmFy\r\n", "foobar", 6));
    CHECK(decodes_to("Z\ng=\n=\n", "f", 1) && decodes_to("\n\n", "", 0));
}

TEST(what_is_no_base64)
{
    static const char *const bad[] = {
        "Z",     "Zg",   "Zg=",    "Zm8",  "Zm9vY",      "Zg===",   "Zm8==", "Zm9v=",     "=",
        "==",    "====", "Z===",   "=Zm9", "Zg==Zg==",   "Zm8=v",   "Zh==",  "Zm9=",      "Zm 9v",
        "Zm9v ", "Zm-_", "Zm9v\t", "Zm9!", "Z\xc3\xa9=", "Zg=\n=x", "Zm9v.", "data:,Zm9v"};
    uint8_t out[64];
    size_t n;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_MSG(!srv_base64_decode(bad[i], strlen(bad[i]), out, &n), "%s", bad[i]);
    CHECK(!srv_base64_decode("Zm\0v", 4, out, &n));
    for (int c = 0; c < 256; c++) { /* of all bytes, the alphabet's alone are letters */
        const char text[4] = {'Z', 'm', '9', (char)c};
        const bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                            (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
        if (c != '=')
            CHECK_MSG(srv_base64_decode(text, 4, out, &n) == letter, "byte %d", c);
    }
}

TEST(all_lengths_come_back_also_in_place)
{
    uint64_t state = 3;
    for (size_t size = 0; size < 600; size++) {
        uint8_t bytes[600];
        char text[810];
        size_t n;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)test_random(&state);
        srv_base64_encode(bytes, size, text);
        CHECK(strlen(text) == (size + 2) / 3 * 4 && srv_base64_room(strlen(text)) >= size);
        REQUIRE(srv_base64_decode(text, strlen(text), (uint8_t *)text, &n));
        CHECK(n == size && !memcmp(text, bytes, size));
    }
}

TEST(data_urls)
{
    static const struct {
        const char *text;
        size_t skip;
    } cases[] = {{"data:image/png;base64,Zm9v", 22},
                 {"DATA:;BASE64,Zm9v", 13},
                 {"data:image/jpeg;name=a.jpg;base64,", 34},
                 {"data:image/png,Zm9v", 0},
                 {"data:base64,Zm9v", 0},
                 {"data:;base64", 0},
                 {"data", 0},
                 {"Zm9v", 0},
                 {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_MSG(srv_base64_skip_url(cases[i].text, strlen(cases[i].text)) == cases[i].skip, "%s",
                  cases[i].text);
}

TEST_MAIN
