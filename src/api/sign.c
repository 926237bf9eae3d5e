/* Signatures of models in memory. */
#include <string.h>
#include <time.h>

#include "api/model_impl.h"
#include "api/sign_impl.h"

void uf_model_signature(const uf_model *m, uf_signature *out)
{
    static const uf_signature_state states[] = {
        [UFI_UNSIGNED] = UF_SIGNATURE_NONE,
        [UFI_SIGNED] = UF_SIGNATURE_VALID,
        [UFI_SIGNED_WRONGLY] = UF_SIGNATURE_INVALID,
        [UFI_SIGNED_UNCHECKED] = UF_SIGNATURE_UNCHECKED,
        [UFI_SIGNED_BEFORE] = UF_SIGNATURE_CHANGED,
    };
    const ufi_signature *s = &m->file.signature;
    *out = (uf_signature){.state = states[s->state], .release = s->release, .time = s->time};
    memcpy(out->key, s->key, sizeof out->key);
    memcpy(out->signer, s->signer, sizeof out->signer);
}

const char *uf_signature_state_name(uf_signature_state state)
{
    static const char *const names[] = {"none", "valid", "invalid", "unchecked", "changed"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "unknown";
}

uf_status uf_model_sign(uf_model *m, const uf_sign_key *k, const uf_sign_options *options,
                        uf_error *err)
{
    static const uf_sign_options defaults = UF_SIGN_OPTIONS_INIT;
    const uf_sign_options *o = options ? options : &defaults;
    ufi_signature s = {.release = o->release, .time = o->time ? o->time : (uint64_t)time(NULL)};
    if (!m || !k)
        return ufi_fail(err, UF_E_ARG, "uf_model_sign: model and key must be given");
    if (!o->release)
        return ufi_fail(err, UF_E_ARG, "release 0: releases count from 1");
    if (o->signer && !ufi_signer_ok(o->signer))
        return ufi_fail(err, UF_E_ARG,
                        "a signer's name is at most %d bytes of UTF-8 without control characters",
                        UFI_SIGNER_MAX);
    if (o->signer)
        memcpy(s.signer, o->signer, strlen(o->signer));
    return ufi_ufm_sign(&m->file, &s, k->seed, err);
}
