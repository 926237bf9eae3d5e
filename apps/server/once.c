/* A source is "server KEY BODY", both hashes of 16 bytes in hexadecimal digits. The query belongs
 * to the body: what is asked for may stand in either. */
#include "server/once.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "late_microhttpd.h" /* microhttpd.h */
#include <sodium.h>

#include "server/state.h"

enum { HASH = 16, HEX = 2 * HASH, KEY_MAX = 255, KEY_SIZE = sizeof "server" + HEX };

typedef struct running running;
struct running {
    char source[SRV_ONCE_SOURCE];
    running *next;
};

struct srv_once {
    pthread_mutex_t lock;
    running *first;
};

srv_once *srv_once_create(void)
{
    srv_once *o = calloc(1, sizeof *o);
    if (o)
        pthread_mutex_init(&o->lock, NULL);
    return o;
}

void srv_once_destroy(srv_once *o)
{
    if (!o)
        return;
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* ---- names ---- */

static bool is_key(const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = 0; i < n; i++)
        if (key[i] <= 0x20 || key[i] > 0x7E)
            return false;
    return n >= 1 && n <= KEY_MAX;
}

/* With its end, so that "a" "bc" is not "ab" "c". */
static void add_text(crypto_generichash_state *h, const char *text)
{
    crypto_generichash_update(h, (const unsigned char *)text, strlen(text) + 1);
}

static void end_hash(crypto_generichash_state *h, char out[HEX + 1])
{
    unsigned char hash[HASH];
    crypto_generichash_final(h, hash, sizeof hash);
    sodium_bin2hex(out, HEX + 1, hash, sizeof hash);
}

static enum MHD_Result add_argument(void *hash, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind;
    add_text(hash, name);
    add_text(hash, value ? value : "");
    return MHD_YES;
}

static void name_body(const srv_request *q, char by_body[HEX + 1])
{
    const char *shape = srv_header(q, "X-Tensor-Shape");
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, HASH);
    MHD_get_connection_values(q->connection, MHD_GET_ARGUMENT_KIND, add_argument, &h);
    add_text(&h, shape ? shape : "");
    for (size_t i = 0; i < q->item_count; i++) {
        const uint64_t size = q->items[i].size;
        add_text(&h, q->items[i].name);
        crypto_generichash_update(&h, (const unsigned char *)&size, sizeof size);
        crypto_generichash_update(&h, q->items[i].data, size);
    }
    end_hash(&h, by_body);
}

static void name_request(const srv_request *q, const char *key, const char *collection,
                         const char *id, char source[SRV_ONCE_SOURCE])
{
    crypto_generichash_state h;
    char by_key[HEX + 1], by_body[HEX + 1];
    crypto_generichash_init(&h, NULL, 0, HASH);
    const char *const names[] = {q->who.key_id, collection, id, key};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_text(&h, names[i]);
    end_hash(&h, by_key);
    name_body(q, by_body);
    snprintf(source, SRV_ONCE_SOURCE, "server %s %s", by_key, by_body);
}

static bool same_key(const char *a, const char *b)
{
    return !strncmp(a, b, KEY_SIZE);
}

/* ---- what is under way ---- */

/* By the key alone: which of two bodies counts is known when the first is done. */
static running **find(srv_once *o, const char *source)
{
    running **r = &o->first;
    while (*r && !same_key((*r)->source, source))
        r = &(*r)->next;
    return r;
}

static bool enter(srv_once *o, const char *source, bool *memory)
{
    running *r = calloc(1, sizeof *r);
    *memory = r != NULL;
    if (!r)
        return false;
    snprintf(r->source, sizeof r->source, "%s", source);
    pthread_mutex_lock(&o->lock);
    running **end = find(o, source);
    const bool is_new = !*end;
    if (is_new)
        *end = r;
    pthread_mutex_unlock(&o->lock);
    if (!is_new)
        free(r);
    return is_new;
}

void srv_once_end(srv_server *s, srv_attempt *attempt)
{
    if (!attempt->under_way)
        return;
    attempt->under_way = false;
    pthread_mutex_lock(&s->once->lock);
    running **r = find(s->once, attempt->source), *gone = *r;
    if (gone)
        *r = gone->next;
    pthread_mutex_unlock(&s->once->lock);
    free(gone);
}

/* ---- what was done ---- */

typedef struct looking {
    const char *source;
    bool same_key, same_body;
} looking;

static int look(void *user, const uf_template_info *t)
{
    looking *l = user;
    if (t->source && same_key(t->source, l->source)) {
        l->same_key = true;
        l->same_body = l->same_body || !strcmp(t->source, l->source);
    }
    return l->same_body;
}

bool srv_once_begin(srv_request *q, srv_answer *a, const char *collection, const char *id,
                    srv_attempt *out)
{
    const char *key = srv_header(q, "Idempotency-Key");
    looking l = {.source = out->source};
    uf_error err;
    bool memory;
    *out = (srv_attempt){.source = "server"};
    if (!key)
        return true;
    if (!is_key(key))
        return srv_refuse(q, a, 400, "Idempotency-Key must be 1 to %d visible ASCII characters",
                          KEY_MAX);
    name_request(q, key, collection, id, out->source);
    snprintf(out->key, sizeof out->key, "%.*s", KEY_SIZE, out->source);
    if (!enter(q->server->once, out->source, &memory)) {
        a->retry_after = 1;
        return memory ? srv_refuse(q, a, 409, "a request with this Idempotency-Key is under way")
                      : srv_refuse(q, a, 503, "out of memory");
    }
    out->under_way = true;
    const uf_status st =
        uf_gallery_templates(q->server->gallery, collection, id, NULL, look, &l, &err);
    out->done = l.same_body;
    bool ok = !st || st == UF_E_NOT_FOUND || st == UF_E_CANCELLED || srv_refuse_error(q, a, &err);
    if (ok && l.same_key && !l.same_body)
        ok = srv_refuse(q, a, 422, "this Idempotency-Key was used with another body or query");
    if (!ok)
        srv_once_end(q->server, out);
    return ok;
}
