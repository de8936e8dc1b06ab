/* The side that asks us: reads requests off a client's connection, one after the
 * other, and hands each to a relay. */
#ifndef CONNLEAK_CLIENT_CONN_H
#define CONNLEAK_CLIENT_CONN_H

#include "bytes.h"
#include "server.h"

#include <event2/event_struct.h>

enum client_state {
    CLIENT_IDLE,   /* between requests: nothing buffered; ended by a byte, EOF or client_idle_timeout */
    CLIENT_HEAD,   /* part of a request head is in `in`; ended by the rest or header_timeout */
    CLIENT_BUSY,   /* a relay carries its request; ended by client_next, client_finish, client_cut */
    CLIENT_OPAQUE, /* a tunnel has its stream; ended by the tunnel */
    CLIENT_LINGER, /* our last answer and FIN are out; what still comes is thrown away until EOF or linger_q */
    CLIENT_GONE,   /* closed; buried */
};

struct client_conn {
    TAILQ_ENTRY(client_conn) link; /* server.clients */
    struct server *s;
    struct lifecycle *life;
    struct relay *relay;      /* CLIENT_BUSY */
    struct h1 *h1;            /* while a message is under way */
    struct bytes in;          /* bytes read and not yet consumed */
    struct deadline deadline; /* head_q, idle_q or linger_q, by state */
    struct stream stream;
    struct event event; /* EV_READ | EV_PERSIST */
    struct buried buried;
    uint32_t lingered;    /* bytes thrown away in CLIENT_LINGER */
    uint8_t state;        /* enum client_state */
    bool reading;         /* the event is added */
    uint8_t close_reason; /* CLIENT_LINGER: what the record will say */
    bool half_closed;     /* its FIN came */
    bool left_waiting;    /* it came while nothing was answered yet: what we say after it is of no use to anybody */
};

/* A connection from the listener; `local` its own address. Takes fd. */
void client_accept(struct server *s, int fd, const struct endpoint *local, const struct endpoint *peer);

/* Turns one away with a 503 and closes it. Takes fd. */
void client_reject(struct server *s, int fd, const struct endpoint *local, const struct endpoint *peer,
                   const char *detail);

/* The exchange is over and the connection goes on: the next request, perhaps
 * one that is here already. */
void client_next(struct client_conn *c);

/* The exchange is over, everything is written, and the connection shall end: our
 * FIN, then wait for the client's, so that no RST destroys what it has not read. */
void client_finish(struct client_conn *c, enum close_reason why);

/* Bytes that we wrote to this client and that its kernel never had, when it ended the connection. What its RST
 * acknowledged our kernel does not say: all that had left counts as received. */
uint64_t client_untaken(const struct lifecycle *l, const struct stream_end *end);

/* Ends it now. phase: where its exchange was. `reset`: with a RST, so that a body
 * whose end is the connection's cannot look complete. */
void client_close(struct client_conn *c, enum close_reason why, enum close_phase phase, bool reset);

/* Reading on or off. */
void client_read_on(struct client_conn *c);
void client_read_off(struct client_conn *c);

/* The stream goes to a tunnel; the client_conn stays the owner of life and stream,
 * with its event off. */
void client_to_opaque(struct client_conn *c);

/* The daemon ends now. */
void client_shutdown_all(struct server *s);

/* Timeouts, for server.c's queues. */
void client_head_expired(struct deadline *d, void *server);
void client_idle_expired(struct deadline *d, void *server);
void client_linger_expired(struct deadline *d, void *server);

#endif
