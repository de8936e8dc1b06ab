#include "verdicts.h"

#include <stdlib.h>
#include <string.h>

/* --- Which addresses does a side know? --------------------------------------- */

/* A set of pairs (connecting host, accepting address); a host of family
 * ADDR_NONE stands for any. Open addressing, never full. */
struct address_set {
    struct flow_key *slots;
    size_t size, n; /* size is a power of two, or 0 */
};

static size_t slot_of(const struct address_set *s, const struct flow_key *k) {
    size_t i = (size_t)flow_hash(k) & (s->size - 1);

    while (s->slots[i].remote.family && !flow_equal(s->slots + i, k)) i = (i + 1) & (s->size - 1);
    return i;
}

static void grow(struct address_set *s) {
    struct address_set bigger = {.size = s->size ? s->size * 2 : 64, .n = s->n};

    bigger.slots = calloc(bigger.size, sizeof *bigger.slots);
    if (!bigger.slots) abort();
    for (size_t i = 0; i < s->size; i++)
        if (s->slots[i].remote.family) bigger.slots[slot_of(&bigger, s->slots + i)] = s->slots[i];
    free(s->slots);
    *s = bigger;
}

static struct flow_key address_of(const struct flow_key *flow, bool any_host) {
    struct flow_key k = *flow;

    if (any_host) memset(&k.local, 0, sizeof k.local);
    k.local.port = 0;
    return k;
}

static void add_address(struct address_set *s, const struct flow_key *flow, bool any_host) {
    struct flow_key k = address_of(flow, any_host);
    size_t i;

    if (s->n * 2 >= s->size) grow(s);
    i = slot_of(s, &k);
    if (s->slots[i].remote.family) return;
    s->slots[i] = k;
    s->n++;
}

static bool has_address(const struct address_set *s, const struct flow_key *flow, bool any_host) {
    struct flow_key k = address_of(flow, any_host);

    return s->size && s->slots[slot_of(s, &k)].remote.family;
}

/* A capture that has any connection to an address would have had this one too. */
static void addresses_of_views(struct address_set *s, const struct views *v) {
    for (size_t i = 0; i < v->n; i++) add_address(s, &v->lives[i].flow, true);
}

/* A daemon knows all connections to its own listeners, and of those to an origin
 * the ones from the hosts that it connects from. */
static void addresses_of_claims(struct address_set *s, const struct claims *c) {
    for (size_t i = 0; i < c->n; i++) add_address(s, &c->lives[i].flow, c->claims[c->lives[i].ref].accepted);
}

/* --- One connection ----------------------------------------------------------- */

/* The processes whose ends the ledger describes, as the kernel names them: the
 * daemon, perhaps once before a restart and once after. */
#define DAEMONS_MAX 16
struct daemons {
    int32_t pid[DAEMONS_MAX];
    unsigned n;
};

static bool is_daemon(const struct daemons *d, int32_t pid) {
    for (unsigned i = 0; i < d->n; i++)
        if (d->pid[i] == pid) return true;
    return false;
}

static void find_daemons(struct daemons *d, const struct claims *c, const struct views *v) {
    size_t i = 0, j = 0;

    while (i < c->n && j < v->n) {
        int order = flow_compare(&c->lives[i].flow, &v->lives[j].flow);

        if (!order) {
            bool accepted = c->claims[c->lives[i].ref].accepted;
            int32_t pid = v->views[v->lives[j].ref].pid[accepted ? JOIN_ACCEPTOR : JOIN_CONNECTOR];
            if (pid && d->n < DAEMONS_MAX && !is_daemon(d, pid)) d->pid[d->n++] = pid;
        }
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
}

struct checker {
    struct verdicts *x;
    const struct claims *claims;
    const struct views *views;
    struct address_set claimed, viewed;
    struct daemons daemons;
};

static void list(struct verdicts *x, const struct checked *c) {
    if (x->n == x->room) {
        x->room = x->room ? x->room * 2 : 64;
        x->list = realloc(x->list, x->room * sizeof *x->list);
        if (!x->list) abort();
    }
    x->list[x->n++] = *c;
}

static void count(struct checker *k, const struct join_life *claim, const struct join_life *view,
                  enum join_verdict verdict) {
    struct checked c = {.at_ns = claim ? claim->opened_ns : view->opened_ns + k->x->cover.clock.offset_ns,
                        .claim = claim ? (uint32_t)(claim - k->claims->lives) : NOBODY,
                        .view = view ? (uint32_t)(view - k->views->lives) : NOBODY,
                        .verdict = (uint8_t)verdict};

    k->x->connections++;
    k->x->counts[verdict]++;
    if (verdict != JOIN_VERDICT_AGREE) list(k->x, &c);
}

static uint64_t magnitude(int64_t n) {
    return (uint64_t)(n < 0 ? -n : n);
}

static void sum_fields(struct verdicts *x, const struct join_result *r) {
    for (unsigned f = 0; f < N_JOIN_FIELDS; f++) x->fields[f] += r->compared >> f & 1;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->diff[i].cause)
            x->excused[r->diff[i].field]++;
        else
            x->wrong[r->diff[i].field]++;
    }
    if (r->compared & 1u << JOIN_OPENED) histogram_add(&x->opened_apart, magnitude(r->opened_apart_ns));
    if (r->compared & 1u << JOIN_CLOSED) histogram_add(&x->closed_apart, magnitude(r->closed_apart_ns));
}

static void sum_resets(struct verdicts *x, const struct join_claim *l, const struct join_view *v) {
    const struct join_end *own = &v->end[l->accepted ? JOIN_ACCEPTOR : JOIN_CONNECTOR];
    const struct join_end *peer = &v->end[l->accepted ? JOIN_CONNECTOR : JOIN_ACCEPTOR];
    struct reset_sums *s = &x->resets[l->side < N_SIDES ? l->side : SIDE_CLIENT];

    if (l->rst_sent) {
        s->claimed++;
        s->claimed_bytes += l->unread_bytes;
    }
    if (!own->rst_packet) return;
    if (own->fin_packet && own->fin_packet < own->rst_packet) {
        s->seen_after_fin++;
    } else {
        s->seen++;
        s->seen_bytes += peer->acked_bytes > l->bytes_in ? peer->acked_bytes - l->bytes_in : 0;
    }
}

static void sum_blind(struct verdicts *x, uint32_t blind) {
    for (unsigned bit = 0; bit < N_JOIN_BLINDS; bit++) x->blind[bit] += blind >> bit & 1;
}

static void check_pair(struct checker *k, const struct join_life *claim, const struct join_life *view) {
    const struct join_claim *l = k->claims->claims + claim->ref;
    const struct join_view *v = k->views->views + view->ref;
    struct verdicts *x = k->x;
    struct join_result r;

    join_compare(l, v, &x->cover, &r);
    sum_fields(x, &r);
    sum_resets(x, l, v);
    if (r.verdict == JOIN_VERDICT_EXPLAINED) x->causes[r.diff[0].cause]++;
    sum_blind(x, r.blind);
    count(k, claim, view, r.verdict);
}

static void leave_out(struct outside *o, enum join_absence why, const struct endpoint *at) {
    o->n[why]++;
    if (why != JOIN_ABSENT_ENDPOINT) return;
    for (unsigned i = 0; i < o->n_endpoints; i++) {
        if (!endpoint_equal(&o->endpoints[i].at, at)) continue;
        o->endpoints[i].n++;
        return;
    }
    if (o->n_endpoints == OUTSIDE_ENDPOINTS) {
        o->elsewhere++;
        return;
    }
    o->endpoints[o->n_endpoints].at = *at;
    o->endpoints[o->n_endpoints++].n = 1;
}

static void check_claim_alone(struct checker *k, const struct join_life *life) {
    const struct join_claim *l = k->claims->claims + life->ref;
    enum join_absence why = join_absent_in_capture(l, &k->x->cover, has_address(&k->viewed, &life->flow, true));

    if (why == JOIN_ABSENT_WRONGLY) {
        count(k, life, NULL, JOIN_VERDICT_ONLY_IN_LEDGER);
    } else if (why == JOIN_ABSENT_LOSS) {
        count(k, life, NULL, JOIN_VERDICT_INCOMPLETE);
        sum_blind(k->x, JOIN_BLIND_ALL);
        k->x->absent_packets += join_least_packets(l);
    } else {
        leave_out(&k->x->outside_capture, why, &life->flow.remote);
    }
}

/* It connects to where the daemon connects, and the kernel says that it is another. */
static bool is_foreign(const struct checker *k, const struct join_life *life, bool accepts) {
    int32_t pid = k->views->views[life->ref].pid[JOIN_CONNECTOR];

    return !accepts && pid && k->daemons.n && !is_daemon(&k->daemons, pid);
}

static void check_view_alone(struct checker *k, const struct join_life *life) {
    bool accepts = has_address(&k->claimed, &life->flow, true);
    enum join_absence why = join_absent_in_ledger(k->views->views + life->ref, &k->x->cover, accepts,
                                                  has_address(&k->claimed, &life->flow, false));

    if (why == JOIN_ABSENT_WRONGLY && is_foreign(k, life, accepts)) why = JOIN_ABSENT_FOREIGN;

    if (why == JOIN_ABSENT_WRONGLY)
        count(k, NULL, life, JOIN_VERDICT_ONLY_IN_CAPTURE);
    else
        leave_out(&k->x->outside_ledger, why, &life->flow.remote);
}

static void check(void *arg, const struct join_life *claim, const struct join_life *view) {
    if (claim && view)
        check_pair(arg, claim, view);
    else if (claim)
        check_claim_alone(arg, claim);
    else
        check_view_alone(arg, view);
}

/* --- All of them --------------------------------------------------------------- */

static int rank(const struct checked *c) {
    static const int ranks[N_JOIN_VERDICTS] = {
        [JOIN_VERDICT_DISAGREE] = 0,  [JOIN_VERDICT_ONLY_IN_LEDGER] = 1, [JOIN_VERDICT_ONLY_IN_CAPTURE] = 2,
        [JOIN_VERDICT_EXPLAINED] = 3, [JOIN_VERDICT_INCOMPLETE] = 4,     [JOIN_VERDICT_AGREE] = 5};

    return ranks[c->verdict];
}

static int by_rank(const void *p, const void *q) {
    const struct checked *a = p, *b = q;

    if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
    if (a->at_ns != b->at_ns) return a->at_ns < b->at_ns ? -1 : 1;
    return a->claim != b->claim ? (a->claim < b->claim ? -1 : 1) : a->view < b->view ? -1 : a->view > b->view;
}

void verdicts_make(struct verdicts *x, struct claims *claims, struct views *views, int64_t slack_ns, uint64_t lost) {
    struct checker k = {.x = x, .claims = claims, .views = views};

    join_sort(claims->lives, claims->n);
    views_turn(views, claims->lives, claims->n);
    join_sort(views->lives, views->n);
    x->offset = join_offset(claims->lives, claims->n, views->lives, views->n);
    x->cover = (struct join_cover){.clock = {x->offset.offset_ns, slack_ns},
                                   .capture_first_ns = views->first_ns,
                                   .capture_last_ns = views->last_ns,
                                   .ledger_first_ns = claims->first_ns,
                                   .ledger_last_ns = claims->last_ns,
                                   .lost_packets = lost};
    addresses_of_views(&k.viewed, views);
    addresses_of_claims(&k.claimed, claims);
    find_daemons(&k.daemons, claims, views);
    join_pairs(claims->lives, claims->n, views->lives, views->n, &x->cover.clock, check, &k);
    if (x->n) qsort(x->list, x->n, sizeof *x->list, by_rank);
    free(k.viewed.slots);
    free(k.claimed.slots);
}

void verdicts_compare(const struct verdicts *x, const struct claims *claims, const struct views *views,
                      const struct checked *which, struct join_result *out) {
    join_compare(claims->claims + claims->lives[which->claim].ref, views->views + views->lives[which->view].ref,
                 &x->cover, out);
}

uint64_t verdicts_wrong(const struct verdicts *x) {
    return x->counts[JOIN_VERDICT_DISAGREE] + x->counts[JOIN_VERDICT_ONLY_IN_LEDGER] +
           x->counts[JOIN_VERDICT_ONLY_IN_CAPTURE];
}

void verdicts_free(struct verdicts *x) {
    free(x->list);
    *x = (struct verdicts){0};
}
