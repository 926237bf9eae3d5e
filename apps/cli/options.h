/*
 * The commands and their options as tables. Parsing, --help, bash completion and the manual pages
 * are all made from them, so they cannot disagree. A new option is one field of cli_args and one
 * row in the table of each command that takes it.
 */
#ifndef UNIFACE_CLI_OPTIONS_H
#define UNIFACE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses. X(name, value, text) */
#define CLI_EXIT_LIST(X)                                                       \
    X(OK, 0, "done; verify: the same person")                                  \
    X(NEGATIVE, 1, "done, with a negative answer; verify: different persons")  \
    X(USAGE, 2, "wrong command, option or argument")                           \
    X(DATA, 3,                                                                 \
      "a file or its content was refused (in a batch: at least one of them), " \
      "or no decision was possible")                                           \
    X(MACHINE, 4, "the machine could not: memory, device, output, or a fault of the program")

enum cli_exit {
#define CLI_EXIT_ENUM(name, value, text) CLI_EXIT_##name = value,
    CLI_EXIT_LIST(CLI_EXIT_ENUM)
#undef CLI_EXIT_ENUM
};

typedef struct cli_args {
    bool help, json, quiet;
    const char *output, *detector, *embedder, *device;
    int64_t threads, batch, size;
    double score, nms;
    const char *preset, *licence;
    bool default_model, no_optimize, replace;
    const char *draw, *shape;
    double seconds;
    bool flip, largest, score_only;
    double threshold, far;
    const char *pairs, *images;
    int64_t repeat;
    char **words; /* arguments that are no options */
    int word_count;
} cli_args;

enum cli_type { CLI_FLAG, CLI_INT, CLI_NUMBER, CLI_TEXT, CLI_FILE };

typedef struct cli_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum cli_type type;
    const char *metavar; /* NULL for flags */
    size_t offset;       /* of its field in cli_args */
    const char *preset;  /* default as text; NULL: 0, false or NULL */
    double min, max;     /* numbers */
    const char *help;
} cli_option;

typedef struct cli_command {
    const char *name;
    const char *words; /* synopsis of the arguments */
    int words_min, words_max;
    const char *summary;
    const char *description;
    const char *examples; /* lines, each a command followed by "  # why" */
    const cli_option *options;
    int (*run)(const cli_args *args);
} cli_command;

extern const cli_command cli_commands[]; /* ended by a NULL name */
const cli_command *cli_command_find(const char *name);
/* Those that every command takes: --json, --quiet, --help. */
extern const cli_option cli_common_options[];
/* Visits the command's options, then the common ones; NULL past the last. */
const cli_option *cli_option_at(const cli_command *c, size_t i);

/* Fills `args` with the defaults, then with argv[0..argc), options and words in any order; "--"
 * ends the options. False: `message` says what is wrong. argv is permuted (words come first). */
bool cli_parse(const cli_command *c, int argc, char **argv, cli_args *args, char *message,
               size_t message_size);

void cli_help_all(FILE *f);
void cli_help_command(FILE *f, const cli_command *c);
void cli_completion_bash(FILE *f);
/* NULL: the page of the program itself. */
void cli_man_page(FILE *f, const cli_command *c);

#endif
