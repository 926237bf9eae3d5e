/* Pictures through a pipeline: what commands share that look at photos and keep none of them. */
#ifndef UF_CLI_LANES_H
#define UF_CLI_LANES_H

#include "session.h"
#include "uniface/pipeline.h"

enum { CLI_LANES_MAX_FACES = 1024 };

typedef struct cli_lanes {
    const cli_args *a;
    uf_model *detector, *embedder; /* embedder NULL: faces are found only */
    uf_pipeline *pipeline;
    size_t dimension;
} cli_lanes;

/* Zero the lanes first; close them in any case. These print what is wrong and return the exit
 * status, or 0. */
int cli_lanes_open(cli_lanes *l, const cli_args *a, bool embeds); /* the models of the options */
/* A pipeline for so many pictures; `o` says what the command wants of it, the options of the
 * command line are added. Few pictures get several threads each. */
int cli_lanes_start(cli_lanes *l, size_t pictures, uf_pipeline_options *o);
/* `take` gets each picture's item, in order; the first exit status that is not 0 ends the run.
 * `doing` names the work on the bar of progress. */
typedef int cli_take_item(void *user, size_t picture, const uf_pipeline_item *item);
int cli_lanes_run(cli_lanes *l, char *const *paths, size_t count, const char *doing,
                  cli_take_item *take, void *user);
void cli_lanes_close(cli_lanes *l);

/* UF_OK when the picture has a face that is told, else why not, beginning with its path. */
uf_status cli_item_check(const uf_pipeline_item *item, const char *path, uf_error *err);

#endif
