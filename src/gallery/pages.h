/*
 * A layer between SQLite and the file system that gives every page of a database a checksum, and
 * leaves nothing of moved records in the gaps of pages. Floor 6. Thread: any.
 */
#ifndef UFI_GALLERY_PAGES_H
#define UFI_GALLERY_PAGES_H

#ifdef UFI_WITH_SQLITE

#include <sqlite3.h>

enum { UFI_PAGE_BYTES = 8192, UFI_PAGE_RESERVED = 8 };

/* The name to open databases with (the last argument of sqlite3_open_v2); NULL: no memory, or the
 * system has no file system that SQLite knows. A page whose checksum is wrong is read as
 * SQLITE_IOERR_DATA. */
const char *ufi_pages_vfs(void);

#endif

#endif
