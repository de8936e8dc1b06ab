/* The pool under a live daemon: the only file that knows both the pool and the
 * sockets. Feed one input, carry out the actions, arm one timer. */
#ifndef CONNLEAK_LIVE_DRIVER_H
#define CONNLEAK_LIVE_DRIVER_H

#include "relay.h"
#include "upstream_conn.h"

/* A request wants a connection: now, or when this round's reads are done, so that
 * a server's close that came with it is seen first (R171). */
void live_want(struct relay *r);

/* Its context is over: it was given up, or it is finished (R27-R30). */
void live_cancel(struct relay *r);

/* Inputs about connections. Each is followed by live_drive at the latest when the callback ends. */
void live_dialed(struct upstream_conn *u);
void live_put(struct upstream_conn *u);
void live_detach(struct upstream_conn *u);

/* Carries out what the pool decided, and arms its timer. Does nothing when it is
 * running already, further up the stack. */
void live_drive(struct server *s);

void live_close_idle(struct server *s);

/* For server.c's events: the requests of this round; the pool's timer. */
void live_want_ready(struct server *s);
void live_tick(struct server *s);

#endif
