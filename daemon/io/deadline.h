/* Timeouts that all take equally long: a queue each, one timer for a queue.
 *
 * Starting and stopping cost a list operation and no system call. The timer is
 * left where it is when its first entry goes, and set anew when it fires: at
 * most one wakeup too many per queue and delay. */
#ifndef CONNLEAK_DEADLINE_H
#define CONNLEAK_DEADLINE_H

#include "core/clock.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

struct deadline {
    TAILQ_ENTRY(deadline) link;
    mono_ns at; /* 0: not started */
};

struct deadline_queue {
    TAILQ_HEAD(deadline_list, deadline) list; /* by time, earliest first */
    struct event *timer;
    mono_ns after;    /* the delay in nanoseconds; <= 0: entries are never started */
    mono_ns timer_at; /* what the timer is set to; NEVER if it is not */
    void (*expired)(struct deadline *d, void *arg);
    mono_ns (*enter)(void *arg); /* marks the begin of a callback, returns its time */
    void (*leave)(void *arg);
    void *arg;
};

/* The callbacks get `arg`; `expired` finds its entry stopped already. */
void deadline_queue_init(struct deadline_queue *q, struct event_base *base, mono_ns after,
                         void (*expired)(struct deadline *, void *), mono_ns (*enter)(void *), void (*leave)(void *),
                         void *arg);
void deadline_queue_clear(struct deadline_queue *q);

/* (Re)starts: it expires `after` from now. */
void deadline_start(struct deadline_queue *q, struct deadline *d, mono_ns now);
void deadline_stop(struct deadline_queue *q, struct deadline *d);

#endif
