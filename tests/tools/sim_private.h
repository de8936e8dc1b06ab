/* The virtual world's inside: sim_net.c is the kernel and the server, sim_caller.c
 * a request and who made it, sim.c the pool's driver and the clock. */
#ifndef CONNLEAK_SIM_PRIVATE_H
#define CONNLEAK_SIM_PRIVATE_H

#include "sim.h"

#define RBUF_MAX   (64u << 10)
#define EVENTS_MAX 4096

enum where { DIALING, OPEN, SWITCHED, CLOSED };
enum wire { WIRE_NONE, WIRE_F, WIRE_R, WIRE_FR, WIRE_S };

/* One connection: the kernel's end, our end, and what became of it. */
struct line {
    enum where where;
    bool dialed, idle;
    uint8_t *queue; /* the kernel's receive queue */
    size_t queued, room;
    bool fin, rst; /* from the server; behind what is queued */
    bool stream, blocked;
    uint8_t buf[RBUF_MAX]; /* the read buffer: at..n are not yet consumed */
    size_t at, n;
    struct h1 *h1;
    struct exchange x;
    struct caller *caller;
    unsigned n_requests, late_writes, late_failed;
    enum close_reason reason;
    enum wire wire;
};

enum phase {
    P_WAITING, /* for a connection */
    P_HEAD,    /* for a final head */
    P_BODY,    /* the caller's steps run; the body is on the connection */
    P_OVER,    /* the exchange has ended well; the caller's steps go on */
    P_BROKEN,  /* the body was given up, or failed */
    P_FAILED,  /* no head ever came */
};

struct caller {
    struct sim_request rq;
    want_id want;
    struct connect_key key;
    struct line *line;
    bool reused; /* the connection, when it was given */
    enum phase phase;
    bool in_grace;
    unsigned step;
    uint64_t left; /* of CALL_READ */
    bool step_begun;
    mono_ns start, sleep_until, cancel_at, grace_at, upload_at, upload_fails_at, expect_at, header_at;
};

enum net_kind { NET_DIALED, NET_DIAL_FAILED, NET_SERVE };

struct event {
    mono_ns at;
    int line; /* from 1 */
    enum net_kind kind;
    struct serve_step step;
};

struct sim {
    struct sim_conf conf;
    const struct serve *answers;
    unsigned n_answers, n_served;
    struct pool *pool;
    mono_ns now;
    want_id last_want;
    int n_lines, n_callers, n_events;
    struct line *lines[SIM_MAX + 1];
    struct caller *callers[SIM_MAX];
    struct event events[EVENTS_MAX];
};

enum filled { FILLED, NOTHING_THERE, AT_FIN, AT_RST };

void sim_die(const char *what);
double sim_ms_since(const struct sim *s, mono_ns start);
size_t sim_read_buffer(const struct sim *s);
int sim_number_of(const struct sim *s, const struct line *l); /* from 1 */

/* ---- sim_net.c ---- */

void sim_at(struct sim *s, mono_ns when, int line, enum net_kind kind, const struct serve_step *step);
void sim_serve(struct sim *s, int line, const struct serve *answer);
void sim_serve_step(struct line *l, const struct serve_step *step);

/* close(2): bytes that nobody read make the kernel answer with RST (R97, R98). */
void sim_close_line(struct line *l, enum close_reason why);

/* One read(2) of at most `size` bytes behind what the read buffer holds. */
enum filled sim_fill(struct line *l, size_t size);

/* ---- sim_caller.c ---- */

void caller_ask(struct sim *s, struct caller *c);
void caller_got_conn(struct sim *s, struct caller *c, int n, bool reused);
void caller_fail(struct sim *s, struct caller *c, enum phase phase, enum close_reason why);
void caller_stop_timers(struct caller *c);

/* Does the next thing that can be done now; false: nothing. */
bool caller_pump(struct sim *s, struct caller *c);

#endif
