/* Models by name, and digests of files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "uniface/uniface.h"

static char folder[64] = "/tmp/uniface-store-XXXXXX";

static const char *within(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    if (strstr(folder, "XXXXXX") && !mkdtemp(folder))
        abort();
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(within(name), "wb");
    if (!f || fwrite(text, 1, strlen(text), f) != strlen(text) || fclose(f))
        abort();
}

static void clear_environment(void)
{
    unsetenv("UNIFACE_MODELS");
    unsetenv("UNIFACE_CACHE_DIR");
    unsetenv("XDG_DATA_HOME");
}

TEST(the_folder_comes_from_the_environment)
{
    char path[256];
    uf_error err;
    clear_environment();
    setenv("HOME", "/home/x", 1);
    CHECK(!uf_store_folder(path, sizeof path, &err));
    CHECK_MSG(!strcmp(path, "/home/x/.local/share/uniface/models"), "%s", path);
    setenv("XDG_DATA_HOME", "/data", 1);
    CHECK(!uf_store_folder(path, sizeof path, &err));
    CHECK_MSG(!strcmp(path, "/data/uniface/models"), "%s", path);
    setenv("UNIFACE_CACHE_DIR", "/cache", 1);
    CHECK(!uf_store_folder(path, sizeof path, &err));
    CHECK_MSG(!strcmp(path, "/cache/models"), "%s", path);
    setenv("UNIFACE_MODELS", "/store", 1);
    CHECK(!uf_store_folder(path, sizeof path, &err));
    CHECK_MSG(!strcmp(path, "/store"), "%s", path);
    setenv("UNIFACE_MODELS", "", 1);
    CHECK(!uf_store_folder(path, sizeof path, &err));
    CHECK_MSG(!strcmp(path, "/cache/models"), "%s", path);
    CHECK(uf_store_folder(path, 5, &err) == UF_E_LIMIT);
    CHECK(uf_store_folder(NULL, 5, &err) == UF_E_ARG);
    clear_environment();
}

static void found(const char *name, const char *want)
{
    char path[256];
    uf_error err = {UF_OK, ""};
    CHECK(!uf_store_find(path, sizeof path, name, &err));
    CHECK_MSG(!strcmp(path, want), "%s", path);
}

TEST(a_name_is_found)
{
    char path[256];
    uf_error err;
    setenv("UNIFACE_MODELS", within("store"), 1);
    mkdir(within("store"), 0777);
    mkdir(within("both"), 0777);
    write_text("store/one.ufm", "1");
    write_text("store/both.ufm", "2");
    write_text("here.ufm", "3");
    write_text("plain", "4");
    if (chdir(folder))
        abort();
    found("one", within("store/one.ufm"));
    found("one.ufm", within("store/one.ufm"));
    found("here", "here.ufm");
    found("here.ufm", "here.ufm");
    found("plain", "plain");
    found(within("here"), within("here.ufm"));
    found("both", within("store/both.ufm")); /* a folder of this name hides no model */
    found("store", "store");                 /* but is left to who opens it */
    CHECK(uf_store_find(path, sizeof path, "two", &err) == UF_E_NOT_FOUND);
    CHECK(strstr(err.message, "two") && strstr(err.message, within("store")));
    CHECK(uf_store_find(path, sizeof path, within("one"), &err) == UF_E_NOT_FOUND);
    CHECK(uf_store_find(path, sizeof path, "", &err) == UF_E_ARG);
    CHECK(uf_store_find(path, sizeof path, NULL, &err) == UF_E_ARG);
    CHECK(uf_store_find(path, 4, "one", &err) == UF_E_LIMIT);
    char *large = malloc(10001);
    memset(large, 'a', 10000);
    large[10000] = '\0';
    CHECK(uf_store_find(path, sizeof path, large, &err) == UF_E_LIMIT);
    free(large);
}

TEST(digests)
{
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char hex[65] = "", whole[65] = "";
    uint64_t size = 0;
    uf_digest *d = NULL;
    uf_error err;
    CHECK(!uf_digest_create(&d, &err));
    uf_digest_add(d, "a", 1);
    uf_digest_add(d, "bc", 2);
    uf_digest_end(d, hex);
    CHECK_MSG(!strcmp(hex, abc), "%s", hex);
    uf_digest_end(NULL, hex);
    write_text("abc", "abc");
    CHECK(!uf_digest_file(within("abc"), hex, &size, &err));
    CHECK_MSG(!strcmp(hex, abc), "%s", hex);
    CHECK(size == 3);
    FILE *f = fopen(within("large"), "wb");
    CHECK(!uf_digest_create(&d, &err));
    for (int i = 0; i < 30000; i++) {
        fprintf(f, "%d\n", i);
        char line[16];
        uf_digest_add(d, line, (size_t)snprintf(line, sizeof line, "%d\n", i));
    }
    fclose(f);
    uf_digest_end(d, whole);
    CHECK(!uf_digest_file(within("large"), hex, NULL, &err));
    CHECK_MSG(!strcmp(hex, whole), "%s", hex);
    CHECK(uf_digest_file(within("none"), hex, NULL, &err) == UF_E_IO);
    CHECK(strstr(err.message, "none"));
    CHECK(uf_digest_file(within(""), hex, NULL, &err) == UF_E_IO);
    CHECK(uf_digest_file(NULL, hex, NULL, &err) == UF_E_ARG);
    CHECK(uf_digest_create(NULL, &err) == UF_E_ARG);
}

TEST(the_folder_goes)
{
    static const char *const files[] = {"store/one.ufm", "store/both.ufm", "here.ufm", "plain",
                                        "abc",           "large"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(within(files[i]));
    rmdir(within("store"));
    rmdir(within("both"));
    CHECK(rmdir(within("")) == 0);
}

TEST_MAIN
