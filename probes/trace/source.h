/* The kernel's tracepoints, live: a tracefs instance of our own, that nobody
 * else's tracing meets and that is taken away however this process ends. */
#ifndef CONNLEAK_TRACE_SOURCE_H
#define CONNLEAK_TRACE_SOURCE_H

#include "trace/format.h"

struct source;

/* Makes the instance and begins to trace. NULL, with one line in `error` that
 * says what is missing and what to do about it. */
struct source *source_open(char error[TRACE_TEXT]);

/* Takes the instance away. False if it is still there, with its path in `left`. */
bool source_close(struct source **sp, char left[TRACE_TEXT]);

const struct trace_format *source_format(const struct source *s);

/* What to add to a time of an event to get the wall clock's. */
int64_t source_to_wall_ns(const struct source *s);

/* Waits until there is something to read, or to hand out that was too young, for
 * wait_ns at most, or for a signal. */
void source_wait(struct source *s, int64_t wait_ns);

/* Events of all CPUs in the order of time, until source_next says false; those
 * of the last milliseconds come with the next call, because another CPU may yet
 * have one that is older. With `last`, tracing is over and they come too. Then
 * no event before *until_ns is to come any more, and *lost have been lost. */
void source_read(struct source *s, bool last, int64_t *until_ns, uint64_t *lost);
bool source_next(struct source *s, struct trace_event *out);

#endif
