/* uniface meta: shows and sets what a model says about itself. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void show(const cli_args *a, const uf_model *m)
{
    cli_json j = {.f = stdout};
    if (a->json)
        json_open(&j, NULL, '{');
    for (size_t i = 0; i < uf_model_meta_count(m); i++) {
        const char *key = uf_model_meta_key(m, i);
        if (a->json)
            json_text(&j, key, uf_model_meta(m, key));
        else
            printf("%s=%s\n", key, uf_model_meta(m, key));
    }
    if (a->json) {
        json_close(&j, '}');
        json_end(&j);
    }
}

/* One KEY=VALUE; an empty value takes the key away. */
static int set(uf_model *m, const char *text)
{
    uf_error err;
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return cli_complain(EXIT_USAGE, "meta: \"%s\" is not KEY=VALUE", text);
    char *key = cli_need(strndup(text, (size_t)(equals - text)));
    const uf_status st = uf_model_set_meta(m, key, equals[1] ? equals + 1 : NULL, &err);
    free(key);
    return st ? cli_fail(&err) : 0;
}

static int run_meta(const cli_args *a)
{
    uf_error err;
    uf_model *m = NULL;
    char path[4096];
    const char *output = cli_value(a, "output");
    /* Who only looks need not trust; what is changed is saved as another file, or in place. */
    if (uf_store_find(path, sizeof path, a->operands[0], &err))
        return cli_fail(&err);
    if (a->count > 1 && !output && strcmp(path, a->operands[0]) != 0)
        return cli_complain(EXIT_USAGE, "meta: -o OUT.ufm is needed: models of the store are not "
                                        "changed in place");
    if (a->count > 1 ? cli_model_open(&m, path, &err) : uf_model_open(&m, path, &err))
        return cli_fail(&err);
    int status = 0;
    for (int i = 1; !status && i < a->count; i++)
        status = set(m, a->operands[i]);
    if (!status && (a->count > 1 || output) && cli_model_save(m, m, output ? output : path, &err))
        status = cli_fail(&err);
    if (!status && a->count == 1)
        show(a, m);
    uf_model_close(m);
    return status;
}

const cli_command cli_meta = {
    .name = "meta",
    .summary = "Show or set what a model says about itself",
    .operands = "MODEL.ufm [KEY=VALUE]...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {{"output", 'o', "OUT.ufm", "save here instead of in place"}},
    .details =
        "Metadata say how pictures enter (input.*, align.template), how outputs are read\n"
        "(detector.*), under which licence the weights are, and in card.* what people should "
        "know;\n"
        "card.summary is told whenever a model is taken by default. An empty value takes a key\n"
        "away. Keys that must match (docs/formats/ufm.md) change the model id, with which\n"
        "templates are stored.",
    .examples = "  uniface meta face.ufm\n"
                "  uniface meta face.ufm licence=Apache-2.0 card.limits='frontal faces'\n"
                "  uniface meta detector.ufm detector.score=0.7 -o strict.ufm\n",
    .run = run_meta,
};
