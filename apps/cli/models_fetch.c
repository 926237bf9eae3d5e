/*
 * Files of models over HTTPS, by libcurl. Bytes go to PATH.part and through the digest as they
 * come; PATH.part.etag says of which file they are, so that a server whose file has changed sends
 * it from the start (If-Range).
 */
#include "models_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#ifdef UFI_WITH_CURL
#include "late_curl.h" /* curl/curl.h */

/* Times that a broken connection is taken up again within one call, each after new bytes. */
enum { TRIES = 10, REDIRECTS = 5, ETAG_MAX = 200 };

typedef struct transfer {
    const model_file *file;
    const fetch_options *o;
    char part[4096], etag_path[4096];
    int fd;
    uf_digest *digest;
    uint64_t have;     /* bytes in PATH.part, all of them in the digest */
    uint64_t start;    /* of them, before this answer */
    uint64_t received; /* over the network */
    CURL *curl;
    char etag[ETAG_MAX], range[96]; /* of this answer */
    bool answered;                  /* its first bytes have come */
    bool overflow, wrong_range;
    char *why;
} transfer;

static bool fail(transfer *t, const char *what, const char *detail)
{
    snprintf(t->why, 512, "%.160s: %.160s%s%.180s", t->file->url, what, *detail ? ": " : "",
             detail);
    return false;
}

/* ---- what was received before ---- */

static void new_digest(transfer *t)
{
    uf_digest_end(t->digest, NULL);
    t->digest = NULL;
    uf_error err;
    if (uf_digest_create(&t->digest, &err))
        exit(cli_fail(&err));
}

static bool from_the_start(transfer *t)
{
    new_digest(t);
    t->have = t->start = 0;
    unlink(t->etag_path);
    return (ftruncate(t->fd, 0) == 0 && lseek(t->fd, 0, SEEK_SET) == 0) ||
           fail(t, t->part, strerror(errno));
}

/* Opens PATH.part and takes what is in it into the digest. */
static bool open_part(transfer *t)
{
    char piece[65536];
    ssize_t n;
    t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t->fd < 0)
        return fail(t, t->part, strerror(errno));
    new_digest(t);
    while (t->have <= t->file->size && (n = read(t->fd, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(t, t->part, strerror(errno));
        uf_digest_add(t->digest, piece, (size_t)n);
        t->have += (uint64_t)n;
    }
    return t->have <= t->file->size || from_the_start(t);
}

/* Nothing of it is kept. */
static void drop_part(transfer *t)
{
    unlink(t->part);
    unlink(t->etag_path);
}

static void save_etag(const transfer *t)
{
    FILE *f = *t->etag ? fopen(t->etag_path, "wb") : NULL;
    if (f) {
        fputs(t->etag, f);
        fclose(f);
    }
}

/* "If-Range: ..." for what was received, or "" when its server gave no strong tag. */
static void if_range(const transfer *t, char out[ETAG_MAX + 16])
{
    char tag[ETAG_MAX] = "";
    FILE *f = fopen(t->etag_path, "rb");
    if (f && !fgets(tag, sizeof tag, f))
        tag[0] = '\0';
    if (f)
        fclose(f);
    const size_t n = strlen(tag);
    const bool strong = n > 2 && tag[0] == '"' && strchr(tag + 1, '"') == tag + n - 1;
    snprintf(out, ETAG_MAX + 16, "%s%s", strong ? "If-Range: " : "", strong ? tag : "");
}

/* ---- the answer ---- */

/* The value of the field `name` in a line of a head. */
static void take_field(const char *line, size_t size, const char *name, char *out, size_t room)
{
    const size_t n = strlen(name);
    if (size <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return;
    const char *from = line + n + 1, *end = line + size;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    if ((size_t)(end - from) < room) {
        memcpy(out, from, (size_t)(end - from));
        out[end - from] = '\0';
    }
}

static size_t on_head(char *line, size_t one, size_t size, void *user)
{
    transfer *t = user;
    (void)one;
    if (size > 5 && !strncmp(line, "HTTP/", 5))
        t->etag[0] = t->range[0] = '\0';
    take_field(line, size, "ETag", t->etag, sizeof t->etag);
    take_field(line, size, "Content-Range", t->range, sizeof t->range);
    return size;
}

/* 206 goes on where we are, and of the same whole; 200 begins again. */
static bool begin_body(transfer *t)
{
    long status = 0;
    unsigned long long first, last, whole;
    t->answered = true;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206) {
        t->wrong_range = sscanf(t->range, "bytes %llu-%llu/%llu", &first, &last, &whole) != 3 ||
                         first != t->start || whole != t->file->size;
        return !t->wrong_range;
    }
    if (t->have && !from_the_start(t))
        return false;
    save_etag(t);
    return true;
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    transfer *t = user;
    (void)one;
    if (!t->answered && !begin_body(t))
        return 0;
    t->overflow = size > t->file->size - t->have;
    if (t->overflow)
        return 0;
    for (size_t done = 0; done < size;) {
        const ssize_t n = write(t->fd, data + done, size - done);
        if (n < 0 && errno != EINTR) {
            fail(t, t->part, strerror(errno));
            return 0;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    uf_digest_add(t->digest, data, size);
    t->have += size;
    t->received += size;
    cli_progress(t->file->name, t->have, t->file->size);
    return size;
}

/* ---- the request ---- */

/* http:// only when asked for, and only of this machine. */
static bool allowed(transfer *t)
{
    char *host = NULL;
    CURLU *u = curl_url();
    const bool plain = !strncmp(t->file->url, "http://", 7);
    bool ok = u && !curl_url_set(u, CURLUPART_URL, t->file->url, 0) &&
              !curl_url_get(u, CURLUPART_HOST, &host, 0);
    if (ok && plain)
        ok = t->o->allow_http &&
             (!strcmp(host, "127.0.0.1") || !strcmp(host, "[::1]") || !strcmp(host, "localhost"));
    curl_free(host);
    curl_url_cleanup(u);
    return ok || fail(t,
                      plain ? "only https:// is fetched (--allow-http lets http:// of this "
                              "machine through)"
                            : "not an address",
                      "");
}

static bool set_up(transfer *t, struct curl_slist **fields, char text[CURL_ERROR_SIZE])
{
    CURL *c = t->curl;
    char agent[64], range[32], tag[ETAG_MAX + 16];
    const bool plain = !strncmp(t->file->url, "http://", 7);
    snprintf(agent, sizeof agent, "uniface/%s", uf_version());
    snprintf(range, sizeof range, "%llu-", (unsigned long long)t->have);
    if_range(t, tag);
    bool ok = !curl_easy_setopt(c, CURLOPT_URL, t->file->url) &&
              !curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https") &&
              !curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https") &&
              !curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L) &&
              !curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS) &&
              !curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L) &&
              !curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) &&
              !curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(t->o->stall_s * 1e3)) &&
              !curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L) &&
              !curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)t->o->stall_s) &&
              !curl_easy_setopt(c, CURLOPT_USERAGENT, agent) &&
              !curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text) &&
              !curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head) &&
              !curl_easy_setopt(c, CURLOPT_HEADERDATA, t) &&
              !curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) &&
              !curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    if (plain) /* a proxy is another machine */
        ok = ok && !curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    if (t->o->ca_file)
        ok = ok && !curl_easy_setopt(c, CURLOPT_CAINFO, t->o->ca_file) &&
             !curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    if (t->have)
        ok = ok && !curl_easy_setopt(c, CURLOPT_RANGE, range);
    if (t->have && *tag)
        *fields = cli_need(curl_slist_append(NULL, tag));
    return ok && !curl_easy_setopt(c, CURLOPT_HTTPHEADER, *fields);
}

typedef enum outcome { WHOLE, BROKEN, STALE, REFUSED } outcome;

/* What curl says of one request, and what follows from it. */
static outcome judge(transfer *t, CURLcode code, const char *text)
{
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->overflow) {
        char limit[64];
        snprintf(limit, sizeof limit, "%llu bytes", (unsigned long long)t->file->size);
        fail(t, "sends more bytes than the manifest says", limit);
        drop_part(t);
        return REFUSED;
    }
    if (t->wrong_range || (code == CURLE_HTTP_RETURNED_ERROR && status == 416))
        return STALE;
    switch (code) {
    case CURLE_OK:
        return WHOLE;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_HTTP2_STREAM:
        fail(t, *text ? text : curl_easy_strerror(code), "");
        return BROKEN;
    default:
        if (!t->why[0])
            fail(t, *text ? text : curl_easy_strerror(code), "");
        return REFUSED;
    }
}

static outcome request(transfer *t)
{
    char text[CURL_ERROR_SIZE] = "";
    struct curl_slist *fields = NULL;
    outcome result = REFUSED;
    t->start = t->have;
    t->answered = t->overflow = t->wrong_range = false;
    t->why[0] = '\0';
    t->curl = curl_easy_init();
    if (t->curl && set_up(t, &fields, text))
        result = judge(t, curl_easy_perform(t->curl), text);
    else
        fail(t, "libcurl cannot be set up", "");
    curl_easy_cleanup(t->curl);
    curl_slist_free_all(fields);
    return result;
}

/* Requests until the file is whole. */
static bool receive(transfer *t)
{
    outcome result = BROKEN;
    for (int i = 0; i < TRIES && t->have < t->file->size; i++) {
        const uint64_t before = t->have;
        result = request(t);
        if (result == WHOLE)
            break;
        if (result == STALE) {
            if (!before)
                return fail(t, "answers with a range that nobody asked for", "");
            if (!from_the_start(t))
                return false;
        } else if (result == REFUSED || t->have == before) {
            return false;
        }
    }
    return t->have == t->file->size || result == WHOLE;
}

static bool check_whole(transfer *t)
{
    char hex[65], detail[256];
    uf_digest_end(t->digest, hex);
    t->digest = NULL;
    if (t->have == t->file->size && !strcmp(hex, t->file->sha256))
        return true;
    snprintf(detail, sizeof detail, "%llu bytes with SHA-256 %s; nothing of it was kept",
             (unsigned long long)t->have, hex);
    return fail(t, "is not the file that the manifest names", detail);
}

bool fetch_file(const model_file *f, const char *path, const fetch_options *o, uint64_t *bytes,
                char why[512])
{
    char reason[256];
    transfer t = {.file = f, .o = o, .fd = -1, .why = why};
    const int n = snprintf(t.part, sizeof t.part, "%s.part", path);
    const int k = snprintf(t.etag_path, sizeof t.etag_path, "%s.part.etag", path);
    why[0] = '\0';
    if (!late_curl_load(reason, sizeof reason))
        return fail(&t, "libcurl cannot be loaded", reason);
    if (n < 0 || k < 0 || (size_t)k >= sizeof t.etag_path)
        return fail(&t, "path too long", path);
    bool ok = allowed(&t) && open_part(&t);
    const bool goes_on = t.have > 0;
    if (ok && (ok = receive(&t)) && !(ok = check_whole(&t))) {
        /* What was there before may have been of another file. */
        if (goes_on && t.have == f->size && from_the_start(&t) && receive(&t))
            ok = check_whole(&t);
        if (!ok)
            drop_part(&t);
    }
    if (ok && (fsync(t.fd) != 0 || rename(t.part, path) != 0))
        ok = fail(&t, path, strerror(errno));
    if (ok)
        unlink(t.etag_path);
    else if (t.fd >= 0 && !t.have)
        drop_part(&t);
    if (t.fd >= 0)
        close(t.fd);
    uf_digest_end(t.digest, NULL);
    *bytes += t.received;
    return ok;
}

#else
bool fetch_file(const model_file *f, const char *path, const fetch_options *o, uint64_t *bytes,
                char why[512])
{
    snprintf(
        why, 512,
        "this build cannot fetch (it was made without libcurl): fetch %.200s by other means and "
        "give it to `uniface models add`, or take a pack to `uniface models unpack`",
        f->url);
    return false;
}
#endif
