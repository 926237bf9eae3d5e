/* What several commands need: errors, the model store, lists of files, progress, time. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static int exit_status(uf_status st)
{
    switch (st) {
    case UF_OK:
        return 0;
    case UF_E_NOMEM:
        return EXIT_INTERNAL;
    case UF_E_ARG:
    case UF_E_DEVICE_NOT_FOUND:
        return EXIT_USAGE;
    default:
        return EXIT_INPUT;
    }
}

static char complaint[4096];

int cli_complain(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(complaint, sizeof complaint, fmt, ap);
    va_end(ap);
    fprintf(stderr, "uniface: %s\n", complaint);
    return status;
}

int cli_fail(const uf_error *err)
{
    return cli_complain(exit_status(err->status), "%s", err->message);
}

const char *cli_last_complaint(void)
{
    return complaint;
}

long cli_file_size(const char *path)
{
    FILE *f = fopen(path, "rb");
    const long size = f && !fseek(f, 0, SEEK_END) ? ftell(f) : -1;
    if (f)
        fclose(f);
    return size;
}

int cli_check_output(const char *path, bool in_place)
{
    char target[PATH_MAX], probe[PATH_MAX + 8];
    struct stat there, link;
    if (!path)
        return 0;
    if (!path[0])
        return cli_complain(EXIT_USAGE, "the name of an output is empty");
    const bool exists = stat(path, &there) == 0;
    if (exists && (S_ISDIR(there.st_mode) || (!in_place && !S_ISREG(there.st_mode))))
        return cli_complain(EXIT_INPUT, "%s: not a regular file", path);
    if (exists && in_place && lstat(path, &link) == 0 && !S_ISREG(link.st_mode))
        return access(path, W_OK) == 0
                   ? 0
                   : cli_complain(EXIT_INPUT, "%s: cannot write: %s", path, strerror(errno));
    if (snprintf(probe, sizeof probe, "%s.XXXXXX",
                 exists && realpath(path, target) ? target : path) >= (int)sizeof probe)
        return cli_complain(EXIT_INPUT, "%.64s...: the path is too long", path);
    const int fd = mkstemp(probe);
    if (fd < 0)
        return cli_complain(EXIT_INPUT, "%s: cannot create: %s", path, strerror(errno));
    close(fd);
    unlink(probe);
    return 0;
}

void *cli_need(void *p)
{
    if (!p)
        exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    return p;
}

double cli_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void cli_progress(const char *what, size_t done, size_t total)
{
    static double last;
    double now = cli_now_ms();
    enum { WIDTH = 30 };
    if (!isatty(2) || total < 2 || (done < total && now - last < 100))
        return;
    last = now;
    int full = (int)(done * WIDTH / total);
    fprintf(stderr, "\r%s [%.*s%*s] %zu/%zu", what, full, "##############################",
            WIDTH - full, "", done, total);
    if (done == total)
        fputs("\r\033[K", stderr);
}

/* ---- the model store ---- */

void cli_store_path(char *out, size_t size, const char *name)
{
    uf_error err;
    char folder[4096];
    if (uf_store_folder(folder, sizeof folder, &err))
        exit(cli_fail(&err));
    const int n = snprintf(out, size, "%s/%s.ufm", folder, name);
    if (n < 0 || (size_t)n >= size)
        exit(cli_complain(EXIT_INPUT, "path too long: %s", folder));
}

bool cli_make_folders(const char *path)
{
    char part[4096];
    if (strlen(path) >= sizeof part)
        return false;
    for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        memcpy(part, path, (size_t)(p - path));
        part[p - path] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

uf_status cli_open_model_at(uf_model **m, const char *name, uf_error *err)
{
    char path[4096];
    const uf_status st = uf_store_find(path, sizeof path, name, err);
    return st ? st : cli_model_open(m, path, err);
}

/* The library would say what is wrong without the name. */
static uf_status check_task(uf_model **m, const char *name, const char *task, uf_error *err)
{
    const char *is = uf_model_meta(*m, "task");
    if (is && !strcmp(is, task))
        return UF_OK;
    snprintf(err->message, sizeof err->message,
             "%.300s: the model is no %s: its metadata says \"%.40s\"", name, task,
             is ? is : "nothing");
    uf_model_close(*m);
    *m = NULL;
    return err->status = UF_E_MISMATCH;
}

uf_status cli_open_model_for(uf_model **m, const char *name, const char *task, uf_error *err)
{
    const uf_status st = cli_open_model_at(m, name, err);
    return st ? st : check_task(m, name, task, err);
}

uf_status cli_open_model(uf_model **m, const cli_args *a, const char *option, uf_error *err)
{
    char path[4096];
    const char *given = cli_value(a, option);
    if (given)
        return cli_open_model_for(m, given, option, err);
    uf_status st = uf_store_default(path, sizeof path, option, err);
    if (!st)
        st = cli_model_open(m, path, err);
    /* What comes with the program says how good it is. */
    if (!st && uf_model_meta(*m, "card.summary"))
        fprintf(stderr, "uniface: %s: %s\n", option, uf_model_meta(*m, "card.summary"));
    return st;
}

/* ---- files ---- */

static bool append(cli_files *f, const char *path)
{
    char **paths = realloc(f->paths, (f->count + 1) * sizeof *paths);
    if (!paths)
        return false;
    f->paths = paths;
    paths[f->count] = strdup(path);
    return paths[f->count++] != NULL;
}

static bool looks_like_picture(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcasecmp(dot, suffixes[i]))
            return true;
    return false;
}

static bool collect_folder(cli_files *f, const char *folder)
{
    struct dirent **names;
    char path[4096];
    bool ok = true;
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0)
        return append(f, folder); /* opening it will say what is wrong */
    for (int i = 0; i < n; i++) {
        if (ok && looks_like_picture(names[i]->d_name)) {
            snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
            ok = append(f, path);
        }
        free(names[i]);
    }
    free(names);
    return ok;
}

static bool collect_operand(cli_files *f, const char *operand)
{
    struct stat s;
    const bool is_folder = stat(operand, &s) == 0 && S_ISDIR(s.st_mode);
    return is_folder ? collect_folder(f, operand) : append(f, operand);
}

bool cli_files_collect(cli_files *f, char **operands, int count)
{
    bool ok = true;
    f->paths = NULL;
    f->count = 0;
    for (int i = 0; ok && i < count; i++)
        ok = collect_operand(f, operands[i]);
    if (!ok)
        cli_complain(0, "out of memory");
    return ok;
}

int cli_files_need(cli_files *f, const cli_args *a)
{
    size_t before = 0;
    if (!cli_files_collect(f, NULL, 0))
        return EXIT_INTERNAL;
    for (int i = 0; i < a->count; i++, before = f->count) {
        if (!collect_operand(f, a->operands[i]))
            return cli_complain(EXIT_INTERNAL, "out of memory");
        if (f->count == before)
            return cli_complain(EXIT_INPUT,
                                "%s: there are no pictures in %s (names end in .jpg, .jpeg, .png "
                                "or .webp; folders in it are not searched)",
                                a->command->name, a->operands[i]);
    }
    return 0;
}

void cli_files_free(cli_files *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->paths[i]);
    free(f->paths);
}

uf_face cli_face_of_crop(const uf_image *view)
{
    static const float points[UF_LANDMARKS][2] = {{38.2946f, 51.6963f},
                                                  {73.5318f, 51.5014f},
                                                  {56.0252f, 71.7366f},
                                                  {41.5493f, 92.3655f},
                                                  {70.7299f, 92.2041f}};
    uf_face f = {.width = (float)view->width, .height = (float)view->height, .score = 1};
    f.has_landmarks = 1;
    for (int i = 0; i < UF_LANDMARKS; i++) {
        f.landmarks[i].x = points[i][0] / 112 * (float)view->width;
        f.landmarks[i].y = points[i][1] / 112 * (float)view->height;
    }
    return f;
}
