/* The rules of a request's head, one function each; the first that is broken decides. */
#include "server/request_check.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

typedef struct verdict {
    int status; /* 0: nothing wrong so far */
    const char *why;
} verdict;

static const verdict fine = {0, ""};

static verdict refuse(int status, const char *why)
{
    return (verdict){status, why};
}

static bool is_alphanumeric(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_alphanumeric((unsigned char)s[i]) && (!s[i] || !strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return size > 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* ---- the request line ---- */

static verdict check_method(const char *method)
{
    static const char *const served[] = {"GET",   "HEAD",   "POST",   "PUT",
                                         "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++)
        if (!strcmp(method, served[i]))
            return fine;
    if (!is_token(method, strlen(method)))
        return refuse(400, "the method is no token");
    if (!strcmp(method, "TRACE") || !strcmp(method, "CONNECT"))
        return refuse(405, "this method is not served anywhere");
    return refuse(501, "the method is not known");
}

static verdict check_version(const char *version)
{
    const bool formed = strlen(version) == 8 && !strncmp(version, "HTTP/", 5) &&
                        version[5] >= '0' && version[5] <= '9' && version[6] == '.' &&
                        version[7] >= '0' && version[7] <= '9';
    if (!formed)
        return refuse(400, "the version is not HTTP/1.1 or HTTP/1.0");
    return version[5] == '1' ? fine : refuse(505, "HTTP/1.1 and HTTP/1.0 are served");
}

/* Bytes that %XX stand for must be UTF-8 too: what is overlong has a second reading. */
typedef struct utf8 {
    int more;                /* continuation bytes that must follow */
    unsigned char low, high; /* of the next one */
} utf8;

static bool utf8_take(utf8 *u, unsigned char c)
{
    if (u->more) {
        const bool ok = c >= u->low && c <= u->high;
        *u = (utf8){u->more - 1, 0x80, 0xBF};
        return ok;
    }
    if (c < 0x80)
        return true;
    *u = (utf8){c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3, 0x80, 0xBF};
    if (c == 0xE0)
        u->low = 0xA0;
    if (c == 0xED)
        u->high = 0x9F;
    if (c == 0xF0)
        u->low = 0x90;
    if (c == 0xF4)
        u->high = 0x8F;
    return c >= 0xC2 && c <= 0xF4;
}

static verdict check_target_bytes(const char *target)
{
    utf8 u = {0};
    for (const char *p = target; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7F || strchr("#\\\"<>", *p))
            return refuse(400, "the target holds a character that must be written as %XX");
        if (c == '%') {
            const int high = hex_digit(p[1]), low = high < 0 ? -1 : hex_digit(p[2]);
            if (low < 0)
                return refuse(400, "the target has a % that two hexadecimal digits do not follow");
            c = (unsigned char)(high << 4 | low);
            if (c < 0x20 || c == 0x7F)
                return refuse(400, "the target holds a control character");
            p += 2;
        }
        if (!utf8_take(&u, c))
            return refuse(400, "the target is not UTF-8");
    }
    return u.more ? refuse(400, "the target is not UTF-8") : fine;
}

static verdict check_target(const char *target, const char *method)
{
    if (strlen(target) > SRV_URI_MAX)
        return refuse(414, "the target is longer than 8192 bytes");
    if (!strcmp(target, "*"))
        return strcmp(method, "OPTIONS") ? refuse(400, "* is a target of OPTIONS only") : fine;
    if (target[0] != '/' && strncasecmp(target, "http://", 7) && strncasecmp(target, "https://", 8))
        return refuse(400, "the target does not begin with /");
    return check_target_bytes(target);
}

/* ---- fields ---- */

static bool is_named(const srv_field *f, const char *name)
{
    return f->name_size == strlen(name) && !strncasecmp(f->name, name, f->name_size);
}

static verdict check_field(const srv_field *f)
{
    if (!is_token(f->name, f->name_size))
        return refuse(400, "a header field's name is no token");
    for (size_t i = 0; i < f->value_size; i++) {
        const unsigned char c = (unsigned char)f->value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return refuse(400, "a header field's value holds a control character");
    }
    return fine;
}

/* The field without the blanks around its value; NULL: absent. *twice: more than one is there. */
static const char *single_value(const srv_head *head, const char *name, size_t *size, bool *twice)
{
    const srv_field *found = NULL;
    for (size_t i = 0; i < head->count; i++)
        if (is_named(&head->fields[i], name)) {
            *twice = found != NULL;
            found = &head->fields[i];
            if (*twice)
                break;
        }
    if (!found)
        return NULL;
    const char *value = found->value;
    *size = found->value_size;
    while (*size && (value[*size - 1] == ' ' || value[*size - 1] == '\t'))
        --*size;
    while (*size && (*value == ' ' || *value == '\t')) {
        value++;
        --*size;
    }
    return value;
}

/* A name, an IPv4 address or an IPv6 address in brackets, and a port (RFC 3986, section 3.2.2). */
static bool is_host(const char *s, size_t size)
{
    size_t i = 0;
    const bool bracket = size && s[0] == '[';
    if (bracket)
        for (i = 1; i < size && (hex_digit(s[i]) >= 0 || s[i] == ':' || s[i] == '.');)
            i++;
    else
        while (i < size && (is_alphanumeric((unsigned char)s[i]) || strchr("-._~", s[i])) && s[i])
            i++;
    if (bracket ? i < 3 || i == size || s[i++] != ']' : i == 0)
        return false;
    if (i < size && s[i++] != ':')
        return false;
    const size_t port = i;
    while (i < size && s[i] >= '0' && s[i] <= '9')
        i++;
    return i == size && i - port <= 5;
}

static verdict check_host(const srv_head *head)
{
    bool twice = false;
    size_t size = 0;
    const char *host = single_value(head, "Host", &size, &twice);
    if (twice)
        return refuse(400, "there is more than one Host");
    if (!host)
        return strcmp(head->version, "HTTP/1.0") ? refuse(400, "Host is missing") : fine;
    return is_host(host, size) ? fine : refuse(400, "Host is not a name or address with a port");
}

static verdict check_length(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (s[i] < '0' || s[i] > '9')
            return refuse(400, "Content-Length is not a number");
    if (!size)
        return refuse(400, "Content-Length is empty");
    /* A zero in front is octal to some. 18 digits are less than 2^63. */
    if (size > 1 && s[0] == '0')
        return refuse(400, "Content-Length begins with a zero");
    return size > 18 ? refuse(400, "Content-Length is too large") : fine;
}

/* libmicrohttpd 0.9.75 compares with the blank: to it the body then goes on until the connection
 * ends. */
static bool coding_ends_in_blank(const srv_head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        const srv_field *f = &head->fields[i];
        if (is_named(f, "Transfer-Encoding") && f->value_size)
            return f->value[f->value_size - 1] == ' ' || f->value[f->value_size - 1] == '\t';
    }
    return false;
}

static verdict check_framing(const srv_head *head)
{
    bool two_lengths = false, two_codings = false;
    size_t length_size = 0, coding_size = 0;
    const char *length = single_value(head, "Content-Length", &length_size, &two_lengths);
    const char *coding = single_value(head, "Transfer-Encoding", &coding_size, &two_codings);
    if (two_lengths)
        return refuse(400, "there is more than one Content-Length");
    if (two_codings)
        return refuse(400, "there is more than one Transfer-Encoding");
    if (length && coding)
        return refuse(400, "there are Content-Length and Transfer-Encoding");
    if (length)
        return check_length(length, length_size);
    if (!coding)
        return fine;
    if (!strcmp(head->version, "HTTP/1.0"))
        return refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    if (coding_size != 7 || strncasecmp(coding, "chunked", 7) || coding_ends_in_blank(head))
        return refuse(400, "Transfer-Encoding is not chunked");
    return fine;
}

/* What says who asks, or what is sent, is said once. */
static verdict check_singles(const srv_head *head)
{
    static const char *const names[] = {"Content-Type", "Authorization", "X-API-Key", "Expect"};
    bool twice = false;
    size_t size = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)single_value(head, names[i], &size, &twice);
        if (twice)
            return refuse(400, "Content-Type, Authorization, X-API-Key or Expect is there twice");
    }
    const char *expect = single_value(head, "Expect", &size, &twice);
    if (expect && (size != 12 || strncasecmp(expect, "100-continue", 12)))
        return refuse(417, "Expect is not 100-continue");
    return fine;
}

static verdict check_fields(const srv_head *head)
{
    size_t bytes = 0;
    if (head->count > SRV_HEADERS_MAX)
        return refuse(431, "there are more than 100 header fields");
    for (size_t i = 0; i < head->count; i++) {
        bytes += head->fields[i].name_size + head->fields[i].value_size;
        if (bytes > SRV_HEADER_BYTES_MAX)
            return refuse(431, "the header fields are larger than 32768 bytes");
    }
    verdict v = fine;
    for (size_t i = 0; i < head->count && !v.status; i++)
        v = check_field(&head->fields[i]);
    return v;
}

int srv_request_check(const srv_head *head, const char **why)
{
    verdict v = check_version(head->version);
    if (!v.status)
        v = check_method(head->method);
    if (!v.status)
        v = check_target(head->target, head->method);
    if (!v.status)
        v = check_fields(head);
    if (!v.status)
        v = check_host(head);
    if (!v.status)
        v = check_framing(head);
    if (!v.status)
        v = check_singles(head);
    *why = v.why;
    return v.status;
}
