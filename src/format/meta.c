/*
 * Metadata: a short ordered list of text pairs. Numbers in it are written and read without regard
 * to the locale, which C's strtod and printf follow.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/model_file.h"

static uint32_t find(const ufi_meta *m, const char *key)
{
    uint32_t i = 0;
    while (i < m->count && strcmp(m->keys[i], key) != 0)
        i++;
    return i;
}

const char *ufi_meta_get(const ufi_meta *m, const char *key)
{
    uint32_t i = find(m, key);
    return i < m->count ? m->values[i] : NULL;
}

/* Lower-case letters, digits, '_', '-' and '.', 1 to 64 of them. */
static bool is_key(const char *key)
{
    size_t n = strlen(key);
    if (n < 1 || n > 64)
        return false;
    return strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == n;
}

static void remove_entry(ufi_meta *m, uint32_t i)
{
    if (i == m->count)
        return;
    ufi_free(m->keys[i]);
    ufi_free(m->values[i]);
    m->count--;
    memmove(m->keys + i, m->keys + i + 1, (m->count - i) * sizeof *m->keys);
    memmove(m->values + i, m->values + i + 1, (m->count - i) * sizeof *m->values);
}

static uf_status no_memory(uf_error *err)
{
    return ufi_fail(err, UF_E_NOMEM, "no memory for metadata");
}

static uf_status append(ufi_meta *m, const char *key, char *value, uf_error *err)
{
    if (m->count == UFI_META_MAX_ENTRIES)
        return ufi_fail(err, UF_E_LIMIT, "more than %u metadata entries", UFI_META_MAX_ENTRIES);
    char **keys = ufi_realloc(m->keys, m->count + 1, sizeof *keys);
    if (keys)
        m->keys = keys;
    char **values = ufi_realloc(m->values, m->count + 1, sizeof *values);
    if (values)
        m->values = values;
    char *copy = keys && values ? ufi_strdup(key) : NULL;
    if (!copy)
        return no_memory(err);
    m->keys[m->count] = copy;
    m->values[m->count++] = value;
    return UF_OK;
}

uf_status ufi_meta_set(ufi_meta *m, const char *key, const char *value, uf_error *err)
{
    if (!is_key(key))
        return ufi_fail(err, UF_E_ARG, "\"%.80s\" is no metadata key: 1 to 64 of a-z 0-9 _ - . are",
                        key);
    uint32_t i = find(m, key);
    if (!value) {
        remove_entry(m, i);
        return UF_OK;
    }
    if (strlen(value) > UFI_META_MAX_VALUE_BYTES)
        return ufi_fail(err, UF_E_LIMIT, "metadata \"%s\" is longer than %u bytes", key,
                        UFI_META_MAX_VALUE_BYTES);
    char *copy = ufi_strdup(value);
    if (!copy)
        return no_memory(err);
    if (i < m->count) {
        ufi_free(m->values[i]);
        m->values[i] = copy;
        return UF_OK;
    }
    uf_status st = append(m, key, copy, err);
    if (st)
        ufi_free(copy);
    return st;
}

void ufi_meta_free(ufi_meta *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        ufi_free(m->keys[i]);
        ufi_free(m->values[i]);
    }
    ufi_free(m->keys);
    ufi_free(m->values);
    *m = (ufi_meta){0};
}

/* ---- numbers ---- */

/* [-+]digits[.digits][e[-+]digits]; *end is left after it. NaN when there is none. */
static double parse_number(const char *s, const char **end)
{
    double sign = 1, v = 0;
    int exponent = 0, written = 0, digits = 0;
    if (*s == '-' || *s == '+')
        sign = *s++ == '-' ? -1 : 1;
    for (; *s >= '0' && *s <= '9'; s++, digits++)
        v = v * 10 + (*s - '0');
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, digits++, exponent--)
            v = v * 10 + (*s - '0');
    if (digits && (*s == 'e' || *s == 'E')) {
        int e_sign = s[1] == '-' ? -1 : 1;
        s += s[1] == '-' || s[1] == '+' ? 2 : 1;
        if (*s < '0' || *s > '9')
            digits = 0;
        for (; *s >= '0' && *s <= '9'; s++)
            written = written < 9999 ? written * 10 + (*s - '0') : written;
        exponent += e_sign * written;
    }
    *end = s;
    if (!digits)
        return NAN;
    /* Two steps: 10^-330 alone is 0, 1e10 * 10^-330 is not. */
    return sign * v * pow(10, exponent / 2) * pow(10, exponent - exponent / 2);
}

int ufi_parse_floats(const char *s, char between, float *out, int cap)
{
    int n = 0;
    for (;;) {
        while (*s == ' ' || (n && *s == between))
            s++;
        if (!*s)
            return n;
        if (n == cap)
            return -1;
        float v = (float)parse_number(s, &s);
        if (!isfinite(v) || (*s && *s != ' ' && *s != between))
            return -1;
        out[n++] = v;
    }
}

int ufi_meta_floats(const ufi_meta *m, const char *key, float *out, int cap)
{
    const char *s = ufi_meta_get(m, key);
    return s ? ufi_parse_floats(s, ' ', out, cap) : 0;
}

uf_status ufi_meta_set_floats(ufi_meta *m, const char *key, const float *v, int count,
                              uf_error *err)
{
    char text[32 * 64 + 1];
    size_t at = 0;
    if (count > 64)
        return ufi_fail(err, UF_E_LIMIT, "more than 64 numbers for \"%s\"", key);
    text[0] = '\0';
    for (int i = 0; i < count; i++) {
        int n = snprintf(text + at, sizeof text - at, "%s%.9g", i ? " " : "", (double)v[i]);
        for (char *p = text + at; n > 0 && *p; p++)
            if (*p == ',') /* a locale's decimal point */
                *p = '.';
        at += n > 0 ? (size_t)n : 0;
    }
    return ufi_meta_set(m, key, text, err);
}

uf_status ufi_copy_meta(ufi_meta *to, const ufi_meta *from, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < from->count; i++)
        if (strncmp(from->keys[i], "threshold.", 10) != 0)
            st = ufi_meta_set(to, from->keys[i], from->values[i], err);
    return st;
}
