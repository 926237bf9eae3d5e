/*
 * Pages with checksums.
 *
 * SQLite trusts its pages: a flipped bit in a count of cells makes records vanish without a word.
 * Databases are therefore made with 8 reserved bytes at the end of every page, which hold a
 * checksum of the page and its place; it is set when a page is written into the database (from the
 * log, at a checkpoint) and compared whenever one is read. The log has SQLite's own checksums.
 *
 * The same place is used to overwrite the gap between the cell pointers and the cells of B-tree
 * pages. SQLite's secure_delete overwrites freed cells, but when it balances a tree it moves cells
 * between pages and leaves their old bytes in such gaps; they would outlive the deletion of the
 * person they came from. An overflow or free page begins with the number of another page, whose
 * first byte is 0 or 1 below 2^25 pages (256 GB), so it is never taken for one of a B-tree.
 */
#include "gallery/pages.h"

#ifdef UFI_WITH_SQLITE

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PAGES_NAME "uniface-pages"
#define BTREE_PAGES_MAX ((sqlite3_int64)1 << 25)

/* The file of the system stands behind this one in the same block of memory. */
typedef struct paged_file {
    sqlite3_file base;
    sqlite3_file *real;
    uint8_t copy[UFI_PAGE_BYTES];
} paged_file;

static sqlite3_vfs pages_vfs;
static sqlite3_vfs *system_vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((paged_file *)f)->real;
}

/* Four lanes of multiply and rotate (as xxHash does), so that it runs at memory speed; every flip
 * of a bit changes the result, since each step is a bijection of the lane. */
static uint64_t page_checksum(const uint8_t *page, sqlite3_int64 offset)
{
    const uint64_t odd = 0x9E3779B97F4A7C15u, other = 0xC2B2AE3D27D4EB4Fu;
    uint64_t lanes[4] = {1, 2, 3, (uint64_t)offset + 4};
    for (size_t i = 0; i + UFI_PAGE_RESERVED < UFI_PAGE_BYTES; i += 8) {
        uint64_t word, *lane = &lanes[i / 8 % 4];
        memcpy(&word, page + i, 8);
        *lane = (*lane ^ word) * odd;
        *lane = *lane << 31 | *lane >> 33;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < 4; i++) {
        sum = (sum ^ lanes[i]) * other;
        sum ^= sum >> 29;
    }
    return sum;
}

static bool page_is_empty(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, UFI_PAGE_BYTES - 1) == 0;
}

/* Pointer maps (of incremental vacuum) begin with the type of an entry, which looks like that of a
 * B-tree's page: they are told by their place. https://www.sqlite.org/fileformat2.html section 1.8
 */
static bool is_pointer_map(sqlite3_int64 page)
{
    const sqlite3_int64 span = (UFI_PAGE_BYTES - UFI_PAGE_RESERVED) / 5 + 1;
    const sqlite3_int64 lock_page = 0x40000000 / UFI_PAGE_BYTES + 1;
    if (page < 2)
        return false;
    sqlite3_int64 map = (page - 2) / span * span + 2;
    return page == map + (map == lock_page);
}

static size_t get16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static void clear_gap(uint8_t *page, sqlite3_int64 offset)
{
    const uint8_t *head = page + (offset == 0 ? 100 : 0); /* the file's header is on page 1 */
    bool leaf = head[0] == 10 || head[0] == 13, inner = head[0] == 2 || head[0] == 5;
    sqlite3_int64 number = offset / UFI_PAGE_BYTES + 1;
    if ((!leaf && !inner) || number >= BTREE_PAGES_MAX || is_pointer_map(number))
        return;
    size_t cells = get16(head + 3), content = get16(head + 5), end = UFI_PAGE_BYTES;
    size_t pointers = (size_t)(head - page) + (leaf ? 8 : 12), from = pointers + 2 * cells;
    bool sound = content >= from && content <= end - UFI_PAGE_RESERVED;
    /* Whatever else a page may be: what has no pointers to cells is left alone. */
    for (size_t at = pointers; sound && at < from; at += 2)
        sound = get16(page + at) >= content && get16(page + at) < end - UFI_PAGE_RESERVED;
    if (sound)
        memset(page + from, 0, content - from);
}

/* ---- one file ---- */

static int pages_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int pages_read(sqlite3_file *f, void *out, int size, sqlite3_int64 offset)
{
    int rc = real_of(f)->pMethods->xRead(real_of(f), out, size, offset);
    /* Smaller reads are of the file's header, which is read again with its page. */
    if ((rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) || size < 512)
        return rc;
    if (size != UFI_PAGE_BYTES || offset % UFI_PAGE_BYTES != 0)
        return SQLITE_IOERR_DATA;
    uint64_t stored;
    memcpy(&stored, (uint8_t *)out + UFI_PAGE_BYTES - UFI_PAGE_RESERVED, sizeof stored);
    /* A page that was never written (a free one that the file grew over) holds zeros. */
    return page_is_empty(out) || stored == page_checksum(out, offset) ? rc : SQLITE_IOERR_DATA;
}

static int pages_write(sqlite3_file *f, const void *data, int size, sqlite3_int64 offset)
{
    paged_file *p = (paged_file *)f;
    if (size != UFI_PAGE_BYTES || offset % UFI_PAGE_BYTES != 0)
        return SQLITE_IOERR_WRITE;
    memcpy(p->copy, data, UFI_PAGE_BYTES);
    clear_gap(p->copy, offset);
    uint64_t sum = page_checksum(p->copy, offset);
    memcpy(p->copy + UFI_PAGE_BYTES - UFI_PAGE_RESERVED, &sum, sizeof sum);
    return p->real->pMethods->xWrite(p->real, p->copy, size, offset);
}

static int pages_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int pages_sync(sqlite3_file *f, int flags)
{
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int pages_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int pages_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int pages_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int pages_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int pages_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int pages_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int pages_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int pages_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), region, size, extend, out);
}

static int pages_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void pages_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int pages_shm_unmap(sqlite3_file *f, int delete_it)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete_it);
}

/* Version 2: with shared memory for the log, without mapped pages, which nobody would check. */
static const sqlite3_io_methods pages_methods = {
    .iVersion = 2,
    .xClose = pages_close,
    .xRead = pages_read,
    .xWrite = pages_write,
    .xTruncate = pages_truncate,
    .xSync = pages_sync,
    .xFileSize = pages_size,
    .xLock = pages_lock,
    .xUnlock = pages_unlock,
    .xCheckReservedLock = pages_reserved,
    .xFileControl = pages_control,
    .xSectorSize = pages_sector,
    .xDeviceCharacteristics = pages_traits,
    .xShmMap = pages_shm_map,
    .xShmLock = pages_shm_lock,
    .xShmBarrier = pages_shm_barrier,
    .xShmUnmap = pages_shm_unmap,
};

/* ---- the file system ---- */

static int pages_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *got)
{
    if (!(flags & SQLITE_OPEN_MAIN_DB))
        return system_vfs->xOpen(system_vfs, name, f, flags, got);
    paged_file *p = (paged_file *)f;
    p->base.pMethods = NULL; /* SQLite closes what has methods, also when opening failed */
    p->real = (sqlite3_file *)(p + 1);
    int rc = system_vfs->xOpen(system_vfs, name, p->real, flags, got);
    if (rc == SQLITE_OK)
        p->base.pMethods = &pages_methods;
    else if (p->real->pMethods)
        p->real->pMethods->xClose(p->real);
    return rc;
}

static void pages_register(void)
{
    system_vfs = sqlite3_vfs_find(NULL);
    if (!system_vfs)
        return;
    /* All but opening is the system's, whose functions do not look at the table they come from
     * but for its pAppData. */
    pages_vfs = *system_vfs;
    pages_vfs.pNext = NULL;
    pages_vfs.zName = PAGES_NAME;
    pages_vfs.szOsFile = (int)sizeof(paged_file) + system_vfs->szOsFile;
    pages_vfs.xOpen = pages_open;
    if (sqlite3_vfs_register(&pages_vfs, 0) != SQLITE_OK)
        system_vfs = NULL;
}

const char *ufi_pages_vfs(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, pages_register);
    return system_vfs ? PAGES_NAME : NULL;
}

/* A library that is unloaded may not leave its functions in SQLite's list. */
__attribute__((destructor)) static void pages_unregister(void)
{
    if (system_vfs)
        sqlite3_vfs_unregister(&pages_vfs);
}

#endif
