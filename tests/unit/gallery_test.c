/* Galleries: what was enrolled is found, what was deleted is not. */
#include "gallery_maker.h"

TEST(enrolled_people_are_found_after_opening_again)
{
    uf_error err = {0};
    uf_gallery *g = NULL;
    uf_candidate best;
    size_t count;
    NEED_GALLERY;
    const char *path = maker_path("g");
    REQUIRE_OK(maker_open(&g, path, UF_GALLERY_CREATE, &err), err);
    for (uint64_t p = 0; p < 40; p++)
        REQUIRE_OK(maker_enroll(g, NULL, p, 1, MODEL, NULL, &err), err);
    for (int round = 0; round < 2; round++) {
        for (uint64_t p = 0; p < 40; p++) {
            char name[32];
            snprintf(name, sizeof name, "p%llu", (unsigned long long)p);
            REQUIRE_OK(maker_identify(g, NULL, p, 2, MODEL, &best, &count, &err), err);
            CHECK(count == 5 && best.passes && strcmp(best.id, name) == 0);
        }
        REQUIRE_OK(maker_identify(g, NULL, 1000, 1, MODEL, &best, &count, &err), err);
        CHECK(count == 5 && !best.passes);
        uf_gallery_close(g);
        REQUIRE_OK(maker_open(&g, path, 0, &err), err);
    }
    uf_gallery_close(g);
}

TEST_MAIN
