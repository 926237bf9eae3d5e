/* Sets that are joined one by one (union-find): parent[v] == v for the root of a set. Floor 1. */
#ifndef UFI_BASE_FOREST_H
#define UFI_BASE_FOREST_H

#include <stdint.h>

static inline uint32_t ufi_forest_root(uint32_t *parent, uint32_t v)
{
    while (parent[v] != v)
        v = parent[v] = parent[parent[v]];
    return v;
}

/* The root of b's set becomes that of both. */
static inline void ufi_forest_join(uint32_t *parent, uint32_t a, uint32_t b)
{
    parent[ufi_forest_root(parent, a)] = ufi_forest_root(parent, b);
}

#endif
