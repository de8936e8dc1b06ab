/* When each step of a plan may be done: in order, each when those before it are done, or
 * by the capture's clock at some speed.
 *
 * Does no I/O and reads no clock: real (monotonic) times come as arguments, and
 * the capture's clock follows from them. run.c is its driver. */
#ifndef CONNLEAK_REPLAY_SCHEDULE_H
#define CONNLEAK_REPLAY_SCHEDULE_H

#include "plan.h"

#define LATE_NS MSEC(5) /* by the clock: what is late by less holds the clock up */

struct schedule {
    const struct plan *plan; /* borrowed; plan_finish was called */
    double speed;            /* times as fast as captured; 0: as fast as order allows */
    uint32_t next;           /* of plan->order */
    uint32_t unfinished;     /* steps that may be done and are not */
    uint32_t given_up;       /* of those: late by so much that nothing waits for them */
    bool held;               /* nothing is let go until what is late is done */
    int64_t now_ns;          /* as it was last told */
    int64_t begun_ns;
    int64_t released_ns; /* when the newest step was let go */
    int64_t paused_ns;   /* for how long the capture's clock has stood */
    int64_t at_ns;       /* the capture's clock, as far as it has been played */
};

void schedule_begin(struct schedule *s, const struct plan *p, double speed, int64_t now_ns);

/* What time it is. Before any of those below, and whenever time has passed. */
void schedule_enter(struct schedule *s, int64_t now_ns);

/* A step that may be done now: its index in plan->steps. False: none. */
bool schedule_next(struct schedule *s, uint32_t *step);

/* One that was let go is done. True: others may have been waiting for that. */
bool schedule_done(struct schedule *s);

/* All is done, and the capture is over. */
bool schedule_is_over(const struct schedule *s);

/* Real time until there may be a step to do, at most a day; NEVER: not before one is done. */
int64_t schedule_wait_ns(struct schedule *s);

#endif
