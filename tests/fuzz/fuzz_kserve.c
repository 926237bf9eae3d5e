/*
 * Requests for inference. The first two bytes say how many of the others are JSON. What is read
 * fits: data has the size of its shape, and lies in the body or in memory of its own.
 */
#include "fuzz.h"

#include "server/kserve_request.h"

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_kserve: %s\n", what);
        abort();
    }
}

static void check_input(const ks_request *r, size_t i, const uint8_t *body, size_t size)
{
    const srv_tensor *t = &r->inputs[i];
    const uint8_t *data = t->data;
    size_t bytes = ks_type_bytes(t->info.dtype);
    require(bytes > 0 && ks_type_of(ks_type_name(t->info.dtype)) == t->info.dtype, "the type");
    require(t->info.name && *t->info.name, "the name");
    require(t->info.rank >= 1 && t->info.rank <= UF_MAX_DIMS, "the rank");
    for (uint32_t d = 0; d < t->info.rank; d++) {
        require(t->info.dims[d] >= 1, "a dimension");
        bytes *= (size_t)t->info.dims[d];
    }
    require(bytes == t->bytes, "the size is not that of the shape");
    require(r->owned[i] == t->data || (data >= body && data + bytes <= body + size),
            "the data lies nowhere");
    volatile uint8_t sum = 0; /* of all bytes, so that a sanitizer sees them read */
    for (size_t k = 0; k < bytes; k++)
        sum = (uint8_t)(sum + data[k]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ks_request r;
    char why[200] = "";
    int status;
    if (size < 2)
        return 0;
    const size_t json_size = (size_t)data[0] | (size_t)data[1] << 8;
    uint8_t *body = malloc(size - 1); /* of exactly that size, and a NUL as the server has it */
    require(body != NULL, "no memory");
    memcpy(body, data + 2, size - 2);
    body[size - 2] = '\0';
    if (ks_request_read(&r, body, size - 2, json_size, why, &status)) {
        require(r.input_count >= 1 && r.input_count <= SRV_TENSORS_MAX, "the inputs");
        require(r.output_count <= SRV_TENSORS_MAX, "the outputs");
        for (size_t i = 0; i < r.input_count; i++)
            check_input(&r, i, body, size - 2);
        for (size_t i = 0; i < r.output_count; i++)
            require(r.outputs[i].name != NULL, "an output without a name");
        ks_request_free(&r);
    } else {
        require(*why && strlen(why) < sizeof why && !r.json, "it does not say why");
    }
    free(body);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const struct {
        const char *json;
        size_t bytes;
    } texts[] = {
        {"{\"id\":\"a\",\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":"
         "[[1,2.5],[-3e2,4]]}],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true}}]"
         "}",
         0},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,3],\"datatype\":\"UINT8\",\"parameters\":"
         "{\"binary_data_size\":3}},{\"name\":\"y\",\"shape\":[2],\"datatype\":\"FP16\","
         "\"parameters\":{\"binary_data_size\":4}}],\"parameters\":{\"binary_data_output\":true}}",
         7},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"INT64\",\"data\":[1,-2]},{"
         "\"name\":\"b\",\"shape\":[1,1,2],\"datatype\":\"BOOL\",\"data\":[true,false]}]}",
         0},
    };
    if (i >= sizeof texts / sizeof texts[0])
        return 0;
    const size_t n = strlen(texts[i].json), size = 2 + n + texts[i].bytes;
    if (size > cap)
        return 0;
    out[0] = (uint8_t)n;
    out[1] = (uint8_t)(n >> 8);
    memcpy(out + 2, texts[i].json, n);
    memset(out + 2 + n, 7, texts[i].bytes);
    return size;
}
