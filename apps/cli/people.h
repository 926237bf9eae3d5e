/* People of a gallery in memory, found by collection and id: export and import need to know who is
 * there. */
#ifndef UF_CLI_PEOPLE_H
#define UF_CLI_PEOPLE_H

#include "cli.h"

typedef struct person_entry {
    char *id, *collection, *metadata, *consent, *purpose; /* NULL: not given */
    int64_t expires, created;
    bool seen; /* the caller's */
} person_entry;

typedef struct person_list {
    person_entry *entries;
    size_t count, room;
} person_list;

/* A uf_person_fn; `user` is the list. */
int person_list_add(void *user, const uf_person_info *p);
/* Before person_list_find. */
void person_list_sort(person_list *l);
person_entry *person_list_find(const person_list *l, const char *collection, const char *id);
void person_list_free(person_list *l);

#endif
