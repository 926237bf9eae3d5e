/* Requests as bytes, and answers as they arrive. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "load.h"
#include "server/text.h"

int load_connect(const load_options *o, int receive_bytes)
{
    const int fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (connect(fd, (const struct sockaddr *)&o->address, o->address_size) &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- requests ---- */

static void read_file(const char *path, srv_text *out)
{
    char block[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    while (f && (n = fread(block, 1, sizeof block, f)) > 0)
        srv_text_add(out, block, n);
    if (!f || ferror(f) || out->failed) {
        fprintf(stderr, "load: %s cannot be read\n", path);
        exit(2);
    }
    fclose(f);
}

static void make_request(const load_options *o, const char *path, load_request *request)
{
    static const char boundary[] = "uniface-load-7d1f0c";
    srv_text body = {0}, all = {0};
    if (path && o->field) {
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        srv_text_printf(&body,
                        "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
                        "Content-Type: %s\r\n\r\n",
                        boundary, o->field, name, o->type);
    }
    if (path)
        read_file(path, &body);
    if (path && o->field)
        srv_text_printf(&body, "\r\n--%s--\r\n", boundary);
    srv_text_printf(&all, "%s %s HTTP/1.1\r\nHost: %s\r\n", o->method, o->path, o->host);
    for (size_t i = 0; i < o->header_count; i++)
        srv_text_printf(&all, "%s\r\n", o->headers[i]);
    if (path)
        srv_text_printf(&all, "Content-Type: %s%s\r\nContent-Length: %zu\r\n",
                        o->field ? "multipart/form-data; boundary=" : o->type,
                        o->field ? boundary : "", body.size);
    srv_text_puts(&all, "\r\n");
    request->head_size = all.size;
    srv_text_add(&all, body.data, body.size);
    srv_text_free(&body);
    if (all.failed) {
        fprintf(stderr, "load: out of memory\n");
        exit(2);
    }
    request->data = all.data;
    request->size = all.size;
}

size_t load_make_requests(const load_options *o, load_request requests[LOAD_BODIES])
{
    for (size_t i = 0; i < o->body_count; i++)
        make_request(o, o->bodies[i], &requests[i]);
    if (!o->body_count)
        make_request(o, NULL, &requests[0]);
    return o->body_count ? o->body_count : 1;
}

/* ---- answers ---- */

void load_answer_reset(load_answer *a)
{
    a->state = LOAD_HEAD;
    a->status = 0;
    a->close = false;
    a->line_size = 0;
}

/* The value of a field of the head; NULL: absent. */
static const char *field_of(const char *head, const char *name)
{
    for (const char *line = head; (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (!strncasecmp(line, name, strlen(name)) && line[strlen(name)] == ':') {
            line += strlen(name) + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

static void read_head(load_answer *a)
{
    a->line[a->line_size] = '\0';
    a->line_size = 0;
    if (sscanf(a->line, "HTTP/1.%*d %d", &a->status) != 1) {
        a->state = LOAD_BAD;
        return;
    }
    if (a->status < 200)
        return; /* 100 Continue: the answer follows */
    const char *length = field_of(a->line, "Content-Length");
    const char *coding = field_of(a->line, "Transfer-Encoding");
    const char *connection = field_of(a->line, "Connection");
    a->close = connection && !strncasecmp(connection, "close", 5);
    a->left = length ? strtoull(length, NULL, 10) : 0;
    a->state = a->status == 204 || a->status == 304           ? LOAD_DONE
               : coding && !strncasecmp(coding, "chunked", 7) ? LOAD_CHUNK_SIZE
               : length                                       ? LOAD_LENGTH
                                                              : LOAD_UNTIL_CLOSE;
    if (a->state == LOAD_LENGTH && !a->left)
        a->state = LOAD_DONE;
}

static bool ends_head(const load_answer *a)
{
    return a->line_size >= 4 && !memcmp(a->line + a->line_size - 4, "\r\n\r\n", 4);
}

static void feed_line(load_answer *a, char c)
{
    if (a->line_size + 1 == sizeof a->line) {
        a->state = LOAD_BAD;
        return;
    }
    a->line[a->line_size++] = c;
    if (a->state == LOAD_HEAD) {
        if (ends_head(a))
            read_head(a);
        return;
    }
    if (c != '\n')
        return;
    a->line[a->line_size] = '\0';
    const bool empty = a->line_size <= 2;
    if (a->state == LOAD_TRAILER) {
        a->state = empty ? LOAD_DONE : LOAD_TRAILER;
    } else {
        a->left = strtoull(a->line, NULL, 16);
        a->state = a->left ? LOAD_CHUNK : LOAD_TRAILER;
        a->left += 2; /* the line end behind it */
    }
    a->line_size = 0;
}

size_t load_answer_feed(load_answer *a, const char *data, size_t size)
{
    size_t i = 0;
    while (i < size && a->state != LOAD_DONE && a->state != LOAD_BAD) {
        if (a->state == LOAD_UNTIL_CLOSE)
            return size;
        if (a->state != LOAD_LENGTH && a->state != LOAD_CHUNK) {
            feed_line(a, data[i++]);
            continue;
        }
        const size_t n = a->left < size - i ? (size_t)a->left : size - i;
        i += n;
        a->left -= n;
        if (!a->left)
            a->state = a->state == LOAD_LENGTH ? LOAD_DONE : LOAD_CHUNK_SIZE;
    }
    return i;
}

bool load_answer_end(load_answer *a)
{
    if (a->state == LOAD_UNTIL_CLOSE)
        a->state = LOAD_DONE;
    return a->state == LOAD_DONE;
}
