/*
 * A model in memory: graph, metadata, and the mapped file the weights live in. Readers and writers
 * of `.ufm` (docs/formats/ufm.md) and the ONNX importer make and take it. Floor 4.
 */
#ifndef UFI_FORMAT_MODEL_FILE_H
#define UFI_FORMAT_MODEL_FILE_H

#include "base/file.h"
#include "base/hash.h"
#include "format/signature.h"
#include "graph/graph.h"

/* Metadata: ordered, unique keys, UTF-8 text both. Keys are dotted lower case; which exist and what
 * they mean is in docs/formats/ufm.md: "task", "family", "licence", "source.digest",
 * "input.order" (rgb|bgr), "input.mean", "input.scale" ((x - mean) * scale, three numbers each),
 * "align.template" (ten fractions of the crop's side), "threshold.<far>", ... */
typedef struct ufi_meta {
    char **keys, **values; /* owned */
    uint32_t count;
} ufi_meta;

#define UFI_META_MAX_ENTRIES 1024u
#define UFI_META_MAX_VALUE_BYTES (64u * 1024u)

const char *ufi_meta_get(const ufi_meta *m, const char *key); /* NULL when absent */
/* Adds or replaces; `value` NULL removes. Errors: UF_E_ARG for a bad key, UF_E_LIMIT, UF_E_NOMEM.
 */
uf_status ufi_meta_set(ufi_meta *m, const char *key, const char *value, uf_error *err);
/* Parses up to `cap` numbers separated by spaces; returns how many, or -1 when one is no finite
 * number or there are more than `cap`. Independent of the locale. */
int ufi_meta_floats(const ufi_meta *m, const char *key, float *out, int cap);
/* The same of a text whose numbers are separated by spaces, `between` or both. */
int ufi_parse_floats(const char *text, char between, float *out, int cap);
uf_status ufi_meta_set_floats(ufi_meta *m, const char *key, const float *v, int count,
                              uf_error *err);
/* Metadata of a model made from another: everything but what was measured with that. */
uf_status ufi_copy_meta(ufi_meta *to, const ufi_meta *from, uf_error *err);
void ufi_meta_free(ufi_meta *m);

typedef struct ufi_model_file {
    ufi_graph graph;
    ufi_meta meta;
    ufi_file_map map; /* the .ufm that constants point into, or zeros */
    uint8_t *bytes;   /* or owned memory they point into (models loaded from memory) */
    uint8_t digest[UFI_SHA256_BYTES]; /* of the tensors and graph: part of the model id */
    uint16_t version;        /* of the .ufm it was read from, in which it is saved again (the digest
                                depends on it); 0: none, the newest */
    ufi_signature signature; /* is saved as long as it fits what is saved */
} ufi_model_file;

#define UFI_MODEL_MAX_BYTES ((size_t)4 << 30)
/* Constants larger than this are not folded at import: they would only make the file larger. */
#define UFI_MODEL_MAX_FOLD_BYTES ((size_t)64 << 20)

void ufi_model_file_free(ufi_model_file *m); /* accepts zeros */
/* Fills `digest`: to be called when graph and tensors are final. Errors: UF_E_NOMEM, UF_E_LIMIT. */
uf_status ufi_model_file_seal(ufi_model_file *m, uf_error *err);

/* Reads small constants from the file `f` of the map, so that a run does not: touching a map whose
 * file was cut short kills the process. Weights are packed before runs, and before that comes
 * ufi_file_map_check. Errors: UF_E_IO, UF_E_NOMEM. */
uf_status ufi_model_file_hold_small(ufi_model_file *m, const ufi_file *f, uf_error *err);

/* What every importer ends with: sorts and checks the graph, infers shapes, runs the passes. */
uf_status ufi_model_file_settle(ufi_model_file *m, bool optimize, uf_error *err);

/* ONNX (opset 7 and later) to a checked graph with shapes inferred where they are known; runs the
 * passes unless `optimize` is false (the parity test compares both). Sets source.* metadata only.
 * Errors name file, node, operator, opset or byte offset. */
uf_status ufi_onnx_import(ufi_model_file *out, const char *path, bool optimize, uf_error *err);
uf_status ufi_onnx_import_memory(ufi_model_file *out, const void *data, size_t size, bool optimize,
                                 uf_error *err);

/* OpenVINO IR of version 10 or 11: `path` is the .xml, its constants are in the .bin of the same
 * name. UF_E_UNSUPPORTED when the library was built without libexpat. */
uf_status ufi_openvino_import(ufi_model_file *out, const char *path, bool optimize, uf_error *err);
uf_status ufi_openvino_import_memory(ufi_model_file *out, const void *xml, size_t xml_size,
                                     const void *bin, size_t bin_size, bool optimize,
                                     uf_error *err);
bool ufi_openvino_is(const void *data, size_t size); /* by the file's beginning */

/* `.ufm`, described in docs/formats/ufm.md. Loading maps the file, checks every section's digest
 * when `verify_digests`, and uses the tensors in place. */
uf_status ufi_ufm_load(ufi_model_file *out, const char *path, bool verify_digests, uf_error *err);
uf_status ufi_ufm_load_memory(ufi_model_file *out, const void *data, size_t size,
                              bool verify_digests, uf_error *err); /* copies data */
uf_status ufi_ufm_save(const ufi_model_file *m, const char *path, uf_error *err);
/* Signs what would be saved: `m` bears the signature from then on. */
uf_status ufi_ufm_sign(ufi_model_file *m, const ufi_signature *what,
                       const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err);
/* By content: `.ufm`, ONNX or OpenVINO IR. */
uf_status ufi_model_file_open(ufi_model_file *out, const char *path, uf_error *err);

/* Model id: SHA-256 over digest and all metadata that must match (input.*, align.*, precision,
 * ...), as 64 hexadecimal digits and a NUL. */
void ufi_model_id(const ufi_model_file *m, char out[65]);

#endif
