/* The two processes that `connleak run` starts, and how they end. */
#ifndef CONNLEAK_RUN_CHILD_H
#define CONNLEAK_RUN_CHILD_H

#include "record/json_out.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_TEXT 512

/* ---- the daemon ---- */

struct wrapped_daemon {
    pid_t pid;                 /* 0: it does not run */
    int status;                /* of its end, as waitpid has it */
    int log;                   /* the reading end of its stderr; -1: it is closed */
    struct json_out said;      /* its last lines */
    char proxy[32], admin[32]; /* host:port */
};

/* Starts connleakd, which is beside this program or else in PATH, on two sockets that were made for it: whoever
 * connects from now on waits until it accepts. It is killed when this process ends, however that ends. False, with the
 * reason in `error`. */
bool daemon_start(struct wrapped_daemon *d, char *const *sets, size_t n_sets, char error[CHILD_TEXT]);

/* Reads what it logged; never waits. */
void daemon_read_log(struct wrapped_daemon *d);

/* Asks it to end at once, with its records written, and waits for that; kills it where it does not. */
void daemon_stop(struct wrapped_daemon *d);

/* ---- the command ---- */

/* Starts it in this process group, with the environment as it is now, and with `mask` for signals. False, with errno
 * set, where it cannot be executed. */
bool command_start(char *const *argv, const sigset_t *mask, pid_t *pid);

/* The exit code that a shell would have for it. */
int status_code(int status);

#endif
