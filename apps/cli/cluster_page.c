/* What `uniface cluster` found, as JSON and as a page to look through. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "clustering.h"

/* ---- JSON ---- */

static void face_json(cli_json *j, const clustering *c, const found_face *f)
{
    json_open(j, NULL, '{');
    json_text(j, "image", c->files.paths[f->picture]);
    json_integer(j, "face", (long long)f->face);
    json_open(j, "box", '[');
    json_number(j, NULL, (double)f->box.x);
    json_number(j, NULL, (double)f->box.y);
    json_number(j, NULL, (double)f->box.width);
    json_number(j, NULL, (double)f->box.height);
    json_close(j, ']');
    json_number(j, "quality", (double)f->quality);
    if (f->group >= 0)
        json_number(j, "similarity", (double)f->similarity);
    json_close(j, '}');
}

void clustering_json(const clustering *c, FILE *f)
{
    cli_json j = {.f = f};
    size_t at = 0;
    json_open(&j, NULL, '{');
    json_text(&j, "model_id", c->model_id);
    json_number(&j, "threshold", c->threshold);
    if (c->far > 0)
        json_number(&j, "far", c->far);
    json_integer(&j, "pictures", (long long)c->files.count);
    json_integer(&j, "pictures_failed", (long long)c->failed);
    json_integer(&j, "pictures_without_face", (long long)c->faceless);
    json_integer(&j, "faces", (long long)c->face_count);
    json_integer(&j, "faces_too_poor", (long long)c->poor);
    json_open(&j, "groups", '[');
    for (size_t g = 0; g < c->group_count; g++) {
        json_open(&j, NULL, '[');
        for (; at < c->face_count && c->faces[c->order[at]].group == (int32_t)g; at++)
            face_json(&j, c, &c->faces[c->order[at]]);
        json_close(&j, ']');
    }
    json_close(&j, ']');
    json_open(&j, "alone", '[');
    for (; at < c->face_count; at++)
        face_json(&j, c, &c->faces[c->order[at]]);
    json_close(&j, ']');
    json_close(&j, '}');
    json_end(&j);
}

/* ---- the page ---- */

static void write_base64(FILE *f, const uint8_t *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0) |
                           (i + 2 < n ? data[i + 2] : 0u);
        fputc(digits[v >> 18], f);
        fputc(digits[v >> 12 & 63], f);
        fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digits[v & 63] : '=', f);
    }
}

/* A path as an address: absolute, so that the page may be moved. */
static void write_address(FILE *f, const char *path)
{
    char *whole = realpath(path, NULL);
    for (const char *p = whole ? whole : path; *p; p++)
        if ((*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z') ||
            strchr("/-_.~", *p))
            fputc(*p, f);
        else
            fprintf(f, "%%%02X", (unsigned char)*p);
    free(whole);
}

static void write_face(FILE *f, const clustering *c, const found_face *face)
{
    const char *path = c->files.paths[face->picture], *name = strrchr(path, '/');
    fputs("<a href=\"file://", f);
    write_address(f, path);
    fputs("\" title=\"", f);
    chart_text(f, path);
    fprintf(f, ", quality %.2f\"><img alt=\"face\" src=\"data:image/png;base64,",
            (double)face->quality);
    write_base64(f, face->png, face->png_bytes);
    fputs("\"><span>", f);
    chart_text(f, name ? name + 1 : path);
    if (face->group >= 0)
        fprintf(f, "<br>%.2f", (double)face->similarity);
    fputs("</span></a>\n", f);
}

static size_t write_group(FILE *f, const clustering *c, size_t at, int32_t group)
{
    const size_t first = at;
    size_t n = 0;
    for (size_t i = at; i < c->face_count && c->faces[c->order[i]].group == group; i++)
        n++;
    if (group >= 0)
        fprintf(f, "<h2>Group %d: %zu faces</h2>\n", group + 1, n);
    else if (n)
        fprintf(f, "<h2>Alone: %zu faces</h2>\n", n);
    fputs("<div>\n", f);
    for (; at < first + n; at++)
        write_face(f, c, &c->faces[c->order[at]]);
    fputs("</div>\n", f);
    return at;
}

static void write_page(FILE *f, const clustering *c)
{
    size_t at = 0;
    html_head(f, "People in these photos");
    fputs("<style>div{display:flex;flex-wrap:wrap;gap:.5em}a{width:7em;font-size:75%;"
          "overflow-wrap:anywhere;color:inherit;text-decoration:none}"
          "img{width:7em;height:7em;display:block}</style>\n<h1>People in these photos</h1>\n",
          f);
    fprintf(f,
            "<p>%zu faces of %zu pictures: %zu groups. Two groups become one while the mean "
            "similarity of their faces is %.3f or more. Under each face: its similarity to the "
            "middle of its group; the most doubtful come last.</p>\n",
            c->face_count, c->files.count, c->group_count, c->threshold);
    for (size_t g = 0; g < c->group_count; g++)
        at = write_group(f, c, at, (int32_t)g);
    write_group(f, c, at, -1);
    fputs("</html>\n", f);
}

int clustering_report(const clustering *c, const char *folder)
{
    static const char *const names[] = {"cluster.html", "cluster.json"};
    char path[4096];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "w");
        if (f && i == 0)
            write_page(f, c);
        else if (f)
            clustering_json(c, f);
        const bool ok = f && !ferror(f);
        if (!f || fclose(f) != 0 || !ok)
            return cli_complain(EXIT_INPUT, "%s: it cannot be written: %s", path, strerror(errno));
    }
    return 0;
}
