/* ledger.h: lives found again, walked in order, bounded, and summed up. */
#include "core/intern.h"
#include "core/ledger.h"

#include <malloc.h>

#include "tap.h"

static struct ledger *l;
static int64_t now = SEC(10);

static void apply(struct lifecycle *life, enum conn_event_kind kind, uint64_t value) {
    ledger_apply(l, life, &(struct conn_event){.at_ns = now, .kind = (uint8_t)kind, .value = value});
}

static void closed(struct lifecycle *life, enum close_reason why, uint64_t unread) {
    ledger_apply(l, life, &(struct conn_event){.at_ns = now, .kind = EV_ENDED, .code = (uint16_t)why, .value = unread});
}

static struct lifecycle *dialed(conn_id id) {
    struct lifecycle *life = ledger_open(l, SIDE_UPSTREAM, id, now);
    apply(life, EV_DIALING, 0);
    apply(life, EV_DIALED, 0);
    return life;
}

static void one_request(struct lifecycle *life) {
    apply(life, EV_GOT_CONN, 1000);
    apply(life, EV_REQUEST, 0);
    apply(life, EV_BYTES_OUT, 80);
    apply(life, EV_WROTE_REQUEST, 0);
    apply(life, EV_FIRST_BYTE, 0);
    apply(life, EV_BYTES_IN, 300);
    apply(life, EV_RESPONSE, 100);
    apply(life, EV_BODY_READ, 100);
    apply(life, EV_BODY_EOF, 100);
}

static void open_and_close(conn_id id) {
    closed(dialed(id), REASON_IDLE_TIMEOUT, 0);
}

TEST(a_life_is_found_by_side_and_id_open_and_closed) {
    l = ledger_new(OBSERVER_DAEMON, 10);
    struct lifecycle *up = dialed(7), *down = ledger_open(l, SIDE_DOWNSTREAM, 7, now);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 7) == up);
    CHECK(ledger_find(l, SIDE_DOWNSTREAM, 7) == down);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 8) == NULL);
    CHECK(ledger_find(l, SIDE_CLIENT, 7) == NULL);
    CHECK_EQ(up->known, KNOW_ALL);
    closed(up, REASON_EARLY_CLOSE, 5);
    const struct lifecycle *found = ledger_find(l, SIDE_UPSTREAM, 7);
    CHECK(found && found->state == LIFE_CLOSED && found->close_reason == REASON_EARLY_CLOSE);
    CHECK_EQ(found->n_marks, 3);
    CHECK_EQ(lifecycle_mark(found, 2)->kind, EV_ENDED);
    CHECK(ledger_find(l, SIDE_DOWNSTREAM, 7) == down);
    ledger_free(&l);
    CHECK(l == NULL);
}

TEST(closed_records_are_numbered_in_order_of_closing_and_kept_up_to_the_bound) {
    l = ledger_new(OBSERVER_DAEMON, 4);
    CHECK_EQ(ledger_first_closed(l), 1);
    CHECK_EQ(ledger_next_closed(l), 1);
    for (conn_id id = 1; id <= 6; id++) open_and_close(id * 10);
    CHECK_EQ(ledger_first_closed(l), 3);
    CHECK_EQ(ledger_next_closed(l), 7);
    CHECK(ledger_closed(l, 2) == NULL);
    CHECK(ledger_closed(l, 7) == NULL);
    for (uint64_t seq = 3; seq < 7; seq++) CHECK_EQ(ledger_closed(l, seq)->id, seq * 10);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 20) == NULL);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 30) != NULL);
    CHECK_EQ(ledger_owed(l), 0);
    ledger_free(&l);
}

TEST(what_is_owed_stays_and_goes_when_it_is_released) {
    l = ledger_new(OBSERVER_DAEMON, 4);
    ledger_release_to(l, 1);
    for (conn_id id = 1; id <= 100; id++) open_and_close(id);
    CHECK_EQ(ledger_first_closed(l), 1);
    CHECK_EQ(ledger_owed(l), 96);
    ledger_release_to(l, 31); /* 1 to 30 are written */
    CHECK_EQ(ledger_first_closed(l), 31);
    CHECK_EQ(ledger_owed(l), 66);
    for (conn_id id = 31; id <= 100; id++) CHECK(ledger_find(l, SIDE_UPSTREAM, id) != NULL);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 30) == NULL);
    ledger_release_to(l, 101);
    CHECK_EQ(ledger_first_closed(l), 97); /* the bound holds again */
    CHECK_EQ(ledger_owed(l), 0);
    open_and_close(101);         /* owed, and over the bound */
    CHECK_EQ(ledger_owed(l), 0); /* the oldest was not owed */
    CHECK_EQ(ledger_first_closed(l), 98);
    ledger_release_to(l, UINT64_MAX);
    ledger_free(&l);
}

TEST(another_bound_holds_at_once) {
    l = ledger_new(OBSERVER_DAEMON, 100);
    for (conn_id id = 1; id <= 100; id++) open_and_close(id);
    ledger_set_keep(l, 3);
    CHECK_EQ(ledger_first_closed(l), 98);
    for (conn_id id = 98; id <= 100; id++) CHECK_EQ(ledger_find(l, SIDE_UPSTREAM, id)->id, id);
    ledger_set_keep(l, 0); /* at least one */
    CHECK_EQ(ledger_first_closed(l), 100);
    ledger_free(&l);
}

TEST(open_lives_are_walked_by_id_both_ways_while_they_close) {
    struct lifecycle *lives[64];
    l = ledger_new(OBSERVER_DAEMON, 1);
    CHECK(ledger_open_after(l, SIDE_UPSTREAM, 0) == NULL);
    CHECK(ledger_open_before(l, SIDE_UPSTREAM, UINT64_MAX) == NULL);
    for (unsigned i = 0; i < 64; i++) lives[i] = dialed(10 * (i + 1));
    CHECK_EQ(ledger_open_after(l, SIDE_UPSTREAM, 0)->id, 10);
    CHECK_EQ(ledger_open_after(l, SIDE_UPSTREAM, 10)->id, 20);
    CHECK_EQ(ledger_open_after(l, SIDE_UPSTREAM, 15)->id, 20);
    CHECK_EQ(ledger_open_before(l, SIDE_UPSTREAM, UINT64_MAX)->id, 640);
    CHECK_EQ(ledger_open_before(l, SIDE_UPSTREAM, 640)->id, 630);
    for (unsigned i = 0; i < 64; i++)
        if (i != 40 && i != 3) closed(lives[i], REASON_IDLE_TIMEOUT, 0); /* holes come and are swept */
    CHECK_EQ(ledger_open_after(l, SIDE_UPSTREAM, 0)->id, 40);
    CHECK_EQ(ledger_open_after(l, SIDE_UPSTREAM, 40)->id, 410);
    CHECK(ledger_open_after(l, SIDE_UPSTREAM, 410) == NULL);
    CHECK(ledger_open_after(l, SIDE_UPSTREAM, UINT64_MAX) == NULL);
    CHECK_EQ(ledger_open_before(l, SIDE_UPSTREAM, 410)->id, 40);
    CHECK(ledger_open_before(l, SIDE_UPSTREAM, 40) == NULL);
    CHECK(ledger_find(l, SIDE_UPSTREAM, 410) == lives[40]);
    CHECK(ledger_open_after(l, SIDE_DOWNSTREAM, 0) == NULL);
    ledger_free(&l);
}

TEST(ids_that_do_not_come_in_order_are_walked_in_order_all_the_same) {
    l = ledger_new(OBSERVER_CAPTURE, 1);
    ledger_open(l, SIDE_CLIENT, 5, now);
    ledger_open(l, SIDE_CLIENT, 2, now);
    ledger_open(l, SIDE_CLIENT, 9, now);
    ledger_open(l, SIDE_CLIENT, 7, now);
    conn_id id = 0;
    for (const struct lifecycle *life; (life = ledger_open_after(l, SIDE_CLIENT, id));) {
        CHECK(life->id > id);
        id = life->id;
    }
    CHECK_EQ(id, 9);
    CHECK_EQ(ledger_open_after(l, SIDE_CLIENT, 0)->known & KNOW_REASON, 0);
    ledger_free(&l);
}

TEST(a_text_is_held_once_and_as_long_as_a_life_has_it) {
    const struct connect_key a = {.scheme = "http", .addr = "a:80", .proxy = ""};
    const struct connect_key b = {.scheme = "http", .addr = "b:80", .proxy = ""};
    l = ledger_new(OBSERVER_DAEMON, 2);
    struct lifecycle *one = dialed(1), *two = dialed(2), *other = dialed(5);
    ledger_set_key(l, other, &a);
    CHECK_EQ(other->key->refs, 1);
    ledger_set_key(l, one, &a);
    ledger_set_key(l, two, &a);
    CHECK(one->key == two->key);
    CHECK_EQ(one->key->refs, 3);
    ledger_set_key(l, one, &a);
    CHECK_EQ(one->key->refs, 3);
    ledger_set_key(l, two, &b);
    CHECK_EQ(one->key->refs, 2);
    CHECK_STR(two->key->addr, "b:80");
    CHECK_STR(two->key->scheme, "http");
    CHECK_STR(two->key->proxy, "");
    ledger_set_client(l, one, "shop", "curl/8");
    const struct life_client *client = one->client;
    ledger_set_client(l, one, "shop", "curl/8");
    CHECK(one->client == client && client->refs == 1);
    ledger_set_client(l, two, "shop", "curl/8");
    CHECK_EQ(client->refs, 2);
    closed(one, REASON_IDLE_TIMEOUT, 0);
    CHECK_STR(ledger_closed(l, 1)->key->addr, "a:80");
    CHECK_EQ(client->refs, 2);
    open_and_close(3);
    open_and_close(4); /* 1 is forgotten */
    CHECK_EQ(client->refs, 1);
    CHECK_EQ(other->key->refs, 1);
    CHECK_STR(two->client->tag, "shop");
    CHECK_STR(two->client->user_agent, "curl/8");
    ledger_free(&l);
}

TEST(parts_do_not_run_into_each_other) {
    struct intern *t = intern_new();
    const struct life_client *a = intern_client(t, "ab", "c"), *b = intern_client(t, "a", "bc");
    const struct life_key *k = intern_key(t, "ab", "c", "");
    CHECK(a != b);
    CHECK_STR(b->user_agent, "bc");
    CHECK_STR(k->addr, "c");
    CHECK(intern_name(t, "x") == intern_name(t, "x"));
    CHECK_EQ(intern_count(t), 4);
    intern_drop_client(t, a);
    intern_drop_key(t, k);
    intern_drop_key(t, NULL);
    CHECK_EQ(intern_count(t), 2);
    intern_free(&t);
}

TEST(what_the_probe_saw_of_a_client_is_one_connection_s) {
    l = ledger_new(OBSERVER_DAEMON, 1);
    struct lifecycle *one = ledger_open(l, SIDE_DOWNSTREAM, 1, 0), *two = ledger_open(l, SIDE_DOWNSTREAM, 2, 0);
    ledger_set_client(l, one, "shop", "curl/8");
    ledger_set_client(l, two, "shop", "curl/8");
    ledger_set_probed(l, 1, 54330, "aaa", 72480);
    CHECK(one->client != two->client && two->client->refs == 1 && one->client->refs == 1);
    CHECK_STR(one->client->tag, "shop");
    CHECK_STR(one->client->user_agent, "curl/8");
    CHECK_STR(one->client->comm, "aaa");
    CHECK_EQ(one->client->pid, 54330);
    CHECK(one->client->probed);
    CHECK_EQ(one->client->recv_q, 72480);
    CHECK(!two->client->probed && !two->client->pid && !two->client->comm);

    ledger_set_probed(l, 1, 0, NULL, 0); /* in place of what it was; an empty queue is known to be empty */
    CHECK(one->client->probed && one->client->recv_q == 0 && !one->client->pid && !one->client->comm);
    ledger_set_probed(l, 1, 7, "b", 5);
    ledger_set_client(l, one, "shop", "curl/9"); /* another request: still the same process */
    CHECK_STR(one->client->user_agent, "curl/9");
    CHECK_STR(one->client->comm, "b");
    CHECK_EQ(one->client->recv_q, 5);
    apply(one, EV_REQUEST, 0); /* and whatever lay unread has been read */
    CHECK(!one->client->probed && one->client->pid == 7);
    ledger_set_client(l, one, "shop", "curl/8");
    ledger_set_probed(l, 1, 0, "", UNKNOWN_BYTES); /* nothing is known: the client that others are too */
    CHECK(one->client == two->client);

    struct lifecycle *three = ledger_open(l, SIDE_DOWNSTREAM, 3, 0); /* no request yet */
    ledger_set_probed(l, 3, 9, "c", UNKNOWN_BYTES);
    CHECK_STR(three->client->tag, "");
    CHECK_EQ(three->client->pid, 9);
    CHECK(!three->client->probed);
    ledger_set_probed(l, 4, 9, "c", 1); /* nobody has this id */
    ledger_free(&l);
}

TEST(a_peers_texts_are_cut) {
    static char huge[100000];
    memset(huge, 'x', sizeof(huge) - 1);
    struct intern *t = intern_new();
    const struct life_client *c = intern_client(t, huge, huge);
    const struct life_key *k = intern_key(t, "http", huge, huge);
    CHECK_EQ(strlen(c->tag), INTERN_CLIENT_MAX);
    CHECK_EQ(strlen(c->user_agent), INTERN_CLIENT_MAX);
    CHECK_EQ(strlen(k->addr), INTERN_KEY_MAX);
    CHECK_EQ(strlen(k->proxy), INTERN_KEY_MAX);
    memcpy(huge + INTERN_CLIENT_MAX - 2, "\xf0\x9f\x98\x80", 4);
    CHECK_EQ(strlen(intern_client(t, huge, "")->tag), INTERN_CLIENT_MAX - 2); /* not within a character */
    memset(huge + INTERN_CLIENT_MAX - 8, 0x80, 16);
    CHECK_EQ(strlen(intern_client(t, huge, "")->tag), INTERN_CLIENT_MAX - 3); /* where there are none */
    intern_free(&t);
}

TEST(many_texts_come_and_go) {
    struct intern *t = intern_new();
    const struct life_key *keys[1000];
    char addr[32];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(addr, sizeof(addr), "host-%u:80", i);
            keys[i] = intern_key(t, "http", addr, "");
        }
        CHECK_EQ(intern_count(t), 1000);
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(addr, sizeof(addr), "host-%u:80", i);
            CHECK_STR(keys[i]->addr, addr);
            intern_drop_key(t, keys[i]);
        }
        CHECK_EQ(intern_count(t), 0);
    }
    intern_free(&t);
}

/* Sums over all lives, open and closed, of one side. */
struct sums {
    uint64_t count[N_COUNTERS], closes[N_REASONS];
    uint64_t open, stood; /* closed ones that were connections, not failed dials */
};

static void add_life(struct sums *s, const struct lifecycle *life) {
    bool is_closed = life->state == LIFE_CLOSED;
    s->open += !is_closed;
    s->stood += is_closed && (life->side != SIDE_UPSTREAM || life->dialed_ns);
    s->closes[life->close_reason] += is_closed;
    s->count[COUNT_CONNECTIONS]++;
    s->count[COUNT_DIAL_ERRORS] +=
        is_closed && life->side == SIDE_UPSTREAM &&
        (life->close_reason == REASON_DIAL_ERROR || (life->close_reason == REASON_TLS_ERROR && !life->tls_ns));
    s->count[COUNT_REQUESTS] += life->requests;
    s->count[COUNT_RESPONSES] += life->responses;
    s->count[COUNT_REUSED] += lifecycle_reused(life);
    s->count[COUNT_RETRIES] += life->retries;
    s->count[COUNT_EARLY_CLOSES] += life->early_closes;
    s->count[COUNT_RST_SENT] += life->rst_sent && life->unread_bytes;
    s->count[COUNT_UNREAD_BYTES] += life->rst_sent ? life->unread_bytes : 0;
    s->count[COUNT_RST_RECEIVED] += life->rst_received;
    s->count[COUNT_BYTES_IN] += life->bytes_in;
    s->count[COUNT_BYTES_OUT] += life->bytes_out;
    s->count[COUNT_TUNNELS] += life->opaque;
}

static void check_totals(enum side side) {
    struct sums s = {0};
    for (uint64_t seq = ledger_first_closed(l); seq < ledger_next_closed(l); seq++)
        if (ledger_closed(l, seq)->side == side) add_life(&s, ledger_closed(l, seq));
    conn_id id = 0;
    for (const struct lifecycle *life; (life = ledger_open_after(l, side, id)); id = life->id) add_life(&s, life);
    const struct ledger_totals *t = ledger_totals(l, side);
    for (unsigned i = 0; i < N_COUNTERS; i++)
        if (t->count[i] != s.count[i]) tap_fail(__FILE__, __LINE__, "%s", counter_name((enum counter)i));
    for (unsigned i = 0; i < N_REASONS; i++) CHECK_EQ(t->closes[i], s.closes[i]);
    CHECK_EQ(t->open, s.open);
    CHECK_EQ(t->requests_per_conn.n, s.stood);
}

static uint64_t seed = 20260102;
static unsigned dice(unsigned n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* Random lives: every lookup and walk against a plain array, the totals against the records. */
TEST(random_lives_are_found_walked_and_summed) {
    enum { N = 3000 };
    static struct lifecycle *lives[2][N + 1];
    static uint64_t seq_of[2][N + 1];
    l = ledger_new(OBSERVER_DAEMON, 100000);
    conn_id last[2] = {0, 0};
    for (unsigned step = 0; step < 40000; step++) {
        unsigned side = dice(2);
        now += dice(1000);
        if (dice(12) == 0 && last[side] < N) {
            last[side]++;
            lives[side][last[side]] = ledger_open(l, (enum side)side, last[side], now);
            apply(lives[side][last[side]], side == SIDE_UPSTREAM ? EV_DIALING : EV_ACCEPTED, 0);
            continue;
        }
        conn_id id = last[side] ? 1 + dice((unsigned)last[side]) : 0;
        struct lifecycle *life = lives[side][id];
        if (!life) continue;
        enum conn_event_kind kind = (enum conn_event_kind)(EV_DIALED + dice(N_EVENTS - EV_DIALED));
        if (kind != EV_ENDED) {
            apply(life, kind, dice(50000));
        } else {
            seq_of[side][id] = ledger_next_closed(l);
            closed(life, (enum close_reason)dice(N_REASONS), dice(2) ? dice(9000) : 0);
            lives[side][id] = NULL;
        }
    }
    for (unsigned side = 0; side < 2; side++) {
        conn_id after = 0, before = UINT64_MAX;
        for (conn_id id = 1; id <= last[side]; id++) {
            if (lives[side][id]) {
                CHECK(ledger_find(l, (enum side)side, id) == lives[side][id]);
                CHECK(ledger_open_after(l, (enum side)side, after) == lives[side][id]);
                after = id;
            } else {
                CHECK(ledger_find(l, (enum side)side, id) == ledger_closed(l, seq_of[side][id]));
                CHECK_EQ(ledger_closed(l, seq_of[side][id])->id, id);
            }
        }
        CHECK(ledger_open_after(l, (enum side)side, after) == NULL);
        for (conn_id id = last[side]; id > 0; id--) {
            if (!lives[side][id]) continue;
            CHECK(ledger_open_before(l, (enum side)side, before) == lives[side][id]);
            before = id;
        }
        check_totals((enum side)side);
        CHECK(ledger_totals(l, (enum side)side)->count[COUNT_RST_RECEIVED] > 0);
        CHECK(ledger_totals(l, (enum side)side)->count[COUNT_TUNNELS] > 0);
    }
    /* Squeezed out step by step, every other record stays findable. */
    while (ledger_next_closed(l) - ledger_first_closed(l) > 1) {
        ledger_set_keep(l, (size_t)(ledger_next_closed(l) - ledger_first_closed(l)) * 9 / 10);
        for (uint64_t seq = ledger_first_closed(l); seq < ledger_next_closed(l); seq++) {
            const struct lifecycle *life = ledger_closed(l, seq);
            CHECK(ledger_find(l, (enum side)life->side, life->id) == life);
        }
    }
    ledger_free(&l);
}

TEST(waits_and_requests_per_connection_are_counted) {
    l = ledger_new(OBSERVER_DAEMON, 10);
    struct lifecycle *life = dialed(1);
    one_request(life);
    apply(life, EV_PUT_IDLE, 0);
    one_request(life);
    const struct ledger_totals *t = ledger_totals(l, SIDE_UPSTREAM);
    CHECK_EQ(t->wait.n, 2);
    CHECK_EQ(t->wait.max, 1000);
    CHECK_EQ(t->requests_per_conn.n, 0);
    closed(life, REASON_IDLE_TIMEOUT, 0);
    CHECK_EQ(t->requests_per_conn.max, 2);
    CHECK_EQ(t->closes[REASON_IDLE_TIMEOUT], 1);
    CHECK_STR(counter_name(COUNT_EARLY_CLOSES), "early_body_closes");
    CHECK_STR(counter_text(COUNT_DIAL_ERRORS), "dials that failed");
    ledger_free(&l);
}

TEST(a_failed_dial_is_counted_once_and_only_upstream) {
    l = ledger_new(OBSERVER_DAEMON, 10);
    struct lifecycle *up = ledger_open(l, SIDE_UPSTREAM, 1, now), *down = ledger_open(l, SIDE_DOWNSTREAM, 1, now);
    apply(up, EV_DIALING, 0);
    apply(down, EV_ACCEPTED, 0);
    closed(up, REASON_DIAL_ERROR, 0);
    closed(down, REASON_CLIENT_CLOSED, 0);
    CHECK_EQ(ledger_totals(l, SIDE_UPSTREAM)->count[COUNT_DIAL_ERRORS], 1);
    CHECK_EQ(ledger_totals(l, SIDE_DOWNSTREAM)->count[COUNT_DIAL_ERRORS], 0);
    ledger_free(&l);
}

/* What malloc has given out; 0 where the sanitizer's own allocator stands in. */
static size_t heap_used(void) {
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

TEST(memory_is_bounded_by_open_lives_and_keep) {
    enum { KEEP = 8192 };
    const struct connect_key key = {.scheme = "http", .addr = "api.example:8080", .proxy = ""};
    l = ledger_new(OBSERVER_DAEMON, KEEP);
    size_t before = heap_used();
    if (before == 0) SKIP("another allocator");
    for (conn_id id = 1; id <= KEEP; id++) {
        struct lifecycle *life = dialed(id);
        ledger_set_key(l, life, &key);
        one_request(life);
        closed(life, REASON_IDLE_TIMEOUT, 0);
    }
    size_t full = heap_used();
    printf("# a closed record: %zu bytes\n", (full - before) / KEEP);
    CHECK((full - before) / KEEP < 425);
    for (conn_id id = KEEP + 1; id <= 10 * KEEP; id++) {
        struct lifecycle *life = dialed(id);
        ledger_set_key(l, life, &key);
        one_request(life);
        closed(life, REASON_IDLE_TIMEOUT, 0);
    }
    CHECK(heap_used() <= full + full / 100);

    size_t no_open = heap_used();
    for (conn_id id = 1; id <= KEEP; id++) {
        struct lifecycle *life = dialed(10 * KEEP + id);
        ledger_set_key(l, life, &key);
        one_request(life);
        apply(life, EV_PUT_IDLE, 0);
    }
    printf("# an open idle life with one request: %zu bytes\n", (heap_used() - no_open) / KEEP);
    CHECK((heap_used() - no_open) / KEEP < 450);
    for (conn_id id = 10 * KEEP + 1; id <= 11 * KEEP; id++)
        closed((struct lifecycle *)(uintptr_t)ledger_find(l, SIDE_UPSTREAM, id), REASON_IDLE_TIMEOUT, 0);
    ledger_set_keep(l, 1);
    CHECK(heap_used() - before < 64 << 10); /* and all of it comes back */
    ledger_free(&l);
}

int main(void) {
    return tap_run();
}
