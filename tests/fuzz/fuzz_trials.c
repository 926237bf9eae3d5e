/* Lists of trials, text and packed. */
#include "fuzz.h"

#include "evaluate/trials.h"

static const struct {
    const char *data;
    size_t size;
} lists[] = {
#define LIST(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }
    LIST("2\t1\nAnn\t1\t3\nAnn\t1\tBob\t2\nCy\t1\t2\nCy\t2\tBob\t2\n"),
    LIST("# remark\na.jpg\tc.jpg\t1\nc.jpg\td.jpg\t0\t3\n"),
    LIST("x_1.jpg 1\nx_2.jpg 1\nx_1.jpg 0\ny_1.jpg 0\n"),
    LIST("\x80\x02]q\0(U\3oneU\3twoq\1U\0013h\1e]q\2(\x88\x89"
         "e\x86q\3."),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char templates[] = "1.jpg a.jpg 7\n2.jpg c.jpg 7\n3.jpg d.jpg 8\n";
    uf_trials *t;
    if (!ufi_trials_parse(&t, data, size, NULL, 0, NULL))
        uf_trials_destroy(t);
    if (!ufi_trials_parse(&t, data, size, templates, sizeof templates - 1, NULL))
        uf_trials_destroy(t);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    if (i >= sizeof lists / sizeof *lists)
        return 0;
    memcpy(out, lists[i].data, lists[i].size);
    return lists[i].size;
}
