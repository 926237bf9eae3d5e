/* Arrays in NumPy's .npy format (version 1 and 2 read, 1 written), little-endian, C order. */
#ifndef UNIFACE_CLI_NPY_H
#define UNIFACE_CLI_NPY_H

#include <uniface/base.h>

typedef struct npy_array {
    uf_dtype dtype;
    uint32_t rank;
    int64_t dims[UF_MAX_DIMS];
    void *data; /* malloc; see npy_free */
    size_t size_bytes;
} npy_array;

#define NPY_MAX_BYTES ((size_t)1 << 32)

/* Bytes of an element; 0 for types that .npy cannot hold (bfloat16). */
size_t npy_element_bytes(uf_dtype dtype);
/* "float32", ...; never NULL. */
const char *npy_type_name(uf_dtype dtype);
/* Errors begin with the path. */
uf_status npy_read(npy_array *out, const char *path, uf_error *err);
/* Atomic: a temporary file beside `path`, then renamed. "-": standard output. */
uf_status npy_write(const char *path, uf_dtype dtype, uint32_t rank, const int64_t *dims,
                    const void *data, uf_error *err);
void npy_free(npy_array *a);

#endif
