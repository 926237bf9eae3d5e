/* Folders of people: a folder for each person, with pictures of that person in it. */
#ifndef UF_CLI_FOLDERS_H
#define UF_CLI_FOLDERS_H

#include "cli.h"
#include "uniface/evaluate.h"

typedef struct cli_folders {
    uf_trial_picture *pictures; /* template_id: the picture's number */
    uint32_t *subjects;         /* of each picture, 0..people-1 */
    size_t count, people;
} cli_folders;

/* Returns the exit status: at least two people with pictures are needed. */
int cli_folders_collect(cli_folders *f, const char *folder);
void cli_folders_free(cli_folders *f);

typedef void (*cli_pair_visitor)(void *context, uint32_t a, uint32_t b, bool same);

/* Visits every pair of pictures; of more than four million the genuine ones and a fixed sample of
 * the impostors. Returns true when it was a sample. */
bool cli_folders_pairs(const cli_folders *f, cli_pair_visitor visit, void *context);

#endif
