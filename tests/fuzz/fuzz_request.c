/*
 * Validation of requests. The input is a head as it would stand on the wire; what is let through is
 * held against the rules once more, written down another way. The order of fields must not matter.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <strings.h>

#include "server/request_check.h"

enum { FIELDS = 128 };

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_request: %s\n", what);
        abort();
    }
}

/* Cuts the text up to `stop` off *at. */
static char *cut(char **at, const char *stop)
{
    char *begin = *at, *end = begin + strcspn(begin, stop);
    *at = *end ? end + 1 : end;
    *end = '\0';
    return begin;
}

static size_t read_fields(char *at, const char *end, srv_field *fields)
{
    size_t count = 0;
    while (at < end && count < FIELDS) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end ? line_end : at + (end - at);
        char *colon = memchr(at, ':', (size_t)(line_end - at));
        if (colon)
            fields[count++] =
                (srv_field){at, colon + 1, (size_t)(colon - at), (size_t)(line_end - colon) - 1};
        at = line_end + 1;
    }
    return count;
}

static size_t count_named(const srv_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->count; i++)
        n += head->fields[i].name_size == strlen(name) &&
             !strncasecmp(head->fields[i].name, name, strlen(name));
    return n;
}

static void check_passed(const srv_head *head)
{
    const size_t lengths = count_named(head, "content-length");
    const size_t codings = count_named(head, "transfer-encoding"),
                 hosts = count_named(head, "host");
    require(lengths + codings <= 1, "two ways to see where the body ends");
    require(hosts == 1 || (hosts == 0 && !strcmp(head->version, "HTTP/1.0")), "Host");
    require(!strncmp(head->version, "HTTP/1.", 7) && !head->version[8], "the version");
    require(strlen(head->target) <= SRV_URI_MAX && head->count <= SRV_HEADERS_MAX, "limits");
    for (const char *p = head->target; *p; p++)
        require(*p > ' ' && *p < 0x7F && *p != '#' && *p != '\\', "a byte in the target");
    for (size_t i = 0; i < head->count; i++) {
        const srv_field *f = &head->fields[i];
        require(f->name_size > 0, "a field without a name");
        for (size_t k = 0; k < f->name_size; k++)
            require(f->name[k] > ' ' && f->name[k] < 0x7F &&
                        !strchr("()<>@,;:\\\"/[]?={}", f->name[k]),
                    "a byte in a name");
        for (size_t k = 0; k < f->value_size; k++)
            require(f->value[k] != '\r' && f->value[k] != '\n' && f->value[k], "a byte in a value");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    srv_field fields[FIELDS];
    const char *why = NULL, *other_why = NULL;
    char *text = malloc(size + 1);
    require(text != NULL, "no memory");
    memcpy(text, data, size);
    text[size] = '\0';
    char *at = text;
    srv_head head = {.fields = fields};
    head.method = cut(&at, " \n");
    head.target = cut(&at, " \n");
    head.version = cut(&at, "\n");
    head.count = read_fields(at, text + size, fields);
    const int status = srv_request_check(&head, &why);
    require(why && !*why == !status, "a verdict without its reason");
    if (!status)
        check_passed(&head);
    for (size_t i = 0; i < head.count / 2; i++) {
        const srv_field f = fields[i];
        fields[i] = fields[head.count - 1 - i];
        fields[head.count - 1 - i] = f;
    }
    require(!srv_request_check(&head, &other_why) == !status, "the order of fields matters");
    free(text);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const char *const heads[] = {
        ("POST /v1/detect?a=%C3%A9 HTTP/1.1\nHost: localhost:8000\nContent-Length: 120\n"
         "Content-Type: image/jpeg\nX-API-Key: abc\nExpect: 100-continue\n"),
        "POST /embed_face/ HTTP/1.1\nhost:[::1]:80\nTransfer-Encoding: chunked\nAccept: */*\n",
        "GET http://a/ HTTP/1.0\nContent-Length: 0\n",
        "POST / HTTP/1.1\nHost: a\nContent-Length: 4\nTransfer-Encoding: chunked\n"};
    if (i >= sizeof heads / sizeof heads[0])
        return 0;
    memcpy(out, heads[i], strlen(heads[i]));
    return strlen(heads[i]);
}
