#include "train/net_dnnl.h"

#include <string.h>

uf_status ufi_dnnl_check(dnnl_status_t status, const char *what, uf_error *err)
{
    static const char *const names[] = {"success",       "out of memory", "invalid arguments",
                                        "unimplemented", "iterator ends", "runtime error",
                                        "not required"};
    if (status == dnnl_success)
        return UF_OK;
    const char *name = (unsigned)status < sizeof names / sizeof *names ? names[status] : "?";
    uf_status st = status == dnnl_out_of_memory   ? UF_E_NOMEM
                   : status == dnnl_unimplemented ? UF_E_UNSUPPORTED
                                                  : UF_E_STATE;
    return ufi_fail(err, st, "%s: oneDNN says: %s", what, name);
}

uf_status ufi_dnnl_open(ufi_dnnl *d, uf_error *err)
{
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (!s)
        s = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    if (!s)
        s = dnnl_primitive_attr_create(&d->attr);
    if (!s)
        s = dnnl_primitive_attr_set_scratchpad_mode(d->attr, dnnl_scratchpad_mode_user);
    return ufi_dnnl_check(s, "opening", err);
}

bool ufi_dnnl_has_bf16(void)
{
    const int isa = dnnl_get_effective_cpu_isa(); /* 0 on other processors than x86 */
    return !isa || (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

void ufi_dnnl_close(ufi_dnnl *d)
{
    if (d->attr)
        dnnl_primitive_attr_destroy(d->attr);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    memset(d, 0, sizeof *d);
}

uf_status ufi_dnnl_desc(dnnl_memory_desc_t *md, int rank, const int64_t *dims,
                        dnnl_data_type_t type, dnnl_format_tag_t tag, uf_error *err)
{
    dnnl_dims_t copy = {0};
    memcpy(copy, dims, (size_t)rank * sizeof *copy);
    return ufi_dnnl_check(dnnl_memory_desc_init_by_tag(md, rank, copy, type, tag), "a tensor", err);
}

uf_status ufi_prim_create(const ufi_dnnl *d, ufi_prim *p, dnnl_primitive_desc_t pd, uf_error *err)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    uf_status st = ufi_dnnl_check(dnnl_primitive_create(&p->primitive, pd), "a primitive", err);
    p->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (!st && p->scratch_bytes)
        st = ufi_prim_arg(d, p, DNNL_ARG_SCRATCHPAD, scratch, err);
    dnnl_primitive_desc_destroy(pd);
    return st;
}

uf_status ufi_prim_arg(const ufi_dnnl *d, ufi_prim *p, int arg, const dnnl_memory_desc_t *md,
                       uf_error *err)
{
    dnnl_memory_t memory;
    if (p->count == UFI_PRIM_ARGS)
        return ufi_fail(err, UF_E_STATE, "too many arguments of a primitive");
    uf_status st =
        ufi_dnnl_check(dnnl_memory_create(&memory, md, d->engine, DNNL_MEMORY_NONE), "memory", err);
    if (!st)
        p->args[p->count++] = (dnnl_exec_arg_t){arg, memory};
    return st;
}

uf_status ufi_prim_bind(ufi_prim *p, int arg, const void *data, uf_error *err)
{
    for (int i = 0; i < p->count; i++)
        if (p->args[i].arg == arg)
            return ufi_dnnl_check(
                dnnl_memory_set_data_handle(p->args[i].memory, (void *)(uintptr_t)data), "memory",
                err);
    return UF_OK;
}

size_t ufi_prim_bytes(const ufi_prim *p, int arg)
{
    const dnnl_memory_desc_t *md;
    for (int i = 0; i < p->count; i++)
        if (p->args[i].arg == arg && !dnnl_memory_get_memory_desc(p->args[i].memory, &md))
            return dnnl_memory_desc_get_size(md);
    return 0;
}

uf_status ufi_prim_run(const ufi_dnnl *d, ufi_prim *p, uf_error *err)
{
    if (!p->primitive)
        return UF_OK;
    return ufi_dnnl_check(dnnl_primitive_execute(p->primitive, d->stream, p->count, p->args),
                          "running", err);
}

void ufi_prim_destroy(ufi_prim *p)
{
    for (int i = 0; i < p->count; i++)
        dnnl_memory_destroy(p->args[i].memory);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    memset(p, 0, sizeof *p);
}

uf_status ufi_prim_reorder(const ufi_dnnl *d, ufi_prim *p, const dnnl_memory_desc_t *from,
                           const dnnl_memory_desc_t *to, uf_error *err)
{
    dnnl_primitive_desc_t pd;
    if (dnnl_memory_desc_equal(from, to))
        return UF_OK;
    uf_status st = ufi_dnnl_check(
        dnnl_reorder_primitive_desc_create(&pd, from, d->engine, to, d->engine, d->attr),
        "reordering weights", err);
    if (!st)
        st = ufi_prim_create(d, p, pd, err);
    if (!st)
        st = ufi_prim_arg(d, p, DNNL_ARG_FROM, from, err);
    return st ? st : ufi_prim_arg(d, p, DNNL_ARG_TO, to, err);
}
