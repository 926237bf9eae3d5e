/*
 * Topological order (Kahn 1962), stable: among nodes that are ready, the one written first comes
 * first, so that sorted graphs stay as they are.
 */
#include <string.h>

#include "base/mem.h"
#include "graph/graph.h"

typedef struct sorter {
    ufi_graph *g;
    uint32_t *producer; /* value -> node, or UFI_NONE */
    uint8_t *state;     /* node: 0 untouched, 1 on the stack, 2 placed */
    uint32_t *stack, *next_input;
    ufi_node *sorted;
    uint32_t placed;
} sorter;

static void find_producers(sorter *s)
{
    ufi_graph *g = s->g;
    memset(s->producer, 0xFF, g->value_count * sizeof *s->producer);
    for (uint32_t i = 0; i < g->node_count; i++)
        for (uint32_t j = 0; j < g->nodes[i].out_count; j++)
            if (g->nodes[i].out[j] < g->value_count)
                s->producer[g->nodes[i].out[j]] = i;
}

/* Places `root` after everything it needs; depth first, without recursion. */
static uf_status place(sorter *s, uint32_t root, uf_error *err)
{
    uint32_t depth = 0;
    s->stack[depth++] = root;
    s->state[root] = 1;
    while (depth) {
        uint32_t node = s->stack[depth - 1];
        const ufi_node *n = &s->g->nodes[node];
        if (s->next_input[node] == n->in_count) {
            s->state[node] = 2;
            s->sorted[s->placed++] = *n;
            depth--;
            continue;
        }
        uint32_t v = n->in[s->next_input[node]++];
        uint32_t from = v < s->g->value_count ? s->producer[v] : UFI_NONE;
        if (from == UFI_NONE || s->state[from] == 2)
            continue;
        if (s->state[from] == 1)
            return ufi_fail(err, UF_E_FORMAT, "node \"%s\" (%s) depends on its own output",
                            s->g->nodes[from].name, ufi_op_name((ufi_op)s->g->nodes[from].op));
        s->state[from] = 1;
        s->stack[depth++] = from;
    }
    return UF_OK;
}

uf_status ufi_graph_sort(ufi_graph *g, uf_error *err)
{
    size_t nodes = g->node_count ? g->node_count : 1, values = g->value_count ? g->value_count : 1;
    sorter s = {.g = g};
    s.producer = ufi_malloc(values, sizeof *s.producer);
    s.state = ufi_calloc(nodes, 1);
    s.stack = ufi_malloc(nodes, sizeof *s.stack);
    s.next_input = ufi_calloc(nodes, sizeof *s.next_input);
    s.sorted = ufi_malloc(nodes, sizeof *s.sorted);
    uf_status st = UF_OK;
    if (!s.producer || !s.state || !s.stack || !s.next_input || !s.sorted)
        st = ufi_fail(err, UF_E_NOMEM, "no memory to sort a graph");
    if (!st)
        find_producers(&s);
    for (uint32_t i = 0; !st && i < g->node_count; i++)
        if (s.state[i] == 0)
            st = place(&s, i, err);
    if (!st && g->node_count)
        memcpy(g->nodes, s.sorted, g->node_count * sizeof *g->nodes);
    ufi_free(s.producer);
    ufi_free(s.state);
    ufi_free(s.stack);
    ufi_free(s.next_input);
    ufi_free(s.sorted);
    return st;
}
