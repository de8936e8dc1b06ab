/* A connection's record: what its packets prove, and nulls for the rest. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

static const struct dir *client_dir(const struct conn *c) {
    return &c->dir[c->client];
}
static const struct dir *server_dir(const struct conn *c) {
    return &c->dir[!c->client];
}

/* Up to where a stream is known to hold data: what was seen, and what a response's
 * framing says of bytes that were acknowledged and are not in the capture. */
static uint64_t data_end(const struct conn *c, const struct dir *d) {
    if (d == server_dir(c) && c->response_end != NO_OFFSET && c->response_known && c->response_end > d->max_end)
        return c->response_end;
    return d->max_end;
}

/* More than was ever seen was acknowledged, or stands before a later segment of this
 * end: bytes that are not in the capture, and perhaps a FIN, which counts as one. */
static bool tail_is_unclear(const struct conn *c, const struct dir *d) {
    uint64_t end = data_end(c, d);

    return d->fin_off == NO_OFFSET && (d->acked > end || d->sent > end);
}

/* The handshake was answered: by the server's SYN, or by what the client acknowledges. */
static bool was_established(const struct conn *c) {
    return c->established_ns || server_dir(c)->flags & DIR_BASED || c->incomplete & INCOMPLETE_START;
}

static bool client_ended(const struct conn *c) {
    return client_dir(c)->close_had != NO_OFFSET;
}

/* Something shows that an end of the client's is missing from the capture. */
static bool client_end_is_lost(const struct conn *c) {
    return !client_ended(c) && tail_is_unclear(c, client_dir(c));
}

/* Nothing of the server's had come when the client ended: nothing was unread. */
static bool had_nothing(const struct conn *c) {
    return client_dir(c)->close_had == 0 && !(server_dir(c)->flags & DIR_LATE);
}

/* Its RST stands behind a byte that is not in the capture: most likely the FIN, which counts as one. */
static bool fin_is_missing(const struct dir *d) {
    return d->rst_packet && d->fin_off == NO_OFFSET && d->flags & DIR_BASED &&
           (int32_t)(d->rst_seq - (d->base_seq + (uint32_t)d->max_end)) > 0;
}

/* An RST without ACK is the answer to bytes for a socket that was gone (RFC 9293 section 3.10.7.1): the client's
 * end came before. */
static bool client_end_came_before(const struct conn *c) {
    const struct dir *cd = client_dir(c);

    return fin_is_missing(cd) ||
           (cd->rst_packet && cd->rst_bare && cd->fin_off == NO_OFFSET && server_dir(c)->max_end > 0);
}

/* ---- who closed ---- */

struct closing {
    bool known;
    uint8_t by, how; /* enum close_by, close_how */
};

/* Did this end, when it sent its first FIN or RST, have the other's FIN already? */
static bool had_fin_of(const struct conn *c, const struct dir *mine, const struct dir *other) {
    uint64_t last = other->fin_off != NO_OFFSET ? other->fin_off : data_end(c, other);

    return mine->close_had != NO_OFFSET && mine->close_ack > 0 && (uint64_t)mine->close_ack > last;
}

/* The first FIN or RST in the capture, unless that segment itself says that the
 * other end's FIN had come before it. */
static struct closing find_closing(const struct conn *c) {
    struct closing r = {.known = !(c->incomplete & INCOMPLETE_END)};
    unsigned closer = c->closer;

    if (closer == NO_END) return r;
    r.how = c->close_how;
    if (r.how == HOW_RST && fin_is_missing(&c->dir[closer])) r.known = false;
    if (had_fin_of(c, &c->dir[closer], &c->dir[!closer])) {
        closer = !closer;
        r.how = HOW_FIN;
        if (c->dir[closer].fin_off == NO_OFFSET) r.known = false;
    }
    r.by = closer == c->client ? BY_LOCAL : BY_REMOTE;
    return r;
}

/* ---- early closes ---- */

static bool messages_visible(const struct conn *c) {
    return c->protocol == PROTO_HTTP1 || c->protocol == PROTO_NONE;
}

/* The client's end, as it stood to the last answer. */
static enum early_verdict judge_end(const struct conn *c, const struct closing *closing) {
    const struct dir *cd = client_dir(c), *sd = server_dir(c);
    bool server_first = closing->by == BY_REMOTE,
         waits = c->pending_n > 0 && (c->response_end != NO_OFFSET || c->response_at == NO_OFFSET);
    bool had_any = cd->close_ack < 0 || c->response_at < cd->close_had;

    if (client_end_came_before(c)) return EARLY_UNKNOWN;
    if (cd->reading == READ_LOST || (sd->reading == READ_LOST && c->responses_lost)) return EARLY_UNKNOWN;
    if (waits && c->responses_lost && c->n_responses == 0)
        return EARLY_UNKNOWN; /* its answer may have begun before the capture */
    if (waits || !had_any) return server_first ? EARLY_NO : EARLY_NO_RESPONSE;
    if (!c->response_known) return EARLY_UNKNOWN;
    if (c->response_end == NO_OFFSET) return server_first ? EARLY_NO : EARLY_IN_BODY;
    if (c->response_end > cd->close_had && cd->close_ack >= 0) return server_first ? EARLY_UNKNOWN : EARLY_IN_BODY;
    /* Nothing to give up; but that a body without a length is empty, only its FIN tells. */
    if (c->body == 0 && (c->framing != FRAMING_UNTIL_EOF || had_fin_of(c, cd, sd))) return EARLY_NO;
    return cd->rst_packet && c->rst_cause != RST_CAUSE_DATA_AFTER_CLOSE ? EARLY_RST_AFTER_COMPLETE
                                                                        : EARLY_FIN_AFTER_COMPLETE;
}

static enum early_verdict find_early(const struct conn *c, const struct closing *closing) {
    bool idle_and_empty = c->pending_n == 0 && c->body == 0 && c->response_known && !c->responses_lost;

    if (!messages_visible(c) || c->incomplete & INCOMPLETE_END || !closing->known) return EARLY_UNKNOWN;
    if (c->n_requests == 0)
        return c->requests_lost ? EARLY_UNKNOWN : client_ended(c) || server_dir(c)->rst_packet ? EARLY_NO : EARLY_OPEN;
    if (c->tunnelled) return EARLY_NO;
    if (client_end_is_lost(c)) return EARLY_UNKNOWN;
    if (client_ended(c)) return judge_end(c, closing);
    return server_dir(c)->rst_packet || idle_and_empty ? EARLY_NO : EARLY_OPEN;
}

/* What the first RST comes from, where the segments around it did not say (tcp.c). */
static void find_rst_cause(const struct conn *c, struct wire_evidence *e) {
    const struct dir *cd = client_dir(c), *sd = server_dir(c);

    e->rst_cause = e->rst_cause_likely = c->rst_cause;
    if (c->rst_cause != RST_CAUSE_NONE) return;
    if (!cd->rst_packet || (sd->rst_packet && sd->rst_packet < cd->rst_packet)) {
        if (sd->rst_packet && c->pending_n == 0 && c->n_requests && !c->requests_lost)
            e->rst_cause_likely = RST_CAUSE_ABORT;
        return;
    }
    if (client_end_came_before(c)) {
        e->rst_cause_likely = RST_CAUSE_DATA_AFTER_CLOSE;
        return;
    }
    if (had_nothing(c)) {
        e->rst_cause_likely = RST_CAUSE_ABORT; /* nothing had come that could be unread */
        return;
    }
    switch ((enum early_verdict)e->early) {
    case EARLY_IN_BODY:
        e->rst_cause = e->rst_cause_likely = RST_CAUSE_UNREAD_AT_CLOSE;
        break;
    case EARLY_RST_AFTER_COMPLETE:
    case EARLY_UNKNOWN:
        e->rst_cause_likely = RST_CAUSE_UNREAD_AT_CLOSE;
        break;
    case EARLY_NO:
    case EARLY_OPEN:
    case EARLY_NO_RESPONSE:
    case EARLY_FIN_AFTER_COMPLETE:
        e->rst_cause_likely = RST_CAUSE_ABORT;
        break;
    }
}

/* ---- evidence ---- */

static void fill_end(struct wire_end *e, const struct dir *d, const struct dir *o, int64_t last_ns) {
    uint64_t seen = d->next > d->max_end ? d->next : d->max_end;

    e->packets = d->packets;
    e->payload_packets = d->payload_packets;
    e->bytes = d->fin_off != NO_OFFSET ? d->fin_off : seen;
    e->acked_bytes = d->acked;
    e->acked_by_rst = d->acked_by_rst;
    e->gap_bytes = d->gap_bytes;
    e->fin_packet = d->fin_packet;
    e->rst_packet = d->rst_packet;
    e->last_payload_packet = d->last_payload_packet;
    e->fin_ns = d->fin_ns;
    e->rst_ns = d->rst_ns;
    e->last_payload_ns = d->last_payload_ns;
    e->zero_window_ns = d->zero_ns;
    if (d->zero_since_ns && last_ns > d->zero_since_ns) e->zero_window_ns += last_ns - d->zero_since_ns;
    e->zero_windows = d->zero_windows;
    e->retransmits = d->retransmits;
    e->duplicates = d->duplicates;
    e->out_of_order = d->out_of_order;
    e->overlap_conflicts = d->conflicts;
    e->keepalives = d->keepalives;
    e->gaps = d->gaps;
    e->rsts = d->rsts;
    e->bad_rsts = d->bad_rsts;
    e->window_known = d->flags & DIR_SCALED;
    e->window = (uint32_t)d->window << (d->scale == WIRE_NO_SCALE ? 0 : d->scale);
    e->window_max = d->window_max;
    e->unread_by_window = UNKNOWN_BYTES;
    if (e->window_known && o->acked > 0)
        e->unread_by_window = e->window_max > e->window ? e->window_max - e->window : 0;
}

static void fill_history(struct wire_evidence *e, const struct conn *c) {
    size_t n = 0;

    if (c->first_from != c->client) e->history[n++] = '^';
    for (unsigned i = 0; i < c->n_history; i++) {
        unsigned from = (c->history[i] & 0x80) != 0;
        char letter = (char)(c->history[i] & 0x7f);
        e->history[n++] = from == c->client ? letter : (char)(letter | 0x20);
    }
    strcpy(e->conn_state, zeek_conn_state(c));
}

static void fill_exchanges(struct wire_evidence *e, const struct conn *c) {
    uint64_t ring = c->n_exchanges > KEEP_FIRST ? (c->n_exchanges - KEEP_FIRST) % KEEP_LAST : 0;

    if (!c->n_kept) return;
    e->exchanges = calloc(c->n_kept, sizeof *e->exchanges);
    if (!e->exchanges) abort();
    for (uint32_t i = 0; i < c->n_kept; i++) {
        uint32_t at = i;
        if (i >= KEEP_FIRST && c->n_kept == KEEP_FIRST + KEEP_LAST)
            at = KEEP_FIRST + (uint32_t)((i - KEEP_FIRST + ring) % KEEP_LAST);
        const struct kept_exchange *k = &c->kept[at];
        struct wire_exchange *x = &e->exchanges[e->n_exchanges++];
        x->request_packet = k->request_packet;
        x->response_packet = k->response_packet;
        x->body_announced = k->announced;
        x->body_bytes = k->complete ? k->body_bytes : i + 1 == c->n_kept && k->status ? c->body : 0;
        x->request_ns = k->request_ns;
        x->response_ns = k->response_ns;
        x->done_ns = k->done_ns;
        x->status = k->status;
        x->framing = k->framing;
        x->complete = k->complete;
        x->known = k->known;
        memcpy(x->method, k->method, sizeof k->method);
    }
}

static void fill_evidence(struct wire_evidence *e, struct conn *c, const struct closing *closing) {
    const struct dir *cd = client_dir(c), *sd = server_dir(c);

    e->first_packet = c->first_packet;
    e->last_packet = c->last_packet;
    e->syn_packet = c->syn_packet;
    e->established_packet = c->established_packet;
    e->close_packet = c->close_packet;
    e->rst_packet =
        cd->rst_packet && (!sd->rst_packet || cd->rst_packet < sd->rst_packet) ? cd->rst_packet : sd->rst_packet;
    e->first_request_packet = c->first_request_packet;
    e->last_request_packet = c->last_request_packet;
    e->last_response_packet = c->last_response_packet;
    e->first_ns = c->first_ns;
    e->last_ns = c->last_ns;
    fill_end(&e->local, cd, sd, c->last_ns);
    fill_end(&e->remote, sd, cd, c->last_ns);
    e->local.crossed = sd->fin_packet && cd->close_had != NO_OFFSET && cd->close_ack >= 0 && !had_fin_of(c, cd, sd);
    e->remote.crossed = cd->fin_packet && sd->close_had != NO_OFFSET && sd->close_ack >= 0 && !had_fin_of(c, sd, cd);
    e->acked_bytes = sd->acked;
    e->requests_seen = (uint64_t)c->n_requests + c->cut_requests;
    e->responses_seen = (uint64_t)c->n_responses + c->cut_responses;
    e->last_head_at = c->response_at == NO_OFFSET ? 0 : c->response_at;
    e->excess_bytes = c->excess;
    e->body_bytes = c->body;
    e->excess_is_response = c->excess_is_response;
    e->last_done_ns = c->done_ns;
    e->pipelined = c->pipelined;
    e->tunnelled = c->tunnelled;
    if (!cd->packets || !sd->packets) c->incomplete |= INCOMPLETE_ONE_WAY;
    if (cd->gap_bytes || sd->gap_bytes) c->incomplete |= INCOMPLETE_LOSS;
    e->incomplete = c->incomplete;
    e->early = (uint8_t)find_early(c, closing);
    find_rst_cause(c, e);
    e->unread_if_read_4096 = UNKNOWN_BYTES;
    if (cd->rst_packet && cd->fin_off == NO_OFFSET && !client_end_came_before(c))
        e->unread_if_read_4096 = sd->acked > 4096 ? sd->acked - 4096 : 0;
    e->protocol = c->protocol;
    e->roles = c->roles;
    e->established = c->established_ns && cd->zeek == ZEEK_ESTABLISHED;
    e->request_close = c->request_close;
    e->response_close = c->response_close;
    e->bare_lf = c->bare_lf;
    e->upload_cut = c->upload_cut;
    e->proxy_form = c->proxy_form;
    e->host = c->host;
    e->user_agent = c->user_agent;
    c->host = c->user_agent = NULL;
    fill_history(e, c);
    fill_exchanges(e, c);
    e->tls = c->tls;
    c->tls = NULL;
}

/* ---- the record ---- */

static void fill_times(struct lifecycle *l, const struct conn *c) {
    const struct dir *cd = client_dir(c), *sd = server_dir(c);
    int64_t closed = 0;

    l->opened_ns = c->first_ns;
    if (cd->flags & DIR_SYN) l->known |= KNOW_OPENED;
    l->dialed_ns = c->established_ns;
    if (cd->flags & DIR_SYN && c->established_ns) l->known |= KNOW_DIAL;
    if (cd->fin_packet) closed = cd->fin_ns;
    if (cd->rst_packet && (!closed || cd->rst_ns < closed)) closed = cd->rst_ns;
    if (sd->rst_packet && (!closed || sd->rst_ns < closed)) closed = sd->rst_ns;
    l->closed_ns = closed;
    if (!(c->incomplete & INCOMPLETE_END)) l->known |= KNOW_CLOSED;
}

/* Where a stream's first byte stands was never proven: there may have been more before. */
static void doubt_late_starts(struct conn *c) {
    if (c->incomplete & INCOMPLETE_START) return;
    if (client_dir(c)->flags & DIR_LATE) {
        c->requests_lost = true;
        c->incomplete |= INCOMPLETE_GAP_OUT;
    }
    if (server_dir(c)->flags & DIR_LATE) {
        c->responses_lost = true;
        c->response_known = false;
        c->incomplete |= INCOMPLETE_GAP_IN;
    }
}

/* Without a FIN nothing shows where a stream ends; where the capture lost bytes of it, it
 * may have lost the last. (What the snap length cut is not lost.) */
static bool end_is_in_doubt(const struct dir *d) {
    return d->flags & DIR_LATE || (d->fin_off == NO_OFFSET && d->gap_bytes && !(d->flags & DIR_CUT));
}

static void fill_bytes(struct lifecycle *l, const struct conn *c) {
    const struct dir *cd = client_dir(c), *sd = server_dir(c);
    bool whole = !(c->incomplete & (INCOMPLETE_START | INCOMPLETE_END | INCOMPLETE_LIMIT));

    /* What the client's kernel took: after its own close, what it acknowledged. */
    l->bytes_in = client_ended(c) ? sd->acked : sd->next;
    if (whole && !tail_is_unclear(c, sd) && !end_is_in_doubt(sd) && !client_end_is_lost(c) &&
        (!client_ended(c) || cd->close_ack >= 0 || sd->max_end <= sd->acked))
        l->known |= KNOW_BYTES_IN;
    l->bytes_out = cd->fin_off != NO_OFFSET ? cd->fin_off : cd->next > cd->max_end ? cd->next : cd->max_end;
    if (whole && !tail_is_unclear(c, cd) && !end_is_in_doubt(cd)) l->known |= KNOW_BYTES_OUT;
}

static void fill_unread(struct lifecycle *l, const struct conn *c, const struct wire_evidence *e) {
    const struct dir *cd = client_dir(c);

    /* FIN is what close() sends when nothing is unread; RST after it came for another cause. */
    if (cd->fin_packet && (!cd->rst_packet || e->rst_cause == RST_CAUSE_DATA_AFTER_CLOSE)) l->known |= KNOW_UNREAD;
    if (had_nothing(c) && !(c->incomplete & INCOMPLETE_START) && !client_end_came_before(c)) l->known |= KNOW_UNREAD;
    if (!client_ended(c)) l->known &= ~(uint32_t)KNOW_UNREAD;
}

static void fill_idle(struct lifecycle *l, const struct conn *c) {
    int64_t since = c->idle_since_ns;

    if (c->n_requests == 0 && c->protocol == PROTO_NONE) since = c->established_ns; /* dialed and never used */
    l->idle_total_ns = c->idle_total_ns;
    l->idle_since_ns = since;
    if (since && l->state == LIFE_CLOSED) { /* the spell ended with the connection */
        if (l->closed_ns > since) l->idle_total_ns += l->closed_ns - since;
        l->idle_since_ns = 0;
    }
    if (!c->requests_lost && !c->responses_lost) l->known |= KNOW_IDLE;
}

static enum life_state find_state(const struct lifecycle *l, const struct conn *c) {
    if (l->closed_ns) return LIFE_CLOSED;
    if (c->incomplete & INCOMPLETE_END) return LIFE_OPEN;
    if (c->tunnelled) return LIFE_OPAQUE;
    if (!was_established(c)) return LIFE_DIALING;
    if (c->requests_lost || c->responses_lost) return LIFE_OPEN;
    if (c->pending_n) return LIFE_ACTIVE;
    return LIFE_IDLE;
}

static void fill_phase(struct lifecycle *l, const struct conn *c, const struct wire_evidence *e) {
    const struct dir *sd = server_dir(c);
    enum close_phase phase = PHASE_NONE;

    if (l->state != LIFE_CLOSED || !(l->known & KNOW_CLOSE)) return;
    if (!was_established(c))
        phase = PHASE_DIALING;
    else if (e->early == EARLY_UNKNOWN || e->early == EARLY_RST_AFTER_COMPLETE ||
             e->early == EARLY_FIN_AFTER_COMPLETE || c->tunnelled)
        return;
    else if (e->early == EARLY_NO_RESPONSE)
        phase = sd->reading == READ_HEAD ? PHASE_IN_HEADERS : PHASE_IN_REQUEST;
    else if (e->early == EARLY_IN_BODY)
        phase = PHASE_IN_BODY;
    else if (c->requests_lost || c->responses_lost)
        return;
    else if (c->pending_n == 0)
        phase = PHASE_IDLE;
    else if (c->response_at != NO_OFFSET && c->response_end == NO_OFFSET)
        phase = PHASE_IN_BODY;
    else
        phase = sd->reading == READ_HEAD ? PHASE_IN_HEADERS : PHASE_IN_REQUEST;
    l->close_phase = (uint8_t)phase;
    l->known |= KNOW_PHASE;
}

static void fill_messages(struct lifecycle *l, const struct conn *c, const struct wire_evidence *e) {
    l->requests = c->n_requests;
    l->responses = c->n_responses;
    if (!c->requests_lost) l->known |= KNOW_REQUESTS;
    if (!c->responses_lost) l->known |= KNOW_RESPONSES;
    l->early_closes = e->early == EARLY_IN_BODY;
    if (e->early == EARLY_NO || e->early == EARLY_IN_BODY) l->known |= KNOW_EARLY_CLOSES;
    l->body_announced = c->announced;
    l->body_read = UNKNOWN_BYTES; /* what passed is known, what was read is not */
    l->body_framing = c->framing;
    if (c->n_responses && c->response_known && !c->responses_lost) l->known |= KNOW_BODY;
    l->opaque = c->tunnelled || !messages_visible(c);
}

struct wire_record *record_make(const struct wire *w, struct conn *c) {
    struct wire_record *r = calloc(1, sizeof *r);
    struct closing closing = find_closing(c);
    struct lifecycle *l;

    (void)w;
    if (!r) abort();
    doubt_late_starts(c);
    l = &r->life;
    fill_evidence(&r->evidence, c, &closing);
    l->id = c->id;
    l->evidence = &r->evidence;
    l->observer = OBSERVER_CAPTURE;
    l->side = SIDE_CLIENT;
    l->flow = (struct flow_key){c->ends[c->client], c->ends[!c->client]};
    fill_times(l, c);
    fill_bytes(l, c);
    fill_messages(l, c, &r->evidence);
    l->state = (uint8_t)find_state(l, c);
    fill_idle(l, c);
    fill_unread(l, c, &r->evidence);
    l->close_by = closing.by;
    l->close_how = closing.how;
    if (closing.known) l->known |= KNOW_CLOSE;
    l->rst_sent = client_dir(c)->rst_packet != 0;
    l->rst_received = server_dir(c)->rst_packet != 0;
    l->fin_received = server_dir(c)->fin_packet != 0;
    if (!(c->incomplete & INCOMPLETE_END)) l->known |= KNOW_RST_SENT | KNOW_RST_RECEIVED;
    fill_phase(l, c, &r->evidence);
    r->transcript = transcript_end(c);
    if (r->evidence.tls) {
        bool whole = !(c->incomplete & (INCOMPLETE_START | INCOMPLETE_END | INCOMPLETE_LIMIT));
        tls_record(c, r->evidence.tls, whole && !tail_is_unclear(c, server_dir(c)), l);
    }
    if (r->evidence.host && !c->proxy_form) {
        r->key = (struct life_key){"http", r->evidence.host, "", 1};
        l->key = &r->key;
    }
    return r;
}
