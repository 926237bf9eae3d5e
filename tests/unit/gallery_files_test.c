/*
 * Files of a gallery that do not belong together, as crashes, back-ups that are put back and
 * cleaning up by hand leave them: what is acknowledged is there, or there is an error; nobody comes
 * back, and nothing of one gallery gets into another. (Damage byte by byte: faults_test.py.)
 */
#include "gallery_maker.h"

#include <sys/wait.h>

#include "bytes_maker.h"

enum { PAGE = 8192, FRAME = PAGE + 24, LOG_HEADER = 32 };

static const char *with_end(const char *path, const char *end)
{
    static char names[4][200];
    static unsigned at;
    char *name = names[at++ % 4];
    snprintf(name, sizeof names[0], "%s%s", path, end);
    return name;
}

static bytes read_bytes(const char *path)
{
    bytes b = {0};
    uint8_t block[4096];
    FILE *f = fopen(path, "rb");
    for (size_t n; f && (n = fread(block, 1, sizeof block, f)) > 0;)
        put_data(&b, block, n);
    if (f)
        fclose(f);
    return b;
}

static void write_bytes(const char *path, const bytes *b)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(b->data, 1, b->size, f) == b->size && fclose(f) == 0);
}

static void copy_file(const char *from, const char *to)
{
    bytes b = read_bytes(from);
    write_bytes(to, &b);
    bytes_free(&b);
}

/* People first to last, enrolled or only searched by a process that dies at its end: its log
 * stays. */
static void work_and_crash(const char *path, uint64_t first, uint64_t last, bool enroll)
{
    const pid_t child = fork();
    if (child == 0) {
        uf_gallery *g = NULL;
        uf_candidate best;
        size_t answers;
        bool wrong = maker_open(&g, path, UF_GALLERY_CREATE | UF_GALLERY_PLAIN, NULL) != UF_OK;
        for (uint64_t p = first; !wrong && p <= last; p++)
            wrong = enroll ? maker_enroll(g, NULL, p, 1, MODEL, NULL, NULL) != UF_OK
                           : maker_identify(g, NULL, p, 2, MODEL, &best, &answers, NULL) != UF_OK;
        _exit(wrong);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !status);
    unlink(with_end(path, "-shm"));
}

static void enroll_and_crash(const char *path, uint64_t first, uint64_t last)
{
    work_and_crash(path, first, last, true);
}

static const char *left_by_a_crash(uint64_t first, uint64_t last)
{
    const char *path = maker_path("g");
    enroll_and_crash(path, first, last);
    return path;
}

static int count_person(void *user, const uf_person_info *p)
{
    (void)p;
    ++*(size_t *)user;
    return 0;
}

/* The number of people, each of whom is found; -1: an error, whose status is in *st. */
static int people_in(const char *path, uint32_t flags, uf_status *st, uf_error *err)
{
    uf_gallery *g = NULL;
    uf_candidate best;
    size_t count = 0, found = 0, answers;
    *st = maker_open(&g, path, flags | UF_GALLERY_PLAIN, err);
    if (!*st)
        *st = uf_gallery_check(g, NULL, NULL, err);
    if (!*st)
        *st = uf_gallery_list(g, NULL, NULL, count_person, &count, err);
    for (uint64_t p = 1; !*st && count && p <= 40; p++) {
        char id[16];
        snprintf(id, sizeof id, "p%llu", (unsigned long long)p);
        *st = maker_identify(g, NULL, p, 2, MODEL, &best, &answers, err);
        found += !*st && answers && best.passes && strcmp(best.id, id) == 0;
    }
    CHECK_MSG(*st || found == count, "%zu of %zu are found", found, count);
    uf_gallery_close(g);
    return *st ? -1 : (int)count;
}

static void has(const char *path, int people)
{
    uf_error err = {0};
    uf_status st;
    const int n = people_in(path, 0, &st, &err);
    CHECK_MSG(n == people, "%d, not %d: %s", n, people, err.message);
}

static void refuse(const char *path, uint32_t flags, uf_status want, const char *part)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_status st = maker_open(&g, path, flags | UF_GALLERY_PLAIN, &err);
    CHECK_MSG(st == want && strstr(err.message, part) && !g, "%s: %s", uf_status_name(st),
              err.message);
    uf_gallery_close(g);
}

TEST(a_log_that_a_crash_left_is_merged)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 8);
    CHECK(access(with_end(path, "-wal"), F_OK) == 0);
    has(path, 8);
    CHECK(access(with_end(path, "-wal"), F_OK) != 0);
    has(path, 8);
}

/* A back-up, put where a crash left the log of the former gallery. */
TEST(a_log_of_another_gallery_is_refused)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 8), *backup = left_by_a_crash(20, 22);
    has(backup, 3); /* and is closed well */
    copy_file(backup, path);
    refuse(path, 0, UF_E_STATE, "is of another gallery");
    refuse(path, UF_GALLERY_CREATE, UF_E_STATE, "-wal");
    refuse(path, UF_GALLERY_READ_ONLY, UF_E_STATE, "is of another gallery");
    unlink(with_end(path, "-wal")); /* what the message says */
    has(path, 3);
}

/* The same where the log holds nothing but entries about searches. */
TEST(a_log_of_searches_of_another_gallery_is_refused)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 8), *backup = left_by_a_crash(20, 22);
    has(path, 8);
    has(backup, 3);
    work_and_crash(path, 1, 3, false);
    copy_file(path, with_end(path, ".own"));
    copy_file(backup, path);
    refuse(path, 0, UF_E_STATE, "is of another gallery");
    copy_file(with_end(path, ".own"), path);
    has(path, 8);
}

/* A byte copy has the number of its original, up to the next log. */
TEST(an_older_copy_of_the_same_gallery_is_refused)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 2), *ends[] = {".0", ".1"};
    for (uint64_t i = 0; i < 2; i++) {
        has(path, 2 + (int)i);
        copy_file(path, with_end(path, ends[i]));
        enroll_and_crash(path, 3 + i, 3 + i);
    }
    copy_file(with_end(path, ".0"), path);
    refuse(path, 0, UF_E_STATE, "of another state of this one");
    copy_file(with_end(path, ".1"), path); /* the state that the log began with */
    has(path, 4);
}

/* A log that was merged begins anew, with a number of its own, while the gallery is open. */
TEST(a_copy_of_before_the_log_began_anew_is_refused)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 2);
    has(path, 2);
    copy_file(path, with_end(path, ".0"));
    enroll_and_crash(path, 3, 40);
    work_and_crash(path, 1, 800, false);
    copy_file(path, with_end(path, ".1"));
    copy_file(with_end(path, ".0"), path);
    refuse(path, 0, UF_E_STATE, "of another state of this one");
    copy_file(with_end(path, ".1"), path);
    has(path, 40);
}

/* Who removes the file and leaves the log does not get the people back in the new gallery. */
TEST(a_log_without_its_gallery_is_refused)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 8);
    unlink(path);
    refuse(path, 0, UF_E_NOT_FOUND, "no such gallery");
    refuse(path, UF_GALLERY_CREATE, UF_E_STATE, "its gallery is not");
    unlink(with_end(path, "-wal"));
    uf_error err = {0};
    uf_status st;
    CHECK(people_in(path, UF_GALLERY_CREATE, &st, &err) == 0);
}

/* Without the log, the state that the file itself has: older, and whole. */
TEST(a_gallery_without_its_log_is_whole)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 8);
    has(path, 8);
    enroll_and_crash(path, 9, 12);
    unlink(with_end(path, "-wal"));
    has(path, 8);
}

/* What follows a frame that is not the next one does not count, however good it is. */
static void check_frames(void (*change)(bytes *log, size_t frames), int least, int most)
{
    const char *path = left_by_a_crash(1, 8);
    uf_error err = {0};
    uf_status st;
    bytes log = read_bytes(with_end(path, "-wal"));
    CHECK((log.size - LOG_HEADER) % FRAME == 0);
    change(&log, (log.size - LOG_HEADER) / FRAME);
    write_bytes(with_end(path, "-wal"), &log);
    const int n = people_in(path, 0, &st, &err);
    CHECK_MSG(n >= least && n <= most, "%d people: %s", n, err.message);
    bytes_free(&log);
}

static uint8_t *frame_of(const bytes *log, size_t i)
{
    return log->data + LOG_HEADER + i * FRAME;
}

static void repeat_all(bytes *log, size_t frames)
{
    bytes copy = {0};
    put_data(&copy, frame_of(log, 0), frames * FRAME);
    put_data(log, copy.data, copy.size);
    bytes_free(&copy);
}

static void swap_two(bytes *log, size_t frames)
{
    uint8_t *a = frame_of(log, frames / 2), held[FRAME];
    memcpy(held, a, FRAME);
    memcpy(a, a + FRAME, FRAME);
    memcpy(a + FRAME, held, FRAME);
}

static void leave_one_out(bytes *log, size_t frames)
{
    uint8_t *a = frame_of(log, frames / 2);
    memmove(a, a + FRAME, (frames - frames / 2 - 1) * FRAME);
    log->size -= FRAME;
}

static void spoil_one(bytes *log, size_t frames)
{
    memset(frame_of(log, frames / 2), 0x5A, FRAME);
}

static void spoil_salts(bytes *log, size_t frames)
{
    (void)frames;
    log->data[20] ^= 1;
}

static void add_garbage(bytes *log, size_t frames)
{
    (void)frames;
    put_fill(log, 0x5A, 3 * FRAME / 2);
}

TEST(frames_that_come_twice_change_nothing)
{
    NEED_GALLERY;
    check_frames(repeat_all, 8, 8);
}

TEST(frames_out_of_order_end_the_log)
{
    NEED_GALLERY;
    check_frames(swap_two, 1, 7);
}

TEST(a_frame_that_is_missing_ends_the_log)
{
    NEED_GALLERY;
    check_frames(leave_one_out, 1, 7);
}

TEST(a_spoiled_frame_ends_the_log)
{
    NEED_GALLERY;
    check_frames(spoil_one, 1, 7);
}

/* All of it counts as not written: there are not even tables. */
TEST(a_spoiled_header_ends_the_log)
{
    NEED_GALLERY;
    check_frames(spoil_salts, -1, -1);
}

TEST(garbage_behind_a_log_changes_nothing)
{
    NEED_GALLERY;
    check_frames(add_garbage, 8, 8);
}

TEST(files_that_were_left_over_are_no_harm)
{
    NEED_GALLERY;
    static const char *const names[] = {"-journal",
                                        "-shm",
                                        ".new-12345678",
                                        ".new-12345678-wal",
                                        "-index/default-model-a.ufx",
                                        "-index/x.ufx.Ab3dE6"};
    const char *path = left_by_a_crash(1, 8);
    bytes garbage = {0};
    put_fill(&garbage, 0x5A, 32768);
    REQUIRE(mkdir(with_end(path, "-index"), 0700) == 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_bytes(with_end(path, names[i]), &garbage);
    has(path, 8);
    bytes_free(&garbage);
}

/* Every field of the database's header, at its extremes. */
TEST(fields_of_the_header_at_their_extremes)
{
    NEED_GALLERY;
    static const uint8_t values[] = {0, 1, 0x7F, 0x80, 0xFF};
    const char *path = left_by_a_crash(1, 3);
    has(path, 3);
    bytes b = read_bytes(path);
    for (size_t at = 0; at < 100; at += at < 24 ? 1 : 4)
        for (size_t i = 0; i < sizeof values; i++) {
            const size_t n = at < 24 ? 1 : 4;
            uint8_t held[4];
            uf_error err = {0};
            uf_status st;
            memcpy(held, b.data + at, n);
            memset(b.data + at, values[i], n);
            const bool same = memcmp(held, b.data + at, n) == 0;
            write_bytes(path, &b);
            const int people = people_in(path, 0, &st, &err);
            CHECK_MSG(same ? people == 3 : people == 3 || st == UF_E_FORMAT || st == UF_E_IO,
                      "byte %zu, %02x: %d people, %s", at, values[i], people, err.message);
            memcpy(b.data + at, held, n);
            unlink(with_end(path, "-wal"));
            unlink(with_end(path, "-shm"));
        }
    write_bytes(path, &b);
    has(path, 3);
    bytes_free(&b);
}

TEST(two_galleries_in_one_file)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 3), *other = left_by_a_crash(10, 12);
    uf_error err = {0};
    uf_status st;
    has(path, 3);
    has(other, 3);
    bytes b = read_bytes(path), more = read_bytes(other);
    put_data(&b, more.data, more.size);
    write_bytes(path, &b);
    const int n = people_in(path, 0, &st, &err);
    CHECK_MSG(n == 3 || st == UF_E_FORMAT, "%d people: %s", n, err.message);
    bytes_free(&b);
    bytes_free(&more);
}

/* A page as it was some time ago, as after a write that the disk lost: right answers or an error.
 */
TEST(pages_of_an_earlier_time)
{
    NEED_GALLERY;
    const char *path = left_by_a_crash(1, 20);
    uf_error err = {0};
    uf_status st;
    uf_gallery *g = NULL;
    has(path, 20);
    bytes before = read_bytes(path);
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_PLAIN, &err), err);
    for (uint64_t p = 1; p <= 10; p++) {
        char id[16];
        snprintf(id, sizeof id, "p%llu", (unsigned long long)p);
        REQUIRE_OK(uf_gallery_delete(g, NULL, id, NULL, &err), err);
    }
    uf_gallery_close(g);
    has(path, 10);
    bytes after = read_bytes(path);
    int errors = 0, changed = 0;
    for (size_t at = 0; at + PAGE <= after.size && at + PAGE <= before.size; at += PAGE) {
        uint8_t held[PAGE];
        if (memcmp(after.data + at, before.data + at, PAGE) == 0)
            continue;
        memcpy(held, after.data + at, PAGE);
        memcpy(after.data + at, before.data + at, PAGE);
        write_bytes(path, &after);
        const int n = people_in(path, 0, &st, &err);
        CHECK_MSG(n == 10 || n == -1, "page %zu: %d people", at / PAGE, n);
        errors += n < 0;
        changed++;
        memcpy(after.data + at, held, PAGE);
        unlink(with_end(path, "-wal"));
        unlink(with_end(path, "-shm"));
    }
    CHECK_MSG(changed > 5 && errors > 2, "%d pages, %d errors", changed, errors);
    bytes_free(&before);
    bytes_free(&after);
}

TEST_MAIN
