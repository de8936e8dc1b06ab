#include "observed.h"

#include "core/time_sort.h"

#include <stdlib.h>
#include <string.h>

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* Things that change how many connections there are, or are idle. Of one time, what ends comes
 * before what begins. */
enum change { CHANGE_CLOSED, CHANGE_IDLE_OVER, CHANGE_OPENED, CHANGE_IDLE };

struct changes {
    struct timed *rows[2]; /* ends, beginnings */
    size_t n[2];
};

static void add(struct changes *c, int64_t at_ns, enum change what) {
    bool begins = what >= CHANGE_OPENED;

    c->rows[begins][c->n[begins]++] = (struct timed){at_ns, what};
}

static void find_peaks(struct changes *c, struct whatif_row *row) {
    size_t n[2] = {0, 0};
    int64_t open = 0, idle = 0;

    for (int i = 0; i < 2; i++) time_sort(c->rows[i], c->n[i]);
    while (n[1] < c->n[1]) {
        bool begins = n[0] == c->n[0] || c->rows[1][n[1]].at_ns < c->rows[0][n[0]].at_ns;
        uint64_t what = c->rows[begins][n[begins]++].what;
        open += (what == CHANGE_OPENED) - (what == CHANGE_CLOSED);
        idle += (what == CHANGE_IDLE) - (what == CHANGE_IDLE_OVER);
        if (open > 0 && (uint64_t)open > row->peak_open) row->peak_open = (uint64_t)open;
        if (idle > 0 && (uint64_t)idle > row->peak_idle) row->peak_idle = (uint64_t)idle;
    }
}

/* ---- who is idle when: from one exchange's end to the next one's beginning ---- */

static void idle_spells(const struct demands *d, struct changes *c) {
    const struct workload *w = d->w;
    int64_t *since = must_have(malloc(((size_t)w->n_conns + 1) * sizeof *since));

    for (uint32_t i = 0; i < w->n_conns; i++) since[i] = NO_TIME;
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        int64_t got = x->at_ns + x->waited_ns;
        if (w->conns[x->conn].side != d->side) continue;
        if (since[x->conn] != NO_TIME && got > since[x->conn]) {
            add(c, since[x->conn], CHANGE_IDLE);
            add(c, got, CHANGE_IDLE_OVER);
        }
        since[x->conn] = x->end == END_COMPLETE && x->done_ns != NO_TIME ? x->at_ns + x->done_ns : NO_TIME;
    }
    for (uint32_t i = 0; i < w->n_conns; i++) {
        int64_t closed = w->conns[i].closed_ns;
        if (since[i] == NO_TIME || (closed != NO_TIME && closed <= since[i])) continue;
        add(c, since[i], CHANGE_IDLE);
        if (closed != NO_TIME) add(c, closed, CHANGE_IDLE_OVER);
    }
    free(since);
}

/* ---- closes ---- */

static uint64_t peak_time_wait(struct timed *at, size_t n) {
    struct time_wait t = {0};
    uint64_t peak;

    time_sort(at, n);
    for (size_t i = 0; i < n; i++) time_wait_add(&t, at[i].at_ns);
    peak = t.peak;
    time_wait_free(&t);
    return peak;
}

/* No connection came of it, and not because its request had found another one meanwhile. */
static bool failed_dial(const struct workload_conn *c) {
    return !(c->flags & WCONN_DIALED) && c->close_reason != REASON_CANCELED;
}

/* Nothing of what it carried is known, so that the model has nothing of it either. */
static bool cannot_be_seen(const struct demands *d, uint32_t conn) {
    return d->w->conns[conn].flags & (WCONN_OPAQUE | WCONN_PARTIAL) && d->conn_last[conn] == WORKLOAD_NO;
}

static void count_conns(const struct demands *d, struct changes *c, struct whatif_row *row) {
    const struct workload *w = d->w;
    struct timed *times[2] = {must_have(malloc(((size_t)w->n_conns + 1) * sizeof **times)),
                              must_have(malloc(((size_t)w->n_conns + 1) * sizeof **times))};
    size_t n[2] = {0, 0};

    for (uint32_t i = 0; i < w->n_conns; i++) {
        const struct workload_conn *k = &w->conns[i];
        if (k->side != d->side || failed_dial(k) || cannot_be_seen(d, i)) continue;
        if (k->flags & WCONN_OPENED)
            row->dials++;
        else
            row->standing++;
        if (k->flags & WCONN_TLS && k->flags & WCONN_OPENED && k->tls_ns != NO_TIME) row->tls_handshakes++;
        add(c, k->opened_ns, CHANGE_OPENED);
        if (k->closed_ns == NO_TIME) continue;
        add(c, k->closed_ns, CHANGE_CLOSED);
        row->closes[demands_reason(d, i)]++;
        if (k->close_how != HOW_FIN || k->close_by == BY_NONE) continue;
        times[k->close_by == BY_REMOTE][n[k->close_by == BY_REMOTE]++] = (struct timed){.at_ns = k->closed_ns};
    }
    row->time_wait_local = peak_time_wait(times[0], n[0]);
    row->time_wait_remote = peak_time_wait(times[1], n[1]);
    free(times[0]);
    free(times[1]);
}

static void count_exchanges(const struct demands *d, struct whatif_row *row) {
    const struct workload *w = d->w;
    bool *used = must_have(calloc((size_t)w->n_conns + 1, sizeof *used));

    row->waits_known = w->arrivals == ARRIVALS_WANTED;
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        if (w->conns[x->conn].side != d->side) continue;
        bool was_used = used[x->conn] || !(w->conns[x->conn].flags & WCONN_OPENED);
        used[x->conn] = true;
        if (x->flags & WX_RETRIED || x->origin == WORKLOAD_NO) continue;
        row->requests++;
        row->reused += was_used;
        histogram_add(&row->wait, (uint64_t)x->waited_ns);
    }
    free(used);
}

void observe(const struct demands *d, struct whatif_row *row) {
    size_t room = 2 * (size_t)d->w->n_conns + d->w->n_exchanges + 1;
    struct changes c = {{must_have(malloc(room * sizeof *c.rows[0])), must_have(malloc(room * sizeof *c.rows[1]))},
                        {0, 0}};

    memset(row, 0, sizeof *row);
    count_conns(d, &c, row);
    idle_spells(d, &c);
    find_peaks(&c, row);
    count_exchanges(d, row);
    free(c.rows[0]);
    free(c.rows[1]);
}
