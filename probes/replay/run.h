/* A replay under way: one thread, one event loop, in which the clients of a plan
 * and the origins that they ask are played against a proxy.
 *
 *   schedule.c when each step may be done
 *   run.c      its driver: the clock, and the clients that wait
 *   client.c   one connection to the proxy
 *   stub.c     the origins: listeners on loopback, and the captured answers
 *   observe.c  what became of it, told to the wire analyser as segments */
#ifndef CONNLEAK_REPLAY_RUN_H
#define CONNLEAK_REPLAY_RUN_H

#include "schedule.h"
#include "witness.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* Real time that a step waits for what has to come before it. */
#define PATIENCE_NS      SEC(5)    /* an answer, the end of a connection */
#define LIVE_PATIENCE_NS SEC(60)   /* an answer of a live origin */
#define ARRIVE_NS        MSEC(50)  /* at --speed max: a request on its way through the proxy */
#define EQUAL_NS         MSEC(500) /* an equal request on its way, whose answer is another */
#define QUIET_NS         MSEC(30)  /* nothing more came for so long: the proxy has no more */

struct run_options {
    struct sockaddr_storage proxy;
    socklen_t proxy_len;
    bool live, pace;
    double speed; /* times as fast as captured; 0: as fast as order allows */
};

enum client_state {
    CLIENT_NEW,        /* not opened yet */
    CLIENT_CONNECTING, /* connect() under way */
    CLIENT_OPEN,
    CLIENT_ENDED, /* its own close(), or it could not connect */
};

/* What went otherwise than planned. */
enum client_trouble {
    TROUBLE_NONE,
    TROUBLE_CONNECT,    /* the proxy could not be reached */
    TROUBLE_ENDED,      /* the proxy ended the connection before the client was done with it */
    TROUBLE_NO_ANSWER,  /* an answer did not come, or not whole */
    TROUBLE_BAD_ANSWER, /* what came is not HTTP/1 */
    TROUBLE_FD,         /* no descriptor, no port */
    N_TROUBLES
};

struct client {
    struct run *run;
    TAILQ_ENTRY(client) waits;
    struct event event;
    struct h1 *h1;
    uint32_t conn;
    int fd;
    uint32_t step, due;         /* steps that are done; that may be done */
    uint32_t exchange;          /* index in the connection: whose answer is read */
    uint32_t sending;           /* the same: whose request is written */
    uint64_t written;           /* of that request */
    uint64_t read;              /* of this answer's bytes */
    uint64_t head_len;          /* of its heads, as they came; 0: not whole yet */
    uint64_t take;              /* how much of it may be read; NO_LEN: all */
    uint64_t seen;              /* read, and unread in the kernel when last looked */
    int64_t seen_ns;            /* when that grew; monotonic */
    int64_t wait_ns;            /* since when the step at hand waits; 0: it does not */
    uint16_t interims, awaited; /* of this answer: came; were waited for */
    uint16_t status;            /* of the newest final head */
    uint8_t state, trouble;
    bool waiting, fast;     /* on run->waiting; needs to be looked at often */
    bool in_answer;         /* its final head came */
    bool keeps_alive;       /* as the last head said */
    bool eof, reset;        /* by the proxy */
    bool shut;              /* its FIN goes before close() */
    bool shut_late;         /* and the proxy had ended it when close() came: no RST */
    bool was_kept;          /* the captured origin ended it, and the proxy did not */
    uint32_t answers;       /* whole ones */
    struct endpoint local;  /* as the proxy sees it; family ADDR_NONE: not connected, or no such address */
    int64_t opened_wall_ns; /* the clock of the day */
    struct told told;
    uint64_t told_ahead; /* bytes that are unread in the kernel, and told already */
};

struct stub;

struct run {
    struct plan *plan;
    struct run_options options;
    struct event_base *base;
    struct client *clients; /* one for each connection */
    struct stub *stub;
    struct witness clients_seen; /* by connection of the plan */
    struct witness origins_seen; /* the proxy's connections to the stubs, as if to the captured origins */
    TAILQ_HEAD(client_list, client) waiting;
    unsigned n_waiting, n_fast;
    struct event tick, clock;
    bool ticking;
    struct schedule schedule;
    uint8_t *buffer;
    uint32_t open, open_peak;
    uint32_t n_in_vain; /* clients that waited as long as they may */
    uint64_t bytes_in, bytes_out;
    int connect_error; /* errno of the newest connection to the proxy that could not be made */
    struct event signals[2];
    uint8_t outcome; /* enum run_outcome */
};
#define RUN_BUFFER (256u << 10)

enum run_outcome {
    RUN_PLAYED,      /* all of it, well or not */
    RUN_INTERRUPTED, /* SIGINT or SIGTERM */
    RUN_NO_PROXY,    /* its first connection could not be made: connect_error says why */
};

/* run.c */
bool run_begin(struct run *r); /* makes the event loop, which a stub needs; false with errno */
enum run_outcome run_play(struct run *r);
void run_free(struct run *r);                              /* the plan and the stub are the caller's */
void run_stop(struct run *r, enum run_outcome why);        /* plays no more */
void run_enter(struct run *r);                             /* reads the clock: at the start of each callback */
void run_wait(struct run *r, struct client *c, bool fast); /* look at this client again soon */
void run_wait_over(struct run *r, struct client *c);
void run_step_done(struct run *r);

/* client.c */
const char *client_trouble_text(enum client_trouble t); /* NULL for TROUBLE_NONE */
void client_advance(struct client *c);                  /* does what steps are due, and those that were waited for */
void client_close_all(struct run *r);
uint64_t client_unread(const struct client *c);

/* stub.c */
struct stub *stub_new(struct run *r, char error[256]); /* listens, for each origin of the plan; NULL: error says why */
void stub_free(struct stub **sp);
const char *const *stub_authorities(const struct stub *s);
void stub_expect(struct stub *s, uint32_t exchange, bool behind); /* it is on its way; behind: another one's answer */
bool stub_may_send(struct stub *s, uint32_t exchange, bool no_longer_waits); /* or an equal one is to arrive first */
bool stub_has(const struct stub *s, uint32_t exchange);                      /* it has arrived */
void stub_tail(struct stub *s, uint32_t exchange, uint64_t len);
void stub_end(struct stub *s, uint32_t exchange);          /* the origin ends the connection that carried it */
void stub_client_ended(struct stub *s, uint32_t exchange); /* what its client was not to have may follow */
struct stub_counts {
    uint64_t connections, requests, strangers, again, not_accepted;
};
struct stub_counts stub_counts(const struct stub *s);

/* observe.c */
void observe_open(struct client *c);
void observe_connected(struct client *c);
void observe_sent(struct client *c, uint32_t exchange, uint64_t from, uint64_t to);
void observe_received(struct client *c, const uint8_t *data, size_t len, uint64_t unread);
void observe_unread(struct client *c);
void observe_proxy_end(struct client *c, bool reset);
void observe_close(struct client *c, bool reset); /* before close(2): takes what lies unread along */
void observe_request(struct run *r, struct told *t, const struct endpoint *proxy, uint32_t ref, uint32_t exchange);
void observe_request_body(struct run *r, struct told *t, const uint8_t *data, size_t len);
void observe_answer(struct run *r, struct told *t, uint32_t exchange, uint64_t off, const uint8_t *data, size_t len);
void observe_origin_ended(struct run *r, struct told *t, bool by_proxy, bool reset);
void observe_finish(struct run *r); /* it is over: what lies unread in open sockets is told, too */

#endif
