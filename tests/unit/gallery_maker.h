/* What the tests of galleries share: a folder, vectors of made-up people, short calls. */
#ifndef UF_TESTS_GALLERY_MAKER_H
#define UF_TESTS_GALLERY_MAKER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/seal.h"
#include "gallery/sql.h"
#include "test.h"
#include "uniface/gallery.h"

enum { DIM = 64 };
#define MODEL "model-a"

static inline bool gallery_built(void)
{
    ufi_sql *sql = NULL;
    bool there = ufi_sqlite_open(&sql, "/nonexistent", false, false, NULL) != UF_E_UNSUPPORTED;
    return there && ufi_seal_ready(NULL) == UF_OK;
}
#define NEED_GALLERY      \
    if (!gallery_built()) \
    SKIP("built without SQLite or without libsodium")

/* A folder of this process, removed at its end. */
static inline const char *maker_folder(void);
static inline void maker_remove_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", maker_folder());
    if (system(command) != 0)
        perror("rm");
}
static inline const char *maker_folder(void)
{
    static char folder[64];
    if (!folder[0]) {
        strcpy(folder, "/tmp/uniface-gallery-XXXXXX");
        if (!mkdtemp(folder))
            abort();
        atexit(maker_remove_folder);
    }
    return folder;
}
/* A new path each time; valid until eight more were asked for. */
static inline const char *maker_path(const char *name)
{
    static char paths[8][160];
    static unsigned at, number;
    char *path = paths[at++ % 8];
    snprintf(path, 160, "%s/%u-%s", maker_folder(), number++, name);
    return path;
}

/* The face of person `person` (unit length); `image` 0 is the middle, others are near it. */
static inline void maker_face(uint64_t person, uint64_t image, float *out, uint32_t dimension)
{
    uint64_t a = person * 0x9E3779B97F4A7C15u + 1, b = a ^ (image * 0xD1B54A32D192ED03u + 7);
    double sum = 0;
    for (uint32_t i = 0; i < dimension; i++) {
        double v = test_random_float(&a) + test_random_float(&a) + test_random_float(&a);
        out[i] = (float)(v + (image ? 0.25 * (double)test_random_float(&b) : 0));
        sum += (double)out[i] * out[i];
    }
    for (uint32_t i = 0; i < dimension; i++)
        out[i] = (float)(out[i] / sqrt(sum));
}

/* Opens with "pass phrase"; Argon2id takes a tenth of a second of it. */
static inline uf_status maker_open(uf_gallery **g, const char *path, uint32_t flags, uf_error *err)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = flags;
    o.passphrase = flags & UF_GALLERY_PLAIN ? NULL : "pass phrase";
    o.actor = "tester";
    return uf_gallery_open(g, path, &o, err);
}

static inline uf_status maker_enroll(uf_gallery *g, const char *collection, uint64_t person,
                                     uint64_t image, const char *model, uint64_t *id, uf_error *err)
{
    float face[DIM];
    char name[32];
    uf_template t = {.vector = face, .dimension = DIM, .model_id = model, .quality = 0.5f};
    uf_enrolment e = {
        .person = {.collection = collection, .id = name}, .templates = &t, .count = 1};
    snprintf(name, sizeof name, "p%llu", (unsigned long long)person);
    maker_face(person, image, face, DIM);
    return uf_gallery_enroll(g, &e, 1, id, err);
}

/* The best answer for that face; *count people answer. */
static inline uf_status maker_identify(uf_gallery *g, const char *collection, uint64_t person,
                                       uint64_t image, const char *model, uf_candidate *best,
                                       size_t *count, uf_error *err)
{
    float face[DIM];
    uf_candidate found[5];
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.collection = collection;
    o.threshold = 0.6f;
    maker_face(person, image, face, DIM);
    uf_status st = uf_gallery_identify(g, face, DIM, model, &o, found, count, NULL, err);
    *best = !st && *count ? found[0] : (uf_candidate){.id = ""};
    return st;
}

#endif
