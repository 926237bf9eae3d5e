/* A list under a lock; it is walked some times a second. */
#include "server/connections.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct srv_slot {
    srv_slot *previous, *next;
    int socket;
    srv_phase phase;
    double deadline;
    bool ended;
};

struct srv_connections {
    pthread_mutex_t lock; /* protects all slots too */
    srv_slot *first;
    size_t count;
    bool tls;
};

srv_connections *srv_connections_create(bool tls)
{
    srv_connections *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->tls = tls;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void srv_connections_destroy(srv_connections *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

srv_slot *srv_slot_open(srv_connections *c, int socket, double deadline)
{
    srv_slot *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->socket = socket;
    s->deadline = deadline;
    pthread_mutex_lock(&c->lock);
    s->next = c->first;
    if (s->next)
        s->next->previous = s;
    c->first = s;
    c->count++;
    pthread_mutex_unlock(&c->lock);
    return s;
}

void srv_slot_close(srv_connections *c, srv_slot *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&c->lock);
    if (s->previous)
        s->previous->next = s->next;
    else
        c->first = s->next;
    if (s->next)
        s->next->previous = s->previous;
    c->count--;
    pthread_mutex_unlock(&c->lock);
    free(s);
}

void srv_slot_phase(srv_connections *c, srv_slot *s, srv_phase phase, double deadline)
{
    if (!s)
        return;
    pthread_mutex_lock(&c->lock);
    s->phase = phase;
    s->deadline = deadline;
    pthread_mutex_unlock(&c->lock);
}

/* The thread of the connection sees its socket end, and clears up. */
static void end(const srv_connections *c, srv_slot *s)
{
    static const char too_slow[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
                                   "Connection: close\r\n\r\n";
    if (!c->tls && (s->phase == SRV_PHASE_HEAD || s->phase == SRV_PHASE_BODY))
        (void)!send(s->socket, too_slow, sizeof too_slow - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(s->socket, SHUT_RDWR);
    s->ended = true;
}

/* A request may have come that its thread has not seen yet. */
static bool is_silent(const srv_slot *s)
{
    char c;
    return s->phase == SRV_PHASE_IDLE &&
           recv(s->socket, &c, 1, MSG_PEEK | MSG_DONTWAIT | MSG_NOSIGNAL) <= 0;
}

void srv_connections_sweep(srv_connections *c, double now, bool idle_too)
{
    pthread_mutex_lock(&c->lock);
    for (srv_slot *s = c->first; s; s = s->next) {
        const bool late = s->deadline > 0 && s->deadline <= now;
        if (!s->ended && (late || (idle_too && is_silent(s))))
            end(c, s);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t srv_connections_count(srv_connections *c)
{
    pthread_mutex_lock(&c->lock);
    const size_t n = c->count;
    pthread_mutex_unlock(&c->lock);
    return n;
}

size_t srv_connections_busy(srv_connections *c)
{
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    for (const srv_slot *s = c->first; s; s = s->next)
        n += s->phase != SRV_PHASE_IDLE;
    pthread_mutex_unlock(&c->lock);
    return n;
}
