/* uniface: the commands. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

const cli_command *const cli_commands[] = {&cli_import,
                                           &cli_inspect,
                                           &cli_meta,
                                           &cli_detect,
                                           &cli_embed,
                                           &cli_verify,
                                           &cli_calibrate,
                                           &cli_quantize,
                                           &cli_optimize,
                                           &cli_prune,
                                           &cli_distill,
                                           &cli_train,
                                           &cli_finetune,
                                           &cli_retrain,
                                           &cli_sign,
                                           &cli_sign_keygen,
                                           &cli_sign_verify,
                                           &cli_compare,
                                           &cli_evaluate,
                                           &cli_bench,
                                           &cli_profile,
                                           &cli_run,
                                           &cli_devices,
                                           &cli_enroll,
                                           &cli_identify,
                                           &cli_delete,
                                           &cli_list,
                                           &cli_export,
                                           &cli_gallery,
                                           &cli_gallery_stats,
                                           &cli_gallery_verify,
                                           &cli_gallery_audit,
                                           &cli_gallery_expire,
                                           &cli_gallery_compact,
                                           &cli_gallery_reindex,
                                           &cli_gallery_rotate_key,
                                           &cli_gallery_passphrase,
                                           &cli_gallery_migrate,
                                           &cli_gallery_copy,
                                           &cli_gallery_export,
                                           &cli_gallery_import,
                                           &cli_cluster,
                                           &cli_bench_gallery,
                                           &cli_bench_search,
                                           &cli_models,
                                           &cli_models_list,
                                           &cli_models_pull,
                                           &cli_models_add,
                                           &cli_models_verify,
                                           &cli_models_remove,
                                           &cli_models_pack,
                                           &cli_models_unpack,
#ifdef UFI_WITH_SERVER
                                           &cli_serve,
                                           &cli_serve_keys,
#endif
                                           &cli_health,
                                           &cli_top,
                                           &cli_completion,
                                           &cli_man,
                                           NULL};

static void usage(FILE *f)
{
    fputs("usage: uniface COMMAND [OPTION]... [ARGUMENT]...\n\n"
          "Finds faces, turns them into templates and compares them.\n\ncommands:\n",
          f);
    for (int i = 0; cli_commands[i]; i++)
        if (!strchr(cli_commands[i]->name, ' '))
            fprintf(f, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\n`uniface COMMAND --help` tells more; `uniface --version` the version.\n", f);
}

/* The command that the first words name, the longer name first; *words of it. */
static const cli_command *find_command(int argc, char **argv, int *words)
{
    const cli_command *found = NULL;
    for (int i = 0; cli_commands[i]; i++) {
        const char *rest = cli_name_within(cli_commands[i], argv[1]);
        if (rest && argc > 2 && !strcmp(rest, argv[2])) {
            *words = 2;
            return cli_commands[i];
        }
        if (!strcmp(argv[1], cli_commands[i]->name)) {
            *words = 1;
            found = cli_commands[i];
        }
    }
    return found;
}

static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--json"))
            return true;
    return false;
}

/* Answers that nobody got are no success, and programs that read JSON get some when it failed. */
static int finish(int status, bool json)
{
    if (status && json)
        json_fail(status, cli_last_complaint());
    if (fflush(stdout) != 0 && status == 0)
        return cli_complain(EXIT_INPUT, "standard output cannot be written");
    return status;
}

int main(int argc, char **argv)
{
    cli_args a;
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    const bool json = wants_json(argc, argv), help = !strcmp(argv[1], "help");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (help && argc == 2)) {
        usage(stdout);
        return finish(0, false);
    }
    if (!strcmp(argv[1], "--version")) {
        printf("uniface %s\n", uf_version());
        return finish(0, false);
    }
    argc -= help; /* help COMMAND */
    argv += help;
    int words = 0;
    const cli_command *c = find_command(argc, argv, &words);
    if (!c) {
        cli_complain(EXIT_USAGE, "no command \"%s\"; `uniface --help` lists them", argv[1]);
        return finish(EXIT_USAGE, json);
    }
    if (help) {
        cli_help(stdout, c);
        return finish(0, false);
    }
    const bool wrong_word =
        words == 1 && !strcmp(c->operands, "COMMAND") && argc > 2 && argv[2][0] != '-';
    /* Parsing moves operands to the front. */
    char **given = cli_need(malloc(((size_t)argc + 1) * sizeof *given));
    memcpy(given, argv, ((size_t)argc + 1) * sizeof *given);
    int status = cli_parse(&a, c, wrong_word ? 1 : argc - 1 - words, argv + 1 + words);
    a.argv = given;
    if (status < 0)
        status = c->run(&a);
    free(given);
    return finish(status, json);
}
