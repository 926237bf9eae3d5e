/* The numbers of `.ufm`, shared by its reader and its writer. Private to the format room. */
#ifndef UFI_FORMAT_UFM_H
#define UFI_FORMAT_UFM_H

#include "format/model_file.h"

#define UFM_MAGIC "\x89UFM\r\n\x1a\n"
#define UFM_MAJOR 2 /* newest version; version 1 is read, and written for models read from it */
#define UFM_MINOR 0

enum {
    UFM_HEADER_BYTES = 64,
    UFM_SECTION_BYTES = 64, /* one row of the section table */
    UFM_ALIGN = 64,         /* of sections; of tensors in version 1 */
    UFM_TENSOR_ALIGN = 16,  /* of tensors since version 2 */
    UFM_MAX_HALVED = 16384, /* most elements of a vector that is stored in half the space */
    UFM_MAX_SECTIONS = 64,
    UFM_MAX_META_BYTES = 16 << 20,
    UFM_MAX_GRAPH_BYTES = 256 << 20
};

typedef enum ufm_section_kind {
    UFM_META = 1,
    UFM_GRAPH = 2,
    UFM_TENSORS = 3,
    UFM_SIGNATURE = 4, /* may be absent */
    UFM_KINDS = 4
} ufm_section_kind;

enum { UFM_VALUE_HAS_SHAPE = 1, UFM_VALUE_IS_CONSTANT = 2 };

bool ufm_is(const void *data, size_t size);
/* Digest of a model: SHA-256 of the digests of graph and tensors. */
void ufm_model_digest(const uint8_t graph[UFI_SHA256_BYTES],
                      const uint8_t tensors[UFI_SHA256_BYTES], uint8_t out[UFI_SHA256_BYTES]);

#endif
