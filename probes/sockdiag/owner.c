#define _GNU_SOURCE
#include "owner.h"

#include "core/idmap.h"
#include "core/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct owners {
    pid_t only;
    struct idmap wanted; /* inode -> struct owner; its process is NULL until it is found */
    struct owner_process *processes;

    bool full, sweeping;
    DIR *proc;                  /* NULL where only one process is looked at */
    DIR *fds;                   /* of the process under way; NULL between two */
    pid_t pid;                  /* under way */
    struct owner_process *here; /* its description, once it has a socket that is wanted */
    struct owners_progress progress;
};

/* ---- texts ---- */

uint32_t owner_inode(const char *link, size_t len) {
    static const char before[] = "socket:[";
    const size_t from = sizeof before - 1;
    uint32_t n = 0;

    if (len < from + 2 || memcmp(link, before, from) != 0 || link[len - 1] != ']') return 0;
    for (size_t i = from; i < len - 1; i++) {
        if (link[i] < '0' || link[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint32_t)(link[i] - '0'), &n))
            return 0;
    }
    return n;
}

/* Lines are "ID:CONTROLLERS:PATH"; version 2 is the one with ID 0 and no controllers. Without it,
 * the first hierarchy that says more than "/". */
void owner_cgroup(const char *text, char out[OWNER_CGROUP_MAX]) {
    const char *best = "", *path;
    size_t best_len = 0, len;

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t end = strcspn(line, "\n");
        const char *second = memchr(line, ':', end);
        if (second) second = memchr(second + 1, ':', end - (size_t)(second + 1 - line));
        if (!second) continue;
        path = second + 1;
        len = end - (size_t)(path - line);
        bool unified = !strncmp(line, "0::", 3);
        if (unified ? len > 1 || best_len == 0 : best_len <= 1) best = path, best_len = len;
    }
    if (best_len >= OWNER_CGROUP_MAX) best_len = OWNER_CGROUP_MAX - 1;
    memcpy(out, best, best_len);
    out[best_len] = 0;
}

/* A process names itself as it likes: what a terminal would obey becomes a question mark. */
static void make_plain(char *text) {
    text[utf8_plain(text, strlen(text), text)] = 0;
}

/* A small file of /proc, without a newline at its end. */
static void read_small(pid_t pid, const char *name, char *to, size_t room) {
    char path[48];
    ssize_t n = -1;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, to, room - 1);
        close(fd);
    }
    if (n < 0) n = 0;
    while (n > 0 && to[n - 1] == '\n') n--;
    to[n] = 0;
}

/* ---- what is wanted ---- */

struct owners *owners_new(pid_t only) {
    struct owners *o = calloc(1, sizeof *o);
    if (!o) abort();
    o->only = only;
    return o;
}

bool owners_want(struct owners *o, uint32_t inode) {
    struct owner *w;

    if (!inode || idmap_get(&o->wanted, inode)) return true;
    if (o->wanted.n >= OWNERS_MAX) return false;
    w = calloc(1, sizeof *w);
    if (!w) abort();
    idmap_put(&o->wanted, inode, w);
    o->progress.wanted++;
    return true;
}

static void end_sweep(struct owners *o) {
    if (o->proc) closedir(o->proc);
    if (o->fds) closedir(o->fds);
    o->proc = o->fds = NULL;
    o->here = NULL;
    o->sweeping = false;
}

void owners_forget(struct owners *o) {
    end_sweep(o);
    for (size_t i = 0; i < o->wanted.room; i++)
        if (o->wanted.slots[i].id) free(o->wanted.slots[i].thing);
    idmap_clear(&o->wanted);
    for (struct owner_process *p = o->processes, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    o->processes = NULL;
    o->progress = (struct owners_progress){0};
}

void owners_free(struct owners **op) {
    if (!*op) return;
    owners_forget(*op);
    free(*op);
    *op = NULL;
}

const struct owner *owners_find(const struct owners *o, uint32_t inode) {
    const struct owner *w = inode ? idmap_get(&o->wanted, inode) : NULL;
    return w && w->process ? w : NULL;
}

void owners_progress(const struct owners *o, struct owners_progress *out) {
    *out = o->progress;
}

/* ---- the sweep ---- */

static bool enter_process(struct owners *o, pid_t pid) {
    char path[48];

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    o->fds = opendir(path);
    o->pid = pid;
    o->here = NULL;
    if (o->fds)
        o->progress.processes++;
    else if (errno == EACCES || errno == EPERM)
        o->progress.denied++;
    return o->fds != NULL;
}

/* What a full sweep counts, it counts from the start. */
static void lose_found(struct owners *o) {
    for (size_t i = 0; i < o->wanted.room; i++)
        if (o->wanted.slots[i].id) *(struct owner *)o->wanted.slots[i].thing = (struct owner){0};
    o->progress.found = 0;
}

bool owners_begin(struct owners *o, bool full) {
    end_sweep(o);
    if (full) lose_found(o);
    o->progress.processes = o->progress.denied = 0;
    o->full = full;
    if (o->only ? !enter_process(o, o->only) : !(o->proc = opendir("/proc"))) return false;
    o->sweeping = true;
    return true;
}

static struct owner_process *describe(struct owners *o) {
    char text[4096];
    struct owner_process *p;

    if (o->here) return o->here;
    for (p = o->processes; p && p->pid != o->pid; p = p->next) {}
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p) abort();
        p->pid = o->pid;
        p->next = o->processes;
        o->processes = p;
    }
    read_small(o->pid, "comm", p->comm, sizeof p->comm);
    make_plain(p->comm);
    read_small(o->pid, "cgroup", text, sizeof text);
    owner_cgroup(text, p->cgroup);
    make_plain(p->cgroup);
    return o->here = p;
}

static void look_at(struct owners *o, const char *name) {
    char link[64];
    ssize_t n = readlinkat(dirfd(o->fds), name, link, sizeof link);
    struct owner *w = n > 0 ? idmap_get(&o->wanted, owner_inode(link, (size_t)n)) : NULL;

    if (!w) return;
    if (!w->process) {
        w->process = describe(o);
        o->progress.found++;
    } else if (w->process->pid != o->pid) {
        w->others++;
    }
}

static bool is_pid(const char *name, pid_t *pid) {
    char *end;
    long n = *name >= '1' && *name <= '9' ? strtol(name, &end, 10) : 0;
    if (n <= 0 || n > INT32_MAX || *end) return false;
    *pid = (pid_t)n;
    return true;
}

bool owners_step(struct owners *o, unsigned entries) {
    for (; o->sweeping && entries > 0; entries--) {
        struct dirent *e;
        pid_t pid;

        if (!o->full && o->progress.found == o->progress.wanted) {
            end_sweep(o);
        } else if (o->fds) {
            if ((e = readdir(o->fds))) {
                if (e->d_name[0] != '.') look_at(o, e->d_name);
            } else {
                closedir(o->fds);
                o->fds = NULL;
                if (!o->proc) end_sweep(o);
            }
        } else if ((e = readdir(o->proc))) {
            if (is_pid(e->d_name, &pid)) enter_process(o, pid);
        } else {
            end_sweep(o);
        }
    }
    return !o->sweeping;
}
