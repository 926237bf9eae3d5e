/*
 * Taking channels out of convolutions, or single weights. Floor 5.
 *
 * Which channels go is decided by what the others cannot tell: the channels that explain most of
 * what the readers of a tensor see are chosen one after the other (a pivoted Cholesky factorisation
 * of the covariance, weighted by the readers' weights), and what a channel that goes had in common
 * with those that stay is put into the readers' weights and biases by least squares (after He,
 * Zhang and Sun, ICCV 2017). Layers that are tied by additions, depthwise convolutions and pooling
 * lose the same channels.
 */
#ifndef UFI_OPTIMIZE_PRUNE_H
#define UFI_OPTIMIZE_PRUNE_H

#include "optimize/judge.h"
#include "optimize/moments.h"

/* Tensors that must keep the same channels. */
typedef struct ufi_prune_group {
    uint32_t value;   /* one of them, in the source graph */
    const char *name; /* of the first convolution that makes one */
    size_t channels;  /* before */
    size_t kept;      /* in the result */
    double loss;      /* 1 - agreement when half of these channels alone are taken out */
    uint32_t *order;  /* channels, the most worthy first; owned */
} ufi_prune_group;

typedef struct ufi_prune_plan {
    ufi_prune_group *groups;
    uint32_t count;
    uint32_t *group_of;   /* per value of the source: group + 1, 0: keeps its channels */
    ufi_moments *moments; /* per value of the source */
    uint32_t value_count;
    double macs, source; /* of the result and of the source */
} ufi_prune_plan;

/* Called after each trial with what it was; false stops (UF_E_CANCELLED). */
typedef bool ufi_prune_progress(void *arg, const char *what, double agreement, size_t done,
                                size_t total);

/* Finds the groups of the judge's graph, and what each loses by itself. `progress` may be NULL.
 * Errors: UF_E_UNSUPPORTED when no channel can be taken out. */
uf_status ufi_prune_scan(ufi_prune_plan *p, ufi_judge *judge, ufi_prune_progress *progress,
                         void *arg, uf_error *err);
void ufi_prune_plan_free(ufi_prune_plan *p);
/* Decides how many channels each group keeps so that the share `keep` of the multiplications stays
 * (or as near to it as an eighth of the channels of each group allows), where it costs least. */
void ufi_prune_choose(ufi_prune_plan *p, const ufi_graph *g, double keep);
/* The graph without the channels that the plan gives up; it owns all its data. */
uf_status ufi_prune_apply(ufi_graph *out, const ufi_graph *g, const ufi_prune_plan *p,
                          uf_error *err);

/* Sets the smallest of the weights of each layer, the share `sparsity` of them, to zero. */
uf_status ufi_prune_weights(ufi_graph *out, const ufi_graph *g, double sparsity, uf_error *err);

#endif
