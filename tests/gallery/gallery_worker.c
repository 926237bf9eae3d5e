/*
 * The program that faults_test.py torments. It works on a gallery through the public header and
 * tells through its standard output, a line at a time and unbuffered, what it begins and what was
 * acknowledged.
 *
 *   work GALLERY KEYFILE SEED NAME     enrols and deletes NAME-0..NAME-59, and single templates of
 *                                      theirs, until killed
 *   check GALLERY KEYFILE              checks all, lists people, searches for each
 *   make GALLERY KEYFILE COUNT         enrols q-0..q-COUNT-1, and searches once
 *   persist GALLERY KEYFILE COUNT      enrols p-0..p-COUNT-1, whatever fails
 *   damage GALLERY KEYFILE FILE SEED TRIES flip|cut   changes FILE, a bit or its end
 *   full GALLERY KEYFILE BYTES         enrols until files may not grow
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uniface/gallery.h"

enum { DIM = 128, IDS = 60, DAMAGED_PEOPLE = 12 };
#define MODEL "model"

/* xorshift64*. */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state ? *state : 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Du;
}

static float draw_float(uint64_t *state)
{
    return (float)((double)(draw(state) >> 11) / (double)(1ull << 52) - 1.0);
}

static void say(const char *what, const char *id, const char *why)
{
    char line[700];
    int n = snprintf(line, sizeof line, "%s %s %s\n", what, id, why);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(3);
}

/* The face that goes with an id; `image` 0 is what is enrolled. */
static void face_of(const char *id, uint64_t image, float *out)
{
    uint64_t a = 1469598103934665603u, b;
    for (const char *p = id; *p; p++)
        a = (a ^ (uint8_t)*p) * 1099511628211u;
    b = a + 7 * image;
    for (int i = 0; i < DIM; i++)
        out[i] = draw_float(&a) + (image ? 0.2f * draw_float(&b) : 0);
}

static uf_status open_gallery(uf_gallery **g, const char *path, const char *key, uf_error *err)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = UF_GALLERY_CREATE;
    o.key_file = key;
    o.actor = "worker";
    return uf_gallery_open(g, path, &o, err);
}

static uf_status enroll(uf_gallery *g, const char *id, uf_error *err)
{
    float face[DIM];
    const uf_template t = {.vector = face, .dimension = DIM, .model_id = MODEL, .source = "s"};
    const uf_enrolment e = {.person = {.id = id}, .templates = &t, .count = 1};
    face_of(id, 0, face);
    return uf_gallery_enroll(g, &e, 1, NULL, err);
}

/* 1: the best answer is this person, and passes; 0: it is not. */
static int finds(uf_gallery *g, const char *id, uf_status *st, uf_error *err)
{
    float face[DIM];
    uf_candidate best[2];
    size_t count = 0;
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    o.threshold = 0.7f;
    o.top_k = 2;
    face_of(id, 1, face);
    *st = uf_gallery_identify(g, face, DIM, MODEL, &o, best, &count, NULL, err);
    return !*st && count > 0 && best[0].passes && strcmp(best[0].id, id) == 0;
}

/* ---- work ---- */

static int see_template(void *user, const uf_template_info *t)
{
    *(uint64_t *)user = t->template_id;
    return 1; /* the oldest is enough */
}

/* The person gets another template and loses the oldest: there is one at any moment. */
static uf_status replace(uf_gallery *g, const char *id, uf_error *err)
{
    uint64_t oldest = 0;
    uf_status st = enroll(g, id, err);
    if (!st)
        st = uf_gallery_templates(g, NULL, id, NULL, see_template, &oldest, err);
    if (st == UF_E_CANCELLED)
        st = uf_gallery_delete_template(g, NULL, id, oldest, NULL, err);
    return st;
}

static void work_on(uf_gallery *g, uint64_t *state, const char *name, uint8_t *there)
{
    uf_error err = {0};
    uf_status st;
    char id[64];
    size_t n = draw(state) % IDS;
    uint64_t dice = draw(state) % 100;
    snprintf(id, sizeof id, "%s-%zu", name, n);
    if (dice < 3) {
        say("?", "upkeep", "");
        st = dice < 1   ? uf_gallery_rotate_key(g, NULL, NULL, &err)
             : dice < 2 ? uf_gallery_compact(g, &err)
                        : uf_gallery_reindex(g, NULL, NULL, &err);
        if (st && st != UF_E_STATE) /* two processes may be in each other's way */
            say("wrong", id, err.message);
    } else if (!there[n]) {
        say("?", id, "enroll");
        st = enroll(g, id, &err);
        say(st ? "wrong" : "+", id, err.message);
        there[n] = 1;
    } else if (dice < 40) {
        int found = finds(g, id, &st, &err);
        if (st || !found)
            say("wrong", id, st ? err.message : "was not found");
    } else if (dice < 55) {
        st = replace(g, id, &err);
        if (st && st != UF_E_STATE)
            say("wrong", id, err.message);
    } else {
        say("?", id, "delete");
        st = uf_gallery_delete(g, NULL, id, NULL, &err);
        /* A reader was in the way of cleaning up: deleted all the same. */
        say(st && st != UF_E_STATE ? "wrong" : "-", id, err.message);
        there[n] = 0;
    }
}

typedef struct known {
    const char *name;
    uint8_t *there;
} known;

static int see_person(void *user, const uf_person_info *p)
{
    known *k = user;
    size_t n = strlen(k->name);
    if (strncmp(p->id, k->name, n) == 0 && p->id[n] == '-' && atoi(p->id + n + 1) < IDS)
        k->there[atoi(p->id + n + 1)] = 1;
    return 0;
}

static int work(const char *path, const char *key, uint64_t seed, const char *name)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uint8_t there[IDS] = {0};
    known k = {name, there};
    uf_status st = open_gallery(&g, path, key, &err);
    if (!st)
        st = uf_gallery_list(g, NULL, NULL, see_person, &k, &err);
    if (st) {
        say("wrong", "open", err.message);
        return 1;
    }
    say("open", "", "");
    for (;;)
        work_on(g, &seed, name, there);
}

/* ---- check ---- */

typedef struct people {
    char ids[8 * IDS][32];
    size_t count;
} people;

static int list_person(void *user, const uf_person_info *p)
{
    people *l = user;
    if (l->count < 8 * IDS)
        snprintf(l->ids[l->count++], 32, "%s", p->id);
    say(p->templates >= 1 ? "has" : "wrong", p->id, "");
    return 0;
}

static int check(const char *path, const char *key)
{
    static people all;
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_status st = open_gallery(&g, path, key, &err);
    if (!st)
        st = uf_gallery_check(g, NULL, NULL, &err);
    if (!st)
        st = uf_gallery_audit_check(g, NULL, &err);
    if (!st)
        st = uf_gallery_list(g, NULL, NULL, list_person, &all, &err);
    for (size_t i = 0; !st && i < all.count; i++)
        if (!finds(g, all.ids[i], &st, &err))
            say("wrong", all.ids[i], st ? err.message : "is listed and not found");
    uf_gallery_close(g);
    say(st ? "wrong" : "end", "check", st ? err.message : "");
    return st != UF_OK;
}

static int make(const char *path, const char *key, int count)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    char id[32];
    uf_status st = open_gallery(&g, path, key, &err);
    for (int i = 0; !st && i < count; i++) {
        snprintf(id, sizeof id, "q-%d", i);
        st = enroll(g, id, &err);
    }
    if (!st)
        finds(g, "q-0", &st, &err);
    uf_gallery_close(g);
    say(st ? "wrong" : "end", "make", st ? err.message : "");
    return st != UF_OK;
}

/* Goes on when an enrolment fails: what was not acknowledged may or may not be there. */
static int persist(const char *path, const char *key, int count)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    char id[32];
    if (open_gallery(&g, path, key, &err)) {
        say("wrong", "open", err.message);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "p-%d", i);
        say("?", id, "enroll");
        uf_status st = enroll(g, id, &err);
        say(!st ? "+" : st == UF_E_IO ? "failed" : "wrong", id, st ? err.message : "");
    }
    uf_gallery_close(g);
    return 0;
}

/* ---- damage ---- */

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    uint8_t *data = malloc(*size + 1);
    rewind(f);
    *size = fread(data, 1, *size, f);
    fclose(f);
    return data;
}

static int write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    size_t n = fwrite(data, 1, size, f);
    return fclose(f) == 0 && n == size ? 0 : -1;
}

typedef struct counted {
    size_t count, wrong;
} counted;

static int count_person(void *user, const uf_person_info *p)
{
    counted *c = user;
    c->count++;
    c->wrong += strncmp(p->id, "q-", 2) != 0 || p->templates != 1 || p->metadata || p->expires;
    return 0;
}

/* Every answer that is given is right, or there is none. */
static const char *answers(const char *path, const char *key, size_t expected, size_t *errors)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    counted c = {0, 0};
    const char *wrong = NULL;
    char id[32];
    uf_status st = open_gallery(&g, path, key, &err);
    if (st) {
        ++*errors;
        return g ? "an error, and a gallery" : NULL;
    }
    for (int i = 0; i < DAMAGED_PEOPLE && !wrong; i += 3) {
        snprintf(id, sizeof id, "q-%d", i);
        int found = finds(g, id, &st, &err);
        wrong = !st && !found ? "somebody was not found" : NULL;
        *errors += st != UF_OK;
    }
    if (!wrong && finds(g, "stranger", &st, &err))
        wrong = "a stranger was found";
    st = uf_gallery_list(g, NULL, NULL, count_person, &c, &err);
    if (!st && (c.count != expected || c.wrong))
        wrong = "a list that is not right";
    *errors += st != UF_OK;
    uf_gallery_close(g);
    return wrong;
}

static void restore(const char *path, const char *file, const uint8_t *database, size_t size,
                    const uint8_t *other, size_t other_size)
{
    char log[600];
    snprintf(log, sizeof log, "%s-wal", path);
    unlink(log);
    snprintf(log, sizeof log, "%s-shm", path);
    unlink(log);
    if (write_file(path, database, size) || write_file(file, other, other_size))
        _exit(4);
}

static int damage(const char *path, const char *key, const char *file, uint64_t seed, long tries,
                  int flip)
{
    size_t size, other_size, errors = 0, expected = 0;
    uint8_t *database = read_file(path, &size), *other = read_file(file, &other_size);
    char text[160];
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_gallery_stats s;
    if (!database || !other || open_gallery(&g, path, key, &err) ||
        uf_gallery_describe(g, &s, &err))
        return 1;
    expected = s.people;
    uf_gallery_close(g);
    /* tries 0: every byte, each bit of it in turn; every length */
    long count = tries ? tries : (long)other_size;
    for (long i = 0; i < count; i++) {
        size_t at = tries ? draw(&seed) % other_size : (size_t)i;
        uint8_t bit = (uint8_t)(1u << draw(&seed) % 8);
        restore(path, file, database, size, other, other_size);
        if (flip) {
            other[at] ^= bit;
            write_file(file, other, other_size);
            other[at] ^= bit;
        } else if (truncate(file, (off_t)at) != 0) {
            return 1;
        }
        const char *wrong = answers(path, key, expected, &errors);
        snprintf(text, sizeof text, "byte %zu, bit %02x: %s", at, bit, wrong ? wrong : "");
        if (wrong)
            say("wrong", file, text);
    }
    restore(path, file, database, size, other, other_size);
    const char *wrong = answers(path, key, expected, &errors);
    snprintf(text, sizeof text, "%ld %zu", count, errors);
    say(wrong ? "wrong" : "end", "damage", wrong ? wrong : text);
    free(database);
    free(other);
    return wrong != NULL;
}

/* ---- a full disk ---- */

static int full(const char *path, const char *key, rlim_t bytes)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_gallery_stats before, after;
    struct rlimit limit;
    char id[32], text[160];
    int enrolled = 0;
    signal(SIGXFSZ, SIG_IGN);
    if (open_gallery(&g, path, key, &err) || getrlimit(RLIMIT_FSIZE, &limit))
        return 1;
    const struct rlimit small = {bytes, limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    uf_status st = UF_OK, searched, removed;
    while (!st && enrolled < 100000) {
        snprintf(id, sizeof id, "q-%d", enrolled);
        st = enroll(g, id, &err);
        enrolled += !st;
    }
    if (st != UF_E_IO)
        say("wrong", "full", err.message);
    /* Readers are served; nobody is lost. */
    snprintf(id, sizeof id, "q-%d", enrolled - 1);
    if (!finds(g, id, &searched, &err))
        say("wrong", id, searched ? err.message : "was not found");
    removed = uf_gallery_delete(g, NULL, "q-0", NULL, &err);
    if (removed && removed != UF_E_IO)
        say("wrong", "delete", err.message);
    uf_gallery_describe(g, &before, &err);
    setrlimit(RLIMIT_FSIZE, &limit); /* space comes back: no manual step */
    st = enroll(g, "late", &err);
    if (!st)
        st = uf_gallery_describe(g, &after, &err);
    if (!st && after.people != before.people + 1)
        say("wrong", "full", "people were lost");
    if (!st)
        st = uf_gallery_check(g, NULL, NULL, &err);
    uf_gallery_close(g);
    snprintf(text, sizeof text, "%d", enrolled);
    say(st ? "wrong" : "end", "full", st ? err.message : text);
    return st != UF_OK;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "work") == 0)
        return work(argv[2], argv[3], strtoull(argv[4], NULL, 10), argv[5]);
    if (argc == 4 && strcmp(argv[1], "check") == 0)
        return check(argv[2], argv[3]);
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argv[3], atoi(argv[4]));
    if (argc == 5 && strcmp(argv[1], "persist") == 0)
        return persist(argv[2], argv[3], atoi(argv[4]));
    if (argc == 8 && strcmp(argv[1], "damage") == 0)
        return damage(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10), atol(argv[6]),
                      strcmp(argv[7], "flip") == 0);
    if (argc == 5 && strcmp(argv[1], "full") == 0)
        return full(argv[2], argv[3], (rlim_t)strtoull(argv[4], NULL, 10));
    fprintf(stderr, "usage: see the top of gallery_worker.c\n");
    return 2;
}
