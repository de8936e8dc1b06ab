/* A small process that outlives us by a moment: when this process is gone,
 * however it went, SIGKILL included, it takes the tracefs instance away.
 * What would stay behind otherwise costs every connection of the host some time. */
#ifndef CONNLEAK_TRACE_GUARD_H
#define CONNLEAK_TRACE_GUARD_H

#include <stdbool.h>

/* Names of instances are GUARD_PREFIX PID "-" and eight hex digits. */
#define GUARD_PREFIX   "connleak-"
#define GUARD_NAME_MAX 48

struct guard;

/* To be called before the instance is made, so that there is no moment without a
 * guard. NULL: no process or pipe; errno says why. */
struct guard *guard_start(const char *instance_path);

/* Ends it: the instance goes now. Nothing of it may be open any more. False if
 * it is still there. */
bool guard_end(struct guard **gp);

/* Takes away instances whose process is gone and whose guard was killed too. */
void guard_clear_stale(const char *tracing_dir);

#endif
