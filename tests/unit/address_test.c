/* Addresses of galleries: what is shown of them, and which parameters are ours. */
#include "gallery/address.h"

#include "base/mem.h"
#include "test.h"

static void check_redacted(const char *address, const char *want)
{
    char got[200];
    ufi_address_show(got, sizeof got, address);
    CHECK_MSG(strcmp(got, want) == 0, "%s", got);
}

TEST(redacted_addresses_have_no_password)
{
    check_redacted("postgresql://host/db", "postgresql://host/db");
    check_redacted("postgresql://ann@host:5432/db", "postgresql://ann@host:5432/db");
    check_redacted("postgresql://ann:secret@host/db?gallery=a",
                   "postgresql://ann:***@host/db?gallery=a");
    check_redacted("postgresql://ann:se@cr/et@host/db", "postgresql://ann:***@host/db");
    check_redacted("postgresql:///db?password=secret&host=/tmp&sslpassword=x",
                   "postgresql:///db?password=***&host=/tmp&sslpassword=***");
    check_redacted("postgresql://", "postgresql://");
    check_redacted("postgresql:///db?", "postgresql:///db?");
    char tiny[16];
    ufi_address_show(tiny, sizeof tiny, "postgresql://ann:secret@host/db");
    CHECK(strcmp(tiny, "postgresql://an") == 0);
}

static void check_split(const char *address, const char *want, const char *want_schema)
{
    char *rest;
    ufi_address_choice choice;
    uf_error err = {0};
    REQUIRE_OK(ufi_address_split(address, &rest, &choice, &err), err);
    CHECK_MSG(strcmp(rest, want) == 0, "%s", rest);
    CHECK_MSG(strcmp(choice.schema, want_schema) == 0, "%s", choice.schema);
    ufi_free(rest);
}

TEST(gallery_is_taken_out_of_the_address)
{
    check_split("postgresql://h/db", "postgresql://h/db", "uniface");
    check_split("postgresql://h/db?gallery=doors", "postgresql://h/db", "doors");
    check_split("postgresql://h/db?gallery=doors&port=1", "postgresql://h/db?port=1", "doors");
    check_split("postgresql://h/db?port=1&gallery=d_2", "postgresql://h/db?port=1", "d_2");
    check_split("postgresql://h/db?port=1&gallery=d&user=x", "postgresql://h/db?port=1&user=x",
                "d");
}

TEST(search_and_partitions_are_taken_out_of_the_address)
{
    char *rest;
    ufi_address_choice c;
    uf_error err = {0};
    REQUIRE_OK(
        ufi_address_split("postgresql://h/db?search=bit&host=x&partitions=16", &rest, &c, &err),
        err);
    CHECK_MSG(strcmp(rest, "postgresql://h/db?host=x") == 0, "%s", rest);
    CHECK(c.search == UFI_SEARCH_BIT && c.partitions == 16);
    ufi_free(rest);
    REQUIRE_OK(ufi_address_split("postgresql://h/db", &rest, &c, &err), err);
    CHECK(c.search == UFI_SEARCH_UNSET && c.partitions == 0);
    ufi_free(rest);
    static const char *const bad[] = {
        "p://?search=x",       "p://?search=",       "p://?search",     "p://?partitions=0",
        "p://?partitions=257", "p://?partitions=3x", "p://?partitions="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(ufi_address_split(bad[i], &rest, &c, &err) == UF_E_ARG && !rest, "%s", bad[i]);
}

TEST(names_of_galleries_are_plain)
{
    static const char *const bad[] = {
        "postgresql://h/db?gallery=",
        "postgresql://h/db?gallery=a;drop",
        "postgresql://h/db?gallery=1a",
        "postgresql://h/db?gallery=A",
        "postgresql://h/db?gallery=pg_catalog",
        "p://?gallery=a123456789b123456789c123456789d123456789e123456789f123456789g123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *rest;
        ufi_address_choice choice;
        uf_error err = {0};
        CHECK_MSG(ufi_address_split(bad[i], &rest, &choice, &err) == UF_E_ARG, "%s", bad[i]);
        CHECK(rest == NULL);
    }
}

TEST_MAIN
