/* Parsing and help, from the tables of the commands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char json_help[] = "print JSON to standard output, errors too";

static int option_index(const cli_command *c, const char *name, size_t length, char letter)
{
    for (int i = 0; i < CLI_MAX_OPTIONS && c->options[i].name; i++)
        if (letter ? c->options[i].letter == letter
                   : strlen(c->options[i].name) == length &&
                         strncmp(c->options[i].name, name, length) == 0)
            return i;
    return -1;
}

static void help_line(FILE *f, char letter, const char *name, const char *metavar, const char *help)
{
    char left[64];
    int n =
        snprintf(left, sizeof left, "  %c%c%s --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                 letter ? "," : " ", name, metavar ? " " : "", metavar ? metavar : "");
    fprintf(f, "%-*s%s%s\n", 28, left, n >= 28 ? "\n                            " : "", help);
}

const char *cli_name_within(const cli_command *c, const char *group)
{
    const size_t n = strlen(group);
    return !strncmp(c->name, group, n) && c->name[n] == ' ' ? c->name + n + 1 : NULL;
}

static void help_commands(FILE *f, const cli_command *group)
{
    bool any = false;
    for (int i = 0; cli_commands[i]; i++)
        if (cli_name_within(cli_commands[i], group->name)) {
            fprintf(f, "%s  %-24s  %s\n", any ? "" : "commands:\n", cli_commands[i]->name,
                    cli_commands[i]->summary);
            any = true;
        }
    if (any)
        fputc('\n', f);
}

void cli_help(FILE *f, const cli_command *c)
{
    fprintf(f, "usage: uniface %s [OPTION]... %s\n\n%s.\n\n", c->name, c->operands, c->summary);
    if (c->details)
        fprintf(f, "%s\n\n", c->details);
    help_commands(f, c);
    fputs("options:\n", f);
    for (int i = 0; i < CLI_MAX_OPTIONS && c->options[i].name; i++)
        help_line(f, c->options[i].letter, c->options[i].name, c->options[i].metavar,
                  c->options[i].help);
    help_line(f, 0, "json", NULL, json_help);
    help_line(f, 'h', "help", NULL, "print this help");
    fprintf(f, "\nexamples:\n%s\n", c->examples);
    fputs(
        "exit status: 0 success, 1 the answer is no, 2 wrong usage, 3 an input could not be used,\n"
        "4 out of memory or an internal error\n",
        f);
}

static int usage_error(const cli_command *c, const char *fmt, const char *what)
{
    char wrong[512];
    snprintf(wrong, sizeof wrong, fmt, c->name, what);
    return cli_complain(EXIT_USAGE, "%s; try `uniface %s --help`", wrong, c->name);
}

/* One argument that begins with '-'. *i moves past a value taken from the next argument. */
static int take_option(cli_args *a, const cli_command *c, int argc, char **argv, int *i)
{
    char *arg = argv[*i];
    bool is_long = arg[1] == '-';
    const char *equals = is_long ? strchr(arg, '=') : NULL;
    size_t length = is_long ? (equals ? (size_t)(equals - arg) : strlen(arg)) - 2 : 0;
    if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
        cli_help(stdout, c);
        return 0;
    }
    if (!strcmp(arg, "--json")) {
        a->json = true;
        return -1;
    }
    int k = is_long ? option_index(c, arg + 2, length, 0) : option_index(c, NULL, 0, arg[1]);
    if (k < 0)
        return usage_error(c, "%s has no option %s", arg);
    if (!c->options[k].metavar) {
        if (equals || (!is_long && arg[2]))
            return usage_error(c, "%s: option %s takes no value", arg);
        a->values[k] = "";
    } else if (equals) {
        a->values[k] = equals + 1;
    } else if (!is_long && arg[2]) {
        a->values[k] = arg + 2;
    } else if (*i + 1 < argc) {
        a->values[k] = argv[++*i];
    } else {
        return usage_error(c, "%s: option %s needs a value", arg);
    }
    return -1;
}

int cli_no_command(const cli_args *a)
{
    const char *group = a->command->name;
    return cli_complain(EXIT_USAGE, "%s has no command \"%s\"; `uniface %s --help` lists them",
                        group, a->operands[0], group);
}

int cli_parse(cli_args *a, const cli_command *c, int argc, char **argv)
{
    bool only_operands = false;
    memset(a, 0, sizeof *a);
    a->command = c;
    a->operands = argv; /* operands are moved to the front */
    for (int i = 0; i < argc; i++) {
        if (!only_operands && !strcmp(argv[i], "--")) {
            only_operands = true;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            int status = take_option(a, c, argc, argv, &i);
            if (status >= 0)
                return status;
        } else if (!argv[i][0]) {
            return usage_error(c, "%s: an argument is empty%s", "");
        } else {
            argv[a->count++] = argv[i];
        }
    }
    if (a->count < c->min_operands)
        return usage_error(c, "%s needs %s", c->operands);
    if (c->max_operands >= 0 && a->count > c->max_operands)
        return usage_error(c, "%s: one argument too many: %s", argv[c->max_operands]);
    return -1;
}

const char *cli_value(const cli_args *a, const char *option)
{
    int i = option_index(a->command, option, strlen(option), 0);
    return i < 0 ? NULL : a->values[i];
}

bool cli_flag(const cli_args *a, const char *option)
{
    return cli_value(a, option) != NULL;
}

/* What these stand for has no fractions. */
static bool is_whole(const cli_args *a, const char *option)
{
    const int i = option_index(a->command, option, strlen(option), 0);
    const char *metavar = i < 0 ? NULL : a->command->options[i].metavar;
    return metavar && (!strcmp(metavar, "N") || !strcmp(metavar, "PIXELS"));
}

bool cli_number(const cli_args *a, const char *option, double min, double max, double fallback,
                double *out)
{
    const char *text = cli_value(a, option);
    const bool whole = is_whole(a, option);
    char *end;
    *out = fallback;
    if (!text)
        return true;
    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out) && *out >= min && *out <= max &&
        (!whole || *out == floor(*out)))
        return true;
    cli_complain(0, "--%s must be a %snumber from %.10g to %.10g, not \"%s\"", option,
                 whole ? "whole " : "", min, max, text);
    return false;
}
