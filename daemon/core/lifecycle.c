/* Events folded into one connection's record. Everything that a record says is
 * decided here, so that the daemon, a capture and a simulation cannot mean
 * different things by the same word. */
#include "lifecycle.h"

#include <stdlib.h>
#include <string.h>

/* The marks: the first MARKS_HEAD stay for good, since how a life began is what
 * is asked most; the newest of the others turn in a ring behind them. */

#define MARKS_TAIL (MARKS_MAX - MARKS_HEAD)

/* Steps that fit: six marks are a client's connection with one request, ten an
 * upstream one; most connections of a leaking program never need more. */
static bool grow_marks(struct lifecycle *l) {
    static const uint8_t rooms[] = {6, 10, 16, 24, MARKS_MAX};
    const uint8_t *room = rooms;
    while (*room <= l->marks_room) room++;
    struct conn_mark *marks = realloc(l->marks, *room * sizeof(*marks));
    if (!marks) return false;
    l->marks = marks;
    l->marks_room = *room;
    return true;
}

static void add_mark(struct lifecycle *l, const struct conn_event *ev) {
    unsigned at = l->n_marks;
    if (at == MARKS_MAX) {
        at = MARKS_HEAD + l->marks_ring;
        l->marks_ring = (uint16_t)(l->marks_ring + 1u == MARKS_TAIL ? 0 : l->marks_ring + 1u);
        l->marks_dropped++;
    } else if (at == l->marks_room && !grow_marks(l)) {
        l->marks_dropped++;
        return;
    } else {
        l->n_marks++;
    }
    l->marks[at] = (struct conn_mark){.at_ns = ev->at_ns,
                                      .value = ev->value < UINT32_MAX ? (uint32_t)ev->value : UINT32_MAX,
                                      .code = ev->code,
                                      .kind = ev->kind};
}

const struct conn_mark *lifecycle_mark(const struct lifecycle *l, unsigned i) {
    if (i < MARKS_HEAD) return &l->marks[i];
    return &l->marks[MARKS_HEAD + (l->marks_ring + i - MARKS_HEAD) % MARKS_TAIL];
}

void lifecycle_clear(struct lifecycle *l) {
    free(l->marks);
    l->marks = NULL;
    l->n_marks = l->marks_room = l->marks_ring = 0;
}

static void end_idle_spell(struct lifecycle *l, int64_t now) {
    if (l->idle_since_ns == 0) return;
    l->idle_total_ns += now - l->idle_since_ns;
    l->idle_since_ns = 0;
}

static void become_opaque(struct lifecycle *l, int64_t now) {
    end_idle_spell(l, now);
    l->opaque = true;
    l->state = LIFE_OPAQUE;
}

/* After TCP stands, https is still dialing: its handshake is under way. A tunnel
 * is raw from here on, whatever its key says, and EV_TUNNEL comes at once. */
static void dialed(struct lifecycle *l, int64_t now) {
    l->dialed_ns = now;
    l->state = l->key && !strcmp(l->key->scheme, "https") ? LIFE_DIALING : LIFE_OPEN;
}

/* A dial whose beginning was seen and that came to nothing. A connection that the
 * observer found already standing is none. */
static bool never_stood(const struct lifecycle *l) {
    return l->side != SIDE_DOWNSTREAM && l->dialed_ns == 0 && (l->known & KNOW_OPENED);
}

/* Who ended it, and how: whose FIN or RST was the first on the wire. When the peer
 * did nothing, it was us, and Linux answers close() with RST where bytes are
 * unread, FIN otherwise. That holds in CLOSE_WAIT too: after the peer's FIN,
 * rst_sent can be true although the peer ended it with a FIN. */
static void closed(struct lifecycle *l, const struct conn_event *ev) {
    end_idle_spell(l, ev->at_ns);
    l->closed_ns = ev->at_ns;
    l->close_reason = (uint8_t)(ev->code < N_REASONS ? ev->code : REASON_NONE);
    l->close_phase = ev->framing <= PHASE_AFTER_BODY ? ev->framing : PHASE_NONE;
    l->unread_bytes = ev->value;
    l->rst_sent = (ev->value > 0 || l->rst_sent) && !l->rst_received;
    if (l->fin_first || l->fin_sent_first) {
        l->close_by = l->fin_first ? BY_REMOTE : BY_LOCAL;
        l->close_how = HOW_FIN;
    } else if (l->rst_received) {
        l->close_by = BY_REMOTE;
        l->close_how = HOW_RST;
    } else if (!never_stood(l)) {
        l->close_by = BY_LOCAL;
        l->close_how = l->rst_sent ? HOW_RST : HOW_FIN;
    }
    l->state = LIFE_CLOSED;
}

void lifecycle_apply(struct lifecycle *l, const struct conn_event *ev) {
    switch ((enum conn_event_kind)ev->kind) {
    case EV_BYTES_IN:
        l->bytes_in += ev->value;
        return;
    case EV_BYTES_OUT:
        l->bytes_out += ev->value;
        return;
    case EV_BODY_READ:
        l->body_read += ev->value;
        return;
    case EV_DIALING:
        l->opened_ns = ev->at_ns;
        l->state = LIFE_DIALING;
        break;
    case EV_ACCEPTED:
        l->opened_ns = ev->at_ns;
        l->state = LIFE_OPEN;
        break;
    case EV_DIALED:
        dialed(l, ev->at_ns);
        break;
    case EV_TLS_DONE:
        l->tls_ns = ev->at_ns;
        l->state = LIFE_OPEN;
        break;
    case EV_REQUEST:
        end_idle_spell(l, ev->at_ns);
        l->requests++;
        l->state = LIFE_ACTIVE;
        break;
    case EV_RESPONSE:
        l->responses++;
        l->body_announced = ev->value;
        l->body_read = 0;
        l->body_framing = ev->framing;
        break;
    case EV_EARLY_CLOSE:
        l->early_closes++;
        l->body_read = ev->value;
        break;
    case EV_PUT_IDLE:
        end_idle_spell(l, ev->at_ns);
        l->idle_since_ns = ev->at_ns;
        l->state = LIFE_IDLE;
        break;
    case EV_RETRIED:
        l->retries++;
        break;
    case EV_UPGRADED:
    case EV_TUNNEL:
        become_opaque(l, ev->at_ns);
        break;
    case EV_CLOSE_NOTIFY:
        l->close_notify = true;
        break;
    case EV_FIN_SENT:
        l->fin_sent_first = !l->fin_received && !l->rst_received;
        break;
    case EV_RST_SENT:
        l->rst_sent = true;
        break;
    case EV_FIN_RECEIVED:
        l->fin_received = true;
        l->fin_first = !l->fin_sent_first && !l->rst_received;
        break;
    case EV_RST_RECEIVED:
        l->rst_received = true;
        break;
    case EV_ENDED:
        closed(l, ev);
        break;
    case EV_GOT_CONN:
    case EV_WROTE_REQUEST:
    case EV_FIRST_BYTE:
    case EV_INTERIM:
    case EV_BODY_EOF:
        break;
    case N_EVENTS:
    default:
        return;
    }
    add_mark(l, ev);
}

uint32_t lifecycle_reused(const struct lifecycle *l) {
    return l->requests > 1 ? l->requests - 1 : 0;
}

int64_t lifecycle_idle_ns(const struct lifecycle *l, int64_t now) {
    int64_t spell = l->idle_since_ns && now > l->idle_since_ns ? now - l->idle_since_ns : 0;
    return l->idle_total_ns + spell;
}

/* The words. */

static const char *const reason_names[] = {
#define X(sym, name, go_error, text, advice) name,
#include "tbl/close_reasons.h"
#undef X
};
static const char *const reason_go_errors[] = {
#define X(sym, name, go_error, text, advice) go_error,
#include "tbl/close_reasons.h"
#undef X
};
static const char *const event_names[] = {
#define X(sym, name, listed, text) name,
#include "tbl/conn_events.h"
#undef X
};
static const char *const observer_names[] = {"daemon", "capture", "kernel"};
static const char *const side_names[] = {"upstream", "downstream", "client"};
static const char *const state_names[] = {
#define X(sym, name, text) name,
#include "tbl/life_states.h"
#undef X
};
static const char *const phase_names[] = {
#define X(sym, name, text) name,
#include "tbl/close_phases.h"
#undef X
};
static const char *const by_names[] = {"none", "local", "remote"};
static const char *const how_names[] = {"none", "fin", "rst"};
static const char *const framing_names[] = {"none", "content-length", "chunked", "until-eof"};

#define ROW(table, i) ((size_t)(i) < sizeof(table) / sizeof((table)[0]) ? (table)[i] : "?")

const char *close_reason_name(enum close_reason r) {
    return ROW(reason_names, r);
}
const char *close_reason_go_error(enum close_reason r) {
    return ROW(reason_go_errors, r);
}
const char *conn_event_name(enum conn_event_kind k) {
    return ROW(event_names, k);
}
const char *observer_name(enum observer o) {
    return ROW(observer_names, o);
}
const char *side_name(enum side s) {
    return ROW(side_names, s);
}
const char *life_state_name(enum life_state s) {
    return ROW(state_names, s);
}
const char *close_phase_name(enum close_phase p) {
    return ROW(phase_names, p);
}
const char *close_by_name(enum close_by b) {
    return ROW(by_names, b);
}
const char *close_how_name(enum close_how h) {
    return ROW(how_names, h);
}
const char *body_framing_name(enum body_framing f) {
    return ROW(framing_names, f);
}

bool close_reason_parse(const char *name, enum close_reason *out) {
    for (unsigned i = 0; i < N_REASONS; i++) {
        if (strcmp(name, reason_names[i])) continue;
        *out = (enum close_reason)i;
        return true;
    }
    return false;
}
