/* The side we ask: one pooled connection to an origin. It keeps reading while it
 * is idle, so that a peer's close is dated when it happens. */
#ifndef CONNLEAK_UPSTREAM_CONN_H
#define CONNLEAK_UPSTREAM_CONN_H

#include "bytes.h"
#include "dialer.h"
#include "server.h"

#include <event2/event_struct.h>

struct upstream_conn {
    conn_id id;
    struct server *s;
    struct lifecycle *life;
    struct dial *dial;   /* while it is being dialed */
    struct relay *relay; /* while an exchange runs on it */
    struct h1 *h1;       /* while a response is awaited or under way */
    struct bytes head;   /* part of a response head that came in pieces */
    struct stream stream;
    struct event event; /* EV_READ | EV_PERSIST */
    struct buried buried;
    uint64_t unasked; /* bytes that no request had asked for */
    bool unasked_is_response;
    bool upload_cut; /* the response was complete, and the request was not wholly written */
    bool reading;
    bool pooled; /* the pool knows it; not so for CONNECT tunnels and after pool_detach */
};

/* The pool said so: dial, and answer the pool. */
void upstream_dial(struct server *s, conn_id id, const struct connect_key *key);

/* Closes the socket (or the dial) and forgets it; the pool is told by the
 * caller, unless it was the pool that asked. */
void upstream_close(struct upstream_conn *u, enum close_reason why, enum close_phase phase);

/* The same, and the pool is told. */
void upstream_lost(struct upstream_conn *u, enum close_reason why, enum close_phase phase);

/* These bytes are of no response that was asked for: what the connection's end will say. */
void upstream_unasked(struct upstream_conn *u, const uint8_t *bytes, size_t len);

/* Reading on or off; bytes that TLS has decrypted already count as readable. */
/* Reads what came while no request was out: the end, or bytes that nobody asked
 * for (R76). Either ends the connection, and the pool is told. */
void upstream_look(struct upstream_conn *u);

void upstream_read_on(struct upstream_conn *u);
void upstream_read_off(struct upstream_conn *u);

/* For a CONNECT tunnel: a connection beside the pool, its stream connected. Its
 * event is off. */
struct upstream_conn *upstream_adopt(struct server *s, conn_id id, struct stream *stream, struct lifecycle *life);

/* The daemon ends now. */
void upstream_shutdown_all(struct server *s);

#endif
