/* Files: limits, what is no regular file, atomic replacement. */
#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "test.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    if (!folder[0]) {
        strcpy(folder, "/tmp/uniface-file-test-XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

TEST(write_then_read_and_map)
{
    uf_error err = {0};
    uint8_t *data = NULL;
    size_t size;
    ufi_file_map map;
    const char *path = path_of("a");
    REQUIRE_OK(ufi_file_write(path, "hello", 5, &err), err);
    REQUIRE_OK(ufi_file_write(path, "hello world", 11, &err), err);
    REQUIRE_OK(ufi_file_read(&data, &size, path, 11, &err), err);
    CHECK(size == 11 && memcmp(data, "hello world", 11) == 0);
    ufi_free(data);
    CHECK(ufi_file_read(&data, &size, path, 10, &err) == UF_E_LIMIT && !data);
    REQUIRE_OK(ufi_file_map_open(&map, path, 100, &err), err);
    CHECK(map.size == 11 && memcmp(map.data, "hello world", 11) == 0);
    ufi_file_map_release(&map, map.data, map.size);
    CHECK(map.data[0] == 'h');
    ufi_file_map_close(&map);
    CHECK(ufi_file_map_open(&map, path, 10, &err) == UF_E_LIMIT && strstr(err.message, path));
}

TEST(empty_file)
{
    uf_error err = {0};
    uint8_t *data = NULL;
    size_t size = 1;
    ufi_file_map map;
    const char *path = path_of("empty");
    REQUIRE_OK(ufi_file_write(path, "", 0, &err), err);
    REQUIRE_OK(ufi_file_read(&data, &size, path, 0, &err), err);
    CHECK(size == 0);
    ufi_free(data);
    REQUIRE_OK(ufi_file_map_open(&map, path, 100, &err), err);
    CHECK(map.size == 0 && !map.data);
    ufi_file_map_close(&map);
}

TEST(what_is_no_regular_file_is_refused)
{
    uf_error err = {0};
    uint8_t *data;
    size_t size;
    ufi_file_map map;
    const char *fifo = path_of("fifo");
    REQUIRE(mkfifo(fifo, 0600) == 0);
    CHECK(ufi_file_map_open(&map, fifo, 100, &err) == UF_E_IO);
    CHECK(ufi_file_read(&data, &size, "/dev/zero", 100, &err) == UF_E_IO);
    CHECK(ufi_file_read(&data, &size, "/tmp", 100, &err) == UF_E_IO);
    CHECK(ufi_file_read(&data, &size, path_of("absent"), 100, &err) == UF_E_IO);
    CHECK(strstr(err.message, "absent"));
    CHECK(ufi_file_write("/nonexistent-folder/x", "", 0, &err) == UF_E_IO);
}

TEST(what_is_no_file_is_not_replaced_by_one)
{
    uf_error err = {0};
    struct stat there;
    const char *path = path_of("pipe");
    REQUIRE(mkfifo(path, 0600) == 0);
    CHECK(ufi_file_write(path, "hello", 5, &err) == UF_E_IO);
    CHECK(strstr(err.message, "not a regular file") != NULL);
    CHECK(stat(path, &there) == 0 && S_ISFIFO(there.st_mode));
    unlink(path);
}

TEST_MAIN
