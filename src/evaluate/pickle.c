/*
 * Packed lists: a Python pickle (protocol 2 to 5) of the pair ([encoded picture, ...], [same,
 * ...]). Of the pickle machine only what builds lists, strings of bytes and booleans is known here;
 * every other instruction is refused, so that nothing in a file can be called. Pictures stay where
 * they are in the mapped file.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/reader.h"
#include "base/status.h"
#include "evaluate/trials.h"

enum { MAX_ITEMS = 1 << 22 };

typedef enum kind { NOTHING, MARK, LIST, BYTES, FLAG, TUPLE } kind;

/* A value on the stack. Lists are named by where their items stand in the order of reading. */
typedef struct value {
    kind kind;
    bool flag;
    uint32_t list; /* LIST: 0 pictures, 1 flags, once it has items */
    const uint8_t *bytes;
    size_t size;
} value;

typedef struct machine {
    ufi_reader r;
    value *stack;
    size_t depth, cap;
    value *memo; /* lists and flags are never fetched again in such files, bytes are */
    size_t memo_cap, memo_next;
    uf_trials *t;
    bool *flags;
    size_t flag_count, flag_cap, pictures, lists;
    uf_error *err;
} machine;

static uf_status push(machine *m, value v)
{
    if (m->depth == m->cap) {
        const size_t cap = m->cap ? m->cap * 2 : 256;
        value *p = cap > MAX_ITEMS ? NULL : ufi_realloc(m->stack, cap, sizeof *p);
        if (!p)
            return ufi_fail(m->err, UF_E_LIMIT, "the list has too many items, or memory is short");
        m->stack = p;
        m->cap = cap;
    }
    m->stack[m->depth++] = v;
    return UF_OK;
}

static uf_status broken(machine *m, const char *what)
{
    return ufi_fail(m->err, UF_E_FORMAT, "offset %zu: %s", m->r.pos, what);
}

static uf_status push_bytes(machine *m, uint64_t size)
{
    const uint8_t *bytes = size > SIZE_MAX ? NULL : ufi_read_bytes(&m->r, (size_t)size);
    if (!bytes)
        return broken(m, "a picture reaches beyond the end of the file");
    return push(m, (value){.kind = BYTES, .bytes = bytes, .size = (size_t)size});
}

static uf_status add_picture(machine *m, const value *v)
{
    char name[32];
    uint32_t id;
    snprintf(name, sizeof name, "%zu", m->pictures++);
    uf_status st = ufi_trials_template(m->t, name, &id, m->err);
    if (!st)
        st = ufi_trials_picture(m->t, name, id, 0, m->err);
    if (!st) {
        m->t->pictures[m->t->picture_count - 1].bytes = v->bytes;
        m->t->pictures[m->t->picture_count - 1].size_bytes = v->size;
    }
    return st;
}

static uf_status add_flag(machine *m, bool flag)
{
    if (m->flag_count == m->flag_cap) {
        const size_t cap = m->flag_cap ? m->flag_cap * 2 : 1024;
        bool *p = cap > MAX_ITEMS ? NULL : ufi_realloc(m->flags, cap, sizeof *p);
        if (!p)
            return ufi_fail(m->err, UF_E_LIMIT, "too many pairs, or memory is short");
        m->flags = p;
        m->flag_cap = cap;
    }
    m->flags[m->flag_count++] = flag;
    return UF_OK;
}

/* Items from `first` on go to the list below them. */
static uf_status append(machine *m, size_t first, size_t list)
{
    uf_status st = UF_OK;
    if (list >= m->depth || m->stack[list].kind != LIST)
        return broken(m, "items without a list");
    for (size_t i = first; !st && i < m->depth; i++) {
        const value *v = &m->stack[i];
        if (v->kind != BYTES && v->kind != FLAG)
            return broken(m, "a list holds neither pictures nor decisions");
        if (m->stack[list].list != (v->kind == FLAG))
            return broken(m, "pictures come first, then decisions");
        st = v->kind == BYTES ? add_picture(m, v) : add_flag(m, v->flag);
    }
    m->depth = list + 1;
    return st;
}

static bool last_mark(const machine *m, size_t *at)
{
    for (size_t i = m->depth; i-- > 0;)
        if (m->stack[i].kind == MARK) {
            *at = i;
            return true;
        }
    return false;
}

static uf_status remember(machine *m, size_t at)
{
    if (!m->depth || at >= MAX_ITEMS)
        return broken(m, "a value is remembered that is not there");
    if (at >= m->memo_cap) {
        const size_t cap = at < 1024 ? 2048 : at * 2;
        value *p = ufi_realloc(m->memo, cap, sizeof *p);
        if (!p)
            return ufi_fail(m->err, UF_E_NOMEM, "out of memory");
        memset(p + m->memo_cap, 0, (cap - m->memo_cap) * sizeof *p);
        m->memo = p;
        m->memo_cap = cap;
    }
    m->memo[at] = m->stack[m->depth - 1];
    return UF_OK;
}

static uf_status recall(machine *m, size_t at)
{
    if (at >= m->memo_cap || m->memo[at].kind != BYTES)
        return broken(m, "a value is fetched that was not remembered");
    return push(m, m->memo[at]);
}

static uf_status push_list(machine *m)
{
    return m->lists > 1 ? broken(m, "more than two lists")
                        : push(m, (value){.kind = LIST, .list = (uint32_t)m->lists++});
}

/* A tuple: the end of the structure. */
static uf_status close_tuple(machine *m, size_t first)
{
    if (m->depth - first != 2 || m->stack[first].kind != LIST || m->stack[first + 1].kind != LIST)
        return broken(m, "this is no pair of lists");
    m->depth = first;
    return push(m, (value){.kind = TUPLE});
}

static uf_status finish_mark(machine *m, uint8_t op)
{
    size_t at;
    if (!last_mark(m, &at))
        return broken(m, "a mark is missing");
    if (op == 'e')
        return at ? append(m, at + 1, at - 1) : broken(m, "items without a list");
    memmove(m->stack + at, m->stack + at + 1, (m->depth - at - 1) * sizeof *m->stack);
    m->depth--;
    return close_tuple(m, at);
}

/* One instruction; *end after the last. The letters are those of Python's pickle.py. */
static uf_status step(machine *m, bool *end)
{
    const uint8_t op = ufi_read_u8(&m->r);
    if (m->r.failed)
        return broken(m, "the file ends too early");
    switch (op) {
    case 0x80: /* protocol */
        return ufi_read_u8(&m->r) > 5 ? broken(m, "an unknown protocol") : UF_OK;
    case 0x95: /* frame */
        (void)ufi_read_u64(&m->r);
        return UF_OK;
    case ']':
        return push_list(m);
    case '(':
        return push(m, (value){.kind = MARK});
    case 'T':
    case 'B':
        return push_bytes(m, ufi_read_u32(&m->r));
    case 'U':
    case 'C':
        return push_bytes(m, ufi_read_u8(&m->r));
    case 0x8e:
        return push_bytes(m, ufi_read_u64(&m->r));
    case 0x88:
    case 0x89:
        return push(m, (value){.kind = FLAG, .flag = op == 0x88});
    case 'K':
        return push(m, (value){.kind = FLAG, .flag = ufi_read_u8(&m->r) != 0});
    case 'q':
        return remember(m, ufi_read_u8(&m->r));
    case 'r':
        return remember(m, ufi_read_u32(&m->r));
    case 0x94:
        return remember(m, m->memo_next++);
    case 'h':
        return recall(m, ufi_read_u8(&m->r));
    case 'j':
        return recall(m, ufi_read_u32(&m->r));
    case 'a':
        return m->depth > 1 ? append(m, m->depth - 1, m->depth - 2) : broken(m, "an item alone");
    case 'e':
    case 't':
        return finish_mark(m, op);
    case 0x86:
        return m->depth > 1 ? close_tuple(m, m->depth - 2) : broken(m, "this is no pair of lists");
    case '.':
        *end = true;
        return m->depth == 1 && m->stack[0].kind == TUPLE ? UF_OK
                                                          : broken(m, "this is no pair of lists");
    default:
        return ufi_fail(m->err, UF_E_FORMAT,
                        "offset %zu: instruction 0x%02x does not belong into a packed list of "
                        "pictures and decisions",
                        m->r.pos - 1, op);
    }
}

uf_status ufi_trials_unpack(uf_trials *t, uf_error *err)
{
    machine m = {.t = t, .err = err};
    bool end = false;
    uf_status st = UF_OK;
    ufi_reader_init(&m.r, t->map.data, t->map.size);
    while (!st && !end)
        st = step(&m, &end);
    if (!st && m.pictures != 2 * m.flag_count)
        st = ufi_fail(err, UF_E_FORMAT, "%zu pictures and %zu decisions: two pictures a decision",
                      m.pictures, m.flag_count);
    for (size_t i = 0; !st && i < m.flag_count; i++)
        st = ufi_trials_add(t, (uint32_t)(2 * i), (uint32_t)(2 * i + 1), m.flags[i], 0, err);
    t->format = "packed pictures";
    ufi_free(m.stack);
    ufi_free(m.memo);
    ufi_free(m.flags);
    return st;
}
