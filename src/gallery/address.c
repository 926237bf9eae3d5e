/*
 * Addresses of galleries in PostgreSQL: libpq's postgresql://user:password@host:port/database?...,
 * and one parameter of our own, gallery=NAME, the schema that holds the gallery. A schema each
 * keeps galleries of one database apart, and their tables apart from those of others.
 */
#include "gallery/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

/* The parameters of an address that are secrets. */
static const char *const secrets[] = {"password=", "sslpassword=", "passfile="};

static void append(char *out, size_t size, size_t *at, const char *text, size_t length)
{
    for (size_t i = 0; i < length && *at + 1 < size; i++)
        out[(*at)++] = text[i];
    out[*at] = '\0';
}

/* Where the value of a secret parameter begins at `s`, which follows "?" or "&"; 0: it is none. */
static size_t secret_at(const char *s)
{
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (strncmp(s, secrets[i], strlen(secrets[i])) == 0)
            return strlen(secrets[i]);
    return 0;
}

void ufi_address_show(char *out, size_t size, const char *address)
{
    size_t at = 0;
    out[0] = '\0';
    const char *start = strstr(address, "://");
    start = start ? start + 3 : address;
    append(out, size, &at, address, (size_t)(start - address));
    /* The last "@" before the path: a password that was not escaped may hold more of them. */
    const char *end = start + strcspn(start, "?"), *host = start;
    for (const char *c = start; c < end; c++)
        if (*c == '@')
            host = c;
    if (host > start) {
        const char *colon = memchr(start, ':', (size_t)(host - start));
        append(out, size, &at, start, (size_t)((colon ? colon : host) - start));
        if (colon)
            append(out, size, &at, ":***", 4);
    }
    while (*host) {
        size_t length = strcspn(host, "?&");
        append(out, size, &at, host, length + (host[length] != '\0'));
        host += length + (host[length] != '\0');
        size_t secret = host[-1] == '?' || host[-1] == '&' ? secret_at(host) : 0;
        if (secret) {
            append(out, size, &at, host, secret);
            append(out, size, &at, "***", 3);
            host += strcspn(host, "&");
        }
    }
}

static bool is_name(const char *s, size_t length)
{
    if (length == 0 || length >= UFI_SCHEMA_NAME || (s[0] >= '0' && s[0] <= '9'))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
            return false;
    return strncmp(s, "pg_", 3) != 0;
}

static const char *const search_names[] = {"", "memory", "halfvec", "bit"};

const char *ufi_search_name(ufi_search_kind kind)
{
    return search_names[kind];
}

ufi_search_kind ufi_search_of(const char *name, size_t length)
{
    for (int i = UFI_SEARCH_MEMORY; i <= UFI_SEARCH_BIT; i++)
        if (strlen(search_names[i]) == length && strncmp(search_names[i], name, length) == 0)
            return (ufi_search_kind)i;
    return UFI_SEARCH_UNSET;
}

/* Takes one parameter "name=value" of `length`; *ours tells whether it is one of ours. */
static uf_status take_parameter(const char *text, size_t length, ufi_address_choice *choice,
                                bool *ours, uf_error *err)
{
    const char *equals = memchr(text, '=', length);
    size_t name = equals ? (size_t)(equals - text) : length;
    const char *value = text + name + (equals != NULL);
    size_t size = length - name - (equals != NULL);
    *ours = true;
    if (name == 7 && strncmp(text, "gallery", 7) == 0) {
        if (!is_name(value, size))
            return ufi_fail(err, UF_E_ARG,
                            "gallery= must be a name of a-z, 0-9 and _, at most 63 of them, and "
                            "begin with neither a digit nor pg_");
        snprintf(choice->schema, UFI_SCHEMA_NAME, "%.*s", (int)size, value);
    } else if (name == 6 && strncmp(text, "search", 6) == 0) {
        choice->search = ufi_search_of(value, size);
        if (!choice->search)
            return ufi_fail(err, UF_E_ARG, "search= must be memory, halfvec or bit");
    } else if (name == 10 && strncmp(text, "partitions", 10) == 0) {
        char *end;
        long n = strtol(value, &end, 10);
        if (end != value + size || size == 0 || n < 1 || n > UFI_PARTITIONS_MAX)
            return ufi_fail(err, UF_E_ARG, "partitions= must be a number from 1 to %d",
                            UFI_PARTITIONS_MAX);
        choice->partitions = (int)n;
    } else {
        *ours = false;
    }
    return UF_OK;
}

uf_status ufi_address_split(const char *address, char **rest, ufi_address_choice *choice,
                            uf_error *err)
{
    *rest = NULL;
    *choice = (ufi_address_choice){.schema = "uniface"};
    size_t size = strlen(address) + 1, at = strcspn(address, "?");
    char *copy = ufi_malloc(size, 1);
    if (!copy)
        return ufi_fail(err, UF_E_NOMEM, "out of memory");
    memcpy(copy, address, at);
    char separator = '?';
    uf_status st = UF_OK;
    for (const char *c = address + at; *c && !st;) {
        size_t length = strcspn(c + 1, "&");
        bool ours;
        st = take_parameter(c + 1, length, choice, &ours, err);
        if (!ours) {
            copy[at++] = separator;
            memcpy(copy + at, c + 1, length);
            at += length;
            separator = '&';
        }
        c += 1 + length;
    }
    copy[at] = '\0';
    if (st) {
        ufi_wipe(copy, size);
        ufi_free(copy);
        return st;
    }
    *rest = copy;
    return UF_OK;
}
