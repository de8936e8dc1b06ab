/* Whose thread that is: its process and its name, asked of /proc; of the kernel's
 * own memory of names where the process is gone already. */
#ifndef CONNLEAK_TRACE_WHO_H
#define CONNLEAK_TRACE_WHO_H

#include "core/clock.h"
#include "core/rst_reason.h"

struct who;

/* saved_cmdlines: the file of that name in tracefs. */
struct who *who_new(const char *saved_cmdlines);
void who_free(struct who **wp);

/* The process of a thread that was running at `at_ns`, and the process's name;
 * an answer is kept for a second. A kernel thread is nobody: 0. If it is gone
 * already: `thread` itself, and the name that the kernel kept, or an empty one. */
int32_t who_is(struct who *w, int32_t thread, int64_t at_ns, char comm[KERNEL_COMM_MAX]);

#endif
