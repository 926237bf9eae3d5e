/* Keys of galleries: what opens them, rotation, other passphrases. */
#include "gallery_maker.h"

#include "gallery/impl.h"
#include "gallery/keys.h"

static uf_status open_with(uf_gallery **g, const char *path, uint32_t flags, const char *passphrase,
                           const char *key_file, uf_error *err)
{
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.flags = flags;
    o.passphrase = passphrase;
    o.key_file = key_file;
    return uf_gallery_open(g, path, &o, err);
}

static const char *key_file(uint8_t seed, size_t size)
{
    const char *path = maker_path("key");
    FILE *f = fopen(path, "wb");
    for (size_t i = 0; f && i < size; i++)
        fputc((int)(seed + i * 7) & 255, f);
    if (f)
        fclose(f);
    return path;
}

static void no_environment(void)
{
    unsetenv("UNIFACE_GALLERY_PASSPHRASE");
    unsetenv("UNIFACE_GALLERY_KEY_FILE");
    unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(a_wrong_or_missing_key_is_an_error_that_says_so)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    NEED_GALLERY;
    no_environment();
    const char *path = maker_path("g"), *key = key_file(1, 32), *other = key_file(2, 32);
    CHECK(open_with(&g, path, UF_GALLERY_CREATE, NULL, NULL, &err) == UF_E_ARG && !g);
    CHECK(strstr(err.message, "UNIFACE_GALLERY_PASSPHRASE"));
    CHECK(open_with(&g, path, UF_GALLERY_CREATE, "a", key, &err) == UF_E_ARG);
    CHECK(open_with(&g, path, UF_GALLERY_CREATE, "", NULL, &err) == UF_E_ARG);
    CHECK(open_with(&g, path, UF_GALLERY_CREATE, NULL, key_file(1, 31), &err) == UF_E_ARG);
    CHECK(strstr(err.message, "31"));
    CHECK(open_with(&g, path, 0, "right", NULL, &err) == UF_E_NOT_FOUND);
    REQUIRE_OK(open_with(&g, path, UF_GALLERY_CREATE, "right", NULL, &err), err);
    uf_gallery_close(g);
    CHECK(open_with(&g, path, UF_GALLERY_CREATE, "wrong", NULL, &err) == UF_E_MISMATCH && !g);
    CHECK(strstr(err.message, path) && strstr(err.message, "wrong passphrase"));
    CHECK(open_with(&g, path, 0, NULL, key, &err) == UF_E_MISMATCH);
    CHECK(open_with(&g, path, 0, NULL, NULL, &err) == UF_E_ARG);
    CHECK(open_with(&g, path, 0, "right", NULL, &err) == UF_OK);
    uf_gallery_close(g);
    path = maker_path("g");
    REQUIRE_OK(open_with(&g, path, UF_GALLERY_CREATE, NULL, key, &err), err);
    uf_gallery_close(g);
    CHECK(open_with(&g, path, 0, NULL, other, &err) == UF_E_MISMATCH);
    CHECK(open_with(&g, path, 0, "right", NULL, &err) == UF_E_MISMATCH);
    REQUIRE_OK(open_with(&g, path, 0, NULL, key, &err), err);
    uf_gallery_close(g);
    path = maker_path("g");
    REQUIRE_OK(open_with(&g, path, UF_GALLERY_CREATE | UF_GALLERY_PLAIN, NULL, NULL, &err), err);
    uf_gallery_close(g);
    CHECK(open_with(&g, path, 0, "right", NULL, &err) == UF_E_ARG);
    REQUIRE_OK(open_with(&g, path, 0, NULL, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(keys_from_the_environment)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    char credential[200];
    NEED_GALLERY;
    no_environment();
    const char *path = maker_path("g"), *key = key_file(3, 40);
    setenv("UNIFACE_GALLERY_PASSPHRASE", "from the environment", 1);
    REQUIRE_OK(open_with(&g, path, UF_GALLERY_CREATE, NULL, NULL, &err), err);
    uf_gallery_close(g);
    no_environment();
    REQUIRE_OK(open_with(&g, path, 0, "from the environment", NULL, &err), err);
    REQUIRE_OK(uf_gallery_set_passphrase(g, NULL, key, &err), err);
    uf_gallery_close(g);
    setenv("UNIFACE_GALLERY_KEY_FILE", key, 1);
    REQUIRE_OK(open_with(&g, path, 0, NULL, NULL, &err), err);
    uf_gallery_close(g);
    no_environment();
    snprintf(credential, sizeof credential, "%s/uniface-gallery-key", maker_folder());
    REQUIRE(rename(key, credential) == 0);
    setenv("CREDENTIALS_DIRECTORY", maker_folder(), 1);
    REQUIRE_OK(open_with(&g, path, 0, NULL, NULL, &err), err);
    uf_gallery_close(g);
    no_environment();
}

TEST(another_passphrase_for_the_same_people)
{
    uf_error err = {0};
    uf_gallery *g = NULL, *other = NULL;
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    REQUIRE_OK(maker_open(&other, path, 0, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 1, 1, MODEL, NULL, &err), err);
    CHECK(uf_gallery_set_passphrase(g, "a", "b", &err) == UF_E_ARG);
    CHECK(uf_gallery_set_passphrase(g, NULL, NULL, &err) == UF_E_ARG);
    REQUIRE_OK(uf_gallery_set_passphrase(g, "new", NULL, &err), err);
    REQUIRE_OK(maker_enroll(g, NULL, 2, 1, MODEL, NULL, &err), err);
    CHECK(maker_enroll(other, NULL, 3, 1, MODEL, NULL, &err) == UF_E_STATE);
    CHECK(strstr(err.message, "open it again"));
    uf_gallery_close(other);
    uf_gallery_close(g);
    CHECK(maker_open(&g, path, 0, &err) == UF_E_MISMATCH);
    REQUIRE_OK(open_with(&g, path, 0, "new", NULL, &err), err);
    REQUIRE_OK(maker_identify(g, NULL, 1, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p1") == 0);
    uf_gallery_close(g);
}

static int stop_at_once(void *user, size_t done, size_t total)
{
    (*(int *)user)++;
    return 1;
}

TEST(a_rotation_that_stops_half_way_is_read_and_goes_on)
{
    enum { PEOPLE = 2500 };
    uf_error err = {0};
    uf_gallery *g = NULL, *other = NULL;
    uf_gallery_stats s;
    uf_candidate best;
    size_t count;
    int calls = 0;
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    REQUIRE_OK(maker_open(&other, path, 0, &err), err);
    static float faces[PEOPLE][DIM];
    static char names[PEOPLE][16];
    static uf_template t[PEOPLE];
    static uf_enrolment e[PEOPLE];
    for (uint64_t p = 0; p < PEOPLE; p++) {
        maker_face(p, 1, faces[p], DIM);
        snprintf(names[p], sizeof names[p], "p%llu", (unsigned long long)p);
        t[p] = (uf_template){.vector = faces[p], .dimension = DIM, .model_id = MODEL};
        e[p] = (uf_enrolment){.person = {.id = names[p]}, .templates = &t[p], .count = 1};
    }
    REQUIRE_OK(uf_gallery_enroll(g, e, PEOPLE, NULL, &err), err);
    REQUIRE_OK(maker_identify(other, NULL, 7, 2, MODEL, &best, &count, &err), err);
    CHECK(uf_gallery_rotate_key(g, stop_at_once, &calls, &err) == UF_E_CANCELLED && calls == 1);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people_to_rotate == PEOPLE - 2000 && s.key_id == 2);
    /* Half-rotated: another process reads both halves and enrols under the new key. */
    REQUIRE_OK(maker_identify(other, NULL, 7, 2, MODEL, &best, &count, &err), err);
    CHECK(best.passes && strcmp(best.id, "p7") == 0);
    REQUIRE_OK(maker_enroll(other, NULL, PEOPLE, 1, MODEL, NULL, &err), err);
    CHECK_OK(uf_gallery_check(other, NULL, NULL, &err), err);
    uf_gallery_close(g);
    REQUIRE_OK(maker_open(&g, path, 0, &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_rotate_key(g, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people_to_rotate == 0 && s.key_id == 2);
    CHECK_OK(uf_gallery_check(other, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_rotate_key(other, NULL, NULL, &err), err);
    REQUIRE_OK(uf_gallery_describe(g, &s, &err), err);
    CHECK(s.people_to_rotate == 0 && s.key_id == 3);
    REQUIRE_OK(maker_enroll(g, NULL, PEOPLE + 1, 1, MODEL, NULL, &err), err);
    int64_t masters;
    REQUIRE_OK(
        ufi_sql_integer(g->sql, "SELECT count(*) FROM master_key", NULL, 0, 0, &masters, &err),
        err);
    CHECK(masters == 1);
    uf_gallery_close(other);
    uf_gallery_close(g);
    REQUIRE_OK(maker_open(&g, path, 0, &err), err);
    CHECK_OK(uf_gallery_check(g, NULL, NULL, &err), err);
    CHECK_OK(uf_gallery_audit_check(g, NULL, &err), err);
    uf_gallery_close(g);
}

TEST(a_plain_gallery_has_no_key_to_change)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    NEED_GALLERY;
    REQUIRE_OK(maker_open(&g, maker_path("g"), UF_GALLERY_CREATE | UF_GALLERY_PLAIN, &err), err);
    CHECK(uf_gallery_rotate_key(g, NULL, NULL, &err) == UF_E_ARG);
    CHECK(uf_gallery_set_passphrase(g, "x", NULL, &err) == UF_E_ARG);
    uf_gallery_close(g);
}

TEST_MAIN
