#include "deadline.h"

static void arm(struct deadline_queue *q, mono_ns now) {
    struct deadline *first = TAILQ_FIRST(&q->list);
    if (!first || first->at >= q->timer_at) return;
    mono_ns wait = first->at > now ? first->at - now : 0;
    wait += 999999; /* epoll counts in milliseconds: late by one rather than early */
    struct timeval tv = {.tv_sec = wait / SEC(1), .tv_usec = (wait % SEC(1)) / 1000};
    q->timer_at = first->at;
    event_add(q->timer, &tv);
}

static void fired(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct deadline_queue *q = arg;
    mono_ns now = q->enter(q->arg);
    q->timer_at = NEVER;
    for (struct deadline *d; (d = TAILQ_FIRST(&q->list)) && d->at <= now;) {
        deadline_stop(q, d);
        q->expired(d, q->arg);
    }
    arm(q, now);
    q->leave(q->arg);
}

void deadline_queue_init(struct deadline_queue *q, struct event_base *base, mono_ns after,
                         void (*expired)(struct deadline *, void *), mono_ns (*enter)(void *), void (*leave)(void *),
                         void *arg) {
    TAILQ_INIT(&q->list);
    q->timer = evtimer_new(base, fired, q);
    q->after = after;
    q->timer_at = NEVER;
    q->expired = expired;
    q->enter = enter;
    q->leave = leave;
    q->arg = arg;
}

void deadline_queue_clear(struct deadline_queue *q) {
    if (q->timer) event_free(q->timer);
    q->timer = NULL;
}

void deadline_start(struct deadline_queue *q, struct deadline *d, mono_ns now) {
    deadline_stop(q, d);
    if (q->after <= 0) return;
    d->at = now + q->after;
    struct deadline *prev = TAILQ_LAST(&q->list, deadline_list);
    while (prev && prev->at > d->at) prev = TAILQ_PREV(prev, deadline_list, link); /* the delay was shortened */
    if (prev)
        TAILQ_INSERT_AFTER(&q->list, prev, d, link);
    else
        TAILQ_INSERT_HEAD(&q->list, d, link);
    arm(q, now);
}

void deadline_stop(struct deadline_queue *q, struct deadline *d) {
    if (!d->at) return;
    TAILQ_REMOVE(&q->list, d, link);
    d->at = 0;
}
