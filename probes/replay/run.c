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

void run_enter(struct run *r) {
    r->now_ns = read_clock();
    if (!in_order(r)) {
        double passed = (double)(r->now_ns - r->begun_ns) * r->options.speed;
        int64_t at = r->plan->begin_ns + (int64_t)passed;
        if (at > r->at_ns) r->at_ns = at;
    }
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
    client_advance(c);
}

void run_step_done(struct run *r) {
    r->unfinished--;
    if (r->unfinished == 0 && (in_order(r) || r->next == r->plan->n_steps)) {
        struct timeval now = {0, 0};
        evtimer_add(&r->clock, &now);
    }
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
        if (in_order(r) ? r->unfinished > 0 : at > r->at_ns) break;
        release(r);
    }
    if (r->next == r->plan->n_steps && r->unfinished == 0) {
        event_base_loopbreak(r->base);
        return;
    }
    if (r->unfinished && (in_order(r) || r->next == r->plan->n_steps)) return; /* run_step_done goes on */
    struct timeval wait = {0, 0};
    if (!in_order(r)) {
        double ns = (double)(r->plan->steps[r->plan->order[r->next]].at_ns - r->at_ns) / r->options.speed;
        if (ns > 1e9 * 86400) ns = 1e9 * 86400;
        if (ns > 0) {
            wait.tv_sec = (time_t)(ns / 1e9);
            wait.tv_usec = (suseconds_t)((ns - (double)wait.tv_sec * 1e9) / 1e3);
        }
    }
    evtimer_add(&r->clock, &wait);
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
    witness_begin(&r->clients_seen);
    witness_begin(&r->origins_seen);
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
