/* The page's files in the program: the same bytes as in the source, and nothing from elsewhere. */
#include "server/ui.h"

#include "test.h"

static const srv_ui_file *find(const char *path)
{
    for (size_t i = 0; i < srv_ui_file_count; i++)
        if (!strcmp(srv_ui_files[i].path, path))
            return &srv_ui_files[i];
    return NULL;
}

static void check_file(const char *path, const char *name, const char *type)
{
    char source[1024];
    static char bytes[1 << 20];
    const srv_ui_file *found = find(path);
    snprintf(source, sizeof source, "%s/apps/server/ui/%s", UF_SOURCE_ROOT, name);
    FILE *f = fopen(source, "rb");
    REQUIRE(found && f);
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    CHECK(size == found->size && !memcmp(bytes, found->bytes, size));
    CHECK_MSG(!strncmp(found->type, type, strlen(type)), "%s", found->type);
    CHECK(found->etag[0] == '"' && strlen(found->etag) == 18);
}

TEST(files)
{
    check_file("/ui/", "index.html", "text/html");
    check_file("/ui/app.js", "app.js", "text/javascript");
    check_file("/ui/style.css", "style.css", "text/css");
    check_file("/docs", "docs.html", "text/html");
    check_file("/ui/docs.js", "docs.js", "text/javascript");
    CHECK(srv_ui_file_count == 5);
}

TEST(nothing_comes_from_elsewhere)
{
    static const char *const foreign[] = {"http://", "https://",  "src=\"//", "@import",
                                          "url(",    "innerHTML", "style=\"", "onclick"};
    for (size_t i = 0; i < srv_ui_file_count; i++)
        for (size_t k = 0; k < sizeof foreign / sizeof foreign[0]; k++)
            CHECK_MSG(!memmem(srv_ui_files[i].bytes, srv_ui_files[i].size, foreign[k],
                              strlen(foreign[k])),
                      "%s holds %s", srv_ui_files[i].path, foreign[k]);
}

TEST_MAIN
