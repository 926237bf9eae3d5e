/* Opening galleries: keys from files and the environment, passphrases from the terminal only. */
#include "gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* ---- passphrases ---- */

/* Reads a line without echo; false when the terminal is gone. */
static bool ask(int terminal, const char *what, char *out)
{
    struct termios before, silent;
    size_t n = 0;
    char c = 0;
    const bool has_echo = tcgetattr(terminal, &before) == 0;
    if (has_echo) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(terminal, TCSAFLUSH, &silent);
    }
    dprintf(terminal, "%s: ", what); /* what is typed from now on counts, and is not shown */
    ssize_t got;
    while ((got = read(terminal, &c, 1)) == 1 && c != '\n')
        if (n + 1 < CLI_MAX_PASSPHRASE)
            out[n++] = c;
    out[n] = '\0';
    if (has_echo)
        tcsetattr(terminal, TCSAFLUSH, &before);
    dprintf(terminal, "\n");
    return got == 1;
}

bool cli_ask_passphrase(char *out, const char *what, bool twice)
{
    char again[CLI_MAX_PASSPHRASE];
    const int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return false;
    bool ok = ask(terminal, what, out);
    if (ok && !*out) {
        cli_complain(0, "an empty passphrase protects nothing");
        ok = false;
    }
    if (ok && twice) {
        ok = ask(terminal, "the same again", again);
        if (ok && strcmp(out, again) != 0) {
            cli_complain(0, "the two passphrases differ");
            ok = false;
        }
        explicit_bzero(again, sizeof again);
    }
    close(terminal);
    if (!ok)
        explicit_bzero(out, CLI_MAX_PASSPHRASE);
    return ok;
}

/* ---- opening ---- */

/* Nothing says how the master key is opened, so that asking makes sense. */
static bool has_no_key(const uf_gallery_options *o)
{
    return !o->passphrase && !o->key_file && !(o->flags & UF_GALLERY_PLAIN) &&
           !getenv("UNIFACE_GALLERY_PASSPHRASE") && !getenv("UNIFACE_GALLERY_KEY_FILE");
}

static uf_status open_asking(gallery_session *g, const uf_gallery_options *options, bool is_new,
                             uf_error *err)
{
    char passphrase[CLI_MAX_PASSPHRASE], what[400];
    uf_gallery_options o = *options;
    uf_status st = uf_gallery_open(&g->g, g->name, &o, err);
    if (st != UF_E_ARG || !has_no_key(&o))
        return st;
    snprintf(what, sizeof what, "%s of %.300s", is_new ? "new passphrase" : "passphrase",
             strstr(g->name, "://") ? "the gallery" : g->name); /* passwords are in addresses */
    if (!cli_ask_passphrase(passphrase, what, is_new))
        return st;
    o.passphrase = passphrase;
    st = uf_gallery_open(&g->g, g->name, &o, err);
    explicit_bzero(passphrase, sizeof passphrase);
    return st;
}

int cli_gallery_open_named(gallery_session *g, const char *name, const char *key_file,
                           uint32_t flags, uf_gallery_options o)
{
    uf_error err;
    g->name = name;
    o.key_file = key_file;
    /* Without UF_GALLERY_CREATE first: only a new gallery wants its passphrase twice. */
    o.flags = flags & ~(uint32_t)UF_GALLERY_CREATE;
    uf_status st = open_asking(g, &o, false, &err);
    if (st == UF_E_NOT_FOUND && flags & UF_GALLERY_CREATE) {
        o.flags = flags;
        st = open_asking(g, &o, true, &err);
        g->made = !st;
    }
    if (!st)
        g->name = uf_gallery_name(g->g);
    return st ? cli_fail(&err) : 0;
}

int cli_gallery_open(gallery_session *g, const cli_args *a, uint32_t flags)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    double threads;
    const char *name = cli_value(a, "gallery");
    if (!name)
        name = getenv("UNIFACE_GALLERY");
    if (!name || !*name)
        return cli_complain(EXIT_USAGE,
                            "%s: which gallery? Name it with -g, or in the environment variable "
                            "UNIFACE_GALLERY",
                            a->command->name);
    if (!cli_number(a, "threads", 0, 1024, 1, &threads))
        return EXIT_USAGE;
    o.threads = (uint32_t)threads;
    o.keep_crops = cli_flag(a, "keep-crops");
    if (cli_flag(a, "plain"))
        flags |= UF_GALLERY_PLAIN;
    return cli_gallery_open_named(g, name, cli_value(a, "key-file"), flags, o);
}

void cli_gallery_close(gallery_session *g)
{
    uf_gallery_close(g->g);
    g->g = NULL;
}

/* ---- filters ---- */

int cli_filter_open(cli_filter *f, const cli_args *a)
{
    const char *path = cli_value(a, "ids");
    char *line = NULL;
    size_t room = 0;
    f->filter.metadata = cli_value(a, "filter");
    f->given = f->filter.metadata || path;
    if (f->filter.metadata && !strchr(f->filter.metadata, '='))
        return cli_complain(EXIT_USAGE, "--filter wants KEY=VALUE, not \"%s\"", f->filter.metadata);
    if (!path)
        return 0;
    FILE *in = fopen(path, "r");
    if (!in)
        return cli_complain(EXIT_INPUT, "%s: %s", path, strerror(errno));
    while (getline(&line, &room, in) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!*line)
            continue;
        f->ids = cli_need(realloc(f->ids, (f->filter.id_count + 1) * sizeof *f->ids));
        f->ids[f->filter.id_count++] = cli_need(strdup(line));
    }
    free(line);
    fclose(in);
    if (!f->filter.id_count)
        return cli_complain(EXIT_INPUT, "%s: there is no id in it", path);
    f->filter.ids = (const char *const *)f->ids;
    return 0;
}

void cli_filter_close(cli_filter *f)
{
    for (size_t i = 0; i < f->filter.id_count; i++)
        free(f->ids[i]);
    free(f->ids);
}

const uf_gallery_filter *cli_filter_get(const cli_filter *f)
{
    return f->given ? &f->filter : NULL;
}

/* ---- times ---- */

void cli_time_text(char *out, int64_t t)
{
    struct tm parts;
    const time_t seconds = (time_t)t;
    if (!gmtime_r(&seconds, &parts) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts))
        snprintf(out, 32, "%lld", (long long)t);
}

bool cli_time_parse(const char *text, int64_t *out)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm parts = {0};
        const char *rest = strptime(text, forms[i], &parts);
        if (rest && !*rest) {
            *out = (int64_t)timegm(&parts);
            return true;
        }
    }
    return false;
}

bool cli_time_read(const char *text, int64_t *out)
{
    char *end;
    const long n = strtol(text, &end, 10);
    if (end != text && n > 0 && n < 1000000 && (!strcmp(end, "d") || !strcmp(end, "h"))) {
        *out = (int64_t)time(NULL) + (int64_t)n * (*end == 'd' ? 86400 : 3600);
        return true;
    }
    if (cli_time_parse(text, out)) {
        if (*out > (int64_t)time(NULL))
            return true;
        cli_complain(0, "the time %s is past", text);
        return false;
    }
    cli_complain(0,
                 "\"%s\" is no time: write a date (2030-12-31), a date with time "
                 "(2030-12-31T12:00:00Z) or a time from now (90d, 12h)",
                 text);
    return false;
}
