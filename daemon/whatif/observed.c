#include "observed.h"

#include <stdlib.h>
#include <string.h>

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* Something that changes how many connections there are, or are idle. */
struct change {
    int64_t at_ns;
    int8_t open, idle;
};

static int compare_changes(const void *a, const void *b) {
    const struct change *x = a, *y = b;

    if (x->at_ns != y->at_ns) return x->at_ns < y->at_ns ? -1 : 1;
    return x->open + x->idle - (y->open + y->idle); /* what ends comes before what begins */
}

struct changes {
    struct change *rows;
    size_t n;
};

static void add(struct changes *c, int64_t at_ns, int open, int idle) {
    c->rows[c->n++] = (struct change){at_ns, (int8_t)open, (int8_t)idle};
}

static void find_peaks(struct changes *c, struct whatif_row *row) {
    int64_t open = 0, idle = 0;

    qsort(c->rows, c->n, sizeof *c->rows, compare_changes);
    for (size_t i = 0; i < c->n; i++) {
        open += c->rows[i].open;
        idle += c->rows[i].idle;
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
            add(c, since[x->conn], 0, 1);
            add(c, got, 0, -1);
        }
        since[x->conn] = x->end == END_COMPLETE && x->done_ns != NO_TIME ? x->at_ns + x->done_ns : NO_TIME;
    }
    for (uint32_t i = 0; i < w->n_conns; i++) {
        int64_t closed = w->conns[i].closed_ns;
        if (since[i] == NO_TIME || (closed != NO_TIME && closed <= since[i])) continue;
        add(c, since[i], 0, 1);
        if (closed != NO_TIME) add(c, closed, 0, -1);
    }
    free(since);
}

/* ---- closes ---- */

static int compare_times(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static uint64_t peak_time_wait(int64_t *at, size_t n) {
    struct time_wait t = {0};
    uint64_t peak;

    qsort(at, n, sizeof *at, compare_times);
    for (size_t i = 0; i < n; i++) time_wait_add(&t, at[i]);
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
    int64_t *times[2] = {must_have(malloc(((size_t)w->n_conns + 1) * sizeof **times)),
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
        add(c, k->opened_ns, 1, 0);
        if (k->closed_ns == NO_TIME) continue;
        add(c, k->closed_ns, -1, 0);
        row->closes[demands_reason(d, i)]++;
        if (k->close_how != HOW_FIN || k->close_by == BY_NONE) continue;
        times[k->close_by == BY_REMOTE][n[k->close_by == BY_REMOTE]++] = k->closed_ns;
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
    struct changes c = {
        .rows = must_have(malloc((4 * (size_t)d->w->n_conns + 2 * (size_t)d->w->n_exchanges + 1) * sizeof *c.rows))};

    memset(row, 0, sizeof *row);
    count_conns(d, &c, row);
    idle_spells(d, &c);
    find_peaks(&c, row);
    count_exchanges(d, row);
    free(c.rows);
}
