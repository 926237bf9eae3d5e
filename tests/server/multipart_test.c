/* Forms: what they hold, what is refused, and that it does not matter how they are split. */
#include "server/multipart.h"

#include "form.h"
#include "test.h"

#define TYPE "multipart/form-data; boundary=AaB03x"
#define FIELD(head) "--AaB03x\r\nContent-Disposition: " head "\r\n\r\nv\r\n--AaB03x--\r\n"

/* The form as text, in one piece; the caller frees it. */
static srv_multipart_status read_form(const char *type, const char *body, srv_text *out,
                                      const char **error)
{
    return form_read(type, body, strlen(body), 0, 0, out, error);
}

static void check_form(const char *type, const char *body, const char *want, int line)
{
    const char *error = "";
    srv_text got = {0};
    const srv_multipart_status status = read_form(type, body, &got, &error);
    srv_text_puts(&got, "");
    CHECK_MSG(status == SRV_MULTIPART_OK && got.data && !strcmp(got.data, want),
              "line %d: status %d (%s), %s", line, (int)status, error, got.data);
    srv_text_free(&got);
}

#define CHECK_FORM(type, body, want) check_form(type, body, want, __LINE__)

TEST(forms)
{
    CHECK_FORM(TYPE, FIELD("form-data; name=\"a\""), "<a|-|-|v>");
    CHECK_FORM(TYPE, FIELD("Form-Data; Name=a; FileName=b.jpg"), "<a|b.jpg|-|v>");
    CHECK_FORM(TYPE, FIELD("form-data;name=\"\";filename=\"\""), "<||-|v>");
    CHECK_FORM(TYPE,
               FIELD("form-data; name=\"f\"; filename=\"a b.png\"\r\nContent-Type: image/png "),
               "<f|a b.png|image/png|v>");
    CHECK_FORM(TYPE, "--AaB03x--", "");
    CHECK_FORM(TYPE,
               "preamble\r\n--AaB03x  \t\r\ncontent-disposition:form-data; name=a\r\n\r\n\r\n"
               "--AaB03x--epilogue\r\n--AaB03x\r\n",
               "<a|-|-|>");
    CHECK_FORM(TYPE,
               "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--AaB03x\r\n"
               "Content-Disposition: form-data; name=b\r\n\r\n2\r\n--AaB03x--\r\n",
               "<a|-|-|1><b|-|-|2>");
}

TEST(file_names)
{
    CHECK_FORM(TYPE, FIELD("form-data; name=f; filename=\"C:\\temp\\a.jpg\""), "<f|a.jpg|-|v>");
    CHECK_FORM(TYPE, FIELD("form-data; name=f; filename=\"../../etc/passwd\""), "<f|passwd|-|v>");
    CHECK_FORM(TYPE, FIELD("form-data; name=f; filename=\"a\\\"b;c=d.jpg\""),
               "<f|a\"b;c=d.jpg|-|v>");
    CHECK_FORM(TYPE, FIELD("form-data; name=f; filename=\"Br\xc3\xbcnn.jpg\""),
               "<f|Br\xc3\xbcnn.jpg|-|v>");
    CHECK_FORM(TYPE, FIELD("form-data; name=f; filename*=utf-8''x.jpg"), "<f|-|-|v>");
}

TEST(what_looks_like_a_boundary_is_data)
{
    static const char *const data[] = {"--AaB03x",     "a--AaB03x--", "\n--AaB03x",  "\r--AaB03x",
                                       "\r\n--AaB03",  "\r\n-AaB03x", "\r\r\n",      "\r\n\r\n",
                                       "\r\n--\r\n--", "\r",          "\r\n--AaB03X"};
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++) {
        char body[200], want[100];
        snprintf(body, sizeof body,
                 "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\n%s\r\n--AaB03x--",
                 data[i]);
        snprintf(want, sizeof want, "<a|-|-|%s>", data[i]);
        CHECK_FORM(TYPE, body, want);
    }
}

TEST(boundaries)
{
    char type[200], seventy[71];
    memset(seventy, 'b', 70);
    seventy[70] = '\0';
    snprintf(type, sizeof type, "Multipart/Form-Data; charset=utf-8; boundary=\"%s\"", seventy);
    CHECK_FORM(type, "--bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb--",
               "");
    CHECK_FORM("multipart/form-data;boundary=\"a b:c\"", "--a b:c--", "");
    static const char *const bad[] = {
        "",
        "text/plain",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data boundary=a",
        "multipart/form-datax; boundary=a",
        "multipart/form-data; boundary=a, b",
        "multipart/form-data; boundary=\"a\r\nb\"",
        "multipart/form-data; boundary=\"a\"b",
        "multipart/form-data; =a",
        "multipart/form-data; "
        "boundary=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        "bbbbbbb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = "";
        srv_text t = {0};
        srv_multipart *m = srv_multipart_create(bad[i], form_part, &t, &why);
        CHECK_MSG(!m && *why, "%s", bad[i]);
        srv_multipart_destroy(m);
    }
    char long_type[6000];
    memset(long_type, 'x', sizeof long_type - 1);
    long_type[sizeof long_type - 1] = '\0';
    const char *why = "";
    CHECK(!srv_multipart_create(long_type, form_part, NULL, &why) && *why);
}

TEST(what_is_refused)
{
    static const char *const bad[] = {
        "",
        "nothing",
        "--AaB03x",
        "--AaB03x-",
        "--AaB03x\r",
        "--AaB03x\r\n",
        "--AaB03x-x",
        "--AaB03xy\r\n",
        "--AaB03x \r\r",
        "--AaB03x\n",
        "--AaB03x\r\n\r\nv\r\n--AaB03x--",
        "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
        "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\nv\n--AaB03x--",
        "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n--AaB03xtra\r\n--AaB03x--",
        FIELD("form-data"),
        FIELD("form-data; filename=a"),
        FIELD("attachment; name=a"),
        FIELD("form-data; name=a; name=b"),
        FIELD("form-data; name=a; filename=b; filename=c"),
        FIELD("form-data; name=\"a"),
        FIELD("form-data; name=a b"),
        FIELD("form-data name=a"),
        FIELD("form-data; name"),
        FIELD("form-data; name="),
        FIELD("form-data; name =a"),
        FIELD("form-data; name=a\r\nContent-Disposition: form-data; name=a"),
        FIELD("form-data; name=a\r\nContent-Type: a/b\r\nContent-Type: a/b"),
        FIELD("form-data; name=a\r\nContent-Transfer-Encoding: base64"),
        FIELD("form-data; name=a\r\n folded: x"),
        FIELD("form-data; name=a\r\nno colon"),
        FIELD("form-data; name=a\r\nX : y"),
        FIELD("form-data; name=a\r\n: y"),
        FIELD("form-data; name=a\nX: y"),
        FIELD("form-data; name=a\rX: y")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *error = "";
        srv_text t = {0};
        CHECK_MSG(read_form(TYPE, bad[i], &t, &error) == SRV_MULTIPART_BAD && *error, "%s", bad[i]);
        srv_text_free(&t);
    }
    static const char nul[] = FIELD("form-data; name=a\0b");
    const char *error = "";
    srv_text t = {0};
    CHECK(form_read(TYPE, nul, sizeof nul - 1, 0, 0, &t, &error) == SRV_MULTIPART_BAD);
    srv_text_free(&t);
}

TEST(limits)
{
    static const char part[] = "--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
    for (int count = SRV_PARTS_MAX; count <= 10000; count = count == 10000 ? 10001 : 10000) {
        srv_text body = {0}, t = {0};
        const char *error = "";
        for (int i = 0; i < count; i++)
            srv_text_puts(&body, part);
        srv_text_puts(&body, "--AaB03x--");
        const srv_multipart_status want =
            count > SRV_PARTS_MAX ? SRV_MULTIPART_LIMIT : SRV_MULTIPART_OK;
        CHECK(read_form(TYPE, body.data, &t, &error) == want);
        srv_text_free(&body);
        srv_text_free(&t);
    }
    for (int more = 0; more < 2; more++) {
        /* the head's lines, their ends and the empty line */
        const char *lines[] = {"Content-Disposition: form-data; name=a\r\n", "X: ", "\r\n\r\n"};
        const size_t fixed = strlen(lines[0]) + strlen(lines[1]) + strlen(lines[2]);
        srv_text body = {0}, t = {0};
        const char *error = "";
        srv_text_printf(&body, "--AaB03x\r\n%s%s", lines[0], lines[1]);
        for (size_t i = fixed; i < (size_t)SRV_PART_HEAD_MAX + (size_t)more; i++)
            srv_text_puts(&body, "x");
        srv_text_printf(&body, "%sv\r\n--AaB03x--", lines[2]);
        CHECK(read_form(TYPE, body.data, &t, &error) ==
              (more ? SRV_MULTIPART_LIMIT : SRV_MULTIPART_OK));
        srv_text_free(&body);
        srv_text_free(&t);
    }
}

static bool stop_at_data(void *user, const srv_part *part, const void *data, size_t size, bool end)
{
    ++*(int *)user;
    return !data;
}

TEST(the_caller_may_stop)
{
    const char *why = "", *body = FIELD("form-data; name=a");
    int calls = 0;
    srv_multipart *m = srv_multipart_create(TYPE, stop_at_data, &calls, &why);
    REQUIRE(m);
    CHECK(srv_multipart_feed(m, body, strlen(body)) == SRV_MULTIPART_STOPPED);
    CHECK(srv_multipart_feed(m, body, strlen(body)) == SRV_MULTIPART_STOPPED);
    CHECK(srv_multipart_finish(m) == SRV_MULTIPART_STOPPED && calls == 2);
    srv_multipart_destroy(m);
}

/* Every cut in two, and every step from 1 byte on. */
TEST(any_split_gives_the_same)
{
    static const char body[] =
        "x\r\n--AaB03x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n"
        "Content-Type: "
        "image/jpeg\r\n\r\n\xff\xd8\r\n--AaB03\r\r\n--\r\n\0--AaB03x\r\n-\r\n--AaB03x \r\n"
        "Content-Disposition: form-data; name=b\r\n\r\n\r\n--AaB03x--\r\n--AaB03x\r\n";
    const size_t size = sizeof body - 1;
    const char *error = "";
    srv_text want = {0};
    REQUIRE(form_read(TYPE, body, size, 0, 0, &want, &error) == SRV_MULTIPART_OK);
    CHECK(want.size > 40);
    for (size_t cut = 0; cut <= size; cut++)
        for (size_t step = 0; step < 4; step++) {
            srv_text got = {0};
            CHECK(form_read(TYPE, body, size, cut, step, &got, &error) == SRV_MULTIPART_OK);
            CHECK_MSG(got.size == want.size && !memcmp(got.data, want.data, want.size),
                      "cut %zu, step %zu: %s", cut, step, got.data);
            srv_text_free(&got);
        }
    srv_text_free(&want);
}

TEST_MAIN
