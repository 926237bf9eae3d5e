/*
 * How much of the machine this process may use: cores and caches.
 *
 * In a container the cores one sees are not those one gets: a cgroup's quota limits the time. More
 * threads than the quota allows are stopped in the middle of a job, while the others wait for them.
 */
#include "base/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned affinity_count(void)
{
    /* 8192 processors; the kernel refuses a set smaller than its own, which is what MAX is for. */
    enum { MAX_CPUS = 8192 };
    unsigned long set[MAX_CPUS / (8 * sizeof(unsigned long))] = {0};
    if (sched_getaffinity(0, sizeof set, (cpu_set_t *)set) == 0) {
        int n = CPU_COUNT_S(sizeof set, (cpu_set_t *)set);
        if (n > 0)
            return (unsigned)n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* Cores that one cpu.max file grants, rounded up; 0 when it is absent or says "max". */
static unsigned quota_of(const char *path)
{
    unsigned long long quota, period;
    unsigned cores = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &quota, &period) == 2 && period > 0 && quota / period < 65536)
        cores = (unsigned)((quota + period - 1) / period);
    fclose(f);
    return cores;
}

/* The smallest quota of this process's cgroup (version 2) and those around it; 0: none. */
static unsigned cgroup_count(void)
{
    static const char root[] = "/sys/fs/cgroup", leaf[] = "/cpu.max";
    char line[1024], path[sizeof root + sizeof line + sizeof leaf];
    unsigned smallest = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return 0;
    path[0] = '\0';
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "0::/", 4)) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(path, sizeof path, "%s%s", root, line + 3);
        }
    fclose(f);
    size_t length = strlen(path);
    while (length >= sizeof root - 1) {
        memcpy(path + length, leaf, sizeof leaf);
        unsigned cores = quota_of(path);
        if (cores && (!smallest || cores < smallest))
            smallest = cores;
        do {
            length--;
        } while (length >= sizeof root - 1 && path[length] != '/');
        if (length < sizeof root - 1)
            break;
    }
    return smallest;
}

unsigned ufi_cpu_count(void)
{
    unsigned cores = affinity_count(), quota = cgroup_count();
    return quota && quota < cores ? quota : cores;
}

/* A cache's size as Linux tells for the first processor; 0 when it does not. */
static size_t sysfs_cache_bytes(unsigned level)
{
    for (int i = 0; i < 5; i++) {
        static const char *const keys[] = {"level", "type", "size"};
        char values[3][32] = {"", "", ""}, path[80];
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i,
                     keys[k]);
            FILE *f = fopen(path, "re");
            if (!f)
                return 0;
            if (fscanf(f, "%31s", values[k]) != 1)
                values[k][0] = '\0';
            fclose(f);
        }
        unsigned found, size;
        char unit = 'B';
        if (sscanf(values[0], "%u", &found) != 1 || found != level || values[1][0] == 'I')
            continue;
        if (sscanf(values[2], "%u%c", &size, &unit) >= 1)
            return (size_t)size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0);
    }
    return 0;
}

size_t ufi_cpu_cache_bytes(unsigned level)
{
    static const size_t guesses[4] = {0, 32 << 10, 512 << 10, 8 << 20};
    if (level < 1 || level > 3)
        return 0;
    long size = 0;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    static const int names[4] = {0, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                 _SC_LEVEL3_CACHE_SIZE};
    size = sysconf(names[level]); /* by CPUID on x86, 0 elsewhere */
#endif
    if (size > 0)
        return (size_t)size;
    size_t told = sysfs_cache_bytes(level);
    return told ? told : guesses[level];
}
