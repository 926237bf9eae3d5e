/* Each client with jobs has a turn in a list; a turn gives one job and goes to the end. */
#include "server/fair.h"

#include <stdlib.h>
#include <string.h>

struct fair_turn {
    fair_turn *next;
    fair_job *first, *last; /* first->client is whose turn it is */
};

static void append_turn(fair_queue *q, fair_turn *t)
{
    t->next = NULL;
    if (q->last)
        q->last->next = t;
    else
        q->first = t;
    q->last = t;
}

bool fair_push(fair_queue *q, fair_job *job)
{
    fair_turn *t = q->first;
    job->next = NULL;
    while (t && strcmp(t->first->client, job->client) != 0)
        t = t->next;
    if (t) {
        t->last->next = job;
        t->last = job;
    } else {
        t = malloc(sizeof *t);
        if (!t)
            return false;
        t->first = t->last = job;
        append_turn(q, t);
    }
    q->count++;
    return true;
}

fair_job *fair_peek(const fair_queue *q)
{
    return q->first ? q->first->first : NULL;
}

fair_job *fair_pop(fair_queue *q)
{
    fair_turn *t = q->first;
    if (!t)
        return NULL;
    fair_job *job = t->first;
    q->first = t->next;
    if (!q->first)
        q->last = NULL;
    t->first = job->next;
    if (t->first)
        append_turn(q, t);
    else
        free(t);
    q->count--;
    return job;
}

double fair_oldest(const fair_queue *q)
{
    double oldest = q->first ? q->first->first->since : 0;
    for (const fair_turn *t = q->first; t; t = t->next)
        oldest = t->first->since < oldest ? t->first->since : oldest;
    return oldest;
}
