/*
 * Parsing of one command's arguments by its table. getopt_long was rejected: it knows neither
 * types, ranges nor defaults, and its messages cannot say what to do.
 */
#include "options.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(cli_args, field)

const cli_option cli_common_options[] = {
    {"json", 0, CLI_FLAG, NULL, AT(json), NULL, 0, 0,
     "print one JSON object on standard output instead of text"},
    {"quiet", 'q', CLI_FLAG, NULL, AT(quiet), NULL, 0, 0, "no progress bar"},
    {"help", 'h', CLI_FLAG, NULL, AT(help), NULL, 0, 0, "print this help"},
    {0},
};

const cli_command *cli_command_find(const char *name)
{
    for (const cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

const cli_option *cli_option_at(const cli_command *c, size_t i)
{
    size_t own = 0;
    while (c->options && c->options[own].name)
        own++;
    if (i < own)
        return &c->options[i];
    i -= own;
    return i < sizeof cli_common_options / sizeof *cli_common_options - 1 ? &cli_common_options[i]
                                                                          : NULL;
}

static bool complain(char *message, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool complain(char *message, size_t size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(message, size, format, list);
    va_end(list);
    return false;
}

static bool set(const cli_option *o, const char *text, cli_args *args, char *message, size_t size)
{
    char *field = (char *)args + o->offset, *end = NULL;
    switch (o->type) {
    case CLI_FLAG:
        *(bool *)field = true;
        return true;
    case CLI_TEXT:
    case CLI_FILE:
        memcpy(field, &text, sizeof text);
        return true;
    case CLI_INT: {
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || (double)v < o->min || (double)v > o->max)
            return complain(message, size, "--%s: \"%s\" is no whole number of %.0f..%.0f", o->name,
                            text, o->min, o->max);
        int64_t v64 = v;
        memcpy(field, &v64, sizeof v64);
        return true;
    }
    case CLI_NUMBER: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || v < o->min || v > o->max)
            return complain(message, size, "--%s: \"%s\" is no number of %g..%g", o->name, text,
                            o->min, o->max);
        memcpy(field, &v, sizeof v);
        return true;
    }
    }
    return false;
}

static const cli_option *find_long(const cli_command *c, const char *name, size_t length)
{
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static const cli_option *find_letter(const cli_command *c, char letter)
{
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        if (letter && o->letter == letter)
            return o;
    return NULL;
}

/* Takes the option at argv[*i], which begins with a dash, and moves *i to its last word. */
static bool parse_option(const cli_command *c, int argc, char **argv, int *i, cli_args *args,
                         char *message, size_t size)
{
    char *word = argv[*i], *value = NULL;
    const cli_option *o;
    if (word[1] == '-') {
        char *equals = strchr(word, '=');
        value = equals ? equals + 1 : NULL;
        o = find_long(c, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
    } else {
        o = find_letter(c, word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (!o)
        return complain(message, size, "unknown option %s: see uniface %s --help", word, c->name);
    if (o->type == CLI_FLAG) {
        if (value)
            return complain(message, size, "--%s takes no value, in %s", o->name, word);
    } else if (!value) {
        if (*i + 1 >= argc)
            return complain(message, size, "--%s needs a value: --%s %s", o->name, o->name,
                            o->metavar);
        value = argv[++*i];
    }
    return set(o, value, args, message, size);
}

bool cli_parse(const cli_command *c, int argc, char **argv, cli_args *args, char *message,
               size_t message_size)
{
    const cli_option *o;
    memset(args, 0, sizeof *args);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        if (o->preset && !set(o, o->preset, args, message, message_size))
            return false;
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (!options || argv[i][0] != '-' || !argv[i][1])
            argv[args->word_count++] = argv[i];
        else if (!parse_option(c, argc, argv, &i, args, message, message_size))
            return false;
    }
    args->words = argv;
    if (args->help)
        return true;
    if (args->word_count < c->words_min)
        return complain(message, message_size, "%s needs %s: see uniface %s --help", c->name,
                        c->words, c->name);
    if (args->word_count > c->words_max)
        return complain(message, message_size, "%s: too many arguments, beginning with \"%s\"",
                        c->name, args->words[c->words_max]);
    return true;
}
