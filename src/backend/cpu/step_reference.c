/* Any operator by its C reference, on PLAIN tensors. */
#include "backend/cpu/build.h"

typedef struct reference_params {
    ufi_tensor *in, *out;    /* in the node's numbering: absent inputs have no dtype */
    const uint32_t *in_slot; /* operand of input i, or UFI_NONE */
} reference_params;

static uf_status run_reference(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const reference_params *p = s->params;
    const ufi_node *n = s->node;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (p->in_slot[i] != UFI_NONE)
            p->in[i] = s->in[p->in_slot[i]].t;
    for (uint32_t i = 0; i < n->out_count; i++)
        p->out[i] = s->out[i].t;
    ufi_op_call call = {n, p->in, n->in_count, p->out, n->out_count};
    return ufi_op_eval(&call, err);
}

/* An output that nobody wants still needs a place: the reference writes all of them. */
static uf_status unwanted_out(cpu_builder *b, const ufi_node *n, cpu_operand *out)
{
    return ufi_fail(b->err, UF_E_UNSUPPORTED, "node \"%s\": %s with an output left out", n->name,
                    ufi_op_name((ufi_op)n->op));
}

uf_status cpu_build_reference(cpu_builder *b, const ufi_node *n)
{
    reference_params *p = cpu_params(b, sizeof *p);
    cpu_operand *in = cpu_params(b, (n->in_count + 1) * sizeof *in);
    cpu_operand *out = cpu_params(b, (n->out_count + 1) * sizeof *out);
    uint32_t *slot = cpu_params(b, (n->in_count + 1) * sizeof *slot), count = 0;
    if (!p || !in || !out || !slot)
        return UF_E_NOMEM;
    p->in = cpu_params(b, (n->in_count + 1) * sizeof *p->in);
    p->out = cpu_params(b, (n->out_count + 1) * sizeof *p->out);
    if (!p->in || !p->out)
        return UF_E_NOMEM;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < n->in_count; i++) {
        slot[i] = UFI_NONE;
        if (n->in[i] == UFI_NONE)
            continue;
        st = cpu_in(b, n->in[i], UFI_PLAIN, &in[count]);
        slot[i] = count++;
    }
    p->in_slot = slot;
    for (uint32_t i = 0; !st && i < n->out_count; i++)
        st = n->out[i] == UFI_NONE ? unwanted_out(b, n, &out[i])
                                   : cpu_out(b, n->out[i], UFI_PLAIN, NULL, &out[i]);
    return st ? st
              : cpu_add_step(b, n, run_reference, "reference", in, count, out, n->out_count, p,
                             NULL);
}
