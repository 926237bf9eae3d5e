/* Folders of people (folders.h). */
#include "folders.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mix.h"

enum { MAX_PAIRS = 4000000 };

static void add_person(cli_folders *f, const char *folder, const char *name)
{
    char path[4096];
    char *operand = path;
    cli_files files;
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (name[0] == '.' || stat(path, &s) != 0 || !S_ISDIR(s.st_mode))
        return;
    if (!cli_files_collect(&files, &operand, 1))
        exit(EXIT_INTERNAL);
    f->pictures =
        cli_need(realloc(f->pictures, (f->count + files.count + 1) * sizeof *f->pictures));
    f->subjects =
        cli_need(realloc(f->subjects, (f->count + files.count + 1) * sizeof *f->subjects));
    for (size_t i = 0; i < files.count; i++, f->count++) {
        f->pictures[f->count] = (uf_trial_picture){.name = cli_need(strdup(files.paths[i])),
                                                   .template_id = (uint32_t)f->count};
        f->subjects[f->count] = (uint32_t)f->people;
    }
    f->people += files.count > 0;
    cli_files_free(&files);
}

int cli_folders_collect(cli_folders *f, const char *folder)
{
    struct dirent **names;
    const int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0)
        return cli_complain(EXIT_INPUT, "%s: it cannot be read as a folder", folder);
    for (int i = 0; i < n; i++) {
        add_person(f, folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    if (f->people < 2)
        return cli_complain(EXIT_INPUT,
                            "%s: a folder for each person with pictures in it is needed, there "
                            "are %zu",
                            folder, f->people);
    return 0;
}

void cli_folders_free(cli_folders *f)
{
    for (size_t i = 0; i < f->count; i++)
        free((char *)(uintptr_t)f->pictures[i].name);
    free(f->pictures);
    free(f->subjects);
}

/* In 0..1, 1 left out, by lot. */
static double draw_of(uint32_t a, uint32_t b)
{
    return (double)(cli_mix(a * CLI_MIX_STEP + b) >> 11) * 0x1p-53;
}

bool cli_folders_pairs(const cli_folders *f, cli_pair_visitor visit, void *context)
{
    const double pairs = (double)f->count * (double)(f->count - 1) / 2;
    const double share = pairs > MAX_PAIRS ? MAX_PAIRS / pairs : 1;
    for (uint32_t a = 0; a < f->count; a++)
        for (uint32_t b = a + 1; b < f->count; b++) {
            const bool same = f->subjects[a] == f->subjects[b];
            if (same || share >= 1 || draw_of(a, b) < share)
                visit(context, a, b, same);
        }
    return share < 1;
}
