/*
 * Connections that take their time, for the others to suffer by: each sends or reads a byte an
 * interval, and is made again when the server has had enough of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

typedef struct slow {
    int fd;
    size_t sent;
    double next; /* when it does something again */
    bool answered;
} slow;

/* How far a connection goes at once before it becomes slow. */
static size_t quick_bytes(const load_options *o, const load_request *request)
{
    return o->mode == LOAD_SLOW_HEADER ? 1
           : o->mode == LOAD_SLOW_BODY ? request->head_size
                                       : request->size;
}

/* False: the connection is over. */
static bool advance(const load_options *o, const load_request *request, slow *s)
{
    char byte[1];
    const size_t quick = quick_bytes(o, request);
    /* A slow head must not end, nor a slow body: their last byte is never sent. */
    const size_t last = o->mode == LOAD_SLOW_HEADER ? request->head_size - 1
                        : o->mode == LOAD_SLOW_BODY ? request->size - 1
                                                    : request->size;
    if (s->sent < last) {
        const size_t n = s->sent < quick ? quick - s->sent : 1;
        const ssize_t done = send(s->fd, request->data + s->sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0)
            return errno == EAGAIN || errno == ENOTCONN;
        s->sent += (size_t)done;
    }
    const bool reads = o->mode == LOAD_SLOW_READ || o->mode == LOAD_IDLE;
    const ssize_t got = recv(s->fd, byte, 1, MSG_DONTWAIT | (reads ? 0 : MSG_PEEK));
    s->answered = s->answered || got > 0;
    if (got > 0 && !reads)
        return false; /* an answer to what was never finished: the connection ends */
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == ENOTCONN));
}

static void visit(const load_options *o, const load_request *request, slow *s, double now,
                  load_result *r)
{
    if (now < s->next)
        return;
    s->next = now + o->interval;
    if (s->fd < 0) {
        /* a small window, so that an answer does not fit in it */
        s->fd = load_connect(o, o->mode == LOAD_SLOW_READ ? 1024 : 0);
        s->sent = 0;
        s->answered = false;
        r->connects++;
        r->connect_errors += s->fd < 0;
        return;
    }
    if (!advance(o, request, s)) {
        r->closed_by_server++;
        r->answered += s->answered;
        close(s->fd);
        s->fd = -1;
    }
}

void load_run_slow(const load_options *o, const load_request *request, load_result *r)
{
    slow *all = calloc(o->connections, sizeof *all);
    const double start = load_now();
    double now = start;
    if (!all)
        return;
    for (size_t i = 0; i < o->connections; i++) {
        all[i].fd = -1;
        /* spread over the interval */
        all[i].next = start + o->interval * (double)i / (double)o->connections;
    }
    while (now < start + o->duration) {
        size_t open = 0;
        for (size_t i = 0; i < o->connections; i++) {
            visit(o, request, &all[i], now, r);
            open += all[i].fd >= 0;
        }
        r->open_end = open;
        r->open_max = open > r->open_max ? open : r->open_max;
        usleep(5000);
        now = load_now();
    }
    r->seconds = now - start;
    for (size_t i = 0; i < o->connections; i++)
        if (all[i].fd >= 0)
            close(all[i].fd);
    free(all);
}
