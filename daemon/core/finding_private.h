/* Inside the rule engine: what is held of a connection, of a subject, and of a finding
 * in the making. */
#ifndef CONNLEAK_FINDING_PRIVATE_H
#define CONNLEAK_FINDING_PRIVATE_H

#include "finding.h"
#include "idmap.h"

#include <sys/queue.h>

/* ---- thresholds ---- */

#define CLOSE_SOON MSEC(900) /* a FIN this soon after the response is because of it; idle timeouts begin at 1 s */
#define READ_RATE                                                                                                      \
    (2u << 20) /* bytes a second that a busy program reads of what its kernel has: longer for large ones */
#define EXPLAINED_BY  MSEC(1500) /* so long such a FIN waits for what explains it */
#define STREAMED      MSEC(200)  /* who read a body for so long, left nothing unread and goes, waited for more of it */
#define AT_ONCE       MSEC(10)   /* a server's FIN so soon after its response is part of it */
#define RACE          MSEC(5)    /* a connection dialed this soon after another became free was on its way already */
#define STALL         SEC(1)     /* for so long the window of a program that reads nothing may still let bytes in */
#define AT_EXIT       MSEC(200)  /* what happens to many connections within this time happens because a program ends */
#define MUCH_RECEIVED 16384      /* more than any one read takes: a RST after it had something unread */
#define SETTLED       MSEC(50)   /* idle for so long, a connection is kept, and not one that is just being closed */
#define SPREAD        4          /* what ends at once does so within a small part of the time in which it came to be */
#define BUFFER_MOST   (128u << 10) /* no client's own buffer hides more of a response from its kernel */
#define QUEUE_MOST                                                                                                     \
    (256u << 10) /* nor does a kernel take more for a program that reads nothing: its window is shut before */
#define QUEUES_MOST    (16u << 20)  /* and so much in both kernels, where only our own is known to have taken it */
#define DRAIN_WORTH    (256u << 10) /* a rest up to here is cheaper to read than a new connection: Go 1.27's own limit */
#define PAIRS          2            /* so many times closed and dialed again are a habit */
#define HELD_LEAST     3            /* so many held connections are no coincidence ... */
#define HELD_LEAST_END 2            /* ... and at a capture's end, where waiting shows no more */
#define RESTS          2            /* so many times as long as one that came back after all, and it is held */
#define OFTEN          3
#define DEAR_TIMES     5      /* a connection for one request costs a handshake: so many ... */
#define DEAR_OVER      SEC(5) /* ... within this time are worth a warning, a probe now and then is not */
#define TUNNELS_OFTEN  10
#define TUNNEL_SMALL   (64u << 10)
#define PROCESSES      64 /* that look like one client, told apart */
#define MAX_SUBJECTS   4096
#define MAX_HOSTS      32 /* of a subject, told apart; others count as one */

/* ---- a connection ---- */

enum watch_state {
    WATCH_OPEN,    /* no request on it yet */
    WATCH_BUSY,    /* a request is under way */
    WATCH_BLOCKED, /* and nothing of its response goes out */
    WATCH_IDLE,    /* its last response has passed, and it may be reused: in subject.idle */
    WATCH_SPENT,   /* the same, and it may not be reused */
    WATCH_OPAQUE,
    WATCH_ENDING, /* a FIN or RST was seen */
};

struct subject;

struct watch {
    TAILQ_ENTRY(watch) link; /* subject.idle, in order of done_ns; subject.blocked, of blocked_ns */
    struct subject *subject; /* NULL: not known yet */
    conn_id id;
    struct endpoint peer, server;
    int64_t opened_ns, request_ns, response_ns, done_ns, end_ns;
    int64_t blocked_ns, flowing_ns;
    int64_t longest_blocked_ns;
    int64_t stalled_ns;      /* blocked since then, but for bytes that went out in less than STALL */
    int64_t unread_since_ns; /* the probe sees recv_q above zero since then; 0 */
    uint64_t delivered;      /* head and body of the last response */
    uint32_t requests, responses, recv_q, pid;
    uint32_t
        kept_beside; /* when its last response had passed, so many others had been idle for SETTLED: all there were */
    uint32_t idle_beside; /* so many were idle when it ended */
    uint32_t send_q;      /* on our side, and its window lets nothing of it out */
    uint16_t status;
    uint8_t side, state, host, method;
    bool responded; /* the head of the response under way came */
    bool no_reuse, bodyless, http10, proxied, retried;
    bool probed, counted_slow;
    bool counted_held, counted_single;      /* as body_not_closed, as transport_per_request: once each */
    bool was_idle, was_opaque, was_blocked; /* when it ended */
    bool unanswered;                        /* the same: its request had not one byte of an answer */
    bool passed_over;                       /* the same: a new one was opened while it could have been used */
    bool judged;                            /* what its end by a FIN means is settled, or will be by subject.waiting */
};

/* ---- a subject ---- */

enum close_state {
    CLOSE_NEW,   /* what comes after may explain it */
    CLOSE_ALONE, /* nothing did: it waits for others like it, for the window at most */
    CLOSE_TOLD,  /* over */
};

struct close_waiting { /* an end after a whole response: cap, early close, or the end of a session or program? */
    int64_t end_ns, done_ns;
    uint64_t received, delivered, unread_if_read_4096, rst_packet;
    conn_id id;
    uint32_t requests, idle_beside;
    uint16_t status;
    uint8_t host, method;
    uint8_t state; /* enum close_state */
    bool rst, bodyless, proxied, passed_over;
};

#define WAITING 64
#define SPELLS  16
#define OPENS   64
#define LEARNED 15

struct host_share {
    char *name;
    uint32_t idle, dials; /* of a client that goes there directly, with a limit of two idle ones */
    int64_t last_open_ns; /* when the newest connection was opened whose first request went there */
};

struct tally;

/* Where a subject without a connection waits, until there is room for no more; the first of these are given up first.
 */
enum rest {
    REST_NONE, /* it has connections */
    REST_BARE, /* no finding */
    REST_RESOLVED,
    REST_RAISED, /* findings that go on */
};
#define N_RESTS 3

struct subject {
    struct finding_subject pub;
    uint64_t hash;
    struct subject *next;      /* in the hash table */
    TAILQ_ENTRY(subject) link; /* findings.subjects, the one used last at the end */
    TAILQ_ENTRY(subject) rest_link;
    uint8_t rest; /* enum rest: in findings.resting of it */
    TAILQ_HEAD(watches, watch) idle, blocked;
    uint32_t n_watched; /* connections that point here: the open ones, and those that end */
    uint32_t n_open, n_active, n_idle;
    uint32_t peak[2]; /* n_active: of this window and the one before */
    uint32_t kept[2]; /* the most idle connections that the client kept, as seen by their use: of the same windows */
    uint32_t n_findings, n_raised; /* tallies that were raised, and those of them that are not resolved */
    int64_t peak_since_ns;
    int64_t last_ns, first_open_ns, last_open_ns;
    int64_t opened[OPENS]; /* ring */
    uint64_t n_opened;
    uint64_t requests, responses;
    uint64_t done_by[6], fin_by[6]; /* by status class: responses, and those followed by a FIN */
    uint64_t reuses, prompt_reuses;
    int64_t busy_total_ns;
    struct {
        int64_t from_ns, to_ns;
    } spell[SPELLS]; /* idle spells that ended in reuse: ring */
    uint64_t n_spells;
    struct close_waiting waiting[WAITING];
    unsigned n_waiting;
    int64_t told_ns;      /* when FINs were last found to be a habit; 0 */
    int64_t came_back_ns; /* the longest that a connection lay idle, was passed over, and was used again after all */
    int64_t idle_ends[LEARNED]; /* idle times at which the server ended it: ring */
    uint32_t n_idle_ends;
    uint32_t nth, nth_times; /* responses until the server said close */
    int64_t tls_open_ns;     /* of the last TLS connection with one request */
    int64_t rate_since_ns;
    uint32_t rate_opens;
    uint32_t sufficient;
    uint64_t held; /* now */
    char comm[16]; /* of the process that the probe found; "" */
    struct host_share hosts[MAX_HOSTS];
    uint8_t n_hosts;
    struct tally *tally[N_FINDINGS];
};

/* ---- a finding, or what may become one ---- */

struct tally {
    struct finding pub; /* pub.id 0: not raised */
    struct subject *subject;
    TAILQ_ENTRY(tally) link;
    uint32_t unredialed;   /* closes that no opening has followed, */
    int64_t unredialed_ns; /* the first of them; */
    uint64_t next_open;    /* and the opening of the subject that may follow the next close */
    int64_t dear_since_ns; /* the first of the last few that came within DEAR_OVER, */
    uint32_t dear_times;   /* how many they are, */
    bool is_dear;          /* and that they were DEAR_TIMES once, until it resolves */
    bool raised_now;       /* state-like kinds: the cause stands */
};

#define CHANGES 256

struct findings {
    struct findings_conf conf;
    struct idmap watches[N_SIDES];
    struct idmap by_id;     /* struct tally, by the id of its finding */
    struct subject **table; /* by hash; TABLE slots */
    TAILQ_HEAD(, subject) subjects;
    TAILQ_HEAD(, subject) resting[N_RESTS]; /* from REST_BARE on, each in order of coming to rest */
    unsigned n_subjects;
    TAILQ_HEAD(, tally) tallies;
    uint64_t last_id, held;
    int64_t now;
    unsigned open, open_of[N_FINDINGS];
    const struct finding **sorted;
    size_t n_sorted, sorted_room;
    bool sort_is_old;
    struct finding_change change[CHANGES];
    uint64_t change_first, change_next;
    conn_id suspect_after; /* where the last round of suspects stopped */
};

/* finding.c */
void watch_free(struct findings *f, struct watch *w);
uint32_t subject_peak(const struct subject *s);
unsigned subject_opens_after(const struct subject *s, int64_t t); /* of the newest OPENS */
int64_t subject_idle_timeout(const struct subject *s);
static inline unsigned class_of(uint16_t status) {
    return status >= 100 && status < 600 ? status / 100u : 0;
}

/* finding_tally.c */

/* Puts a subject that has no connection at the end of the list where it belongs now, and takes one that has from it. */
void subject_rest(struct findings *f, struct subject *s);

/* A copy, cut where there is no more room. */
void put_text(char *to, size_t room, const char *text);

uint8_t method_of(const char *name); /* as struct occurrence has it */

/* A tally that may become a finding; made where there is none. */
struct tally *tally_of(struct findings *f, struct subject *s, enum finding_kind kind);

/* One more occurrence, on a connection (0: none) with what its last exchange was. */
struct occurrence {
    conn_id id;
    int64_t at_ns; /* 0: now. In a capture all may be known of a connection long after its end */
    uint16_t status;
    uint8_t host, method;
};
struct tally *tally_count(struct findings *f, struct subject *s, enum finding_kind kind, struct occurrence o);

void tally_set(struct tally *t, enum finding_number n, uint64_t value); /* UNKNOWN_BYTES: it is not known any more */
void tally_add(struct tally *t, enum finding_number n, uint64_t value);
void tally_max(struct tally *t, enum finding_number n, uint64_t value);
uint64_t tally_get(const struct tally *t, enum finding_number n);

/* From now on it is a finding; again where it had resolved. */
void tally_raise(struct findings *f, struct tally *t, enum severity severity, enum confidence confidence);
void tally_resolve(struct findings *f, struct tally *t);

/* An occurrence that was counted turned out to be none; and all of them: it is no finding, and never was one. */
void tally_uncount(struct findings *f, struct tally *t, struct occurrence o);
void tally_withdraw(struct findings *f, struct tally *t);

void tally_free(struct findings *f, struct tally *t); /* resolved before; its subject has it no more */

static inline uint64_t ms(int64_t ns) {
    return ns > 0 ? (uint64_t)(ns / MSEC(1)) : 0;
}
static inline struct occurrence last_of(const struct watch *w) {
    return (struct occurrence){
        .id = w->id, .at_ns = w->end_ns, .status = w->status, .host = w->host, .method = w->method};
}
static inline bool is_client(const struct subject *s) {
    return s->pub.side != SIDE_UPSTREAM;
}

/* What costs a new connection a request is worth a warning where it comes often. */
static inline enum severity by_rate(const struct tally *t) {
    return t->is_dear ? SEVERITY_WARNING : SEVERITY_INFO;
}

/* A connection was closed then: is there an opening that followed, and not already another of these closes? Of ends
 * that are told late it has been told before. If there is none, the next opening may be it. */
void count_redial(struct tally *t, const struct subject *s, int64_t closed_ns);

static inline uint32_t bit(enum finding_kind kind) {
    return (uint32_t)1 << kind;
}

/* finding_clients.c: what clients do with their connections. */
bool has_pool_limit(enum stack st); /* it has a pool whose size is limited, and makes requests wait for it */
bool reads_all(enum stack st);
bool has_sessions(enum stack st);
uint64_t own_buffer(enum stack st);
bool closes_to_proxies(const struct findings *f, const struct subject *s, bool proxied);
extern const char *const effect_cut, *const effect_aiohttp;
void early_in_body(struct findings *f, struct watch *w, const struct fact_end *e);
void rst_unread(struct findings *f, struct watch *w, const struct fact_end *e, enum severity severity);
void rst_of_unknown(struct findings *f, struct watch *w, const struct fact_end *e);
void client_ended(struct findings *f, struct watch *w, const struct fact_end *e);
void tls_per_request(struct findings *f, struct watch *w, const struct fact_end *e);
int64_t last_rival_ns(const struct subject *s, const struct watch *w);
void came_back(struct findings *f, struct watch *w, int64_t at_ns);
void held_unread(struct findings *f, struct watch *w);
enum held_when {
    HELD_SO_FAR,  /* time passes */
    HELD_AT_EXIT, /* a program ends */
    HELD_AT_END,  /* a capture ends: waiting would show no more */
};
void held_connections(struct findings *f, struct subject *s, enum held_when when);
void raise_early(struct findings *f, struct tally *t);

/* finding_ends.c: an end after a whole response, and what it was for. */
void fin_after_response(struct findings *f, struct watch *w, int64_t came_ns, uint64_t received);
void fin_at_last(struct findings *f, struct watch *w, const struct fact_end *e);
void rst_after_response(struct findings *f, struct watch *w, const struct fact_end *e);
void raise_churn(struct findings *f, struct subject *s, struct tally *t);
void raise_per_request(struct findings *f, struct tally *t);
enum settle {
    SETTLE_RIPE, /* those whose time is over, or that are explained */
    SETTLE_ALL,  /* there is no room for more */
    SETTLE_END,  /* nothing more comes */
};
void rules_settle(struct findings *f, struct subject *s, enum settle how);

/* finding_rules.c: the rest, and when which rule is asked. */
void rules_opened(struct findings *f, struct subject *s, int64_t opened_ns); /* a new connection of s */
void rules_response(struct findings *f, struct watch *w, const struct fact *fact);
void rules_unblocked(struct findings *f, struct watch *w, int64_t at_ns);
void rules_ending(struct findings *f, struct watch *w, uint64_t received, enum close_by by, enum close_how how);
void rules_closed(struct findings *f, struct watch *w, const struct fact_end *e);
void rules_waited(struct findings *f, struct watch *w, uint64_t ns, bool limited);
void rules_dial_failed(struct findings *f, struct watch *w, enum dial_cause cause);
void rules_tick(struct findings *f, struct subject *s);
void rules_end(struct findings *f, struct subject *s);

#endif
