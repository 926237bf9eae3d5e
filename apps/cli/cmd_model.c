/* uniface import, inspect, devices: models and where they run. */
#include <string.h>

#include "trust.h"

/* ---- import ---- */

static int run_import(const cli_args *a)
{
    uf_error err;
    uf_model *m;
    char store[4096];
    const char *path = cli_value(a, "output");
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    o.preset = cli_value(a, "preset");
    o.licence = cli_value(a, "licence");
    o.optimize = !cli_flag(a, "no-optimize");
    if (!path && !cli_flag(a, "default"))
        return cli_complain(EXIT_USAGE, "import: say where to: -o MODEL.ufm or --default");
    if (uf_model_import(&m, a->operands[0], &o, &err))
        return cli_fail(&err);
    const char *task = uf_model_meta(m, "task");
    uf_status st = UF_OK;
    if (path)
        st = uf_model_save(m, path, &err);
    if (!st && cli_flag(a, "default")) {
        cli_store_path(store, sizeof store, task);
        if (!cli_make_folders(store))
            fprintf(stderr, "uniface: the folder of %s cannot be made\n", store);
        st = uf_model_save(m, store, &err);
        path = path ? path : store;
    }
    if (st) {
        uf_model_close(m);
        return cli_fail(&err);
    }
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "model", path);
        json_text(&j, "id", uf_model_id(m));
        json_text(&j, "task", task);
        json_text(&j, "family", uf_model_meta(m, "family"));
        json_integer(&j, "parameters", (long long)uf_model_parameter_count(m));
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("%s: %s (%s), %zu nodes, %.2f M parameters, licence: %s\n", path, task,
               uf_model_meta(m, "family"), uf_model_node_count(m),
               (double)uf_model_parameter_count(m) / 1e6, uf_model_meta(m, "licence"));
    }
    uf_model_close(m);
    return 0;
}

const cli_command cli_import = {
    .name = "import",
    .summary = "Turn an ONNX network into a .ufm model",
    .operands = "NETWORK.onnx|NETWORK.xml",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"output", 'o', "MODEL.ufm", "where to write the model"},
                {"default", 0, NULL, "make it the default detector or embedder of the model store"},
                {"preset", 'p', "NAME", "what the network is (default: recognised)"},
                {"licence", 'l', "TEXT", "licence of the weights, kept in the model"},
                {"no-optimize", 0, NULL, "keep the graph as it is"}},
    .details = "Presets tell how pictures enter a network and how its answers are read:\n"
               "  yunet, scrfd, ultraface, ultraface-raw, face-detection-retail, retinaface\n"
               "                                           detectors\n"
               "  arcface, raw-rgb, foamliu, adaface, reid-retail   embedders\n"
               "  minifasnet, landmarks, tensor            others\n"
               "The model store is $UNIFACE_MODELS, else $UNIFACE_CACHE_DIR/models, else\n"
               "~/.local/share/uniface/models; `uniface models` looks after it.",
    .examples = "  uniface import yunet_n_320.onnx -o yunet.ufm --licence Apache-2.0\n"
                "  uniface import mobilefacenet.onnx --preset foamliu --default\n",
    .run = run_import,
};

/* ---- inspect ---- */

/* Shapes for the inputs: 1 for an open batch, `side` for open heights and widths. */
static uf_status prepare(uf_engine *e, const uf_model *m, int64_t side, uf_error *err)
{
    uf_tensor_info in[16];
    size_t n = uf_model_input_count(m);
    for (size_t i = 0; i < n && i < 16; i++) {
        uf_status st = uf_model_input(m, i, &in[i], err);
        if (st)
            return st;
        for (uint32_t d = 0; d < in[i].rank; d++)
            if (in[i].dims[d] < 0)
                in[i].dims[d] = d == 0 ? 1 : side;
    }
    return uf_engine_prepare(e, in, n, err);
}

static void print_shape(const uf_tensor_info *t)
{
    printf("%s [", t->name);
    for (uint32_t d = 0; d < t->rank; d++) {
        if (t->dims[d] < 0)
            printf("%s?", d ? "," : "");
        else
            printf("%s%lld", d ? "," : "", (long long)t->dims[d]);
    }
    printf("]");
}

static void print_text(const uf_model *m, const uf_engine *e, long long macs, bool steps)
{
    uf_tensor_info t;
    printf("id        %s\n", uf_model_id(m));
    for (size_t i = 0; i < uf_model_meta_count(m); i++)
        printf("%-22s %s\n", uf_model_meta_key(m, i), uf_model_meta(m, uf_model_meta_key(m, i)));
    cli_signature_print(m);
    for (size_t i = 0; i < uf_model_input_count(m); i++) {
        uf_model_input(m, i, &t, NULL);
        printf("input     ");
        print_shape(&t);
        printf("\n");
    }
    for (size_t i = 0; i < uf_model_output_count(m); i++) {
        uf_model_output(m, i, &t, NULL);
        printf("output    ");
        print_shape(&t);
        printf("\n");
    }
    printf("nodes %zu, steps %zu, parameters %.3f M, multiply-adds %.1f M\n",
           uf_model_node_count(m), uf_engine_step_count(e),
           (double)uf_model_parameter_count(m) / 1e6, (double)macs / 1e6);
    printf("memory: activations %.2f MB (with scratch), packed weights %.2f MB\n",
           (double)uf_engine_activation_bytes(e) / 1e6, (double)uf_engine_weight_bytes(e) / 1e6);
    for (size_t i = 0; steps && i < uf_engine_step_count(e); i++) {
        uf_step_profile s;
        uf_engine_step(e, i, &s, NULL);
        printf("%4zu %-18s %-22s %10.3f M  %s\n", i, s.op, s.kernel, (double)s.macs / 1e6, s.name);
    }
}

static void print_json(const uf_model *m, const uf_engine *e, long long macs)
{
    cli_json j = {.f = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "id", uf_model_id(m));
    json_open(&j, "metadata", '{');
    for (size_t i = 0; i < uf_model_meta_count(m); i++)
        json_text(&j, uf_model_meta_key(m, i), uf_model_meta(m, uf_model_meta_key(m, i)));
    json_close(&j, '}');
    cli_signature_json(&j, m);
    json_integer(&j, "nodes", (long long)uf_model_node_count(m));
    json_integer(&j, "parameters", (long long)uf_model_parameter_count(m));
    json_integer(&j, "macs", macs);
    json_integer(&j, "activation_bytes", (long long)uf_engine_activation_bytes(e));
    json_integer(&j, "weight_bytes", (long long)uf_engine_weight_bytes(e));
    json_open(&j, "steps", '[');
    for (size_t i = 0; i < uf_engine_step_count(e); i++) {
        uf_step_profile s;
        uf_engine_step(e, i, &s, NULL);
        json_open(&j, NULL, '{');
        json_text(&j, "op", s.op);
        json_text(&j, "name", s.name);
        json_text(&j, "kernel", s.kernel);
        json_integer(&j, "macs", s.macs);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    json_end(&j);
}

static int run_inspect(const cli_args *a)
{
    uf_error err;
    uf_model *m;
    uf_engine *e = NULL;
    double side;
    if (!cli_number(a, "size", 32, 8192, 320, &side))
        return EXIT_USAGE;
    char path[4096];
    /* Who only looks need not trust. */
    if (uf_store_find(path, sizeof path, a->operands[0], &err) || uf_model_open(&m, path, &err))
        return cli_fail(&err);
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = 1;
    uf_status st = uf_engine_create(&e, m, &o, &err);
    if (!st)
        st = prepare(e, m, (int64_t)side, &err);
    if (!st) {
        long long macs = 0;
        for (size_t i = 0; i < uf_engine_step_count(e); i++) {
            uf_step_profile s;
            uf_engine_step(e, i, &s, NULL);
            macs += s.macs;
        }
        if (a->json)
            print_json(m, e, macs);
        else
            print_text(m, e, macs, cli_flag(a, "steps"));
    }
    uf_engine_destroy(e);
    uf_model_close(m);
    return st ? cli_fail(&err) : 0;
}

const cli_command cli_inspect = {
    .name = "inspect",
    .summary = "Show what a model is: metadata, licence, operators, cost and memory",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"steps", 's', NULL, "list the steps of the plan with the kernel that runs each"},
                {"size", 0, "PIXELS", "height and width where the model leaves them open (320)"}},
    .examples = "  uniface inspect yunet.ufm --steps\n"
                "  uniface inspect model.onnx --json\n",
    .run = run_inspect,
};

/* ---- devices ---- */

static int run_devices(const cli_args *a)
{
    cli_json j = {.f = stdout};
    if (a->json)
        json_open(&j, NULL, '[');
    for (size_t i = 0; i < uf_device_count(); i++) {
        uf_device d;
        if (uf_device_get(i, &d, NULL))
            continue;
        if (!a->json) {
            printf("%-8s %s, %u cores\n", d.name, d.description, d.cores);
            continue;
        }
        json_open(&j, NULL, '{');
        json_text(&j, "name", d.name);
        json_text(&j, "description", d.description);
        json_integer(&j, "cores", d.cores);
        json_close(&j, '}');
    }
    if (a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    return 0;
}

const cli_command cli_devices = {
    .name = "devices",
    .summary = "List the devices that networks can run on",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .examples = "  uniface devices\n  UNIFACE_CPU=avx2 uniface devices    # hold back AVX-512\n",
    .run = run_devices,
};
