/*
 * A part ends where a line end, two dashes and the boundary stand. Only the first character of that
 * delimiter can be a CR, so what has matched so far and then does not is data, and the search goes
 * on with the character that did not fit: the number of characters matched is all that must be
 * remembered between two pieces.
 *
 * Stricter than other readers where they disagree with each other: after a delimiter only blanks
 * may stand in its line, line ends are CR LF, and a head has one Content-Disposition with each
 * parameter once.
 */
#include "server/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum state {
    PREAMBLE, /* before the first delimiter: what stands there is nobody's */
    DATA,
    AFTER_DELIMITER, /* nothing of the delimiter's line has come yet */
    LAST_DASH,       /* one dash has */
    BLANKS,          /* blanks have */
    LINE_FEED,       /* the CR has */
    HEAD,
    EPILOGUE
} state;

struct srv_multipart {
    srv_part_fn *fn;
    void *user;
    state at;
    char delimiter[4 + SRV_BOUNDARY_MAX]; /* CR LF - - boundary */
    size_t delimiter_size, matched;
    char head[SRV_PART_HEAD_MAX + 1];
    size_t head_size;
    srv_part part; /* points into head */
    size_t part_count;
    srv_multipart_status status;
    const char *error;
};

static bool is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static char *skip_blanks(char *s)
{
    return s + strspn(s, " \t");
}

/* Where parameters begin: past the ';' at s, or at the end; NULL: something else stands there. */
static char *past_semicolon(char *s)
{
    s = skip_blanks(s);
    return *s == ';' ? s + 1 : *s ? NULL : s;
}

/* Reads `name=value` at *at, value a token or quoted, and moves *at past it; strings end in place.
 * 1: read, 0: nothing more, -1: it is none. */
static int read_parameter(char **at, char **name, char **value)
{
    char *s = skip_blanks(*at);
    if (!*s)
        return 0;
    for (*name = s; is_token(*s);)
        s++;
    if (s == *name || *s != '=')
        return -1;
    *s++ = '\0';
    char *end = *value = s;
    if (*s == '"') {
        *value = end = ++s;
        /* Browsers send a backslash as it is; it escapes nothing but a quote and itself. */
        while (*s && *s != '"') {
            if (*s == '\\' && (s[1] == '"' || s[1] == '\\'))
                s++;
            *end++ = *s++;
        }
        if (!*s++)
            return -1;
    } else {
        while (is_token(*s))
            s++;
        end = s;
        if (end == *value)
            return -1;
    }
    *at = past_semicolon(s);
    *end = '\0';
    return *at ? 1 : -1;
}

/* ---- the request's header ---- */

static bool is_boundary(const char *s)
{
    const size_t size = strlen(s);
    for (size_t i = 0; i < size; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= 'a' && s[i] <= 'z') || strchr("'()+_,-./:=? ", s[i])))
            return false;
    return size >= 1 && size <= SRV_BOUNDARY_MAX && s[size - 1] != ' ';
}

/* NULL, or what is wrong. */
static const char *read_boundary(srv_multipart *m, char *header)
{
    static const char type[] = "multipart/form-data";
    char *at, *name, *value, *boundary = NULL;
    int more;
    header = skip_blanks(header);
    if (strncasecmp(header, type, sizeof type - 1) ||
        !(at = past_semicolon(header + sizeof type - 1)))
        return "Content-Type is not multipart/form-data";
    while ((more = read_parameter(&at, &name, &value)) > 0) {
        if (strcasecmp(name, "boundary"))
            continue;
        if (boundary)
            return "Content-Type has two boundaries";
        boundary = value;
    }
    if (more < 0)
        return "Content-Type has a parameter that cannot be read";
    if (!boundary)
        return "Content-Type has no boundary";
    if (!is_boundary(boundary))
        return "the boundary is not 1 to 70 characters of RFC 2046";
    memcpy(m->delimiter, "\r\n--", 4);
    m->delimiter_size = 4 + strlen(boundary);
    memcpy(m->delimiter + 4, boundary, strlen(boundary));
    return NULL;
}

srv_multipart *srv_multipart_create(const char *content_type, srv_part_fn *fn, void *user,
                                    const char **why)
{
    srv_multipart *m = calloc(1, sizeof *m);
    *why = "";
    if (!m)
        return NULL;
    /* The head's buffer is free as long as no part has begun. */
    if (strlen(content_type) >= sizeof m->head) {
        *why = "Content-Type is too long";
    } else {
        memcpy(m->head, content_type, strlen(content_type) + 1);
        const char *wrong = read_boundary(m, m->head);
        *why = wrong ? wrong : "";
    }
    if (**why) {
        free(m);
        return NULL;
    }
    m->fn = fn;
    m->user = user;
    m->matched = 2; /* the body's beginning counts as a line's */
    return m;
}

void srv_multipart_destroy(srv_multipart *m)
{
    free(m);
}

const char *srv_multipart_error(const srv_multipart *m)
{
    return m->error ? m->error : "";
}

static srv_multipart_status stop(srv_multipart *m, srv_multipart_status status, const char *error)
{
    m->status = status;
    m->error = error;
    return status;
}

static srv_multipart_status bad(srv_multipart *m, const char *error)
{
    return stop(m, SRV_MULTIPART_BAD, error);
}

static srv_multipart_status tell(srv_multipart *m, const void *data, size_t size, bool end)
{
    return m->fn(m->user, &m->part, data, size, end)
               ? SRV_MULTIPART_OK
               : stop(m, SRV_MULTIPART_STOPPED, "the form was not read to its end");
}

/* ---- heads of parts ---- */

static const char *without_folder(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            name = p + 1;
    return name;
}

/* NULL, or what is wrong. */
static const char *read_disposition(srv_part *part, char *value)
{
    static const char type[] = "form-data";
    char *at, *name, *text;
    int more;
    if (part->name)
        return "a part has two Content-Disposition lines";
    if (strncasecmp(value, type, sizeof type - 1) ||
        !(at = past_semicolon(value + sizeof type - 1)))
        return "a part's Content-Disposition is not form-data";
    while ((more = read_parameter(&at, &name, &text)) > 0) {
        const bool is_file = !strcasecmp(name, "filename");
        const char **member = is_file ? &part->filename : &part->name;
        if (!is_file && strcasecmp(name, "name"))
            continue; /* filename* among them, which RFC 7578 forbids */
        if (*member)
            return "a part's Content-Disposition has a parameter twice";
        *member = is_file ? without_folder(text) : text;
    }
    if (more < 0)
        return "a part's Content-Disposition cannot be read";
    return part->name ? NULL : "a part has no name";
}

static const char *read_line(srv_part *part, char *line)
{
    char *s = line;
    while (is_token(*s))
        s++;
    if (s == line || *s != ':')
        return "a part's head has a line that is no header field";
    *s++ = '\0';
    s = skip_blanks(s);
    for (size_t n = strlen(s); n && strchr(" \t", s[n - 1]);)
        s[--n] = '\0';
    if (!strcasecmp(line, "Content-Disposition"))
        return read_disposition(part, s);
    if (!strcasecmp(line, "Content-Type")) {
        if (part->content_type)
            return "a part has two Content-Type lines";
        part->content_type = s;
    }
    if (!strcasecmp(line, "Content-Transfer-Encoding") && strcasecmp(s, "binary") &&
        strcasecmp(s, "8bit") && strcasecmp(s, "7bit"))
        return "a part has a Content-Transfer-Encoding other than binary, 8bit, 7bit";
    return NULL;
}

/* The head's last empty line has come: m->head holds its lines with their ends. */
static srv_multipart_status begin_part(srv_multipart *m)
{
    m->part = (srv_part){0};
    m->head[m->head_size] = '\0';
    if (memchr(m->head, '\0', m->head_size))
        return bad(m, "a part's head holds a NUL");
    for (char *line = m->head; strcmp(line, "\r\n");) {
        char *end = strstr(line, "\r\n");
        *end = '\0';
        if (strpbrk(line, "\r\n"))
            return bad(m, "a part's head has a line end that is not CR LF");
        const char *wrong = read_line(&m->part, line);
        if (wrong)
            return bad(m, wrong);
        line = end + 2;
    }
    if (!m->part.name)
        return bad(m, "a part has no Content-Disposition");
    if (++m->part_count > SRV_PARTS_MAX)
        return stop(m, SRV_MULTIPART_LIMIT, "the form has more than 256 parts");
    m->at = DATA;
    m->matched = 0;
    return tell(m, NULL, 0, false);
}

static srv_multipart_status feed_head(srv_multipart *m, char c)
{
    if (m->head_size == SRV_PART_HEAD_MAX)
        return stop(m, SRV_MULTIPART_LIMIT, "a part's head is longer than 4096 bytes");
    m->head[m->head_size++] = c;
    const bool empty_line =
        c == '\n' && m->head_size >= 2 && m->head[m->head_size - 2] == '\r' &&
        (m->head_size == 2 || (m->head_size >= 4 && m->head[m->head_size - 4] == '\r' &&
                               m->head[m->head_size - 3] == '\n'));
    return empty_line ? begin_part(m) : SRV_MULTIPART_OK;
}

/* ---- bodies ---- */

static srv_multipart_status give(srv_multipart *m, const char *data, size_t size)
{
    return m->at == DATA && size ? tell(m, data, size, false) : SRV_MULTIPART_OK;
}

/* Takes bytes up to the end of a delimiter; how many goes to *taken. */
static srv_multipart_status feed_body(srv_multipart *m, const char *s, size_t size, size_t *taken)
{
    size_t i = 0;
    while (i < size) {
        if (m->matched == 0) {
            const char *cr = memchr(s + i, '\r', size - i);
            const size_t from = i;
            i = cr ? (size_t)(cr - s) : size;
            const srv_multipart_status status = give(m, s + from, i - from);
            if (status || !cr) {
                *taken = i;
                return status;
            }
        }
        if (s[i] != m->delimiter[m->matched]) {
            const size_t held = m->matched;
            m->matched = 0;
            const srv_multipart_status status = give(m, m->delimiter, held);
            if (status)
                return status;
            continue;
        }
        i++;
        if (++m->matched == m->delimiter_size) {
            const bool in_part = m->at == DATA;
            *taken = i;
            m->at = AFTER_DELIMITER;
            return in_part ? tell(m, NULL, 0, true) : SRV_MULTIPART_OK;
        }
    }
    *taken = size;
    return SRV_MULTIPART_OK;
}

/* One character of a delimiter's line. */
static srv_multipart_status feed_line(srv_multipart *m, char c)
{
    if (m->at == AFTER_DELIMITER && c == '-') {
        m->at = LAST_DASH;
    } else if (m->at == LAST_DASH && c == '-') {
        m->at = EPILOGUE;
    } else if ((m->at == AFTER_DELIMITER || m->at == BLANKS) && (c == ' ' || c == '\t')) {
        m->at = BLANKS;
    } else if ((m->at == AFTER_DELIMITER || m->at == BLANKS) && c == '\r') {
        m->at = LINE_FEED;
    } else if (m->at == LINE_FEED && c == '\n') {
        m->at = HEAD;
        m->head_size = 0;
    } else {
        return bad(m, "something stands behind a boundary in its line");
    }
    return SRV_MULTIPART_OK;
}

srv_multipart_status srv_multipart_feed(srv_multipart *m, const void *data, size_t size)
{
    const char *s = data;
    size_t i = 0;
    while (i < size && m->status == SRV_MULTIPART_OK && m->at != EPILOGUE) {
        size_t taken = 1;
        if (m->at == PREAMBLE || m->at == DATA)
            feed_body(m, s + i, size - i, &taken);
        else if (m->at == HEAD)
            feed_head(m, s[i]);
        else
            feed_line(m, s[i]);
        i += taken;
    }
    return m->status;
}

srv_multipart_status srv_multipart_finish(srv_multipart *m)
{
    if (m->status == SRV_MULTIPART_OK && m->at != EPILOGUE)
        return bad(m, m->at == PREAMBLE ? "the form does not hold its boundary"
                                        : "the form ends before its last boundary");
    return m->status;
}
