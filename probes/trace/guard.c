#define _GNU_SOURCE 1 /* pipe2, close_range */
#include "trace/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct guard {
    pid_t pid;
    int pipe; /* held open: its end is the sign */
};

/* What reads the instance may need a moment to let go of it. */
#define TRIES 200
static bool remove_instance(const char *path) {
    struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};

    for (int i = 0; i < TRIES; i++) {
        if (!rmdir(path) || errno == ENOENT) return true;
        if (errno != EBUSY) return false;
        nanosleep(&moment, NULL);
    }
    return false;
}

/* No signal, no terminal, none of our files: a pipe that waits for our stdout to
 * close must not wait for this one. */
static _Noreturn void stand_guard(int sign, const char *path) {
    sigset_t all;
    char byte;
    int null = open("/dev/null", O_RDWR);

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setsid();
    prctl(PR_SET_NAME, "connleak-guard");
    if (chdir("/")) errno = 0; /* only so as not to hold a mount */
    for (int fd = 0; fd < 3 && null >= 0; fd++) dup2(null, fd);
    sign = dup2(sign, 3);
    close_range(4, ~0u, 0);
    while (read(sign, &byte, 1) < 0 && errno == EINTR) continue;
    _exit(!remove_instance(path));
}

struct guard *guard_start(const char *instance_path) {
    struct guard *g = malloc(sizeof *g);
    int ends[2];

    if (!g) abort();
    if (pipe2(ends, O_CLOEXEC)) goto fail;
    g->pipe = ends[1];
    g->pid = fork();
    if (g->pid == 0) {
        close(ends[1]);
        stand_guard(ends[0], instance_path);
    }
    close(ends[0]);
    if (g->pid > 0) return g;
    close(ends[1]);
fail:
    free(g);
    return NULL;
}

bool guard_end(struct guard **gp) {
    struct guard *g = *gp;
    int status = 0;
    pid_t pid;

    *gp = NULL;
    close(g->pipe);
    do pid = waitpid(g->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    free(g);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Whoever traces has its instance open, and then rmdir refuses; the process id
 * is for one that has just been made. */
void guard_clear_stale(const char *tracing_dir) {
    char path[512];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof path, "%s/instances", tracing_dir);
    dir = opendir(path);
    if (!dir) return;
    while ((entry = readdir(dir))) {
        int pid;

        if (sscanf(entry->d_name, GUARD_PREFIX "%d-", &pid) != 1 || pid <= 0) continue;
        if (!kill(pid, 0) || errno != ESRCH) continue;
        snprintf(path, sizeof path, "%s/instances/%.255s", tracing_dir, entry->d_name);
        rmdir(path);
    }
    closedir(dir);
}
