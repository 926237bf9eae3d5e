/* uniface: the commands. */
#include <string.h>

#include "cli.h"

const cli_command *const cli_commands[] = {
    &cli_import,   &cli_inspect,  &cli_detect,  &cli_embed,      &cli_verify,   &cli_calibrate,
    &cli_quantize, &cli_optimize, &cli_prune,   &cli_compare,    &cli_evaluate, &cli_bench,
    &cli_profile,  &cli_run,      &cli_devices, &cli_completion, &cli_man,      NULL};

static void usage(FILE *f)
{
    fputs("usage: uniface COMMAND [OPTION]... [ARGUMENT]...\n\n"
          "Finds faces, turns them into templates and compares them.\n\ncommands:\n",
          f);
    for (int i = 0; cli_commands[i]; i++)
        fprintf(f, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\n`uniface COMMAND --help` tells more; `uniface --version` the version.\n", f);
}

int main(int argc, char **argv)
{
    cli_args a;
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("uniface %s\n", uf_version());
        return 0;
    }
    for (int i = 0; cli_commands[i]; i++) {
        if (strcmp(argv[1], cli_commands[i]->name) != 0)
            continue;
        int status = cli_parse(&a, cli_commands[i], argc - 2, argv + 2);
        if (status < 0)
            status = cli_commands[i]->run(&a);
        if (fflush(stdout) != 0 && status == 0)
            status = cli_complain(EXIT_INPUT, "standard output cannot be written");
        return status;
    }
    fprintf(stderr, "uniface: no command \"%s\"; `uniface --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
