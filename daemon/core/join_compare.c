#include "join.h"

#include <string.h>

const char *join_field_name(enum join_field f) {
    static const char *const names[] = {
#define X(sym, name, kind, text) name,
#include "tbl/join_fields.h"
#undef X
    };
    return f < N_JOIN_FIELDS ? names[f] : "?";
}

enum join_kind join_field_kind(enum join_field f) {
    static const uint8_t kinds[] = {
#define X(sym, name, kind, text) JOIN_KIND_##kind,
#include "tbl/join_fields.h"
#undef X
    };
    return f < N_JOIN_FIELDS ? (enum join_kind)kinds[f] : JOIN_KIND_COUNT;
}

static const struct {
    const char *name, *text;
} causes[] = {
#define X(sym, name, text) {name, text},
#include "tbl/join_causes.h"
#undef X
};

const char *join_cause_name(enum join_cause c) {
    return c < N_JOIN_CAUSES ? causes[c].name : "?";
}

const char *join_cause_text(enum join_cause c) {
    return c < N_JOIN_CAUSES ? causes[c].text : "?";
}

const char *join_verdict_name(enum join_verdict v) {
    static const char *const names[] = {
#define X(sym, name, text) name,
#include "tbl/join_verdicts.h"
#undef X
    };
    return v < N_JOIN_VERDICTS ? names[v] : "?";
}

/* --- What the packets say about the ends ------------------------------------ */

/* One pair under comparison. Times of the capture are brought to the ledger's
 * clock where they are read, never in the view itself. */
struct pair {
    const struct join_claim *l;
    const struct join_view *v;
    const struct join_cover *x;
    const struct join_end *own, *peer; /* own: the end that wrote the claim */
    struct join_result *out;
    int64_t slack;
    int64_t seen; /* until when the claim's observer watched; the ledger's clock */
};

static int64_t on_ledger_clock(const struct pair *p, int64_t capture_ns) {
    return capture_ns + p->x->clock.offset_ns;
}

static bool fin_first(const struct join_end *e) {
    return e->fin_packet && (!e->rst_packet || e->fin_packet < e->rst_packet);
}

static uint64_t end_packet(const struct join_end *e) {
    return fin_first(e) ? e->fin_packet : e->rst_packet;
}

static int64_t end_ns(const struct join_end *e) {
    return fin_first(e) ? e->fin_ns : e->rst_ns;
}

static bool has_ended(const struct join_end *e) {
    return end_packet(e) != 0;
}

/* The end whose FIN or RST came first; NULL where there is none. */
static const struct join_end *first_to_end(const struct pair *p) {
    if (!has_ended(p->own)) return has_ended(p->peer) ? p->peer : NULL;
    if (!has_ended(p->peer)) return p->own;
    return end_packet(p->own) < end_packet(p->peer) ? p->own : p->peer;
}

static bool is_open(const struct join_claim *l) {
    return !l->closed_ns;
}

static bool within(int64_t a, int64_t b, int64_t slack) {
    return a < b ? b - a <= slack : a - b <= slack;
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* --- The causes, each with its proof ---------------------------------------- */

/* Reasons that the end decides on by itself, whatever its peer does meanwhile. */
static bool is_own_decision(const struct join_claim *l) {
    if (!(l->known & KNOW_REASON)) return false;
    switch ((enum close_reason)l->close_reason) {
    case REASON_IDLE_TIMEOUT:
    case REASON_TOO_MANY_IDLE:
    case REASON_TOO_MANY_IDLE_HOST:
    case REASON_KEEPALIVES_DISABLED:
    case REASON_REQUEST_CLOSE:
    case REASON_RESPONSE_CLOSE:
    case REASON_EARLY_CLOSE:
    case REASON_CANCELED:
    case REASON_UNSOLICITED_RESPONSE:
    case REASON_RESPONSE_HEADER_TIMEOUT:
    case REASON_MALFORMED_RESPONSE:
    case REASON_UPLOAD_UNFINISHED:
    case REASON_CLOSE_IDLE_CONNS:
    case REASON_TUNNEL:
    case REASON_CLIENT_TIMEOUT:
    case REASON_BAD_REQUEST:
    case REASON_SHUTDOWN:
        return true;
    case REASON_SERVER_CLOSED: /* the origin's end: to its client, the daemon's own decision */
    case REASON_READ_ERROR:
        return l->accepted;
    default:
        return false;
    }
}

/* The peer's end was there, at most a slack old, when this end closed of its own
 * accord: nobody had told the program yet. */
static bool closed_unaware_of(const struct pair *p, int64_t peer_ns) {
    int64_t at = on_ledger_clock(p, peer_ns);

    return !is_open(p->l) && is_own_decision(p->l) && p->l->closed_ns >= at - p->slack &&
           p->l->closed_ns <= at + p->slack;
}

/* Packets this close are of one instant: a program that was doing one thing
 * cannot have known of the other. */
#define AN_INSTANT MSEC(5)

/* The end's own RST was the first it sent at its end, and the peer's last bytes
 * had come in the same instant: they may have come after the end's last look. */
static bool bytes_came_at_close(const struct pair *p) {
    const struct join_end *own = p->own, *peer = p->peer;

    return own->rst_packet && !fin_first(own) && peer->last_payload_packet &&
           (peer->last_payload_packet > own->rst_packet || own->rst_ns - peer->last_payload_ns <= AN_INSTANT);
}

/* Does it claim to have closed before it opened, or before bytes came that it has read? */
static bool closed_too_soon(const struct pair *p) {
    const struct join_end *peer = p->peer;
    bool has_read = peer->last_payload_packet && p->l->known & KNOW_BYTES_IN && p->l->bytes_in >= peer->acked_bytes;

    return p->l->closed_ns < p->l->opened_ns - p->slack ||
           (has_read && p->l->closed_ns < on_ledger_clock(p, peer->last_payload_ns) - p->slack);
}

/* The end's kernel sent its bytes until the FIN could follow them, and was still
 * sending them when the program had closed already. */
static bool fin_waited_for_data(const struct pair *p) {
    const struct join_end *own = p->own;

    return own->last_payload_packet && !closed_too_soon(p) &&
           on_ledger_clock(p, own->last_payload_ns) > p->l->closed_ns && end_ns(own) - own->last_payload_ns <= p->slack;
}

/* The peer's RST followed its own FIN, for which the end was closing just then. */
static bool rst_came_at_close(const struct pair *p) {
    return fin_first(p->peer) && p->peer->rst_packet && !is_open(p->l) && p->l->close_how == HOW_FIN &&
           within(p->l->closed_ns, on_ledger_clock(p, p->peer->rst_ns), AN_INSTANT);
}

/* An RST of either end stopped the end while it was sending: bytes were not
 * acknowledged, or not before the RST itself did (a program that is slow to run keeps
 * its ACKs back); or the window left no room, or its last bytes had just gone out. */
static bool reset_while_sending(const struct pair *p) {
    const struct join_end *own = p->own, *peer = p->peer;
    int64_t rst_ns =
        !own->rst_packet || (peer->rst_packet && peer->rst_packet < own->rst_packet) ? peer->rst_ns : own->rst_ns;

    if (!own->rst_packet && !peer->rst_packet) return false;
    return own->acked_bytes < own->bytes + own->acked_by_rst || peer->window_low ||
           (own->last_payload_packet && rst_ns - own->last_payload_ns <= AN_INSTANT);
}

static bool older_than_capture(const struct pair *p) {
    return (p->v->blind & JOIN_BLIND_START) && p->l->opened_ns <= on_ledger_clock(p, p->x->capture_first_ns) + p->slack;
}

static bool outlived_capture(const struct pair *p) {
    return (p->v->blind & JOIN_BLIND_END) && p->seen >= on_ledger_clock(p, p->x->capture_last_ns) - p->slack;
}

static bool outlived_record(const struct pair *p, int64_t capture_ns) {
    return is_open(p->l) && on_ledger_clock(p, capture_ns) >= p->seen - p->slack;
}

/* Why a number that only grows is not the same on both sides. */
static enum join_cause growth_cause(const struct pair *p, bool ledger_has_more) {
    if (!ledger_has_more) return outlived_record(p, p->v->last_ns) ? JOIN_CAUSE_AFTER_LEDGER : JOIN_CAUSE_NONE;
    if (older_than_capture(p)) return JOIN_CAUSE_BEFORE_CAPTURE;
    if (outlived_capture(p)) return JOIN_CAUSE_AFTER_CAPTURE;
    /* Neither FIN nor RST: what was lost may be all that came behind the last packet seen. */
    return (p->v->blind & JOIN_BLIND_END) && p->x->lost_packets ? JOIN_CAUSE_LOST_PACKETS : JOIN_CAUSE_NONE;
}

/* Why a FIN, an RST or a SYN that the ledger speaks of is not in the capture. */
static enum join_cause absent_packet_cause(const struct pair *p) {
    if (outlived_capture(p)) return JOIN_CAUSE_AFTER_CAPTURE;
    return p->x->lost_packets ? JOIN_CAUSE_LOST_PACKETS : JOIN_CAUSE_NONE;
}

/* Why the end does not know of the peer's RST. */
static enum join_cause unnoticed_rst_cause(const struct pair *p) {
    const struct join_end *own = p->own, *peer = p->peer;

    /* An end that has got an RST sends no FIN any more: where it sent one, it had closed before. */
    if (fin_first(own) || (own->rst_packet && own->rst_packet < peer->rst_packet)) return JOIN_CAUSE_RST_AFTER_CLOSE;
    if (closed_unaware_of(p, peer->rst_ns)) return JOIN_CAUSE_SIMULTANEOUS_CLOSE;
    if (rst_came_at_close(p)) return JOIN_CAUSE_ARRIVED_AT_CLOSE;
    return outlived_record(p, peer->rst_ns) ? JOIN_CAUSE_AFTER_LEDGER : JOIN_CAUSE_NONE;
}

/* --- Field by field --------------------------------------------------------- */

static void compared(struct pair *p, enum join_field f) {
    p->out->compared |= 1u << f;
}

static void differs(struct pair *p, enum join_field f, uint64_t ledger, uint64_t capture, uint64_t packet,
                    enum join_cause cause) {
    p->out->diff[p->out->n++] = (struct join_difference){
        .field = (uint8_t)f, .cause = (uint8_t)cause, .ledger = ledger, .capture = capture, .packet = packet};
}

/* What the witness itself cannot tell; for the accepting end, sent and received change places. */
static bool is_unsaid(const struct pair *p, enum join_field f) {
    if (p->l->accepted && f == JOIN_RST_SENT)
        f = JOIN_RST_RECEIVED;
    else if (p->l->accepted && f == JOIN_RST_RECEIVED)
        f = JOIN_RST_SENT;
    return p->v->unsaid >> f & 1;
}

static void compare_opened(struct pair *p) {
    const struct join_claim *l = p->l;
    const struct join_view *v = p->v;
    int64_t opened = on_ledger_clock(p, v->opened_ns);

    if (!(l->known & KNOW_OPENED)) return;
    if (v->known & KNOW_OPENED) {
        compared(p, JOIN_OPENED);
        p->out->opened_apart_ns = l->opened_ns - opened;
        if (!within(l->opened_ns, opened, p->slack))
            differs(p, JOIN_OPENED, (uint64_t)l->opened_ns, (uint64_t)opened, v->syn_packet, JOIN_CAUSE_NONE);
    } else if ((v->blind & JOIN_BLIND_START) && !older_than_capture(p)) {
        compared(p, JOIN_OPENED);
        differs(p, JOIN_OPENED, (uint64_t)l->opened_ns, UNKNOWN_BYTES, v->first_packet,
                p->x->lost_packets ? JOIN_CAUSE_LOST_PACKETS : JOIN_CAUSE_NONE);
    }
}

static void compare_count(struct pair *p, enum join_field f, uint32_t known, uint64_t ledger, uint64_t capture,
                          uint64_t packet, enum join_cause cause) {
    if (!(p->l->known & p->v->known & known)) return;
    compared(p, f);
    if (ledger != capture) differs(p, f, ledger, capture, packet, cause ? cause : growth_cause(p, ledger > capture));
}

/* What goes through a tunnel is not the daemon's, though a capture may be able to read it. */
static bool is_foreign(const struct join_claim *l) {
    return l->opaque && !l->accepted && !l->requests;
}

/* The peer had reset the connection when the next request was to be written: not a byte of it went out. */
static bool request_met_rst(const struct pair *p) {
    return p->l->close_reason == REASON_WRITE_ERROR && p->peer->rst_packet && p->l->requests == p->v->requests + 1 &&
           p->v->responses >= p->v->requests;
}

/* A server that closes after an answer does not begin the requests behind it (RFC 9112 section 9.6). */
static bool was_never_begun(const struct pair *p) {
    return p->l->accepted && !is_open(p->l) && p->l->requests < p->v->requests &&
           p->v->requests - p->l->requests <= p->v->pipelined && p->v->responses <= p->l->requests;
}

static enum join_cause requests_cause(const struct pair *p) {
    if (!(p->l->known & p->v->known & KNOW_REQUESTS) || !(p->v->known & KNOW_RESPONSES)) return JOIN_CAUSE_NONE;
    if (request_met_rst(p)) return JOIN_CAUSE_DISCARDED_BY_RST;
    return was_never_begun(p) ? JOIN_CAUSE_PIPELINED_BEHIND_CLOSE : JOIN_CAUSE_NONE;
}

static void compare_counts(struct pair *p) {
    const struct join_view *v = p->v;
    uint64_t request = v->last_request_packet ? v->last_request_packet : v->last_packet;
    uint32_t reused = v->requests ? v->requests - 1 : 0, own_reused = p->l->requests ? p->l->requests - 1 : 0;
    enum join_cause cause = requests_cause(p);

    if (is_foreign(p->l)) return;
    compare_count(p, JOIN_REQUESTS, KNOW_REQUESTS, p->l->requests, v->requests, request, cause);
    compare_count(p, JOIN_REUSED, KNOW_REQUESTS, p->l->reused, reused, request,
                  p->l->reused == own_reused ? cause : JOIN_CAUSE_NONE);
}

/* Why the two ends of a response do not count it alike: one of them was not told in time. */
static enum join_cause early_close_cause(const struct pair *p) {
    const struct join_claim *l = p->l;
    const struct join_view *v = p->v;

    /* A server whose whole answer fits into its kernel learns only from the client's
     * RST that it was not taken: if that came too late to be noticed, so does this. */
    if (l->accepted) {
        if (!has_ended(p->peer) || v->early_closes != l->early_closes + 1) return JOIN_CAUSE_NONE;
        if (p->peer->rst_packet && !l->rst_received) return unnoticed_rst_cause(p);
        if (closed_unaware_of(p, end_ns(p->peer))) return JOIN_CAUSE_SIMULTANEOUS_CLOSE;
        /* It still sent when the RST had come: the program had written all of it by the time that it was told. */
        return p->peer->rst_packet && p->own->last_payload_packet > p->peer->rst_packet ? JOIN_CAUSE_DISCARDED_BY_RST
                                                                                        : JOIN_CAUSE_NONE;
    }
    /* Not a byte of that response had been read when the program left. */
    if (v->early_closes == l->early_closes + 1 && v->responses && l->known & KNOW_BYTES_IN &&
        l->bytes_in <= v->last_head_at && bytes_came_at_close(p))
        return JOIN_CAUSE_ARRIVED_AT_CLOSE;
    /* The end that completed the body, or broke it off, was there and not read yet. */
    if (l->early_closes == v->early_closes + 1 && first_to_end(p) == p->peer && closed_unaware_of(p, end_ns(p->peer)))
        return JOIN_CAUSE_SIMULTANEOUS_CLOSE;
    return JOIN_CAUSE_NONE;
}

static void compare_early_closes(struct pair *p) {
    const struct join_claim *l = p->l;
    const struct join_view *v = p->v;
    const struct join_end *reader = &v->end[JOIN_CONNECTOR];
    uint64_t packet = has_ended(reader) ? end_packet(reader) : v->last_packet;
    enum join_cause cause = early_close_cause(p);

    if (!(l->known & v->known & KNOW_EARLY_CLOSES) || is_foreign(l)) return;
    compared(p, JOIN_EARLY_CLOSES);
    if (l->early_closes == v->early_closes) return;
    if (!cause) cause = growth_cause(p, l->early_closes > v->early_closes);
    differs(p, JOIN_EARLY_CLOSES, l->early_closes, v->early_closes, packet, cause);
}

/* The view's bits are the connecting end's. */
static bool view_knows(const struct pair *p, bool in) {
    return p->v->known & (in != p->l->accepted ? KNOW_BYTES_IN : KNOW_BYTES_OUT);
}

static void compare_bytes_out(struct pair *p) {
    uint64_t said = p->l->bytes_out, sent = p->own->bytes;
    enum join_cause cause;

    if (!(p->l->known & KNOW_BYTES_OUT) || !view_knows(p, false)) return;
    compared(p, JOIN_BYTES_OUT);
    if (said == sent) return;
    cause = growth_cause(p, said > sent);
    if (!cause && said > sent && reset_while_sending(p)) cause = JOIN_CAUSE_DISCARDED_BY_RST;
    differs(p, JOIN_BYTES_OUT, said, sent,
            p->own->last_payload_packet ? p->own->last_payload_packet : p->v->last_packet, cause);
}

/* May this end send FIN long before it closes? Tunnels pass half-closes on, and a
 * server may wait for its client to read what was sent. */
static bool may_half_close(const struct join_claim *l) {
    return l->opaque || l->accepted;
}

/* How many bytes of the peer the end's kernel took in. Beyond what the end
 * acknowledged there may be more only where something cut its last ACK off: the
 * peer's RST, or the end of the capture. */
struct span {
    uint64_t low, high;
};
static struct span arrived(const struct pair *p) {
    struct span a = {p->peer->acked_bytes, p->peer->acked_bytes};

    if (p->peer->rst_packet || (p->v->blind & JOIN_BLIND_END) || is_open(p->l)) a.high = p->peer->bytes;
    if (a.high < a.low) a.high = a.low;
    return a;
}

/* What arrived, the program has read or left unread: one equation for two
 * claims, and where it fails both are named. But close() sends FIN only where
 * nothing is unread, so after a FIN each claim is held to a value of its own. */
static void compare_bytes_in(struct pair *p) {
    const struct join_claim *l = p->l;
    bool reset = p->own->rst_packet && !fin_first(p->own);
    bool knows_unread = !is_open(l) && (l->known & KNOW_UNREAD);
    bool apart = knows_unread && fin_first(p->own) && !may_half_close(l);
    uint64_t unread = knows_unread && !apart ? l->unread_bytes : 0, total = l->bytes_in + unread, truth;
    uint64_t packet = p->peer->last_payload_packet ? p->peer->last_payload_packet : p->v->last_packet;
    struct span a = arrived(p);
    enum join_cause cause;

    if (!(l->known & KNOW_BYTES_IN) || !view_knows(p, true)) return;
    compared(p, JOIN_BYTES_IN);
    if (knows_unread) compared(p, JOIN_UNREAD);
    if (apart && l->unread_bytes) differs(p, JOIN_UNREAD, l->unread_bytes, 0, p->own->fin_packet, JOIN_CAUSE_NONE);

    if (total < unread) total = UNKNOWN_BYTES;
    /* A queue that the program has not emptied yet, or whose rest nobody counted. */
    if ((is_open(l) && l->state != LIFE_IDLE) || (!knows_unread && reset)) a.low = 0;
    if (total >= a.low && total <= a.high) return;
    truth = total > a.high ? a.high : a.low;
    cause = growth_cause(p, total > a.high);
    if (!cause && total < a.low && bytes_came_at_close(p)) cause = JOIN_CAUSE_ARRIVED_AT_CLOSE;
    /* A claim that not even zero in the other could save is the other's fault alone. */
    if (l->bytes_in || truth > unread)
        differs(p, JOIN_BYTES_IN, l->bytes_in, truth > unread ? truth - unread : 0, packet, cause);
    if (knows_unread && !apart && (unread || truth > l->bytes_in))
        differs(p, JOIN_UNREAD, unread, truth > l->bytes_in ? truth - l->bytes_in : 0, packet, cause);
}

/* When the packets say that the end closed, on the ledger's clock: the time of
 * its own FIN or RST, or of the peer's RST; with half-closes any time from there
 * to the last of them. */
struct moment {
    int64_t from, to;
    uint64_t packet; /* 0: the capture does not show it */
};
static struct moment closing(const struct pair *p) {
    const struct join_end *own = p->own, *peer = p->peer;
    bool whole = own->rst_packet || peer->rst_packet || (own->fin_packet && peer->fin_packet);
    struct moment m = {0};
    int64_t last = later(later(own->fin_ns, own->rst_ns), later(peer->fin_ns, peer->rst_ns));

    if (has_ended(own)) {
        m = (struct moment){end_ns(own), end_ns(own), end_packet(own)};
        if (may_half_close(p->l)) m.to = whole ? last : NEVER;
    } else if (peer->rst_packet) {
        m = (struct moment){peer->rst_ns, peer->rst_ns, peer->rst_packet};
    } else if (own->gone_packet) {
        m = (struct moment){own->gone_ns, own->gone_ns, own->gone_packet};
    }
    if (m.packet) {
        m.from = on_ledger_clock(p, m.from);
        if (m.to != NEVER) m.to = on_ledger_clock(p, m.to);
    }
    return m;
}

static void compare_closed(struct pair *p) {
    const struct join_claim *l = p->l;
    struct moment m = closing(p);

    if (!(l->known & KNOW_CLOSED)) return;
    if (is_open(l)) {
        if (!m.packet || m.to == NEVER) return;
        compared(p, JOIN_CLOSED);
        differs(p, JOIN_CLOSED, UNKNOWN_BYTES, (uint64_t)m.from, m.packet,
                m.to >= p->seen - p->slack ? JOIN_CAUSE_AFTER_LEDGER : JOIN_CAUSE_NONE);
        return;
    }
    compared(p, JOIN_CLOSED);
    if (!m.packet) {
        differs(p, JOIN_CLOSED, (uint64_t)l->closed_ns, UNKNOWN_BYTES, p->v->last_packet, absent_packet_cause(p));
        return;
    }
    p->out->closed_apart_ns = l->closed_ns < m.from ? l->closed_ns - m.from
                              : l->closed_ns > m.to ? l->closed_ns - m.to
                                                    : 0;
    if (l->closed_ns < m.from - p->slack)
        differs(p, JOIN_CLOSED, (uint64_t)l->closed_ns, (uint64_t)m.from, m.packet,
                fin_waited_for_data(p) ? JOIN_CAUSE_FIN_BEHIND_DATA : JOIN_CAUSE_NONE);
    else if (m.to != NEVER && l->closed_ns > m.to + p->slack)
        differs(p, JOIN_CLOSED, (uint64_t)l->closed_ns, (uint64_t)m.to, m.packet, JOIN_CAUSE_NONE);
}

static void compare_close_by(struct pair *p, const struct join_end *first) {
    enum close_by truth = first == p->own ? BY_LOCAL : BY_REMOTE;
    enum join_cause cause = JOIN_CAUSE_NONE;

    compared(p, JOIN_CLOSE_BY);
    if (p->l->close_by == truth) return;
    if (p->l->close_by == BY_LOCAL && (closed_unaware_of(p, end_ns(first)) || (first == p->peer && p->own->crossed)))
        cause = JOIN_CAUSE_SIMULTANEOUS_CLOSE;
    differs(p, JOIN_CLOSE_BY, p->l->close_by, truth, end_packet(first), cause);
}

/* Held against the end that the claim speaks of: if that is the wrong one, it is
 * close.by that is wrong. */
static void compare_close_how(struct pair *p, const struct join_end *first) {
    const struct join_end *named = p->l->close_by == BY_LOCAL ? p->own : p->peer;
    enum close_how truth;
    enum join_cause cause = JOIN_CAUSE_NONE;

    if (!has_ended(named)) named = first;
    truth = fin_first(named) ? HOW_FIN : HOW_RST;
    compared(p, JOIN_CLOSE_HOW);
    if (p->l->close_how == truth) return;
    if (truth == HOW_RST && named == p->own && p->l->close_how == HOW_FIN && bytes_came_at_close(p))
        cause = JOIN_CAUSE_ARRIVED_AT_CLOSE;
    /* A FIN that stood behind bytes in the kernel went with them. */
    if (truth == HOW_RST && p->l->close_by == BY_LOCAL && !has_ended(p->own) && reset_while_sending(p))
        cause = JOIN_CAUSE_DISCARDED_BY_RST;
    differs(p, JOIN_CLOSE_HOW, p->l->close_how, truth, end_packet(named), cause);
}

static void compare_close(struct pair *p) {
    const struct join_end *first = first_to_end(p);

    /* An end that neither side, or only the ledger, has seen is compare_closed's to tell. */
    if (is_open(p->l) || !(p->l->known & KNOW_CLOSE) || !first || is_unsaid(p, JOIN_CLOSE_BY)) return;
    compare_close_by(p, first);
    compare_close_how(p, first);
}

static void compare_rst_sent(struct pair *p) {
    const struct join_end *own = p->own;
    enum join_cause cause = JOIN_CAUSE_NONE;

    if (!(p->l->known & KNOW_RST_SENT) || is_unsaid(p, JOIN_RST_SENT)) return;
    compared(p, JOIN_RST_SENT);
    if (p->l->rst_sent == (own->rst_packet != 0)) return;
    if (own->rst_packet) {
        if (fin_first(own))
            cause = JOIN_CAUSE_DATA_AFTER_CLOSE;
        else if (outlived_record(p, own->rst_ns))
            cause = JOIN_CAUSE_AFTER_LEDGER;
        else if (bytes_came_at_close(p))
            cause = JOIN_CAUSE_ARRIVED_AT_CLOSE;
        differs(p, JOIN_RST_SENT, 0, 1, own->rst_packet, cause);
        return;
    }
    /* After the peer's RST there is no connection left on which an RST could go out. */
    if (p->peer->rst_packet && !own->fin_packet && closed_unaware_of(p, p->peer->rst_ns))
        cause = JOIN_CAUSE_SIMULTANEOUS_CLOSE;
    else if (!own->fin_packet)
        cause = absent_packet_cause(p);
    differs(p, JOIN_RST_SENT, 1, 0, has_ended(own) ? end_packet(own) : p->v->last_packet, cause);
}

static void compare_rst_received(struct pair *p) {
    const struct join_end *peer = p->peer;
    enum join_cause cause = JOIN_CAUSE_NONE;

    if (!(p->l->known & KNOW_RST_RECEIVED) || is_unsaid(p, JOIN_RST_RECEIVED)) return;
    compared(p, JOIN_RST_RECEIVED);
    if (p->l->rst_received == (peer->rst_packet != 0)) return;
    if (peer->rst_packet) {
        cause = unnoticed_rst_cause(p);
        differs(p, JOIN_RST_RECEIVED, 0, 1, peer->rst_packet, cause);
    } else {
        differs(p, JOIN_RST_RECEIVED, 1, 0, has_ended(peer) ? end_packet(peer) : p->v->last_packet,
                absent_packet_cause(p));
    }
}

/* --- The verdict ------------------------------------------------------------ */

static bool disagreements_first(struct join_result *r) {
    struct join_difference sorted[N_JOIN_FIELDS];
    uint32_t n = 0, faults;

    for (uint32_t i = 0; i < r->n; i++)
        if (!r->diff[i].cause) sorted[n++] = r->diff[i];
    faults = n;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->diff[i].cause) sorted[n++] = r->diff[i];
    memcpy(r->diff, sorted, n * sizeof *sorted);
    return faults != 0;
}

void join_compare(const struct join_claim *claim, const struct join_view *view, const struct join_cover *cover,
                  struct join_result *out) {
    struct pair p = {.l = claim,
                     .v = view,
                     .x = cover,
                     .own = &view->end[claim->accepted ? JOIN_ACCEPTOR : JOIN_CONNECTOR],
                     .peer = &view->end[claim->accepted ? JOIN_CONNECTOR : JOIN_ACCEPTOR],
                     .out = out,
                     .slack = cover->clock.slack_ns,
                     .seen = claim->closed_ns ? claim->closed_ns
                                              : later(claim->seen_ns, claim->seen_ns ? 0 : cover->ledger_last_ns)};
    uint32_t blind = view->blind;

    memset(out, 0, sizeof *out);
    compare_opened(&p);
    compare_closed(&p);
    compare_counts(&p);
    compare_early_closes(&p);
    compare_bytes_in(&p);
    compare_bytes_out(&p);
    compare_rst_sent(&p);
    compare_rst_received(&p);
    compare_close(&p);

    if (is_open(claim)) blind &= ~(uint32_t)JOIN_BLIND_END; /* nothing is missing of an end that has not come */
    if (disagreements_first(out))
        out->verdict = JOIN_VERDICT_DISAGREE;
    else if (out->n)
        out->verdict = JOIN_VERDICT_EXPLAINED;
    else
        out->verdict = blind ? JOIN_VERDICT_INCOMPLETE : JOIN_VERDICT_AGREE;
    out->blind = out->verdict == JOIN_VERDICT_INCOMPLETE ? blind : 0;
}

/* --- Lives on one side only -------------------------------------------------- */

/* A dial that was refused is two packets; anything else has a handshake, and an
 * end or bytes. */
uint64_t join_least_packets(const struct join_claim *claim) {
    return claim->requests ? 6 : 2;
}

const char *join_absence_name(enum join_absence a) {
    static const char *const names[N_JOIN_ABSENCES] = {"wrongly", "lost_packets", "endpoint",
                                                       "time",    "refused",      "another_program"};

    return a < N_JOIN_ABSENCES ? names[a] : "?";
}

enum join_absence join_absent_in_capture(const struct join_claim *claim, const struct join_cover *cover, bool seen) {
    int64_t from = cover->capture_first_ns + cover->clock.offset_ns + cover->clock.slack_ns;
    int64_t to = cover->capture_last_ns + cover->clock.offset_ns - cover->clock.slack_ns;
    bool begins = claim->opened_ns >= from && claim->opened_ns <= to;
    bool ends = claim->closed_ns >= from && claim->closed_ns <= to;

    if (!seen) return JOIN_ABSENT_ENDPOINT;
    if (!begins && !ends) return JOIN_ABSENT_TIME; /* no packet of it need have passed meanwhile */
    /* How many were lost does not say how many connections: a kernel counts what did not fit its
     * buffer, not what a network card dropped, and holes show in streams that were seen alone. */
    return cover->lost_packets ? JOIN_ABSENT_LOSS : JOIN_ABSENT_WRONGLY;
}

enum join_absence join_absent_in_ledger(const struct join_view *view, const struct join_cover *cover, bool accepts,
                                        bool dials) {
    int64_t from = cover->ledger_first_ns - cover->clock.offset_ns - cover->clock.slack_ns;
    int64_t to = cover->ledger_last_ns - cover->clock.offset_ns;

    if (!accepts && !dials) return JOIN_ABSENT_ENDPOINT;
    if (view->stillborn && !dials) return JOIN_ABSENT_REFUSED;
    if (view->first_ns < from || view->last_ns > to) return JOIN_ABSENT_TIME;
    return JOIN_ABSENT_WRONGLY;
}
