#include "record/conn_json.h"

#include <string.h>

/* Times as the record shows them: microseconds since 1970, rounded down. */
static int64_t wall_us(int64_t ns, const struct conn_json *how) {
    int64_t wall = ns + how->to_wall_ns;
    return wall / 1000 - (wall % 1000 < 0);
}

static void put_time(struct json_out *o, int64_t ns, bool known, const struct conn_json *how) {
    if (known && ns)
        json_time(o, ns + how->to_wall_ns);
    else
        json_null(o);
}

/* Milliseconds between two times as they are shown; null where one of them is missing. */
static void put_span(struct json_out *o, int64_t from, int64_t to, bool known, const struct conn_json *how) {
    if (known && from && to)
        json_fixed(o, wall_us(to, how) - wall_us(from, how), 3);
    else
        json_null(o);
}

static void put_count(struct json_out *o, uint64_t n, bool known) {
    if (known && n != UNKNOWN_BYTES)
        json_u64(o, n);
    else
        json_null(o);
}

static void put_flag(struct json_out *o, bool flag, bool known) {
    if (known)
        json_bool(o, flag);
    else
        json_null(o);
}

/* Words of ours need no escapes. */
static void put_word(struct json_out *o, const char *word) {
    if (word)
        json_strn(o, word, strlen(word));
    else
        json_null(o);
}

static void put_text(struct json_out *o, const char *text) {
    json_str(o, text && *text ? text : NULL);
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
    put_word(o, e->family == ADDR_NONE ? NULL : endpoint_text(e, text));
}

static void put_key(struct json_out *o, const struct life_key *key) {
    if (!key) {
        json_null(o);
        return;
    }
    json_object(o);
    JSON_KEY(o, "scheme");
    put_text(o, key->scheme);
    JSON_KEY(o, "host");
    put_text(o, key->addr);
    JSON_KEY(o, "proxy");
    put_text(o, key->proxy);
    json_object_end(o);
}

/* What is spoken on it as far as was seen: nothing is known of a tunnel's inside. */
static const char *protocol(const struct lifecycle *l) {
    bool saw_http = l->requests > 0 || !l->opaque;
    return (l->known & KNOW_REQUESTS) && saw_http ? "HTTP/1.1" : NULL;
}

static void put_tls(struct json_out *o, const struct lifecycle *l) {
    if (!l->tls_version) {
        json_null(o);
        return;
    }
    json_object(o);
    JSON_KEY(o, "version");
    json_str(o, l->tls_version);
    JSON_KEY(o, "cipher");
    json_str(o, l->tls_cipher);
    JSON_KEY(o, "close_notify");
    json_bool(o, l->close_notify);
    json_object_end(o);
}

static void put_last_body(struct json_out *o, const struct lifecycle *l) {
    if (!(l->known & KNOW_BODY) || l->responses == 0) {
        json_null(o);
        return;
    }
    json_object(o);
    JSON_KEY(o, "announced");
    put_count(o, l->body_announced, true);
    JSON_KEY(o, "read");
    put_count(o, l->body_read, true);
    JSON_KEY(o, "framing");
    put_word(o, body_framing_name(l->body_framing));
    json_object_end(o);
}

static void put_close(struct json_out *o, const struct lifecycle *l) {
    bool has_reason = (l->known & KNOW_REASON) && l->close_reason != REASON_NONE;
    json_object(o);
    JSON_KEY(o, "by");
    put_word(o, l->known & KNOW_CLOSE ? close_by_name(l->close_by) : NULL);
    JSON_KEY(o, "how");
    put_word(o, l->known & KNOW_CLOSE ? close_how_name(l->close_how) : NULL);
    JSON_KEY(o, "reason");
    put_word(o, has_reason ? close_reason_name(l->close_reason) : NULL);
    JSON_KEY(o, "phase");
    put_word(o, l->known & KNOW_PHASE ? close_phase_name(l->close_phase) : NULL);
    JSON_KEY(o, "go_error");
    put_text(o, has_reason ? close_reason_go_error(l->close_reason) : NULL);
    json_object_end(o);
}

/* pid, comm and recv_q are the socket probe's to know. */
static void put_client(struct json_out *o, const struct life_client *client) {
    if (!client) {
        json_null(o);
        return;
    }
    json_object(o);
    JSON_KEY(o, "tag");
    put_text(o, client->tag);
    JSON_KEY(o, "user_agent");
    put_text(o, client->user_agent);
    JSON_KEY(o, "pid");
    json_null(o);
    JSON_KEY(o, "comm");
    json_null(o);
    JSON_KEY(o, "recv_q");
    json_null(o);
    json_object_end(o);
}

/* ---- events ---- */

static void put_mark(struct json_out *o, const struct conn_mark *m, const struct conn_json *how) {
    json_object(o);
    JSON_KEY(o, "at");
    json_time(o, m->at_ns + how->to_wall_ns);
    JSON_KEY(o, "event");
    put_word(o, conn_event_name(m->kind));
    switch ((enum conn_event_kind)m->kind) {
    case EV_RESPONSE:
    case EV_INTERIM:
        JSON_KEY(o, "status");
        json_u64(o, m->code);
        break;
    case EV_CLOSED:
        JSON_KEY(o, "reason");
        put_word(o, m->code == REASON_NONE ? NULL : close_reason_name(m->code));
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
    case EV_CLOSED:
        JSON_KEY(o, "value");
        put_count(o, m->value, m->value != UINT32_MAX);
        break;
    default: /* tbl/conn_events.h gives the others no value */
        break;
    }
    json_object_end(o);
}

static void put_events(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    JSON_KEY(o, "events");
    json_array(o);
    for (unsigned i = 0; i < l->n_marks; i++) put_mark(o, lifecycle_mark(l, i), how);
    json_array_end(o);
    JSON_KEY(o, "events_dropped");
    json_u64(o, l->marks_dropped);
}

/* ---- the record ---- */

static void put_times(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    bool closed = l->state == LIFE_CLOSED;
    bool know_end = !closed || (l->known & KNOW_CLOSED), know_opened = l->known & KNOW_OPENED;
    int64_t until = closed ? l->closed_ns : how->now_ns;

    JSON_KEY(o, "opened_at");
    put_time(o, l->opened_ns, know_opened, how);
    JSON_KEY(o, "closed_at");
    put_time(o, l->closed_ns, closed && know_end, how);
    JSON_KEY(o, "duration_ms");
    put_span(o, l->opened_ns, until, know_opened && know_end, how);
    JSON_KEY(o, "dial_ms");
    put_span(o, l->opened_ns, l->dialed_ns, l->known & KNOW_DIAL, how);
    JSON_KEY(o, "tls_ms");
    put_span(o, l->dialed_ns, l->tls_ns, l->known & KNOW_DIAL, how);
    JSON_KEY(o, "idle_ms");
    if (l->known & KNOW_IDLE)
        json_ms(o, lifecycle_idle_ns(l, until));
    else
        json_null(o);
}

static void put_counts(struct json_out *o, const struct lifecycle *l) {
    bool know_requests = l->known & KNOW_REQUESTS;
    JSON_KEY(o, "requests");
    put_count(o, l->requests, know_requests);
    JSON_KEY(o, "reused");
    put_count(o, lifecycle_reused(l), know_requests);
    JSON_KEY(o, "responses");
    put_count(o, l->responses, know_requests);
    JSON_KEY(o, "early_closes");
    put_count(o, l->early_closes, l->known & KNOW_EARLY_CLOSES);
    JSON_KEY(o, "retries");
    put_count(o, l->retries, know_requests);
    JSON_KEY(o, "bytes_in");
    put_count(o, l->bytes_in, l->known & KNOW_BYTES_IN);
    JSON_KEY(o, "bytes_out");
    put_count(o, l->bytes_out, l->known & KNOW_BYTES_OUT);
}

static void put_identity(struct json_out *o, const struct lifecycle *l) {
    char id[CONN_ID_TEXT_MAX];
    JSON_KEY(o, "schema");
    json_raw(o, "\"connleak.conn/1\"", 17);
    JSON_KEY(o, "id");
    put_word(o, conn_id_text(l->side, l->id, id));
    JSON_KEY(o, "observer");
    put_word(o, observer_name(l->observer));
    JSON_KEY(o, "side");
    put_word(o, side_name(l->side));
    JSON_KEY(o, "local");
    put_endpoint(o, &l->flow.local);
    JSON_KEY(o, "remote");
    put_endpoint(o, &l->flow.remote);
    JSON_KEY(o, "key");
    put_key(o, l->key);
    JSON_KEY(o, "protocol");
    put_word(o, protocol(l));
    JSON_KEY(o, "opaque");
    json_bool(o, l->opaque);
    JSON_KEY(o, "tls");
    put_tls(o, l);
    JSON_KEY(o, "state");
    put_word(o, life_state_name(l->state));
}

void conn_json(struct json_out *o, const struct lifecycle *l, const struct conn_json *how) {
    json_object(o);
    put_identity(o, l);
    put_times(o, l, how);
    put_counts(o, l);
    JSON_KEY(o, "last_body");
    put_last_body(o, l);
    JSON_KEY(o, "unread_bytes");
    put_count(o, l->unread_bytes, l->state == LIFE_CLOSED && (l->known & KNOW_UNREAD));
    JSON_KEY(o, "rst_sent");
    put_flag(o, l->rst_sent, l->known & KNOW_RST_SENT);
    JSON_KEY(o, "rst_received");
    put_flag(o, l->rst_received, l->known & KNOW_RST_RECEIVED);
    JSON_KEY(o, "close");
    put_close(o, l);
    JSON_KEY(o, "client");
    put_client(o, l->client);
    if (how->events) put_events(o, l, how);
    JSON_KEY(o, "evidence");
    if (how->evidence)
        how->evidence(o, l, how->arg);
    else
        json_raw(o, "{}", 2);
    json_object_end(o);
}
