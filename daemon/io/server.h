/* What the live parts share: the loop, the time, the pool, the ledger, the
 * timeouts and the spare parts. One event loop, one thread.
 *
 * Every libevent callback of the data path is bracketed:
 *
 *     server_enter(s);   the clock is read, once: s->now
 *     ...
 *     server_leave(s);   the pool's decisions are carried out, its timer is set
 *
 * Objects that end inside a callback are buried (server_bury) and freed after it,
 * so that nobody up the stack holds a pointer into freed memory. */
#ifndef CONNLEAK_SERVER_H
#define CONNLEAK_SERVER_H

#include "access.h"
#include "bytes.h"
#include "conf.h"
#include "core/finding.h"
#include "core/h1.h"
#include "core/idmap.h"
#include "core/ledger.h"
#include "core/pool.h"
#include "deadline.h"
#include "log/log.h"
#include "stream.h"

#include <event2/event.h>
#include <sys/queue.h>

struct server;
struct evdns_base;
struct tls_client;
struct relay;
struct client_conn;
struct findings;

/* Something whose memory outlives the callback that ended it. */
struct buried {
    SLIST_ENTRY(buried) link;
    void (*free)(struct server *s, void *object);
    void *object;
};

/* Numbers that are not sums over records. */
struct server_gauges {
    unsigned clients_open, clients_peak;
    uint64_t rejected;     /* client connections turned away: 403 by address, 503 by limit */
    unsigned tunnels_open; /* CONNECT and Upgrade */
    uint64_t tunnels_total, tunnel_bytes_in, tunnel_bytes_out; /* from and to the origin */
    unsigned requests_running;                                 /* client requests that have no complete response yet */
    mono_ns last_request;                                      /* when one last ran: what proxy.drain_quiet looks at */
};

/* Pipes for splice(2). How much may lie in one is decided where it is filled. */
struct splice_pipe {
    SLIST_ENTRY(splice_pipe) link;
    int rd, wr;
    size_t size, held; /* bytes in it */
};

#define SERVER_EVERY  MSEC(100)
#define SUSPECT_AFTER SEC(1)
#define SCRATCH_LEAST (256u << 10)
#define PIPE_SIZE     (1 << 20)
#define SPARE_H1      64
#define PIPES_MAX     64 /* beyond them bodies are copied */

struct server {
    struct event_base *base;
    struct conf *conf;           /* borrowed */
    struct passwords *passwords; /* NULL: nobody need identify; borrowed */
    struct pool *pool;           /* owned by whoever made the server, as are ledger and tls */
    struct ledger *ledger;
    struct findings *findings; /* NULL: nobody looks for any; borrowed */
    struct tls_client *tls;
    struct evdns_base *dns;

    mono_ns now;        /* of this callback */
    int64_t to_wall_ns; /* added to now gives the wall clock */

    struct idmap upstreams; /* conn_id -> struct upstream_conn */
    struct idmap wants;     /* want_id -> struct relay */
    conn_id last_client_id;
    want_id last_want;

    TAILQ_HEAD(client_list, client_conn) clients;
    TAILQ_HEAD(, relay) ready; /* new requests of this round: asked of the pool after all its reads */
    struct event *ready_event;
    SLIST_HEAD(, buried) graveyard;
    struct event *on_closed; /* NULL, or what is to run within SERVER_EVERY after connections closed */
    uint64_t closed_seen;
    /* NULL, or what is to run within SUSPECT_AFTER when a client did what may become suspect: may_suspect is set */
    struct event *on_suspicion;
    bool may_suspect;
    struct event *on_moved; /* server_watch */
    uint64_t moves_seen;
    struct event *tick; /* NULL, or what is to run tick_after something happened, unless it is ticking already */
    mono_ns tick_after;
    bool ticking;      /* cleared by the tick that needs no other */
    mono_ns last_work; /* when something last happened */
    int dial_result;   /* enum dial_result and words of the dial failure that the pool is being told of */
    const char *dial_text;
    struct event *pool_timer;
    mono_ns pool_timer_at;
    bool driving;  /* live_drive is on the stack */
    bool draining; /* SIGTERM came */
    bool shedding; /* no new work: the ledger's file is behind */
    /* So far behind that no connection may begin, since its record would need memory. */
    bool ledger_full;

    struct deadline_queue head_q;     /* a request head under way: proxy.header_timeout */
    struct deadline_queue idle_q;     /* a client between requests: proxy.client_idle_timeout */
    struct deadline_queue linger_q;   /* after our last answer: until the client has it */
    struct deadline_queue response_q; /* pool.response_header_timeout */
    struct deadline_queue expect_q;   /* pool.expect_continue_timeout */
    struct deadline_queue grace_q;    /* WRITE_GRACE, R48 */
    struct deadline_queue drain_q;    /* DRAIN_TIME, go1.27 */

    struct endpoint *own; /* addresses that lead back to us: listeners', admin's */
    size_t n_own;
    char via[40]; /* our name in Via, unlike that of any other daemon */

    uint8_t *scratch;                 /* where reads go, for the length of a callback */
    uint8_t *client_scratch;          /* and those from clients: a write that fails reads the origin's answer at once */
    size_t scratch_size;              /* of each */
    struct bytes head_out;            /* heads on their way to a socket; empty between callbacks */
    struct h1 *spare_h1[2][SPARE_H1]; /* by enum h1_side */
    unsigned n_spare_h1[2];
    SLIST_HEAD(, relay) spare_relays;
    SLIST_HEAD(, splice_pipe) spare_pipes;
    unsigned n_pipes;
    unsigned max_clients; /* proxy.max_clients, or what the descriptor limit allows if that is less */

    struct server_gauges gauge;
    struct log_limit said_fds, said_clients;
};

/* Makes the loop's shared parts; pool, ledger, tls, dns are set by the caller
 * before the first connection. Aborts when memory is short. */
void server_init(struct server *s, struct event_base *base, struct conf *conf);
void server_clear(struct server *s);

mono_ns server_enter(struct server *s);
void server_leave(struct server *s);

/* Frees `object` by `fn` after this callback; b is a member of it. */
void server_bury(struct server *s, struct buried *b, void (*fn)(struct server *, void *), void *object);

/* `wake` (borrowed; NULL: nothing) is to run, once, within SERVER_EVERY after connections opened or closed, and at once
 * where MOVES_MOST did; called anew by it each time. */
#define MOVES_MOST 128
void server_watch(struct server *s, struct event *wake);

/* Delays that SIGHUP changed. */
void server_set_delays(struct server *s);

/* An address at which this daemon itself listens. */
void server_add_own(struct server *s, const struct endpoint *e);
bool server_is_own(const struct server *s, const struct endpoint *e);

/* Parsers, given back when a connection has nothing under way. */
struct h1 *server_h1(struct server *s, enum h1_side side);
void server_h1_back(struct server *s, enum h1_side side, struct h1 **hp);

/* A pipe for splice, NULL where none is to be had; put back empty or closed. */
struct splice_pipe *server_pipe(struct server *s);
void server_pipe_back(struct server *s, struct splice_pipe **pp);

/* The rules hear of these; in facts.c. */
#define FACT_EVENTS                                                                                                    \
    (1u << EV_ACCEPTED | 1u << EV_BODY_EOF | 1u << EV_PUT_IDLE | 1u << EV_RETRIED | 1u << EV_UPGRADED |                \
     1u << EV_TUNNEL | 1u << EV_FIN_SENT | 1u << EV_RST_SENT | 1u << EV_FIN_RECEIVED | 1u << EV_RST_RECEIVED)
void facts_event(struct server *s, const struct lifecycle *l, enum conn_event_kind kind);

/* Says something that happened to a connection. */
static inline void server_event(struct server *s, struct lifecycle *l, enum conn_event_kind kind, uint64_t value) {
    struct conn_event ev = {.at_ns = s->now, .value = value, .kind = (uint8_t)kind};
    ledger_apply(s->ledger, l, &ev);
    if (FACT_EVENTS >> kind & 1 && s->findings) facts_event(s, l, kind);
}

/* Bytes as the wire has them: of TLS what the socket carried, not what was in it. */
static inline void server_bytes_in(struct server *s, struct lifecycle *l, struct stream *st, uint64_t n) {
    if (st->ssl) n = stream_tls_in(st);
    if (n) server_event(s, l, EV_BYTES_IN, n);
}
static inline void server_bytes_out(struct server *s, struct lifecycle *l, struct stream *st, uint64_t n) {
    if (st->ssl) n = stream_tls_out(st);
    if (n) server_event(s, l, EV_BYTES_OUT, n);
}

/* Says its end, with what the socket's close found; the life is gone after it. */
void server_closed(struct server *s, struct lifecycle *l, enum close_reason why, enum close_phase phase,
                   const struct stream_end *end);

/* The address a socket has, in our form; family ADDR_NONE if it says nothing. */
void endpoint_local(int fd, struct endpoint *out);
struct sockaddr_storage;
void endpoint_of(const struct sockaddr_storage *ss, struct endpoint *out);

#endif
