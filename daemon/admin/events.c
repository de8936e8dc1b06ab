#include "events.h"

#include "record/conn_json.h"
#include "record/finding_json.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LISTENERS_MAX 16

/* How far a listener may lag. */
#define CONNECTIONS_KEPT 4096
#define FINDINGS_KEPT    256

#define LOOKS_A_TURN 512 /* records looked at before the loop does other work */
#define SLICE_BYTES  (16 * 1024)
#define BEAT         ":\n\n" /* a comment: says that nothing happens, and finds readers that are gone */

enum happening_kind { CONNECTION_OPENED, CONNECTION_CLOSED, FINDING_RAISED, FINDING_CLEARED };

static const char *const event_names[] = {
    [CONNECTION_OPENED] = "connection_opened",
    [CONNECTION_CLOSED] = "connection_closed",
    [FINDING_RAISED] = "finding_raised",
    [FINDING_CLEARED] = "finding_cleared",
};

struct happening {
    int64_t at_ns;
    uint64_t id; /* of a connection or a finding */
    uint8_t kind, side, reason;
};

/* The newest `room` of all that happened; the i-th of all is at [i % room]. */
struct ring {
    struct happening *slots; /* NULL while nobody listens */
    size_t room;
    uint64_t next;
};

enum { OF_CONNECTIONS, OF_FINDINGS, N_RINGS };

struct events {
    const struct admin_env *env;
    struct ring rings[N_RINGS];
    struct event *look; /* the ledger has something new */
    uint64_t closed_seen;
    conn_id opened_seen[2];  /* by side: open lives up to here are told */
    uint64_t lost_by_ledger; /* closes whose records left memory before they were looked at, of all time */
    unsigned n_listeners, max_listeners;
    LIST_HEAD(, listener) listeners;
};

struct listener {
    struct events *events;
    struct web_conn *conn;
    unsigned wants;
    uint64_t at[N_RINGS];
    uint64_t lost_by_ledger; /* as far as it was told */
    mono_ns said;            /* when it last heard anything */
    bool begun;
    LIST_ENTRY(listener) link;
};

static const enum side told_sides[] = {SIDE_UPSTREAM, SIDE_DOWNSTREAM};
#define N_TOLD_SIDES (sizeof told_sides / sizeof *told_sides)

/* --- what happened -------------------------------------------------------- */

static void ring_start(struct ring *r, size_t room) {
    r->room = room;
    r->slots = calloc(room, sizeof *r->slots);
    if (!r->slots) abort();
}

static void ring_stop(struct ring *r) {
    free(r->slots);
    r->slots = NULL;
}

static void ring_add(struct ring *r, const struct happening *h) {
    r->slots[r->next++ % r->room] = *h;
}

static uint64_t ring_first(const struct ring *r) {
    return r->next > r->room ? r->next - r->room : 0;
}

static void wake_all(struct events *e) {
    struct listener *l;
    LIST_FOREACH (l, &e->listeners, link) web_wake(l->conn);
}

/* A closed record says of a connection that it opened, too, where nobody saw it open. */
static size_t tell_closed(struct events *e, const struct lifecycle *life, struct happening *out) {
    size_t n = 0;
    if (life->side != SIDE_UPSTREAM && life->side != SIDE_DOWNSTREAM) return 0;
    if (life->id > e->opened_seen[life->side])
        out[n++] =
            (struct happening){.at_ns = life->opened_ns, .id = life->id, .kind = CONNECTION_OPENED, .side = life->side};
    out[n++] = (struct happening){.at_ns = life->closed_ns,
                                  .id = life->id,
                                  .kind = CONNECTION_CLOSED,
                                  .side = life->side,
                                  .reason = life->close_reason};
    return n;
}

static size_t look_at_closed(struct events *e, struct happening *out, size_t most) {
    const struct ledger *l = e->env->ledger;
    size_t n = 0;
    uint64_t first = ledger_first_closed(l);
    if (e->closed_seen < first) {
        e->lost_by_ledger += first - e->closed_seen;
        e->closed_seen = first;
    }
    while (n + 2 <= most && e->closed_seen < ledger_next_closed(l))
        n += tell_closed(e, ledger_closed(l, e->closed_seen++), out + n);
    return n;
}

static size_t look_at_open(struct events *e, struct happening *out, size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < N_TOLD_SIDES; i++) {
        enum side side = told_sides[i];
        const struct lifecycle *life;
        while (n < most && (life = ledger_open_after(e->env->ledger, side, e->opened_seen[side]))) {
            e->opened_seen[side] = life->id;
            out[n++] = (struct happening){
                .at_ns = life->opened_ns, .id = life->id, .kind = CONNECTION_OPENED, .side = (uint8_t)side};
        }
    }
    return n;
}

static int by_time(const void *a, const void *b) {
    const struct happening *x = a, *y = b;
    if (x->at_ns != y->at_ns) return x->at_ns < y->at_ns ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

static void on_look(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct events *e = arg;
    struct happening batch[LOOKS_A_TURN];
    size_t n = look_at_closed(e, batch, LOOKS_A_TURN);
    /* Open ones only when no closed one is left: a life is told closed by its record, and opened by whichever comes
     * first. */
    if (n + 2 <= LOOKS_A_TURN) n += look_at_open(e, batch + n, LOOKS_A_TURN - n);
    qsort(batch, n, sizeof *batch, by_time);
    for (size_t i = 0; i < n; i++) ring_add(&e->rings[OF_CONNECTIONS], &batch[i]);
    e->env->watch(e->env->arg, e->look);
    if (n + 2 > LOOKS_A_TURN) event_add(e->look, &(struct timeval){0, 0}); /* there may be more */
    wake_all(e);
}

void events_finding(struct events *e, const struct finding_change *change) {
    struct ring *r = &e->rings[OF_FINDINGS];
    if (!r->slots) return;
    ring_add(r, &(struct happening){.at_ns = e->env->now(e->env->arg),
                                    .id = change->id,
                                    .kind = change->raised ? FINDING_RAISED : FINDING_CLEARED});
    wake_all(e);
}

/* --- what is said of it --------------------------------------------------- */

/* What the ledger still knows of it; null where the record has left memory. */
static void put_connection(struct json_out *o, const struct events *e, const struct happening *h) {
    const struct lifecycle *life = ledger_find(e->env->ledger, (enum side)h->side, h->id);
    bool closed = h->kind == CONNECTION_CLOSED;
    char text[CONN_ID_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
    jo_object(o);
    JO_KEY(o, "at"), jo_time(o, h->at_ns + e->env->to_wall_ns);
    JO_KEY(o, "id"), jo_word(o, conn_id_text((enum side)h->side, h->id, text));
    JO_KEY(o, "side"), jo_word(o, side_name((enum side)h->side));
    JO_KEY(o, "remote");
    jo_word(o, life && life->flow.remote.family ? endpoint_text(&life->flow.remote, remote) : NULL);
    JO_KEY(o, "host"), jo_str(o, life && life->key && *life->key->addr ? life->key->addr : NULL);
    if (closed) {
        JO_KEY(o, "reason"), jo_word(o, close_reason_name((enum close_reason)h->reason));
        JO_KEY(o, "requests");
        if (life)
            jo_u64(o, life->requests);
        else
            jo_null(o);
        JO_KEY(o, "duration_ms");
        if (life)
            jo_ms(o, h->at_ns - life->opened_ns);
        else
            jo_null(o);
    }
    jo_object_end(o);
}

/* The finding as it stands now; its id alone where it is forgotten already. */
static void put_finding(struct json_out *o, const struct events *e, const struct happening *h) {
    const struct finding *fi = e->env->findings ? findings_find(e->env->findings, h->id) : NULL;
    char text[FINDING_ID_TEXT_MAX];
    if (fi) {
        finding_json(o, fi, e->env->to_wall_ns);
        return;
    }
    jo_object(o);
    JO_KEY(o, "id"), jo_word(o, finding_id_text(h->id, text));
    jo_object_end(o);
}

/* JSON has no line ends of its own, so that one data line is enough. */
static void begin_event(struct json_out *o, const char *name) {
    JO_PUT(o, "event: ");
    jo_put(o, name, strlen(name));
    JO_PUT(o, "\ndata: ");
    o->comma = false;
}

static void end_event(struct json_out *o) {
    JO_PUT(o, "\n\n");
    o->comma = false;
}

static void put_happening(struct json_out *o, const struct events *e, const struct happening *h) {
    begin_event(o, event_names[h->kind]);
    if (h->kind == CONNECTION_OPENED || h->kind == CONNECTION_CLOSED)
        put_connection(o, e, h);
    else
        put_finding(o, e, h);
    end_event(o);
}

/* Goes on where memory goes on. */
static uint64_t overtake(struct listener *l, unsigned ring) {
    uint64_t first = ring_first(&l->events->rings[ring]), lost = first > l->at[ring] ? first - l->at[ring] : 0;
    l->at[ring] += lost;
    return l->wants >> ring & 1 ? lost : 0;
}

static void put_lost(struct json_out *o, struct listener *l) {
    struct events *e = l->events;
    uint64_t connections = overtake(l, OF_CONNECTIONS), findings = overtake(l, OF_FINDINGS);
    if (l->wants & EVENTS_CONNECTIONS) connections += e->lost_by_ledger - l->lost_by_ledger;
    l->lost_by_ledger = e->lost_by_ledger;
    if (!connections && !findings) return;
    begin_event(o, "lost");
    jo_object(o);
    JO_KEY(o, "connections"), jo_u64(o, connections);
    JO_KEY(o, "findings"), jo_u64(o, findings);
    jo_object_end(o);
    end_event(o);
}

/* The older of what the rings have next for it; NULL: it has heard all. */
static const struct happening *next_for(struct listener *l) {
    const struct happening *oldest = NULL;
    unsigned from = 0;
    for (unsigned i = 0; i < N_RINGS; i++) {
        const struct ring *r = &l->events->rings[i];
        if (!(l->wants >> i & 1)) l->at[i] = r->next;
        if (l->at[i] == r->next) continue;
        const struct happening *h = &r->slots[l->at[i] % r->room];
        if (oldest && oldest->at_ns <= h->at_ns) continue;
        oldest = h;
        from = i;
    }
    if (oldest) l->at[from]++;
    return oldest;
}

static enum web_more listener_more(void *state, struct json_out *out) {
    struct listener *l = state;
    mono_ns now = l->events->env->now(l->events->env->arg);
    const struct happening *h = NULL;
    if (!l->begun) JO_PUT(out, ": connleakd " CONNLEAK_VERSION "\n\n");
    l->begun = true;
    put_lost(out, l);
    while (out->len < SLICE_BYTES && (h = next_for(l))) put_happening(out, l->events, h);
    if (!out->len && now - l->said >= WEB_BEAT / 2) JO_PUT(out, BEAT); /* half: the loop's clock is not quite ours */
    if (out->len) l->said = now;
    return h ? WEB_MORE : WEB_WAIT;
}

/* --- listeners ------------------------------------------------------------ */

/* What is open now is known from GET /connections. */
static void begin_listening(struct events *e) {
    ring_start(&e->rings[OF_CONNECTIONS], CONNECTIONS_KEPT);
    ring_start(&e->rings[OF_FINDINGS], FINDINGS_KEPT);
    e->closed_seen = ledger_next_closed(e->env->ledger);
    for (size_t i = 0; i < N_TOLD_SIDES; i++) {
        const struct lifecycle *newest = ledger_open_before(e->env->ledger, told_sides[i], UINT64_MAX);
        e->opened_seen[told_sides[i]] = newest ? newest->id : 0;
    }
    e->env->watch(e->env->arg, e->look);
}

static void end_listening(struct events *e) {
    e->env->watch(e->env->arg, NULL);
    event_del(e->look);
    for (unsigned i = 0; i < N_RINGS; i++) ring_stop(&e->rings[i]);
}

static void listener_end(void *state) {
    struct listener *l = state;
    struct events *e = l->events;
    LIST_REMOVE(l, link);
    free(l);
    if (--e->n_listeners == 0) end_listening(e);
}

bool events_answer(struct events *e, struct web_conn *c, enum events_class wants) {
    if (e->n_listeners >= e->max_listeners) return false;
    struct listener *l = calloc(1, sizeof *l);
    if (!l) abort();
    if (e->n_listeners++ == 0) begin_listening(e);
    *l = (struct listener){.events = e, .conn = c, .wants = wants, .lost_by_ledger = e->lost_by_ledger};
    for (unsigned i = 0; i < N_RINGS; i++) l->at[i] = e->rings[i].next;
    l->said = e->env->now(e->env->arg);
    LIST_INSERT_HEAD(&e->listeners, l, link);
    web_stream(c, "text/event-stream", listener_more, listener_end, l);
    return true;
}

struct events *events_new(struct event_base *base, const struct admin_env *env) {
    struct events *e = calloc(1, sizeof *e);
    if (!e) abort();
    e->env = env;
    e->max_listeners = env->limits.max_listeners ? env->limits.max_listeners : LISTENERS_MAX;
    e->look = event_new(base, -1, 0, on_look, e);
    if (!e->look) abort();
    LIST_INIT(&e->listeners);
    return e;
}

void events_free(struct events **ep) {
    struct events *e = *ep;
    *ep = NULL;
    if (!e) return;
    event_free(e->look);
    free(e);
}
