/* What `uniface gallery import` reads: JSON and NumPy arrays, by the program's own readers. */
#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "cli.h"

/* The program's ends it when memory is short. */
void *cli_need(void *p)
{
    if (!p)
        abort();
    return p;
}

/* The program's tells the user. */
int cli_complain(int status, const char *fmt, ...)
{
    return status;
}

static void walk(const json_value *v)
{
    const char *text;
    double number;
    for (; v; v = v->next) {
        if (v->begin > v->end || (v->type == JSON_STRING) != (v->text != NULL))
            abort();
        if (v->type == JSON_OBJECT) {
            json_member_text(v, "id", &text);
            json_member_number(v, "row", -1, &number);
        }
        walk(v->first);
    }
}

static void read_json(const uint8_t *data, size_t size)
{
    char why[96];
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    json_value *v = json_read(text, why);
    if (!v && !why[0])
        abort();
    walk(v);
    json_free(v);
    free(text);
}

static void read_array(const uint8_t *data, size_t size)
{
    uf_tensor_info info;
    void *array = NULL;
    char name[] = "/tmp/fuzz-people-XXXXXX";
    const int fd = mkstemp(name);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    /* The reader tells the user what is wrong: not now. The fuzzer wants its own messages. */
    const int before = dup(2), quiet = open("/dev/null", O_WRONLY);
    dup2(quiet, 2);
    const bool is_array = npy_read(name, &info, &array);
    dup2(before, 2);
    close(before);
    close(quiet);
    if (is_array && npy_bytes(&info) > size)
        abort();
    free(array);
    unlink(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 6 && !memcmp(data, "\x93NUMPY", 6))
        read_array(data, size);
    else
        read_json(data, size);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const char *const lines[] = {
        ("{\"id\":\"a\",\"collection\":null,\"metadata\":{\"x\":[1,-2.5e3,true,false,null]},"
         "\"templates\":[{\"model_id\":\"00\",\"row\":0,\"quality\":0.5,\"crop\":\"c/1.png\"}]}"),
        "{\"id\":\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\",\"templates\":[]}",
        "[[[[{\"a\":{\"b\":[[]]}}]]], 0.125, 1E+2, \"\"]",
    };
    if (i < sizeof lines / sizeof *lines) {
        memcpy(out, lines[i], strlen(lines[i]));
        return strlen(lines[i]);
    }
    if (i > sizeof lines / sizeof *lines || cap < 256)
        return 0;
    const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    memcpy(out, "\x93NUMPY\x01\x00\x3c\x00", 10);
    memcpy(out + 10, header, 60);
    memset(out + 70, 1, 24);
    return 94;
}
