/* What commands that work on a gallery share: opening it, filters, times, photos. */
#ifndef UF_CLI_GALLERY_H
#define UF_CLI_GALLERY_H

#include "session.h"

#define GALLERY_OPTIONS                                                                         \
    {"gallery", 'g', "NAME", "a file or postgresql://... (default: that of $UNIFACE_GALLERY)"}, \
    {                                                                                           \
        "key-file", 0, "FILE", "what opens it (else environment, else the passphrase is asked)" \
    }

#define PLAIN_OPTION                                                    \
    {                                                                   \
        "plain", 0, NULL, "where a gallery is made: without encryption" \
    }

#define COLLECTION_OPTION                                        \
    {                                                            \
        "collection", 0, "NAME", "collection (default: default)" \
    }

#define FILTER_OPTIONS                                                         \
    {"filter", 0, "KEY=VALUE", "only people whose metadata has this"},         \
    {                                                                          \
        "ids", 0, "FILE", "only these people: a file with one id on each line" \
    }

#define GALLERY_DETAILS                                                                  \
    "The gallery is encrypted: its key is opened by --key-file, else by\n"               \
    "$UNIFACE_GALLERY_PASSPHRASE, $UNIFACE_GALLERY_KEY_FILE or the systemd credential\n" \
    "uniface-gallery-key, else by a passphrase that is asked for on the terminal."

typedef struct gallery_session {
    uf_gallery *g;
    const char *name; /* as it may be shown, once it is open */
    bool made;        /* there was none before */
} gallery_session;

/* Opens the gallery of the options; prints what is wrong and returns the exit status. `flags` are
 * uf_gallery_options.flags. Close it in any case. */
int cli_gallery_open(gallery_session *g, const cli_args *a, uint32_t flags);
/* The same with a name, a key file (may be NULL) and more choices. */
int cli_gallery_open_named(gallery_session *g, const char *name, const char *key_file,
                           uint32_t flags, uf_gallery_options o);
void cli_gallery_close(gallery_session *g);

/* Asks for a secret on the terminal, twice when `twice`; false when there is no terminal, or the
 * answers differ or are empty (printed). Wipe it with explicit_bzero. */
enum { CLI_MAX_PASSPHRASE = 1024 };
bool cli_ask_passphrase(char *out, const char *what, bool twice);

/* The filter that the options name; NULL when they name none. */
typedef struct cli_filter {
    uf_gallery_filter filter;
    char **ids;
    bool given;
} cli_filter;
int cli_filter_open(cli_filter *f, const cli_args *a);
void cli_filter_close(cli_filter *f);
const uf_gallery_filter *cli_filter_get(const cli_filter *f);

/* "2026-11-25T12:00:00Z"; a text of at least 32 bytes. */
void cli_time_text(char *out, int64_t time);
/* A date, a date with time, or a number with d or h ("90d": from now on). Prints what is wrong. */
bool cli_time_read(const char *text, int64_t *out);
/* A date or a date with time, also one that is past. */
bool cli_time_parse(const char *text, int64_t *out);

#endif
