/* API keys: what is stored, who is found, and files that are damaged. */
#include "server/keyring.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char folder[64], why[512];

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static int n;
    n = !n;
    snprintf(path[n], sizeof path[n], "%s/%s", folder, name);
    return path[n];
}

static srv_keyring *begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/uniface-keyring-XXXXXX");
    return mkdtemp(folder) ? srv_keyring_open(folder, why) : NULL;
}

static void end(srv_keyring *k)
{
    srv_keyring_close(k);
    unlink(in_folder("keys.json"));
    unlink(in_folder("server.key"));
    rmdir(folder);
}

static size_t contents(const char *name, char *out, size_t room)
{
    FILE *f = fopen(in_folder(name), "rb");
    const size_t n = f ? fread(out, 1, room - 1, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
    return n;
}

static bool write_keys(const char *text)
{
    FILE *f = fopen(in_folder("keys.json"), "wb");
    const bool ok = f && fputs(text, f) >= 0;
    return f && !fclose(f) && ok;
}

static bool add(srv_keyring *k, const char *grants, char key[SRV_KEY_TEXT_SIZE],
                char id[SRV_KEY_ID_SIZE])
{
    srv_principal p = {0};
    return srv_grants_parse(grants, &p, why) && srv_keyring_add(k, "a key", &p, key, id, why);
}

TEST(a_key_is_found_and_not_stored)
{
    char key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE], file[4096];
    srv_principal who;
    struct stat s;
    srv_keyring *k = begin();
    REQUIRE(k && !srv_keyring_count(k));
    REQUIRE(add(k, "staff:read,enrol;*:identify", key, id));
    CHECK(srv_keyring_count(k) == 1 && !strncmp(key, "uf_", 3) && strlen(key) == 46 &&
          strlen(id) == 16);
    REQUIRE(srv_keyring_find(k, key, &who));
    CHECK(!strcmp(who.key_id, id) && who.grant_count == 2 &&
          !strcmp(who.grants[0].collection, "staff"));
    CHECK(who.grants[0].roles == (SRV_READ | SRV_ENROL) && who.grants[1].roles == SRV_IDENTIFY);
    CHECK(contents("keys.json", file, sizeof file) && !strstr(file, key) && !strstr(file, key + 3));
    CHECK(!stat(in_folder("keys.json"), &s) && (s.st_mode & 0777) == 0600);
    CHECK(!stat(in_folder("server.key"), &s) && (s.st_mode & 0777) == 0600 && s.st_size == 32);
    end(k);
}

TEST(what_is_near_a_key_is_none)
{
    char key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE], near[100];
    srv_principal who;
    srv_keyring *k = begin();
    REQUIRE(k && add(k, "read", key, id));
    CHECK(!srv_keyring_find(k, "", &who) && !srv_keyring_find(k, "uf_", &who));
    CHECK(!srv_keyring_find(k, id, &who) && !srv_keyring_find(k, key + 3, &who));
    for (size_t i = 0; i < strlen(key); i++) {
        snprintf(near, sizeof near, "%s", key);
        near[i] ^= 1;
        CHECK(!srv_keyring_find(k, near, &who));
        near[i] = '\0';
        CHECK(!srv_keyring_find(k, near, &who));
    }
    snprintf(near, sizeof near, "%sx", key);
    CHECK(!srv_keyring_find(k, near, &who));
    end(k);
}

TEST(keys_outlive_the_process_and_their_secret_is_needed)
{
    char key[SRV_KEY_TEXT_SIZE], other[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE],
        second[SRV_KEY_ID_SIZE];
    srv_principal who;
    srv_keyring *k = begin();
    REQUIRE(k && add(k, "admin", key, id) && add(k, "read", other, second));
    srv_keyring_close(k);
    k = srv_keyring_open(folder, why);
    REQUIRE(k && srv_keyring_count(k) == 2 && srv_keyring_find(k, key, &who));
    CHECK(who.grants[0].roles == SRV_ALL_ROLES && !strcmp(who.grants[0].collection, "*"));
    CHECK(srv_keyring_remove(k, id, why) && !srv_keyring_find(k, key, &who));
    CHECK(!srv_keyring_remove(k, id, why) && !*why && srv_keyring_find(k, other, &who));
    srv_keyring_close(k);
    unlink(in_folder("server.key"));
    k = srv_keyring_open(folder, why); /* another secret: hashes fit nothing */
    REQUIRE(k);
    CHECK(srv_keyring_count(k) == 1 && !srv_keyring_find(k, other, &who));
    end(k);
}

TEST(grants)
{
    static const char *const bad[] = {"",       ";",     ":",          "king",
                                      "staff:", ":read", "read,,king", "staff:king"};
    srv_principal p;
    char many[2000] = "";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(!srv_grants_parse(bad[i], &p, why) && *why, "%s", bad[i]);
    CHECK(srv_grants_parse("a:b:read", &p, why) && !strcmp(p.grants[0].collection, "a:b"));
    for (int i = 0; i < SRV_GRANTS_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "c%d:read;", i);
    CHECK(srv_grants_parse(many, &p, why) && p.grant_count == SRV_GRANTS_MAX);
    strcat(many, "more:read");
    CHECK(!srv_grants_parse(many, &p, why) && strstr(why, "16"));
    CHECK(srv_role_named("admin") == SRV_ALL_ROLES && !srv_role_named("root") &&
          !srv_role_named(""));
}

TEST(a_damaged_file_changes_nothing)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"version\": 1}",
                                      "{\"version\": 1, \"keys\": 3}",
                                      "{\"version\": 1, \"keys\": [{}]}",
                                      "{\"version\": 1, \"keys\": [3]}"};
    char key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE], good[4096];
    srv_principal who;
    srv_keyring *k = begin();
    REQUIRE(k && add(k, "read", key, id) && contents("keys.json", good, sizeof good));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REQUIRE(write_keys(bad[i]));
        CHECK_MSG(!srv_keyring_reload(k, why) && strstr(why, "keys.json"), "%s: %s", bad[i], why);
        CHECK(srv_keyring_count(k) == 1 && srv_keyring_find(k, key, &who));
    }
    for (size_t cut = 1; cut + 3 < strlen(good); cut += 7) {
        char part[4096];
        snprintf(part, sizeof part, "%.*s", (int)cut, good);
        CHECK(write_keys(part) && !srv_keyring_reload(k, why) && srv_keyring_find(k, key, &who));
    }
    CHECK(write_keys(good) && srv_keyring_reload(k, why) && srv_keyring_count(k) == 1);
    end(k);
}

typedef struct worker {
    srv_keyring *k;
    const char *key;
    int found;
} worker;

static void *look(void *user)
{
    worker *w = user;
    srv_principal who;
    for (int i = 0; i < 500; i++)
        w->found += srv_keyring_find(w->k, w->key, &who);
    return NULL;
}

TEST(keys_are_looked_up_while_others_are_made)
{
    enum { THREADS = 3 };
    char key[SRV_KEY_TEXT_SIZE], other[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE];
    pthread_t threads[THREADS];
    worker workers[THREADS];
    srv_keyring *k = begin();
    REQUIRE(k && add(k, "read", key, id));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){k, key, 0};
        REQUIRE(!pthread_create(&threads[i], NULL, look, &workers[i]));
    }
    for (int i = 0; i < 20; i++)
        CHECK(add(k, "read", other, id) && srv_keyring_remove(k, id, why) &&
              srv_keyring_reload(k, why));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].found == 500);
    }
    end(k);
}

TEST_MAIN
