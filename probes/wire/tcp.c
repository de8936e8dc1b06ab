/* TCP: from segments to two streams of bytes in order.
 *
 * The common case (next in order, nothing held) hands the segment's bytes on where
 * they lie. Everything else is held until the hole before it is filled, or until it
 * is plain that the capture, and not the receiver, lacks those bytes: the receiver
 * acknowledged them, and PATIENCE more segments brought no late copy.
 *
 * A segment is read after the bytes that its sender had received when it was sent
 * (its ACK says so). So an answer never comes before its request, however the
 * capture was shuffled. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE  12                 /* segments; the disorder of a capture is shorter */
#define COPY_NS   MSEC(50)           /* copies of one packet come together; retransmissions take longer */
#define PLAUSIBLE ((int64_t)1 << 30) /* no window reaches further (RFC 7323 section 2.3) */

/* A sequence number near the stream's present position as an offset. */
static int64_t offset_of(const struct dir *d, uint32_t seq) {
    uint32_t at = d->base_seq + (uint32_t)d->next;
    return (int64_t)d->next + (int32_t)(seq - at);
}

/* What copies of one packet have in common. */
static uint32_t print_of(const struct wire_segment *s) {
    return (s->seq * 0x9e3779b1u) ^ (s->ack * 0x85ebca6bu) ^ (s->ident * 0xc2b2ae35u) ^
           ((s->len << 8 | s->flags) * 0x27d4eb2fu) ^ s->window;
}

static void keep_print(struct dir *d, uint32_t print) {
    d->print[2] = d->print[1];
    d->print[1] = d->print[0];
    d->print[0] = print;
}

/* Where some packets of a connection came twice, all may have: a capture of both ends of a link, or of all
 * interfaces. */
static bool is_doubled(const struct wire *w, const struct conn *c) {
    return w->doubled && (c->dir[0].duplicates || c->dir[1].duplicates);
}

/* Segments that say the same each time, and under no identification: the RSTs of a socket that is gone, a
 * SYN+ACK said again, ACKs. They pass for copies only where others of this connection came twice as well. */
static bool is_plain(const struct wire_segment *s) {
    return s->ident >> 16 == 0 && s->len == 0 && !(s->flags & TCP_FIN) && (s->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

/* On a link of which both ends were captured, a burst passes before its first copy comes. */
static bool is_late_copy(struct wire *w, const struct conn *c, uint32_t print, int64_t at_ns) {
    uint64_t key = (uint64_t)print << 32 | (uint32_t)c->id;
    struct seen_print *p;

    if (!w->prints && !(w->prints = calloc(SEEN_BUCKETS * SEEN_WAYS, sizeof *w->prints))) abort();
    p = &w->prints[(print ^ (uint32_t)c->id * 0x9e3779b1u) % SEEN_BUCKETS * SEEN_WAYS];
    for (int i = 0; i < SEEN_WAYS; i++)
        if (p[i].key == key && at_ns - p[i].at_ns < COPY_NS && at_ns - p[i].at_ns > -COPY_NS) return true;
    memmove(p + 1, p, (SEEN_WAYS - 1) * sizeof *p); /* the newest first */
    *p = (struct seen_print){key, at_ns};
    return false;
}

static bool is_copy(struct wire *w, const struct conn *c, struct dir *d, const struct wire_segment *s) {
    bool doubled = is_doubled(w, c);
    uint32_t print;

    if (!doubled && is_plain(s)) return false;
    print = print_of(s);
    if (s->at_ns - c->last_ns < COPY_NS && s->at_ns - c->last_ns > -COPY_NS)
        for (int i = 0; i < 3; i++)
            if (d->print[i] == print) return true;
    if (doubled && is_late_copy(w, c, print, s->at_ns)) return true;
    keep_print(d, print);
    return false;
}

/* ---- delivery ---- */

static void reach_end(struct wire *w, struct conn *c, unsigned from, int64_t at_ns) {
    struct dir *d = &c->dir[from];

    if (d->next < d->fin_off || d->flags & DIR_ENDED) return;
    d->flags |= DIR_ENDED;
    read_end(w, c, from, at_ns);
}

static void deliver_gap(struct wire *w, struct conn *c, unsigned from, uint64_t len, int64_t at_ns, uint64_t packet) {
    struct dir *d = &c->dir[from];

    d->gap_bytes += len;
    d->gaps++;
    d->next += len;
    history_add(c, from, 'G');
    struct piece p = {.len = len, .at_ns = at_ns, .packet = packet};
    read_piece(w, c, from, &p);
}

/* Bytes at `off`, of which `captured` are here; what was delivered before is left out. */
static void deliver(struct wire *w, struct conn *c, unsigned from, const uint8_t *bytes, uint64_t off, uint64_t end,
                    uint32_t captured, int64_t at_ns, uint64_t packet) {
    struct dir *d = &c->dir[from];
    uint64_t skip = d->next - off;

    if (end <= d->next) return;
    if (captured > skip) {
        struct piece p = {bytes + skip, captured - skip, at_ns, packet, skip == 0};
        d->next += p.len;
        read_piece(w, c, from, &p);
    }
    if (d->next < end) {
        d->flags |= DIR_CUT;
        c->incomplete |= INCOMPLETE_SNAPLEN;
        deliver_gap(w, c, from, end - d->next, at_ns, packet);
    }
    reach_end(w, c, from, at_ns);
}

static void deliver_first_held(struct wire *w, struct conn *c, unsigned from) {
    struct dir *d = &c->dir[from];
    struct held *h = d->held;

    d->held = h->next;
    w->held_bytes -= h->captured;
    deliver(w, c, from, h->bytes, h->off, h->end, h->captured, h->at_ns, h->packet);
    free(h);
}

static bool drain_one(struct wire *w, struct conn *c, unsigned from) {
    const struct held *h = c->dir[from].held;

    if (!h || h->off > c->dir[from].next || h->needs > c->dir[!from].next) return false;
    deliver_first_held(w, c, from);
    return true;
}

static void drain(struct wire *w, struct conn *c) {
    while (drain_one(w, c, 0) || drain_one(w, c, 1)) continue;
    for (int i = 0; i < 2; i++)
        if (!c->dir[i].held && c->dir[i].acked <= c->dir[i].next) c->dir[i].waited = 0;
}

/* Declares lost what was proven to have arrived (`proven`), or what stands in the
 * way in any case. True if a stream moved. */
static bool give_up(struct wire *w, struct conn *c, unsigned from, bool proven) {
    struct dir *d = &c->dir[from];
    const struct held *h = d->held, *waits = c->dir[!from].held;
    uint64_t to = d->acked;

    if (d->fin_off != NO_OFFSET && to > d->fin_off) to = d->fin_off;
    if (h && (to > h->off || !proven)) to = h->off;
    if (!h && (!proven || to == d->next + 1)) return false; /* one more than was seen may be a FIN that was lost */
    if (waits && waits->needs > d->next && to > waits->needs) to = waits->needs; /* that is said in between */
    if (to <= d->next) return false;
    deliver_gap(w, c, from, to - d->next,
                h       ? h->at_ns
                : waits ? waits->at_ns
                        : c->last_ns,
                h       ? h->packet
                : waits ? waits->packet
                        : c->last_packet);
    d->waited = 0;
    reach_end(w, c, from, c->last_ns);
    return true;
}

static bool is_one_way(const struct conn *c, unsigned from) {
    return c->dir[!from].packets == 0;
}

/* Called while something waits: one more segment of this connection has come. */
static void lose_patience(struct wire *w, struct conn *c) {
    for (unsigned i = 0; i < 2; i++) {
        struct dir *d = &c->dir[i];
        if (!d->held && d->acked <= d->next) continue;
        if (d->waited < UINT8_MAX) d->waited++;
        if (d->waited <= PATIENCE) continue;
        if (give_up(w, c, i, true) || (is_one_way(c, i) && give_up(w, c, i, false))) drain(w, c);
    }
}

/* What waits for bytes of the other end that never came, and for nothing else, was said all the same. */
static bool stop_waiting(struct wire *w, struct conn *c) {
    const struct held *a = c->dir[0].held, *b = c->dir[1].held;

    if (a && a->off > c->dir[0].next) a = NULL;
    if (b && b->off > c->dir[1].next) b = NULL;
    if (!a && !b) return false;
    deliver_first_held(w, c, !a || (b && b->packet < a->packet));
    return true;
}

void tcp_flush(struct wire *w, struct conn *c) {
    bool moved;

    do {
        drain(w, c);
        moved = give_up(w, c, 0, true) || give_up(w, c, 1, true);
        for (unsigned i = 0; i < 2 && !moved; i++) moved = is_one_way(c, i) && give_up(w, c, i, false);
        if (!moved) moved = stop_waiting(w, c);
    } while (moved);
    for (unsigned i = 0; i < 2; i++) {
        struct dir *d = &c->dir[i];
        uint64_t to = d->sent > d->acked ? d->sent : d->acked;
        if (d->fin_off != NO_OFFSET) to = d->fin_off;
        if (to > d->next + (d->fin_off == NO_OFFSET && !d->held))
            read_lost(w, c, i); /* bytes of which there is no more than their place; one alone may be a FIN */
        while (d->held) {       /* behind a hole of which nothing proves that it was ever filled */
            struct held *h = d->held;
            d->held = h->next;
            w->held_bytes -= h->captured;
            free(h);
        }
    }
}

/* ---- holding ---- */

static void count_conflicts(struct dir *d, const struct wire_segment *s, uint64_t off) {
    for (const struct held *h = d->held; h && h->off < off + s->captured; h = h->next) {
        uint64_t lo = h->off > off ? h->off : off, hi = h->off + h->captured;
        if (hi > off + s->captured) hi = off + s->captured;
        if (lo < hi && memcmp(h->bytes + (lo - h->off), s->payload + (lo - off), hi - lo)) {
            d->conflicts++;
            return;
        }
    }
}

static void hold(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s, uint64_t off,
                 uint64_t needs) {
    struct dir *d = &c->dir[from];
    struct held **at = &d->held, *h;
    uint64_t end = off + s->len, mine = 0;

    for (h = d->held; h; h = h->next) mine += h->captured;
    if (w->held_bytes + s->captured > w->limits.held_bytes || mine + s->captured > w->limits.held_per_conn) {
        /* No more room: what waits is read as if the hole were lost. */
        c->incomplete |= INCOMPLETE_LIMIT;
        if (!give_up(w, c, from, false) && !give_up(w, c, !from, true)) return;
        drain(w, c);
        if (off > d->next) return; /* becomes a gap itself */
    }
    count_conflicts(d, s, off);
    while (*at && (*at)->off <= off) {
        if ((*at)->off == off && (*at)->end >= end) return; /* the first copy is kept */
        at = &(*at)->next;
    }
    h = malloc(sizeof *h + s->captured);
    if (!h) abort();
    *h = (struct held){*at, s->at_ns, s->packet, off, end, needs, s->captured};
    memcpy(h->bytes, s->payload, s->captured);
    *at = h;
    w->held_bytes += s->captured;
}

/* ---- what a segment says ---- */

/* A stream's first byte is where its SYN says, and else most likely where the first ACK of an end
 * says that had sent nothing itself. Elsewhere it is a guess. What no SYN said moves while nothing was read. */
static void set_base(struct dir *d, uint32_t seq, bool proven) {
    d->base_seq = seq;
    d->flags |= DIR_BASED | (proven ? 0 : DIR_LATE);
}

static bool move_base(struct conn *c, unsigned from, int64_t down) {
    struct dir *d = &c->dir[from], *o = &c->dir[!from];

    if (d->flags & DIR_SYN || d->next || d->held || d->fin_off != NO_OFFSET || down <= 0 || down > PLAUSIBLE)
        return false;
    d->base_seq -= (uint32_t)down;
    if (d->acked || d->base_acked) d->acked += (uint64_t)down;
    d->base_acked = false;
    d->sent += (uint64_t)down;
    o->edge += (uint64_t)down;
    if (o->close_had != NO_OFFSET) o->close_had += (uint64_t)down;
    if (o->close_ack >= 0) o->close_ack += down;
    return true;
}

static void take_syn(struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from], *o = &c->dir[!from];
    bool is_answer = s->flags & TCP_ACK;

    if (d->flags & DIR_SYN) {
        d->retransmits += d->base_seq == s->seq + 1;
        return;
    }
    if (!(d->flags & DIR_BASED))
        set_base(d, s->seq + 1, true);
    else if (d->base_seq != s->seq + 1 && !move_base(c, from, (int32_t)(d->base_seq - (s->seq + 1)))) {
        d->flags |= DIR_LATE; /* its stream was begun elsewhere already */
        return;
    }
    d->flags &= (uint8_t)~DIR_LATE;
    d->flags |= DIR_SYN;
    if (s->window_scale != WIRE_NO_SCALE) d->scale = s->window_scale;
    if (o->flags & DIR_SYN) { /* both were seen: scaling holds if both offered it */
        if (s->window_scale == WIRE_NO_SCALE || o->scale == WIRE_NO_SCALE) d->scale = o->scale = 0;
        d->flags |= DIR_SCALED;
        o->flags |= DIR_SCALED;
    } else if (s->window_scale == WIRE_NO_SCALE) {
        d->scale = WIRE_NO_SCALE;
    }
    if (is_answer) {
        if (!c->established_ns) c->established_ns = s->at_ns, c->established_packet = s->packet;
        if (!c->syn_packet) c->syn_packet = s->packet;
    } else {
        c->syn_packet = s->packet;
        if (c->incomplete & INCOMPLETE_START && c->dir[from].next == 0) c->client = (uint8_t)from;
        c->roles = ROLES_HANDSHAKE;
    }
}

static void take_ack(struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *o = &c->dir[!from]; /* whose bytes are acknowledged */
    int64_t off;

    if (!(o->flags & DIR_BASED)) { /* the first that is heard of that stream: it stands here */
        const struct dir *d = &c->dir[from];
        uint32_t first = s->flags & TCP_SYN ? s->seq + 1 : s->seq;
        set_base(o, s->ack, d->flags & DIR_SYN && !(d->flags & DIR_LATE) && first == d->base_seq);
        o->base_acked = true;
    }
    off = offset_of(o, s->ack);
    if (off < 0 || off > (int64_t)o->max_end + PLAUSIBLE) return;
    if (o->fin_off != NO_OFFSET && (uint64_t)off > o->fin_off) {
        off = (int64_t)o->fin_off;
        o->flags |= DIR_FIN_ACKED;
    }
    if ((uint64_t)off <= o->acked) return;
    o->acked = (uint64_t)off;
    if (o->acked > o->max_end + (o->fin_off == NO_OFFSET)) history_add(c, !from, 'G');
}

static void widen_window(struct conn *c, unsigned from, const struct wire_segment *s, unsigned scale) {
    struct dir *d = &c->dir[from];
    uint32_t window = (uint32_t)s->window << scale;
    uint64_t edge = c->dir[!from].acked + window;

    if (window > d->window_max) d->window_max = window;
    if (edge > d->edge) d->edge = edge;
    if (c->transcript) transcript_window(c, from, s->at_ns, edge);
}

static void take_window(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];

    if (s->flags & TCP_RST) return;
    d->window = s->window;
    if (s->window == 0 && !(s->flags & TCP_SYN)) {
        if (!d->zero_since_ns) {
            d->zero_since_ns = s->at_ns ? s->at_ns : 1;
            history_count(c, from, 'W', ++d->zero_windows);
            if (from == c->client) happened(w, c, WIRE_BLOCKED, s->at_ns, s->packet);
        }
    } else if (d->zero_since_ns) {
        d->zero_ns += s->at_ns > d->zero_since_ns ? s->at_ns - d->zero_since_ns : 0;
        d->zero_since_ns = 0;
        if (from == c->client) happened(w, c, WIRE_FLOWING, s->at_ns, s->packet);
    }
    widen_window(c, from, s, s->flags & TCP_SYN || d->scale == WIRE_NO_SCALE ? 0 : d->scale);
}

/* Bytes that come this long after later ones were sent again, not overtaken: as in
 * tshark, 3 ms or the handshake's round trip. */
static int64_t late_ns(const struct conn *c) {
    int64_t trip = c->established_ns - c->first_ns;

    return c->established_ns && trip > MSEC(3) ? trip : MSEC(3);
}

static void take_payload(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s, int64_t off) {
    struct dir *d = &c->dir[from], *o = &c->dir[!from];
    struct wire_segment cut;
    uint64_t end, needs = 0;
    int64_t ack;

    if (off < 0) { /* begins before what is known of the stream */
        if (!(d->flags & DIR_SYN)) d->flags |= DIR_LATE;
        if (off + (int64_t)s->len <= 0) {
            d->retransmits++;
            return;
        }
        cut = *s;
        cut.payload += cut.captured < -off ? cut.captured : (uint32_t)-off;
        cut.captured -= cut.captured < -off ? cut.captured : (uint32_t)-off;
        cut.len -= (uint32_t)-off;
        s = &cut;
        off = 0;
    }
    if (off > (int64_t)d->max_end + PLAUSIBLE) return; /* not of this stream */
    end = (uint64_t)off + s->len;
    d->payload_packets++;
    if (end <= d->max_end) {
        if (s->len <= 1 && end == d->max_end && d->acked >= end) {
            d->keepalives++;
            return;
        }
        bool old = end <= d->next;
        for (const struct held *h = d->held; h && !old; h = h->next) old = h->off <= (uint64_t)off && h->end >= end;
        if (old || s->at_ns - d->last_payload_ns > late_ns(c))
            d->retransmits++;
        else
            d->out_of_order++;
        history_count(c, from, 'T', ++d->again);
    } else {
        d->max_end = end;
        d->last_payload_packet = s->packet;
        d->last_payload_ns = s->at_ns;
    }
    history_add(c, from, 'D');
    if (end <= d->next || (d->fin_off != NO_OFFSET && (uint64_t)off >= d->fin_off)) return;
    ack = s->flags & TCP_ACK ? offset_of(o, s->ack) : 0;
    if (ack > 0 && ack <= (int64_t)o->max_end + PLAUSIBLE) needs = (uint64_t)ack;
    if (o->fin_off != NO_OFFSET && needs > o->fin_off) needs = o->fin_off;
    if ((uint64_t)off <= d->next && !d->held && needs <= o->next) {
        deliver(w, c, from, s->payload, (uint64_t)off, end, s->captured, s->at_ns, s->packet);
        return;
    }
    hold(w, c, from, s, (uint64_t)off, needs);
}

/* What an end had received when it sent its FIN or RST: that segment's own ACK says it, in whatever order the
 * capture has the others. */
static void note_had(struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];
    const struct dir *o = &c->dir[!from];

    d->close_had = o->acked;
    d->close_ack = s->flags & TCP_ACK ? offset_of(o, s->ack) : -1;
    if (d->close_ack >= 0 && d->close_had > (uint64_t)d->close_ack) d->close_had = (uint64_t)d->close_ack;
}

/* The first FIN or RST decides who ended it, and what the client had received by then. */
static void first_end(struct wire *w, struct conn *c, unsigned from, enum close_how how, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];

    if (d->close_had == NO_OFFSET) note_had(c, from, s);
    if (c->closer != NO_END) return;
    c->closer = (uint8_t)from;
    c->close_how = (uint8_t)how;
    c->close_packet = s->packet;
    c->upload_cut = c->dir[c->client].reading == READ_LENGTH || c->dir[c->client].reading == READ_CHUNKED;
    struct wire_event *e = happened(w, c, WIRE_ENDING, s->at_ns, s->packet);
    if (!e) return;
    e->by_client = from == c->client;
    e->how = (uint8_t)how;
    e->bytes = c->dir[!c->client].acked;
}

/* This end's RST stands behind this FIN, and so came after it: the capture has them in another order. */
static void fin_was_first(struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];

    note_had(c, from, s);
    if (d->rst_bare && !c->dir[!from].rst_packet) c->rst_cause = RST_CAUSE_DATA_AFTER_CLOSE;
    if (c->close_packet != d->rst_packet) return;
    c->close_how = HOW_FIN;
    c->close_packet = s->packet;
}

static void take_fin(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s, int64_t off) {
    struct dir *d = &c->dir[from];
    uint64_t at;

    if (off < 0) return;
    at = (uint64_t)off + s->len;
    if (d->fin_off == at && !s->len) d->retransmits++;
    if (d->fin_off != NO_OFFSET || at < d->next) return; /* again, or before bytes that were read */
    if (d->rst_packet && d->rst_seq == d->base_seq + (uint32_t)at + 1) fin_was_first(c, from, s);
    history_add(c, from, 'F');
    d->fin_off = at;
    d->fin_packet = s->packet;
    d->fin_ns = s->at_ns;
    if (d->acked > at) d->acked = at, d->flags |= DIR_FIN_ACKED;
    first_end(w, c, from, HOW_FIN, s);
    reach_end(w, c, from, s->at_ns);
    if (c->dir[!from].fin_off != NO_OFFSET) c->ended = true;
}

/* RFC 9293 section 3.10.7.4: a RST counts if it lies in the receiver's window. The
 * receiver's next expected byte is at least what it acknowledged. */
static bool rst_is_valid(const struct conn *c, unsigned from, const struct wire_segment *s, int64_t off) {
    const struct dir *d = &c->dir[from], *o = &c->dir[!from];
    uint64_t window;

    if (!(d->flags & DIR_BASED)) return true;
    if (!(d->flags & DIR_SYN) && o->flags & DIR_SYN && d->packets <= 1) /* the answer to a SYN */
        return !(s->flags & TCP_ACK) || s->ack == o->base_seq + (uint32_t)o->max_end;
    if (off < 0) return off >= -1 && d->acked == 0;
    window = o->edge > d->acked ? o->edge - d->acked : 0;
    if (!(o->flags & DIR_SCALED)) window = (uint64_t)PLAUSIBLE;
    return (uint64_t)off >= d->acked && (uint64_t)off <= d->acked + window + 1;
}

static enum rst_cause rst_cause_of(const struct conn *c, unsigned from, const struct wire_segment *s) {
    const struct dir *d = &c->dir[from], *o = &c->dir[!from];

    if (!(d->flags & (DIR_SYN | DIR_BASED)) && o->flags & DIR_SYN && o->max_end == 0) return RST_CAUSE_REFUSED;
    /* Closed already (FIN sent), and bytes of the other end came that were never acknowledged. A
     * socket that is gone answers without ACK and with the other's number (RFC 9293 3.10.7.1);
     * close() with bytes unread sends RST with ACK. */
    if (d->fin_off != NO_OFFSET && o->max_end > o->acked) return RST_CAUSE_DATA_AFTER_CLOSE;
    if (d->fin_off != NO_OFFSET && !(s->flags & TCP_ACK)) return RST_CAUSE_DATA_AFTER_CLOSE;
    return RST_CAUSE_NONE; /* record.c decides, when the last response is known */
}

/* `acked`: what had been acknowledged of the other end's stream before this segment. */
static void take_rst(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s, int64_t off,
                     uint64_t acked) {
    struct dir *d = &c->dir[from];

    if (!rst_is_valid(c, from, s, off)) {
        if (d->bad_rsts < UINT16_MAX) d->bad_rsts++;
        return;
    }
    if (d->rsts < UINT16_MAX) d->rsts++;
    if (d->rst_packet) return;
    history_add(c, from, 'R');
    d->rst_packet = s->packet;
    d->rst_ns = s->at_ns;
    c->dir[!from].acked_by_rst = c->dir[!from].acked - acked;
    d->rst_seq = s->seq;
    d->rst_bare = !(s->flags & TCP_ACK);
    if (!c->dir[!from].rst_packet) c->rst_cause = (uint8_t)rst_cause_of(c, from, s);
    first_end(w, c, from, HOW_RST, s);
    c->ended = true;
}

static void take_segment(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];
    uint64_t acked;
    int64_t off;

    c->last_packet = s->packet;
    c->last_ns = s->at_ns;
    if (s->flags & TCP_SYN)
        take_syn(c, from, s);
    else if (!(d->flags & DIR_BASED) && !(s->flags & TCP_RST))
        set_base(d, s->seq, false);
    off = offset_of(d, s->flags & TCP_SYN ? s->seq + 1 : s->seq);
    if (off < 0 && s->len && !(c->incomplete & INCOMPLETE_START) && move_base(c, from, -off)) off = 0;
    if (off > (int64_t)d->sent && off <= (int64_t)d->max_end + PLAUSIBLE && d->flags & DIR_BASED)
        d->sent = (uint64_t)off;
    acked = c->dir[!from].acked;
    if (s->flags & TCP_ACK) take_ack(c, from, s);
    zeek_segment(c, from, s);
    take_window(w, c, from, s);
    if (s->len && !(s->flags & TCP_RST)) /* a RST may carry a text for people (RFC 9293 3.5.3): not of the stream */
        take_payload(w, c, from, s, off);
    else if (off + 1 == (int64_t)d->max_end && !(s->flags & (TCP_SYN | TCP_FIN | TCP_RST)) && d->max_end)
        d->keepalives++;
    if (s->flags & TCP_FIN && !(s->flags & TCP_RST)) take_fin(w, c, from, s, off);
    if (s->flags & TCP_RST) take_rst(w, c, from, s, off, acked);
    if (c->dir[0].held || c->dir[1].held || c->dir[0].acked > c->dir[0].next || c->dir[1].acked > c->dir[1].next) {
        drain(w, c);
        lose_patience(w, c);
    }
}

/* ---- the common case ---- */

/* Nearly every segment is the next of its stream, and says nothing but that, its ACK and its
 * window, on a connection on which nothing is missing (Van Jacobson's header prediction).
 * `unacked`: bytes of the other stream that were read and that it does not acknowledge. */
static bool is_foreseen(const struct dir *d, const struct dir *o, const struct wire_segment *s, uint32_t unacked) {
    return (s->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK && d->flags & o->flags & DIR_BASED &&
           s->seq == d->base_seq + (uint32_t)d->next && d->next >= d->max_end && d->next >= d->acked &&
           unacked <= (uint32_t)INT32_MAX && (int64_t)(o->next - o->acked) >= (int64_t)unacked && !d->held &&
           !o->held && (d->fin_off & o->fin_off) == NO_OFFSET && d->zeek == ZEEK_ESTABLISHED &&
           o->zeek == ZEEK_ESTABLISHED && s->window != 0 && !d->zero_since_ns;
}

/* What take_segment would do for such a segment. */
static void take_foreseen(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s,
                          uint32_t unacked) {
    struct dir *d = &c->dir[from], *o = &c->dir[!from];
    uint64_t off = d->next;

    c->last_packet = s->packet;
    c->last_ns = s->at_ns;
    if (off > d->sent) d->sent = off;
    o->acked = o->next - unacked;
    d->window = s->window;
    widen_window(c, from, s, d->scale == WIRE_NO_SCALE ? 0 : d->scale);
    history_add(c, from, s->len ? 'D' : 'A');
    if (!s->len) return;
    d->payload_packets++;
    d->max_end = off + s->len;
    d->last_payload_packet = s->packet;
    d->last_payload_ns = s->at_ns;
    deliver(w, c, from, s->payload, off, off + s->len, s->captured, s->at_ns, s->packet);
}

void tcp_segment(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from];
    const struct dir *o = &c->dir[!from];
    uint32_t unacked = o->base_seq + (uint32_t)o->next - s->ack;

    d->packets++;
    if (is_copy(w, c, d, s)) {
        d->duplicates++;
        w->doubled = true;
        if (s->len) history_count(c, from, 'T', ++d->again);
        c->last_packet = s->packet;
    } else if (is_foreseen(d, o, s, unacked)) {
        take_foreseen(w, c, from, s, unacked);
    } else {
        take_segment(w, c, from, s);
    }
}
