/* The store of lives.
 *
 * Open lives of a side stand in one array sorted by id. Ids only grow, so a new
 * life is appended, a search is a bisection, and a walk that goes by id needs no
 * pointer into the array; a life that closes leaves a hole, and holes are swept
 * out when they are half of it.
 *
 * Closed lives are small blocks of their own, marks included, in a ring by
 * sequence number, with a hash table by id beside it. */
#include "ledger.h"

#include "intern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

/* ---- the ledger ---- */

struct open_slot {
    conn_id id;
    struct lifecycle *life; /* NULL: closed, a hole */
};

struct open_lives {
    struct open_slot *slots; /* ascending ids */
    size_t n, n_live, room;
};

struct ledger {
    enum observer observer;
    struct open_lives open[N_SIDES];
    struct ledger_totals totals[N_SIDES];
    struct intern *texts;    /* keys and clients of all lives in memory */
    struct lifecycle **ring; /* closed lives, record seq at [seq % ring_room] */
    size_t ring_room;        /* a power of two */
    uint64_t first, next;    /* sequence numbers: kept are [first, next) */
    size_t keep;
    uint64_t release_to;
    struct lifecycle **by_id; /* the same lives, hashed by id: linear probing */
    size_t by_id_room;        /* twice ring_room */
    struct recent *recent;    /* NULL: nobody wants it */
};

static const uint32_t known_by[] = {
    [OBSERVER_DAEMON] = KNOW_ALL,
    [OBSERVER_CAPTURE] = KNOW_ALL & ~(uint32_t)KNOW_REASON,
    [OBSERVER_KERNEL] = KNOW_OPENED | KNOW_CLOSED | KNOW_RST_SENT | KNOW_RST_RECEIVED | KNOW_CLOSE,
};

#define RING_LEAST 16

struct ledger *ledger_new(enum observer observer, size_t keep) {
    struct ledger *l = must(calloc(1, sizeof(*l)));
    l->observer = observer;
    l->keep = keep ? keep : 1;
    l->first = l->next = 1;
    l->release_to = UINT64_MAX;
    l->texts = intern_new();
    l->ring_room = RING_LEAST;
    l->ring = must(calloc(l->ring_room, sizeof(struct lifecycle *)));
    l->by_id_room = RING_LEAST * 2;
    l->by_id = must(calloc(l->by_id_room, sizeof(struct lifecycle *)));
    return l;
}

void ledger_keep_recent(struct ledger *l, size_t n) {
    if (n && !l->recent) l->recent = recent_new(n);
}

const struct recent *ledger_recent(const struct ledger *l) {
    return l->recent;
}

void ledger_free(struct ledger **lp) {
    struct ledger *l = *lp;
    if (!l) return;
    *lp = NULL;
    recent_free(&l->recent);
    for (unsigned side = 0; side < N_SIDES; side++) {
        for (size_t i = 0; i < l->open[side].n; i++) {
            if (!l->open[side].slots[i].life) continue;
            lifecycle_clear(l->open[side].slots[i].life);
            free(l->open[side].slots[i].life);
        }
        free(l->open[side].slots);
    }
    for (uint64_t seq = l->first; seq < l->next; seq++) free(l->ring[seq & (l->ring_room - 1)]);
    free(l->ring);
    free(l->by_id);
    intern_free(&l->texts);
    free(l);
}

const struct ledger_totals *ledger_totals(const struct ledger *l, enum side side) {
    return &l->totals[side];
}

void ledger_set_key(struct ledger *l, struct lifecycle *life, const struct connect_key *key) {
    const struct life_key *before = life->key;
    life->key = intern_key(l->texts, key->scheme, key->addr, key->proxy);
    intern_drop_key(l->texts, before);
}

static void set_seen(struct ledger *l, struct lifecycle *life, uint32_t pid, const char *comm, uint64_t recv_q) {
    const struct life_client *before = life->client ? life->client : intern_client(l->texts, "", "");
    life->client = intern_client_seen(l->texts, before, pid, comm, recv_q);
    intern_drop_client(l->texts, before);
}

void ledger_set_client(struct ledger *l, struct lifecycle *life, const char *tag, const char *user_agent) {
    const struct life_client *before = life->client;
    if (before && !strcmp(before->tag, tag) && !strcmp(before->user_agent, user_agent))
        return; /* as with most requests */
    life->client = intern_client(l->texts, tag, user_agent);
    if (before) set_seen(l, life, before->pid, before->comm, before->probed ? before->recv_q : UNKNOWN_BYTES);
    intern_drop_client(l->texts, before);
}

/* ---- open lives ---- */

/* The first slot whose id is at least id. */
static size_t lower_bound(const struct open_lives *o, conn_id id) {
    size_t lo = 0, hi = o->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (o->slots[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void sweep(struct open_lives *o) {
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++)
        if (o->slots[i].life) o->slots[n++] = o->slots[i];
    o->n = n;
    if (o->room > 64 && n < o->room / 4) {
        o->room /= 2;
        o->slots = must(realloc(o->slots, o->room * sizeof(*o->slots)));
    }
}

struct lifecycle *ledger_open(struct ledger *l, enum side side, conn_id id, int64_t now) {
    struct lifecycle *life = must(calloc(1, sizeof(*life)));
    life->id = id;
    life->side = (uint8_t)side;
    life->observer = (uint8_t)l->observer;
    life->known = known_by[l->observer];
    life->opened_ns = now;
    life->state = side == SIDE_UPSTREAM ? LIFE_DIALING : LIFE_OPEN;
    life->body_announced = UNKNOWN_BYTES;

    struct open_lives *o = &l->open[side];
    if (o->n == o->room) {
        o->room = o->room ? o->room * 2 : 16;
        o->slots = must(realloc(o->slots, o->room * sizeof(*o->slots)));
    }
    size_t at = o->n && o->slots[o->n - 1].id >= id ? lower_bound(o, id) : o->n;
    assert(at == o->n || o->slots[at].id != id);
    memmove(&o->slots[at + 1], &o->slots[at], (o->n - at) * sizeof(*o->slots));
    o->slots[at] = (struct open_slot){id, life};
    o->n++;
    o->n_live++;
    l->totals[side].open++;
    l->totals[side].count[COUNT_CONNECTIONS]++;
    return life;
}

static void take_out(struct open_lives *o, const struct lifecycle *life) {
    o->slots[lower_bound(o, life->id)].life = NULL;
    o->n_live--;
    if (o->n >= 16 && o->n_live <= o->n / 2) sweep(o);
}

const struct lifecycle *ledger_open_after(const struct ledger *l, enum side side, conn_id after) {
    const struct open_lives *o = &l->open[side];
    if (after == UINT64_MAX) return NULL;
    for (size_t i = lower_bound(o, after + 1); i < o->n; i++)
        if (o->slots[i].life) return o->slots[i].life;
    return NULL;
}

const struct lifecycle *ledger_open_before(const struct ledger *l, enum side side, conn_id before) {
    const struct open_lives *o = &l->open[side];
    for (size_t i = lower_bound(o, before); i-- > 0;)
        if (o->slots[i].life) return o->slots[i].life;
    return NULL;
}

/* ---- closed lives ---- */

static size_t home_of(size_t room, unsigned side, conn_id id) {
    return (size_t)(((id * N_SIDES + side) * 0x9e3779b97f4a7c15u) >> 20) & (room - 1);
}

static size_t home_of_life(const struct ledger *l, const struct lifecycle *life) {
    return home_of(l->by_id_room, life->side, life->id);
}

static void by_id_add(struct ledger *l, struct lifecycle *life) {
    size_t i = home_of_life(l, life);
    while (l->by_id[i]) i = (i + 1) & (l->by_id_room - 1);
    l->by_id[i] = life;
}

/* Closes the gap by moving back what would no longer be found across it. */
static void by_id_remove(struct ledger *l, const struct lifecycle *life) {
    size_t mask = l->by_id_room - 1, gap = home_of_life(l, life);
    while (l->by_id[gap] != life) gap = (gap + 1) & mask;
    for (size_t i = (gap + 1) & mask; l->by_id[i]; i = (i + 1) & mask) {
        size_t home = home_of_life(l, l->by_id[i]);
        if (((i - home) & mask) < ((i - gap) & mask)) continue; /* its home lies behind the gap */
        l->by_id[gap] = l->by_id[i];
        gap = i;
    }
    l->by_id[gap] = NULL;
}

/* Gives ring and table the room for `room` lives, a power of two. */
static void resize_closed(struct ledger *l, size_t room) {
    struct lifecycle **ring = must(calloc(room, sizeof(struct lifecycle *)));
    for (uint64_t seq = l->first; seq < l->next; seq++) ring[seq & (room - 1)] = l->ring[seq & (l->ring_room - 1)];
    free(l->ring);
    free(l->by_id);
    l->ring = ring;
    l->ring_room = room;
    l->by_id_room = room * 2;
    l->by_id = must(calloc(l->by_id_room, sizeof(struct lifecycle *)));
    for (uint64_t seq = l->first; seq < l->next; seq++) by_id_add(l, ring[seq & (room - 1)]);
}

static void forget_oldest(struct ledger *l) {
    struct lifecycle *life = l->ring[l->first & (l->ring_room - 1)];
    by_id_remove(l, life);
    intern_drop_key(l->texts, life->key);
    intern_drop_client(l->texts, life->client);
    free(life);
    l->first++;
}

static void forget_surplus(struct ledger *l) {
    while (l->next - l->first > l->keep && l->first < l->release_to) forget_oldest(l);
    size_t room = l->ring_room;
    while (room > RING_LEAST && l->next - l->first < room / 4) room /= 2;
    if (room != l->ring_room) resize_closed(l, room);
}

/* One block for the life and its marks; what it took while it was open goes back. */
static struct lifecycle *pack(struct lifecycle *life) {
    size_t marks = life->n_marks * sizeof(struct conn_mark);
    struct lifecycle *small = must(malloc(sizeof(*small) + marks));
    *small = *life;
    small->marks = life->n_marks ? (struct conn_mark *)(void *)(small + 1) : NULL;
    small->marks_room = life->n_marks;
    if (small->marks) memcpy(small->marks, life->marks, marks);
    lifecycle_clear(life);
    free(life);
    return small;
}

static void close_life(struct ledger *l, struct lifecycle *life) {
    take_out(&l->open[life->side], life);
    if (l->next - l->first >= l->keep && l->first < l->release_to) forget_oldest(l);
    if (l->next - l->first == l->ring_room) resize_closed(l, l->ring_room * 2);
    life = pack(life);
    l->ring[l->next & (l->ring_room - 1)] = life;
    l->next++;
    by_id_add(l, life);
}

void ledger_set_keep(struct ledger *l, size_t keep) {
    l->keep = keep ? keep : 1;
    forget_surplus(l);
}

void ledger_release_to(struct ledger *l, uint64_t seq) {
    l->release_to = seq;
    forget_surplus(l);
}

size_t ledger_owed(const struct ledger *l) {
    size_t held = (size_t)(l->next - l->first);
    return held > l->keep ? held - l->keep : 0;
}

uint64_t ledger_first_closed(const struct ledger *l) {
    return l->first;
}
uint64_t ledger_next_closed(const struct ledger *l) {
    return l->next;
}

const struct lifecycle *ledger_closed(const struct ledger *l, uint64_t seq) {
    return seq >= l->first && seq < l->next ? l->ring[seq & (l->ring_room - 1)] : NULL;
}

void ledger_set_probed(struct ledger *l, conn_id id, uint32_t pid, const char *comm, uint64_t recv_q) {
    const struct open_lives *o = &l->open[SIDE_DOWNSTREAM];
    size_t at = lower_bound(o, id);
    if (at < o->n && o->slots[at].id == id && o->slots[at].life) set_seen(l, o->slots[at].life, pid, comm, recv_q);
}

const struct lifecycle *ledger_find(const struct ledger *l, enum side side, conn_id id) {
    const struct open_lives *o = &l->open[side];
    size_t at = lower_bound(o, id);
    if (at < o->n && o->slots[at].id == id && o->slots[at].life) return o->slots[at].life;
    for (size_t i = home_of(l->by_id_room, side, id); l->by_id[i]; i = (i + 1) & (l->by_id_room - 1))
        if (l->by_id[i]->id == id && l->by_id[i]->side == side) return l->by_id[i];
    return NULL;
}

/* ---- the totals ---- */

/* Given up on purpose is no error; a handshake that failed is. */
bool ledger_is_dial_error(const struct lifecycle *life) {
    if (life->side != SIDE_UPSTREAM) return false;
    return life->close_reason == REASON_DIAL_ERROR || (life->close_reason == REASON_TLS_ERROR && !life->tls_ns);
}

static void count_close(struct ledger_totals *t, const struct lifecycle *life) {
    t->open--;
    t->closes[life->close_reason]++;
    if (life->side != SIDE_UPSTREAM || life->dialed_ns) histogram_add(&t->requests_per_conn, life->requests);
    if (ledger_is_dial_error(life)) t->count[COUNT_DIAL_ERRORS]++;
    if (!life->rst_sent || !life->unread_bytes) return;
    t->count[COUNT_RST_SENT]++;
    t->count[COUNT_UNREAD_BYTES] += life->unread_bytes;
}

/* What the event made of the life, which it has been applied to already. */
static void count_event(struct ledger_totals *t, const struct lifecycle *life, const struct conn_event *ev) {
    switch ((enum conn_event_kind)ev->kind) {
    case EV_BYTES_IN:
        t->count[COUNT_BYTES_IN] += ev->value;
        break;
    case EV_BYTES_OUT:
        t->count[COUNT_BYTES_OUT] += ev->value;
        break;
    case EV_GOT_CONN:
        histogram_add(&t->wait, ev->value);
        break;
    case EV_REQUEST:
        t->count[COUNT_REQUESTS]++;
        if (life->requests > 1) t->count[COUNT_REUSED]++;
        break;
    case EV_RESPONSE:
        t->count[COUNT_RESPONSES]++;
        break;
    case EV_RETRIED:
        t->count[COUNT_RETRIES]++;
        break;
    case EV_EARLY_CLOSE:
        t->count[COUNT_EARLY_CLOSES]++;
        break;
    case EV_ENDED:
        count_close(t, life);
        break;
    default: /* the rest is no number, or counts once in a life: ledger_apply */
        break;
    }
}

void ledger_apply(struct ledger *l, struct lifecycle *life, const struct conn_event *ev) {
    struct ledger_totals *t = &l->totals[life->side];
    bool was_opaque = life->opaque, was_reset = life->rst_received;
    lifecycle_apply(life, ev);
    if (l->recent && life->side == SIDE_UPSTREAM) recent_event(l->recent, life, ev);
    count_event(t, life, ev);
    if (life->opaque && !was_opaque) t->count[COUNT_TUNNELS]++;
    if (life->rst_received && !was_reset) t->count[COUNT_RST_RECEIVED]++;
    if (ev->kind == EV_REQUEST && life->client && life->client->probed) /* it has read what lay there */
        set_seen(l, life, life->client->pid, life->client->comm, UNKNOWN_BYTES);
    if (ev->kind == EV_ENDED) close_life(l, life);
}

static const char *const counter_names[] = {
#define X(sym, name, text) name,
#include "tbl/counters.h"
#undef X
};
static const char *const counter_texts[] = {
#define X(sym, name, text) text,
#include "tbl/counters.h"
#undef X
};

const char *counter_name(enum counter c) {
    return (unsigned)c < N_COUNTERS ? counter_names[c] : "?";
}
const char *counter_text(enum counter c) {
    return (unsigned)c < N_COUNTERS ? counter_texts[c] : "?";
}
