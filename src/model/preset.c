/*
 * Presets: what an ONNX file does not say about itself. Facts as their publishers give them; a
 * family that is new here needs rows in this table and, if it decodes its outputs in its own way, a
 * file next to yunet.c.
 */
#include "model/preset.h"

#include <string.h>

#define TEMPLATE_ARCFACE                                               \
    "0.34191607 0.46157411 0.65653393 0.45983393 0.500225 0.64050536 " \
    "0.37097589 0.82469196 0.63151696 0.82325089"
#define TEMPLATE_REID                                                    \
    "0.31556875 0.46157410 0.68262292 0.46157410 0.50026249 0.64050537 " \
    "0.34947187 0.82469195 0.65343645 0.82325089"

enum { MAX_PAIRS = 14 };

typedef struct preset {
    const char *name, *description;
    const char *pairs[MAX_PAIRS][2];
} preset;

static const preset presets[] = {
    {"yunet",
     "YuNet face detector, 5 points (libfacedetection.train, OpenCV Zoo)",
     {{"task", "detector"},
      {"family", "yunet"},
      {"input.order", "bgr"},
      {"input.mean", "0 0 0"},
      {"input.scale", "1 1 1"},
      {"detector.fit", "top-left"},
      {"detector.size", "320"},
      {"detector.strides", "8 16 32"},
      {"detector.anchors", "1"},
      {"detector.score", "0.6"},
      {"detector.nms", "0.3"},
      {"detector.top", "5000"}}},
    {"scrfd",
     "SCRFD face detector, 5 points (InsightFace)",
     {{"task", "detector"},
      {"family", "scrfd"},
      {"input.order", "rgb"},
      {"input.mean", "127.5 127.5 127.5"},
      {"input.scale", "0.0078125 0.0078125 0.0078125"},
      {"detector.fit", "top-left"},
      {"detector.size", "640"},
      {"detector.strides", "8 16 32"},
      {"detector.anchors", "2"},
      {"detector.score", "0.5"},
      {"detector.nms", "0.4"},
      {"detector.top", "5000"}}},
    {"ultraface",
     "UltraFace detector, boxes only (Linzaer)",
     {{"task", "detector"},
      {"family", "ultraface"},
      {"input.order", "rgb"},
      {"input.mean", "127 127 127"},
      {"input.scale", "0.0078125 0.0078125 0.0078125"},
      {"detector.fit", "stretch"},
      {"detector.size", "320"},
      {"detector.score", "0.7"},
      {"detector.nms", "0.5"},
      {"detector.top", "5000"}}},
    {"ultraface-raw",
     "UltraFace exported without the decoding of its boxes",
     {{"task", "detector"},
      {"family", "ultraface"},
      {"input.order", "rgb"},
      {"input.mean", "127 127 127"},
      {"input.scale", "0.0078125 0.0078125 0.0078125"},
      {"detector.fit", "stretch"},
      {"detector.size", "320"},
      {"detector.strides", "8 16 32 64"},
      {"detector.priors", "10 16 24 32 48 64 96 128 192 256"},
      {"detector.prior_counts", "3 2 2 3"},
      {"detector.variances", "0.1 0.2"},
      {"detector.score", "0.7"},
      {"detector.nms", "0.5"},
      {"detector.top", "5000"}}},
    {"face-detection-retail",
     "Open Model Zoo face-detection-retail-0004 (SSD): BGR, 0..255, boxes only",
     {{"task", "detector"},
      {"family", "ultraface"},
      {"input.order", "bgr"},
      {"input.mean", "0 0 0"},
      {"input.scale", "1 1 1"},
      {"detector.fit", "stretch"},
      {"detector.size", "300"},
      {"detector.score", "0.5"},
      {"detector.nms", "0.45"},
      {"detector.top", "400"}}},
    {"retinaface",
     "RetinaFace with a MobileNet backbone, 5 points",
     {{"task", "detector"},
      {"family", "retinaface"},
      {"input.order", "bgr"},
      {"input.mean", "104 117 123"},
      {"input.scale", "1 1 1"},
      {"detector.fit", "top-left"},
      {"detector.size", "640"},
      {"detector.strides", "8 16 32"},
      {"detector.anchors", "2"},
      {"detector.priors", "16 32 64 128 256 512"},
      {"detector.variances", "0.1 0.2"},
      {"detector.score", "0.5"},
      {"detector.nms", "0.4"},
      {"detector.top", "5000"}}},
    {"arcface",
     "embedder trained with ArcFace-like losses: RGB, (x - 127.5) / 127.5",
     {{"task", "embedder"},
      {"family", "arcface"},
      {"input.order", "rgb"},
      {"input.mean", "127.5 127.5 127.5"},
      {"input.scale", "0.00784313725 0.00784313725 0.00784313725"},
      {"align.template", TEMPLATE_ARCFACE}}},
    {"raw-rgb",
     "embedder that normalises inside: RGB, 0..255 (MXNet exports, OpenCV SFace)",
     {{"task", "embedder"},
      {"family", "raw-rgb"},
      {"input.order", "rgb"},
      {"input.mean", "0 0 0"},
      {"input.scale", "1 1 1"},
      {"align.template", TEMPLATE_ARCFACE}}},
    {"foamliu",
     "foamliu's MobileFaceNet: RGB / 255 with ImageNet mean and deviation",
     {{"task", "embedder"},
      {"family", "foamliu"},
      {"input.order", "rgb"},
      {"input.mean", "123.675 116.28 103.53"},
      {"input.scale", "0.0171247538 0.0175070028 0.0174291939"},
      {"align.template", TEMPLATE_ARCFACE}}},
    {"adaface",
     "AdaFace: BGR, (x - 127.5) / 127.5",
     {{"task", "embedder"},
      {"family", "adaface"},
      {"input.order", "bgr"},
      {"input.mean", "127.5 127.5 127.5"},
      {"input.scale", "0.00784313725 0.00784313725 0.00784313725"},
      {"align.template", TEMPLATE_ARCFACE}}},
    {"reid-retail",
     "Open Model Zoo face-reidentification-retail-0095: BGR, 0..255, its own template",
     {{"task", "embedder"},
      {"family", "reid-retail"},
      {"input.order", "bgr"},
      {"input.mean", "0 0 0"},
      {"input.scale", "1 1 1"},
      {"align.template", TEMPLATE_REID}}},
    {"minifasnet",
     "MiniFASNet liveness: BGR, 0..255, class 1 of 3 is a live face",
     {{"task", "liveness"},
      {"family", "minifasnet"},
      {"input.order", "bgr"},
      {"input.mean", "0 0 0"},
      {"input.scale", "1 1 1"}}},
    {"landmarks",
     "facial landmarks: RGB / 255",
     {{"task", "landmarks"},
      {"family", "landmarks"},
      {"input.order", "rgb"},
      {"input.mean", "0 0 0"},
      {"input.scale", "0.00392156863 0.00392156863 0.00392156863"}}},
    {"tensor", "any network: tensors in, tensors out", {{"task", "tensor"}, {"family", "tensor"}}},
};

enum { PRESET_COUNT = sizeof presets / sizeof *presets };

const char *ufi_preset_name(size_t i)
{
    return i < PRESET_COUNT ? presets[i].name : NULL;
}

const char *ufi_preset_description(size_t i)
{
    return i < PRESET_COUNT ? presets[i].description : NULL;
}

/* ---- recognising ---- */

static const ufi_value *input_of(const ufi_graph *g)
{
    return g->input_count == 1 ? &g->values[g->inputs[0]] : NULL;
}

/* The last dimension of output i, 0 when unknown. */
static int64_t last_dim(const ufi_graph *g, uint32_t i)
{
    const ufi_value *v = &g->values[g->outputs[i]];
    return v->has_shape && v->shape.rank ? v->shape.dims[v->shape.rank - 1] : 0;
}

/* How many outputs have `dim` as their last dimension. */
static uint32_t outputs_with(const ufi_graph *g, int64_t dim)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->output_count; i++)
        n += last_dim(g, i) == dim;
    return n;
}

/* The network begins by normalising its input itself. */
static bool normalises_inside(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        for (uint32_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k] == g->inputs[0])
                return g->nodes[i].op == UFI_OP_AFFINE || g->nodes[i].op == UFI_OP_SUB ||
                       g->nodes[i].op == UFI_OP_MUL;
    return false;
}

/* ReLU6 anywhere, fused or not. */
static bool clamps_to_six(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (ufi_node_int(&g->nodes[i], UFI_ATTR_ACT, 0) == UFI_ACT_CLAMP &&
            ufi_node_float(&g->nodes[i], UFI_ATTR_ACT_HI, 0) == 6.0f)
            return true;
        else if (g->nodes[i].op == UFI_OP_CLIP)
            return true;
    return false;
}

/* Numbers per picture in output 0, 0 when unknown. */
static int64_t vector_length(const ufi_graph *g)
{
    const ufi_value *v = &g->values[g->outputs[0]];
    int64_t n = v->has_shape && v->shape.rank > 1 ? 1 : 0;
    for (uint32_t d = 1; v->has_shape && d < v->shape.rank; d++)
        n = v->shape.dims[d] > 0 && n < 65536 ? n * v->shape.dims[d] : 0;
    return n;
}

/* Boxes that the network has not decoded itself: nowhere an exponential. */
static bool has_no_exponential(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == UFI_OP_EXP)
            return false;
    return true;
}

static const char *recognise_embedder(const ufi_graph *g, int64_t side)
{
    int64_t dimension = vector_length(g);
    if (side == 128 && dimension == 256)
        return "reid-retail";
    if (normalises_inside(g))
        return "raw-rgb";
    return dimension == 128 && clamps_to_six(g) ? "foamliu" : "arcface";
}

static const char *recognise(const ufi_graph *g)
{
    const ufi_value *x = input_of(g);
    if (!x || !x->has_shape || x->shape.rank != 4 || x->shape.dims[1] != 3 || x->dtype != UF_F32)
        return "tensor";
    if (g->output_count == 12 && outputs_with(g, 4) == 3 && outputs_with(g, 10) == 3)
        return "yunet";
    if (g->output_count == 9 && outputs_with(g, 4) == 3 && outputs_with(g, 10) == 3)
        return "scrfd";
    if (g->output_count == 3 && outputs_with(g, 4) == 1 && outputs_with(g, 10) == 1)
        return "retinaface";
    if (g->output_count == 2 && outputs_with(g, 4) == 1 && outputs_with(g, 2) == 1)
        return normalises_inside(g)    ? "face-detection-retail"
               : has_no_exponential(g) ? "ultraface-raw"
                                       : "ultraface";
    if (g->output_count > 2)
        return "tensor";
    int64_t side = x->shape.dims[2];
    if (side == 80 && last_dim(g, 0) == 3)
        return "minifasnet";
    if (outputs_with(g, 136) || outputs_with(g, 212) || outputs_with(g, 196))
        return "landmarks";
    int64_t d = vector_length(g);
    bool is_vector =
        g->output_count == 1 && (d == 64 || d == 128 || d == 256 || d == 512 || d == 1024);
    return is_vector && side >= 96 && side <= 256 ? recognise_embedder(g, side) : "tensor";
}

/* ---- applying ---- */

static const preset *find_preset(const char *name)
{
    for (size_t i = 0; i < PRESET_COUNT; i++)
        if (!strcmp(presets[i].name, name))
            return &presets[i];
    return NULL;
}

static uf_status unknown_preset(const char *name, uf_error *err)
{
    char list[256] = "";
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, presets[i].name, sizeof list - strlen(list) - 1);
    }
    return ufi_fail(err, UF_E_NOT_FOUND, "no preset \"%.40s\"; there are: %s", name, list);
}

/* Presets but "tensor" are for networks that look at one picture. */
static uf_status check_fit(const ufi_graph *g, const preset *p, uf_error *err)
{
    const ufi_value *x = input_of(g);
    if (!strcmp(p->name, "tensor"))
        return UF_OK;
    if (!x || !x->has_shape || x->shape.rank != 4 ||
        (x->shape.dims[1] != 3 && x->shape.dims[1] >= 0))
        return ufi_fail(err, UF_E_MISMATCH,
                        "preset %s is for networks with one input [N,3,H,W]; this one is different",
                        p->name);
    return UF_OK;
}

uf_status ufi_preset_apply(ufi_model_file *m, const char *name, uf_error *err)
{
    const preset *p = find_preset(name ? name : recognise(&m->graph));
    if (!p)
        return unknown_preset(name, err);
    uf_status st = check_fit(&m->graph, p, err);
    for (size_t i = 0; !st && i < MAX_PAIRS && p->pairs[i][0]; i++)
        if (!ufi_meta_get(&m->meta, p->pairs[i][0]))
            st = ufi_meta_set(&m->meta, p->pairs[i][0], p->pairs[i][1], err);
    return st;
}
