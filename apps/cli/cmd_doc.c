/* uniface completion, man: made from the tables that the commands are parsed with. */
#include <string.h>

#include "cli.h"

static void completion_options(const cli_command *c, const char *indent, const char *name)
{
    printf("%s%s) words=\"--help --json", indent, name);
    for (int k = 0; k < CLI_MAX_OPTIONS && c->options[k].name; k++)
        printf(" --%s", c->options[k].name);
    puts("\" ;;");
}

/* Commands of a command are told apart by the second word. */
static void completion_group(const cli_command *group)
{
    bool any = false;
    for (int i = 0; cli_commands[i]; i++) {
        const char *name = cli_name_within(cli_commands[i], group->name);
        if (name && !any)
            printf("        case ${COMP_WORDS[1]} in %s) case ${COMP_WORDS[2]} in\n", group->name);
        if (name)
            completion_options(cli_commands[i], "        ", name);
        any = any || name;
    }
    if (!any)
        return;
    puts("        esac ;; esac");
    printf("        [ \"$COMP_CWORD ${COMP_WORDS[1]}\" != \"2 %s\" ] || %snames=\"", group->name,
           strcmp(group->operands, "COMMAND") ? "" : "files= ");
    for (int i = 0; cli_commands[i]; i++)
        if (cli_name_within(cli_commands[i], group->name))
            printf(" %s", cli_name_within(cli_commands[i], group->name));
    puts("\"");
}

/* Names of models: those that can be fetched, and those that are there, also as an option's value.
 */
static void completion_models(void)
{
    puts(
        "    case \"${COMP_WORDS[*]:1:2}\" in\n"
        "        \"models pull\") files= names=$(\"${COMP_WORDS[0]}\" models list --names "
        "2>/dev/null) ;;\n"
        "        \"models remove\"|\"models verify\"|\"models pack\")\n"
        "            files= names=$(\"${COMP_WORDS[0]}\" models list --names --installed "
        "2>/dev/null) ;;\n"
        "    esac\n"
        "    case ${COMP_WORDS[COMP_CWORD-1]} in\n"
        "        -o|--output|--ca-file|-m|--manifest) files=1 names= ;;\n"
        "        --detector|--embedder|-d|-e)\n"
        "            names=$(\"${COMP_WORDS[0]}\" models list --names --installed 2>/dev/null) ;;\n"
        "    esac");
}

static int run_completion(const cli_args *a)
{
    (void)a;
    puts("# bash completion for uniface; in ~/.bashrc:  eval \"$(uniface completion)\"\n"
         "_uniface() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} words= names= files=1\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        files= names=\"", stdout);
    for (int i = 0; cli_commands[i]; i++)
        if (!strchr(cli_commands[i]->name, ' '))
            printf("%s%s", i ? " " : "", cli_commands[i]->name);
    puts("\"\n    else\n        case ${COMP_WORDS[1]} in");
    for (int i = 0; cli_commands[i]; i++)
        if (!strchr(cli_commands[i]->name, ' '))
            completion_options(cli_commands[i], "        ", cli_commands[i]->name);
    puts("        esac");
    for (int i = 0; cli_commands[i]; i++)
        completion_group(cli_commands[i]);
    completion_models();
    puts("    fi\n"
         "    if [[ $cur == -* ]]; then files=; else words=$names; fi\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"; "
         "[ -z \"$files\" ] || compgen -f -- \"$cur\")\n"
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
    puts(".TP\n.B \\-\\-json\nprint JSON to standard output, errors too\n"
         ".TP\n.B \\-h, \\-\\-help\nprint help");
}

/* "gallery stats" has the page uniface-gallery-stats. */
static void page_name(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s", name);
    for (char *p = strchr(out, ' '); p; p = strchr(p, ' '))
        *p = '-';
}

static void manual(const cli_command *c)
{
    char name[64];
    page_name(name, sizeof name, c->name);
    printf(".TH UNIFACE-%s 1 \"\" \"uniface %s\"\n.SH NAME\nuniface\\-", name, uf_version());
    troff(name);
    fputs(" \\- ", stdout);
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
    char name[64], wanted[64];
    if (a->count == 0) {
        printf(".TH UNIFACE 1 \"\" \"uniface %s\"\n.SH NAME\nuniface \\- face biometrics\n"
               ".SH SYNOPSIS\n.B uniface\nCOMMAND [OPTION]... [ARGUMENT]...\n.SH COMMANDS\n",
               uf_version());
        for (int i = 0; cli_commands[i]; i++) {
            printf(".TP\n.B %s\n", cli_commands[i]->name);
            troff(cli_commands[i]->summary);
            page_name(name, sizeof name, cli_commands[i]->name);
            fputs(", see uniface\\-", stdout);
            troff(name);
            puts("(1)");
        }
        return 0;
    }
    snprintf(wanted, sizeof wanted, "%s%s%s", a->operands[0], a->count > 1 ? "-" : "",
             a->count > 1 ? a->operands[1] : "");
    for (int i = 0; cli_commands[i]; i++) {
        page_name(name, sizeof name, cli_commands[i]->name);
        if (!strcmp(name, wanted)) {
            manual(cli_commands[i]);
            return 0;
        }
    }
    return cli_complain(EXIT_USAGE, "man: there is no command %s", wanted);
}

const cli_command cli_man = {
    .name = "man",
    .summary = "Print a manual page (troff)",
    .operands = "[COMMAND]",
    .min_operands = 0,
    .max_operands = 2,
    .examples = "  uniface man verify | man -l -\n"
                "  uniface man gallery stats | man -l -\n",
    .run = run_man,
};
