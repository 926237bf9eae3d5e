/* A sorted list of people. */
#include "people.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *s)
{
    return s ? cli_need(strdup(s)) : NULL;
}

int person_list_add(void *user, const uf_person_info *p)
{
    person_list *l = user;
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->entries = cli_need(realloc(l->entries, l->room * sizeof *l->entries));
    }
    l->entries[l->count++] = (person_entry){.id = copy(p->id),
                                            .collection = copy(p->collection),
                                            .metadata = copy(p->metadata),
                                            .consent = copy(p->consent),
                                            .purpose = copy(p->purpose),
                                            .expires = p->expires,
                                            .created = p->created};
    return 0;
}

static int compare(const void *a, const void *b)
{
    const person_entry *p = a, *q = b;
    const int c = strcmp(p->collection, q->collection);
    return c ? c : strcmp(p->id, q->id);
}

void person_list_sort(person_list *l)
{
    if (l->count)
        qsort(l->entries, l->count, sizeof *l->entries, compare);
}

person_entry *person_list_find(const person_list *l, const char *collection, const char *id)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const person_entry *p = &l->entries[middle];
        int c = strcmp(p->collection, collection);
        if (!c)
            c = strcmp(p->id, id);
        if (!c)
            return &l->entries[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void person_list_free(person_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->entries[i].id);
        free(l->entries[i].collection);
        free(l->entries[i].metadata);
        free(l->entries[i].consent);
        free(l->entries[i].purpose);
    }
    free(l->entries);
}
