#include "run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEPS_AT_ONCE 1000 /* then the loop has its turn */

static int64_t read_clock(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

void run_enter(struct run *r) {
    schedule_enter(&r->schedule, read_clock());
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
    if (!c->wait_ns) c->wait_ns = r->schedule.now_ns;
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

static void set_clock(struct run *r, int64_t ns) {
    struct timeval wait = {ns / SEC(1), (suseconds_t)(ns % SEC(1) / 1000)};

    evtimer_add(&r->clock, &wait);
}

void run_step_done(struct run *r) {
    if (schedule_done(&r->schedule)) set_clock(r, 0);
}

static void on_clock(evutil_socket_t fd, short what, void *arg) {
    struct run *r = arg;
    uint32_t step;
    int64_t ns;

    (void)fd;
    (void)what;
    run_enter(r);
    for (unsigned n = 0; n < STEPS_AT_ONCE && schedule_next(&r->schedule, &step); n++) {
        struct client *c = &r->clients[r->plan->step_conn[step]];
        c->due++;
        client_advance(c);
    }
    ns = schedule_wait_ns(&r->schedule);
    if (schedule_is_over(&r->schedule))
        event_base_loopbreak(r->base);
    else if (ns != NEVER) /* else run_step_done goes on */
        set_clock(r, ns);
}

static void on_signal(evutil_socket_t sig, short what, void *arg) {
    (void)sig;
    (void)what;
    run_stop(arg, RUN_INTERRUPTED);
}

void run_stop(struct run *r, enum run_outcome why) {
    r->outcome = (uint8_t)why;
    event_base_loopbreak(r->base);
}

bool run_begin(struct run *r) {
    struct event_config *config = event_config_new();

    if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER)) abort();
    r->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!r->base) return false;
    evtimer_assign(&r->tick, r->base, on_tick, r);
    evtimer_assign(&r->clock, r->base, on_clock, r);
    evsignal_assign(&r->signals[0], r->base, SIGINT, on_signal, r);
    evsignal_assign(&r->signals[1], r->base, SIGTERM, on_signal, r);
    for (int i = 0; i < 2; i++) evsignal_add(&r->signals[i], NULL);
    return true;
}

enum run_outcome run_play(struct run *r) {
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
    schedule_begin(&r->schedule, r->plan, r->options.speed, read_clock());
    set_clock(r, 0);
    event_base_dispatch(r->base);
    evtimer_del(&r->tick);
    evtimer_del(&r->clock);
    return (enum run_outcome)r->outcome;
}

void run_free(struct run *r) {
    for (int i = 0; i < 2 && r->base; i++) evsignal_del(&r->signals[i]);
    witness_free(&r->clients_seen);
    witness_free(&r->origins_seen);
    free(r->clients);
    free(r->buffer);
    if (r->base) event_base_free(r->base);
}
