/* Datasets: folders, tar archives and lists; what is wrong with them is said. */
#include "test.h"

#include "train/data.h"
#include "train/list.h"
#include "train/tar.h"
#include "train_maker.h"

static uf_status open_one(ufi_dataset **d, const char *path, uf_error *err)
{
    return ufi_dataset_open(d, &path, 1, err);
}

static void check_sample(const ufi_dataset *d, size_t i, const char *name, int32_t label)
{
    const ufi_sample *s = ufi_dataset_sample(d, i);
    CHECK_MSG(strcmp(s->name, name) == 0, "sample %zu is %s, not %s", i, s->name, name);
    CHECK_MSG(s->label == label, "%s has label %d, not %d", name, (int)s->label, (int)label);
}

TEST(folders_are_persons)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    scratch_open();
    mkdir(in_scratch("f"), 0700);
    mkdir(in_scratch("f/bob"), 0700);
    mkdir(in_scratch("f/ann"), 0700);
    mkdir(in_scratch("f/ann/old"), 0700);
    save_face(in_scratch("f/bob/2.png"), 20, 24, 1);
    save_face(in_scratch("f/bob/10.png"), 20, 20, 2);
    save_face(in_scratch("f/ann/x.PNG"), 20, 20, 3);
    save_face(in_scratch("f/ann/old/a.png"), 20, 20, 4);
    save_face(in_scratch("f/zoe.png"), 20, 20, 5);
    write_text(in_scratch("f/ann/notes.txt"), "no picture");
    write_text(in_scratch("f/ann/._x.png"), "no picture");
    REQUIRE_OK(open_one(&d, in_scratch("f"), &err), err);
    CHECK(ufi_dataset_count(d) == 5);
    CHECK(ufi_dataset_labels(d) == 3);
    check_sample(d, 0, "ann/old/a.png", 1);
    check_sample(d, 1, "ann/x.PNG", 0);
    check_sample(d, 2, "bob/10.png", 2);
    check_sample(d, 3, "bob/2.png", 2);
    check_sample(d, 4, "zoe.png", -1);
    uf_picture *p = NULL;
    REQUIRE_OK(ufi_dataset_read(d, 3, &p, &err), err);
    const uf_image view = uf_picture_view(p);
    CHECK(view.width == 20 && view.height == 24);
    CHECK(view.planes[0][3 * 7 + 1] == drawn_byte(1, 7, 0, 1));
    uf_picture_destroy(p);
    ufi_dataset_close(d);
    scratch_close();
}

/* Two sources: order as named, persons are never shared. */
TEST(sources_keep_their_order)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    scratch_open();
    for (int i = 0; i < 2; i++) {
        mkdir(in_scratch("%c", "ba"[i]), 0700);
        mkdir(in_scratch("%c/one", "ba"[i]), 0700);
        save_face(in_scratch("%c/one/%d.png", "ba"[i], 5 - i), 16, 16, i);
    }
    const char *const both[] = {in_scratch("b"), in_scratch("a")};
    REQUIRE_OK(ufi_dataset_open(&d, both, 2, &err), err);
    check_sample(d, 0, "one/5.png", 0);
    check_sample(d, 1, "one/4.png", 1);
    CHECK(ufi_dataset_labels(d) == 2);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(archives_are_read)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    bytes b = {0}, list = {0};
    uf_point points[UF_LANDMARKS];
    char long_name[300], pax_name[400];
    scratch_open();
    memset(long_name, 'n', sizeof long_name);
    memcpy(long_name, "bob/", 4);
    memcpy(long_name + sizeof long_name - 5, ".png", 5);
    memset(pax_name, 'p', sizeof pax_name);
    memcpy(pax_name, "ann/", 4);
    memcpy(pax_name + sizeof pax_name - 5, ".png", 5);
    tar_entry(&b, "./", '5', NULL, 0);
    tar_face(&b, "./cy.png", 32, 1);
    tar_face(&b, long_name, 32, 2);
    tar_pax_entry(&b, pax_name, "broken", 6);
    tar_entry(&b, "link.png", '2', NULL, 0);
    tar_entry(&b, "readme.txt", '0', "text", 4);
    face_points(points, 32);
    put_row(&list, "cy.png", points);
    tar_entry(&b, "landmarks.tsv", '0', list.data, list.size);
    bytes_free(&list);
    tar_save(&b, in_scratch("x.tar"));
    REQUIRE_OK(open_one(&d, in_scratch("x.tar"), &err), err);
    REQUIRE(ufi_dataset_count(d) == 3);
    check_sample(d, 0, pax_name, 0);
    check_sample(d, 1, long_name, 1);
    check_sample(d, 2, "cy.png", -1);
    CHECK(ufi_dataset_sample(d, 2)->has_points && !ufi_dataset_sample(d, 1)->has_points);
    CHECK(fabsf(ufi_dataset_sample(d, 2)->points[4].y - points[4].y) < 0.001f);
    uf_picture *p = NULL;
    REQUIRE_OK(ufi_dataset_read(d, 1, &p, &err), err);
    CHECK(uf_picture_view(p).planes[0][3 * 5] == drawn_byte(2, 5, 0, 0));
    uf_picture_destroy(p);
    CHECK(ufi_dataset_read(d, 0, &p, &err) == UF_E_FORMAT && !p);
    CHECK(strstr(err.message, "x.tar: ann/ppp"));
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- archives that are wrong ---- */

static uf_status open_bytes(bytes *b, uf_error *err)
{
    ufi_dataset *d = NULL;
    write_bytes(in_scratch("bad.tar"), b->data, b->size);
    const uf_status st = open_one(&d, in_scratch("bad.tar"), err);
    ufi_dataset_close(d);
    bytes_free(b);
    return st;
}

static void check_bad(bytes *b, uf_status want, const char *words)
{
    uf_error err = {0};
    const uf_status st = open_bytes(b, &err);
    CHECK_MSG(st == want && strstr(err.message, words) && strstr(err.message, "bad.tar"),
              "status %d, \"%s\", wanted \"%s\"", (int)st, err.message, words);
}

TEST(bad_archives_are_refused)
{
    bytes b = {0};
    scratch_open();
    tar_entry(&b, "../x.png", '0', "x", 1);
    check_bad(&b, UF_E_FORMAT, "leads out of the archive");
    tar_entry(&b, "a/..", '0', "x", 1);
    check_bad(&b, UF_E_FORMAT, "leads out of the archive");
    tar_entry(&b, "/etc/x.png", '0', "x", 1);
    check_bad(&b, UF_E_FORMAT, "not a file");
    tar_header(&b, "x.png", 4096, '0');
    put_fill(&b, 1, 1000);
    check_bad(&b, UF_E_FORMAT, "cut short");
    tar_header(&b, "x.png", 0, '0');
    memset(b.data + 124, 0xFF, 12); /* 2^95 bytes */
    tar_seal(b.data);
    check_bad(&b, UF_E_FORMAT, "no size");
    tar_header(&b, "x.png", 0, '0');
    memcpy(b.data + 124, "\x80\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12);
    tar_seal(b.data);
    check_bad(&b, UF_E_FORMAT, "cut short");
    tar_entry(&b, "x.png", '0', "x", 1);
    b.data[3] ^= 1;
    check_bad(&b, UF_E_FORMAT, "checksum");
    tar_entry(&b, "x.png", 'S', "x", 1);
    check_bad(&b, UF_E_UNSUPPORTED, "sparse");
    tar_entry(&b, "pax", 'x', "99 path=x\n", 10);
    check_bad(&b, UF_E_FORMAT, "no record");
    tar_entry(&b, "pax", 'x', "12 novalue!\n", 12);
    check_bad(&b, UF_E_FORMAT, "without \"=\"");
    tar_entry(&b, "pax", 'x', "28 size=99999999999999999999\n", 29);
    b.data[TAR_BLOCK + 1] = '9';
    check_bad(&b, UF_E_FORMAT, "size \"999");
    tar_entry(&b, "landmarks.tsv", '0', "a\t1\t2\n", 6);
    check_bad(&b, UF_E_FORMAT, "line 1 has 3 columns");
    tar_entry(&b, "x.txt", '0', "x", 1);
    check_bad(&b, UF_E_FORMAT, "no picture");
    scratch_close();
}

typedef struct memory {
    const uint8_t *data;
    size_t size;
} memory;

static uf_status read_memory(const void *source, size_t offset, void *to, size_t size,
                             uf_error *err)
{
    const memory *m = source;
    if (offset > m->size || size > m->size - offset)
        return ufi_fail(err, UF_E_ARG, "read past the end");
    memcpy(to, m->data + offset, size);
    return UF_OK;
}

static uf_status count_entry(void *arg, const ufi_tar_entry *e, uf_error *err)
{
    ++*(size_t *)arg;
    return UF_OK;
}

/* An archive that ends too early is an error, but between two entries. */
TEST(every_cut_of_an_archive_is_told)
{
    bytes b = {0};
    char long_name[200];
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    tar_entry(&b, "a.png", '0', "abc", 3);
    const size_t first = b.size;
    tar_entry(&b, long_name, '0', "0123456789", 10);
    const size_t second = b.size;
    put_fill(&b, 0, (size_t)2 * TAR_BLOCK);
    for (size_t cut = 0; cut <= b.size; cut++) {
        const memory m = {b.data, cut};
        uf_error err = {0};
        size_t count = 0;
        const uf_status st = ufi_tar_walk(read_memory, &m, cut, count_entry, &count, &err);
        /* Padding behind the last bytes may be missing; the long name's entry alone is nothing. */
        const bool whole =
            cut == 0 || (cut >= TAR_BLOCK + 3 && cut <= first) ||
            (cut >= first + TAR_BLOCK + sizeof long_name && cut <= first + (size_t)2 * TAR_BLOCK) ||
            (cut >= second - TAR_BLOCK + 10 && cut <= second) || cut >= second + TAR_BLOCK;
        CHECK_MSG(whole ? st == UF_OK : st == UF_E_FORMAT, "cut at %zu: status %d, %s", cut,
                  (int)st, err.message);
        if (st)
            CHECK(strstr(err.message, "cut short"));
    }
    bytes_free(&b);
}

/* ---- lists ---- */

TEST(lists_name_files_and_labels)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    scratch_open();
    mkdir(in_scratch("p"), 0700);
    save_face(in_scratch("p/a.png"), 16, 16, 1);
    write_text(in_scratch("l.txt"), "p/b.png\tzoe\r\n\np/a.png\tann\np/c.png\tzoe\np/d.png");
    REQUIRE_OK(open_one(&d, in_scratch("l.txt"), &err), err);
    REQUIRE(ufi_dataset_count(d) == 4);
    check_sample(d, 0, "p/a.png", 0);
    check_sample(d, 1, "p/b.png", 1);
    check_sample(d, 2, "p/c.png", 1);
    check_sample(d, 3, "p/d.png", -1);
    uf_picture *p = NULL;
    CHECK_OK(ufi_dataset_read(d, 0, &p, &err), err);
    uf_picture_destroy(p);
    CHECK(ufi_dataset_read(d, 1, &p, &err) == UF_E_IO && strstr(err.message, "p/b.png"));
    ufi_dataset_close(d);
    scratch_close();
}

static void check_bad_list(const char *text, const char *words)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    write_text(in_scratch("l.tsv"), text);
    const uf_status st = open_one(&d, in_scratch("l.tsv"), &err);
    CHECK_MSG(st == UF_E_FORMAT && strstr(err.message, words) && strstr(err.message, "l.tsv: "),
              "status %d, \"%s\", wanted \"%s\"", (int)st, err.message, words);
    ufi_dataset_close(d);
}

TEST(bad_lists_are_refused)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    scratch_open();
    check_bad_list("", "no picture");
    check_bad_list("a.png\tx\nb.png\tx\ty\n", "line 2 has 3 columns");
    check_bad_list("\tx\n", "line 1: the first column is no path");
    check_bad_list("a.png\nb.png\na.png\n", "lines 1 and 3 both name a.png");
    check_bad_list("name\tscore\tx0\na.png\t1\t1\t2\t3\t4\t5\t6\t7\t8\t9\tx\n",
                   "line 2: column 12, \"x\", is no number");
    check_bad_list("a.png\t1\t1\t2\t3\t4\t5\tnan\t7\t8\t9\t10\n", "column 8");
    check_bad_list("a.png\t1\t1\t2\t3\t4\t5\t1e30\t7\t8\t9\t10\n", "column 8");
    CHECK(open_one(&d, in_scratch("none"), &err) == UF_E_IO && strstr(err.message, "none"));
    write_text(in_scratch("x.zip"), "x");
    CHECK(open_one(&d, in_scratch("x.zip"), &err) == UF_E_ARG);
    CHECK(ufi_dataset_open(&d, NULL, 0, &err) == UF_E_ARG && !d);
    scratch_close();
}

/* ---- one list for several archives ---- */

static void make_series(void)
{
    bytes list = {0};
    uf_point points[UF_LANDMARKS];
    face_points(points, 24);
    for (int i = 0; i < 2; i++) {
        bytes b = {0};
        char name[16];
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%d.png", i * 2 + k);
            tar_face(&b, name, 24, i * 2 + k);
            points[0].x += 1;
            put_row(&list, name, points);
        }
        tar_save(&b, in_scratch("s_%d.tar", i));
    }
    bytes other = {0};
    tar_face(&other, "0.png", 24, 9);
    tar_save(&other, in_scratch("s_x.tar"));
    tar_face(&other, "0.png", 24, 9);
    tar_save(&other, in_scratch("more_s_0.tar"));
    write_bytes(in_scratch("s_landmarks.tsv"), list.data, list.size);
    bytes_free(&list);
}

static void check_series(const char *const *sources, size_t count)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    REQUIRE_OK(ufi_dataset_open(&d, sources, count, &err), err);
    CHECK(ufi_dataset_count(d) == 4);
    for (size_t i = 0; i < ufi_dataset_count(d); i++) {
        char name[32];
        uf_picture *p = NULL;
        snprintf(name, sizeof name, "%zu.png", i);
        check_sample(d, i, name, -1);
        CHECK(ufi_dataset_sample(d, i)->has_points);
        REQUIRE_OK(ufi_dataset_read(d, i, &p, &err), err);
        CHECK(uf_picture_view(p).planes[0][3] == drawn_byte((int)i, 1, 0, 0));
        uf_picture_destroy(p);
    }
    ufi_dataset_close(d);
}

TEST(lists_and_archives_find_each_other)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    scratch_open();
    make_series();
    char list[96], first[96], second[96];
    snprintf(list, sizeof list, "%s/s_landmarks.tsv", scratch);
    snprintf(first, sizeof first, "%s/s_0.tar", scratch);
    snprintf(second, sizeof second, "%s//s_1.tar", scratch);
    check_series((const char *const[]){list}, 1);
    check_series((const char *const[]){first, second}, 2);
    check_series((const char *const[]){first, second, list}, 3);
    check_series((const char *const[]){list, first, second, first}, 4);
    REQUIRE_OK(open_one(&d, in_scratch("more_s_0.tar"), &err), err);
    CHECK(!ufi_dataset_sample(d, 0)->has_points);
    ufi_dataset_close(d);
    d = NULL;
    unlink(second);
    CHECK(open_one(&d, list, &err) == UF_E_FORMAT && strstr(err.message, "2 are in none"));
    scratch_close();
}

/* ---- the digest ---- */

static void digest_of(const char *path, char out[65])
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    out[0] = 0;
    CHECK_OK(open_one(&d, path, &err), err);
    if (d)
        CHECK_OK(ufi_dataset_digest(d, out, &err), err);
    ufi_dataset_close(d);
}

TEST(digest_sees_every_change)
{
    char digests[5][65];
    scratch_open();
    save_face(in_scratch("a.png"), 16, 16, 1);
    save_face(in_scratch("b.png"), 16, 16, 2);
    write_text(in_scratch("l.tsv"), "a.png\tx\nb.png\ty\n");
    digest_of(in_scratch("l.tsv"), digests[0]);
    write_text(in_scratch("m.tsv"), "b.png\ty\na.png\tx\n"); /* only the list's order */
    digest_of(in_scratch("m.tsv"), digests[1]);
    write_text(in_scratch("l.tsv"), "a.png\tx\nb.png\tx\n");
    digest_of(in_scratch("l.tsv"), digests[2]);
    write_text(in_scratch("l.tsv"), "a.png\t1\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\nb.png\ty\n");
    digest_of(in_scratch("l.tsv"), digests[3]);
    save_face(in_scratch("b.png"), 16, 16, 3);
    digest_of(in_scratch("l.tsv"), digests[4]);
    CHECK(strlen(digests[0]) == 64 && strcmp(digests[0], digests[1]) == 0);
    for (int i = 1; i < 5; i++)
        for (int k = i + 1; k < 5; k++)
            CHECK_MSG(strcmp(digests[i], digests[k]) != 0, "%d and %d are equal", i, k);
    scratch_close();
}

TEST_MAIN
