/* Signed models: what is signed is told from what was changed, forged, foreign or outdated. */
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/sign_impl.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/sign.h"
#include "onnx_maker.h"
#include "test.h"
#include "uniface/uniface.h"

enum { SIGNATURE_ROW = 64 + 3 * 64, TABLE_END = 64 + 4 * 64 };

static char folder[] = "/tmp/uniface-sign-test-XXXXXX";
static char path_of_raced[200];

static const char *path_of(const char *name)
{
    static char paths[8][200];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static bool can_sign(void)
{
    return ufi_sign_ready(NULL) == UF_OK;
}

/* ---- makers ---- */

/* The small network as an open model. */
static uf_model *make_model(void)
{
    static pb source;
    uf_error err;
    uf_model *m = NULL;
    const char *path = path_of("net.onnx");
    onnx_small_network(&source);
    if (ufi_file_write(path, source.bytes, source.size, &err) || uf_model_open(&m, path, &err))
        printf("%s\n", err.message);
    return m;
}

/* A signed model as bytes; the caller frees. */
static uint8_t *make_signed(const uf_sign_key *k, uint64_t release, size_t *size)
{
    uf_error err;
    uint8_t *bytes = NULL;
    uf_sign_options o = {release, 1700000000, "Example Ltd"};
    uf_model *m = make_model();
    if (!m || uf_model_sign(m, k, &o, &err) || uf_model_save(m, path_of("signed.ufm"), &err) ||
        ufi_file_read(&bytes, size, path_of("signed.ufm"), 1 << 20, &err))
        printf("%s\n", err.message);
    uf_model_close(m);
    return bytes;
}

static uf_sign_key *make_key(void)
{
    uf_error err;
    uf_sign_key *k = NULL;
    if (uf_sign_key_generate(&k, &err))
        printf("%s\n", err.message);
    return k;
}

/* Trusts one key. */
static uf_trust *make_trust(const uf_sign_key *k, const char *releases)
{
    uf_error err;
    uf_trust *t = NULL;
    if (uf_sign_key_save_public(k, path_of("only.pub"), &err) ||
        uf_trust_create(&t, releases, &err) || uf_trust_add(t, path_of("only.pub"), &err))
        printf("%s\n", err.message);
    return t;
}

static void put_le(uint8_t *to, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_le(const uint8_t *from, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)from[i] << 8 * i;
    return v;
}

/* Makes the digests of sections and table fit again: only the signature can tell. */
static void fit_digests(uint8_t *bytes)
{
    const size_t rows = (size_t)get_le(bytes + 12, 4);
    for (size_t i = 0; i < rows; i++) {
        uint8_t *row = bytes + 64 + i * 64;
        ufi_sha256_of(bytes + get_le(row + 8, 8), (size_t)get_le(row + 16, 8), row + 24);
    }
    ufi_sha256_of(bytes + 64, rows * 64, bytes + 32);
}

/* What opening and checking come to; UF_OK: accepted. */
static uf_status accept(const uf_trust *t, const uint8_t *bytes, size_t size, uf_error *err)
{
    uf_model *m = NULL;
    uf_status st = uf_model_open_memory(&m, bytes, size, err);
    if (!st)
        st = uf_trust_check(t, m, 0, err);
    uf_model_close(m);
    return st;
}

/* ---- base64 ---- */

TEST(base64_is_read_as_it_is_written)
{
    static const struct {
        const char *bytes, *text;
    } known[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"}}; /* RFC 4648 */
    static const char *const wrong[] = {
        "Zg=", "Zg", "Zh==", "Zg==Zg==", "Z===", "====", "Zm9", "Zm9-", "Zm 9", "Zm=v", "Zm9\n"};
    char text[200];
    uint8_t all[64 * 3], back[64 * 3];
    size_t size;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ufi_base64(known[i].bytes, strlen(known[i].bytes), text);
        CHECK_MSG(!strcmp(text, known[i].text), "%s", text);
        CHECK(strlen(text) + 1 == ufi_base64_size(strlen(known[i].bytes)));
        CHECK(ufi_base64_read(text, strlen(text), back, sizeof back, &size) &&
              size == strlen(known[i].bytes) && !memcmp(back, known[i].bytes, size));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_MSG(!ufi_base64_read(wrong[i], strlen(wrong[i]), back, sizeof back, &size), "%s",
                  wrong[i]);
    CHECK(!ufi_base64_read("Zm9v", 4, back, 2, &size));
    static char long_text[400];
    uint64_t state = 7;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)test_random(&state);
    ufi_base64(all, sizeof all, long_text);
    CHECK(ufi_base64_read(long_text, strlen(long_text), back, sizeof back, &size) &&
          size == sizeof all && !memcmp(all, back, size));
}

/* RFC 8032, 7.1, test 2. */
TEST(ed25519_gives_the_published_signature)
{
    static const uint8_t seed[32] = {0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda,
                                     0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f,
                                     0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24,
                                     0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
    uint8_t key[32], signature[64], zero[64] = {0};
    char hex[129];
    uf_error err;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE_OK(ufi_sign_public(key, seed, &err), err);
    ufi_hex(key, sizeof key, hex);
    CHECK(!strcmp(hex, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
    REQUIRE_OK(ufi_sign(signature, "\x72", 1, seed, &err), err);
    ufi_hex(signature, sizeof signature, hex);
    CHECK(!strcmp(hex,
                  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15"
                  "996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"));
    CHECK_OK(ufi_sign_check(signature, "\x72", 1, key, &err), err);
    CHECK(ufi_sign_check(signature, "\x73", 1, key, &err) == UF_E_UNTRUSTED);
    CHECK(ufi_sign_check(zero, "\x72", 1, key, &err) == UF_E_UNTRUSTED);
    CHECK(ufi_sign_check(zero, "\x72", 1, zero, &err) == UF_E_UNTRUSTED);
}

/* ---- keys ---- */

static bool same_key(const uf_sign_key *a, const uf_sign_key *b)
{
    return a && b && !memcmp(uf_sign_key_public(a), uf_sign_key_public(b), UF_SIGN_KEY_BYTES);
}

TEST(secret_keys_survive_their_files)
{
    uf_error err;
    struct stat s;
    uf_sign_key *k, *plain = NULL, *sealed = NULL, *none = NULL;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    REQUIRE_OK(uf_sign_key_save(k, path_of("a.key"), NULL, &err), err);
    REQUIRE_OK(uf_sign_key_save(k, path_of("b.key"), "open sesame", &err), err);
    CHECK(stat(path_of("a.key"), &s) == 0 && (s.st_mode & 0777) == 0600);
    CHECK(stat(path_of("b.key"), &s) == 0 && (s.st_mode & 0777) == 0600);
    CHECK(uf_sign_key_save(k, path_of("a.key"), NULL, &err) == UF_E_STATE);
    CHECK(uf_sign_key_save(k, path_of("c.key"), "", &err) == UF_E_ARG);
    REQUIRE_OK(uf_sign_key_load(&plain, path_of("a.key"), NULL, &err), err);
    REQUIRE_OK(uf_sign_key_load(&sealed, path_of("b.key"), "open sesame", &err), err);
    CHECK(same_key(k, plain) && same_key(k, sealed));
    CHECK(uf_sign_key_load(&none, path_of("b.key"), NULL, &err) == UF_E_ARG && !none);
    CHECK(uf_sign_key_load(&none, path_of("b.key"), "open", &err) == UF_E_MISMATCH && !none);
    CHECK(uf_sign_key_load(&none, path_of("no.key"), NULL, &err) == UF_E_IO && !none);
    uf_sign_key_destroy(sealed);
    uf_sign_key_destroy(plain);
    uf_sign_key_destroy(k);
    uf_sign_key_destroy(NULL);
}

/* Every byte of the files of keys, changed; and files that are something else. */
TEST(changed_files_of_keys_are_refused)
{
    static const char *const texts[] = {
        "",
        "\n",
        "uniface secret key 1",
        "uniface secret key 1\n",
        "uniface secret key 1\nAAAA\n",
        "uniface secret key 2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "uniface secret key 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nmore\n",
        "uniface secret key 1 argon2id 3 67108864\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "uniface secret key 1 argon2id 4000000000 67108864\nAAAA\n",
        "uniface public key 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"};
    uf_error err;
    uf_sign_key *k, *got = NULL;
    uf_trust *t = NULL;
    uint8_t *data = NULL;
    size_t size;
    if (!can_sign())
        SKIP("built without libsodium");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        REQUIRE_OK(ufi_file_write(path_of("t.key"), texts[i], strlen(texts[i]), &err), err);
        CHECK_MSG(uf_sign_key_load(&got, path_of("t.key"), "x", &err) == UF_E_FORMAT && !got, "%zu",
                  i);
    }
    REQUIRE((k = make_key()));
    REQUIRE_OK(uf_trust_create(&t, NULL, &err), err);
    REQUIRE_OK(uf_sign_key_save(k, path_of("p.key"), NULL, &err), err);
    CHECK(uf_trust_add(t, path_of("p.key"), &err) == UF_E_FORMAT);
    CHECK_MSG(strstr(err.message, "secret key"), "%s", err.message);
    REQUIRE_OK(ufi_file_read(&data, &size, path_of("p.key"), 1000, &err), err);
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x80; /* no ASCII */
        REQUIRE_OK(ufi_file_write(path_of("t.key"), data, size, &err), err);
        CHECK_MSG(uf_sign_key_load(&got, path_of("t.key"), NULL, &err) == UF_E_FORMAT, "byte %zu",
                  i);
        data[i] ^= 0x80;
        REQUIRE_OK(ufi_file_write(path_of("t.key"), data, i, &err), err);
        const uf_status st = uf_sign_key_load(&got, path_of("t.key"), NULL, &err);
        CHECK_MSG(i == size - 1 ? !st : st == UF_E_FORMAT, "cut at %zu", i);
        uf_sign_key_destroy(i == size - 1 ? got : NULL);
    }
    ufi_free(data);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

/* ---- signatures ---- */

TEST(a_signature_is_saved_and_read)
{
    uf_error err;
    uf_signature s;
    size_t size = 0, again = 0;
    uf_model *m = NULL;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 7, &size), *copy = NULL;
    REQUIRE(bytes);
    REQUIRE_OK(uf_model_open_memory(&m, bytes, size, &err), err);
    uf_model_signature(m, &s);
    CHECK(s.state == UF_SIGNATURE_VALID && s.release == 7 && s.time == 1700000000);
    CHECK(!strcmp(s.signer, "Example Ltd"));
    CHECK(!memcmp(s.key, uf_sign_key_public(k), sizeof s.key));
    /* What is saved unchanged keeps it, to the byte. */
    REQUIRE_OK(uf_model_save(m, path_of("copy.ufm"), &err), err);
    REQUIRE_OK(ufi_file_read(&copy, &again, path_of("copy.ufm"), 1 << 20, &err), err);
    CHECK(again == size && !memcmp(copy, bytes, size));
    ufi_free(copy);
    uf_model_close(m);
    ufi_free(bytes);
    uf_sign_key_destroy(k);
}

static void check_dropped(uf_model *m)
{
    uf_error err;
    uf_signature s;
    uf_model *again = NULL;
    uf_model_signature(m, &s);
    CHECK(s.state == UF_SIGNATURE_CHANGED);
    REQUIRE_OK(uf_model_save(m, path_of("changed.ufm"), &err), err);
    REQUIRE_OK(uf_model_open(&again, path_of("changed.ufm"), &err), err);
    uf_model_signature(again, &s);
    CHECK(s.state == UF_SIGNATURE_NONE);
    uf_model_close(again);
}

TEST(changes_drop_the_signature)
{
    static const float genuine[2] = {0.8f, 0.9f};
    float impostor[20];
    uf_error err;
    size_t size = 0;
    uf_model *m = NULL;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 1, &size);
    REQUIRE(bytes);
    REQUIRE_OK(uf_model_open_memory(&m, bytes, size, &err), err);
    REQUIRE_OK(uf_model_set_meta(m, "licence", "another", &err), err);
    check_dropped(m);
    uf_model_close(m);
    REQUIRE_OK(uf_model_open_memory(&m, bytes, size, &err), err);
    for (int i = 0; i < 20; i++)
        impostor[i] = (float)i / 100;
    REQUIRE_OK(uf_model_calibrate(m, genuine, 2, impostor, 20, NULL, 0, NULL, &err), err);
    check_dropped(m);
    /* And signing again brings one back. */
    REQUIRE_OK(uf_model_sign(m, k, NULL, &err), err);
    uf_signature s;
    uf_model_signature(m, &s);
    CHECK(s.state == UF_SIGNATURE_VALID && s.release == 1 && s.time > 1700000000);
    uf_model_close(m);
    ufi_free(bytes);
    uf_sign_key_destroy(k);
}

TEST(what_cannot_be_signed_is_refused)
{
    uf_error err;
    uf_sign_options o = UF_SIGN_OPTIONS_INIT;
    char name[UF_SIGNER_MAX + 2];
    uf_sign_key *k;
    uf_model *m;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()) && (m = make_model()));
    o.release = 0;
    CHECK(uf_model_sign(m, k, &o, &err) == UF_E_ARG);
    o.release = UINT64_MAX;
    memset(name, 'x', sizeof name);
    name[UF_SIGNER_MAX + 1] = '\0';
    o.signer = name;
    CHECK(uf_model_sign(m, k, &o, &err) == UF_E_ARG);
    name[UF_SIGNER_MAX] = '\0';
    CHECK_OK(uf_model_sign(m, k, &o, &err), err);
    static const char *const wrong[] = {"a\nb", "\x1b[31m", "\xff", "\xc3", "\x7f", "\xc2\x9b"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o.signer = wrong[i];
        CHECK(uf_model_sign(m, k, &o, &err) == UF_E_ARG);
    }
    CHECK(uf_model_sign(NULL, k, NULL, &err) == UF_E_ARG);
    CHECK(uf_model_sign(m, NULL, NULL, &err) == UF_E_ARG);
    uf_model_close(m);
    uf_sign_key_destroy(k);
}

/* ---- what must not be accepted ---- */

/* Every bit of the file, flipped; and flipped with digests that fit again, so that the signature
 * alone stands in the way. */
TEST(no_flipped_bit_is_accepted)
{
    uf_error err;
    size_t size = 0, accepted = 0, left_to_it = 0;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 3, &size), *copy = malloc(size + 1);
    uf_trust *t = make_trust(k, NULL);
    REQUIRE(bytes && copy && t);
    CHECK_OK(accept(t, bytes, size, &err), err);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        accepted += accept(t, bytes, size, &err) == UF_OK;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK_MSG(accepted == 0, "%zu", accepted);
    for (size_t bit = TABLE_END * 8; bit < size * 8; bit += 3) {
        memcpy(copy, bytes, size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fit_digests(copy);
        const uf_status st = accept(t, copy, size, &err);
        accepted += st == UF_OK;
        left_to_it += st == UF_E_UNTRUSTED;
    }
    CHECK_MSG(accepted == 0, "%zu", accepted);
    CHECK_MSG(left_to_it > 100, "%zu", left_to_it);
    free(copy);
    ufi_free(bytes);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

TEST(no_cut_file_is_accepted)
{
    uf_error err;
    size_t size = 0;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 3, &size), *copy = malloc(size + 65);
    uf_trust *t = make_trust(k, NULL);
    REQUIRE(bytes && copy && t);
    for (size_t n = 0; n < size; n++) {
        memcpy(copy, bytes, n);
        if (n >= 24)
            put_le(copy + 16, n, 8); /* the header says so too */
        CHECK_MSG(accept(t, copy, n, &err) != UF_OK, "%zu", n);
    }
    memcpy(copy, bytes, size); /* and what was put behind it */
    memset(copy + size, 0, 64);
    put_le(copy + 16, size + 64, 8);
    CHECK(accept(t, copy, size + 64, &err) == UF_E_UNTRUSTED);
    free(copy);
    ufi_free(bytes);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

/* Changes of the signature's row and record, with digests that fit. */
TEST(wrong_records_are_refused)
{
    static const struct {
        size_t at, bytes; /* within the row, or from 1000 on within the record */
        uint64_t value;
        uf_status want;
    } changes[] = {
        {0, 4, 1, UF_E_FORMAT},       /* kind: twice metadata */
        {0, 4, 5, UF_E_UNTRUSTED},    /* another kind: not signed */
        {4, 4, 1, UF_E_UNTRUSTED},    /* reserved */
        {56, 8, 1, UF_E_UNTRUSTED},   /* reserved */
        {8, 8, 1, UF_E_FORMAT},       /* offset */
        {8, 8, 1 << 30, UF_E_FORMAT}, /* offset */
        {16, 8, 0, UF_E_FORMAT},      /* sizes */
        {16, 8, 119, UF_E_FORMAT},      {16, 8, 130, UF_E_FORMAT},
        {16, 8, 132, UF_E_FORMAT},      {16, 8, UINT64_MAX, UF_E_FORMAT},
        {1000, 4, 2, UF_E_UNSUPPORTED}, /* version */
        {1004, 4, 10, UF_E_FORMAT},     /* length of the name */
        {1004, 4, 65, UF_E_FORMAT},     {1004, 4, UINT32_MAX, UF_E_FORMAT},
        {1008, 8, 4, UF_E_UNTRUSTED},   /* release */
        {1016, 8, 1, UF_E_UNTRUSTED},   /* time */
        {1024, 8, 0, UF_E_UNTRUSTED},   /* key */
        {1056, 8, 0, UF_E_UNTRUSTED},   /* signature */
        {1120, 1, 'F', UF_E_UNTRUSTED}, /* name */
        {1120, 1, 0, UF_E_FORMAT},      /* name with NUL */
        {1120, 1, 0xFF, UF_E_FORMAT},   /* no UTF-8 */
    };
    uf_error err;
    size_t size = 0;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 3, &size), *copy = malloc(size + 1);
    uf_trust *t = make_trust(k, NULL);
    REQUIRE(bytes && copy && t);
    const size_t record = (size_t)get_le(bytes + SIGNATURE_ROW + 8, 8);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const size_t at =
            changes[i].at < 1000 ? SIGNATURE_ROW + changes[i].at : record + changes[i].at - 1000;
        memcpy(copy, bytes, size);
        put_le(copy + at, changes[i].value, changes[i].bytes);
        const uint64_t offset = get_le(copy + SIGNATURE_ROW + 8, 8);
        const uint64_t length = get_le(copy + SIGNATURE_ROW + 16, 8);
        if (offset <= size && length <= size - offset)
            ufi_sha256_of(copy + offset, (size_t)length, copy + SIGNATURE_ROW + 24);
        ufi_sha256_of(copy + 64, 4 * 64, copy + 32);
        const uf_status st = accept(t, copy, size, &err);
        CHECK_MSG(st == changes[i].want, "change %zu: %s: %s", i, uf_status_name(st), err.message);
    }
    memcpy(copy, bytes, size); /* the digest alone */
    copy[SIGNATURE_ROW + 24] ^= 1;
    ufi_sha256_of(copy + 64, 4 * 64, copy + 32);
    CHECK(accept(t, copy, size, &err) == UF_E_FORMAT);
    memcpy(copy, bytes, size); /* the whole key zero */
    memset(copy + record + 24, 0, 32);
    fit_digests(copy);
    CHECK(accept(t, copy, size, &err) == UF_E_UNTRUSTED);
    free(copy);
    ufi_free(bytes);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

/* Two signatures; and a signed model with a section that nobody signed. */
TEST(more_sections_than_were_signed_are_refused)
{
    uf_error err;
    size_t size = 0;
    uf_sign_key *k;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()));
    uint8_t *bytes = make_signed(k, 3, &size), *copy = calloc(1, size + 64);
    uf_trust *t = make_trust(k, NULL);
    REQUIRE(bytes && copy && t);
    for (uint32_t kind = 4; kind <= 5; kind++) {
        memcpy(copy, bytes, TABLE_END);
        memcpy(copy + TABLE_END, bytes + SIGNATURE_ROW, 64);
        memcpy(copy + TABLE_END + 64, bytes + TABLE_END, size - TABLE_END);
        put_le(copy + 12, 5, 4);
        put_le(copy + 16, size + 64, 8);
        put_le(copy + TABLE_END, kind, 4);
        for (size_t i = 0; i < 5; i++)
            put_le(copy + 64 + i * 64 + 8, get_le(copy + 64 + i * 64 + 8, 8) + 64, 8);
        fit_digests(copy);
        CHECK(accept(t, copy, size + 64, &err) == (kind == 4 ? UF_E_FORMAT : UF_E_UNTRUSTED));
        CHECK_MSG(strstr(err.message, kind == 4 ? "there already" : "not valid"), "%s",
                  err.message);
    }
    free(copy);
    ufi_free(bytes);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

/* ---- trust ---- */

static uf_status open_release(const uf_trust *t, const uf_sign_key *k, uint64_t release,
                              const char *name, uint64_t least, uf_error *err)
{
    uf_sign_options o = UF_SIGN_OPTIONS_INIT;
    uf_model *m = make_model(), *got = NULL;
    o.release = release;
    uf_status st = name ? uf_model_set_meta(m, "name", name, err) : UF_OK;
    if (!st && k)
        st = uf_model_sign(m, k, &o, err);
    if (!st)
        st = uf_model_save(m, path_of("release.ufm"), err);
    uf_model_close(m);
    if (!st)
        st = uf_model_open_trusted(&got, path_of("release.ufm"), t, least, err);
    uf_model_close(got);
    return st;
}

static void refused(uf_status st, const uf_error *err, const char *part)
{
    CHECK_MSG(st == UF_E_UNTRUSTED && strstr(err->message, part) &&
                  strstr(err->message, "release.ufm: "),
              "%s: %s", uf_status_name(st), err->message);
}

TEST(only_the_trusted_are_trusted)
{
    uf_error err;
    uf_sign_key *k, *other;
    uf_trust *t = NULL;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()) && (other = make_key()));
    t = make_trust(k, NULL);
    CHECK_OK(open_release(t, k, 1, NULL, 0, &err), err);
    refused(open_release(t, NULL, 1, NULL, 0, &err), &err, "not signed");
    refused(open_release(t, other, 1, NULL, 0, &err), &err, "not among the 1 trusted");
    refused(open_release(t, k, 1, NULL, 2, &err), &err, "at least 2");
    CHECK_OK(open_release(t, k, 2, NULL, 2, &err), err);
    CHECK_OK(open_release(t, k, 1, NULL, 0, &err), err); /* nothing is remembered */
    CHECK(mkdir(path_of("keys"), 0700) == 0);
    CHECK(uf_trust_add(t, path_of("keys"), &err) == UF_E_NOT_FOUND);
    CHECK_OK(uf_sign_key_save_public(other, path_of("keys/other.pub"), &err), err);
    CHECK_OK(ufi_file_write(path_of("keys/README"), "no key", 6, &err), err);
    CHECK_OK(uf_trust_add(t, path_of("keys"), &err), err);
    CHECK_OK(open_release(t, other, 1, NULL, 0, &err), err);
    CHECK(uf_trust_add(t, path_of("none.pub"), &err) == UF_E_IO);
    CHECK(uf_trust_add(t, path_of("keys/README"), &err) == UF_E_FORMAT);
    uf_trust_destroy(t);
    REQUIRE_OK(uf_trust_create(&t, NULL, &err), err); /* nobody */
    refused(open_release(t, k, 1, NULL, 0, &err), &err, "not among the 0 trusted");
    uf_trust_destroy(t);
    uf_sign_key_destroy(other);
    uf_sign_key_destroy(k);
}

TEST(releases_do_not_go_down)
{
    uf_error err;
    uint8_t *text = NULL;
    size_t size;
    uf_sign_key *k;
    uf_trust *t;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()) && (t = make_trust(k, path_of("releases"))));
    CHECK_OK(open_release(t, k, 5, NULL, 0, &err), err);
    CHECK_OK(open_release(t, k, 5, NULL, 0, &err), err);
    refused(open_release(t, k, 4, NULL, 0, &err), &err, "release 5 was in use");
    CHECK_OK(open_release(t, k, 1, "door", 0, &err), err); /* another model */
    CHECK_OK(open_release(t, k, 3, "door", 0, &err), err);
    CHECK_OK(open_release(t, k, UINT64_MAX, "doo", 0, &err), err);
    refused(open_release(t, k, 2, "door", 0, &err), &err, "release 3 was in use");
    refused(open_release(t, k, UINT64_MAX - 1, "doo", 0, &err), &err, "18446744073709551615");
    CHECK_OK(open_release(t, k, 6, NULL, 0, &err), err);
    refused(open_release(t, k, 1, "a\nb", 0, &err), &err, "control characters");
    REQUIRE_OK(ufi_file_read(&text, &size, path_of("releases"), 1000, &err), err);
    static const char want[] = "uniface releases 1\n6 tensor/tensor\n3 tensor/tensor/door\n"
                               "18446744073709551615 tensor/tensor/doo\n";
    CHECK_MSG(size == strlen(want) && !memcmp(text, want, size), "%.*s", (int)size, (char *)text);
    ufi_free(text);
    uf_trust_destroy(t);
    t = make_trust(k, path_of("releases")); /* another process would see the same */
    refused(open_release(t, k, 2, "door", 0, &err), &err, "release 3 was in use");
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

typedef struct raiser {
    pthread_t thread;
    unsigned number;
    uf_status st;
} raiser;

static void *raise_own(void *arg)
{
    raiser *r = arg;
    char name[20];
    uf_error err;
    snprintf(name, sizeof name, "model %u", r->number);
    for (uint64_t release = 1; !r->st && release <= 4; release++)
        r->st = ufi_releases_raise(path_of_raced, name, release, &err);
    if (!r->st) /* a lower one changes nothing */
        r->st = ufi_releases_raise(path_of_raced, name, 2, &err);
    return NULL;
}

/* Each replaces the whole file: none may undo what another wrote. */
TEST(releases_are_raised_by_several_at_once)
{
    enum { RAISERS = 4 };
    raiser r[RAISERS] = {{0}};
    uf_error err;
    snprintf(path_of_raced, sizeof path_of_raced, "%s/raced", folder);
    for (unsigned i = 0; i < RAISERS; i++) {
        r[i].number = i;
        REQUIRE(pthread_create(&r[i].thread, NULL, raise_own, &r[i]) == 0);
    }
    for (unsigned i = 0; i < RAISERS; i++) {
        char name[20];
        uint64_t release = 0;
        pthread_join(r[i].thread, NULL);
        CHECK(r[i].st == UF_OK);
        snprintf(name, sizeof name, "model %u", i);
        CHECK_OK(ufi_releases_find(path_of_raced, name, &release, &err), err);
        CHECK(release == 4);
    }
}

TEST(a_damaged_list_of_releases_lets_nothing_in)
{
    static const char *const wrong[] = {
        "uniface releases 1",          "uniface releases 2\n",
        "uniface releases 1\n6 a",     "uniface releases 1\n6\n",
        "uniface releases 1\n6 \n",    "uniface releases 1\n0 a\n",
        "uniface releases 1\n-1 a\n",  "uniface releases 1\n99999999999999999999 a\n",
        "uniface releases 1\n\n6 a\n", "nothing of that\n"};
    uf_error err;
    uf_sign_key *k;
    uf_trust *t;
    if (!can_sign())
        SKIP("built without libsodium");
    REQUIRE((k = make_key()) && (t = make_trust(k, path_of("damaged"))));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        REQUIRE_OK(ufi_file_write(path_of("damaged"), wrong[i], strlen(wrong[i]), &err), err);
        const uf_status st = open_release(t, k, 9, NULL, 0, &err);
        CHECK_MSG(st == UF_E_FORMAT, "%zu: %s", i, uf_status_name(st));
    }
    REQUIRE_OK(ufi_file_write(path_of("damaged"), "", 0, &err), err);
    CHECK_OK(open_release(t, k, 9, NULL, 0, &err), err);
    uf_trust_destroy(t);
    t = make_trust(k, path_of("no/such/folder"));
    CHECK(open_release(t, k, 9, NULL, 0, &err) == UF_E_IO);
    CHECK_MSG(strstr(err.message, "cannot be remembered"), "%s", err.message);
    uf_trust_destroy(t);
    uf_sign_key_destroy(k);
}

/* Without libsodium nothing passes for signed, and asking for trust is an error. */
TEST(a_build_without_libsodium_says_so)
{
    uf_error err;
    uf_trust *t = NULL;
    uf_sign_key *k = NULL;
    if (can_sign())
        SKIP("built with libsodium");
    CHECK(uf_sign_key_generate(&k, &err) == UF_E_UNSUPPORTED && !k);
    CHECK_MSG(strstr(err.message, "libsodium"), "%s", err.message);
    CHECK(uf_sign_key_load(&k, path_of("any.key"), NULL, &err) == UF_E_UNSUPPORTED && !k);
    CHECK(uf_trust_create(&t, NULL, &err) == UF_E_UNSUPPORTED && !t);
}

static void remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command) != 0)
        printf("%s stays\n", folder);
}

int main(int argc, char **argv)
{
    if (!mkdtemp(folder))
        return 1;
    const int status = test_run_all(argc, argv);
    remove_folder();
    return status;
}
