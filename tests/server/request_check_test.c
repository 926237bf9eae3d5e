/* The public lists of requests that two readers read differently, by row. */
#include "server/request_check.h"

#include "test.h"

enum { FIELDS = 8 };

typedef struct row {
    const char *name;
    int status;
    const char *method, *target, *version;
    const char *fields[FIELDS]; /* "Name:value", or "Name|value"; "none:" for no fields at all */
} row;

#define LINE(name, status, method, target, version) \
    {                                               \
        name, status, method, target, version,      \
        {                                           \
            NULL                                    \
        }                                           \
    }
#define WITH(name, status, method, ...)        \
    {                                          \
        name, status, method, "/", "HTTP/1.1", \
        {                                      \
            __VA_ARGS__                        \
        }                                      \
    }
#define OLD(name, status, version, ...)    \
    {                                      \
        name, status, "GET", "/", version, \
        {                                  \
            __VA_ARGS__                    \
        }                                  \
    }

/* Host is put in unless the row has one. */
static int answer(const row *r, const char **why)
{
    srv_field fields[FIELDS + 1];
    srv_head head = {r->method, r->target, r->version, fields, 0};
    bool host = false;
    for (int i = 0; i < FIELDS && r->fields[i]; i++) {
        const char *f = r->fields[i], *colon = strrchr(f, '|') ? strrchr(f, '|') : strchr(f, ':');
        fields[head.count++] = (srv_field){f, colon + 1, (size_t)(colon - f), strlen(colon + 1)};
        host = host || !strncmp(f, "Host", 4) || !strcmp(f, "none:");
    }
    if (head.count && !strncmp(fields[0].name, "none", 4))
        head.count = 0;
    if (!host)
        fields[head.count++] = (srv_field){"Host", "localhost:8000", 4, 14};
    return srv_request_check(&head, why);
}

static void check_rows(const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        const int status = answer(&rows[i], &why);
        CHECK_MSG(status == rows[i].status && why && !*why == !status, "%s: %d, %s", rows[i].name,
                  status, why);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof rows[0])

TEST(request_lines)
{
    static const row rows[] = {
        LINE("plain", 0, "GET", "/", "HTTP/1.1"),
        LINE("all methods", 0, "PATCH", "/", "HTTP/1.1"),
        LINE("OPTIONS *", 0, "OPTIONS", "*", "HTTP/1.1"),
        LINE("GET *", 400, "GET", "*", "HTTP/1.1"),
        LINE("lower case", 501, "get", "/", "HTTP/1.1"),
        LINE("unknown", 501, "FOOBAR", "/", "HTTP/1.1"),
        LINE("method with a bracket", 400, "GE[T", "/", "HTTP/1.1"),
        LINE("empty method", 400, "", "/", "HTTP/1.1"),
        LINE("TRACE", 405, "TRACE", "/", "HTTP/1.1"),
        LINE("CONNECT", 405, "CONNECT", "example.com:443", "HTTP/1.1"),
        LINE("HTTP/1.0", 0, "GET", "/", "HTTP/1.0"),
        LINE("HTTP/1.2", 0, "GET", "/", "HTTP/1.2"),
        LINE("HTTP/2.0", 505, "PRI", "*", "HTTP/2.0"),
        LINE("HTTP/9.9", 505, "GET", "/", "HTTP/9.9"),
        LINE("HTTP/0.9", 505, "GET", "/", "HTTP/0.9"),
        LINE("HTTP/1", 400, "GET", "/", "HTTP/1"),
        LINE("HTTP/01.01", 400, "GET", "/", "HTTP/01.01"),
        LINE("HTTP/ 1.1", 400, "GET", "/", "HTTP/ 1.1"),
        LINE("http/1.1", 400, "GET", "/", "http/1.1"),
        LINE("HTTP/1.1x", 400, "GET", "/", "HTTP/1.1x"),
        LINE("no version", 400, "GET", "/", ""),
        LINE("absolute", 0, "GET", "http://localhost:8000/v1", "HTTP/1.1"),
        LINE("other scheme", 400, "GET", "ftp://localhost/", "HTTP/1.1"),
        LINE("no slash", 400, "GET", "v1/detect", "HTTP/1.1"),
        LINE("empty target", 400, "GET", "", "HTTP/1.1"),
        LINE("query", 0, "GET", "/v1/x?a=b&c=%20|{}", "HTTP/1.1"),
        LINE("fragment", 400, "GET", "/path#frag", "HTTP/1.1"),
        LINE("space", 400, "GET", "/pa th", "HTTP/1.1"),
        LINE("backslash", 400, "GET", "/path\\file", "HTTP/1.1"),
        LINE("byte beyond ASCII", 400, "GET", "/\xc3\xa9", "HTTP/1.1"),
        LINE("control", 400, "GET", "/\x01", "HTTP/1.1"),
        LINE("%00", 400, "GET", "/path%00.html", "HTTP/1.1"),
        LINE("%0d%0a", 400, "GET", "/path%0d%0aX: y", "HTTP/1.1"),
        LINE("%7f", 400, "GET", "/%7f", "HTTP/1.1"),
        LINE("% and nothing", 400, "GET", "/%", "HTTP/1.1"),
        LINE("% and one digit", 400, "GET", "/%2", "HTTP/1.1"),
        LINE("% and no digit", 400, "GET", "/%zz", "HTTP/1.1"),
        LINE("UTF-8", 0, "GET", "/%C3%A9%e2%82%ac%F0%9F%98%80", "HTTP/1.1"),
        LINE("overlong", 400, "GET", "/%c0%af", "HTTP/1.1"),
        LINE("overlong in three", 400, "GET", "/%e0%80%af", "HTTP/1.1"),
        LINE("surrogate", 400, "GET", "/%ed%a0%80", "HTTP/1.1"),
        LINE("beyond Unicode", 400, "GET", "/%f4%90%80%80", "HTTP/1.1"),
        LINE("cut", 400, "GET", "/%e2%82", "HTTP/1.1"),
        LINE("cut by a letter", 400, "GET", "/%e2%82x", "HTTP/1.1"),
        LINE("continuation alone", 400, "GET", "/%80", "HTTP/1.1"),
        LINE("%2e%2e is the routes' business", 0, "GET", "/%2e%2e/etc", "HTTP/1.1"),
    };
    CHECK_ROWS(rows);
}

TEST(fields)
{
    static const row rows[] = {
        WITH("usual ones", 0, "GET", "Accept:*/*", "User-Agent:a b\tc", "X-Name:Br\xc3\xbcnn"),
        WITH("space before the colon", 400, "GET", "X-Test :value"),
        WITH("tab before the colon", 400, "GET", "X-Test\t:value"),
        WITH("obs-fold seen as a name", 400, "GET", " continued:value"),
        WITH("obs-fold seen in a value", 400, "GET", "X-Test:a\r\n b"),
        WITH("empty name", 400, "GET", ":empty"),
        WITH("bracket in a name", 400, "GET", "Bad[Name:value"),
        WITH("byte beyond ASCII in a name", 400, "GET", "X-T\xc3\xa9:value"),
        WITH("bare CR in a value", 400, "GET", "X-Test:a\rb"),
        WITH("bare LF in a value", 400, "GET", "X-Test:a\nb"),
        WITH("controls in a value", 400, "GET", "X-Test:abc\x07\x08\x0b"),
        WITH("DEL in a value", 400, "GET", "X-Test:\x7f"),
        WITH("two Content-Types", 400, "GET", "Content-Type:a/b", "content-type:a/b"),
        WITH("two keys", 400, "GET", "X-API-Key:a", "x-api-key:b"),
        WITH("two Authorizations", 400, "GET", "Authorization:a", "Authorization:b"),
        WITH("100-continue", 0, "POST", "Expect:100-Continue", "Content-Length:5"),
        WITH("two expectations", 400, "GET", "Expect:100-continue", "Expect:1"),
        WITH("another expectation", 417, "GET", "Expect:200-ok"),
        WITH("upgrade is not taken up", 0, "GET", "Upgrade:h2c", "Connection:Upgrade"),
    };
    CHECK_ROWS(rows);
    /* A NUL, which the rows cannot hold. */
    const srv_field nul[] = {{"Host", "a", 4, 1}, {"X-Test", "val\0ue", 6, 6}};
    const srv_head head = {"GET", "/", "HTTP/1.1", nul, 2};
    const char *why;
    CHECK(srv_request_check(&head, &why) == 400);
}

TEST(hosts)
{
    static const row rows[] = {
        WITH("missing", 400, "GET", "none:"),
        OLD("missing in 1.2", 400, "HTTP/1.2", "none:"),
        OLD("missing in 1.0", 0, "HTTP/1.0", "none:"),
        WITH("twice, the same", 400, "GET", "Host:a", "Host:a"),
        WITH("twice, different", 400, "GET", "Host:a", "hOST:b"),
        OLD("twice in 1.0", 400, "HTTP/1.0", "Host:a", "Host:b"),
        WITH("empty", 400, "GET", "Host:"),
        WITH("blanks", 400, "GET", "Host: "),
        WITH("user", 400, "GET", "Host:user@a"),
        WITH("path", 400, "GET", "Host:a/path"),
        WITH("list", 400, "GET", "Host:a, b"),
        WITH("port", 0, "GET", "Host: example.com:8000 "),
        WITH("empty port", 0, "GET", "Host:a:"),
        WITH("port of letters", 400, "GET", "Host:a:b"),
        WITH("long port", 400, "GET", "Host:a:123456"),
        WITH("two ports", 400, "GET", "Host:a:1:2"),
        WITH("underscore", 0, "GET", "Host:my_face-server.local"),
        WITH("IPv4", 0, "GET", "Host:127.0.0.1:80"),
        WITH("IPv6", 0, "GET", "Host|[::1]:8000"),
        WITH("IPv6 without end", 400, "GET", "Host|[::1"),
        WITH("IPv6 with something behind", 400, "GET", "Host|[::1]x"),
        WITH("empty brackets", 400, "GET", "Host|[]"),
    };
    CHECK_ROWS(rows);
}

TEST(framing)
{
    static const row rows[] = {
        WITH("length", 0, "POST", "Content-Length:5"),
        WITH("zero", 0, "POST", "Content-Length:0"),
        WITH("blanks around it", 0, "POST", "Content-Length: \t5 "),
        WITH("18 digits", 0, "POST", "Content-Length:999999999999999999"),
        WITH("twice, different", 400, "POST", "Content-Length:3", "Content-Length:30"),
        WITH("twice, the same", 400, "POST", "Content-Length:3", "content-length:3"),
        WITH("list of different", 400, "POST", "Content-Length:5, 10"),
        WITH("list of the same", 400, "POST", "Content-Length:1,1"),
        WITH("-1", 400, "POST", "Content-Length:-1"),
        WITH("-0", 400, "POST", "Content-Length:-0"),
        WITH("+1", 400, "POST", "Content-Length:+1"),
        WITH("1e20", 400, "POST", "Content-Length:1e20"),
        WITH("0x10", 400, "POST", "Content-Length:0x10"),
        WITH("0o5", 400, "POST", "Content-Length:0o5"),
        WITH("1_0", 400, "POST", "Content-Length:1_0"),
        WITH("1 1", 400, "POST", "Content-Length:1 1"),
        WITH("abc", 400, "POST", "Content-Length:abc"),
        WITH("empty length", 400, "POST", "Content-Length:"),
        WITH("leading zeros", 400, "POST", "Content-Length:0005"),
        WITH("two zeros", 400, "POST", "Content-Length:00"),
        WITH("octal or not", 400, "POST", "Content-Length:0200"),
        WITH("beyond 64 bits", 400, "POST", "Content-Length:99999999999999999999"),
        WITH("19 digits", 400, "POST", "Content-Length:9223372036854775808"),
        WITH("1.5", 400, "POST", "Content-Length:1.5"),
        WITH("chunked", 0, "POST", "Transfer-Encoding:chunked"),
        WITH("Chunked", 0, "POST", "Transfer-Encoding: \tChunked"),
        WITH("a blank behind it", 400, "POST", "Transfer-Encoding: chunked "),
        WITH("a tab behind it", 400, "POST", "Transfer-Encoding:chunked\t"),
        WITH("CL, then TE", 400, "POST", "Content-Length:5", "Transfer-Encoding:chunked"),
        WITH("TE, then CL", 400, "POST", "TRANSFER-ENCODING:chunked", "Content-Length:5"),
        WITH("TE twice", 400, "POST", "Transfer-Encoding:chunked", "Transfer-Encoding:chunked"),
        WITH("TE twice, one identity", 400, "POST", "Transfer-Encoding:chunked",
             "Transfer-Encoding:identity"),
        WITH("xchunked", 400, "POST", "Transfer-Encoding:xchunked"),
        WITH("gzip", 400, "POST", "Transfer-Encoding:gzip"),
        WITH("gzip, chunked", 400, "POST", "Transfer-Encoding:gzip, chunked"),
        WITH("chunked, gzip", 400, "POST", "Transfer-Encoding:chunked, gzip"),
        WITH("chunked, chunked", 400, "POST", "Transfer-Encoding:chunked, chunked"),
        WITH("leading comma", 400, "POST", "Transfer-Encoding:, chunked"),
        WITH("trailing comma", 400, "POST", "Transfer-Encoding:chunked,"),
        WITH("parameters", 400, "POST", "Transfer-Encoding:chunked;ext=1"),
        WITH("identity", 400, "POST", "Transfer-Encoding:identity"),
        WITH("empty coding", 400, "POST", "Transfer-Encoding:"),
        WITH("vertical tab", 400, "POST",
             "Transfer-Encoding:\x0b"
             "chunked"),
        WITH("form feed", 400, "POST",
             "Transfer-Encoding:\x0c"
             "chunked"),
        WITH("TE, space before the colon", 400, "POST", "Transfer-Encoding :chunked"),
        WITH("CL, space before the colon", 400, "POST", "Content-Length :5"),
        WITH("TE folded", 400, "POST", "Transfer-Encoding:\r\n chunked"),
        OLD("TE in 1.0", 400, "HTTP/1.0", "Transfer-Encoding:chunked"),
        WITH("underscores are another name", 0, "POST", "Transfer_Encoding:gzip",
             "Content_Length:99", "Content-Length:5"),
    };
    CHECK_ROWS(rows);
}

TEST(limits)
{
    static char big[SRV_HEADER_BYTES_MAX + 1];
    srv_field many[SRV_HEADERS_MAX + 1] = {{"Host", "a", 4, 1}};
    srv_head head = {"GET", "/", "HTTP/1.1", many, SRV_HEADERS_MAX};
    const char *why;
    for (size_t i = 1; i <= SRV_HEADERS_MAX; i++)
        many[i] = (srv_field){"X-H", "value", 3, 5};
    CHECK(srv_request_check(&head, &why) == 0);
    head.count++;
    CHECK(srv_request_check(&head, &why) == 431);

    memset(big, 'a', sizeof big);
    many[1] = (srv_field){"X-Big", big, 5, SRV_HEADER_BYTES_MAX - 10};
    head.count = 2;
    CHECK(srv_request_check(&head, &why) == 0);
    many[1].value_size++;
    CHECK(srv_request_check(&head, &why) == 431);
    many[1] = (srv_field){big, "v", SRV_HEADER_BYTES_MAX, 1};
    CHECK(srv_request_check(&head, &why) == 431);

    static char target[SRV_URI_MAX + 2];
    head.count = 1;
    memset(target, 'a', SRV_URI_MAX);
    target[0] = '/';
    head.target = target;
    CHECK(srv_request_check(&head, &why) == 0);
    target[SRV_URI_MAX] = 'a';
    CHECK(srv_request_check(&head, &why) == 414);

    static char method[10241];
    memset(method, 'A', sizeof method - 1);
    head.method = method;
    head.target = "/";
    CHECK(srv_request_check(&head, &why) == 501);
}

TEST_MAIN
