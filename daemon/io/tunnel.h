/* Bytes both ways between a client and an origin, unseen: CONNECT and Upgrade. */
#ifndef CONNLEAK_TUNNEL_H
#define CONNLEAK_TUNNEL_H

#include "client_conn.h"
#include "upstream_conn.h"

enum tunnel_kind {
    TUNNEL_CONNECT, /* a FIN is passed on as a FIN; the other direction goes on */
    TUNNEL_UPGRADE, /* the first direction to end closes both (R167) */
};

/* Both connections are the tunnel's from here on, their events off. `to_client`
 * and `to_origin` are bytes that are to go first; they are copied. The first
 * `ours` of those to the client are an answer of the proxy's. */
void tunnel_start(struct server *s, enum tunnel_kind kind, struct client_conn *c, struct upstream_conn *u,
                  const void *to_client, size_t to_client_len, size_t ours, const void *to_origin,
                  size_t to_origin_len);

/* The daemon ends now. */
void tunnel_shutdown_all(struct server *s);

#endif
