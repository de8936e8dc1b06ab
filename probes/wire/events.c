/* What happens on connections, in order: a queue that the reader empties after each batch. */
#include "wire/conn.h"

#include <stdlib.h>

struct wire_event *happened(struct wire *w, const struct conn *c, enum wire_event_kind kind, int64_t at_ns,
                             uint64_t packet) {
    struct wire_event *e;

    if (!w->limits.events) return NULL;
    if (w->n_events == w->events_room) {
        w->events_room = w->events_room ? w->events_room * 2 : 256;
        w->events = realloc(w->events, w->events_room * sizeof *w->events);
        if (!w->events) abort();
    }
    e = &w->events[w->n_events++];
    *e = (struct wire_event){.at_ns = at_ns,
                             .conn = c->id,
                             .packet = packet,
                             .client = c->ends[c->client],
                             .server = c->ends[!c->client],
                             .host = c->host,
                             .user_agent = c->user_agent,
                             .kind = (uint8_t)kind};
    return e;
}

const struct wire_event *wire_next_event(struct wire *w) {
    if (w->events_first < w->n_events) return &w->events[w->events_first++];
    w->events_first = w->n_events = 0;
    return NULL;
}
