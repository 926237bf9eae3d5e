/* A run of `uniface cluster`: faces of photos and the groups they fall into. */
#ifndef UF_CLI_CLUSTERING_H
#define UF_CLI_CLUSTERING_H

#include "session.h"

typedef struct found_face {
    size_t picture; /* number of the file */
    size_t face;    /* of that picture */
    uf_face box;
    float quality, similarity; /* to the middle of its group; 1 when it is alone */
    int32_t group;             /* -1: alone */
    uint8_t *png;              /* a small crop; NULL without a report */
    size_t png_bytes;
} found_face;

typedef struct clustering {
    cli_session session;
    cli_files files;
    found_face *faces;
    float *vectors; /* [face_count][dimension] */
    size_t face_count, face_room;
    size_t group_count;
    size_t failed, faceless, poor;
    double threshold, far; /* far 0: the threshold was given */
    const char *model_id;
    size_t *order; /* faces by group, those most like it first; the lone ones last */
} clustering;

/* DIR/cluster.html and DIR/cluster.json. Print what is wrong and return the exit status. */
int clustering_report(const clustering *c, const char *folder);
void clustering_json(const clustering *c, FILE *f);

#endif
