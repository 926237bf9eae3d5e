/*
 * Orders: a new permutation of all samples each epoch, or batches of P persons with K samples each
 * (Hermans et al. 2017), which triplets need: a batch drawn from thousands of persons holds hardly
 * two pictures of any of them.
 *
 * Batches of persons take them from a permutation of all persons, whole batches of it, so that
 * those of a batch differ; then comes the next permutation. A person's samples are taken in the
 * same way, K more each time. So persons come equally often, however many pictures there are of
 * them, and a person's pictures do.
 */
#include "train/order.h"

#include <stdlib.h>

#include "base/mem.h"
#include "train/random.h"

/* Keys of what does not begin anew with each epoch: past all of these. */
static const uint64_t persons_key = (uint64_t)1 << 32, samples_key = ((uint64_t)1 << 32) + 1;

/* Where position `i` of 0..n-1 lands in a permutation that depends on the key: a Feistel network
 * over the next power of four, walked until it comes back into 0..n-1. */
static size_t permute(uint64_t key, size_t n, size_t i)
{
    unsigned half = 1;
    while (half < 32 && n > (size_t)1 << 2 * half)
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t x = i;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (uint64_t round = 0; round < 6; round++) {
            const uint64_t next = left ^ (ufi_key(ufi_key(key, round), right) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= n);
    return (size_t)x;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts samples by person; o->starts, o->persons and o->count follow from it. */
static uf_status group(ufi_order *o, const ufi_dataset *d, uint32_t *samples, uf_error *err)
{
    uint64_t *keys = ufi_malloc(o->count, sizeof *keys);
    size_t n = 0;
    o->starts = ufi_malloc(o->count + 1, sizeof *o->starts);
    if (!keys || !o->starts) {
        ufi_free(keys);
        return ufi_fail(err, UF_E_NOMEM, "no memory for the order of %zu samples", o->count);
    }
    for (size_t i = 0; i < o->count; i++) {
        const int32_t label = ufi_dataset_sample(d, samples[i])->label;
        if (label >= 0)
            keys[n++] = (uint64_t)label << 32 | samples[i];
    }
    qsort(keys, n, sizeof *keys, by_number);
    for (size_t i = 0; i < n; i++) {
        samples[i] = (uint32_t)keys[i];
        if (i == 0 || keys[i] >> 32 != keys[i - 1] >> 32)
            o->starts[o->persons++] = (uint32_t)i;
    }
    o->starts[o->persons] = (uint32_t)n;
    o->count = n;
    ufi_free(keys);
    return UF_OK;
}

uf_status ufi_order_open(ufi_order *o, const ufi_dataset *d, uint32_t *samples, uf_error *err)
{
    if (o->per_person <= 1)
        return UF_OK;
    const size_t wanted = o->batch / o->per_person;
    if (o->batch % o->per_person || wanted < 2)
        return ufi_fail(err, UF_E_ARG,
                        "a batch of %zu cannot hold %zu pictures of each of two persons or more: "
                        "choose a multiple",
                        o->batch, o->per_person);
    uf_status st = group(o, d, samples, err);
    if (!st && o->persons < wanted)
        st = ufi_fail(err, UF_E_ARG,
                      "a batch of %zu with %zu pictures of each person takes %zu persons, there "
                      "are %zu: a smaller batch, or more pictures of each",
                      o->batch, o->per_person, wanted, o->persons);
    if (st)
        ufi_order_close(o);
    return st;
}

void ufi_order_close(ufi_order *o)
{
    ufi_free(o->starts);
    o->starts = NULL;
}

static size_t place_of_person(const ufi_order *o, uint64_t batch, size_t index)
{
    const size_t wanted = o->batch / o->per_person, batches = o->persons / wanted;
    const uint64_t pass = batch / batches; /* over the persons */
    const size_t turn = (size_t)(batch % batches) * wanted + index / o->per_person;
    const size_t person = permute(ufi_key(ufi_key(o->seed, persons_key), pass), o->persons, turn);
    const size_t first = o->starts[person], n = o->starts[person + 1] - first;
    /* What is left of a round is less than K and would bring a picture twice into a batch. */
    const size_t round = n < o->per_person ? n : n / o->per_person * o->per_person;
    const uint64_t at = pass * o->per_person + index % o->per_person;
    const uint64_t key = ufi_key(ufi_key(ufi_key(o->seed, samples_key), person), at / round);
    return first + permute(key, n, (size_t)(at % round));
}

size_t ufi_order_place(const ufi_order *o, uint32_t epoch, size_t position)
{
    if (o->per_person <= 1)
        return permute(ufi_key(ufi_key(o->seed, epoch), 0), o->count, position);
    const uint64_t batch = (uint64_t)epoch * (o->count / o->batch) + position / o->batch;
    return place_of_person(o, batch, position % o->batch);
}
