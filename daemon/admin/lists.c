/* The lists of connections and pools. Each remembers by ids and sequence numbers how far it has come,
 * never by pointer: between two slices records open, close and leave memory. */
#include "answers.h"
#include "conf.h"
#include "record/conn_json.h"

#include <stdlib.h>
#include <string.h>

/* One slice: what the loop is kept from its other work for (some 50 us), and what a
 * reader that does not read keeps in memory. */
#define SLICE_RECORDS 200
#define SLICE_LOOKS   500 /* records looked at, passed over or not: each is a cache miss */
#define SLICE_BYTES   (32 * 1024)

struct slice {
    unsigned records, looks;
};

static bool slice_full(const struct slice *s, const struct json_out *out) {
    return s->records >= SLICE_RECORDS || s->looks >= SLICE_LOOKS || out->len >= SLICE_BYTES;
}

static struct conn_json as_json(const struct admin_env *env) {
    return (struct conn_json){.to_wall_ns = env->to_wall_ns, .now_ns = env->now(env->arg)};
}

/* --- /ledger -------------------------------------------------------------- */

struct ledger_walk {
    const struct admin_env *env;
    bool begun, events;
    uint64_t seq;            /* the closed record to look at next */
    uint64_t end;            /* those before it were closed when the walk began */
    conn_id after[N_SIDES];  /* open ones up to here are written */
    conn_id newest[N_SIDES]; /* those behind it opened after the walk began */
};

static const enum side ledger_sides[] = {SIDE_UPSTREAM, SIDE_DOWNSTREAM};
#define N_LEDGER_SIDES (sizeof ledger_sides / sizeof *ledger_sides)

static void ledger_begin(struct ledger_walk *w) {
    const struct ledger *l = w->env->ledger;
    w->begun = true;
    w->seq = ledger_first_closed(l);
    w->end = ledger_next_closed(l);
    for (size_t i = 0; i < N_LEDGER_SIDES; i++) {
        const struct lifecycle *newest = ledger_open_before(l, ledger_sides[i], UINT64_MAX);
        w->newest[ledger_sides[i]] = newest ? newest->id : 0;
    }
}

/* Closed since the walk began: is it owed still, or too new, or written while it was open? */
static bool is_owed(const struct ledger_walk *w, const struct lifecycle *life) {
    return w->seq < w->end || (life->id <= w->newest[life->side] && life->id > w->after[life->side]);
}

static const struct lifecycle *next_open(struct ledger_walk *w) {
    for (size_t i = 0; i < N_LEDGER_SIDES; i++) {
        enum side side = ledger_sides[i];
        const struct lifecycle *life = ledger_open_after(w->env->ledger, side, w->after[side]);
        if (life && life->id <= w->newest[side]) {
            w->after[side] = life->id;
            return life;
        }
    }
    return NULL;
}

static enum web_more ledger_more(void *state, struct json_out *out) {
    struct ledger_walk *w = state;
    struct conn_json how = as_json(w->env);
    struct slice slice = {0};
    how.events = w->events;
    if (!w->begun) ledger_begin(w);
    for (; !slice_full(&slice, out); slice.looks++) {
        const struct lifecycle *life;
        if (w->seq < ledger_next_closed(w->env->ledger)) {
            life = ledger_closed(w->env->ledger, w->seq);
            if (!life) return WEB_ABORT; /* it left memory before its turn came */
            bool owed = is_owed(w, life);
            w->seq++;
            if (!owed) continue;
        } else {
            life = next_open(w);
            if (!life) return WEB_LAST;
        }
        conn_json(out, life, &how);
        jo_line(out);
        slice.records++;
    }
    return WEB_MORE;
}

struct list_stream ledger_stream(const struct admin_env *env, bool events) {
    struct ledger_walk *w = calloc(1, sizeof *w);
    if (!w) abort();
    w->env = env;
    w->events = events;
    return (struct list_stream){ledger_more, free, w};
}

/* --- /pools --------------------------------------------------------------- */

struct pools_walk {
    const struct admin_env *env;
    bool begun;
    uint64_t after;
};

static void write_limit(struct json_out *o, bool limited, int limit) {
    if (limited)
        jo_i64(o, limit < 0 ? 0 : limit);
    else
        jo_null(o);
}

static void write_or_null(struct json_out *o, uint64_t n) {
    if (n)
        jo_u64(o, n);
    else
        jo_null(o);
}

/* What the rules have seen of the origin; null where they have not. */
static void write_learned(struct json_out *o, const struct findings *f, const char *addr) {
    struct origin_facts facts = {0};
    if (f) findings_origin(f, addr, &facts);
    JO_KEY(o, "learned");
    jo_object(o);
    JO_KEY(o, "idle_timeout_ms");
    if (facts.idle_timeout_ns)
        jo_ms(o, facts.idle_timeout_ns);
    else
        jo_null(o);
    JO_KEY(o, "idle_timeout_observations"), jo_u64(o, facts.idle_observations);
    JO_KEY(o, "peak_active"), write_or_null(o, facts.peak_active);
    JO_KEY(o, "sufficient_idle"), write_or_null(o, facts.sufficient_idle);
    jo_object_end(o);
}

static void write_pool_row(struct json_out *o, const struct pool_row *row, const struct pool_conf *conf,
                           const struct findings *findings, mono_ns now) {
    bool direct = row->key.proxy[0] == '\0';
    jo_object(o);
    JO_KEY(o, "key");
    jo_object(o);
    JO_KEY(o, "scheme"), jo_str(o, row->key.scheme);
    JO_KEY(o, "host"), jo_str(o, row->key.addr);
    JO_KEY(o, "proxy"), jo_str(o, direct ? NULL : row->key.proxy);
    jo_object_end(o);
    JO_KEY(o, "open"), jo_u64(o, (uint64_t)row->now.idle + row->now.active + row->now.dialing);
    JO_KEY(o, "idle"), jo_u64(o, row->now.idle);
    JO_KEY(o, "active"), jo_u64(o, row->now.active);
    JO_KEY(o, "dialing"), jo_u64(o, row->now.dialing);
    JO_KEY(o, "waiting"), jo_u64(o, row->now.waiting);
    JO_KEY(o, "oldest_wait_ms");
    if (row->oldest_wait == NEVER)
        jo_null(o);
    else
        jo_ms(o, now - row->oldest_wait);
    JO_KEY(o, "peak_open"), jo_u64(o, row->peak.open);
    JO_KEY(o, "peak_idle"), jo_u64(o, row->peak.idle);
    JO_KEY(o, "limits");
    jo_object(o);
    JO_KEY(o, "max_idle_conns_per_host"), write_limit(o, true, conf->max_idle_conns_per_host);
    JO_KEY(o, "max_conns_per_host"), write_limit(o, conf->max_conns_per_host > 0, conf->max_conns_per_host);
    jo_object_end(o);
    JO_KEY(o, "dials"), jo_u64(o, row->dials);
    JO_KEY(o, "gets"), jo_u64(o, row->gets);
    JO_KEY(o, "reuses"), jo_u64(o, row->reuses);
    JO_KEY(o, "reuse_ratio"), jo_ratio(o, row->reuses, row->gets);
    write_learned(o, findings, row->key.addr);
    jo_object_end(o);
}

static enum web_more pools_more(void *state, struct json_out *out) {
    struct pools_walk *w = state;
    struct pool_conf conf;
    struct pool_row row;
    struct slice slice = {0};
    mono_ns now = w->env->now(w->env->arg);
    conf_pool(w->env->conf, &conf);
    if (conf.max_idle_conns_per_host == 0) conf.max_idle_conns_per_host = 2; /* Go's DefaultMaxIdleConnsPerHost */
    if (!w->begun) {
        JO_PUT(out, "{\"pools\":[");
    } else {
        out->comma = true;
    }
    w->begun = true;
    while (!slice_full(&slice, out)) {
        if (!pool_next_bucket(w->env->pool, w->after, &row)) {
            JO_PUT(out, "]}\n");
            return WEB_LAST;
        }
        write_pool_row(out, &row, &conf, w->env->findings, now);
        w->after = row.seq;
        slice.records++;
    }
    return WEB_MORE;
}

struct list_stream pools_stream(const struct admin_env *env) {
    struct pools_walk *w = calloc(1, sizeof *w);
    if (!w) abort();
    w->env = env;
    return (struct list_stream){pools_more, free, w};
}

/* --- /connections --------------------------------------------------------- */

/* How far a walk has come: while `in_open`, open lives with ids below before[side]
 * are still to come, and then all closed ones; afterwards, closed ones with
 * sequence numbers below `seq`. A connection that closes between two pages can be
 * on both, first open, then closed; none is left out. */
struct position {
    bool in_open;
    conn_id before[2]; /* by side: upstream, downstream */
    uint64_t seq;
};

/* "o.UP.DOWN" or "c.SEQ". */
#define CURSOR_MAX 64

static bool parse_part(const char **s, uint64_t *n) {
    const char *p = *s;
    if (*p++ != '.' || *p < '0' || *p > '9') return false;
    for (*n = 0; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(*n, 10u, n) || __builtin_add_overflow(*n, (uint64_t)(*p - '0'), n)) return false;
    *s = p;
    return true;
}

static bool parse_cursor(const char *text, struct position *at) {
    const char *s = text + 1;
    *at = (struct position){.in_open = text[0] == 'o'};
    if (text[0] == 'o') return parse_part(&s, &at->before[0]) && parse_part(&s, &at->before[1]) && *s == '\0';
    return text[0] == 'c' && parse_part(&s, &at->seq) && *s == '\0';
}

static void write_cursor(struct json_out *o, const struct position *at) {
    char text[CURSOR_MAX];
    size_t n = 0;
    text[n++] = at->in_open ? 'o' : 'c';
    text[n++] = '.';
    n += text_u64(text + n, at->in_open ? at->before[0] : at->seq);
    if (at->in_open) {
        text[n++] = '.';
        n += text_u64(text + n, at->before[1]);
    }
    jo_strn(o, text, n);
}

struct conns_walk {
    const struct admin_env *env;
    struct conns_query query;
    char *key;
    struct position at;
    unsigned left;
    bool begun;
};

static bool parse_word(const char *value, const char *(*name)(unsigned), unsigned n, int *out) {
    for (unsigned i = 0; i < n; i++)
        if (strcmp(value, name(i)) == 0) {
            *out = (int)i;
            return true;
        }
    return false;
}

static const char *state_word(unsigned s) {
    return life_state_name((enum life_state)s);
}

static bool parse_limit(const char *value, unsigned *out) {
    unsigned n = 0;
    for (const char *p = value; *p; p++) {
        if (*p < '0' || *p > '9' || p - value > 4) return false;
        n = n * 10 + (unsigned)(*p - '0');
    }
    *out = n;
    return n >= 1 && n <= CONNS_LIMIT_MAX;
}

bool conns_query_set(struct conns_query *q, const char *name, const char *value, const char **expected) {
    struct position at;
    if (strcmp(name, "side") == 0) {
        *expected = "upstream or downstream";
        q->side = strcmp(value, "upstream") == 0 ? SIDE_UPSTREAM : SIDE_DOWNSTREAM;
        return q->side == SIDE_UPSTREAM || strcmp(value, "downstream") == 0;
    }
    if (strcmp(name, "state") == 0) {
        *expected = "dialing, active, idle, opaque, closed, or open for all but the closed ones";
        return parse_word(value, state_word, LIFE_CLOSED + 1, &q->state);
    }
    if (strcmp(name, "reason") == 0) {
        enum close_reason reason;
        *expected = "a close reason, such as early_close or idle_timeout";
        if (!close_reason_parse(value, &reason) || reason == REASON_NONE) return false;
        q->reason = (int)reason;
        return true;
    }
    if (strcmp(name, "key") == 0) {
        *expected = "host:port or scheme://host:port";
        q->key = value;
        return *value != '\0';
    }
    if (strcmp(name, "limit") == 0) {
        *expected = "a whole number from 1 to 1000";
        return parse_limit(value, &q->limit);
    }
    *expected = "the value of next in the page before";
    q->after = value;
    return parse_cursor(value, &at);
}

static bool has_key(const struct lifecycle *life, const char *want) {
    if (!life->key) return false;
    const char *sep = strstr(want, "://"), *addr = sep ? sep + 3 : want;
    size_t n = (size_t)(addr - want);
    if (sep && (strlen(life->key->scheme) != n - 3 || strncmp(want, life->key->scheme, n - 3) != 0)) return false;
    return strcmp(life->key->addr, addr) == 0;
}

static bool matches(const struct conns_query *q, const struct lifecycle *life) {
    if (q->side >= 0 && life->side != q->side) return false;
    if (q->state == LIFE_OPEN ? life->state == LIFE_CLOSED : q->state >= 0 && life->state != q->state) return false;
    if (q->reason >= 0 && (life->state != LIFE_CLOSED || life->close_reason != q->reason)) return false;
    return !q->key || has_key(life, q->key);
}

static bool wants_open(const struct conns_query *q) {
    return q->state != LIFE_CLOSED && q->reason < 0;
}
static bool wants_closed(const struct conns_query *q) {
    return q->state < 0 || q->state == LIFE_CLOSED;
}

/* The newer of the two sides' newest open lives that are still to come. */
static const struct lifecycle *newest_open(const struct conns_walk *w) {
    const struct lifecycle *up = NULL, *down = NULL;
    if (w->query.side != SIDE_DOWNSTREAM) up = ledger_open_before(w->env->ledger, SIDE_UPSTREAM, w->at.before[0]);
    if (w->query.side != SIDE_UPSTREAM) down = ledger_open_before(w->env->ledger, SIDE_DOWNSTREAM, w->at.before[1]);
    if (!up || !down) return up ? up : down;
    return up->opened_ns >= down->opened_ns ? up : down;
}

/* The next record of all, whether it matches or not, and the position behind it. */
static const struct lifecycle *next_conn(const struct conns_walk *w, struct position *behind) {
    *behind = w->at;
    if (behind->in_open) {
        const struct lifecycle *life = wants_open(&w->query) ? newest_open(w) : NULL;
        if (life) {
            behind->before[life->side == SIDE_DOWNSTREAM] = life->id;
            return life;
        }
        *behind = (struct position){.seq = ledger_next_closed(w->env->ledger)};
    }
    if (!wants_closed(&w->query) || behind->seq <= ledger_first_closed(w->env->ledger)) return NULL;
    behind->seq--;
    return ledger_closed(w->env->ledger, behind->seq);
}

static enum web_more conns_end(struct json_out *out, const struct position *next) {
    JO_PUT(out, "],\"next\":");
    out->comma = false;
    if (next)
        write_cursor(out, next);
    else
        jo_null(out);
    JO_PUT(out, "}\n");
    return WEB_LAST;
}

static enum web_more conns_more(void *state, struct json_out *out) {
    struct conns_walk *w = state;
    struct conn_json how = as_json(w->env);
    struct slice slice = {0};
    if (!w->begun) JO_PUT(out, "{\"connections\":[");
    w->begun = true;
    out->comma = w->left < w->query.limit;
    for (; !slice_full(&slice, out); slice.looks++) {
        struct position behind;
        const struct lifecycle *life = next_conn(w, &behind);
        if (!life) return conns_end(out, NULL);
        if (matches(&w->query, life)) {
            if (w->left == 0) return conns_end(out, &w->at); /* there is a next page, and this is its first */
            conn_json(out, life, &how);
            w->left--;
            slice.records++;
        }
        w->at = behind;
    }
    return WEB_MORE;
}

static void conns_free(void *state) {
    struct conns_walk *w = state;
    free(w->key);
    free(w);
}

struct list_stream conns_stream(const struct admin_env *env, const struct conns_query *q) {
    struct conns_walk *w = calloc(1, sizeof *w);
    if (!w) abort();
    *w = (struct conns_walk){.env = env, .query = *q, .left = q->limit};
    w->at = (struct position){.in_open = true, .before = {UINT64_MAX, UINT64_MAX}};
    if (q->after) parse_cursor(q->after, &w->at);
    if (q->key && !(w->key = strdup(q->key))) abort();
    w->query.key = w->key;
    w->query.after = NULL;
    return (struct list_stream){conns_more, conns_free, w};
}
