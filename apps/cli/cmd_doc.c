/* uniface completion, man: made from the tables that the commands are parsed with. */
#include <string.h>

#include "cli.h"

static int run_completion(const cli_args *a)
{
    (void)a;
    puts("# bash completion for uniface; in ~/.bashrc:  eval \"$(uniface completion)\"\n"
         "_uniface() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} words\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        words=\"", stdout);
    for (int i = 0; cli_commands[i]; i++)
        printf("%s%s", i ? " " : "", cli_commands[i]->name);
    puts("\"\n    else\n        case ${COMP_WORDS[1]} in");
    for (int i = 0; cli_commands[i]; i++) {
        printf("        %s) words=\"--help --json", cli_commands[i]->name);
        for (int k = 0; k < CLI_MAX_OPTIONS && cli_commands[i]->options[k].name; k++)
            printf(" --%s", cli_commands[i]->options[k].name);
        puts("\" ;;");
    }
    puts("        esac\n"
         "        [[ $cur == -* ]] || words=\"\"\n"
         "    fi\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"; "
         "[ -n \"$words\" ] || compgen -f -- \"$cur\")\n"
         "}\n"
         "complete -o filenames -F _uniface uniface");
    return 0;
}

const cli_command cli_completion = {
    .name = "completion",
    .summary = "Print the completion script for bash",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .examples = "  eval \"$(uniface completion)\"\n",
    .run = run_completion,
};

/* Text for troff: backslashes and hyphens escaped, lines that would be requests protected. */
static void troff(const char *text)
{
    bool at_start = true;
    for (; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        at_start = *text == '\n';
    }
}

static void manual_options(const cli_command *c)
{
    puts(".SH OPTIONS");
    for (int k = 0; k < CLI_MAX_OPTIONS && c->options[k].name; k++) {
        const cli_option *o = &c->options[k];
        fputs(".TP\n.B ", stdout);
        if (o->letter)
            printf("\\-%c, ", o->letter);
        fputs("\\-\\-", stdout);
        troff(o->name);
        if (o->metavar) {
            putchar(' ');
            troff(o->metavar);
        }
        putchar('\n');
        troff(o->help);
        putchar('\n');
    }
    puts(".TP\n.B \\-\\-json\nprint JSON to standard output\n.TP\n.B \\-h, \\-\\-help\nprint help");
}

static void manual(const cli_command *c)
{
    printf(".TH UNIFACE-%s 1 \"\" \"uniface %s\"\n.SH NAME\nuniface\\-%s \\- ", c->name,
           uf_version(), c->name);
    troff(c->summary);
    printf("\n.SH SYNOPSIS\n.B uniface %s\n[OPTION]... ", c->name);
    troff(c->operands);
    putchar('\n');
    if (c->details) {
        puts(".SH DESCRIPTION\n.nf");
        troff(c->details);
        puts("\n.fi");
    }
    manual_options(c);
    puts(".SH EXAMPLES\n.nf");
    troff(c->examples);
    puts(".fi\n.SH EXIT STATUS\n0 success, 1 the answer is no, 2 wrong usage, 3 an input could not "
         "be used, 4 out of memory or an internal error.");
}

static int run_man(const cli_args *a)
{
    if (a->count == 0) {
        printf(".TH UNIFACE 1 \"\" \"uniface %s\"\n.SH NAME\nuniface \\- face biometrics\n"
               ".SH SYNOPSIS\n.B uniface\nCOMMAND [OPTION]... [ARGUMENT]...\n.SH COMMANDS\n",
               uf_version());
        for (int i = 0; cli_commands[i]; i++) {
            printf(".TP\n.B %s\n", cli_commands[i]->name);
            troff(cli_commands[i]->summary);
            printf(", see uniface\\-%s(1)\n", cli_commands[i]->name);
        }
        return 0;
    }
    for (int i = 0; cli_commands[i]; i++)
        if (!strcmp(cli_commands[i]->name, a->operands[0])) {
            manual(cli_commands[i]);
            return 0;
        }
    return cli_complain(EXIT_USAGE, "man: there is no command %s", a->operands[0]);
}

const cli_command cli_man = {
    .name = "man",
    .summary = "Print a manual page (troff)",
    .operands = "[COMMAND]",
    .min_operands = 0,
    .max_operands = 1,
    .examples = "  uniface man verify | man -l -\n",
    .run = run_man,
};
