#include "trace/fold.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* The kernel's own number for a state that the headers of libc do not have. */
#define STATE_NEW_SYN_RECV 12

/* RSTs received that may yet turn out to be one of this host's, and RSTs sent
 * that may yet be received: both are short, and a full one gives up its oldest. */
#define HELD_MAX   256
#define RECENT_MAX 256

/* Where a connection is listed. */
enum place {
    PLACE_LIVE,   /* a socket of it stands; the least recently changed is first */
    PLACE_CLOSED, /* all its sockets are gone; it waits for late RSTs; the first closed is first */
    PLACE_DONE,   /* handed out next; found by nobody any more */
    N_PLACES
};

/* One socket, which is one end of one connection. */
struct sock {
    LIST_ENTRY(sock) by_sk;
    struct conn *conn;
    uint64_t sk; /* 0: not in the index */
};

struct conn {
    TAILQ_ENTRY(conn) link;
    LIST_ENTRY(conn) by_flow; /* while has_flow and not DONE */
    struct sock sock[2];      /* the connecting end, the accepting end */
    struct flow_key flow;     /* local: the connecting end */
    struct kernel_evidence evidence;
    conn_id id;
    int64_t opened_ns, dialed_ns, due_ns;
    uint64_t lost_before; /* events lost when it was first seen */
    uint8_t place;        /* enum place */
    uint8_t first_how;    /* enum close_how of the first end to close */
    int8_t first;         /* that end; -1: none yet */
    bool has_flow;        /* both ports are known */
    bool opened;          /* its beginning was seen */
};

TAILQ_HEAD(conn_list, conn);
LIST_HEAD(conn_bucket, conn);
LIST_HEAD(sock_bucket, sock);

struct fold {
    struct fold_limits limits;
    struct conn_list place[N_PLACES];
    struct conn_bucket *flows; /* n_buckets each, a power of two */
    struct sock_bucket *socks;
    size_t n_buckets;
    uint32_t n; /* live and closed */
    conn_id last_id;
    uint64_t n_events, n_lost, n_limit;
    struct trace_reset held[HELD_MAX]; /* oldest first */
    unsigned n_held;
    struct trace_reset recent[RECENT_MAX]; /* a ring; n_recent is the next slot */
    unsigned n_recent;
    struct trace_reset *out; /* [out_first, n_out) are to be handed out */
    size_t n_out, out_first, out_room;
};

static void *must(void *p) {
    if (!p) abort();
    return p;
}

static struct flow_key mirrored(const struct flow_key *flow) {
    return (struct flow_key){.local = flow->remote, .remote = flow->local};
}

/* ---- finding ---- */

static struct conn_bucket *flow_bucket(const struct fold *f, const struct flow_key *flow) {
    struct flow_key back = mirrored(flow);

    return &f->flows[(flow_hash(flow) ^ flow_hash(&back)) & (f->n_buckets - 1)];
}

/* The newest connection between two ends, whichever is called local. */
static struct conn *find_flow(const struct fold *f, const struct flow_key *flow) {
    struct flow_key back = mirrored(flow);
    struct conn *c;

    LIST_FOREACH (c, flow_bucket(f, flow), by_flow) {
        if (flow_equal(&c->flow, flow) || flow_equal(&c->flow, &back)) return c;
    }
    return NULL;
}

static struct sock_bucket *sock_bucket(const struct fold *f, uint64_t sk) {
    return &f->socks[bytes_hash(&sk, sizeof sk, 0) & (f->n_buckets - 1)];
}

static struct sock *find_sock(const struct fold *f, uint64_t sk) {
    struct sock *s;

    if (!sk) return NULL;
    LIST_FOREACH (s, sock_bucket(f, sk), by_sk) {
        if (s->sk == sk) return s;
    }
    return NULL;
}

/* Which end of the connection is local in `flow`. */
static int end_of(const struct conn *c, const struct flow_key *flow) {
    return !flow_equal(&c->flow, flow);
}

static int index_of(const struct sock *s) {
    return s == &s->conn->sock[1];
}

/* ---- lists and indexes ---- */

static void forget_sock(struct sock *s) {
    if (!s->sk) return;
    LIST_REMOVE(s, by_sk);
    s->sk = 0;
}

static void put(struct fold *f, struct conn *c, enum place place) {
    TAILQ_REMOVE(&f->place[c->place], c, link);
    TAILQ_INSERT_TAIL(&f->place[place], c, link);
    c->place = (uint8_t)place;
}

static void finish(struct fold *f, struct conn *c, uint32_t incomplete) {
    c->evidence.incomplete |= incomplete;
    if (f->n_lost != c->lost_before) c->evidence.incomplete |= KERNEL_EVENTS_LOST;
    forget_sock(&c->sock[0]);
    forget_sock(&c->sock[1]);
    if (c->has_flow) LIST_REMOVE(c, by_flow);
    put(f, c, PLACE_DONE);
    f->n--;
}

static void make_room(struct fold *f) {
    struct conn *c = TAILQ_FIRST(&f->place[PLACE_CLOSED]);

    if (f->n < f->limits.connections) return;
    if (c) {
        finish(f, c, 0);
        return;
    }
    f->n_limit++;
    finish(f, TAILQ_FIRST(&f->place[PLACE_LIVE]), KERNEL_LIMIT);
}

static struct conn *new_conn(struct fold *f, enum kernel_roles roles) {
    struct conn *c;

    make_room(f);
    c = must(calloc(1, sizeof *c));
    c->id = ++f->last_id;
    c->first = -1;
    c->sock[0].conn = c->sock[1].conn = c;
    c->lost_before = f->n_lost;
    c->evidence.roles = (uint8_t)roles;
    c->place = PLACE_LIVE;
    TAILQ_INSERT_TAIL(&f->place[PLACE_LIVE], c, link);
    f->n++;
    return c;
}

static struct sock *attach(struct fold *f, struct conn *c, int end, uint64_t sk) {
    struct sock *s = &c->sock[end];

    if (c->place == PLACE_CLOSED) put(f, c, PLACE_LIVE);
    s->sk = sk;
    if (sk) LIST_INSERT_HEAD(sock_bucket(f, sk), s, by_sk);
    c->evidence.end[end].seen = true;
    return s;
}

/* The ports are known now. Whatever had them before is over. */
static void set_flow(struct fold *f, struct conn *c, const struct flow_key *flow) {
    struct conn *old = find_flow(f, flow);

    if (old) finish(f, old, old->place == PLACE_LIVE ? KERNEL_EVENTS_LOST : 0);
    c->flow = *flow;
    c->has_flow = true;
    LIST_INSERT_HEAD(flow_bucket(f, flow), c, by_flow);
}

/* ---- who ended it ---- */

static void first_to_end(struct conn *c, int end, enum close_how how) {
    if (c->first >= 0) return;
    c->first = (int8_t)end;
    c->first_how = (uint8_t)how;
}

static void saw_fin(struct fold *f, struct conn *c, int end, int64_t at) {
    struct kernel_end *e = &c->evidence.end[end];

    first_to_end(c, end, HOW_FIN);
    if (e->fin_event) return;
    e->fin_ns = at;
    e->fin_event = f->n_events;
}

/* Of an end that went to CLOSE without a FIN or an RST of anybody, the RST is
 * what it went with: that was when. */
static void saw_rst(struct fold *f, struct conn *c, int end, int64_t at) {
    struct kernel_end *e = &c->evidence.end[end];
    bool with_close = c->first == end && c->first_how == HOW_RST && e->closed_event;

    first_to_end(c, end, HOW_RST);
    if (e->rst_event) return;
    e->rst_ns = with_close ? e->closed_ns : at;
    e->rst_event = with_close ? e->closed_event : f->n_events;
}

/* A connection that was met in its middle: what its state says of before. */
static void infer_first(struct conn *c, int end, unsigned old_state) {
    switch (old_state) {
    case TCP_CLOSE_WAIT:
    case TCP_LAST_ACK:
        first_to_end(c, !end, HOW_FIN);
        break;
    case TCP_FIN_WAIT1:
    case TCP_FIN_WAIT2:
    case TCP_CLOSING:
    case TCP_TIME_WAIT:
        first_to_end(c, end, HOW_FIN);
        break;
    default:
        break;
    }
}

/* ---- states ---- */

static void saw(struct fold *f, struct conn *c, int64_t at) {
    struct kernel_evidence *e = &c->evidence;

    if (!e->first_event) {
        e->first_event = f->n_events;
        e->first_ns = at;
    }
    e->last_event = f->n_events;
    e->last_ns = at;
}

static void note_owner(struct kernel_end *e, const struct trace_event *ev) {
    if (!ev->pid || e->pid) return;
    e->pid = ev->pid;
    memcpy(e->comm, ev->comm, sizeof e->comm);
    e->comm[sizeof e->comm - 1] = 0;
}

/* A socket is gone: all that stands of a connection when its sockets are is TIME_WAIT. */
static void sock_closed(struct fold *f, struct sock *s, const struct trace_event *ev) {
    struct conn *c = s->conn;
    int end = index_of(s);
    struct kernel_evidence *e = &c->evidence;
    bool stood = ev->old_state != TCP_SYN_SENT;

    e->end[end].closed_ns = ev->at_ns;
    e->end[end].closed_event = f->n_events;
    /* Without a FIN and without an RST of the peer: its own RST is to follow. */
    if (stood && !e->end[!end].rst_event) first_to_end(c, end, HOW_RST);
    forget_sock(s);
    if (c->sock[!end].sk) return;
    c->due_ns = ev->at_ns + f->limits.linger_ns;
    put(f, c, PLACE_CLOSED);
}

static void move_to(struct fold *f, struct sock *s, const struct trace_event *ev) {
    struct conn *c = s->conn;
    int end = index_of(s);
    struct kernel_end *e = &c->evidence.end[end];

    put(f, c, PLACE_LIVE);
    saw(f, c, ev->at_ns);
    e->before = ev->old_state;
    e->state = ev->new_state;
    switch (ev->new_state) {
    case TCP_SYN_SENT:
        note_owner(e, ev);
        break;
    case TCP_ESTABLISHED:
        if (end == 0 && c->opened && !c->dialed_ns) c->dialed_ns = ev->at_ns;
        break;
    case TCP_FIN_WAIT1:
        note_owner(e, ev);
        saw_fin(f, c, end, ev->at_ns);
        break;
    case TCP_LAST_ACK:
        note_owner(e, ev);
        saw_fin(f, c, !end, ev->at_ns); /* only where CLOSE_WAIT was not seen */
        saw_fin(f, c, end, ev->at_ns);
        break;
    case TCP_CLOSE_WAIT:
    case TCP_CLOSING:
    case TCP_TIME_WAIT:
        saw_fin(f, c, !end, ev->at_ns);
        break;
    case TCP_CLOSE:
        note_owner(e, ev);
        sock_closed(f, s, ev);
        break;
    default:
        break;
    }
}

/* A dial: the remote end is known, the local port is not yet. */
static struct sock *dial(struct fold *f, const struct trace_event *ev) {
    struct conn *c = new_conn(f, KERNEL_ROLES_HANDSHAKE);

    c->opened = true;
    c->opened_ns = ev->at_ns;
    c->flow = ev->flow;
    return attach(f, c, 0, ev->sk);
}

/* A connection comes in; perhaps its other end is of this host and was seen dialing. */
static struct sock *accepted(struct fold *f, const struct trace_event *ev) {
    struct flow_key flow = mirrored(&ev->flow);
    struct conn *c = find_flow(f, &flow);

    if (c && c->place == PLACE_LIVE && c->opened && !c->evidence.end[1].seen && flow_equal(&c->flow, &flow))
        return attach(f, c, 1, ev->sk);
    c = new_conn(f, KERNEL_ROLES_HANDSHAKE);
    c->opened = true;
    c->opened_ns = ev->at_ns;
    set_flow(f, c, &flow);
    return attach(f, c, 1, ev->sk);
}

/* A socket that was there before: the other end of one that is known, or a
 * connection of which nobody saw who had dialed. */
static struct sock *adopt(struct fold *f, const struct trace_event *ev) {
    struct conn *c = find_flow(f, &ev->flow);
    struct flow_key back = mirrored(&ev->flow);
    bool serves = ev->flow.local.port < ev->flow.remote.port;

    if (c && !c->evidence.end[end_of(c, &ev->flow)].seen) return attach(f, c, end_of(c, &ev->flow), ev->sk);
    c = new_conn(f, KERNEL_ROLES_ASSUMED);
    c->evidence.incomplete |= KERNEL_BEGAN_BEFORE;
    set_flow(f, c, serves ? &back : &ev->flow);
    infer_first(c, serves, ev->old_state);
    return attach(f, c, serves, ev->sk);
}

static bool is_whole(const struct flow_key *flow) {
    return flow->local.port && flow->remote.port;
}

static void set_state(struct fold *f, const struct trace_event *ev) {
    struct sock *s = find_sock(f, ev->sk);

    if (s && (ev->old_state == TCP_CLOSE || ev->old_state == TCP_LISTEN)) {
        finish(f, s->conn, KERNEL_EVENTS_LOST); /* its memory is another socket's now */
        s = NULL;
    }
    if (!s && ev->old_state == TCP_CLOSE && ev->new_state == TCP_SYN_SENT)
        s = dial(f, ev);
    else if (!s && !is_whole(&ev->flow))
        return; /* a listener; or a dial that began before the trace, and got no port */
    else if (!s && (ev->old_state == TCP_LISTEN || ev->old_state == STATE_NEW_SYN_RECV))
        s = accepted(f, ev);
    else if (!s)
        s = adopt(f, ev);
    if (!s->conn->has_flow && is_whole(&ev->flow)) set_flow(f, s->conn, &ev->flow);
    move_to(f, s, ev);
}

/* ---- RSTs ---- */

static void hand_out(struct fold *f, const struct trace_reset *r) {
    if (f->out_first == f->n_out) f->out_first = f->n_out = 0;
    if (f->n_out == f->out_room) {
        f->out_room = f->out_room ? f->out_room * 2 : 64;
        f->out = must(realloc(f->out, f->out_room * sizeof *f->out));
    }
    f->out[f->n_out++] = *r;
}

static void drop_held(struct fold *f, unsigned i) {
    memmove(f->held + i, f->held + i + 1, (--f->n_held - i) * sizeof *f->held);
}

/* The arrival of an RST that was sent here is no second RST. */
static void forget_arrival(struct fold *f, const struct flow_key *sender) {
    for (unsigned i = f->n_held; i-- > 0;)
        if (flow_equal(&f->held[i].flow, sender)) drop_held(f, i);
}

static const struct trace_reset *recently_sent(const struct fold *f, const struct flow_key *sender, int64_t at) {
    for (unsigned i = 0; i < RECENT_MAX; i++) {
        const struct trace_reset *r = &f->recent[i];
        if (r->at_ns && at - r->at_ns <= f->limits.arrival_ns && flow_equal(&r->flow, sender)) return r;
    }
    return NULL;
}

/* Who the program at that end is: whoever caused the RST, or dialed, or closed. */
static void name_owner(struct trace_reset *r, const struct kernel_end *e) {
    if (r->pid || !e->pid) return;
    r->owner_pid = e->pid;
    memcpy(r->owner_comm, e->comm, sizeof r->owner_comm);
}

static void send_reset(struct fold *f, const struct trace_event *ev) {
    struct conn *c = find_flow(f, &ev->flow);
    struct trace_reset r = {
        .at_ns = ev->at_ns, .flow = ev->flow, .reason = ev->reason, .pid = ev->pid, .state = ev->new_state};

    memcpy(r.comm, ev->comm, sizeof r.comm);
    if (c) {
        int end = end_of(c, &ev->flow);
        struct kernel_end *e = &c->evidence.end[end];

        saw(f, c, ev->at_ns);
        saw_rst(f, c, end, ev->at_ns);
        e->rsts++;
        if (!e->reason) e->reason = ev->reason;
        if (ev->new_state == TCP_CLOSE) {
            note_owner(e, ev);
            if (e->state == TCP_CLOSE) r.state = e->before;
        }
        r.conn = c->id;
        name_owner(&r, e);
    }
    forget_arrival(f, &ev->flow);
    f->recent[f->n_recent++ % RECENT_MAX] = r;
    hand_out(f, &r);
}

static void receive_reset(struct fold *f, const struct trace_event *ev) {
    struct sock *s = find_sock(f, ev->sk);
    struct conn *c = s ? s->conn : find_flow(f, &ev->flow);
    struct trace_reset r = {.at_ns = ev->at_ns, .flow = mirrored(&ev->flow), .received = true};
    const struct trace_reset *sent = recently_sent(f, &r.flow, ev->at_ns);

    if (c && !c->has_flow && is_whole(&ev->flow)) set_flow(f, c, &ev->flow);
    if (c) {
        int end = s ? index_of(s) : end_of(c, &ev->flow);
        struct kernel_end *sender = &c->evidence.end[!end];

        saw(f, c, ev->at_ns);
        saw_rst(f, c, !end, ev->at_ns);
        if (sent && !sender->reason) {
            sender->reason = sent->reason;
            sender->rsts++;
        }
        r.conn = c->id;
        r.state = c->evidence.end[end].state;
        name_owner(&r, &c->evidence.end[end]);
        if (sender->seen) return; /* its own kernel, this one, tells of it */
    }
    if (sent) return;
    if (f->n_held == HELD_MAX) {
        hand_out(f, &f->held[0]);
        drop_held(f, 0);
    }
    f->held[f->n_held++] = r;
}

/* ---- the clock ---- */

void fold_tick(struct fold *f, int64_t now) {
    struct conn *c;

    while (f->n_held && f->held[0].at_ns + f->limits.arrival_ns <= now) {
        hand_out(f, &f->held[0]);
        drop_held(f, 0);
    }
    while ((c = TAILQ_FIRST(&f->place[PLACE_CLOSED])) && c->due_ns <= now) finish(f, c, 0);
}

void fold_event(struct fold *f, const struct trace_event *ev) {
    f->n_events++;
    fold_tick(f, ev->at_ns);
    switch ((enum trace_kind)ev->kind) {
    case TRACE_SET_STATE:
        set_state(f, ev);
        break;
    case TRACE_SEND_RESET:
        send_reset(f, ev);
        break;
    case TRACE_RECEIVE_RESET:
        receive_reset(f, ev);
        break;
    }
}

void fold_lost(struct fold *f, uint64_t n) {
    f->n_lost += n ? n : 1;
}

void fold_finish(struct fold *f, int64_t now) {
    struct conn *c;

    fold_tick(f, now);
    while (f->n_held) {
        hand_out(f, &f->held[0]);
        drop_held(f, 0);
    }
    while ((c = TAILQ_FIRST(&f->place[PLACE_CLOSED]))) finish(f, c, 0);
    while ((c = TAILQ_FIRST(&f->place[PLACE_LIVE]))) finish(f, c, KERNEL_OPEN_AT_END);
}

/* ---- what comes out ---- */

bool fold_next_reset(struct fold *f, struct trace_reset *out) {
    if (f->out_first == f->n_out) return false;
    *out = f->out[f->out_first++];
    return true;
}

/* No RST of that end: is that known? Not where events are missing; and kernels
 * that tell of RSTs from sockets alone keep those from TIME_WAIT to themselves. */
static bool knows_rst(const struct fold *f, const struct conn *c, int end) {
    const struct kernel_end *e = &c->evidence.end[end];

    if (e->rst_event) return true;
    return !(c->evidence.incomplete & KERNEL_EVENTS_LOST) && (f->limits.all_resets || !e->fin_event);
}

/* As in a capture: the connecting end's FIN or RST, or the RST that it got. */
static int64_t closed_ns(const struct conn *c) {
    const struct kernel_end *l = &c->evidence.end[0], *r = &c->evidence.end[1];
    int64_t closed = l->fin_ns;

    if (l->rst_ns && (!closed || l->rst_ns < closed)) closed = l->rst_ns;
    if (r->rst_ns && (!closed || r->rst_ns < closed)) closed = r->rst_ns;
    if (closed) return closed;
    return l->closed_ns ? l->closed_ns : r->closed_ns;
}

/* Gone without a FIN or an RST of anybody: the kernel gave it up (a timeout, an
 * unreachable network), and no end of it closed. */
static bool gave_up(const struct conn *c) {
    return c->first >= 0 && c->first_how == HOW_RST && !c->evidence.end[c->first].rst_event;
}

static void fill_life(const struct fold *f, const struct conn *c, struct lifecycle *l) {
    bool closed = !(c->evidence.incomplete & (KERNEL_OPEN_AT_END | KERNEL_LIMIT));
    bool dialing = c->opened && !c->dialed_ns && !c->evidence.end[1].seen;

    *l = (struct lifecycle){.id = c->id,
                            .flow = c->flow,
                            .observer = OBSERVER_KERNEL,
                            .side = SIDE_CLIENT,
                            .opened_ns = c->opened_ns,
                            .dialed_ns = c->dialed_ns,
                            .body_announced = UNKNOWN_BYTES,
                            .rst_sent = c->evidence.end[0].rst_event != 0,
                            .rst_received = c->evidence.end[1].rst_event != 0};
    if (c->opened) l->known |= KNOW_OPENED;
    if (c->opened && c->evidence.end[0].seen) l->known |= KNOW_DIAL;
    if (knows_rst(f, c, 0)) l->known |= KNOW_RST_SENT;
    if (knows_rst(f, c, 1)) l->known |= KNOW_RST_RECEIVED;
    l->state = closed ? LIFE_CLOSED : dialing ? LIFE_DIALING : LIFE_OPEN;
    l->known |= KNOW_CLOSED;
    if (closed) l->closed_ns = closed_ns(c);
    if (gave_up(c) || c->evidence.incomplete & KERNEL_EVENTS_LOST) return;
    l->known |= KNOW_CLOSE;
    if (!closed || c->first < 0) return;
    l->close_by = c->first == 0 ? BY_LOCAL : BY_REMOTE;
    l->close_how = c->first_how;
}

bool fold_next_record(struct fold *f, struct trace_record *out) {
    struct conn *c = TAILQ_FIRST(&f->place[PLACE_DONE]);

    if (!c) return false;
    out->evidence = c->evidence;
    fill_life(f, c, &out->life);
    TAILQ_REMOVE(&f->place[PLACE_DONE], c, link);
    free(c);
    return true;
}

struct fold_counts fold_counts(const struct fold *f) {
    return (struct fold_counts){f->n_events, f->n_lost, f->n_limit, f->n};
}

/* ---- birth, death, and the invariants ---- */

struct fold *fold_new(const struct fold_limits *limits) {
    struct fold *f = must(calloc(1, sizeof *f));

    f->limits = *limits;
    if (!f->limits.connections) f->limits.connections = 1;
    for (f->n_buckets = 64; f->n_buckets < f->limits.connections; f->n_buckets *= 2) continue;
    f->flows = must(calloc(f->n_buckets, sizeof *f->flows));
    f->socks = must(calloc(f->n_buckets, sizeof *f->socks));
    for (int i = 0; i < N_PLACES; i++) TAILQ_INIT(&f->place[i]);
    return f;
}

void fold_free(struct fold **fp) {
    struct fold *f = *fp;
    struct conn *c;

    if (!f) return;
    *fp = NULL;
    for (int i = 0; i < N_PLACES; i++) {
        while ((c = TAILQ_FIRST(&f->place[i]))) {
            TAILQ_REMOVE(&f->place[i], c, link);
            free(c);
        }
    }
    free(f->flows);
    free(f->socks);
    free(f->out);
    free(f);
}

static const char *check_conn(const struct fold *f, const struct conn *c, int place) {
    bool stands = c->sock[0].sk || c->sock[1].sk;

    if (c->place != place) return "a connection says where it is";
    if (place == PLACE_DONE) return stands ? "what is done has no sockets" : NULL;
    if (c->has_flow && find_flow(f, &c->flow) != c) return "a connection is found by its flow";
    for (int i = 0; i < 2; i++) {
        if (c->sock[i].sk && find_sock(f, c->sock[i].sk) != &c->sock[i]) return "a socket is found by its address";
        if (c->sock[i].sk && !c->evidence.end[i].seen) return "a socket that stands was seen";
    }
    if (place == PLACE_CLOSED && stands) return "what is closed has no sockets";
    if (c->evidence.last_event < c->evidence.first_event) return "events come in order";
    return NULL;
}

const char *fold_check(const struct fold *f) {
    uint32_t n = 0;

    for (int i = 0; i < N_PLACES; i++) {
        const struct conn *c;

        TAILQ_FOREACH (c, &f->place[i], link) {
            const char *wrong = check_conn(f, c, i);
            if (wrong) return wrong;
            n += i != PLACE_DONE;
        }
    }
    if (n != f->n) return "connections are counted";
    if (n > f->limits.connections) return "connections are bounded";
    if (f->n_held > HELD_MAX) return "arrivals are bounded";
    return NULL;
}
