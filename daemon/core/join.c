#include "join.h"

#include <stdlib.h>
#include <string.h>

/* Up to this many lives of one 4-tuple a side, all of them are weighed against
 * each other; beyond it only JOIN_NEAR neighbours in time on either side. */
#define JOIN_ALL  256
#define JOIN_NEAR 8

static void *must(void *p) {
    if (!p) abort();
    return p;
}

/* --- Order and time --------------------------------------------------------- */

static int by_flow_and_opened(const void *x, const void *y) {
    const struct join_life *a = x, *b = y;
    int order = flow_compare(&a->flow, &b->flow);

    if (order) return order;
    if (a->opened_ns != b->opened_ns) return a->opened_ns < b->opened_ns ? -1 : 1;
    return a->ref < b->ref ? -1 : a->ref > b->ref;
}

void join_sort(struct join_life *lives, size_t n) {
    if (n) qsort(lives, n, sizeof *lives, by_flow_and_opened);
}

/* Where the rows of the flow at rows[i] end. */
static size_t flow_end(const struct join_life *rows, size_t n, size_t i) {
    size_t end = i + 1;

    while (end < n && flow_equal(&rows[end].flow, &rows[i].flow)) end++;
    return end;
}

static int by_value(const void *x, const void *y) {
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return a < b ? -1 : a > b;
}

/* A step of the walk over both sides: the rows of one flow, either range may be empty. */
struct group {
    size_t a, a_end, b, b_end;
};

static bool next_group(const struct join_life *a, size_t na, const struct join_life *b, size_t nb, struct group *g) {
    size_t i = g->a_end, j = g->b_end;
    int order;

    if (i == na && j == nb) return false;
    order = i == na ? 1 : j == nb ? -1 : flow_compare(&a[i].flow, &b[j].flow);
    *g = (struct group){i, order <= 0 ? flow_end(a, na, i) : i, j, order >= 0 ? flow_end(b, nb, j) : j};
    return true;
}

/* Only flows that have as many lives on one side as on the other say anything;
 * a flow with a single life on each says it best. */
static size_t opened_differences(const struct join_life *a, size_t na, const struct join_life *b, size_t nb,
                                 bool single, int64_t *out) {
    struct group g = {0};
    size_t n = 0;

    while (next_group(a, na, b, nb, &g)) {
        size_t lives = g.a_end - g.a;

        if (lives != g.b_end - g.b || (single && lives != 1)) continue;
        for (size_t k = 0; k < lives; k++) {
            const struct join_life *x = a + g.a + k, *y = b + g.b + k;
            if (x->opened_known && y->opened_known) out[n++] = x->opened_ns - y->opened_ns;
        }
    }
    return n;
}

struct join_offset join_offset(const struct join_life *a, size_t na, const struct join_life *b, size_t nb) {
    struct join_offset o = {0};
    int64_t *diff = must(malloc(sizeof *diff * ((na < nb ? na : nb) + 1)));

    o.n = opened_differences(a, na, b, nb, true, diff);
    if (!o.n) o.n = opened_differences(a, na, b, nb, false, diff);
    if (o.n) {
        qsort(diff, o.n, sizeof *diff, by_value);
        o.offset_ns = diff[o.n / 2];
        o.spread_ns = diff[o.n - 1 - o.n / 20] - diff[o.n / 20];
    }
    free(diff);
    return o;
}

/* --- Pairs ------------------------------------------------------------------ */

struct candidate {
    int64_t overlap; /* nanoseconds; below zero: so far apart */
    int64_t apart;   /* between the two beginnings */
    size_t a, b;
};

static int64_t distance(int64_t x, int64_t y) {
    return x < y ? y - x : x - y;
}

/* May these be one connection? Their lives overlap or touch within the slack;
 * or, since one of a record's two times may be the very thing that is wrong,
 * they begin together or end together. */
static bool may_pair(const struct join_life *x, const struct join_life *y, const struct join_clock *clock,
                     struct candidate *out) {
    int64_t y_opened = y->opened_ns + clock->offset_ns;
    int64_t x_end = x->closed_ns ? x->closed_ns : NEVER;
    int64_t y_end = y->closed_ns ? y->closed_ns + clock->offset_ns : NEVER;
    int64_t begin = x->opened_ns > y_opened ? x->opened_ns : y_opened;

    out->overlap = (x_end < y_end ? x_end : y_end) - begin;
    out->apart = distance(x->opened_ns, y_opened);
    return out->overlap >= -clock->slack_ns || out->apart <= clock->slack_ns ||
           (x->closed_ns && y->closed_ns && distance(x_end, y_end) <= clock->slack_ns);
}

/* The larger overlap wins; between equals the nearer beginning, then the order of time. */
static int by_weight(const void *p, const void *q) {
    const struct candidate *x = p, *y = q;

    if (x->overlap != y->overlap) return x->overlap > y->overlap ? -1 : 1;
    if (x->apart != y->apart) return x->apart < y->apart ? -1 : 1;
    if (x->a != y->a) return x->a < y->a ? -1 : 1;
    return x->b < y->b ? -1 : x->b > y->b;
}

/* The first of b's rows in the group that opened at `at` or later. */
static size_t opened_from(const struct join_life *b, const struct group *g, int64_t at) {
    size_t low = g->b, high = g->b_end;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (b[mid].opened_ns < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct joiner {
    const struct join_life *a, *b;
    const struct join_clock *clock;
    join_pair_fn *fn;
    void *arg;
    struct candidate *candidates;
    size_t n_candidates, room;
    size_t *match; /* for each of a's rows in the group: 1 + its row of b, or 0 */
    size_t match_room;
    bool *taken; /* for each of b's rows in the group */
    size_t taken_room;
};

static void weigh(struct joiner *w, const struct group *g) {
    bool all = g->a_end - g->a <= JOIN_ALL && g->b_end - g->b <= JOIN_ALL;

    w->n_candidates = 0;
    for (size_t i = g->a; i < g->a_end; i++) {
        size_t from = g->b, to = g->b_end;

        if (!all) {
            size_t near = opened_from(w->b, g, w->a[i].opened_ns - w->clock->offset_ns);
            from = near - g->b > JOIN_NEAR ? near - JOIN_NEAR : g->b;
            to = g->b_end - near > JOIN_NEAR ? near + JOIN_NEAR : g->b_end;
        }
        for (size_t j = from; j < to; j++) {
            struct candidate c = {.a = i, .b = j};

            if (!may_pair(w->a + i, w->b + j, w->clock, &c)) continue;
            if (w->n_candidates == w->room) {
                w->room = w->room ? w->room * 2 : 64;
                w->candidates = must(realloc(w->candidates, w->room * sizeof *w->candidates));
            }
            w->candidates[w->n_candidates++] = c;
        }
    }
    if (w->n_candidates) qsort(w->candidates, w->n_candidates, sizeof *w->candidates, by_weight);
}

static void clear_matches(struct joiner *w, const struct group *g) {
    size_t na = g->a_end - g->a, nb = g->b_end - g->b;

    if (w->match_room < na) {
        free(w->match);
        w->match = must(malloc((w->match_room = na * 2) * sizeof *w->match));
    }
    if (w->taken_room < nb) {
        free(w->taken);
        w->taken = must(malloc((w->taken_room = nb * 2) * sizeof *w->taken));
    }
    if (na) memset(w->match, 0, na * sizeof *w->match);
    if (nb) memset(w->taken, 0, nb * sizeof *w->taken);
}

static void join_group(struct joiner *w, const struct group *g) {
    clear_matches(w, g);
    weigh(w, g);
    for (size_t k = 0; k < w->n_candidates; k++) {
        const struct candidate *c = w->candidates + k;

        if (w->match[c->a - g->a] || w->taken[c->b - g->b]) continue;
        w->match[c->a - g->a] = c->b + 1;
        w->taken[c->b - g->b] = true;
    }
    for (size_t i = g->a; i < g->a_end; i++) {
        size_t match = w->match[i - g->a];
        w->fn(w->arg, w->a + i, match ? w->b + match - 1 : NULL);
    }
    for (size_t j = g->b; j < g->b_end; j++)
        if (!w->taken[j - g->b]) w->fn(w->arg, NULL, w->b + j);
}

void join_pairs(const struct join_life *a, size_t na, const struct join_life *b, size_t nb,
                const struct join_clock *clock, join_pair_fn *fn, void *arg) {
    struct joiner w = {.a = a, .b = b, .clock = clock, .fn = fn, .arg = arg};
    struct group g = {0};

    while (next_group(a, na, b, nb, &g)) join_group(&w, &g);
    free(w.candidates);
    free(w.match);
    free(w.taken);
}
