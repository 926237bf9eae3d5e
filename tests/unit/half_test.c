/* Weights in 16 bits. */
#include "graph_maker.h"
#include "optimize/half.h"

/* Of each filter of a convolution and of both forms of a fully connected layer. */
TEST(half_precision_keeps_the_sums_of_filters)
{
    enum { IN = 64, OUT = 16 };
    for (int form = 0; form < 3; form++) { /* convolution, [out][in], [in][out] */
        maker m;
        ufi_graph g;
        ufi_node *n;
        maker_init(&m, 33 + (uint64_t)form);
        const ufi_shape x = form ? shape_of(2, 1, IN, 0, 0) : shape_of(4, 1, IN, 1, 1);
        const ufi_shape w = form == 0   ? shape_of(4, OUT, IN, 1, 1)
                            : form == 1 ? shape_of(2, OUT, IN, 0, 0)
                                        : shape_of(2, IN, OUT, 0, 0);
        const uint32_t in[2] = {add_input(&m, x), add_weights(&m, w, 1)};
        const uint32_t y = add_node(&m, form ? UFI_OP_GEMM : UFI_OP_CONV, in, 2, &n);
        const int64_t one = 1;
        if (form == 1)
            set_ints(&m, n, UFI_ATTR_TRANS_B, &one, 1);
        REQUIRE_OK(m.st, m.err);
        REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err), m.err);
        REQUIRE_OK(ufi_store_half(&g, &m.g, UF_F16, &m.err), m.err);
        const float *wide = m.g.values[in[1]].data;
        const uint16_t *half = NULL;
        for (uint32_t v = 0; v < g.value_count; v++)
            half = g.values[v].dtype == UF_F16 ? g.values[v].data : half;
        REQUIRE(half && wide);
        for (int o = 0; o < OUT; o++) {
            double lost = 0;
            for (int k = 0; k < IN; k++) {
                const int at = form == 2 ? k * OUT + o : o * IN + k;
                const double off = (double)ufi_f16_to_f32(half[at]) - (double)wide[at];
                CHECK(fabs(off) <= 0x1p-10); /* one step below 1 is 2^-11, two halves of it */
                lost += off;
            }
            CHECK_MSG(fabs(lost) <= 0x1p-11, "form %d, filter %d: %g", form, o, lost);
        }
        ufi_graph_free(&g);
        ufi_graph_free(&m.g);
    }
}

TEST_MAIN
