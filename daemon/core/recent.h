/* The newest requests that a pool served, each with its times: what a what-if over the
 * last minutes is made from, since a record keeps the events of few of them.
 *
 * A request is put down when it is over, from the newest marks of its connection's life. */
#ifndef CONNLEAK_RECENT_H
#define CONNLEAK_RECENT_H

#include "lifecycle.h"

#include <stddef.h>

struct recent_exchange {
    conn_id conn;
    int64_t at_ns;     /* when it wanted a connection */
    int64_t waited_ns; /* after at_ns: it had one */
    int64_t done_ns;   /* after at_ns: it was over; -1: it runs */
    uint32_t
        first_us; /* after at_ns, in microseconds: the answer's first byte; UINT32_MAX: never, or later than that */
    uint32_t announced, body; /* bytes, UINT32_MAX: that or more, or unknown */
    uint16_t status;
    uint8_t end; /* enum workload_end */
    bool retried;
};

struct recent;

/* At most `room` of them are held; memory is taken as they come. */
struct recent *recent_new(size_t room);
void recent_free(struct recent **rp);

/* The event that was just folded into the life of an upstream connection. */
void recent_event(struct recent *r, const struct lifecycle *l, const struct conn_event *ev);

/* They are numbered: those in [recent_first, recent_next) are held. NULL for any other. */
uint64_t recent_first(const struct recent *r);
uint64_t recent_next(const struct recent *r);
const struct recent_exchange *recent_get(const struct recent *r, uint64_t seq);

/* The one that the connection carries now, or carried last, as its newest marks have it; false if it
 * carried none, or the marks do not reach so far back. */
bool recent_of(const struct lifecycle *l, struct recent_exchange *out);

#endif
