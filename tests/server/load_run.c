/*
 * The loop. Requests whose time has come go to a free connection, the oldest first; where there is
 * none they wait, and their latency counts from when they were due.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

typedef struct connection {
    int fd; /* -1: none */
    bool busy;
    const load_request *request;
    size_t sent;
    double due, begun; /* of the request */
    load_answer *answer;
} connection;

typedef struct run {
    const load_options *o;
    const load_request *requests;
    size_t request_count;
    load_result *r;
    int epoll, timer;
    connection *connections;
    double start, measured, end;
    size_t next, sent; /* requests that have come due, that were given a connection */
} run;

double load_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void record(run *u, const connection *c, int status)
{
    load_result *r = u->r;
    const double now = load_now();
    if (c->due < u->measured)
        return; /* of the warm-up */
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 4096;
        r->records = realloc(r->records, r->room * sizeof *r->records);
        if (!r->records) {
            fprintf(stderr, "load: out of memory\n");
            exit(2);
        }
    }
    r->records[r->count++] = (load_record){(float)(now - c->due), (float)(now - c->begun), status};
}

static void drop(connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->busy = false;
}

/* The request came to nothing. */
static void fail(run *u, connection *c, size_t *counter)
{
    if (c->due >= u->measured)
        ++*counter;
    record(u, c, 0);
    drop(c);
}

static void watch(run *u, connection *c, bool writing, int how)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (writing ? EPOLLOUT : 0u),
                            .data.ptr = c};
    epoll_ctl(u->epoll, how, c->fd, &e);
}

static void send_more(run *u, connection *c)
{
    while (c->sent < c->request->size) {
        const ssize_t n = send(c->fd, c->request->data + c->sent, c->request->size - c->sent,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            c->sent += (size_t)n;
            continue;
        }
        if (errno == EAGAIN || errno == ENOTCONN) {
            watch(u, c, true, EPOLL_CTL_MOD);
            return;
        }
        /* The answer may be there although the server did not want all of the request. */
        c->sent = c->request->size;
    }
    watch(u, c, false, EPOLL_CTL_MOD);
}

static void begin(run *u, connection *c, double due)
{
    c->busy = true;
    c->due = due;
    c->begun = load_now();
    c->request = &u->requests[u->sent++ % u->request_count];
    c->sent = 0;
    load_answer_reset(c->answer);
    if (c->fd < 0) {
        c->fd = load_connect(u->o, 0);
        u->r->connects++;
        if (c->fd < 0) {
            fail(u, c, &u->r->connect_errors);
            return;
        }
        watch(u, c, true, EPOLL_CTL_ADD);
        return;
    }
    send_more(u, c);
}

static void receive(run *u, connection *c)
{
    static char block[262144];
    for (;;) {
        const ssize_t n = recv(c->fd, block, sizeof block, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (!c->busy)
                drop(c);
            else if (n == 0 && load_answer_end(c->answer)) {
                record(u, c, c->answer->status);
                drop(c);
            } else {
                fail(u, c, &u->r->resets);
            }
            return;
        }
        if (!c->busy) { /* an answer nobody asked for: that of a deadline, before it closes */
            drop(c);
            return;
        }
        load_answer_feed(c->answer, block, (size_t)n);
        if (c->answer->state == LOAD_BAD) {
            fail(u, c, &u->r->bad_answers);
            return;
        }
        if (c->answer->state == LOAD_DONE) {
            record(u, c, c->answer->status);
            c->busy = false;
            if (c->answer->close || c->sent < c->request->size)
                drop(c);
            return;
        }
    }
}

static void handle(run *u, connection *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if ((events & EPOLLOUT) && c->busy) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            fail(u, c, &u->r->connect_errors);
            return;
        }
        send_more(u, c);
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        receive(u, c);
}

static double due_time(const run *u, size_t i)
{
    return u->start + (double)i / u->o->rate;
}

static double earlier(double a, double b)
{
    return a < b ? a : b;
}

/* Gives what is due to connections that are free; answers when it must be called again. */
static double dispatch(run *u, double now)
{
    const bool open = u->o->mode == LOAD_OPEN;
    double wake = now + 0.05;
    while (open && due_time(u, u->next) <= now && due_time(u, u->next) < u->end)
        u->r->due += due_time(u, u->next++) >= u->measured;
    for (size_t i = 0; i < u->o->connections; i++) {
        connection *c = &u->connections[i];
        if (c->busy && now - c->begun > u->o->timeout)
            fail(u, c, &u->r->timeouts);
        if (!c->busy && now < u->end && open && u->sent < u->next) {
            begin(u, c, due_time(u, u->sent));
        } else if (!c->busy && now < u->end && !open) {
            u->r->due += now >= u->measured;
            begin(u, c, now);
        }
        if (c->busy)
            wake = earlier(wake, c->begun + u->o->timeout);
    }
    if (open && u->next - u->sent > u->r->backlog_max)
        u->r->backlog_max = u->next - u->sent;
    if (open && due_time(u, u->next) < u->end)
        wake = earlier(wake, due_time(u, u->next));
    return wake;
}

static bool any_busy(const run *u)
{
    for (size_t i = 0; i < u->o->connections; i++)
        if (u->connections[i].busy)
            return true;
    return false;
}

static void set_timer(const run *u, double wake)
{
    struct itimerspec t = {.it_value = {(time_t)wake, (long)((wake - (double)(time_t)wake) * 1e9)}};
    timerfd_settime(u->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

void load_run(const load_options *o, const load_request *requests, size_t count, load_result *r)
{
    run u = {.o = o, .requests = requests, .request_count = count, .r = r};
    struct epoll_event events[256], timer = {.events = EPOLLIN};
    u.epoll = epoll_create1(EPOLL_CLOEXEC);
    u.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    u.connections = calloc(o->connections, sizeof *u.connections);
    /* apart from the connections, all of which are looked at again and again */
    load_answer *answers = calloc(o->connections, sizeof *answers);
    if (u.epoll < 0 || u.timer < 0 || !u.connections || !answers) {
        fprintf(stderr, "load: no memory, or no epoll\n");
        exit(2);
    }
    for (size_t i = 0; i < o->connections; i++)
        u.connections[i] = (connection){.fd = -1, .answer = &answers[i]};
    epoll_ctl(u.epoll, EPOLL_CTL_ADD, u.timer, &timer);
    u.start = load_now();
    u.measured = u.start + o->warm_up;
    u.end = u.measured + o->duration;
    double now = u.start;
    while (now < u.end || any_busy(&u)) {
        set_timer(&u, dispatch(&u, now));
        const int n = epoll_wait(u.epoll, events, 256, -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                handle(&u, events[i].data.ptr, events[i].events);
        now = load_now();
    }
    r->seconds = o->duration;
    for (size_t i = 0; i < o->connections; i++)
        drop(&u.connections[i]);
    free(u.connections);
    free(answers);
    close(u.timer);
    close(u.epoll);
}
