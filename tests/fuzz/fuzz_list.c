/* Lists of pictures: rows that are kept have names and finite points, and are found again. */
#include "fuzz.h"

#include <math.h>

#include "train/list.h"

static const char *const lists[] = {
    "a.png\tann\nb/c.png\tbob\r\n\nd.png\n",
    "name\tscore\tx0\ty0\na.png\t0.9\t1\t2\t3\t4.5\t5\t6\t-7\t8\t9e1\t10\n"
    "b.png\t0.8\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_list l;
    if (ufi_list_parse(&l, (const char *)data, size, NULL))
        return 0;
    for (size_t i = 0; i < l.count; i++) {
        const ufi_list_row *row = &l.rows[i];
        if (!row->name[0] || ufi_list_find(&l, row->name) != row)
            abort();
        for (int k = 0; k < UF_LANDMARKS; k++)
            if (!isfinite(row->points[k].x) || !isfinite(row->points[k].y))
                abort();
    }
    ufi_list_free(&l);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    if (i >= sizeof lists / sizeof *lists || cap < strlen(lists[i]))
        return 0;
    memcpy(out, lists[i], strlen(lists[i]));
    return strlen(lists[i]);
}
