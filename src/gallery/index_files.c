/* Until src/index writes snapshots: indexes are made from the records. Weak, so that the real ones
 * take over when they land; this file goes then. */
#include "base/status.h"
#include "uniface/index.h"

__attribute__((weak)) uf_status uf_index_save(uf_index *x, const char *path, const uint8_t *secret,
                                              uf_error *err)
{
    return ufi_fail(err, UF_E_UNSUPPORTED, "%s: no snapshots yet", path);
}

__attribute__((weak)) uf_status uf_index_open(uf_index **out, const char *path,
                                              const uint8_t *secret,
                                              const uf_index_options *options, uf_error *err)
{
    *out = NULL;
    return ufi_fail(err, UF_E_UNSUPPORTED, "%s: no snapshots yet", path);
}

__attribute__((weak)) uf_status uf_index_file_remove(const char *path, const uint8_t *secret,
                                                     const uint64_t *keys, size_t count,
                                                     size_t *removed, uf_error *err)
{
    return ufi_fail(err, UF_E_UNSUPPORTED, "%s: no snapshots yet", path);
}
