/* From text to a record. The JSON is jansson's to parse; here every field is
 * checked for its type and its range, and the first that is wrong is named. */
#include "record/conn_read.h"

#include "core/intern.h"
#include "core/utf8.h"
#include "record/conn_json.h"
#include "record/json_out.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conn_reader {
    struct intern *texts;
    uint64_t line;
    char error[256];
};

struct conn_reader *conn_reader_new(void) {
    struct conn_reader *r = calloc(1, sizeof(*r));
    if (!r) abort();
    r->texts = intern_new();
    return r;
}

void conn_reader_free(struct conn_reader **rp) {
    struct conn_reader *r = *rp;
    if (!r) return;
    *rp = NULL;
    intern_free(&r->texts);
    free(r);
}

const char *conn_reader_error(const struct conn_reader *r) {
    return r->error;
}

void conn_record_clear(struct conn_record *rec) {
    lifecycle_clear(&rec->life);
    free(rec->evidence);
    *rec = (struct conn_record){0};
}

void conn_record_evidence(struct json_out *o, const struct lifecycle *l, void *rec) {
    const char *text = ((const struct conn_record *)rec)->evidence;
    (void)l;
    jo_raw(o, text ? text : "{}", text ? strlen(text) : 2);
}

/* ---- fields ----
 *
 * A path such as "close.reason" names a field in messages; its last part is the
 * name within the object at hand. Each reader of a field returns false when the
 * field is there and wrong; one that is missing or null leaves *out alone, and
 * clears `bit` in *known where that is given. */

struct at {
    struct conn_reader *r;
    json_t *object;
    struct lifecycle *life;
};

/* The error shows what stands in a file, which may be anybody's. */
static void make_error_plain(struct conn_reader *r) {
    r->error[utf8_plain(r->error, strlen(r->error), r->error)] = 0;
}

static bool complain(struct conn_reader *r, const char *path, const char *expected, json_t *found) {
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(r->error, sizeof(r->error), "line %llu: %s: expected %s, found %.60s%s", (unsigned long long)r->line, path,
             expected, text ? text : "nothing", text && strlen(text) > 60 ? "..." : "");
    free(text);
    make_error_plain(r);
    return false;
}

static json_t *field(const struct at *at, const char *path) {
    const char *dot = strrchr(path, '.');
    json_t *v = json_object_get(at->object, dot ? dot + 1 : path);
    return v && !json_is_null(v) ? v : NULL;
}

static json_t *field_known(const struct at *at, const char *path, uint32_t bits) {
    json_t *v = field(at, path);
    if (!v) at->life->known &= ~bits;
    return v;
}

static bool get_object(const struct at *at, const char *path, json_t **out) {
    json_t *v = field(at, path);
    *out = v;
    return !v || json_is_object(v) || complain(at->r, path, "an object", v);
}

static bool get_u64(const struct at *at, const char *path, uint32_t bits, uint64_t max, uint64_t *out) {
    json_t *v = field_known(at, path, bits);
    if (!v) return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
        return complain(at->r, path, "a count", v);
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_u32(const struct at *at, const char *path, uint32_t bits, uint32_t *out) {
    uint64_t n = *out;
    bool fine = get_u64(at, path, bits, UINT32_MAX, &n);
    *out = (uint32_t)n;
    return fine;
}

static bool get_bool(const struct at *at, const char *path, uint32_t bits, bool *out) {
    json_t *v = field_known(at, path, bits);
    if (!v) return true;
    if (!json_is_boolean(v)) return complain(at->r, path, "true or false", v);
    *out = json_is_true(v);
    return true;
}

static bool get_text(const struct at *at, const char *path, const char **out) {
    json_t *v = field(at, path);
    if (!v) return true;
    *out = json_string_value(v);
    return *out || complain(at->r, path, "a string", v);
}

/* Milliseconds with a fraction to nanoseconds, exact to the microsecond. */
#define MS_MAX 9.2e12
static bool get_ms(const struct at *at, const char *path, uint32_t bits, int64_t *out) {
    json_t *v = field_known(at, path, bits);
    if (!v) return true;
    double ms = json_number_value(v);
    if (!json_is_number(v) || !(ms > -MS_MAX && ms < MS_MAX)) return complain(at->r, path, "milliseconds", v);
    *out = USEC((int64_t)(ms * 1000 + (ms < 0 ? -0.5 : 0.5)));
    return true;
}

/* One of n words that name(i) gives; expected: what the word is. */
typedef const char *name_fn(unsigned i);
static bool find_word(name_fn *name, unsigned n, const char *word, uint8_t *out) {
    for (unsigned i = 0; i < n; i++) {
        if (!name(i) || strcmp(name(i), word)) continue;
        *out = (uint8_t)i;
        return true;
    }
    return false;
}

static bool get_word(const struct at *at, const char *path, uint32_t bits, name_fn *name, unsigned n,
                     const char *expected, uint8_t *out) {
    json_t *v = field_known(at, path, bits);
    if (!v) return true;
    return (json_is_string(v) && find_word(name, n, json_string_value(v), out)) || complain(at->r, path, expected, v);
}

/* The rows of the tables as functions of a number, which is what an enum is. */
static const char *observer_word(unsigned i) {
    return observer_name((enum observer)i);
}
static const char *side_word(unsigned i) {
    return side_name((enum side)i);
}
static const char *state_word(unsigned i) {
    return life_state_name((enum life_state)i);
}
static const char *by_word(unsigned i) {
    return close_by_name((enum close_by)i);
}
static const char *how_word(unsigned i) {
    return close_how_name((enum close_how)i);
}
static const char *reason_word(unsigned i) {
    return close_reason_name((enum close_reason)i);
}
static const char *phase_word(unsigned i) {
    return close_phase_name((enum close_phase)i);
}
static const char *framing_word(unsigned i) {
    return body_framing_name((enum body_framing)i);
}
static const char *event_word(unsigned i) {
    return conn_event_name((enum conn_event_kind)i);
}

/* ---- times ---- */

static bool take_digits(const char **p, unsigned n, unsigned *out) {
    *out = 0;
    for (; n > 0; n--, (*p)++) {
        unsigned digit = (unsigned char)**p - (unsigned)'0';
        if (digit > 9) return false;
        *out = *out * 10 + digit;
    }
    return true;
}

static bool take_char(const char **p, char c) {
    if (**p != c) return false;
    (*p)++;
    return true;
}

/* Up to nine digits behind the seconds' dot, as nanoseconds. */
static bool take_fraction(const char **p, unsigned *ns) {
    *ns = 0;
    if (**p != '.') return true;
    unsigned digits = 0;
    for ((*p)++; **p >= '0' && **p <= '9'; (*p)++) {
        if (++digits > 9) return false;
        *ns = *ns * 10 + (unsigned)(**p - '0');
    }
    if (digits == 0) return false;
    for (; digits < 9; digits++) *ns *= 10;
    return true;
}

/* Days from 1970-01-01, years beginning in March; text_time says why. */
static int64_t days_from_civil(unsigned year, unsigned month, unsigned day) {
    unsigned y = year - (month <= 2), era = y / 400, year_of_era = y % 400;
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * 146097 + day_of_era - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool record_time_parse(const char *p, int64_t *out) {
    unsigned year, month, day, hour, minute, second, ns;
    if (!take_digits(&p, 4, &year) || !take_char(&p, '-') || !take_digits(&p, 2, &month) || !take_char(&p, '-') ||
        !take_digits(&p, 2, &day) || !take_char(&p, 'T') || !take_digits(&p, 2, &hour) || !take_char(&p, ':') ||
        !take_digits(&p, 2, &minute) || !take_char(&p, ':') || !take_digits(&p, 2, &second) ||
        !take_fraction(&p, &ns) || !take_char(&p, 'Z') || *p)
        return false;
    if (year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (hour > 23 || minute > 59 || second > 59) return false;
    *out = SEC(days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) + ns;
    return true;
}

static bool get_time(const struct at *at, const char *path, uint32_t bits, int64_t *out) {
    json_t *v = field_known(at, path, bits);
    if (!v) return true;
    return (json_is_string(v) && record_time_parse(json_string_value(v), out)) ||
           complain(at->r, path, "a time such as \"2026-01-02T03:04:05.678901Z\"", v);
}

/* ---- the parts of a record ---- */

static bool get_endpoint(const struct at *at, const char *path, struct endpoint *out) {
    json_t *v = field(at, path);
    if (!v) return true;
    const char *text = json_string_value(v);
    if (text && !strcmp(text, "unix")) {
        *out = (struct endpoint){.family = ADDR_UNIX};
        return true;
    }
    return (text && endpoint_parse(text, out)) || complain(at->r, path, "an address with a port", v);
}

static bool required(const struct at *at, const char *path) {
    return field(at, path) || complain(at->r, path, "a value", NULL);
}

static bool read_identity(const struct at *at) {
    struct lifecycle *l = at->life;
    const char *id = NULL;
    enum side side = SIDE_UPSTREAM;
    if (!required(at, "id") || !required(at, "observer") || !required(at, "side") || !required(at, "state"))
        return false;
    if (!get_text(at, "id", &id)) return false;
    if (!conn_id_parse(id, &side, &l->id)) return complain(at->r, "id", "an id such as \"u-42\"", field(at, "id"));
    if (!get_word(at, "observer", 0, observer_word, OBSERVER_KERNEL + 1, "an observer", &l->observer) ||
        !get_word(at, "side", 0, side_word, N_SIDES, "a side", &l->side) ||
        !get_word(at, "state", 0, state_word, LIFE_CLOSED + 1, "a state", &l->state))
        return false;
    if (l->side != side) return complain(at->r, "id", "an id of its side", field(at, "id"));
    l->opaque = l->state == LIFE_OPAQUE;
    return get_bool(at, "opaque", 0, &l->opaque) && get_endpoint(at, "local", &l->flow.local) &&
           get_endpoint(at, "remote", &l->flow.remote);
}

static bool read_key(const struct at *at) {
    struct at key = *at;
    const char *scheme = "", *addr = "", *proxy = "";
    if (!get_object(at, "key", &key.object)) return false;
    if (!key.object) return true;
    if (!get_text(&key, "key.scheme", &scheme) || !get_text(&key, "key.host", &addr) ||
        !get_text(&key, "key.proxy", &proxy))
        return false;
    at->life->key = intern_key(at->r->texts, scheme, addr, proxy);
    return true;
}

static bool read_client(const struct at *at) {
    struct at client = *at;
    const char *tag = "", *user_agent = "", *comm = NULL;
    uint64_t recv_q = UNKNOWN_BYTES;
    uint32_t pid = 0;
    if (!get_object(at, "client", &client.object)) return false;
    if (!client.object) return true;
    if (!get_text(&client, "client.tag", &tag) || !get_text(&client, "client.user_agent", &user_agent) ||
        !get_u32(&client, "client.pid", 0, &pid) || !get_text(&client, "client.comm", &comm) ||
        !get_u64(&client, "client.recv_q", 0, INT64_MAX, &recv_q))
        return false;
    const struct life_client *plain = intern_client(at->r->texts, tag, user_agent);
    at->life->client = intern_client_seen(at->r->texts, plain, pid, comm, recv_q);
    intern_drop_client(at->r->texts, plain);
    return true;
}

static bool read_tls(const struct at *at) {
    struct at tls = *at;
    const char *version = NULL, *cipher = NULL;
    if (!get_object(at, "tls", &tls.object)) return false;
    if (!tls.object) {
        at->life->known &= ~(uint32_t)KNOW_CLOSE_NOTIFY;
        return true;
    }
    if (!required(&tls, "tls.version") || !get_text(&tls, "tls.version", &version) ||
        !get_text(&tls, "tls.cipher", &cipher) ||
        !get_bool(&tls, "tls.close_notify", KNOW_CLOSE_NOTIFY, &at->life->close_notify))
        return false;
    at->life->tls_version = intern_name(at->r->texts, version);
    at->life->tls_cipher = cipher ? intern_name(at->r->texts, cipher) : NULL;
    return true;
}

/* The time that lies `span` behind `from`, a field's number; false where no time can say that. */
static bool add_span(const struct at *at, const char *path, int64_t from, int64_t span, int64_t *out) {
    return !__builtin_add_overflow(from, span, out) || complain(at->r, path, "a shorter time", field(at, path));
}

/* Durations are differences of times as written, so adding them up gives the
 * times again. closed_at is null while open: that the end was not seen is known
 * only from the state "closed". */
static bool read_times(const struct at *at, int64_t *seen_ns) {
    struct lifecycle *l = at->life;
    int64_t duration = -1, dial = 0, tls = 0;
    uint32_t end_bit = l->state == LIFE_CLOSED ? KNOW_CLOSED : 0;
    if (!get_time(at, "opened_at", KNOW_OPENED, &l->opened_ns) || !get_time(at, "closed_at", end_bit, &l->closed_ns) ||
        !get_ms(at, "duration_ms", 0, &duration) || !get_ms(at, "dial_ms", KNOW_DIAL, &dial) ||
        !get_ms(at, "tls_ms", 0, &tls) || !get_ms(at, "idle_ms", KNOW_IDLE, &l->idle_total_ns))
        return false;
    if (l->closed_ns && l->state != LIFE_CLOSED)
        return complain(at->r, "closed_at", "null while it is open", field(at, "closed_at"));
    if (l->opened_ns && field(at, "dial_ms") && !add_span(at, "dial_ms", l->opened_ns, dial, &l->dialed_ns))
        return false;
    if (l->dialed_ns && field(at, "tls_ms") && !add_span(at, "tls_ms", l->dialed_ns, tls, &l->tls_ns)) return false;
    *seen_ns = l->closed_ns;
    if (l->closed_ns || !l->opened_ns || duration < 0) return true;
    return add_span(at, "duration_ms", l->opened_ns, duration, seen_ns);
}

static bool read_counts(const struct at *at) {
    struct lifecycle *l = at->life;
    return get_u32(at, "requests", KNOW_REQUESTS, &l->requests) &&
           get_u32(at, "responses", KNOW_RESPONSES, &l->responses) && get_u32(at, "retries", 0, &l->retries) &&
           get_u32(at, "early_closes", KNOW_EARLY_CLOSES, &l->early_closes) &&
           get_u64(at, "bytes_in", KNOW_BYTES_IN, INT64_MAX, &l->bytes_in) &&
           get_u64(at, "bytes_out", KNOW_BYTES_OUT, INT64_MAX, &l->bytes_out) &&
           get_u64(at, "unread_bytes", KNOW_UNREAD, INT64_MAX, &l->unread_bytes) &&
           get_bool(at, "rst_sent", KNOW_RST_SENT, &l->rst_sent) &&
           get_bool(at, "rst_received", KNOW_RST_RECEIVED, &l->rst_received);
}

static bool read_last_body(const struct at *at) {
    struct at body = *at;
    struct lifecycle *l = at->life;
    if (!get_object(at, "last_body", &body.object)) return false;
    l->body_announced = UNKNOWN_BYTES;
    if (!body.object) {
        if (l->responses > 0 || !(l->known & KNOW_RESPONSES)) l->known &= ~(uint32_t)KNOW_BODY;
        return true;
    }
    return get_u64(&body, "last_body.announced", 0, INT64_MAX, &l->body_announced) &&
           get_u64(&body, "last_body.read", 0, INT64_MAX, &l->body_read) &&
           get_word(&body, "last_body.framing", 0, framing_word, FRAMING_UNTIL_EOF + 1, "a framing", &l->body_framing);
}

static bool read_close(const struct at *at) {
    struct at end = *at;
    struct lifecycle *l = at->life;
    if (!get_object(at, "close", &end.object)) return false;
    if (!get_word(&end, "close.by", KNOW_CLOSE, by_word, BY_REMOTE + 1, "local, remote or none", &l->close_by) ||
        !get_word(&end, "close.how", KNOW_CLOSE, how_word, HOW_RST + 1, "fin, rst or none", &l->close_how) ||
        !get_word(&end, "close.reason", KNOW_REASON, reason_word, N_REASONS, "a close reason", &l->close_reason) ||
        !get_word(&end, "close.phase", KNOW_PHASE, phase_word, PHASE_AFTER_BODY + 1, "a phase", &l->close_phase))
        return false;
    l->fin_received = l->close_by == BY_REMOTE && l->close_how == HOW_FIN;
    return true;
}

static bool read_evidence(const struct at *at, struct conn_record *out) {
    json_t *evidence;
    if (!get_object(at, "evidence", &evidence)) return false;
    if (!evidence || json_object_size(evidence) == 0) return true;
    out->evidence = json_dumps(evidence, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!out->evidence) abort();
    return true;
}

/* ---- events ---- */

static bool read_mark(const struct at *list, json_t *object, struct conn_mark *m) {
    struct at at = *list;
    uint64_t value = 0, status = 0;
    uint8_t reason = REASON_NONE;
    at.object = object;
    if (!json_is_object(object)) return complain(at.r, "events", "objects", object);
    if (!required(&at, "events.at") || !required(&at, "events.event") || !get_time(&at, "events.at", 0, &m->at_ns) ||
        !get_word(&at, "events.event", 0, event_word, N_EVENTS, "a kind of event", &m->kind) ||
        !get_u64(&at, "events.value", 0, UINT32_MAX, &value) || !get_u64(&at, "events.status", 0, 999, &status) ||
        !get_word(&at, "events.reason", 0, reason_word, N_REASONS, "a close reason", &reason))
        return false;
    m->value = json_is_null(json_object_get(object, "value")) ? UINT32_MAX : (uint32_t)value;
    m->code = m->kind == EV_ENDED ? reason : (uint16_t)status;
    return true;
}

/* More than a life keeps are dropped where a life drops them: behind its first. */
static bool read_events(const struct at *at) {
    struct lifecycle *l = at->life;
    json_t *list = field(at, "events");
    if (!list) return true;
    if (!json_is_array(list)) return complain(at->r, "events", "a list", list);
    size_t n = json_array_size(list), surplus = n > MARKS_MAX ? n - MARKS_MAX : 0;
    if (!get_u32(at, "events_dropped", 0, &l->marks_dropped)) return false;
    l->marks_dropped += (uint32_t)surplus;
    if (n == 0) return true;
    l->marks = calloc(n - surplus, sizeof(*l->marks));
    if (!l->marks) abort();
    l->n_marks = l->marks_room = (uint16_t)(n - surplus);
    for (unsigned i = 0; i < l->n_marks; i++)
        if (!read_mark(at, json_array_get(list, i < MARKS_HEAD ? i : i + surplus), &l->marks[i])) return false;
    return true;
}

/* ---- the record ---- */

static bool read_record(struct conn_reader *r, json_t *object, struct conn_record *out) {
    struct at at = {.r = r, .object = object, .life = &out->life};
    out->life.known = KNOW_ALL;
    return read_identity(&at) && read_key(&at) && read_client(&at) && read_tls(&at) && read_times(&at, &out->seen_ns) &&
           read_counts(&at) && get_u32(&at, "reused", 0, &out->reused) && read_last_body(&at) && read_close(&at) &&
           read_evidence(&at, out) && read_events(&at);
}

static bool is_blank(const char *line, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", line[i]) || !line[i]) return false;
    return true;
}

static enum conn_read read_object(struct conn_reader *r, json_t *object, struct conn_record *out) {
    struct conn_record rec = {0};
    const char *schema = json_string_value(json_object_get(object, "schema"));
    if (!schema) {
        complain(r, "schema", "\"connleak.conn/1\"", json_object_get(object, "schema"));
        return CONN_READ_ERROR;
    }
    if (strcmp(schema, "connleak.conn/1")) return CONN_READ_OTHER;
    if (!read_record(r, object, &rec)) {
        conn_record_clear(&rec);
        return CONN_READ_ERROR;
    }
    *out = rec;
    return CONN_READ_OK;
}

enum conn_read conn_read(struct conn_reader *r, const char *line, size_t len, struct conn_record *out) {
    json_error_t error;
    r->line++;
    if (is_blank(line, len)) return CONN_READ_BLANK;
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        snprintf(r->error, sizeof(r->error), "line %llu: column %d: not JSON: %.160s", (unsigned long long)r->line,
                 error.column, error.text);
        make_error_plain(r);
        return CONN_READ_ERROR;
    }
    enum conn_read result = read_object(r, object, out);
    json_decref(object);
    return result;
}
