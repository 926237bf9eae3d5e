/* uniface health: whether a server lives and is ready, as an exit status. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "http_get.h"

static int run_health(const cli_args *a)
{
    http_options o;
    http_answer answer;
    const char *url = http_arguments(a, &o);
    if (!url)
        return EXIT_USAGE;
    const double start = cli_now_ms();
    const bool came = http_get(url, cli_flag(a, "live") ? "/healthz" : "/readyz", &o, &answer);
    const bool well = came && answer.status == 200;
    const double took_ms = cli_now_ms() - start;
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "url", url);
        json_bool(&j, "healthy", well);
        json_integer(&j, "status", answer.status);
        json_number(&j, "took_ms", took_ms);
        if (!came)
            json_text(&j, "error", answer.why);
        json_close(&j, '}');
        json_end(&j);
    } else if (well) {
        printf("%s is well (%.1f ms)\n", url, took_ms);
    } else if (came) {
        cli_complain(1, "%s answers %d: %.200s", url, answer.status, answer.body);
    } else {
        cli_complain(1, "%s", answer.why);
    }
    free(answer.body);
    return well ? 0 : EXIT_DIFFERENT;
}

const cli_command cli_health = {
    .name = "health",
    .summary = "Ask a server whether it is ready; the exit status is the answer",
    .operands = "[URL]",
    .min_operands = 0,
    .max_operands = 1,
    .options = {{"live", 0, NULL, "ask whether it lives (/healthz), not whether it is ready"},
                {"timeout", 0, "MS", "of the whole call (default 3000)"},
                {"ca", 0, "FILE", "PEM file of who may sign the server's certificate"},
                {"insecure", 0, NULL, "take any certificate"}},
    .details =
        "For health checks of containers and scripts. URL is http://127.0.0.1:8000 when none\n"
        "is given; /readyz, or with --live /healthz, unless it has a path.",
    .examples = "  uniface health\n"
                "  uniface health --live https://faces.example:8443 --ca ca.pem\n",
    .run = run_health,
};
