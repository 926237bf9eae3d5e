/* See progress.h. Drawn at most ten times a second, so that it costs nothing in a fast batch. */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *label; /* NULL: no bar */
    size_t total;
    double begun_s, drawn_s;
    bool visible;
} bar;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void progress_format(char *out, size_t size, const char *label, size_t done, size_t total,
                     double elapsed_s)
{
    char cells[25];
    double part = total ? (double)done / (double)total : 1.0;
    part = part > 1.0 ? 1.0 : part;
    for (int i = 0; i < 24; i++)
        cells[i] = i < (int)(part * 24.0) ? '#' : '.';
    cells[24] = 0;
    int n = snprintf(out, size, "%s [%s] %zu/%zu %3d%%", label, cells, done, total,
                     (int)(part * 100.0));
    if (n > 0 && (size_t)n < size && done > 0 && elapsed_s > 1.0 && part < 1.0) {
        long left = (long)(elapsed_s / part * (1.0 - part) + 0.5);
        snprintf(out + n, size - (size_t)n, " %ld:%02ld left", left / 60, left % 60);
    }
}

void progress_begin(const char *label, size_t total, bool quiet)
{
    const char *term = getenv("TERM");
    memset(&bar, 0, sizeof bar);
    if (quiet || total < 2 || !isatty(STDERR_FILENO) || (term && strcmp(term, "dumb") == 0))
        return;
    bar.label = label;
    bar.total = total;
    bar.begun_s = now_s();
}

void progress_update(size_t done)
{
    char line[160];
    double now = bar.label ? now_s() : 0.0;
    if (!bar.label || (now - bar.drawn_s < 0.1 && done < bar.total))
        return;
    progress_format(line, sizeof line, bar.label, done, bar.total, now - bar.begun_s);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    bar.drawn_s = now;
    bar.visible = true;
}

void progress_clear(void)
{
    if (bar.visible)
        fputs("\r\033[K", stderr);
    bar.visible = false;
}

void progress_end(void)
{
    progress_clear();
    bar.label = NULL;
}
