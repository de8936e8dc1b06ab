/* GET /whatif: the requests of the last minutes through the pool's own code on a virtual
 * clock, with other limits; a slice a turn, beside the traffic. */
#include "answers.h"
#include "conf.h"
#include "core/idmap.h"
#include "record/whatif_json.h"
#include "whatif/job.h"

#include <stdlib.h>

/* What the loop is kept from its other work for: some hundreds of microseconds. */
#define SLICE_LOOKS 500  /* records and requests, each a cache miss or two */
#define SLICE_STEPS 1000 /* of a run */

enum whatif_state {
    BEGIN,
    TAKE_REQUESTS, /* those that are over, from ledger_recent */
    TAKE_CLOSED,   /* connections that carried none of them: they were dialed, too */
    TAKE_OPEN,     /* those that are open, and the requests that they carry */
    RUN,
};

struct whatif_walk {
    const struct admin_env *env;
    unsigned *running; /* walks that there are; ours is one */
    enum whatif_state state;
    struct virtual_conf base;
    struct sweep sweep;
    bool advise;

    struct workload *w; /* until the job has it; times are the monotonic clock's */
    struct idmap rows;  /* connection: its row + 1 */
    int64_t from, now;  /* the window */
    uint64_t seq, end;  /* of requests, then of closed records */
    conn_id after, newest;
    struct whatif_job *job;
};

static const struct workload_limits most = WORKLOAD_LIMITS_DEFAULT;

/* ---- what there is to look at ---- */

static void note_row(struct whatif_walk *w, conn_id id) {
    idmap_put(&w->rows, id, (void *)(uintptr_t)w->w->n_conns); /* NOLINT(performance-no-int-to-ptr) */
}

/* The row of a connection; one whose record has left memory has neither key nor end. */
static uint32_t row_of(struct whatif_walk *w, conn_id id) {
    uintptr_t row = (uintptr_t)idmap_get(&w->rows, id);
    const struct lifecycle *l;

    if (row) return (uint32_t)(row - 1);
    l = ledger_find(w->env->ledger, SIDE_UPSTREAM, id);
    if (!(l ? workload_add_conn_of(w->w, l) : workload_add_conn(w->w) != NULL)) return WORKLOAD_NO;
    w->w->conns[w->w->n_conns - 1].id = id;
    note_row(w, id);
    return w->w->n_conns - 1;
}

static uint64_t bytes_of(uint32_t n) {
    return n == UINT32_MAX ? UNKNOWN_BYTES : n;
}

static void add_exchange(struct whatif_walk *w, const struct recent_exchange *e) {
    uint32_t conn = row_of(w, e->conn);
    struct workload_exchange *x = conn == WORKLOAD_NO ? NULL : workload_add_exchange(w->w);

    if (!x) return;
    x->conn = conn;
    x->origin = w->w->conns[conn].origin;
    x->at_ns = e->at_ns;
    x->waited_ns = e->waited_ns;
    x->done_ns = e->done_ns < 0 ? NO_TIME : e->done_ns;
    x->first_ns = e->first_us == UINT32_MAX ? NO_TIME : USEC(e->first_us);
    x->announced = bytes_of(e->announced);
    x->body = e->body == UINT32_MAX ? 0 : e->body;
    x->status = e->status;
    x->framing = e->announced == UINT32_MAX ? FRAMING_CHUNKED : FRAMING_LENGTH;
    x->end = e->end;
    if (e->retried) x->flags |= WX_RETRIED;
}

static void begin(struct whatif_walk *w) {
    const struct recent *r = ledger_recent(w->env->ledger);
    const struct recent_exchange *oldest = recent_get(r, recent_first(r));

    w->w = workload_new(&most);
    w->w->observer = OBSERVER_DAEMON;
    w->w->arrivals = ARRIVALS_WANTED;
    w->now = w->env->now(w->env->arg);
    w->seq = recent_first(r);
    w->end = recent_next(r);
    /* Where some are gone, what is held is all that ended since the oldest one did. */
    w->from = w->seq > 0 && oldest ? oldest->at_ns + oldest->done_ns : w->env->started;
}

static enum whatif_state take_requests(struct whatif_walk *w) {
    const struct recent *r = ledger_recent(w->env->ledger);

    for (unsigned i = 0; i < SLICE_LOOKS && w->seq < w->end; i++, w->seq++) {
        const struct recent_exchange *x = recent_get(r, w->seq);
        if (x) add_exchange(w, x); /* else it left memory meanwhile, and the window is shorter by it */
    }
    if (w->seq < w->end) return TAKE_REQUESTS;
    w->seq = ledger_first_closed(w->env->ledger);
    w->end = ledger_next_closed(w->env->ledger);
    return TAKE_CLOSED;
}

static enum whatif_state take_closed(struct whatif_walk *w) {
    const struct lifecycle *newest;

    for (unsigned i = 0; i < SLICE_LOOKS && w->seq < w->end; i++, w->seq++) {
        const struct lifecycle *l = ledger_closed(w->env->ledger, w->seq);
        if (!l || l->side != SIDE_UPSTREAM || l->opaque || l->opened_ns < w->from || idmap_get(&w->rows, l->id))
            continue;
        row_of(w, l->id);
    }
    if (w->seq < w->end) return TAKE_CLOSED;
    newest = ledger_open_before(w->env->ledger, SIDE_UPSTREAM, UINT64_MAX);
    w->newest = newest ? newest->id : 0;
    return TAKE_OPEN;
}

static enum whatif_state take_open(struct whatif_walk *w) {
    for (unsigned i = 0; i < SLICE_LOOKS; i++) {
        const struct lifecycle *l = ledger_open_after(w->env->ledger, SIDE_UPSTREAM, w->after);
        struct recent_exchange x;
        if (!l || l->id > w->newest) return RUN;
        w->after = l->id;
        if (l->opaque || l->opened_ns > w->now) continue;
        row_of(w, l->id);
        if (l->state == LIFE_ACTIVE && recent_of(l, &x) && x.end == END_OPEN && x.at_ns <= w->now) add_exchange(w, &x);
    }
    return TAKE_OPEN;
}

/* ---- the window: what was before it counts as there already ---- */

static void cut_conns(struct whatif_walk *w) {
    for (uint32_t i = 0; i < w->w->n_conns; i++) {
        struct workload_conn *c = &w->w->conns[i];
        bool gone = c->opened_ns == 0;
        c->side = SIDE_UPSTREAM;
        if (c->opened_ns < w->from) c->flags &= (uint8_t)~WCONN_OPENED;
        if (c->closed_ns != NO_TIME && c->closed_ns > w->now) c->closed_ns = NO_TIME;
        if (gone || c->opened_ns < w->from) c->opened_ns = w->from;
    }
}

static void cut_exchanges(struct whatif_walk *w) {
    for (uint32_t i = 0; i < w->w->n_exchanges; i++) {
        struct workload_exchange *x = &w->w->exchanges[i];
        int64_t late = w->from - x->at_ns;
        if (late <= 0) continue;
        x->at_ns += late;
        x->waited_ns = x->waited_ns > late ? x->waited_ns - late : 0;
        if (x->done_ns != NO_TIME) x->done_ns = x->done_ns > late ? x->done_ns - late : 0;
        if (x->first_ns != NO_TIME) x->first_ns = x->first_ns > late ? x->first_ns - late : 0;
    }
}

/* The newest exchange of a connection has what its record says of its end. */
static void tell_ends(struct workload *w) {
    bool *told = calloc((size_t)w->n_conns + 1, sizeof *told);

    if (!told) abort();
    for (uint32_t i = w->n_exchanges; i-- > 0;) {
        struct workload_exchange *x = &w->exchanges[i];
        struct workload_conn *c = &w->conns[x->conn];
        if (told[x->conn] || x->done_ns == NO_TIME) continue;
        told[x->conn] = true;
        if (c->closed_ns == NO_TIME || x->end != END_COMPLETE) continue;
        if (c->close_phase == PHASE_IDLE) c->idle_ns = workload_after(c->closed_ns, x->at_ns + x->done_ns);
        if (c->close_reason == REASON_RESPONSE_CLOSE) x->flags |= WX_RESPONSE_CLOSE;
        if (c->close_reason == REASON_REQUEST_CLOSE) x->flags |= WX_REQUEST_CLOSE;
        if (c->close_reason == REASON_UNTIL_EOF) x->framing = FRAMING_UNTIL_EOF;
    }
    free(told);
}

/* The one step that is not cut up: sorting takes some 10 ms for the 65,536 requests that are held. */
static void begin_job(struct whatif_walk *w) {
    cut_conns(w);
    cut_exchanges(w);
    for (uint32_t i = 0; i < w->w->n_exchanges; i++) w->w->conns[w->w->exchanges[i].conn].requests = 0;
    for (uint32_t i = 0; i < w->w->n_exchanges; i++) w->w->conns[w->w->exchanges[i].conn].requests++;
    workload_begin(w->w, w->from, w->now);
    w->w->began_ns += w->env->to_wall_ns;
    tell_ends(w->w);
    w->job = whatif_job_new(w->w, &w->base, &w->sweep, w->advise);
    w->w = NULL;
    idmap_clear(&w->rows);
}

/* ---- the answer ---- */

static enum web_more whatif_more(void *state, struct json_out *out) {
    struct whatif_walk *w = state;

    switch (w->state) {
    case BEGIN:
        begin(w);
        w->state = TAKE_REQUESTS;
        break;
    case TAKE_REQUESTS:
        w->state = take_requests(w);
        break;
    case TAKE_CLOSED:
        w->state = take_closed(w);
        break;
    case TAKE_OPEN:
        w->state = take_open(w);
        break;
    case RUN:
        if (!w->job) {
            begin_job(w);
        } else if (!whatif_job_run(w->job, SLICE_STEPS)) {
            whatif_json(out, w->job, NULL);
            return WEB_LAST;
        }
        break;
    }
    return WEB_MORE;
}

static void whatif_end(void *state) {
    struct whatif_walk *w = state;

    --*w->running;
    whatif_job_free(&w->job);
    workload_free(&w->w);
    idmap_clear(&w->rows);
    free(w);
}

struct list_stream whatif_stream(const struct admin_env *env, const struct sweep *sweep, bool advise,
                                 unsigned *running) {
    struct whatif_walk *w = calloc(1, sizeof *w);

    if (!w) abort();
    w->env = env;
    w->running = running;
    ++*running;
    w->base = settings_default();
    conf_pool(env->conf, &w->base.pool);
    w->sweep = *sweep;
    w->advise = advise;
    return (struct list_stream){whatif_more, whatif_end, w};
}
