/*
 * Pictures to learn from: where they lie, in what order they come, how each is varied, and threads
 * that prepare batches ahead. Floor 5.
 *
 * Everything that is drawn by lot is a function of (seed, epoch, position in the epoch) alone: the
 * same three give the same pixels whatever the number of threads, and a run that stopped goes on
 * from (epoch, position) with the batches it would have seen.
 */
#ifndef UFI_TRAIN_DATA_H
#define UFI_TRAIN_DATA_H

#include <stdbool.h>

#include "base/status.h"
#include "uniface/face.h"

/* ---- where pictures lie ---- */

typedef struct ufi_dataset ufi_dataset; /* shareable once open */

/* One picture: encoded bytes are read at need (ufi_dataset_read). */
typedef struct ufi_sample {
    const char *name;   /* file name within its source */
    int32_t label;      /* person: one number per folder or per name before the list's tab; -1 */
    bool has_points;    /* `points` came with the list */
    uf_point points[5]; /* landmarks in picture pixels, order of uf_face */
} ufi_sample;

/* Sources, each one of:
 * - a folder: each subfolder is a person; a flat one has no persons; "landmarks.tsv" in it is its
 *   list;
 * - a .tar archive of pictures, entries in subfolders likewise. Its list is "landmarks.tsv" inside,
 *   or "NAME_landmarks.tsv" beside "NAME.tar", which is also that of "NAME_0.tar", "NAME_1.tar"...
 * - a .txt or .tsv list; a row is a path, or a path and a label, or a name, a score and x and y of
 *   five points, between tabs. Its pictures are in the archives beside it that find it by its name
 *   ("NAME_landmarks.tsv", "NAME.tsv"), else files whose paths are relative to it.
 * An archive that was named twice, or by itself and by its list, comes once. Persons of two sources
 * are never the same. Pictures are told by suffix (.jpg .jpeg .png .webp).
 * Order: as named, then sorted by name. A picture that cannot be read is found out when it is read.
 * Errors name source and line. */
uf_status ufi_dataset_open(ufi_dataset **out, const char *const *sources, size_t count,
                           uf_error *err);
void ufi_dataset_close(ufi_dataset *d); /* NULL is accepted */
size_t ufi_dataset_count(const ufi_dataset *d);
int32_t ufi_dataset_labels(const ufi_dataset *d); /* number of persons; 0: none are told apart */
const ufi_sample *ufi_dataset_sample(const ufi_dataset *d, size_t i);
/* Decodes picture `i`, upright RGB8; thread-safe. Errors: UF_E_IO, UF_E_FORMAT with the name. */
uf_status ufi_dataset_read(const ufi_dataset *d, size_t i, uf_picture **out, uf_error *err);
/* Asks `fn` for the landmarks of each picture that came without; pictures in which it finds no face
 * (false), and those that cannot be read, leave the dataset unless they are to `stay`: *without of
 * them. */
typedef bool ufi_locate_fn(void *arg, const uf_image *picture, uf_point points[5]);
uf_status ufi_dataset_locate(ufi_dataset *d, ufi_locate_fn *fn, void *arg, bool stay,
                             size_t *without, uf_error *err);
/* SHA-256 over names, labels, points and encoded bytes of all pictures (none of those that cannot
 * be read): the report's data digest. */
uf_status ufi_dataset_digest(const ufi_dataset *d, char out[65], uf_error *err);

/* ---- how a picture is varied ---- */

/* Chances are 0..1; strengths in the unit said. All zero: nothing is varied. */
typedef struct ufi_augment {
    float flip;    /* chance of mirroring */
    float shift;   /* of the crop, up to this share of its side */
    float scale;   /* up to this factor - 1, larger or smaller */
    float rotate;  /* degrees, up to */
    float colour;  /* brightness, contrast, saturation, white balance: up to this share */
    float gray;    /* chance of no colour */
    float blur;    /* chance; sigma up to 2 % of the side */
    float low;     /* chance of being shrunk to 1/1.5..1/5 and enlarged again */
    float jpeg;    /* chance of a JPEG round trip of quality 20..90; nothing happens in a build
                      without libjpeg */
    float noise;   /* chance of sensor noise */
    float occlude; /* chance of a patch (of one colour, of noise, or of another picture) over
                      up to a third of the crop */
    float blend;   /* chance of becoming a new person: morphed (points and texture) halfway with
                      another picture of the dataset; needs points in both. In scenes: of the
                      faces that are pasted */
    float tone;    /* chance of another skin tone and light: gains and gamma per channel, a
                      gradient of light across the face */
    float warp;    /* scenes: chance of being bent, stretched and turned, and the faces with them */
} ufi_augment;

/* What of the varied picture is shown: a square crop whose five points stand on `points` (fractions
 * of the side). Colour, blur, JPEG, occlusion and the person are the same in all views of a sample;
 * shift, scale and rotation are applied in a view only where `jitter` says so. */
typedef struct ufi_crop_view {
    int32_t size;     /* pixels */
    float points[10]; /* alignment template, x, y of five points */
    bool jitter;
    bool clean; /* nothing at all is varied but a new person (blend) and mirroring */
} ufi_crop_view;

#define UFI_MAX_VIEWS 3

/* For detectors: what is shown is not a crop but a scene. `size` > 0: the only view is a square of
 * so many pixels, in which a picture of the dataset lies, whole or in part, at a size drawn by lot
 * on a drawn background, and up to `faces` faces of samples with points are pasted, each
 * face_min..face_max pixels wide (log-uniform), turned by up to 30 degrees. Colour, blur, noise and
 * the rest of ufi_augment vary the whole. No boxes are given: a teacher that looks at the same
 * pixels says where faces are. */
typedef struct ufi_scene {
    int32_t size;
    int32_t faces;
    float face_min, face_max;
} ufi_scene;

/* Mirrors RGB8 [size][size][3] in place. */
void ufi_mirror_rows(uint8_t *pixels, size_t size);

/* ---- batches, prepared ahead ---- */

typedef struct ufi_loader ufi_loader; /* confined */

typedef struct ufi_loader_options {
    size_t batch;
    uint64_t seed;
    unsigned threads; /* that prepare; >= 1 */
    ufi_augment augment;
    ufi_crop_view views[UFI_MAX_VIEWS];
    size_t view_count;
    ufi_scene scene;        /* size 0: crops; else view_count is taken as 1 */
    const uint32_t *subset; /* sample numbers to take, or NULL for all */
    size_t subset_count;
    uint32_t epoch;     /* where to begin */
    size_t position;    /* samples of that epoch already seen, a multiple of batch */
    size_t per_person;  /* samples of each person in a batch; 0 and 1: whoever comes */
    size_t cache_bytes; /* decoded pictures are kept up to so many bytes; 0: none */
} ufi_loader_options;

typedef struct ufi_batch {
    uint8_t *pixels[UFI_MAX_VIEWS]; /* RGB8 [batch][size][size][3], dense */
    const uint32_t *samples;        /* [batch] number in the dataset; UINT32_MAX for a new person */
    const int32_t *labels;          /* [batch]; -1 */
    const bool *mirrored;           /* [batch] in all views */
    uint32_t epoch;
    size_t position; /* of the first sample in the epoch */
} ufi_batch;

/* `d` must outlive the loader. Samples without points take the whole picture, squared, as aligned
 * to the first view. Each epoch is a new order of all samples; what does not fill a last batch is
 * left to the next epoch's order. With `per_person` a batch holds so many samples of each of
 * batch / per_person persons (the same one several times where there are fewer of a person, varied
 * anew); persons come equally often, and samples of nobody (label -1) do not come. A picture that
 * cannot be decoded is replaced by the one after it and counted. Errors: UF_E_ARG (batch > count,
 * an impossible view, too few persons), UF_E_NOMEM.
 */
uf_status ufi_loader_create(ufi_loader **out, const ufi_dataset *d,
                            const ufi_loader_options *options, uf_error *err);
void ufi_loader_destroy(ufi_loader *l); /* NULL is accepted; ends the threads */
/* The next batch; valid until the call after. */
uf_status ufi_loader_next(ufi_loader *l, ufi_batch *out, uf_error *err);
/* Pictures so far that could not be read, and the last one's error. */
size_t ufi_loader_unreadable(const ufi_loader *l, uf_error *last);

#endif
