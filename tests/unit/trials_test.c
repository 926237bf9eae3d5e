/* Lists of trials in each published form, and what is refused. */
#include "evaluate/trials.h"

#include "test.h"

static uf_trials *parse(const char *text, const char *templates, uf_error *err)
{
    uf_trials *t;
    return ufi_trials_parse(&t, (const uint8_t *)text, strlen(text), templates,
                            templates ? strlen(templates) : 0, err)
               ? NULL
               : t;
}

TEST(lfw_pairs)
{
    uf_error err;
    size_t n, pictures;
    uf_trials *t =
        parse("2\t1\nAnn\t1\t3\nAnn\t1\tBob\t2\nCy\t1\t2\nCy\t2\tBob\t2\r\n", NULL, &err);
    REQUIRE(t);
    const uf_trial *list = uf_trials_list(t, &n);
    const uf_trial_picture *p = uf_trials_pictures(t, &pictures);
    REQUIRE(n == 4 && pictures == 5);
    CHECK(!strcmp(p[0].name, "Ann/Ann_0001.jpg") && !strcmp(p[2].name, "Bob/Bob_0002.jpg"));
    CHECK(list[0].same && !list[1].same && list[1].fold == 0 && list[2].fold == 1);
    CHECK(uf_trials_fold_count(t) == 2 && !strcmp(uf_trials_format(t), "LFW pairs"));
    CHECK(uf_trials_subject(t, list[0].a) == uf_trials_subject(t, list[0].b));
    CHECK(uf_trials_subject(t, list[1].a) != uf_trials_subject(t, list[1].b));
    uf_trials_destroy(t);
}

TEST(plain_pairs)
{
    uf_error err;
    size_t n;
    uf_trials *t = parse("# remark\na b.jpg\tc.jpg\t1\n\nc.jpg\td.jpg\t0\t3\n", NULL, &err);
    REQUIRE(t);
    CHECK(uf_trials_list(t, &n)[1].fold == 3 && n == 2 && uf_trials_fold_count(t) == 4);
    CHECK(!strcmp(uf_trials_pictures(t, &n)[0].name, "a b.jpg") && n == 3);
    uf_trials_destroy(t);
    t = parse("a,b,1", NULL, &err);
    CHECK(t && uf_trials_list(t, &n)->same == 1 && n == 1);
    uf_trials_destroy(t);
}

TEST(pairs_in_two_lines)
{
    uf_error err;
    size_t n;
    uf_trials *t = parse("x_1.jpg 1\nx_2.jpg 1\nx_1.jpg 0\ny_1.jpg 0\n", NULL, &err);
    REQUIRE(t);
    const uf_trial *list = uf_trials_list(t, &n);
    CHECK(n == 2 && list[0].same && !list[1].same && list[1].a == list[0].a);
    uf_trials_destroy(t);
}

TEST(templates_of_many_pictures)
{
    static const char pictures[] = "1.jpg 10 7\n2.jpg 10 7\n3.jpg 10 8\n4.jpg 11 1\n5.jpg 12 1\n";
    uf_error err;
    size_t n;
    uf_trials *t = parse("10,11,1\n11,12,0\n", pictures, &err);
    REQUIRE(t);
    const uf_trial_picture *p = uf_trials_pictures(t, &n);
    CHECK(n == 5 && uf_trials_template_count(t) == 3);
    CHECK(p[1].template_id == p[2].template_id && p[1].media == p[0].media && p[2].media == 8);
    CHECK(uf_trials_list(t, &n)[0].same && n == 2);
    uf_trials_destroy(t);
    CHECK(!parse("10 13 1\n", pictures, &err) && strstr(err.message, "13 has no pictures"));
}

TEST(bad_lines_are_named)
{
    static const struct {
        const char *text, *part;
    } cases[] = {{"", "empty"},
                 {"#\n", "empty"},
                 {"a b 2\n", "line 1"},
                 {"a b 1\na b\n", "line 2"},
                 {"a b 1 2 3\n", "line 1"},
                 {"1 2 3 4 5 6\n", "more than 5"},
                 {"10 0\n", "line 1"},
                 {"10 300\nAnn x 2\n", "line 2"},
                 {"10 300\n", "no pairs"},
                 {"x 1\n", "one picture only"},
                 {"x 1\ny 2\n", "line 2"},
                 {"a b -1\n", "line 1"},
                 {"a b 99999999999999999999\n", "line 1"}};
    uf_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uf_trials *t = parse(cases[i].text, NULL, &err);
        CHECK_MSG(!t && err.status == UF_E_FORMAT && strstr(err.message, cases[i].part), "case %zu",
                  i);
        uf_trials_destroy(t);
    }
}

/* pickle.dumps(([b"one", b"two", b"3", b"two"], [True, False]), protocol): by CPython 3.11. */
static const uint8_t packed_2[] = "\x80\x02]q\x00(U\x03oneU\x03twoq\x01U\x01"
                                  "3h\x01"
                                  "e]q\x02(\x88\x89"
                                  "e\x86q\x03.";
static const uint8_t packed_4[] = "\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00]\x94(C\x03one\x94"
                                  "C\x03two\x94"
                                  "C\x01"
                                  "3\x94h\x02"
                                  "e]\x94(\x88\x89"
                                  "e\x86\x94.";

TEST(packed_pictures)
{
    static const struct {
        const uint8_t *data;
        size_t size;
    } lists[] = {{packed_2, sizeof packed_2 - 1}, {packed_4, sizeof packed_4 - 1}};
    for (int k = 0; k < 2; k++) {
        uf_error err;
        uf_trials *t;
        size_t n, pictures;
        REQUIRE_OK(ufi_trials_parse(&t, lists[k].data, lists[k].size, NULL, 0, &err), err);
        const uf_trial *list = uf_trials_list(t, &n);
        const uf_trial_picture *p = uf_trials_pictures(t, &pictures);
        REQUIRE(n == 2 && pictures == 4);
        CHECK(list[0].same && !list[1].same);
        CHECK(p[0].size_bytes == 3 && !memcmp(p[0].bytes, "one", 3) && p[3].bytes == p[1].bytes);
        uf_trials_destroy(t);
        for (size_t size = 1; size < lists[k].size; size++)
            CHECK(ufi_trials_parse(&t, lists[k].data, size, NULL, 0, &err) == UF_E_FORMAT && !t);
    }
}

TEST(a_pickle_that_calls_is_refused)
{
    static const uint8_t evil[] = "\x80\x02"
                                  "cos\nsystem\nU\x02id\x85R.";
    uf_error err;
    uf_trials *t;
    CHECK(ufi_trials_parse(&t, evil, sizeof evil - 1, NULL, 0, &err) == UF_E_FORMAT);
    CHECK_MSG(strstr(err.message, "0x63") && strstr(err.message, "offset 2"), "%s", err.message);
}

TEST_MAIN
