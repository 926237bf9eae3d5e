/*
 * Networks described in a few lines of text: what is trained from nothing. docs/training.md is the
 * language's reference; src/train/architectures holds those that come with the library. Floor 5.
 */
#ifndef UFI_TRAIN_ARCH_H
#define UFI_TRAIN_ARCH_H

#include "format/model_file.h"

#define UFI_ARCH_MAX_BYTES ((size_t)64 << 10)

/* Description `i` that comes with the library: its name and text; NULL past the last. */
const char *ufi_arch_name(size_t i);
const char *ufi_arch_text(size_t i);

/* Builds `out` of a description: the graph with batch normalisations (net.h) and weights drawn by
 * `seed` (He et al. 2015), and the metadata that say how pictures enter. `name` is one of the
 * library's, with an optional width "mobilefacenet-0.5x", or the path of a text file (it contains
 * '/' or ends with ".txt"), optionally followed by "@0.5". Errors: UF_E_NOT_FOUND lists the names,
 * UF_E_FORMAT names file and line. */
uf_status ufi_arch_build(ufi_model_file *out, const char *name, uint64_t seed, uf_error *err);
/* The same of a text; `title` is for messages, `width` multiplies the channels of all layers but
 * those of heads and `linear`. */
uf_status ufi_arch_build_text(ufi_model_file *out, const char *title, const char *text,
                              double width, uint64_t seed, uf_error *err);

#endif
