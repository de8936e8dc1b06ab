#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEPS_AT_ONCE 1000 /* then the loop has its turn */

static int64_t read_clock(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

static bool in_order(const struct run *r) {
    return r->options.speed == 0;
}

/* Something that should have happened by now has not, and perhaps soon will. */
static bool is_late(const struct run *r) {
    return r->unfinished > r->given_up;
}

/* The capture's clock, at the chosen speed. It stands still for a moment where something is
 * late: the order in which things happened matters more than a millisecond. */
void run_enter(struct run *r) {
    int64_t at_ns, next_ns;

    r->now_ns = read_clock();
    if (in_order(r)) return;
    at_ns = r->plan->begin_ns + (int64_t)((double)(r->now_ns - r->begun_ns - r->paused_ns) * r->options.speed);
    next_ns = r->next < r->plan->n_steps ? r->plan->steps[r->plan->order[r->next]].at_ns : NEVER;
    if (is_late(r) && at_ns > next_ns) {
        if (r->now_ns - r->released_ns < LATE_NS) {
            r->paused_ns += (int64_t)((double)(at_ns - next_ns) / r->options.speed);
            at_ns = next_ns;
        } else {
            r->given_up = r->unfinished;
        }
    }
    if (at_ns > r->at_ns) r->at_ns = at_ns;
}

/* ---- clients that wait ---- */

static void set_tick(struct run *r) {
    struct timeval period = {0, 50000};

    if (r->n_waiting == 0 || r->ticking) return;
    if (r->n_fast) period.tv_usec = 1000 + (suseconds_t)(r->n_waiting < 10000 ? r->n_waiting * 5 : 50000);
    evtimer_add(&r->tick, &period);
    r->ticking = true;
}

void run_wait_over(struct run *r, struct client *c) {
    if (!c->waiting) return;
    TAILQ_REMOVE(&r->waiting, c, waits);
    r->n_waiting--;
    r->n_fast -= c->fast;
    c->waiting = false;
}

void run_wait(struct run *r, struct client *c, bool fast) {
    run_wait_over(r, c);
    if (!c->wait_ns) c->wait_ns = r->now_ns;
    TAILQ_INSERT_TAIL(&r->waiting, c, waits);
    c->waiting = true;
    c->fast = fast;
    r->n_waiting++;
    if (fast && r->n_fast++ == 0 && r->ticking) { /* the slow tick comes too late */
        evtimer_del(&r->tick);
        r->ticking = false;
    }
    set_tick(r);
}

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    struct run *r = arg;

    (void)fd;
    (void)what;
    r->ticking = false;
    run_enter(r);
    for (unsigned n = r->n_waiting; n-- > 0 && !TAILQ_EMPTY(&r->waiting);) {
        struct client *c = TAILQ_FIRST(&r->waiting);
        run_wait_over(r, c);
        client_advance(c); /* which puts it back, at the end, if it must wait on */
    }
    set_tick(r);
}

/* ---- the schedule ---- */

static void release(struct run *r) {
    uint32_t i = r->plan->order[r->next++];
    struct client *c = &r->clients[r->plan->step_conn[i]];

    if (r->plan->steps[i].at_ns > r->at_ns) r->at_ns = r->plan->steps[i].at_ns;
    c->due++;
    r->unfinished++;
    r->released_ns = r->now_ns;
    client_advance(c);
}

void run_step_done(struct run *r) {
    r->unfinished--;
    if (r->given_up > r->unfinished) r->given_up = r->unfinished;
    if (r->unfinished == 0 || (!in_order(r) && !is_late(r) && r->clock_waits)) {
        r->clock_waits = false;
        struct timeval now = {0, 0};
        evtimer_add(&r->clock, &now);
    }
}

static void set_clock(struct run *r) {
    int64_t until = r->next < r->plan->n_steps ? r->plan->steps[r->plan->order[r->next]].at_ns : r->plan->end_ns;
    double ns = in_order(r) ? 0 : (double)(until - r->at_ns) / r->options.speed;
    struct timeval wait;

    r->clock_waits = !in_order(r) && is_late(r);
    if (r->clock_waits && ns < LATE_NS) ns = LATE_NS;
    if (ns > 86400e9) ns = 86400e9;
    if (ns < 0) ns = 0;
    wait.tv_sec = (time_t)(ns / 1e9);
    wait.tv_usec = (suseconds_t)((ns - (double)wait.tv_sec * 1e9) / 1e3);
    evtimer_add(&r->clock, &wait);
}

/* Which steps may be done now: in order, the next when those before are done; by the clock, all whose time has come. */
static void on_clock(evutil_socket_t fd, short what, void *arg) {
    struct run *r = arg;
    unsigned n = 0;

    (void)fd;
    (void)what;
    run_enter(r);
    while (r->next < r->plan->n_steps && n++ < STEPS_AT_ONCE) {
        int64_t at = r->plan->steps[r->plan->order[r->next]].at_ns;
        if (in_order(r) ? r->unfinished > 0 : at > r->at_ns || is_late(r)) break;
        release(r);
    }
    if (r->next == r->plan->n_steps && r->unfinished == 0 && (in_order(r) || r->at_ns >= r->plan->end_ns)) {
        event_base_loopbreak(r->base);
        return;
    }
    if (r->unfinished && (in_order(r) || r->next == r->plan->n_steps)) return; /* run_step_done goes on */
    set_clock(r);
}

bool run_play(struct run *r) {
    r->clients = calloc(r->plan->n_conns ? r->plan->n_conns : 1, sizeof *r->clients);
    r->buffer = malloc(RUN_BUFFER);
    if (!r->clients || !r->buffer) abort();
    TAILQ_INIT(&r->waiting);
    for (uint32_t i = 0; i < r->plan->n_conns; i++) {
        r->clients[i].run = r;
        r->clients[i].conn = i;
        r->clients[i].fd = -1;
        r->clients[i].take = NO_LEN;
    }
    witness_begin(&r->clients_seen, 0);
    witness_begin(&r->origins_seen, 0);
    r->at_ns = r->plan->begin_ns;
    r->begun_ns = r->now_ns = read_clock();
    evtimer_assign(&r->tick, r->base, on_tick, r);
    evtimer_assign(&r->clock, r->base, on_clock, r);
    struct timeval now = {0, 0};
    evtimer_add(&r->clock, &now);
    event_base_dispatch(r->base);
    evtimer_del(&r->tick);
    evtimer_del(&r->clock);
    return !r->stopped;
}
