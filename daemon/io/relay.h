/* Carries one request from a client to an origin and the answer back. */
#ifndef CONNLEAK_RELAY_H
#define CONNLEAK_RELAY_H

#include "bytes.h"
#include "client_conn.h"
#include "core/exchange.h"
#include "destination.h"
#include "dialer.h"
#include "heads.h"
#include "reply.h"
#include "upstream_conn.h"

enum relay_state {
    RELAY_NEW,        /* its head is being looked at */
    RELAY_READY,      /* on server.ready: wants a connection when this round's reads are done */
    RELAY_WANTING,    /* the pool knows its want; ended by relay_deliver, relay_dial_failed, or the client leaving */
    RELAY_DIALING,    /* CONNECT: a dial of its own is under way */
    RELAY_RUNNING,    /* has an upstream connection */
    RELAY_GRACE,      /* the response is complete, the request is not yet written: 50 ms for that (R48) */
    RELAY_DRAINING,   /* the client is gone; the body is read off so that the connection can be kept (go1.27) */
    RELAY_FLUSHING,   /* done with the origin; the client has not taken everything yet */
    RELAY_DISCARDING, /* answered; the rest of the request's body is thrown away */
    RELAY_OVER,       /* buried */
};

/* How much of the request's body the client has sent. */
enum upload_state {
    UPLOAD_NONE, /* there is none */
    UPLOAD_OPEN, /* more is to come from the client */
    UPLOAD_READ, /* all of it is here, or gone on */
};

/* What becomes of the client's connection when it has taken everything. */
enum after {
    AFTER_NEXT,   /* the next request */
    AFTER_FINISH, /* our FIN, lingering */
    AFTER_CUT,    /* close: the response is visibly incomplete */
    AFTER_RESET,  /* close with a RST: nothing else would show it */
};

struct relay {
    TAILQ_ENTRY(relay) link; /* server.ready */
    SLIST_ENTRY(relay) spare;
    struct server *s;
    struct client_conn *client;     /* NULL while RELAY_DRAINING */
    struct upstream_conn *upstream; /* RUNNING, GRACE, DRAINING */
    struct dial *dial;              /* DIALING */
    want_id want;                   /* of the attempt under way; 0: none */
    mono_ns wanted_at; /* when the pool was asked for a connection for it */
    struct exchange x;
    struct exchange_request rq;
    struct bytes head; /* the request's head as it goes on; kept while a retry may need it */
    struct bytes up;   /* of its body: read from the client, not taken by the origin's socket */
    struct bytes down; /* not taken by the client's socket */
    struct splice_pipe *pipe;
    struct deadline response_d, expect_d, grace_d, drain_d;
    uint64_t body_up;   /* body bytes of the request that went on, framing included */
    uint64_t body_down; /* body bytes of the response handed to the client's side */
    uint64_t discarded; /* RELAY_DISCARDING, RELAY_DRAINING */
    struct buried buried;
    uint8_t state, upload, after, down_framing;
    uint8_t after_reason;          /* enum close_reason for the client's record */
    bool up_waiting, down_waiting; /* the write events are added */
    bool only_h1, is_connect, head_only;
    bool safe_method, idempotency_key, has_body;
    bool client_minor;    /* HTTP/1.1 */
    bool client_keeps;    /* the client's connection may go on after this */
    bool client_waits;    /* for a 100, and none was sent */
    bool answered;        /* a final head went to the client, an origin's or ours */
    bool nothing_written; /* of this attempt */
    bool left_over;       /* bytes came behind the response */
    /* All above is zero when a relay begins; what follows is written before it is read. */
    char zero_to_here;
    struct target target;
    struct event up_event, down_event; /* EV_WRITE, assigned when a socket is full */
    char upgrade[64];                  /* the protocol asked for, with rq.is_upgrade */
};

/* A request head is complete: `head`, its spans counting from `bytes`. c->relay is
 * set; the request's body is next in c->h1. */
void relay_begin(struct client_conn *c, const struct h1_head *head, const uint8_t *bytes);

/* The head could not be read: answers and ends the client's connection. */
void relay_refuse(struct client_conn *c, enum reply_kind kind, const char *detail);

/* Bytes of the request's body, as the client sent them; returns how many belong
 * to this request. Does nothing once UPLOAD_READ. */
size_t relay_upload(struct relay *r, const uint8_t *data, size_t len);

/* May the client's socket be read for this relay now? */
bool relay_takes_upload(const struct relay *r);

/* The client's socket ended, by what, while this relay had it. */
void relay_client_gone(struct relay *r, enum io_result how);

/* From the pool: a connection, or the error of its dial. */
void relay_deliver(struct relay *r, struct upstream_conn *u);
mono_ns relay_waited(const struct relay *r); /* for it, so far */
void relay_dial_failed(struct relay *r, enum dial_result result, const char *text);

/* The upstream connection became readable. */
void relay_readable(struct relay *r);

/* Answers with an answer of our own, if none was begun; else cuts. The upstream
 * connection must be gone. */
void relay_fail(struct relay *r, enum reply_kind kind, const char *detail, enum close_reason why);

/* Timeouts, for server.c's queues. */
void relay_response_expired(struct deadline *d, void *server);
void relay_expect_expired(struct deadline *d, void *server);
void relay_grace_expired(struct deadline *d, void *server);
void relay_drain_expired(struct deadline *d, void *server);

/* For server_clear. */
void relay_free_spares(struct server *s);

/* The daemon ends now: closes both sides. */
void relay_shutdown(struct relay *r);

/* relay_response.c, relay_request.c and relay_end.c share these. */
void relay_send_down(struct relay *r, const struct iovec *iov, int n);
bool relay_write_up(struct relay *r);
void relay_complete(struct relay *r);
void relay_settle(struct relay *r);
void relay_give_up_drain(struct relay *r);
void relay_over(struct relay *r);
void relay_upstream_failed(struct relay *r, enum io_result how);
void relay_write_failed(struct relay *r);
void relay_drop_upstream(struct relay *r, enum close_reason why);
enum close_phase relay_phase(const struct relay *r);
bool relay_held_down(const struct relay *r);
void relay_down_ready(evutil_socket_t fd, short what, void *arg);
void relay_up_ready(evutil_socket_t fd, short what, void *arg);
void relay_switch(struct relay *r, const struct h1_head *head, const uint8_t *bytes, const uint8_t *rest,
                  size_t rest_len);
void relay_connect(struct relay *r);

#endif
