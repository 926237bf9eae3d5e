/* A queue of jobs that takes turns between clients, first in first out within each. Under the
 * caller's lock. */
#ifndef UF_SERVER_FAIR_H
#define UF_SERVER_FAIR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fair_job fair_job;
struct fair_job {
    const char *client; /* valid while it is queued */
    double since;       /* when it was put in */
    fair_job *next;     /* the queue's */
};

typedef struct fair_turn fair_turn;

typedef struct fair_queue {
    fair_turn *first, *last; /* clients that have jobs, in the order of their turns */
    size_t count;            /* jobs */
} fair_queue;

bool fair_push(fair_queue *q, fair_job *job); /* false: no memory */
/* The job whose turn it is, NULL: none. */
fair_job *fair_peek(const fair_queue *q);
fair_job *fair_pop(fair_queue *q);
/* When the one that waits longest was put in. */
double fair_oldest(const fair_queue *q);

#endif
