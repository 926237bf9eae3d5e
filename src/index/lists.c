/* The small lists of a search. */
#include <math.h>

#include "base/mem.h"
#include "index/search.h"

/* Room for one more item of `size` bytes. */
static bool grow(void **items, size_t count, size_t *room, size_t size, bool *failed)
{
    if (count < *room)
        return true;
    const size_t more = *room ? 2 * *room : 1024;
    void *p = *failed ? NULL : ufi_realloc(*items, more, size);
    if (!p) {
        *failed = true;
        return false;
    }
    *items = p;
    *room = more;
    return true;
}

void ufi_slots_push(ufi_slots *l, uint64_t entry)
{
    void *items = l->entry;
    if (grow(&items, l->count, &l->room, sizeof *l->entry, &l->failed)) {
        l->entry = items;
        l->entry[l->count++] = entry;
    }
}

void ufi_candidates_push(ufi_candidates *l, const ufi_candidate *c)
{
    void *items = l->item;
    if (grow(&items, l->count, &l->room, sizeof *l->item, &l->failed)) {
        l->item = items;
        l->item[l->count++] = *c;
    }
}

static void swap(uint64_t *a, uint64_t *b)
{
    const uint64_t t = *a;
    *a = *b;
    *b = t;
}

/* Brings the `keep` largest of v[count] to the front (Hoare's selection). */
static void select_largest(uint64_t *v, size_t count, size_t keep)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        const uint64_t pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (v[i] > pivot)
                i++;
            while (v[j] < pivot)
                j--;
            if (i >= j)
                break;
            swap(&v[i++], &v[j--]);
        }
        if (keep <= j + 1)
            high = j;
        else
            low = j + 1;
    }
}

void ufi_leaders_offer(ufi_leaders *l, uint32_t sum, uint32_t slot)
{
    l->entry[l->count++] = (uint64_t)sum << 32 | slot;
    if (l->count < 2 * l->wanted)
        return;
    select_largest(l->entry, l->count, l->wanted);
    l->count = l->wanted;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < l->count; i++)
        least = l->entry[i] < least ? l->entry[i] : least;
    l->least = (uint32_t)(least >> 32);
}

float ufi_top_floor(const ufi_top *t)
{
    if (t->count < t->wanted)
        return -INFINITY;
    float least = t->score[0];
    for (size_t i = 1; i < t->count; i++)
        least = fminf(least, t->score[i]);
    return least;
}

void ufi_top_offer(ufi_top *t, uint64_t group, float score)
{
    size_t least = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->group[i] == group) {
            t->score[i] = fmaxf(t->score[i], score);
            return;
        }
        least = t->score[i] < t->score[least] ? i : least;
    }
    if (t->count < t->wanted)
        least = t->count++;
    else if (t->score[least] >= score)
        return;
    t->group[least] = group;
    t->score[least] = score;
}
