#include "facts.h"

#include "client_conn.h"
#include "core/finding.h"

#include <string.h>

static struct fact fact_of(const struct server *s, const struct lifecycle *l, enum fact_kind kind) {
    return (struct fact){.at_ns = s->now, .conn = l->id, .side = l->side, .kind = (uint8_t)kind};
}

/* ---- what the ledger's events say ---- */

/* A FIN or RST, of ours or of the peer: "local" is the end that connected. */
static void ending(struct server *s, const struct lifecycle *l, bool ours, enum close_how how) {
    struct fact fact = fact_of(s, l, FACT_ENDING);
    fact.by = ours == (l->side == SIDE_UPSTREAM) ? BY_LOCAL : BY_REMOTE;
    fact.how = (uint8_t)how;
    findings_fact(s->findings, &fact);
}

static void done(struct server *s, const struct lifecycle *l) {
    struct fact fact = fact_of(s, l, FACT_DONE);
    fact.bytes = l->body_read;
    findings_fact(s->findings, &fact);
}

static void simple(struct server *s, const struct lifecycle *l, enum fact_kind kind) {
    struct fact fact = fact_of(s, l, kind);
    findings_fact(s->findings, &fact);
}

static void accepted(struct server *s, const struct lifecycle *l) {
    struct fact fact = fact_of(s, l, FACT_OPENED);
    fact.peer = l->flow.remote;
    findings_fact(s->findings, &fact);
}

void facts_event(struct server *s, const struct lifecycle *l, enum conn_event_kind kind) {
    bool upstream = l->side == SIDE_UPSTREAM;

    switch (kind) {
    case EV_ACCEPTED:
        accepted(s, l);
        break;
    case EV_BODY_EOF: /* the client may have some of it still to take */
        if (upstream) done(s, l);
        break;
    case EV_PUT_IDLE:
        if (!upstream) done(s, l);
        break;
    case EV_RETRIED:
        simple(s, l, FACT_RETRIED);
        break;
    case EV_UPGRADED:
    case EV_TUNNEL:
        simple(s, l, FACT_OPAQUE);
        break;
    case EV_FIN_SENT:
        if (!upstream) done(s, l);
        ending(s, l, true, HOW_FIN);
        break;
    case EV_RST_SENT:
        ending(s, l, true, HOW_RST);
        break;
    case EV_FIN_RECEIVED:
        ending(s, l, false, HOW_FIN);
        break;
    case EV_RST_RECEIVED:
        ending(s, l, false, HOW_RST);
        break;
    default:
        break;
    }
}

/* ---- what they do not ---- */

void facts_dialing(struct server *s, const struct lifecycle *l, const char *key) {
    if (!s->findings) return;
    struct fact fact = fact_of(s, l, FACT_OPENED);
    fact.host = key;
    findings_fact(s->findings, &fact);
}

void facts_dial_failed(struct server *s, const struct lifecycle *l, enum dial_result result) {
    static const uint8_t causes[] = {
        [DIAL_DNS_ERROR] = DIAL_CAUSE_UNRESOLVED, [DIAL_DNS_TIMEOUT] = DIAL_CAUSE_UNRESOLVED,
        [DIAL_REFUSED] = DIAL_CAUSE_REFUSED,      [DIAL_TIMEOUT] = DIAL_CAUSE_TIMEOUT,
        [DIAL_TLS_CERTIFICATE] = DIAL_CAUSE_TLS,  [DIAL_TLS_ALERT] = DIAL_CAUSE_TLS,
        [DIAL_TLS_ERROR] = DIAL_CAUSE_TLS,        [DIAL_TLS_TIMEOUT] = DIAL_CAUSE_TLS,
    };
    /* What the daemon itself refuses, or has no socket for, is no fault of the origin's. */
    if (!s->findings || result == DIAL_LOOP || result == DIAL_DENIED || result == DIAL_NO_SOCKET) return;
    struct fact fact = fact_of(s, l, FACT_DIAL_FAILED);
    fact.cause = causes[result];
    findings_fact(s->findings, &fact);
}

static uint8_t request_flags(const struct h1_head *head) {
    if (head->conn_close) return FACT_NO_REUSE | FACT_PROXIED;
    return head->minor == 0 && !head->conn_keep_alive ? FACT_HTTP10 | FACT_PROXIED : FACT_PROXIED;
}

/* Only another connection, or one that takes nothing, makes a client suspect. */
static void may_be_suspect(struct server *s) {
    struct timeval tv = {SUSPECT_AFTER / SEC(1), 0};
    s->may_suspect = true;
    if (s->on_suspicion && !event_pending(s->on_suspicion, EV_TIMEOUT, NULL)) event_add(s->on_suspicion, &tv);
}

void facts_client_request(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    struct server *s = r->s;
    const struct life_client *who = r->client->life->client;
    char method[16];

    if (!s->findings) return;
    size_t n = head->method.len < sizeof method ? head->method.len : sizeof method - 1;
    memcpy(method, bytes + head->method.off, n);
    method[n] = 0;
    struct fact fact = fact_of(s, r->client->life, FACT_REQUEST);
    fact.method = method;
    fact.host = r->target.addr;
    fact.tag = who ? who->tag : NULL;
    fact.user_agent = who ? who->user_agent : NULL;
    fact.flags = request_flags(head);
    findings_fact(s->findings, &fact);
    if (r->client->life->requests <= 1) may_be_suspect(s);
}

void facts_upstream_request(struct relay *r) {
    struct server *s = r->s;
    const struct lifecycle *l = r->upstream->life;
    const char *head = (const char *)r->head.p + r->head.off;
    char method[16] = "";
    mono_ns waited = relay_waited(r);

    if (!s->findings) return;
    struct fact fact = fact_of(s, l, FACT_WAITED);
    if (s->conf->pool.max_conns_per_host > 0 && waited >= MSEC(1) && l->requests > 0) {
        fact.flags = FACT_LIMITED;
        fact.bytes = (uint64_t)waited;
        findings_fact(s->findings, &fact);
    }
    const char *blank = bytes_left(&r->head) ? memchr(head, ' ', bytes_left(&r->head)) : NULL;
    if (blank && (size_t)(blank - head) < sizeof method) memcpy(method, head, (size_t)(blank - head));
    fact = fact_of(s, l, FACT_REQUEST);
    fact.method = method;
    fact.host = r->target.addr;
    fact.flags = r->rq.request_close ? FACT_NO_REUSE : 0;
    findings_fact(s->findings, &fact);
}

void facts_response(struct server *s, const struct lifecycle *l, uint16_t status, enum body_framing framing,
                    uint64_t announced, bool no_reuse, bool bodyless) {
    if (!s->findings) return;
    struct fact fact = fact_of(s, l, FACT_RESPONSE);
    fact.status = status;
    fact.framing = (uint8_t)framing;
    fact.bytes = announced;
    fact.flags = (uint8_t)((no_reuse ? FACT_NO_REUSE : 0) | (bodyless ? FACT_BODYLESS : 0));
    findings_fact(s->findings, &fact);
}

void facts_blocked(struct relay *r, bool blocked) {
    if (!r->s->findings || !r->client) return;
    simple(r->s, r->client->life, blocked ? FACT_BLOCKED : FACT_FLOWING);
    if (blocked) may_be_suspect(r->s);
}

/* ---- the end ---- */

/* What became of a client's last response. */
static enum fact_early early_of(const struct lifecycle *l, const struct stream_end *end) {
    if (l->close_by != BY_REMOTE || l->opaque) return FACT_EARLY_NO;
    if (end->answer_lost) return FACT_EARLY_NO_RESPONSE;
    if (l->close_phase == PHASE_IN_BODY && !end->all_left) return FACT_EARLY_IN_BODY;
    if (l->requests > l->responses) return FACT_EARLY_NO_RESPONSE;
    if ((l->close_phase != PHASE_IDLE && !end->all_left) || !l->responses) return FACT_EARLY_NO;
    return l->rst_received && !l->fin_received ? FACT_EARLY_RST_AFTER : FACT_EARLY_FIN_AFTER;
}

static void client_end(const struct lifecycle *l, const struct stream_end *end, struct fact_end *e, mono_ns now) {
    uint64_t untaken = client_untaken(l, end);
    e->received_bytes = l->bytes_out > untaken ? l->bytes_out - untaken : 0;
    if (end->acked_known && end->acked) e->last_data_ns = now - MSEC(end->sent_ago_ms);
    e->body_read -= end->untaken < e->body_read ? end->untaken : e->body_read;
    e->unread_bytes = UNKNOWN_BYTES;
    e->local_rst = l->rst_received;
    e->by = l->close_by == BY_REMOTE ? BY_LOCAL : l->close_by == BY_LOCAL ? BY_REMOTE : BY_NONE;
    e->early = (uint8_t)early_of(l, end);
    if (l->rst_received) e->rst_likely = l->fin_received ? FACT_RST_AFTER_CLOSE : FACT_RST_UNREAD;
    if (e->early == FACT_EARLY_IN_BODY) e->rst = e->rst_likely;
    if (e->rst_likely == FACT_RST_UNREAD && l->requests == 1 && e->received_bytes > 4096)
        e->unread_if_read_4096 = e->received_bytes - 4096;
}

static void upstream_end(const struct lifecycle *l, const struct stream_end *end, struct fact_end *e) {
    e->received_bytes = l->bytes_in + l->unread_bytes;
    e->unread_bytes = l->unread_bytes;
    e->local_rst = l->rst_sent;
    e->by = l->close_by;
    e->reason = l->close_reason;
    e->rst = l->rst_sent && l->unread_bytes ? FACT_RST_UNREAD : FACT_RST_NONE;
    e->rst_likely = e->rst;
    e->excess_bytes = end->unasked;
    e->excess_is_response = end->unasked_is_response;
    e->unread_upload = end->upload_cut;
}

void facts_closed(struct server *s, const struct lifecycle *l, const struct stream_end *end) {
    if (!s->findings) return;
    struct fact_end e = {
        .unread_if_read_4096 = UNKNOWN_BYTES,
        .body_announced = l->body_announced,
        .body_read = l->body_read,
        .requests = l->requests,
        .tls_sent = UINT32_MAX,
        .counts_known = true,
        .stood = l->side != SIDE_UPSTREAM || l->dialed_ns,
        .how = l->close_how,
        .phase = l->close_phase,
        .framing = l->body_framing,
    };
    if (l->side == SIDE_UPSTREAM)
        upstream_end(l, end, &e);
    else
        client_end(l, end, &e, s->now);
    struct fact fact = fact_of(s, l, FACT_CLOSED);
    fact.end = &e;
    findings_fact(s->findings, &fact);
}
