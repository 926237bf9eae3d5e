/*
 * What a public network is and how pictures enter it: facts that an ONNX file does not carry, as
 * named sets of metadata. Floor 5.
 */
#ifndef UFI_MODEL_PRESET_H
#define UFI_MODEL_PRESET_H

#include "format/model_file.h"

/* Writes the preset's metadata into `m`; NULL recognises it from the graph. Keys that are there
 * already stay. Errors: UF_E_NOT_FOUND lists the presets, UF_E_MISMATCH when the graph's inputs or
 * outputs do not fit the preset. */
uf_status ufi_preset_apply(ufi_model_file *m, const char *name, uf_error *err);
/* Name and description of preset i; NULL past the last. */
const char *ufi_preset_name(size_t i);
const char *ufi_preset_description(size_t i);

#endif
