/*
 * oneDNN for training networks: one engine and stream, memory descriptions, and primitives with
 * their arguments. Private to training networks.
 */
#ifndef UFI_TRAIN_NET_DNNL_H
#define UFI_TRAIN_NET_DNNL_H

#include <dnnl.h>
#include <stdbool.h>

#include "base/status.h"

typedef struct ufi_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* memory to work in comes from us */
} ufi_dnnl;

enum { UFI_PRIM_ARGS = 6 };

/* A primitive, or nothing (`primitive` NULL) where none is needed. */
typedef struct ufi_prim {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[UFI_PRIM_ARGS];
    int count;
    size_t scratch_bytes;
} ufi_prim;

/* UF_OK, or UF_E_STATE "<what>: oneDNN says <status>". */
uf_status ufi_dnnl_check(dnnl_status_t status, const char *what, uf_error *err);
uf_status ufi_dnnl_open(ufi_dnnl *d, uf_error *err);
void ufi_dnnl_close(ufi_dnnl *d); /* accepts zeros */

/* Whether convolutions of BF16 exist on this processor: on x86 with AVX-512 only. */
bool ufi_dnnl_has_bf16(void);

uf_status ufi_dnnl_desc(dnnl_memory_desc_t *md, int rank, const int64_t *dims,
                        dnnl_data_type_t type, dnnl_format_tag_t tag, uf_error *err);

/* Makes the primitive of `pd`, with arguments that have no memory yet, and destroys `pd`. */
uf_status ufi_prim_create(const ufi_dnnl *d, ufi_prim *p, dnnl_primitive_desc_t pd, uf_error *err);
/* The next argument, whose memory is at `data` (bound later when NULL). */
uf_status ufi_prim_arg(const ufi_dnnl *d, ufi_prim *p, int arg, const dnnl_memory_desc_t *md,
                       uf_error *err);
uf_status ufi_prim_bind(ufi_prim *p, int arg, const void *data, uf_error *err);
/* Bytes of an argument. */
size_t ufi_prim_bytes(const ufi_prim *p, int arg);
uf_status ufi_prim_run(const ufi_dnnl *d, ufi_prim *p, uf_error *err);
void ufi_prim_destroy(ufi_prim *p);
/* A copy from one arrangement to another; `p` stays empty when they are the same. */
uf_status ufi_prim_reorder(const ufi_dnnl *d, ufi_prim *p, const dnnl_memory_desc_t *from,
                           const dnnl_memory_desc_t *to, uf_error *err);

#endif
