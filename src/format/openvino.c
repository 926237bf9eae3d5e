/* The XML of OpenVINO IR, by libexpat. Document types, and with them entities, are refused. */
#include "format/openvino.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool ufi_openvino_is(const void *data, size_t size)
{
    char head[400];
    size_t n = size < sizeof head - 1 ? size : sizeof head - 1;
    memcpy(head, data, n);
    head[n] = '\0';
    return strstr(head, "<net ") != NULL;
}

#ifdef UFI_WITH_OPENVINO
#include <expat.h>

typedef struct reader {
    ov_model *m;
    XML_Parser parser;
    ov_layer *layer; /* open, or NULL */
    ov_port *port;
    bool in_output, in_dim;
    char dim[32];
    size_t dim_length;
    int depth;
    uf_status st;
    uf_error *err;
} reader;

static void stop(reader *r, uf_status st)
{
    r->st = st;
    XML_StopParser(r->parser, XML_FALSE);
}

static const char *keep(reader *r, const char *text)
{
    const size_t n = strlen(text);
    char *copy = n <= OV_MAX_TEXT * 16 ? ufi_arena_alloc(&r->m->arena, n + 1, 1) : NULL;
    if (!copy) {
        stop(r, ufi_fail(r->err, UF_E_LIMIT, "line %lu: a text of %zu bytes",
                         (unsigned long)XML_GetCurrentLineNumber(r->parser), n));
        return "";
    }
    memcpy(copy, text, n + 1);
    return copy;
}

static const char *find(const char **attributes, const char *key)
{
    for (; *attributes; attributes += 2)
        if (!strcmp(*attributes, key))
            return attributes[1];
    return "";
}

static uint32_t number(const char *text)
{
    char *end;
    const unsigned long v = strtoul(text, &end, 10);
    return *text && !*end && v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

static bool grow(reader *r, void **list, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    const uint32_t more = *cap ? *cap * 2 : 256;
    void *p = more <= UFI_MAX_VALUES ? ufi_realloc(*list, more, size) : NULL;
    if (!p) {
        stop(r, ufi_fail(r->err, UF_E_LIMIT, "too many layers or edges"));
        return false;
    }
    *list = p;
    *cap = more;
    return true;
}

static void start_layer(reader *r, const char **attributes)
{
    ov_model *m = r->m;
    if (!grow(r, (void **)&m->layers, m->layer_count, &m->layer_cap, sizeof *m->layers))
        return;
    r->layer = &m->layers[m->layer_count++];
    *r->layer = (ov_layer){.id = number(find(attributes, "id")),
                           .type = keep(r, find(attributes, "type")),
                           .name = keep(r, find(attributes, "name"))};
    r->layer->ports = ufi_arena_alloc(&m->arena, OV_MAX_PORTS, sizeof *r->layer->ports);
    if (!r->layer->ports)
        stop(r, ufi_fail(r->err, UF_E_NOMEM, "no memory for a model"));
}

static void take_data(reader *r, const char **attributes)
{
    for (; *attributes && r->layer->attr_count < OV_MAX_ATTRS; attributes += 2)
        r->layer->attrs[r->layer->attr_count++] =
            (ov_attr){keep(r, attributes[0]), keep(r, attributes[1])};
}

static void start_port(reader *r, const char **attributes)
{
    if (r->layer->port_count == OV_MAX_PORTS) {
        stop(r, ufi_fail(r->err, UF_E_LIMIT, "layer \"%.80s\" has more than %d ports",
                         r->layer->name, OV_MAX_PORTS));
        return;
    }
    r->port = &r->layer->ports[r->layer->port_count++];
    *r->port = (ov_port){
        .id = number(find(attributes, "id")), .is_output = r->in_output, .value = UFI_NONE};
}

static void start_edge(reader *r, const char **attributes)
{
    ov_model *m = r->m;
    if (!grow(r, (void **)&m->edges, m->edge_count, &m->edge_cap, sizeof *m->edges))
        return;
    m->edges[m->edge_count++] =
        (ov_edge){number(find(attributes, "from-layer")), number(find(attributes, "from-port")),
                  number(find(attributes, "to-layer")), number(find(attributes, "to-port"))};
}

static void XMLCALL start_element(void *user, const char *name, const char **attributes)
{
    reader *r = user;
    if (++r->depth > 64) {
        stop(r, ufi_fail(r->err, UF_E_LIMIT, "elements more than 64 deep"));
        return;
    }
    if (!strcmp(name, "net"))
        r->m->version = number(find(attributes, "version"));
    else if (!strcmp(name, "layer"))
        start_layer(r, attributes);
    else if (!strcmp(name, "edge"))
        start_edge(r, attributes);
    else if (!r->layer)
        return;
    else if (!strcmp(name, "data"))
        take_data(r, attributes);
    else if (!strcmp(name, "input") || !strcmp(name, "output"))
        r->in_output = !strcmp(name, "output");
    else if (!strcmp(name, "port"))
        start_port(r, attributes);
    else if (!strcmp(name, "dim") && r->port) {
        r->in_dim = true;
        r->dim_length = 0;
    }
}

static void end_dim(reader *r)
{
    ufi_shape *s = &r->port->shape;
    r->in_dim = false;
    r->dim[r->dim_length] = '\0';
    const uint32_t v = number(r->dim);
    if (s->rank == UF_MAX_DIMS || (v == UINT32_MAX && strcmp(r->dim, "-1") != 0)) {
        stop(r, ufi_fail(r->err, UF_E_FORMAT, "layer \"%.80s\": a dimension \"%s\"", r->layer->name,
                         r->dim));
        return;
    }
    s->dims[s->rank++] = v == UINT32_MAX ? -1 : (int64_t)v;
}

static void XMLCALL end_element(void *user, const char *name)
{
    reader *r = user;
    r->depth--;
    if (r->in_dim && !strcmp(name, "dim"))
        end_dim(r);
    else if (!strcmp(name, "port"))
        r->port = NULL;
    else if (!strcmp(name, "layer"))
        r->layer = NULL;
}

static void XMLCALL characters(void *user, const char *text, int length)
{
    reader *r = user;
    for (int i = 0; r->in_dim && i < length && r->dim_length < sizeof r->dim - 1; i++)
        r->dim[r->dim_length++] = text[i];
}

static void XMLCALL refuse_doctype(void *user, const char *name, const char *system,
                                   const char *public_id, int internal)
{
    stop(user, ufi_fail(((reader *)user)->err, UF_E_UNSUPPORTED, "document types are refused"));
}

static uf_status read_xml(ov_model *m, const void *data, size_t size, uf_error *err)
{
    reader r = {.m = m, .err = err, .parser = XML_ParserCreate(NULL)};
    if (!r.parser)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an XML reader");
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, start_element, end_element);
    XML_SetCharacterDataHandler(r.parser, characters);
    XML_SetStartDoctypeDeclHandler(r.parser, refuse_doctype);
    const char *at = data;
    bool ok = true;
    for (size_t left = size; ok && !r.st; at += 1 << 20) {
        const int now = left < 1 << 20 ? (int)left : 1 << 20;
        left -= (size_t)now;
        ok = XML_Parse(r.parser, at, now, left == 0) == XML_STATUS_OK;
        if (left == 0)
            break;
    }
    uf_status st = r.st;
    if (!ok && !st)
        st = ufi_fail(err, UF_E_FORMAT, "line %lu: %s",
                      (unsigned long)XML_GetCurrentLineNumber(r.parser),
                      XML_ErrorString(XML_GetErrorCode(r.parser)));
    XML_ParserFree(r.parser);
    if (!st && m->version != 10 && m->version != 11)
        st = ufi_fail(err, UF_E_UNSUPPORTED, "OpenVINO IR of version %u; 10 and 11 are known",
                      m->version);
    return st;
}

static uf_status set_source(ufi_model_file *out, const ov_model *m, const void *xml, size_t size,
                            uf_error *err)
{
    ufi_sha256 h;
    uint8_t digest[UFI_SHA256_BYTES];
    char hex[2 * UFI_SHA256_BYTES + 1], text[16];
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, xml, size);
    ufi_sha256_update(&h, m->bin, m->bin_size);
    ufi_sha256_final(&h, digest);
    ufi_hex(digest, sizeof digest, hex);
    snprintf(text, sizeof text, "%u", m->version);
    uf_status st = ufi_meta_set(&out->meta, "source.format", "openvino", err);
    if (!st)
        st = ufi_meta_set(&out->meta, "source.opset", text, err);
    return st ? st : ufi_meta_set(&out->meta, "source.digest", hex, err);
}

uf_status ufi_openvino_import_memory(ufi_model_file *out, const void *xml, size_t xml_size,
                                     const void *bin, size_t bin_size, bool optimize, uf_error *err)
{
    ov_model m = {.bin = bin, .bin_size = bin_size};
    memset(out, 0, sizeof *out);
    ufi_graph_init(&out->graph);
    ufi_arena_init(&m.arena, 0);
    uf_status st = read_xml(&m, xml, xml_size, err);
    if (!st)
        st = ov_make_graph(&out->graph, &m, err);
    if (!st)
        st = ufi_model_file_settle(out, optimize, err);
    if (!st)
        st = set_source(out, &m, xml, xml_size, err);
    if (!st)
        st = ufi_model_file_seal(out, err);
    ufi_free(m.layers);
    ufi_free(m.edges);
    ufi_arena_free(&m.arena);
    if (st)
        ufi_model_file_free(out);
    return st;
}

#else

uf_status ufi_openvino_import_memory(ufi_model_file *out, const void *xml, size_t xml_size,
                                     const void *bin, size_t bin_size, bool optimize, uf_error *err)
{
    memset(out, 0, sizeof *out);
    return ufi_fail(err, UF_E_UNSUPPORTED,
                    "this build reads no OpenVINO IR: it was made without libexpat");
}

#endif

uf_status ufi_openvino_import(ufi_model_file *out, const char *path, bool optimize, uf_error *err)
{
    char bin_path[4096];
    uint8_t *xml = NULL, *bin = NULL;
    size_t xml_size, bin_size;
    const size_t n = strlen(path);
    memset(out, 0, sizeof *out);
    if (n < 5 || n >= sizeof bin_path || strcmp(path + n - 4, ".xml") != 0)
        return ufi_fail(err, UF_E_ARG, "%s: an OpenVINO model is a .xml with a .bin beside it",
                        path);
    snprintf(bin_path, sizeof bin_path, "%.*s.bin", (int)(n - 4), path);
    uf_status st = ufi_file_read(&xml, &xml_size, path, (size_t)64 << 20, err);
    if (!st)
        st = ufi_file_read(&bin, &bin_size, bin_path, UFI_MODEL_MAX_BYTES, err);
    if (!st) {
        st = ufi_openvino_import_memory(out, xml, xml_size, bin, bin_size, optimize, err);
        if (st)
            ufi_wrap(err, st, "%s", path);
    }
    ufi_free(xml);
    ufi_free(bin);
    return st;
}
