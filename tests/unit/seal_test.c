/* Secrets: what was sealed opens, and only with the same key, bound data and bytes. */
#include "base/seal.h"

#include "base/mem.h"
#include "test.h"

static bool can_seal(void)
{
    return ufi_seal_ready(NULL) == UF_OK;
}

TEST(drawn_random_bytes_are_given_once)
{
    uf_error err = {0};
    ufi_random_pool pool = {0};
    uint8_t drawn[100][40], large[2 * sizeof pool.bytes] = {0};
    for (size_t i = 0; i < 100; i++)
        REQUIRE_OK(ufi_random_draw(&pool, drawn[i], sizeof drawn[i], &err), err);
    for (size_t i = 0; i < 100; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(memcmp(drawn[i], drawn[k], sizeof drawn[i]) != 0);
    for (size_t i = 0; i < sizeof pool.bytes - pool.left; i++)
        CHECK(pool.bytes[i] == 0);
    REQUIRE_OK(ufi_random_draw(&pool, large, sizeof large, &err), err);
    CHECK(memcmp(large, large + sizeof pool.bytes, sizeof pool.bytes) != 0);
}

TEST(sealed_bytes_open_with_the_same_key_and_bound_data)
{
    uf_error err = {0};
    uint8_t key[UFI_SECRET_BYTES], sealed[300 + UFI_SEAL_EXTRA], plain[300], back[300];
    if (!can_seal())
        SKIP("built without libsodium");
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 7);
    REQUIRE_OK(ufi_random(key, sizeof key, &err), err);
    const size_t sizes[] = {0, 1, 63, 64, 300};
    for (size_t i = 0; i < 5; i++) {
        size_t n = sizes[i], m = n + UFI_SEAL_EXTRA;
        REQUIRE_OK(ufi_seal(sealed, plain, n, "bound", 5, key, &err), err);
        CHECK(n < 16 || memcmp(sealed + UFI_SEAL_NONCE_BYTES, plain, n) != 0);
        REQUIRE_OK(ufi_unseal(back, sealed, m, "bound", 5, key, &err), err);
        CHECK(memcmp(back, plain, n) == 0);
        CHECK(ufi_unseal(back, sealed, m, "bouNd", 5, key, &err) == UF_E_MISMATCH);
        CHECK(ufi_unseal(back, sealed, m, "bound", 4, key, &err) == UF_E_MISMATCH);
        CHECK(ufi_unseal(back, sealed, m - 1, "bound", 5, key, &err) == UF_E_MISMATCH);
        key[31] ^= 1;
        CHECK(ufi_unseal(back, sealed, m, "bound", 5, key, &err) == UF_E_MISMATCH);
        key[31] ^= 1;
    }
}

TEST(every_flipped_bit_is_noticed_and_nothing_is_given)
{
    uf_error err = {0};
    uint8_t key[UFI_SECRET_BYTES] = {1}, sealed[40 + UFI_SEAL_EXTRA], plain[40], back[40];
    const uint8_t zeros[40] = {0};
    if (!can_seal())
        SKIP("built without libsodium");
    memset(plain, 0xA5, sizeof plain);
    REQUIRE_OK(ufi_seal(sealed, plain, sizeof plain, NULL, 0, key, &err), err);
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memset(back, 1, sizeof back);
        CHECK(ufi_unseal(back, sealed, sizeof sealed, NULL, 0, key, &err) == UF_E_MISMATCH);
        CHECK(memcmp(back, zeros, sizeof back) == 0);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK_OK(ufi_unseal(back, sealed, sizeof sealed, NULL, 0, key, &err), err);
}

/* A tag over bound data alone. */
TEST(no_bytes_are_sealed_too)
{
    uf_error err = {0};
    uint8_t key[UFI_SECRET_BYTES] = {3}, nonce[UFI_SEAL_NONCE_BYTES], tag[UFI_SEAL_TAG_BYTES];
    if (!can_seal())
        SKIP("built without libsodium");
    REQUIRE_OK(ufi_seal_apart(NULL, 0, nonce, tag, "head", 4, key, &err), err);
    CHECK_OK(ufi_unseal_apart(NULL, NULL, 0, nonce, tag, "head", 4, key, &err), err);
    CHECK(ufi_unseal_apart(NULL, NULL, 0, nonce, tag, "hear", 4, key, &err) == UF_E_MISMATCH);
}

TEST(two_seals_of_the_same_differ)
{
    uf_error err = {0};
    uint8_t key[UFI_SECRET_BYTES] = {2}, a[UFI_SEAL_EXTRA + 8], b[UFI_SEAL_EXTRA + 8];
    if (!can_seal())
        SKIP("built without libsodium");
    REQUIRE_OK(ufi_seal(a, "12345678", 8, NULL, 0, key, &err), err);
    REQUIRE_OK(ufi_seal(b, "12345678", 8, NULL, 0, key, &err), err);
    CHECK(memcmp(a, b, 24) != 0 && memcmp(a + 24, b + 24, 8) != 0);
}

/* RFC 9106 has no vector with these parameters; libsodium's own tests hold Argon2id to it. What is
 * ours: the text, salt and parameters all count, and nonsense is refused. */
TEST(keys_from_passphrases)
{
    uf_error err = {0};
    uint8_t salt[UFI_SALT_BYTES] = {1, 2, 3}, a[UFI_SECRET_BYTES], b[UFI_SECRET_BYTES];
    const uint64_t memory = 64 << 10;
    if (!can_seal())
        SKIP("built without libsodium");
    REQUIRE_OK(ufi_secret_from_passphrase(a, "open sesame", salt, 1, memory, &err), err);
    REQUIRE_OK(ufi_secret_from_passphrase(b, "open sesame", salt, 1, memory, &err), err);
    CHECK(memcmp(a, b, sizeof a) == 0);
    REQUIRE_OK(ufi_secret_from_passphrase(b, "open sesamf", salt, 1, memory, &err), err);
    CHECK(memcmp(a, b, sizeof a) != 0);
    REQUIRE_OK(ufi_secret_from_passphrase(b, "open sesame", salt, 2, memory, &err), err);
    CHECK(memcmp(a, b, sizeof a) != 0);
    salt[0]++;
    REQUIRE_OK(ufi_secret_from_passphrase(b, "open sesame", salt, 1, memory, &err), err);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(ufi_secret_from_passphrase(b, "x", salt, 0, memory, &err) == UF_E_ARG);
    CHECK(ufi_secret_from_passphrase(b, "x", salt, 1, 1, &err) == UF_E_ARG);
    CHECK(ufi_secret_from_passphrase(b, "x", salt, 1, UINT64_MAX, &err) == UF_E_ARG);
    REQUIRE_OK(ufi_secret_derive(b, a, "snapshot", &err), err);
    REQUIRE_OK(ufi_secret_derive(a, a, "snapshots", &err), err);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

TEST(secret_memory_is_zeroed_aligned_and_countable)
{
    const size_t sizes[] = {1, 32, 4032, 4033, 100000};
    for (size_t i = 0; i < 5; i++) {
        bool locked;
        uint8_t *p = ufi_secret_alloc(sizes[i], &locked);
        REQUIRE(p);
        CHECK((uintptr_t)p % UFI_ALIGN == 0);
        for (size_t k = 0; k < sizes[i]; k++)
            CHECK(p[k] == 0);
        memset(p, 0xFF, sizes[i]);
        ufi_secret_free(p, sizes[i]);
    }
    ufi_mem_fail_after(1, false);
    CHECK(!ufi_secret_alloc(32, NULL));
    ufi_mem_fail_after(0, false);
    CHECK(!ufi_secret_alloc(SIZE_MAX, NULL));
    ufi_secret_free(NULL, 32);
}

TEST_MAIN
