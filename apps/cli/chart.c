/* Line charts as SVG. */
#include "chart.h"

#include <math.h>

enum { WIDTH = 640, HEIGHT = 420, LEFT = 70, RIGHT = 20, TOP = 40, BOTTOM = 55 };

static const char *const colours[] = {"#1f6fb4", "#d1495b", "#2e8b57", "#8a5fb0", "#c77d1e"};

enum { COLOURS = sizeof colours / sizeof *colours };

void chart_text(FILE *f, const char *text)
{
    for (; *text; text++)
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"')
            fprintf(f, "&#%d;", *text);
        else
            fputc(*text, f);
}

void html_head(FILE *f, const char *title)
{
    fputs("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>", f);
    chart_text(f, title);
    fputs("</title><style>body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
          "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
          "table{border-collapse:collapse}</style>\n",
          f);
}

/* 0..1 along the axis. */
static double place(const chart_axis *a, double v)
{
    double low = a->low, high = a->high;
    if (a->logarithmic) {
        v = log10(fmax(v, low));
        low = log10(low);
        high = log10(high);
    }
    return high > low ? fmin(1, fmax(0, (v - low) / (high - low))) : 0;
}

static double at_x(const chart_axis *a, double v)
{
    return LEFT + place(a, v) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const chart_axis *a, double v)
{
    return HEIGHT - BOTTOM - place(a, v) * (HEIGHT - TOP - BOTTOM);
}

/* The next mark after `v`: decades, or steps of 1, 2 or 5. */
static double step_of(const chart_axis *a)
{
    const double rough = (a->high - a->low) / 6, power = pow(10, floor(log10(rough)));
    const double m = rough / power;
    return power * (m > 5 ? 10 : m > 2 ? 5 : m > 1 ? 2 : 1);
}

static void write_mark(FILE *f, const chart_axis *x, const chart_axis *y, bool vertical, double v)
{
    const double px = vertical ? at_x(x, v) : LEFT, py = vertical ? HEIGHT - BOTTOM : at_y(y, v);
    fprintf(f, "<path d=\"M%.1f %.1f%c%.1f\" stroke=\"#ddd\"/>", px, py, vertical ? 'V' : 'H',
            vertical ? (double)TOP : (double)(WIDTH - RIGHT));
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%g</text>\n", vertical ? px : px - 6,
            vertical ? py + 16 : py + 4, vertical ? "middle" : "end", fabs(v) < 1e-12 ? 0 : v);
}

static void write_marks(FILE *f, const chart_axis *x, const chart_axis *y, bool vertical)
{
    const chart_axis *a = vertical ? x : y;
    if (a->logarithmic) {
        for (double v = a->low; v <= a->high * 1.0001; v *= 10)
            write_mark(f, x, y, vertical, v);
        return;
    }
    const double step = step_of(a);
    if (!(step > 0))
        return;
    for (double v = ceil(a->low / step - 1e-9) * step; v <= a->high + step * 1e-6; v += step)
        write_mark(f, x, y, vertical, v);
}

static void write_line(FILE *f, const chart_axis *x, const chart_axis *y, const chart_line *l,
                       const char *colour)
{
    if (l->dots) {
        for (size_t i = 0; i < l->count; i++)
            fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", at_x(x, l->x[i]),
                    at_y(y, l->y[i]), colour);
        return;
    }
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (size_t i = 0; i < l->count; i++)
        fprintf(f, "%.1f,%.1f ", at_x(x, l->x[i]), at_y(y, l->y[i]));
    fputs("\"/>\n", f);
}

void chart_write(FILE *f, const char *title, const chart_axis *x, const chart_axis *y,
                 const chart_line *lines, size_t line_count)
{
    int legend = 0;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"22\" "
            "font-size=\"15\">",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    chart_text(f, title);
    fputs("</text>\n", f);
    write_marks(f, x, y, true);
    write_marks(f, x, y, false);
    for (size_t i = 0; i < line_count; i++)
        write_line(f, x, y, &lines[i], colours[i % COLOURS]);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 14);
    chart_text(f, x->label);
    fprintf(f, "</text>\n<text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">",
            (TOP + HEIGHT - BOTTOM) / 2);
    chart_text(f, y->label);
    fputs("</text>\n", f);
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].name) {
            const int top = TOP + 10 + 18 * legend++;
            fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>",
                    LEFT + 12, top, colours[i % COLOURS]);
            fprintf(f, "<text x=\"%d\" y=\"%d\">", LEFT + 30, top + 10);
            chart_text(f, lines[i].name);
            fputs("</text>\n", f);
        }
    fputs("</svg>\n", f);
}

bool chart_save(const char *path, const char *title, const chart_axis *x, const chart_axis *y,
                const chart_line *lines, size_t line_count)
{
    FILE *f = fopen(path, "w");
    if (f)
        chart_write(f, title, x, y, lines, line_count);
    const bool ok = f && !ferror(f);
    return f && fclose(f) == 0 && ok;
}
