/*
 * What is large comes from blocks that are kept for the next request. Bodies grow in many threads
 * at once, between small pieces of memory that stay: malloc keeps the holes that they leave, more
 * with every burst (60 MB after ten times the load that can be carried, instead of 36). Mapping
 * pages for each body would cost the time of 30 page faults a request.
 */
#include "server/item.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BLOCK_MIN = 64 << 10,
    SIZES = 5, /* each twice the one before */
    BLOCK_MAX = BLOCK_MIN << (SIZES - 1),
    KEPT_BYTES_MAX = 16 << 20
};

typedef struct block {
    struct block *next;
} block;

static struct {
    pthread_mutex_t lock; /* protects all */
    block *free[SIZES];
    size_t kept;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The list with the smallest blocks that are large enough; SIZES: none. */
static int list_of(size_t room)
{
    int i = 0;
    while (i < SIZES && (size_t)BLOCK_MIN << i < room)
        i++;
    return i;
}

static bool is_mapped(const srv_item *item)
{
    return item->room >= BLOCK_MIN;
}

static void *take_block(size_t room)
{
    const int list = list_of(room);
    block *b = NULL;
    if (list < SIZES) {
        pthread_mutex_lock(&pool.lock);
        b = pool.free[list];
        if (b) {
            pool.free[list] = b->next;
            pool.kept -= room;
        }
        pthread_mutex_unlock(&pool.lock);
    }
    if (b)
        return b;
    void *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void give_block(void *data, size_t room)
{
    const int list = list_of(room);
    block *b = data;
    bool keep = false;
    if (list < SIZES) {
        pthread_mutex_lock(&pool.lock);
        keep = pool.kept + room <= KEPT_BYTES_MAX;
        if (keep) {
            b->next = pool.free[list];
            pool.free[list] = b;
            pool.kept += room;
        }
        pthread_mutex_unlock(&pool.lock);
    }
    if (!keep)
        munmap(data, room);
}

static void free_data(srv_item *item)
{
    if (is_mapped(item))
        give_block(item->data, item->room);
    else
        free(item->data);
}

bool srv_item_reserve(srv_item *item, size_t room)
{
    void *to;
    const int list = list_of(room);
    if (room >= BLOCK_MIN && list < SIZES)
        room = (size_t)BLOCK_MIN << list;
    if (room < BLOCK_MIN) {
        to = realloc(item->data, room);
    } else if (item->room >= BLOCK_MAX) {
        to = mremap(item->data, item->room, room, MREMAP_MAYMOVE);
        to = to == MAP_FAILED ? NULL : to;
    } else {
        to = take_block(room);
        if (to && item->data) {
            memcpy(to, item->data, item->size);
            free_data(item);
        }
    }
    if (!to)
        return false;
    item->data = to;
    item->room = room;
    return true;
}

void srv_item_free(srv_item *item)
{
    free_data(item);
    free(item->name);
    free(item->filename);
    free(item->content_type);
    *item = (srv_item){0};
}

void srv_item_trim(void)
{
    pthread_mutex_lock(&pool.lock);
    for (int i = 0; i < SIZES; i++)
        while (pool.free[i]) {
            block *b = pool.free[i];
            pool.free[i] = b->next;
            munmap(b, (size_t)BLOCK_MIN << i);
        }
    pool.kept = 0;
    pthread_mutex_unlock(&pool.lock);
}
