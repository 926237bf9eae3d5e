/* Templates of the pictures of a list of trials, by one or two embedders. */
#ifndef UF_CLI_TEMPLATES_H
#define UF_CLI_TEMPLATES_H

#include "session.h"
#include "uniface/evaluate.h"

enum { CLI_MAX_EMBEDDERS = 2 };

typedef struct cli_templates {
    size_t count, dimension;
    float *v[CLI_MAX_EMBEDDERS]; /* [count][dimension], unit length */
    bool *made;                  /* false: no picture of the template has a usable face */
    size_t pictures, failed;     /* without a usable face */
} cli_templates;

/* What makes them. */
typedef struct cli_embedders {
    uf_embedder *e[CLI_MAX_EMBEDDERS];
    int count;
    const char *folder; /* the pictures' names are relative to it; may be NULL */
    bool aligned;       /* pictures are aligned crops */
} cli_embedders;

/* Makes the templates: each picture's main face, or the picture itself where it is an aligned crop;
 * pictures of one medium are averaged, then media. Prints what is wrong with a picture and goes on.
 * Returns the exit status. */
int cli_templates_make(cli_templates *t, cli_session *s, const cli_embedders *e,
                       const uf_trial_picture *pictures, size_t picture_count,
                       size_t template_count);
void cli_templates_free(cli_templates *t);
/* Similarity of two templates by embedder k; -INFINITY when one of them could not be made. */
float cli_templates_score(const cli_templates *t, int k, uint32_t a, uint32_t b);

#endif
