#include "trace/who.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT     1024 /* a power of two */
#define KEPT_FOR SEC(1)

/* Bit of the flags in /proc/PID/stat: PF_KTHREAD of include/linux/sched.h. */
#define KERNEL_THREAD 0x00200000u

struct answer {
    int64_t at_ns;
    int32_t thread, pid; /* thread 0: an empty slot */
    char comm[KERNEL_COMM_MAX];
};

struct who {
    char *saved_cmdlines;
    struct answer kept[KEPT]; /* by thread */
};

struct who *who_new(const char *saved_cmdlines) {
    struct who *w = calloc(1, sizeof *w);

    if (!w || !(w->saved_cmdlines = strdup(saved_cmdlines))) abort();
    return w;
}

void who_free(struct who **wp) {
    if (!*wp) return;
    free((*wp)->saved_cmdlines);
    free(*wp);
    *wp = NULL;
}

static bool read_file(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) return false;
    n = read(fd, buf, size - 1);
    close(fd);
    if (n <= 0) return false;
    buf[n] = 0;
    return true;
}

/* "1234 (a name) S ppid pgrp session tty tpgid flags ...": the name may hold
 * anything, so what follows it is found from the end. */
static bool parse_stat(const char *text, char comm[KERNEL_COMM_MAX], bool *kernel) {
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    unsigned flags;
    size_t len;

    if (!open || !close || close < open) return false;
    if (sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1) return false;
    len = (size_t)(close - open - 1);
    if (len >= KERNEL_COMM_MAX) len = KERNEL_COMM_MAX - 1;
    memcpy(comm, open + 1, len);
    comm[len] = 0;
    *kernel = (flags & KERNEL_THREAD) != 0;
    return true;
}

static int32_t process_of(int32_t thread) {
    char path[40], text[1024];
    const char *line;
    int pid;

    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    if (!read_file(path, text, sizeof text)) return thread;
    line = strstr(text, "\nTgid:");
    return line && sscanf(line, "\nTgid: %d", &pid) == 1 && pid > 0 ? pid : thread;
}

/* "1234 a name", a line each, for the threads that were last seen while tracing. */
static void recall(const char *path, int32_t thread, char comm[KERNEL_COMM_MAX]) {
    FILE *f = fopen(path, "re");
    char line[64];
    int pid, at;

    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, " %d %n", &pid, &at) != 1 || pid != thread) continue;
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line + at, "<...>")) snprintf(comm, KERNEL_COMM_MAX, "%.15s", line + at);
        break;
    }
    fclose(f);
}

static void ask(const struct who *w, struct answer *a) {
    char path[40], text[512];
    bool kernel = false;

    a->pid = process_of(a->thread);
    a->comm[0] = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)a->pid);
    if (!read_file(path, text, sizeof text) || !parse_stat(text, a->comm, &kernel))
        recall(w->saved_cmdlines, a->thread, a->comm);
    if (kernel) a->pid = 0;
}

int32_t who_is(struct who *w, int32_t thread, int64_t at_ns, char comm[KERNEL_COMM_MAX]) {
    struct answer *a = &w->kept[(uint32_t)thread & (KEPT - 1)];

    if (a->thread != thread || at_ns - a->at_ns > KEPT_FOR) {
        a->thread = thread;
        a->at_ns = at_ns;
        ask(w, a);
    }
    memcpy(comm, a->comm, KERNEL_COMM_MAX);
    return a->pid;
}
