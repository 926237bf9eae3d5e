#include "server/json_parse.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

enum { JSON_DEPTH_MAX = 32 };

/* Values are parted by commas; the few commas in strings count as well. */
size_t srv_json_weight(const uint8_t *text, size_t size)
{
    enum { VALUE_BYTES = 48 }; /* a number and its place in a list that has doubled just now */
    size_t values = 1;
    for (size_t i = 0; i < size; i++)
        values += text[i] == ',';
    return values * VALUE_BYTES;
}

/* jansson goes 2048 deep; that is more stack than a request's thread need have. */
static bool is_shallow(const uint8_t *text, size_t size)
{
    bool in_string = false;
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        const uint8_t c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return false;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

/* Without memory jansson 2.14 says what it would say of wrong text, and cuts strings short. */
static _Thread_local bool is_parsing, lacks_memory;

/* Once memory is lacking, jansson would try again for each byte of a string, for many seconds. */
static void *allocate(size_t size)
{
    void *p = is_parsing && lacks_memory ? NULL : malloc(size);
    lacks_memory |= !p;
    return p;
}

void srv_json_watch_memory(void)
{
    json_set_alloc_funcs(allocate, free);
}

json_t *srv_json_parse(const uint8_t *text, size_t size, char why[200], int *status)
{
    json_error_t err;
    *status = 400;
    if (!is_shallow(text, size)) {
        snprintf(why, 200, "the JSON is nested more than %d deep", JSON_DEPTH_MAX);
        return NULL;
    }
    lacks_memory = false;
    is_parsing = true;
    json_t *v = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, &err);
    is_parsing = false;
    if (lacks_memory) {
        json_decref(v);
        snprintf(why, 200, "out of memory");
        *status = 503;
        return NULL;
    }
    if (!v)
        snprintf(why, 200, "the body is no valid JSON: %.120s (at byte %d)", err.text,
                 err.position);
    return v;
}
