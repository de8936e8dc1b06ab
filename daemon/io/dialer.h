/* From a name to a connected stream: resolve, connect to one address after the
 * other with the second family 300 ms behind (as Go's Dialer), TLS handshake.
 *
 * Every attempt that reached the network has a lifecycle record: the one that
 * wins, or fails last, that of the dial itself, the others one of their own. */
#ifndef CONNLEAK_DIALER_H
#define CONNLEAK_DIALER_H

#include "server.h"

enum dial_result {
    DIAL_OK,
    DIAL_DNS_ERROR,   /* the name has no address, or no name server said so */
    DIAL_DNS_TIMEOUT, /* nobody answered for the name within pool.dial_timeout */
    DIAL_REFUSED,
    DIAL_UNREACHABLE, /* no route, or the network said no */
    DIAL_TIMEOUT,     /* no answer within pool.dial_timeout */
    DIAL_LOOP,        /* the address is our own */
    DIAL_DENIED,      /* access.deny_destinations, by the address found */
    DIAL_NO_SOCKET,   /* descriptors or ports are used up here */
    DIAL_TLS_CERTIFICATE,
    DIAL_TLS_ALERT,
    DIAL_TLS_ERROR,
    DIAL_TLS_TIMEOUT,
};

/* What became of it. On DIAL_OK the stream and the life, with its flow and
 * EV_DIALED (EV_TLS_DONE), are the receiver's; otherwise the life is closed
 * already. `text` is one sentence about a failure. Never called from within
 * dial_start. The dial is gone when it is called. */
typedef void dial_done_fn(struct server *s, void *arg, enum dial_result result, const char *text, struct stream *stream,
                          struct lifecycle *life);

struct dial;

struct dial_target {
    const char *host; /* name or numeric address, without brackets */
    uint16_t port;
    bool tls;
    const char *addr; /* Go's addr: the owner of TLS sessions */
};

/* `life` is open, LIFE_DIALING. The strings are copied. */
struct dial *dial_start(struct server *s, conn_id id, const struct dial_target *target, struct lifecycle *life,
                        dial_done_fn *done, void *arg);

/* Ends it without calling `done`; the life is closed with `why`. Clears *dp. */
void dial_cancel(struct dial **dp, enum close_reason why);

#endif
