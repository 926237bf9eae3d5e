/*
 * A load generator for servers of HTTP/1.1. Requests have send times that do not depend on the
 * answers (open loop): when the server falls behind, the time that a request waits for its turn
 * counts, which a client that waits for each answer would not see. One thread, epoll.
 */
#ifndef UF_TESTS_SERVER_LOAD_H
#define UF_TESTS_SERVER_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { LOAD_BODIES = 64, LOAD_HEADERS = 16, LOAD_HEAD_MAX = 16384 };

typedef enum load_mode {
    LOAD_OPEN,        /* at a rate */
    LOAD_CLOSED,      /* each connection sends when its answer has come */
    LOAD_SLOW_HEADER, /* connections that send a byte of their head now and then */
    LOAD_SLOW_BODY,
    LOAD_SLOW_READ, /* that ask, and read a byte of the answer now and then */
    LOAD_IDLE       /* that send nothing after their first answer */
} load_mode;

typedef struct load_options {
    load_mode mode;
    struct sockaddr_storage address;
    socklen_t address_size;
    char host[256], path[1024];
    const char *method, *field, *type; /* field: bodies are files of a form */
    const char *bodies[LOAD_BODIES], *headers[LOAD_HEADERS];
    size_t body_count, header_count;
    double rate, duration, warm_up, timeout, interval; /* per second; seconds */
    size_t connections;
} load_options;

/* A request as it is sent. */
typedef struct load_request {
    char *data;
    size_t size, head_size;
} load_request;

/* An answer as it arrives. */
typedef enum load_answer_state {
    LOAD_HEAD,
    LOAD_LENGTH,     /* `left` bytes of a body of known length */
    LOAD_CHUNK_SIZE, /* a line with a chunk's size */
    LOAD_CHUNK,      /* `left` bytes of a chunk and its line end */
    LOAD_TRAILER,
    LOAD_UNTIL_CLOSE,
    LOAD_DONE,
    LOAD_BAD
} load_answer_state;

typedef struct load_answer {
    load_answer_state state;
    int status;
    bool close; /* the server will close the connection */
    uint64_t left;
    size_t line_size; /* of the head so far, or of the chunk's line */
    char line[LOAD_HEAD_MAX];
} load_answer;

void load_answer_reset(load_answer *a);
/* Takes bytes up to the answer's end; how many it took. */
size_t load_answer_feed(load_answer *a, const char *data, size_t size);
/* At the connection's end: whether that ended the answer. */
bool load_answer_end(load_answer *a);

/* What became of the requests. */
typedef struct load_record {
    float latency, service; /* seconds since it was due, since it was sent */
    int status;             /* of HTTP; 0: none came */
} load_record;

typedef struct load_result {
    load_record *records;
    size_t count, room;
    size_t due; /* requests whose time had come after the warm-up */
    size_t connects, connect_errors, resets, timeouts, bad_answers;
    size_t backlog_max; /* due requests that waited for a connection */
    /* of slow connections */
    size_t open_max, open_end, closed_by_server, answered;
    double seconds, processor_seconds;
} load_result;

double load_now(void); /* monotonic seconds */
/* A connection that is being made, not blocking; -1: none. */
int load_connect(const load_options *o, int receive_bytes);
/* Requests of a run; exits with a message when a file cannot be read. */
size_t load_make_requests(const load_options *o, load_request requests[LOAD_BODIES]);
void load_run(const load_options *o, const load_request *requests, size_t count, load_result *r);
void load_run_slow(const load_options *o, const load_request *request, load_result *r);
void load_report(const load_options *o, load_result *r);

#endif
