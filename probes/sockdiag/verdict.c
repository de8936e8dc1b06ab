#include "verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *sock_waits_name(enum sock_waits w) {
    static const char *const names[N_WAITS] = {
#define X(sym, name, text) name,
#include "sockdiag/tbl/waits.h"
#undef X
    };
    return (unsigned)w < N_WAITS ? names[w] : "?";
}

const char *sock_trouble_name(enum sock_trouble t) {
    static const char *const names[N_TROUBLES] = {"none", "note", "warn", "bad"};
    return (unsigned)t < N_TROUBLES ? names[t] : "?";
}

uint64_t sock_bytes_read(const struct sock_row *row) {
    if (row->bytes_received == SOCK_UNKNOWN64 || row->bytes_received < row->recv_q) return SOCK_UNKNOWN64;
    return row->bytes_received - row->recv_q;
}

/* ---- memory ---- */

void sock_remember(struct sock_memory *m, const struct sock_row *row, mono_ns now) {
    uint64_t was_read = sock_bytes_read(row);
    bool first = !m->seen;
    bool reads = was_read != SOCK_UNKNOWN64 ? was_read > m->was_read : row->recv_q < m->was_recv_q;
    bool sends = row->bytes_acked != SOCK_UNKNOWN64 && row->bytes_acked > m->was_acked;

    if (first)
        m->seen = now;
    else if (m->state != row->state)
        m->state_since = now;
    if (!first && reads) m->reads = true;
    if (row->recv_q == 0)
        m->unread_since = 0;
    else if (m->unread_since == 0 || reads)
        m->unread_since = now;
    if (row->send_q == 0)
        m->unsent_since = 0;
    else if (m->unsent_since == 0 || sends)
        m->unsent_since = now;
    m->state = row->state;
    m->was_recv_q = row->recv_q;
    m->was_read = was_read != SOCK_UNKNOWN64 ? was_read : 0;
    m->was_acked = row->bytes_acked != SOCK_UNKNOWN64 ? row->bytes_acked : 0;
}

/* ---- times ---- */

static int64_t ms(uint32_t n) {
    return n == SOCK_UNKNOWN ? -1 : MSEC(n);
}
static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t sooner(int64_t a, int64_t b) {
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}
static int64_t since(mono_ns from, mono_ns now) {
    return from ? now - from : -1;
}

static int64_t unread_for(const struct sock_row *row, const struct sock_memory *m, mono_ns now) {
    if (!m) return ms(row->last_recv_ms);
    return m->reads ? since(m->unread_since, now) : later(ms(row->last_recv_ms), since(m->unread_since, now));
}

static int64_t unsent_for(const struct sock_row *row, const struct sock_memory *m, mono_ns now) {
    return later(ms(row->last_sent_ms), m ? since(m->unsent_since, now) : -1);
}

/* The peer's FIN came no later than its last ACK, unless that answered a keep-alive probe, and no
 * sooner than its last data: *exact if both are the same. */
static int64_t closed_for(const struct sock_row *row, const struct sock_memory *m, mono_ns now, bool *exact) {
    int64_t least = ms(row->last_ack_ms), most = ms(row->last_recv_ms);

    *exact = least >= 0 && most >= 0 && most - least < SOCK_MOMENT;
    if (!m) return least;
    if (m->state_since) *exact = true;
    return m->state_since ? since(m->state_since, now) : later(least, since(m->seen, now));
}

static enum sock_trouble grade(int64_t for_ns) {
    if (for_ns >= SOCK_LONG) return TROUBLE_BAD;
    return for_ns >= SOCK_MOMENT ? TROUBLE_WARN : TROUBLE_NOTE;
}

/* ---- words ---- */

struct text {
    char *to;
    size_t room, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->to + t->len, t->room - t->len, fmt, ap);
    va_end(ap);
    if (n > 0) t->len = (size_t)n < t->room - t->len ? t->len + (size_t)n : t->room - 1;
}

/* "72,480" */
static void add_number(struct text *t, uint64_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);

    for (int i = 0; i < len; i++) add(t, i && (len - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
}

static void add_bytes(struct text *t, uint64_t n) {
    add_number(t, n);
    add(t, n == 1 ? " byte" : " bytes");
}

static void add_span(struct text *t, int64_t ns) {
    int64_t s = ns / SEC(1);

    if (ns < SEC(10))
        add(t, "%" PRId64 ".%" PRId64 " s", s, ns % SEC(1) / MSEC(100));
    else if (s < 120)
        add(t, "%" PRId64 " s", s);
    else if (s < 7200)
        add(t, "%" PRId64 " min", s / 60);
    else if (s < 172800)
        add(t, "%" PRId64 " h", s / 3600);
    else
        add(t, "%" PRId64 " days", s / 86400);
}

static void add_for(struct text *t, int64_t ns) {
    if (ns < 0) return;
    add(t, " for ");
    add_span(t, ns);
}

static void add_who(struct text *t, const struct sock_who *w) {
    if (w && w->pid) add(t, "pid %d %s", w->pid, w->comm);
}

/* ---- one case each ---- */

static bool not_accepted(const struct sock_row *row, struct text *t, struct sock_verdict *v) {
    if (row->inode || (row->state != SOCK_ESTABLISHED && row->state != SOCK_CLOSE_WAIT)) return false;
    v->waits = WAITS_ACCEPT;
    v->for_ns = sooner(ms(row->last_recv_ms), ms(row->last_ack_ms));
    v->trouble = grade(v->for_ns);
    add(t, "not accepted");
    add_for(t, v->for_ns);
    if (row->recv_q) {
        add(t, ", ");
        add_bytes(t, row->recv_q);
        add(t, " unread");
    }
    if (row->state == SOCK_CLOSE_WAIT) add(t, ", and the peer has closed");
    return true;
}

static bool unread(const struct sock_row *row, int64_t for_ns, struct text *t, struct sock_verdict *v) {
    uint64_t was_read = sock_bytes_read(row);

    if (!row->recv_q) return false;
    v->waits = WAITS_READ;
    v->for_ns = for_ns;
    v->trouble = grade(for_ns);
    add(t, "unread");
    add_for(t, for_ns);
    add(t, ", ");
    add_bytes(t, row->recv_q);
    if (was_read != SOCK_UNKNOWN64 && was_read > 0) {
        add(t, " after ");
        add_number(t, was_read);
        add(t, " that were read");
    }
    if (row->state == SOCK_CLOSE_WAIT) add(t, ", and the peer has closed");
    return true;
}

static bool close_wait(const struct sock_row *row, int64_t for_ns, bool exact, struct text *t, struct sock_verdict *v) {
    if (row->state != SOCK_CLOSE_WAIT) return false;
    v->waits = WAITS_CLOSE;
    v->for_ns = for_ns;
    v->trouble = grade(for_ns);
    add(t, "CLOSE_WAIT: the peer closed ");
    if (for_ns >= 0) {
        if (!exact) add(t, "at least ");
        add_span(t, for_ns);
        add(t, " ago ");
    }
    add(t, row->fin_unread ? "and nobody has noticed" : "and nobody closes");
    return true;
}

/* The window is closed, or too small for the next segment: then the probe timer runs. */
static bool peer_does_not_read(const struct sock_row *row, int64_t for_ns, struct text *t, struct sock_verdict *v) {
    bool knows = row->notsent != SOCK_UNKNOWN;
    uint32_t unsent = knows ? row->notsent : row->send_q;

    if (!unsent || (row->snd_wnd != 0 && row->timer != SOCK_TIMER_PROBE)) return false;
    v->waits = WAITS_PEER_READ;
    v->for_ns = for_ns;
    v->trouble = grade(for_ns);
    add(t, "peer does not read: ");
    if (row->snd_wnd != SOCK_UNKNOWN) {
        add(t, "window ");
        add_number(t, row->snd_wnd);
        add(t, ", ");
    }
    add_bytes(t, unsent);
    add(t, knows ? " unsent" : " not taken");
    add_for(t, for_ns);
    if (!row->inode) add(t, ", and its program has closed");
    return true;
}

static bool peer_does_not_answer(const struct sock_row *row, int64_t for_ns, struct text *t, struct sock_verdict *v) {
    if (row->state == SOCK_SYN_SENT) {
        v->waits = WAITS_PEER_CONNECT;
        v->trouble = row->retransmits != SOCK_UNKNOWN && row->retransmits > 0 ? TROUBLE_WARN : TROUBLE_NOTE;
        add(t, "connecting");
    } else if (row->send_q || row->state == SOCK_FIN_WAIT1 || row->state == SOCK_LAST_ACK ||
               row->state == SOCK_CLOSING) {
        v->waits = WAITS_PEER_ACK;
        v->for_ns = for_ns;
        v->trouble = row->retransmits != SOCK_UNKNOWN && row->retransmits > 0 ? TROUBLE_WARN : TROUBLE_NONE;
        if (row->send_q) {
            add_bytes(t, row->send_q);
            add(t, " under way");
        } else {
            add(t, "closed here, which the peer has not acknowledged");
        }
    } else {
        return false;
    }
    if (row->retransmits != SOCK_UNKNOWN && row->retransmits > 0)
        add(t, ", no answer to %u retransmission%s", row->retransmits, row->retransmits == 1 ? "" : "s");
    return true;
}

static void quiet(const struct sock_row *row, struct text *t, struct sock_verdict *v) {
    v->for_ns = sooner(ms(row->last_sent_ms), ms(row->last_recv_ms));
    v->waits = WAITS_NOTHING;
    if (row->state == SOCK_FIN_WAIT2) {
        v->waits = WAITS_PEER_CLOSE;
        v->trouble = TROUBLE_NOTE;
        add(t, row->inode ? "half closed here, open at the peer" : "closed here, open at the peer");
    } else {
        add(t, "idle");
        add_for(t, v->for_ns);
    }
}

void sock_judge(const struct sock_row *row, const struct sock_memory *m, mono_ns now, const struct sock_who *self,
                const struct sock_who *peer, struct sock_verdict *out) {
    struct text t = {out->words, sizeof out->words, 0};
    bool exact;
    int64_t closed = closed_for(row, m, now, &exact);

    *out = (struct sock_verdict){.for_ns = -1};
    bool told = not_accepted(row, &t, out) || unread(row, unread_for(row, m, now), &t, out) ||
                close_wait(row, closed, exact, &t, out) || peer_does_not_read(row, unsent_for(row, m, now), &t, out) ||
                peer_does_not_answer(row, unsent_for(row, m, now), &t, out);
    if (!told) quiet(row, &t, out);
    if (self && self->pid) {
        add(&t, ", ");
        add_who(&t, self);
    }
    if (out->waits == WAITS_PEER_READ && peer && peer->pid) {
        add(&t, "; the peer is ");
        add_who(&t, peer);
    }
}

int sock_worse(const struct sock_verdict *a, const struct sock_row *ra, const struct sock_verdict *b,
               const struct sock_row *rb) {
    uint64_t bytes_a = (uint64_t)ra->recv_q + ra->send_q, bytes_b = (uint64_t)rb->recv_q + rb->send_q;

    if (a->trouble != b->trouble) return a->trouble > b->trouble ? -1 : 1;
    /* Among the healthy, the one that was just busy comes before those idle for long. */
    bool bad = a->trouble > TROUBLE_NONE;
    if (a->for_ns != b->for_ns) return (a->for_ns > b->for_ns) == bad ? -1 : 1;
    if (bytes_a != bytes_b) return bytes_a > bytes_b ? -1 : 1;
    return flow_compare(&ra->flow, &rb->flow);
}
