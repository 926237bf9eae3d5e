/* The training commands of `uniface`: uniface-train takes over. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "training.h"

bool cli_can_train(void)
{
    return false;
}

int cli_recover(const cli_args *a, const char *epochs, uf_model *source, uf_model **made)
{
    (void)epochs;
    (void)source;
    (void)made;
    return cli_complain(EXIT_INTERNAL, "%s: uniface-train was to do this", a->command->name);
}

int cli_run_training(const cli_args *a)
{
    char path[PATH_MAX + 16];
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
    path[n > 0 ? n : 0] = 0;
    char *name = strrchr(path, '/');
    strcpy(name ? name + 1 : path, "uniface-train");
    /* OpenMP's threads spin while they wait, for so long that programs beside them starve. */
    setenv("GOMP_SPINCOUNT", "20000", 0);
    execv(path, a->argv);
    if (errno == ENOENT)
        return cli_complain(EXIT_INPUT,
                            "%s: %s is not there; it is built where oneDNN is installed (Debian: "
                            "apt-get install libdnnl-dev, then build again)",
                            a->command->name, path);
    return cli_complain(EXIT_INTERNAL, "%s: %s", path, strerror(errno));
}
