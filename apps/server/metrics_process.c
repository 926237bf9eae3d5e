/* What the system knows of this process, under the names that Prometheus's own libraries use. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/metrics.h"

/* From /proc/self/stat; times in ticks, resident in pages. */
typedef struct stat_line {
    unsigned long long user, system, start, virtual_bytes;
    long long threads, resident;
} stat_line;

static bool read_stat(stat_line *out)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return false;
    const size_t size = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[size] = '\0';
    /* The program's name, in parentheses, may hold anything; what follows it are numbers. */
    const char *p = strrchr(text, ')');
    return p && sscanf(p + 1,
                       " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %lld"
                       " %*d %llu %llu %lld",
                       &out->user, &out->system, &out->threads, &out->start, &out->virtual_bytes,
                       &out->resident) == 6;
}

/* Seconds since 1970 at which this machine was started; 0 when it does not say. */
static double boot_time(void)
{
    char line[256];
    unsigned long long seconds = 0;
    FILE *f = fopen("/proc/stat", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "btime %llu", &seconds) == 1)
            break;
    if (f)
        fclose(f);
    return (double)seconds;
}

double srv_open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = -1; /* the folder's own */
    if (!folder)
        return 0;
    for (const struct dirent *e; (e = readdir(folder));)
        count += e->d_name[0] != '.';
    closedir(folder);
    return count;
}

void srv_metrics_write_process(bool open, srv_text *out)
{
    static const srv_family cpu = {.name = "process_cpu_seconds_total",
                                   .help = "Processor time of this process, user and system.",
                                   .type = SRV_COUNTER},
                            resident = {.name = "process_resident_memory_bytes",
                                        .help = "Memory of this process that is in RAM.",
                                        .type = SRV_GAUGE},
                            addresses = {.name = "process_virtual_memory_bytes",
                                         .help = "Addresses that this process has mapped.",
                                         .type = SRV_GAUGE},
                            start = {.name = "process_start_time_seconds",
                                     .help = "When this process began, in seconds since 1970.",
                                     .type = SRV_GAUGE},
                            threads = {.name = "process_threads",
                                       .help = "Threads of this process.",
                                       .type = SRV_GAUGE},
                            files = {.name = "process_open_fds",
                                     .help = "Open file descriptors.",
                                     .type = SRV_GAUGE},
                            files_max = {.name = "process_max_fds",
                                         .help = "Limit on open file descriptors.",
                                         .type = SRV_GAUGE};
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    struct rlimit limit;
    stat_line s;
    if (read_stat(&s)) {
        srv_metrics_write_single(&cpu, (double)(s.user + s.system) / ticks, open, out);
        srv_metrics_write_single(&resident, (double)s.resident * (double)sysconf(_SC_PAGESIZE),
                                 open, out);
        srv_metrics_write_single(&addresses, (double)s.virtual_bytes, open, out);
        srv_metrics_write_single(&start, boot_time() + (double)s.start / ticks, open, out);
        srv_metrics_write_single(&threads, (double)s.threads, open, out);
    }
    srv_metrics_write_single(&files, srv_open_files(), open, out);
    if (!getrlimit(RLIMIT_NOFILE, &limit))
        srv_metrics_write_single(&files_max, (double)limit.rlim_cur, open, out);
}
