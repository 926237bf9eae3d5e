/*
 * A description is read line by line; each line adds layers to a chain. The words are rows of the
 * table `statements`; blocks of several layers are in arch_block.c.
 */
#include "train/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/arch_impl.h"

extern const char *const ufi_architectures[][2];

const char *ufi_arch_name(size_t i)
{
    return ufi_architectures[i][0];
}

const char *ufi_arch_text(size_t i)
{
    return ufi_architectures[i][1];
}

uf_status ufi_arch_fail(const ufi_arch *a, const char *fmt, ...)
{
    char what[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(what, sizeof what, fmt, list);
    va_end(list);
    return ufi_fail(a->err, UF_E_FORMAT, "%s:%d: %s", a->title, a->line, what);
}

/* ---- a line ---- */

static uf_status read_line(ufi_arch *a, ufi_arch_line *l, char *text)
{
    char *save = NULL, *comment = strchr(text, '#');
    memset(l, 0, sizeof *l);
    if (comment)
        *comment = 0;
    for (char *w = strtok_r(text, " \t\r", &save); w; w = strtok_r(NULL, " \t\r", &save)) {
        char *equals = strchr(w, '=');
        if (!l->word) {
            l->word = w;
        } else if (equals) {
            if (l->key_count == UFI_ARCH_MAX_WORDS)
                return ufi_arch_fail(a, "more than %d settings", UFI_ARCH_MAX_WORDS);
            *equals = 0;
            l->keys[l->key_count] = w;
            l->values[l->key_count++] = equals + 1;
        } else {
            if (l->operand_count == UFI_ARCH_MAX_WORDS)
                return ufi_arch_fail(a, "more than %d words", UFI_ARCH_MAX_WORDS);
            l->operands[l->operand_count++] = w;
        }
    }
    return UF_OK;
}

const char *ufi_arch_text_of(ufi_arch_line *l, const char *key, const char *fallback)
{
    for (int i = 0; i < l->key_count; i++)
        if (!strcmp(l->keys[i], key)) {
            l->used |= 1u << i;
            return l->values[i];
        }
    return fallback;
}

static uf_status number(const ufi_arch *a, const char *what, const char *text, int64_t max,
                        int64_t *out)
{
    char *end = NULL;
    const long long v = strtoll(text, &end, 10);
    if (end == text || *end || v < 1 || v > max)
        return ufi_arch_fail(a, "%s: \"%.40s\" is no whole number of 1..%lld", what, text,
                             (long long)max);
    *out = v;
    return UF_OK;
}

uf_status ufi_arch_number_of(const ufi_arch *a, ufi_arch_line *l, const char *key, int64_t fallback,
                             int64_t max, int64_t *out)
{
    const char *text = ufi_arch_text_of(l, key, NULL);
    *out = fallback;
    return text ? number(a, key, text, max, out) : UF_OK;
}

uf_status ufi_arch_operand(const ufi_arch *a, const ufi_arch_line *l, int i, int64_t max,
                           int64_t *out)
{
    if (i >= l->operand_count)
        return ufi_arch_fail(a, "%s: a number is missing", l->word);
    return number(a, l->word, l->operands[i], max, out);
}

int64_t ufi_arch_channels(const ufi_arch *a, int64_t channels)
{
    if (a->width == 1)
        return channels;
    const int64_t wide = (int64_t)((double)channels * a->width / 8 + 0.5) * 8;
    return wide > 8 ? wide : 8;
}

/* ---- the words that say where the chain goes on ---- */

static uf_status set_numbers(ufi_arch *a, const char *key, const char *text)
{
    char three[256];
    if (strchr(text, ','))
        return ufi_arch_fail(a, "%s: one number for all three channels", key);
    snprintf(three, sizeof three, "%.80s %.80s %.80s", text, text, text);
    float v[3];
    if (ufi_parse_floats(three, ' ', v, 3) != 3)
        return ufi_arch_fail(a, "%s: \"%.40s\" is no number", key, text);
    return ufi_meta_set(&a->out->meta, key, three, a->err);
}

static uf_status say_template(ufi_arch *a, const char *name)
{
    if (strcmp(name, "arcface") != 0)
        return ufi_arch_fail(a, "align: there is arcface, not \"%.40s\"", name);
    return ufi_meta_set_floats(&a->out->meta, "align.template", ufi_align_arcface, 10, a->err);
}

static uf_status say_detector(ufi_arch *a, const char *family)
{
    char size[32];
    static const char *const pairs[][2] = {
        {"family", "yunet"},       {"detector.fit", "top-left"}, {"detector.strides", "8 16 32"},
        {"detector.anchors", "1"}, {"detector.score", "0.6"},    {"detector.nms", "0.3"},
        {"detector.top", "5000"}};
    if (strcmp(family, "yunet") != 0)
        return ufi_arch_fail(a, "detector: there is yunet, not \"%.40s\"", family);
    snprintf(size, sizeof size, "%lld", (long long)a->at.h);
    uf_status st = ufi_meta_set(&a->out->meta, "detector.size", size, a->err);
    for (size_t i = 0; !st && i < sizeof pairs / sizeof *pairs; i++)
        st = ufi_meta_set(&a->out->meta, pairs[i][0], pairs[i][1], a->err);
    return st;
}

static uf_status do_input(ufi_arch *a, ufi_arch_line *l)
{
    uf_status st = ufi_arch_operand(a, l, 0, UFI_ARCH_MAX_SIDE, &a->at.h);
    if (!st)
        st = ufi_arch_operand(a, l, 1, UFI_ARCH_MAX_SIDE, &a->at.w);
    if (st || a->at.value != UFI_NONE)
        return st ? st : ufi_arch_fail(a, "there is one input, and it comes first");
    const ufi_shape shape = {4, {-1, 3, a->at.h, a->at.w}};
    const char *template_name = ufi_arch_text_of(l, "align", NULL);
    const char *detector = ufi_arch_text_of(l, "detector", NULL);
    const char *order = ufi_arch_text_of(l, "order", "rgb");
    a->at.c = 3;
    if (strcmp(order, "rgb") != 0 && strcmp(order, "bgr") != 0)
        return ufi_arch_fail(a, "order: rgb or bgr, not \"%.40s\"", order);
    st = ufi_graph_add_value(&a->out->graph, "input", UF_F32, &shape, &a->at.value, a->err);
    a->input = a->at.value;
    if (!st)
        st = ufi_meta_set(&a->out->meta, "task",
                          detector        ? "detector"
                          : template_name ? "embedder"
                                          : "tensor",
                          a->err);
    if (!st)
        st = ufi_meta_set(&a->out->meta, "input.order", order, a->err);
    if (!st)
        st = set_numbers(a, "input.mean", ufi_arch_text_of(l, "mean", "0"));
    if (!st)
        st = set_numbers(a, "input.scale", ufi_arch_text_of(l, "scale", "1"));
    if (!st && template_name)
        st = say_template(a, template_name);
    if (!st && detector)
        st = say_detector(a, detector);
    return st ? st : ufi_meta_set(&a->out->meta, "family", detector ? detector : "trained", a->err);
}

/* The place that a tag names. */
static uf_status find_tag(const ufi_arch *a, const ufi_arch_line *l, const ufi_arch_place **out)
{
    if (l->operand_count != 1)
        return ufi_arch_fail(a, "%s: a name is wanted", l->word);
    for (int i = 0; i < a->tag_count; i++)
        if (!strcmp(a->tags[i].name, l->operands[0])) {
            *out = &a->tags[i].place;
            return UF_OK;
        }
    return ufi_arch_fail(a, "%s: nothing before is tagged \"%.40s\"", l->word, l->operands[0]);
}

static uf_status do_tag(ufi_arch *a, ufi_arch_line *l)
{
    if (l->operand_count != 1 || strlen(l->operands[0]) >= sizeof a->tags[0].name)
        return ufi_arch_fail(a, "tag: a name of at most %zu letters is wanted",
                             sizeof a->tags[0].name - 1);
    if (a->tag_count == UFI_ARCH_MAX_TAGS)
        return ufi_arch_fail(a, "tag: more than %d", UFI_ARCH_MAX_TAGS);
    strcpy(a->tags[a->tag_count].name, l->operands[0]);
    a->tags[a->tag_count++].place = a->at;
    return UF_OK;
}

static uf_status do_from(ufi_arch *a, ufi_arch_line *l)
{
    const ufi_arch_place *p = NULL;
    uf_status st = find_tag(a, l, &p);
    if (!st)
        a->at = *p;
    return st;
}

static uf_status do_add(ufi_arch *a, ufi_arch_line *l)
{
    const ufi_arch_place *p = NULL;
    uf_status st = find_tag(a, l, &p);
    return st ? st : ufi_arch_add_place(a, p);
}

static uf_status do_concat(ufi_arch *a, ufi_arch_line *l)
{
    const ufi_arch_place *p = NULL;
    uf_status st = find_tag(a, l, &p);
    return st ? st : ufi_arch_concat_place(a, p);
}

static uf_status name_output(ufi_arch *a, const char *name)
{
    if (a->output_count == UFI_ARCH_MAX_OUTPUTS)
        return ufi_arch_fail(a, "more than %d outputs", UFI_ARCH_MAX_OUTPUTS);
    char *copy = ufi_arena_strndup(&a->out->graph.arena, name, strlen(name));
    if (!copy)
        return ufi_fail(a->err, UF_E_NOMEM, "no memory for a network");
    a->out->graph.values[a->at.value].name = copy;
    a->outputs[a->output_count++] = a->at.value;
    return UF_OK;
}

static uf_status do_output(ufi_arch *a, ufi_arch_line *l)
{
    if (l->operand_count != 1)
        return ufi_arch_fail(a, "output: a name is wanted");
    return name_output(a, l->operands[0]);
}

/* The probability that the last convolution's bias gives is 1 % at first: what is looked for is
 * rare, and a network that begins with a half everywhere spends long unlearning it (Lin et al.
 * 2017). */
static void expect_rare(ufi_arch *a)
{
    const ufi_graph *g = &a->out->graph;
    const ufi_value *bias = &g->values[g->nodes[g->node_count - 1].in[2]];
    for (int64_t i = 0; i < ufi_shape_count(&bias->shape); i++)
        ((float *)(uintptr_t)bias->data)[i] = -4.6f;
}

/* head CHANNELS NAME [act=sigmoid]: a separable layer and, as rows of cells, an output. */
static uf_status do_head(ufi_arch *a, ufi_arch_line *l)
{
    int64_t channels = 0;
    const char *act = ufi_arch_text_of(l, "act", "none");
    uf_status st = ufi_arch_operand(a, l, 0, 4096, &channels);
    if (!st && l->operand_count != 2)
        st = ufi_arch_fail(a, "head: channels and a name are wanted");
    if (!st)
        st = ufi_arch_conv(a, channels, 1, 1, 1, true);
    if (!st)
        st = ufi_arch_conv(a, channels, 3, 1, channels, true);
    if (!st && !strcmp(act, "sigmoid"))
        expect_rare(a);
    if (!st)
        st = ufi_arch_act(a, act);
    if (!st)
        st = ufi_arch_rows(a);
    return st ? st : name_output(a, l->operands[1]);
}

/* ---- all lines ---- */

typedef struct statement {
    const char *word;
    int operands; /* at most */
    uf_status (*run)(ufi_arch *a, ufi_arch_line *l);
} statement;

static const statement statements[] = {
    {"input", 2, do_input},
    {"conv", 1, ufi_arch_do_conv},
    {"depthwise", 0, ufi_arch_do_depthwise},
    {"separable", 1, ufi_arch_do_separable},
    {"bottleneck", 1, ufi_arch_do_bottleneck},
    {"ghost", 1, ufi_arch_do_ghost},
    {"residual", 1, ufi_arch_do_residual},
    {"norm", 0, ufi_arch_do_norm},
    {"pool", 1, ufi_arch_do_pool},
    {"upsample", 1, ufi_arch_do_upsample},
    {"linear", 1, ufi_arch_do_linear},
    {"tag", 1, do_tag},
    {"from", 1, do_from},
    {"add", 1, do_add},
    {"concat", 1, do_concat},
    {"head", 2, do_head},
    {"output", 1, do_output},
};

static uf_status run_line(ufi_arch *a, char *text)
{
    ufi_arch_line l;
    uf_status st = read_line(a, &l, text);
    if (st || !l.word)
        return st;
    const statement *s = NULL;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (!strcmp(statements[i].word, l.word))
            s = &statements[i];
    if (!s)
        return ufi_arch_fail(a, "\"%.40s\" is no layer", l.word);
    if (a->at.value == UFI_NONE && s->run != do_input)
        return ufi_arch_fail(a, "the first line says input HEIGHT WIDTH");
    if (l.operand_count > s->operands)
        return ufi_arch_fail(a, "%s: \"%.40s\" is one word too many; settings are key=value",
                             l.word, l.operands[s->operands]);
    st = s->run(a, &l);
    for (int i = 0; !st && i < l.key_count; i++)
        if (!(l.used >> i & 1))
            st = ufi_arch_fail(a, "%s takes no %.40s=", l.word, l.keys[i]);
    return st;
}

static uf_status run_text(ufi_arch *a, const char *text)
{
    uf_status st = UF_OK;
    for (const char *p = text; !st && *p;) {
        char line[512];
        const size_t length = strcspn(p, "\n");
        a->line++;
        if (length >= sizeof line)
            return ufi_arch_fail(a, "a line of more than %zu letters", sizeof line - 1);
        memcpy(line, p, length);
        line[length] = 0;
        st = run_line(a, line);
        p += length + (p[length] == '\n');
    }
    if (!st && !a->output_count)
        st = ufi_arch_fail(a, "no line says output NAME");
    return st;
}

uf_status ufi_arch_build_text(ufi_model_file *out, const char *title, const char *text,
                              double width, uint64_t seed, uf_error *err)
{
    ufi_arch a = {.out = out,
                  .title = title,
                  .width = width,
                  .random = ufi_random_of(seed, 1),
                  .err = err,
                  .at = {.value = UFI_NONE}};
    memset(out, 0, sizeof *out);
    ufi_graph_init(&out->graph);
    uf_status st = UF_OK;
    if (!(width >= 0.05) || !(width <= 16))
        st = ufi_fail(err, UF_E_ARG, "%s: a width of %g; it must be 0.05..16", title, width);
    if (!st)
        st = run_text(&a, text);
    if (!st)
        st = ufi_graph_set_io(&out->graph, &a.input, 1, a.outputs, (uint32_t)a.output_count, err);
    if (!st)
        st = ufi_graph_check(&out->graph, err);
    if (!st)
        st = ufi_graph_infer(&out->graph, 0, err);
    if (st)
        ufi_model_file_free(out);
    return st;
}

/* ---- by name ---- */

static uf_status build_file(ufi_model_file *out, const char *path, double width, uint64_t seed,
                            uf_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    uf_status st = ufi_file_read(&bytes, &size, path, UFI_ARCH_MAX_BYTES, err);
    if (st)
        return st;
    char *text = ufi_strndup((const char *)bytes, size);
    st = text ? ufi_arch_build_text(out, path, text, width, seed, err)
              : ufi_fail(err, UF_E_NOMEM, "no memory for %s", path);
    ufi_free(text);
    ufi_free(bytes);
    return st;
}

static uf_status unknown(const char *name, uf_error *err)
{
    char list[256] = "";
    for (size_t i = 0; ufi_arch_name(i); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 ufi_arch_name(i));
    return ufi_fail(err, UF_E_NOT_FOUND,
                    "no architecture \"%.60s\"; there are: %s (with a width: mobilefacenet-0.5x), "
                    "or the path of a description",
                    name, list);
}

/* Cuts `mark` and the width behind it off `name`; false when what stands there is none. */
static bool cut_width(char *name, char mark, const char *end, double *width)
{
    char *at = strrchr(name, mark), *rest = NULL;
    if (!at || at == name || at[1] < '0' || at[1] > '9')
        return false;
    const double v = strtod(at + 1, &rest);
    if (strcmp(rest, end) != 0)
        return false;
    *width = v;
    *at = 0;
    return true;
}

uf_status ufi_arch_build(ufi_model_file *out, const char *name, uint64_t seed, uf_error *err)
{
    char base[4096];
    double width = 1;
    if (strlen(name) >= sizeof base)
        return ufi_fail(err, UF_E_ARG, "an architecture's name of %zu letters", strlen(name));
    strcpy(base, name);
    cut_width(base, '@', "", &width);
    const size_t length = strlen(base);
    if (strchr(base, '/') || (length > 4 && !strcmp(base + length - 4, ".txt")))
        return build_file(out, base, width, seed, err);
    strcpy(base, name);
    cut_width(base, '-', "x", &width);
    for (size_t i = 0; ufi_arch_name(i); i++)
        if (!strcmp(ufi_arch_name(i), base))
            return ufi_arch_build_text(out, name, ufi_arch_text(i), width, seed, err);
    return unknown(name, err);
}
