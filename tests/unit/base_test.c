/* Floor 1: status, memory, arena, reader, hash, processor. */
#include "base/arena.h"
#include "base/cpu.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/status.h"
#include "test.h"

TEST(status_says_what_and_where)
{
    uf_error err = {0};
    CHECK(ufi_fail(&err, UF_E_FORMAT, "dims %d > %d", 9, 8) == UF_E_FORMAT);
    CHECK(err.status == UF_E_FORMAT && strcmp(err.message, "dims 9 > 8") == 0);
    CHECK(ufi_wrap(&err, UF_E_FORMAT, "%s", "a.onnx") == UF_E_FORMAT);
    CHECK(strcmp(err.message, "a.onnx: dims 9 > 8") == 0);
    CHECK(ufi_wrap(&err, UF_OK, "b") == UF_OK && strcmp(err.message, "a.onnx: dims 9 > 8") == 0);
    CHECK(ufi_fail(NULL, UF_E_IO, "nobody listens") == UF_E_IO);
    CHECK(strcmp(uf_status_name(UF_E_DEVICE_NOT_FOUND), "UF_E_DEVICE_NOT_FOUND") == 0);
    CHECK(uf_status_name((uf_status)999) && uf_status_text((uf_status)999));
    CHECK(strcmp(uf_version(), "0.1.0") == 0);
}

TEST(status_message_longer_than_its_room_is_cut)
{
    uf_error err = {0};
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ufi_fail(&err, UF_E_ARG, "%s", text);
    CHECK(strlen(err.message) == sizeof err.message - 1);
    ufi_wrap(&err, UF_E_ARG, "%s", "prefix");
    CHECK(strncmp(err.message, "prefix: xxx", 11) == 0);
}

TEST(memory_checks_overflow_counts_and_fails_on_demand)
{
    size_t n;
    CHECK(!ufi_mul_ok(SIZE_MAX, 2, &n) && ufi_mul_ok(6, 7, &n) && n == 42);
    CHECK(!ufi_add_ok(SIZE_MAX, 1, &n) && ufi_add_ok(6, 7, &n) && n == 13);
    CHECK(!ufi_malloc(SIZE_MAX, 2) && !ufi_calloc(SIZE_MAX / 2, 3));
    uint64_t before = ufi_mem_allocation_count();
    float *p = ufi_aligned_calloc(100);
    REQUIRE(p);
    CHECK(((uintptr_t)p & 63) == 0 && p[0] == 0 && p[24] == 0);
    CHECK(ufi_mem_allocation_count() == before + 1);
    ufi_free(p);
    ufi_mem_fail_after(2, false);
    void *a = ufi_malloc(1, 1), *b = ufi_malloc(1, 1), *c = ufi_malloc(1, 1);
    ufi_mem_fail_after(0, false);
    CHECK(a && !b && c);
    ufi_free(a);
    ufi_free(c);
    char secret[8] = "secret";
    ufi_wipe(secret, sizeof secret);
    CHECK(secret[0] == 0 && secret[5] == 0);
}

TEST(arena_zeroes_aligns_and_keeps_its_limit)
{
    ufi_arena a;
    ufi_arena_init(&a, 1u << 20);
    for (size_t i = 1; i < 3000; i += 7) {
        uint8_t *p = ufi_arena_alloc(&a, i, 1);
        REQUIRE(p);
        CHECK(((uintptr_t)p & 15) == 0 && p[0] == 0 && p[i - 1] == 0);
        memset(p, 0xFF, i);
    }
    CHECK(!ufi_arena_alloc(&a, 1u << 20, 1));
    CHECK(!ufi_arena_alloc(&a, SIZE_MAX, 2));
    CHECK(strcmp(ufi_arena_strndup(&a, "abcdef", 3), "abc") == 0);
    ufi_arena_free(&a);
    ufi_arena_free(&(ufi_arena){0});
}

TEST(reader_stays_failed_after_the_first_short_read)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 0xAC, 0x02};
    ufi_reader r;
    ufi_reader_init(&r, bytes, sizeof bytes);
    CHECK(ufi_read_u8(&r) == 1 && ufi_read_u32(&r) == 0x05040302u);
    CHECK(ufi_read_varint(&r) == 300 && ufi_reader_left(&r) == 0 && !r.failed);
    CHECK(ufi_read_u8(&r) == 0 && r.failed);
    CHECK(ufi_read_bytes(&r, 0) == NULL || r.failed);
    const uint8_t endless[12] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    ufi_reader_init(&r, endless, sizeof endless);
    ufi_read_varint(&r);
    CHECK(r.failed);
    ufi_reader_init(&r, bytes, sizeof bytes);
    ufi_reader sub = ufi_reader_sub(&r, 3);
    CHECK(ufi_reader_left(&sub) == 3 && ufi_reader_left(&r) == 4);
    CHECK(!ufi_reader_skip(&sub, 4) && sub.failed && !r.failed);
    CHECK(!ufi_reader_seek(&r, 8) && r.failed);
}

TEST(sha256_gives_the_standard_answers)
{
    uint8_t digest[UFI_SHA256_BYTES];
    char hex[65];
    ufi_sha256_of("abc", 3, digest);
    ufi_hex(digest, sizeof digest, hex);
    CHECK(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
    ufi_sha256_of("", 0, digest);
    ufi_hex(digest, sizeof digest, hex);
    CHECK(strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0);
    /* A million times 'a', in pieces of uneven size (FIPS 180-4 example). */
    ufi_sha256 h;
    char piece[1000];
    memset(piece, 'a', sizeof piece);
    ufi_sha256_init(&h);
    for (size_t left = 1000000, n = 1; left; left -= n, n = n % 997 + 1) {
        n = n < left ? n : left;
        ufi_sha256_update(&h, piece, n);
    }
    ufi_sha256_final(&h, digest);
    ufi_hex(digest, sizeof digest, hex);
    CHECK(strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0);
}

TEST(processor_describes_itself)
{
    char text[256];
    ufi_cpu_flags_text(ufi_cpu_flags(), text, sizeof text);
    CHECK(ufi_cpu_count() >= 1 && ufi_cpu_name() && ufi_cpu_arch()[0]);
    CHECK(ufi_cpu_cache_bytes(1) >= 4096 && ufi_cpu_cache_bytes(2) >= ufi_cpu_cache_bytes(1));
    if (ufi_cpu_flags() & UFI_CPU_AVX512)
        CHECK(ufi_cpu_flags() & UFI_CPU_AVX2);
    ufi_cpu_flags_text(UFI_CPU_AVX2 | UFI_CPU_AVX512, text, sizeof text);
    CHECK(strcmp(text, "avx2 avx512") == 0);
}

TEST_MAIN
