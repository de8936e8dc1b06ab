#include "record/conn_json.h"

#include <string.h>

/* Times as the record shows them: microseconds since 1970, rounded down. */
static int64_t wall_us(int64_t ns, const struct conn_json *how) {
    int64_t wall = ns + how->to_wall_ns;
    return wall / 1000 - (wall % 1000 < 0);
}

static void put_time(struct json_out *o, int64_t ns, bool known, const struct conn_json *how) {
    if (known && ns)
        jo_time(o, ns + how->to_wall_ns);
    else
        jo_null(o);
}

/* Milliseconds between two times as they are shown; null where one of them is missing. */
static void put_span(struct json_out *o, int64_t from, int64_t to, bool known, const struct conn_json *how) {
    if (known && from && to)
        jo_fixed(o, wall_us(to, how) - wall_us(from, how), 3);
    else
        jo_null(o);
}

static void put_count(struct json_out *o, uint64_t n, bool known) {
    if (known && n != UNKNOWN_BYTES)
        jo_u64(o, n);
    else
        jo_null(o);
}

static void put_flag(struct json_out *o, bool flag, bool known) {
    if (known)
        jo_bool(o, flag);
    else
        jo_null(o);
}

static void put_text(struct json_out *o, const char *text) {
    jo_str(o, text && *text ? text : NULL);
}

/* ---- ids ---- */

static const char id_letters[N_SIDES] = {[SIDE_UPSTREAM] = 'u', [SIDE_DOWNSTREAM] = 'd', [SIDE_CLIENT] = 'c'};

char *conn_id_text(enum side side, conn_id id, char buf[CONN_ID_TEXT_MAX]) {
    buf[0] = (unsigned)side < N_SIDES ? id_letters[side] : '?';
    buf[1] = '-';
    buf[2 + text_u64(buf + 2, id)] = 0;
    return buf;
}

bool conn_id_parse(const char *text, enum side *side, conn_id *id) {
    const char *letter = text[0] ? memchr(id_letters, text[0], N_SIDES) : NULL;
    if (!letter || text[1] != '-' || text[2] < '1' || text[2] > '9') return false;
    uint64_t n = 0;
    for (const char *p = text + 2; *p; p++) {
        unsigned digit = (unsigned char)*p - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(n, (uint64_t)10, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *side = (enum side)(letter - id_letters);
    *id = n;
    return true;
}

/* ---- the parts of a record ---- */

static void put_endpoint(struct json_out *o, const struct endpoint *e) {
    char text[ENDPOINT_TEXT_MAX];
    jo_word(o, e->family == ADDR_NONE ? NULL : endpoint_text(e, text));
}

static void put_key(struct json_out *o, const struct life_key *key) {
    if (!key) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "scheme");
    put_text(o, key->scheme);
    JO_KEY(o, "host");
    put_text(o, key->addr);
    JO_KEY(o, "proxy");
    put_text(o, key->proxy);
    jo_object_end(o);
}

/* What is spoken on it as far as was seen: nothing is known of a tunnel's inside. */
static const char *protocol(const struct lifecycle *l) {
    bool saw_http = l->requests > 0 || !l->opaque;
    return (l->known & KNOW_REQUESTS) && saw_http ? "HTTP/1.1" : NULL;
}

static void put_tls(struct json_out *o, const struct lifecycle *l) {
    if (!l->tls_version) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "version");
    jo_str(o, l->tls_version);
    JO_KEY(o, "cipher");
    jo_str(o, l->tls_cipher);
    JO_KEY(o, "close_notify");
    put_flag(o, l->close_notify, l->known & KNOW_CLOSE_NOTIFY);
    jo_object_end(o);
}

static void put_last_body(struct json_out *o, const struct lifecycle *l) {
    bool had_none = (l->known & KNOW_RESPONSES) && l->responses == 0;
    if (!(l->known & KNOW_BODY) || had_none) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "announced");
    put_count(o, l->body_announced, true);
    JO_KEY(o, "read");
    put_count(o, l->body_read, true);
    JO_KEY(o, "framing");
    jo_word(o, body_framing_name(l->body_framing));
    jo_object_end(o);
}

static void put_close(struct json_out *o, const struct lifecycle *l) {
    bool has_reason = (l->known & KNOW_REASON) && l->close_reason != REASON_NONE;
    jo_object(o);
    JO_KEY(o, "by");
    jo_word(o, l->known & KNOW_CLOSE ? close_by_name(l->close_by) : NULL);
    JO_KEY(o, "how");
    jo_word(o, l->known & KNOW_CLOSE ? close_how_name(l->close_how) : NULL);
    JO_KEY(o, "reason");
    jo_word(o, has_reason ? close_reason_name(l->close_reason) : NULL);
    JO_KEY(o, "phase");
    jo_word(o, l->known & KNOW_PHASE ? close_phase_name(l->close_phase) : NULL);
    JO_KEY(o, "go_error");
    /* Go's Transport has words for its own connections only. */
    put_text(o, has_reason && l->side != SIDE_DOWNSTREAM ? close_reason_go_error(l->close_reason) : NULL);
    jo_object_end(o);
}

static void put_client(struct json_out *o, const struct life_client *client) {
    if (!client) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "tag");
    put_text(o, client->tag);
    JO_KEY(o, "user_agent");
    put_text(o, client->user_agent);
    JO_KEY(o, "pid");
    put_count(o, client->pid, client->pid != 0);
    JO_KEY(o, "comm");
    put_text(o, client->comm);
    JO_KEY(o, "recv_q");
    put_count(o, client->recv_q, client->probed);
    jo_object_end(o);
}

/* ---- events ---- */

static void put_mark(struct json_out *o, const struct conn_mark *m, const struct conn_json *how) {
    jo_object(o);
    JO_KEY(o, "at");
    jo_time(o, m->at_ns + how->to_wall_ns);
    JO_KEY(o, "event");
    jo_word(o, conn_event_name(m->kind));
    switch ((enum conn_event_kind)m->kind) {
    case EV_RESPONSE:
    case EV_INTERIM:
        JO_KEY(o, "status");
        jo_u64(o, m->code);
        break;
    case EV_ENDED:
        JO_KEY(o, "reason");
        jo_word(o, m->code == REASON_NONE ? NULL : close_reason_name(m->code));
        break;
    default: /* the others have no code */
        break;
    }
    switch ((enum conn_event_kind)m->kind) {
    case EV_GOT_CONN:
    case EV_WROTE_REQUEST:
    case EV_RESPONSE:
    case EV_BODY_EOF:
    case EV_EARLY_CLOSE:
    case EV_ENDED:
        JO_KEY(o, "value");
        put_count(o, m->value, m->value != UINT32_MAX);
        break;
    default: /* tbl/conn_events.h gives the others no value */
        break;
    }
    jo_object_end(o);
}

static void put_events(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    JO_KEY(o, "events");
    jo_array(o);
    for (unsigned i = 0; i < l->n_marks; i++) put_mark(o, lifecycle_mark(l, i), how);
    jo_array_end(o);
    JO_KEY(o, "events_dropped");
    jo_u64(o, l->marks_dropped);
}

/* ---- the record ---- */

static void put_times(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    bool closed = l->state == LIFE_CLOSED;
    bool know_end = !closed || (l->known & KNOW_CLOSED), know_opened = l->known & KNOW_OPENED;
    bool know_dial = know_opened && (l->known & KNOW_DIAL);
    int64_t until = closed ? l->closed_ns : how->now_ns;

    JO_KEY(o, "opened_at");
    put_time(o, l->opened_ns, know_opened, how);
    JO_KEY(o, "closed_at");
    put_time(o, l->closed_ns, closed && know_end, how);
    JO_KEY(o, "duration_ms");
    put_span(o, l->opened_ns, until, know_opened && know_end, how);
    JO_KEY(o, "dial_ms");
    put_span(o, l->opened_ns, l->dialed_ns, know_dial, how);
    JO_KEY(o, "tls_ms");
    put_span(o, l->dialed_ns, l->tls_ns, know_dial, how);
    JO_KEY(o, "idle_ms");
    if (l->known & KNOW_IDLE)
        jo_ms(o, lifecycle_idle_ns(l, until));
    else
        jo_null(o);
}

static void put_counts(struct json_out *o, const struct lifecycle *l) {
    bool know_requests = l->known & KNOW_REQUESTS;
    JO_KEY(o, "requests");
    put_count(o, l->requests, know_requests);
    JO_KEY(o, "reused");
    put_count(o, lifecycle_reused(l), know_requests);
    JO_KEY(o, "responses");
    put_count(o, l->responses, l->known & KNOW_RESPONSES);
    JO_KEY(o, "early_closes");
    put_count(o, l->early_closes, l->known & KNOW_EARLY_CLOSES);
    JO_KEY(o, "retries");
    put_count(o, l->retries, know_requests);
    JO_KEY(o, "bytes_in");
    put_count(o, l->bytes_in, l->known & KNOW_BYTES_IN);
    JO_KEY(o, "bytes_out");
    put_count(o, l->bytes_out, l->known & KNOW_BYTES_OUT);
}

static void put_identity(struct json_out *o, const struct lifecycle *l) {
    char id[CONN_ID_TEXT_MAX];
    JO_KEY(o, "schema");
    jo_raw(o, "\"connleak.conn/1\"", 17);
    JO_KEY(o, "id");
    jo_word(o, conn_id_text(l->side, l->id, id));
    JO_KEY(o, "observer");
    jo_word(o, observer_name(l->observer));
    JO_KEY(o, "side");
    jo_word(o, side_name(l->side));
    JO_KEY(o, "local");
    put_endpoint(o, &l->flow.local);
    JO_KEY(o, "remote");
    put_endpoint(o, &l->flow.remote);
    JO_KEY(o, "key");
    put_key(o, l->key);
    JO_KEY(o, "protocol");
    jo_word(o, protocol(l));
    JO_KEY(o, "opaque");
    jo_bool(o, l->opaque);
    JO_KEY(o, "tls");
    put_tls(o, l);
    JO_KEY(o, "state");
    jo_word(o, life_state_name(l->state));
}

void conn_json(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    jo_object(o);
    put_identity(o, l);
    put_times(o, l, how);
    put_counts(o, l);
    JO_KEY(o, "last_body");
    put_last_body(o, l);
    JO_KEY(o, "unread_bytes");
    put_count(o, l->unread_bytes, l->state == LIFE_CLOSED && (l->known & KNOW_UNREAD));
    JO_KEY(o, "rst_sent");
    put_flag(o, l->rst_sent, l->known & KNOW_RST_SENT);
    JO_KEY(o, "rst_received");
    put_flag(o, l->rst_received, l->known & KNOW_RST_RECEIVED);
    JO_KEY(o, "close");
    put_close(o, l);
    JO_KEY(o, "client");
    put_client(o, l->client);
    if (how->events) put_events(o, l, how);
    JO_KEY(o, "evidence");
    if (how->evidence)
        how->evidence(o, l, how->arg);
    else
        jo_raw(o, "{}", 2);
    jo_object_end(o);
}
