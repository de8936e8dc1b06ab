#include "naive_pool.h"

#include <stdlib.h>
#include <string.h>

/* ---- finding things ---- */

static struct naive_conn *conn(struct naive *m, conn_id id) {
    for (int i = 0; i < m->n_conns; i++)
        if (m->conns[i].id == id && m->conns[i].state != PC_GONE) return &m->conns[i];
    return NULL;
}

static struct naive_want *want(struct naive *m, want_id id) {
    for (int i = 0; i < m->n_wants; i++)
        if (m->wants[i].id == id) return &m->wants[i];
    return NULL;
}

static bool still_waits(struct naive *m, want_id id) {
    struct naive_want *w = want(m, id);
    return w && w->waiting;
}

static int count(const struct naive *m, int key, enum pc_state state) {
    int n = 0;
    for (int i = 0; i < m->n_conns; i++) n += m->conns[i].state == state && (key < 0 || m->conns[i].key == key);
    return n;
}

/* The idle connection that came last (newest) or first, of one key or of any (-1). */
static struct naive_conn *idle(struct naive *m, int key, bool newest) {
    struct naive_conn *best = NULL;
    for (int i = 0; i < m->n_conns; i++) {
        struct naive_conn *c = &m->conns[i];
        if (c->state != PC_IDLE || (key >= 0 && c->key != key)) continue;
        if (!best || (c->idle_order > best->idle_order) == newest) best = c;
    }
    return best;
}

/* ---- actions ---- */

static struct pool_action *act(struct naive *m, enum pool_action_kind kind, conn_id c) {
    if (m->n_actions == NAIVE_MAX) abort();
    struct pool_action *a = &m->actions[m->n_actions++];
    *a = (struct pool_action){.kind = kind, .conn = c};
    return a;
}

static int find_answer(const struct naive *m, want_id w) {
    for (int i = 0; i < m->n_actions; i++)
        if (m->actions[i].want == w && (m->actions[i].kind == POOL_DELIVER || m->actions[i].kind == POOL_FAIL))
            return i;
    return -1;
}

static int find_delivery_of(const struct naive *m, conn_id c) {
    for (int i = 0; i < m->n_actions; i++)
        if (m->actions[i].conn == c && m->actions[i].kind == POOL_DELIVER) return i;
    return -1;
}

static void remove_action(struct naive *m, int i) {
    m->n_actions--;
    memmove(&m->actions[i], &m->actions[i + 1], (size_t)(m->n_actions - i) * sizeof *m->actions);
}

static void note_peaks(struct naive *m, int key, struct pool_peaks *peak) {
    unsigned n_idle = (unsigned)count(m, key, PC_IDLE);
    unsigned n_open = n_idle + (unsigned)(count(m, key, PC_ACTIVE) + count(m, key, PC_DIALING));
    if (n_idle > peak->idle) peak->idle = n_idle;
    if (n_open > peak->open) peak->open = n_open;
}

static void set_state(struct naive *m, struct naive_conn *c, enum pc_state to, enum close_reason why) {
    struct pool_action *a = act(m, POOL_MOVED, c->id);
    a->from = c->state;
    a->to = to;
    a->why = why;
    c->state = to;
    note_peaks(m, -1, &m->peak);
    note_peaks(m, c->key, &m->keys[c->key].peak);
}

/* ---- section 3.3: permission and dialing ---- */

static void dial(struct naive *m, want_id w) {
    struct naive_want *for_ = want(m, w);
    if (m->n_conns == NAIVE_MAX) abort();
    struct naive_conn *c = &m->conns[m->n_conns++];
    *c = (struct naive_conn){.id = (conn_id)m->n_conns, .key = for_->key, .state = PC_GONE, .dial_for = w};
    m->keys[c->key].dials++;
    set_state(m, c, PC_DIALING, REASON_NONE);
    act(m, POOL_DIAL, c->id)->want = w;
}

static want_id pop_dial_wait(struct naive *m, int key) {
    struct naive_key *k = &m->keys[key];
    while (k->n_dial_wait > 0) {
        want_id w = k->dial_wait[0];
        k->n_dial_wait--;
        memmove(k->dial_wait, k->dial_wait + 1, (size_t)k->n_dial_wait * sizeof *k->dial_wait);
        if (still_waits(m, w)) return w;
    }
    return 0;
}

/* R23: decConnsPerHost. */
static void release(struct naive *m, int key) {
    struct naive_key *k = &m->keys[key];
    if (m->conf.max_conns_per_host > 0 && k->conns_per_host > m->conf.max_conns_per_host) {
        k->conns_per_host--; /* the limit was lowered: this place is not passed on */
        return;
    }
    want_id w = pop_dial_wait(m, key);
    if (w)
        dial(m, w);
    else
        k->conns_per_host--;
}

/* R17. */
static void ask_to_dial(struct naive *m, struct naive_want *w) {
    struct naive_key *k = &m->keys[w->key];
    if (m->conf.max_conns_per_host <= 0 || k->conns_per_host < m->conf.max_conns_per_host) {
        k->conns_per_host++;
        dial(m, w->id);
    } else {
        k->dial_wait[k->n_dial_wait++] = w->id;
    }
}

static void gone(struct naive *m, struct naive_conn *c, enum close_reason why) {
    set_state(m, c, PC_GONE, why);
    c->dial_for = 0;
}

static void close_it(struct naive *m, struct naive_conn *c, enum close_reason why) {
    gone(m, c, why);
    act(m, POOL_CLOSE, c->id)->why = why;
    release(m, c->key);
}

/* ---- section 3.2: getting ---- */

static void deliver(struct naive *m, struct naive_want *w, struct naive_conn *c) {
    if (c->state != PC_ACTIVE) set_state(m, c, PC_ACTIVE, REASON_NONE);
    struct pool_action *a = act(m, POOL_DELIVER, c->id);
    a->want = w->id;
    a->reused = c->reused;
    w->waiting = false;
    m->keys[c->key].gets++;
    if (c->reused) m->keys[c->key].reuses++;
}

static bool has_a_dial(const struct naive *m, want_id w) {
    for (int i = 0; i < m->n_conns; i++)
        if (m->conns[i].state == PC_DIALING && m->conns[i].dial_for == w) return true;
    return false;
}

/* A want that asks anew stands at the end, wherever it lingered before. */
static int without(want_id *list, int n, want_id w) {
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (list[i] != w) list[kept++] = list[i];
    return kept;
}

static void get_conn(struct naive *m, struct naive_want *w, mono_ns now) {
    struct naive_key *k = &m->keys[w->key];

    k->n_idle_wait = without(k->idle_wait, k->n_idle_wait, w->id);
    k->n_dial_wait = without(k->dial_wait, k->n_dial_wait, w->id);
    w->waiting = true;
    w->since = now;
    if (!m->conf.disable_keep_alives) {
        m->close_idle = false;
        struct naive_conn *c;
        while ((c = idle(m, w->key, true))) {
            bool old = m->conf.idle_conn_timeout > 0 && now - c->idle_at > m->conf.idle_conn_timeout;
            if (!old) {
                deliver(m, w, c);
                return;
            }
            close_it(m, c, REASON_IDLE_TIMEOUT);
        }
        if (k->n_idle_wait == NAIVE_MAX) abort();
        k->idle_wait[k->n_idle_wait++] = w->id;
    }
    if (!has_a_dial(m, w->id)) ask_to_dial(m, w);
}

/* ---- section 4: returning ---- */

static struct naive_want *pop_idle_wait(struct naive *m, int key) {
    struct naive_key *k = &m->keys[key];
    while (k->n_idle_wait > 0) {
        want_id w = k->idle_wait[0];
        k->n_idle_wait--;
        memmove(k->idle_wait, k->idle_wait + 1, (size_t)k->n_idle_wait * sizeof *k->idle_wait);
        if (still_waits(m, w)) return want(m, w);
    }
    return NULL;
}

static void try_put_idle(struct naive *m, struct naive_conn *c, mono_ns now) {
    int per_host = m->conf.max_idle_conns_per_host;

    if (m->conf.disable_keep_alives || per_host < 0) {
        close_it(m, c, REASON_KEEPALIVES_DISABLED);
        return;
    }
    c->reused = true;
    struct naive_want *w = pop_idle_wait(m, c->key);
    if (w) {
        deliver(m, w, c);
        return;
    }
    if (m->close_idle) {
        close_it(m, c, REASON_CLOSE_IDLE_CONNS);
        return;
    }
    if (count(m, c->key, PC_IDLE) >= (per_host == 0 ? 2 : per_host)) {
        close_it(m, c, REASON_TOO_MANY_IDLE_HOST);
        return;
    }
    /* Go lists it, then evicts the oldest while there are too many. Seen from
     * outside, the one that goes is closed before the other is idle. */
    if (m->conf.max_idle_conns < 0) {
        close_it(m, c, REASON_TOO_MANY_IDLE);
        return;
    }
    while (m->conf.max_idle_conns > 0 && count(m, -1, PC_IDLE) + 1 > m->conf.max_idle_conns)
        close_it(m, idle(m, -1, false), REASON_TOO_MANY_IDLE);
    set_state(m, c, PC_IDLE, REASON_NONE);
    c->idle_order = ++m->idle_order;
    c->idle_at = now;
    c->timer = NEVER;
    if (m->conf.idle_conn_timeout > 0 && m->conf.idle_conn_timeout < NEVER - now)
        c->timer = now + m->conf.idle_conn_timeout;
}

/* ---- inputs ---- */

void naive_init(struct naive *m, const struct pool_conf *conf) {
    memset(m, 0, sizeof *m);
    m->conf = *conf;
}

/* Keys are in the order in which they were first asked for: that is the caller's care. */
void naive_set_conf(struct naive *m, const struct pool_conf *conf) {
    m->conf = *conf;
    for (int key = 0; key < NAIVE_KEYS; key++) {
        struct naive_key *k = &m->keys[key];
        want_id w;
        while ((conf->max_conns_per_host <= 0 || k->conns_per_host < conf->max_conns_per_host) &&
               (w = pop_dial_wait(m, key))) {
            k->conns_per_host++;
            dial(m, w);
        }
    }
}

void naive_ask(struct naive *m, want_id id, int key, mono_ns now) {
    if (m->n_wants == NAIVE_MAX) abort();
    struct naive_want *w = &m->wants[m->n_wants++];
    *w = (struct naive_want){.id = id, .key = key};
    get_conn(m, w, now);
}

void naive_cancel(struct naive *m, want_id id, mono_ns now) {
    struct naive_want *w = want(m, id);
    if (!w || w->over) return;
    w->waiting = false;
    w->over = true;
    int answer = find_answer(m, id);
    if (answer >= 0) { /* R28 */
        struct pool_action a = m->actions[answer];
        remove_action(m, answer);
        if (a.kind == POOL_DELIVER) {
            m->keys[w->key].gets--;
            if (a.reused) m->keys[w->key].reuses--;
            try_put_idle(m, conn(m, a.conn), now);
        }
    }
    for (int i = 0; i < m->n_conns; i++) {
        struct naive_conn *c = &m->conns[i];
        if (c->state != PC_DIALING || c->dial_for != id) continue;
        if (m->conf.profile == POOL_GO1_19)
            close_it(m, c, REASON_CANCELED); /* R29 */
        else
            c->dial_for = 0;
        return;
    }
}

void naive_dialed(struct naive *m, conn_id id, mono_ns now) {
    struct naive_conn *c = conn(m, id);
    if (!c || c->state != PC_DIALING) return;
    want_id w = c->dial_for;
    c->dial_for = 0;
    if (w && still_waits(m, w))
        deliver(m, want(m, w), c);
    else
        try_put_idle(m, c, now);
}

void naive_put(struct naive *m, conn_id id, mono_ns now) {
    struct naive_conn *c = conn(m, id);
    if (c && c->state == PC_ACTIVE && find_delivery_of(m, id) < 0) try_put_idle(m, c, now);
}

void naive_lost(struct naive *m, conn_id id, enum close_reason why, mono_ns now) {
    struct naive_conn *c = conn(m, id);
    if (!c) return;
    want_id dial_for = c->state == PC_DIALING ? c->dial_for : 0;
    int delivery = find_delivery_of(m, id);
    struct naive_want *again = NULL;

    if (delivery >= 0) {
        again = want(m, m->actions[delivery].want);
        m->keys[c->key].gets--;
        if (m->actions[delivery].reused) m->keys[c->key].reuses--;
        remove_action(m, delivery);
    }
    gone(m, c, why);
    if (dial_for && still_waits(m, dial_for)) { /* R20 */
        struct pool_action *a = act(m, POOL_FAIL, id);
        a->want = dial_for;
        a->why = why;
        want(m, dial_for)->waiting = false;
    }
    release(m, c->key);
    if (again) get_conn(m, again, now);
}

void naive_detach(struct naive *m, conn_id id) {
    struct naive_conn *c = conn(m, id);
    if (!c || c->state != PC_ACTIVE || find_delivery_of(m, id) >= 0) return;
    gone(m, c, REASON_UPGRADED);
    release(m, c->key);
}

void naive_close_idle(struct naive *m) {
    struct naive_conn *c;
    m->close_idle = true;
    while ((c = idle(m, -1, false))) close_it(m, c, REASON_CLOSE_IDLE_CONNS);
    if (m->conf.profile != POOL_GO1_27) return;
    for (int i = 0; i < m->n_conns; i++) {
        c = &m->conns[i];
        if (c->state == PC_DIALING && !still_waits(m, c->dial_for)) close_it(m, c, REASON_CLOSE_IDLE_CONNS);
    }
}

/* The longest idle first. */
void naive_tick(struct naive *m, mono_ns now) {
    for (unsigned order = 1; order <= m->idle_order; order++)
        for (int i = 0; i < m->n_conns; i++) {
            struct naive_conn *c = &m->conns[i];
            if (c->state == PC_IDLE && c->idle_order == order && c->timer <= now) close_it(m, c, REASON_IDLE_TIMEOUT);
        }
}

/* ---- what can be asked ---- */

bool naive_next_action(struct naive *m, struct pool_action *out) {
    if (m->n_actions == 0) return false;
    *out = m->actions[0];
    remove_action(m, 0);
    return true;
}

mono_ns naive_next_deadline(const struct naive *m) {
    mono_ns first = NEVER;
    for (int i = 0; i < m->n_conns; i++)
        if (m->conns[i].state == PC_IDLE && m->conns[i].timer < first) first = m->conns[i].timer;
    return first;
}

void naive_row(const struct naive *m, int key, struct pool_row *out) {
    const struct naive_key *k = &m->keys[key];
    *out = (struct pool_row){
        .dials = k->dials, .gets = k->gets, .reuses = k->reuses, .peak = k->peak, .oldest_wait = NEVER};
    out->now.idle = (unsigned)count(m, key, PC_IDLE);
    out->now.active = (unsigned)count(m, key, PC_ACTIVE);
    out->now.dialing = (unsigned)count(m, key, PC_DIALING);
    out->permits = m->conf.max_conns_per_host > 0 ? (unsigned)k->conns_per_host : 0;
    for (int i = 0; i < m->n_wants; i++) {
        const struct naive_want *w = &m->wants[i];
        if (!w->waiting || w->key != key) continue;
        out->now.waiting++;
        if (w->since < out->oldest_wait) out->oldest_wait = w->since;
    }
}

bool naive_is_reused(const struct naive *m, conn_id c) {
    for (int i = 0; i < m->n_conns; i++)
        if (m->conns[i].id == c && m->conns[i].state != PC_GONE) return m->conns[i].reused;
    return false;
}
