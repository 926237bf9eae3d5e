#include "train/lesson.h"

#include <string.h>

#include "train/lesson_impl.h"

uf_status ufi_lesson_create(ufi_lesson **out, const ufi_lesson_options *options, uf_error *err)
{
    static const struct {
        const char *task;
        uf_status (*open)(ufi_lesson **, const ufi_lesson_options *, uf_error *);
    } tasks[] = {{"embedder", ufi_lesson_open_embedder}, {"detector", ufi_lesson_open_detector}};
    const char *task = ufi_meta_get(&options->student->meta, "task");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (task && !strcmp(task, tasks[i].task))
            return tasks[i].open(out, options, err);
    return ufi_fail(err, UF_E_UNSUPPORTED,
                    "the student is \"%.40s\": embedders and detectors can be taught",
                    task ? task : "of no task");
}

void ufi_lesson_destroy(ufi_lesson *l)
{
    if (l)
        l->ops->close(l);
}

void ufi_lesson_views(const ufi_lesson *l, ufi_loader_options *o)
{
    l->ops->views(l, o);
}

ufi_variable *ufi_lesson_variables(ufi_lesson *l, size_t *count)
{
    *count = 0;
    return l->ops->variables ? l->ops->variables(l, count) : NULL;
}

uf_status ufi_lesson_learn(ufi_lesson *l, ufi_net *net, const ufi_batch *batch, double *loss,
                           uf_error *err)
{
    return l->ops->learn(l, net, batch, loss, err);
}

uint64_t ufi_lesson_asked(const ufi_lesson *l)
{
    return l->asked;
}

uf_status ufi_lesson_judge(ufi_lesson *l, ufi_network *student, const ufi_batch *batch, double *sum,
                           size_t *count, uf_error *err)
{
    return l->options.teacher_count ? l->ops->judge(l, student, batch, sum, count, err) : UF_OK;
}
