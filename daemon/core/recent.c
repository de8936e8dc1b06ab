#include "recent.h"

#include "workload.h"

#include <stdlib.h>

#define FIRST_ROOM 256

struct recent {
    struct recent_exchange *ring; /* number i at i modulo room */
    size_t room, most;
    uint64_t first, next;
};

struct recent *recent_new(size_t room) {
    struct recent *r = calloc(1, sizeof *r);

    if (!r) abort();
    r->most = room;
    return r;
}

void recent_free(struct recent **rp) {
    if (!*rp) return;
    free((*rp)->ring);
    free(*rp);
    *rp = NULL;
}

uint64_t recent_first(const struct recent *r) {
    return r->first;
}
uint64_t recent_next(const struct recent *r) {
    return r->next;
}

const struct recent_exchange *recent_get(const struct recent *r, uint64_t seq) {
    return seq >= r->first && seq < r->next ? &r->ring[seq % r->room] : NULL;
}

/* Until the ring is as large as it may be, nothing has left it: numbers are places. */
static bool grow(struct recent *r) {
    size_t room = r->room ? r->room * 2 : FIRST_ROOM;
    struct recent_exchange *ring;

    if (room > r->most) room = r->most;
    if (r->next < r->room || room == r->room) return r->room > 0;
    ring = realloc(r->ring, room * sizeof *ring);
    if (!ring) return r->room > 0; /* memory is short: it stays as large as it is, and the oldest go */
    r->ring = ring;
    r->room = room;
    return true;
}

static void put(struct recent *r, const struct recent_exchange *x) {
    if (r->first == 0 && !grow(r)) return;
    if (r->next - r->first == r->room) r->first++;
    r->ring[r->next++ % r->room] = *x;
}

static uint32_t microseconds(int64_t ns) {
    return ns < 0 || ns / 1000 >= UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 1000);
}

static void over(struct recent_exchange *x, const struct conn_mark *m, enum workload_end end) {
    x->end = (uint8_t)end;
    x->done_ns = m->at_ns; /* of the clock, until all is known */
}

/* What a mark that lies behind EV_GOT_CONN says. They come newest first. */
static void tell(struct recent_exchange *x, const struct conn_mark *m, int64_t *first_ns) {
    switch ((enum conn_event_kind)m->kind) {
    case EV_BODY_EOF:
        over(x, m, END_COMPLETE);
        x->body = m->value;
        break;
    case EV_EARLY_CLOSE:
        over(x, m, END_GIVEN_UP);
        x->body = m->value;
        break;
    case EV_RETRIED:
        over(x, m, END_FAILED);
        x->retried = true;
        break;
    case EV_UPGRADED:
    case EV_TUNNEL:
        over(x, m, END_OPAQUE);
        break;
    case EV_RESPONSE:
        x->status = m->code;
        x->announced = m->value;
        break;
    case EV_FIRST_BYTE:
        *first_ns = m->at_ns;
        break;
    default:
        break;
    }
}

bool recent_of(const struct lifecycle *l, struct recent_exchange *out) {
    struct recent_exchange x = {.conn = l->id, .done_ns = -1, .announced = UINT32_MAX, .first_us = UINT32_MAX};
    int64_t first_ns = -1;

    x.end = END_OPEN;
    for (unsigned i = l->n_marks; i-- > 0;) {
        const struct conn_mark *m = lifecycle_mark(l, i);
        if (m->kind != EV_GOT_CONN) {
            tell(&x, m, &first_ns);
            continue;
        }
        x.waited_ns = m->value;
        x.at_ns = m->at_ns - x.waited_ns;
        if (x.done_ns >= 0) x.done_ns -= x.at_ns;
        if (first_ns >= 0) x.first_us = microseconds(first_ns - x.at_ns);
        *out = x;
        return true;
    }
    return false;
}

void recent_event(struct recent *r, const struct lifecycle *l, const struct conn_event *ev) {
    struct recent_exchange x;

    switch ((enum conn_event_kind)ev->kind) {
    case EV_BODY_EOF:
    case EV_EARLY_CLOSE:
    case EV_RETRIED:
    case EV_UPGRADED:
        if (recent_of(l, &x)) put(r, &x);
        break;
    case EV_ENDED: /* in the middle of one? */
        if (!recent_of(l, &x) || x.end != END_OPEN) break;
        x.end = (uint8_t)workload_end_of(l);
        x.done_ns = ev->at_ns - x.at_ns;
        put(r, &x);
        break;
    default:
        break;
    }
}
