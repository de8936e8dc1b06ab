/* Whose socket: from an inode to the process that has it open, through /proc/PID/fd.
 *
 *     struct owners *o = owners_new(0);
 *     owners_want(o, row.inode);            as many as there are
 *     owners_begin(o, false);
 *     while (!owners_step(o, 256)) ...      bounded work each time
 *     owners_find(o, row.inode)
 *
 * One sweep over /proc serves all that are wanted. What may not be looked into (another
 * user's process, without CAP_SYS_PTRACE) and what cannot be seen (another PID namespace,
 * hidepid) stays unknown; owners_progress tells how much was refused. */
#ifndef CONNLEAK_OWNER_H
#define CONNLEAK_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OWNER_COMM_MAX   64 /* the kernel's own threads may have more than the 15 letters of others */
#define OWNER_CGROUP_MAX 256

struct owner_process {
    pid_t pid;
    char comm[OWNER_COMM_MAX];     /* "" where it could not be read; without control characters */
    char cgroup[OWNER_CGROUP_MAX]; /* its path, of cgroup v2 where both are in use; cut; "" where unknown */
    struct owner_process *next;
};

struct owner {
    const struct owner_process *process; /* the first that was met: never NULL */
    uint32_t others;                     /* more processes that have it open; only a full sweep counts them all */
};

struct owners;

/* only: the one process to look at; 0: all. */
struct owners *owners_new(pid_t only);
void owners_free(struct owners **op);

/* From now on this inode is looked for; 0 and one that is wanted already are passed over. False where
 * OWNERS_MAX are wanted. */
#define OWNERS_MAX (1u << 20)
bool owners_want(struct owners *o, uint32_t inode);

/* Forgets all that was wanted and found; a sweep under way ends. */
void owners_forget(struct owners *o);

/* Starts a sweep for all that is wanted. full: over every process, counting those that share a
 * socket; else only until each is found. False, with errno set, where /proc (or the one process)
 * cannot be read; there is no sweep then. */
bool owners_begin(struct owners *o, bool full);

/* Goes on for at most `entries` directory entries, a system call or two each. True when no sweep
 * is under way any more, or none was begun. */
bool owners_step(struct owners *o, unsigned entries);

/* The newest sweep so far. */
struct owners_progress {
    unsigned processes;     /* looked into */
    unsigned denied;        /* not allowed to */
    unsigned wanted, found; /* inodes */
};
void owners_progress(const struct owners *o, struct owners_progress *out);

/* NULL if it is not wanted, or not found. Good until owners_forget. */
const struct owner *owners_find(const struct owners *o, uint32_t inode);

/* The N of "socket:[N]", which is what a descriptor's link says; 0 if it says anything else. */
uint32_t owner_inode(const char *link, size_t len);

/* The path in a /proc/PID/cgroup; "" if there is none. text ends with a NUL. */
void owner_cgroup(const char *text, char out[OWNER_CGROUP_MAX]);

#endif
