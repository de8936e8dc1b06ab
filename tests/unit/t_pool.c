/* The pool, one test a rule. What it does is compared as text: "dial c1 w1, close c2 idle_timeout". */
#include "core/pool.h"
#include "core/pool_check.h"

#include "tap.h"

static struct pool *p;
static mono_ns now;

/* The linker sends all allocations through here (--wrap). */
static unsigned long n_allocations;
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
    n_allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    n_allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) {
    n_allocations++;
    return __real_realloc(old, size);
}

static void begin(struct pool_conf conf) {
    pool_free(&p);
    now = SEC(1000);
    p = pool_new(&conf);
}

static struct connect_key key(const char *addr) {
    return (struct connect_key){"", "http", addr, false};
}

static void want(want_id w, const char *addr) {
    struct connect_key k = key(addr);
    pool_want(p, w, &k, now);
}

static void add(char *out, size_t size, const char *fmt, ...) {
    size_t at = strlen(out);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out + at, size - at, fmt, ap);
    va_end(ap);
}

static const char *const states[] = {"dialing", "active", "idle", "gone"};

/* All that is in the queue; moves only if asked for. */
static const char *taken(bool with_moves) {
    static char out[4096];
    struct pool_action a;

    *out = '\0';
    while (pool_next_action(p, &a)) {
        if (a.kind == POOL_MOVED && !with_moves) continue;
        if (*out) add(out, sizeof out, ", ");
        switch (a.kind) {
        case POOL_DIAL:
            add(out, sizeof out, "dial c%" PRIu64 " w%" PRIu64, a.conn, a.want);
            break;
        case POOL_DELIVER:
            add(out, sizeof out, "deliver c%" PRIu64 " w%" PRIu64 "%s", a.conn, a.want, a.reused ? " reused" : "");
            break;
        case POOL_FAIL:
            add(out, sizeof out, "fail w%" PRIu64 " c%" PRIu64 " %s", a.want, a.conn, close_reason_name(a.why));
            break;
        case POOL_CLOSE:
            add(out, sizeof out, "close c%" PRIu64 " %s", a.conn, close_reason_name(a.why));
            break;
        case POOL_MOVED:
            add(out, sizeof out, "c%" PRIu64 " %s>%s", a.conn, states[a.from], states[a.to]);
            break;
        }
    }
    return out;
}

#define EXPECT(actions)                                                                                                \
    do {                                                                                                               \
        CHECK_STR(taken(false), actions);                                                                              \
        const char *broken_ = pool_check(p);                                                                           \
        if (broken_) tap_fail(__FILE__, __LINE__, "%s", broken_);                                                      \
    } while (0)

/* n connections c1.. to addr, each carrying a request w1.. */
static void busy(unsigned n, const char *addr) {
    for (unsigned i = 1; i <= n; i++) {
        want(i, addr);
        taken(false);
        pool_dialed(p, i, now);
        taken(false);
    }
}

static struct pool_counts counts(void) {
    struct pool_counts c;
    pool_counts(p, &c);
    return c;
}

static struct pool_row row(const char *addr) {
    struct pool_row r = {0};
    while (pool_next_bucket(p, r.seq, &r))
        if (strcmp(r.key.addr, addr) == 0) return r;
    tap_fail(__FILE__, __LINE__, "no row for %s", addr);
    return r;
}

/* ---- getting ---- */

TEST(R1_another_key_is_another_pool) {
    struct connect_key keys[] = {
        {"", "http", "a:80", false}, {"", "https", "a:80", false},         {"", "http", "a:80", true},
        {"", "http", "A:80", false}, {"http://p:3128", "http", "", false}, {"http://u@p:3128", "http", "", false},
    };
    begin((struct pool_conf){0});
    for (unsigned i = 0; i < 6; i++) {
        pool_want(p, i + 1, &keys[i], now);
        taken(false);
        pool_dialed(p, i + 1, now);
        pool_put(p, i + 1, now);
        taken(false);
        pool_put(p, i + 1, now);
        taken(false);
    }
    CHECK_EQ(counts().idle, 6);
    for (unsigned i = 0; i < 6; i++) {
        struct pool_action a;
        pool_want(p, i + 11, &keys[i], now);
        CHECK(pool_next_action(p, &a) && a.kind == POOL_MOVED && a.conn == i + 1);
        taken(false);
    }
}

TEST(R9_an_idle_connection_before_a_dial) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_put(p, 1, now);
    EXPECT("");
    want(2, "a:80");
    EXPECT("deliver c1 w2 reused");
    want(3, "a:80");
    EXPECT("dial c2 w3");
}

TEST(R10_without_keep_alives_only_its_own_dial_serves_a_want) {
    begin((struct pool_conf){.disable_keep_alives = true});
    want(1, "a:80");
    want(2, "a:80");
    EXPECT("dial c1 w1, dial c2 w2");
    pool_dialed(p, 2, now);
    EXPECT("deliver c2 w2");
    pool_put(p, 2, now); /* w1 waits, and does not get it */
    EXPECT("close c2 keepalives_disabled");
    pool_dialed(p, 1, now);
    EXPECT("deliver c1 w1");
}

TEST(R11_the_next_request_ends_close_idle) {
    begin((struct pool_conf){0});
    busy(2, "a:80");
    pool_close_idle(p, now);
    pool_put(p, 1, now);
    EXPECT("close c1 close_idle_conns");
    want(3, "b:80"); /* of any key */
    EXPECT("dial c3 w3");
    pool_put(p, 2, now);
    EXPECT("");
    CHECK_EQ(counts().idle, 1);
}

TEST(R12_too_old_at_hand_out_though_no_timer_fired) {
    begin((struct pool_conf){.idle_conn_timeout = MSEC(100), .max_idle_conns_per_host = 5});
    busy(3, "a:80");
    pool_put(p, 1, now);
    pool_put(p, 2, now);
    now += MSEC(50);
    pool_put(p, 3, now);
    EXPECT("");
    now += MSEC(90); /* c1 and c2: 140 ms, c3: 90 ms */
    want(4, "a:80");
    EXPECT("deliver c3 w4 reused");
    want(5, "a:80");
    EXPECT("close c2 idle_timeout, close c1 idle_timeout, dial c4 w5");
}

TEST(R12_exactly_as_old_as_the_timeout_is_not_too_old) {
    begin((struct pool_conf){.idle_conn_timeout = MSEC(100)});
    busy(1, "a:80");
    pool_put(p, 1, now);
    now += MSEC(100);
    want(2, "a:80");
    EXPECT("deliver c1 w2 reused");
}

TEST(R12_a_connection_lost_before_its_delivery_was_taken) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_put(p, 1, now);
    EXPECT("");
    want(2, "a:80");
    pool_lost(p, 1, REASON_SERVER_CLOSED_IDLE, now);
    EXPECT("dial c2 w2");
    CHECK_EQ(row("a:80").gets, 1);
}

TEST(R13_the_newest_idle_connection_is_handed_out) {
    begin((struct pool_conf){.max_idle_conns_per_host = 5});
    busy(3, "a:80");
    pool_put(p, 2, now);
    pool_put(p, 3, now);
    pool_put(p, 1, now);
    want(4, "a:80");
    want(5, "a:80");
    want(6, "a:80");
    EXPECT("deliver c1 w4 reused, deliver c3 w5 reused, deliver c2 w6 reused");
}

TEST(R13_a_timer_that_fires_on_a_busy_connection_does_nothing) {
    begin((struct pool_conf){.idle_conn_timeout = MSEC(100)});
    busy(1, "a:80");
    pool_put(p, 1, now);
    want(2, "a:80");
    EXPECT("deliver c1 w2 reused");
    CHECK(pool_next_deadline(p) == NEVER);
    now += SEC(1);
    pool_tick(p, now);
    EXPECT("");
    pool_put(p, 1, now); /* R35: for the full timeout again */
    CHECK(pool_next_deadline(p) == now + MSEC(100));
}

/* ---- permission and dialing ---- */

TEST(R17_dials_without_bound) {
    begin((struct pool_conf){.max_conns_per_host = -1});
    for (unsigned i = 1; i <= 50; i++) want(i, "a:80");
    CHECK_EQ(counts().dialing, 50);
    CHECK_EQ(row("a:80").permits, 0);
}

TEST(R17_dials_up_to_the_limit) {
    begin((struct pool_conf){.max_conns_per_host = 2});
    want(1, "a:80");
    want(2, "a:80");
    want(3, "a:80");
    want(4, "b:80");
    EXPECT("dial c1 w1, dial c2 w2, dial c3 w4");
    CHECK_EQ(row("a:80").permits, 2);
    CHECK_EQ(row("a:80").now.waiting, 3);
}

TEST(R18_wants_do_not_share_a_dial) {
    begin((struct pool_conf){0});
    want(1, "a:80");
    want(2, "a:80");
    EXPECT("dial c1 w1, dial c2 w2");
    pool_lost(p, 1, REASON_DIAL_ERROR, now);
    EXPECT("fail w1 c1 dial_error");
}

TEST(R19_a_surplus_dial_serves_another_waiter) {
    begin((struct pool_conf){0});
    want(1, "a:80");
    want(2, "a:80");
    EXPECT("dial c1 w1, dial c2 w2");
    pool_dialed(p, 1, now);
    EXPECT("deliver c1 w1");
    pool_put(p, 1, now); /* w2 gets it, c2 goes on being dialed */
    EXPECT("deliver c1 w2 reused");
    want(3, "a:80");
    EXPECT("dial c3 w3");
    pool_dialed(p, 2, now);
    EXPECT("deliver c2 w3 reused");
}

TEST(R20_a_dial_error_is_final_for_its_want) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    want(2, "a:80");
    EXPECT("dial c2 w2");
    pool_lost(p, 2, REASON_DIAL_ERROR, now);
    EXPECT("fail w2 c2 dial_error");
    pool_put(p, 1, now);
    EXPECT("");
    CHECK_EQ(counts().idle, 1);
}

TEST(R20_the_error_of_a_surplus_dial_is_dropped) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    want(2, "a:80");
    pool_put(p, 1, now);
    EXPECT("dial c2 w2, deliver c1 w2 reused");
    pool_lost(p, 2, REASON_DIAL_ERROR, now);
    EXPECT("");
    CHECK_EQ(counts().active, 1);
}

TEST(R21_R22_the_loser_of_the_race_goes_idle_marked_reused) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    want(2, "a:80");
    pool_put(p, 1, now);
    EXPECT("dial c2 w2, deliver c1 w2 reused");
    CHECK(!pool_is_reused(p, 2));
    pool_dialed(p, 2, now);
    EXPECT("");
    CHECK(pool_is_reused(p, 2));
    want(3, "a:80");
    EXPECT("deliver c2 w3 reused");
}

TEST(R23_a_permit_is_handed_on_with_the_count_unchanged) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    busy(1, "a:80");
    want(2, "a:80");
    want(3, "a:80");
    EXPECT("");
    CHECK_EQ(row("a:80").permits, 1);
    pool_lost(p, 1, REASON_RESPONSE_CLOSE, now);
    EXPECT("dial c2 w2");
    CHECK_EQ(row("a:80").permits, 1);
    pool_lost(p, 2, REASON_DIAL_ERROR, now);
    EXPECT("fail w2 c2 dial_error, dial c3 w3");
    CHECK_EQ(row("a:80").permits, 1);
    pool_dialed(p, 3, now);
    pool_lost(p, 3, REASON_READ_ERROR, now); /* even before its delivery was taken */
    EXPECT("dial c4 w3");
}

TEST(R23_waiters_that_are_done_are_passed_over) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    busy(1, "a:80");
    want(2, "a:80");
    want(3, "a:80");
    pool_cancel(p, 2, now);
    pool_lost(p, 1, REASON_EARLY_CLOSE, now);
    EXPECT("dial c2 w3");
}

TEST(R24_R25_a_freed_connection_goes_to_the_first_waiter) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    busy(1, "a:80");
    want(2, "a:80");
    want(3, "a:80");
    pool_put(p, 1, now);
    EXPECT("deliver c1 w2 reused");
    want(4, "a:80");
    pool_put(p, 1, now);
    EXPECT("deliver c1 w3 reused");
    pool_lost(p, 1, REASON_EARLY_CLOSE, now); /* w2 and w3 stood for the permit too, and are skipped */
    EXPECT("dial c2 w4");
}

TEST(R26_idle_and_leaked_connections_hold_their_permits) {
    begin((struct pool_conf){.max_conns_per_host = 2});
    busy(2, "a:80");
    pool_put(p, 1, now);
    want(3, "a:80");
    EXPECT("deliver c1 w3 reused");
    want(4, "a:80"); /* both leaked now: nothing ends the wait but its own cancellation */
    now += SEC(1000000);
    pool_tick(p, now);
    EXPECT("");
    CHECK(pool_next_deadline(p) == NEVER);
    CHECK_EQ(counts().waiting, 1);
    pool_cancel(p, 4, now);
    EXPECT("");
    CHECK_EQ(counts().waiting, 0);
}

/* ---- cancellation ---- */

TEST(R28_a_delivery_not_yet_taken_is_taken_back) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_put(p, 1, now);
    want(2, "a:80");
    pool_cancel(p, 2, now);
    EXPECT("");
    CHECK_EQ(counts().idle, 1);
    CHECK_EQ(row("a:80").gets, 1);
    CHECK_EQ(row("a:80").reuses, 0);
}

TEST(R28_a_fresh_connection_taken_back_is_marked_reused) {
    begin((struct pool_conf){0});
    want(1, "a:80");
    pool_dialed(p, 1, now);
    pool_cancel(p, 1, now);
    EXPECT("dial c1 w1");
    CHECK_EQ(counts().idle, 1);
    CHECK(pool_is_reused(p, 1));
}

TEST(R28_a_connection_taken_back_goes_to_the_next_waiter) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    busy(1, "a:80");
    want(2, "a:80");
    want(3, "a:80");
    pool_put(p, 1, now);
    pool_cancel(p, 2, now);
    EXPECT("deliver c1 w3 reused");
}

TEST(R28_a_failure_not_yet_taken_is_taken_back) {
    begin((struct pool_conf){0});
    want(1, "a:80");
    EXPECT("dial c1 w1");
    pool_lost(p, 1, REASON_DIAL_ERROR, now);
    pool_cancel(p, 1, now);
    EXPECT("");
}

TEST(R29_cancelling_aborts_the_dial_and_passes_its_permit_on) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    want(1, "a:80");
    want(2, "a:80");
    EXPECT("dial c1 w1");
    pool_cancel(p, 1, now);
    EXPECT("close c1 canceled, dial c2 w2");
    pool_dialed(p, 1, now); /* a late answer */
    pool_lost(p, 1, REASON_DIAL_ERROR, now);
    EXPECT("");
}

TEST(R30_the_end_of_a_late_bound_request_aborts_its_own_dial) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    want(2, "a:80");
    pool_put(p, 1, now);
    EXPECT("dial c2 w2, deliver c1 w2 reused");
    pool_put(p, 1, now); /* w2's exchange is over, and so is its context */
    pool_cancel(p, 2, now);
    EXPECT("close c2 canceled");
    CHECK_EQ(counts().idle, 1);
}

TEST(R30_a_want_is_forgotten_when_its_answer_is_taken_and_its_dial_is_over) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_cancel(p, 1, now);
    EXPECT("");
    CHECK_EQ(counts().active, 1);
}

TEST(section_10_newer_go_lets_a_cancelled_dial_run_on) {
    begin((struct pool_conf){.profile = POOL_GO1_27, .max_conns_per_host = 1});
    want(1, "a:80");
    EXPECT("dial c1 w1");
    pool_cancel(p, 1, now);
    EXPECT("");
    want(2, "a:80");
    EXPECT("");
    pool_dialed(p, 1, now);
    EXPECT("deliver c1 w2 reused");
}

TEST(section_10_newer_go_ends_unwanted_dials_at_close_idle) {
    begin((struct pool_conf){.profile = POOL_GO1_27});
    busy(1, "b:80");
    want(2, "a:80");
    want(3, "b:80");
    want(4, "a:80");
    pool_put(p, 1, now); /* w3 is served, its dial runs on */
    pool_cancel(p, 4, now);
    EXPECT("dial c2 w2, dial c3 w3, dial c4 w4, deliver c1 w3 reused");
    pool_close_idle(p, now);
    EXPECT("close c3 close_idle_conns, close c4 close_idle_conns");
    pool_dialed(p, 2, now);
    EXPECT("deliver c2 w2");
}

/* ---- returning ---- */

TEST(R32_a_negative_limit_per_host_keeps_nothing) {
    begin((struct pool_conf){.max_idle_conns_per_host = -1});
    busy(1, "a:80");
    want(2, "a:80"); /* a waiter is not served either */
    pool_put(p, 1, now);
    EXPECT("dial c2 w2, close c1 keepalives_disabled");
}

TEST(R33_a_waiter_comes_before_every_limit) {
    begin((struct pool_conf){.max_conns_per_host = 1, .max_idle_conns = -1});
    busy(1, "a:80");
    want(2, "a:80");
    pool_close_idle(p, now);
    pool_put(p, 1, now);
    EXPECT("deliver c1 w2 reused");
    pool_put(p, 1, now);
    EXPECT("close c1 close_idle_conns");
}

TEST(R32_the_order_of_refusals) {
    begin((struct pool_conf){.max_idle_conns_per_host = 1, .max_idle_conns = -1});
    busy(1, "a:80");
    pool_close_idle(p, now);
    pool_put(p, 1, now); /* close_idle before the limits */
    EXPECT("close c1 close_idle_conns");

    begin((struct pool_conf){.max_idle_conns_per_host = 1, .max_idle_conns = 1});
    busy(2, "a:80");
    pool_put(p, 1, now);
    pool_put(p, 2, now); /* the limit per host before the limit of all */
    EXPECT("close c2 too_many_idle_host");
}

TEST(R33_step_7_the_newest_is_the_one_dropped) {
    begin((struct pool_conf){0}); /* 0: two */
    busy(4, "a:80");
    pool_put(p, 3, now);
    pool_put(p, 1, now);
    pool_put(p, 2, now);
    pool_put(p, 4, now);
    EXPECT("close c2 too_many_idle_host, close c4 too_many_idle_host");
    CHECK_EQ(counts().idle, 2);
}

TEST(R34_the_longest_idle_of_all_keys_is_evicted) {
    begin((struct pool_conf){.max_idle_conns = 2});
    busy(1, "a:80");
    want(2, "b:80");
    want(3, "c:80");
    taken(false);
    pool_dialed(p, 2, now);
    pool_dialed(p, 3, now);
    taken(false);
    pool_put(p, 2, now);
    pool_put(p, 1, now);
    pool_put(p, 3, now);
    EXPECT("close c2 too_many_idle");
    CHECK_EQ(row("b:80").now.idle, 0);
}

TEST(R34_a_connection_that_was_used_again_is_young_again) {
    begin((struct pool_conf){.max_idle_conns = 2, .max_idle_conns_per_host = 5});
    busy(3, "a:80");
    want(4, "b:80");
    taken(false);
    pool_dialed(p, 4, now);
    taken(false);
    pool_put(p, 4, now);
    pool_put(p, 1, now);
    want(5, "b:80");
    EXPECT("deliver c4 w5 reused");
    pool_put(p, 4, now);
    pool_put(p, 2, now);
    EXPECT("close c1 too_many_idle");
}

TEST(R34_counts_never_show_more_than_the_limit) {
    struct pool_peaks peak;
    begin((struct pool_conf){.max_idle_conns = 1, .max_idle_conns_per_host = 5});
    busy(3, "a:80");
    pool_put(p, 1, now);
    pool_put(p, 2, now);
    pool_put(p, 3, now);
    EXPECT("close c1 too_many_idle, close c2 too_many_idle");
    pool_peaks(p, &peak);
    CHECK_EQ(peak.idle, 1);
    CHECK_EQ(peak.open, 3);
}

TEST(R35_R36_the_idle_timer_runs_from_the_return) {
    begin((struct pool_conf){.idle_conn_timeout = MSEC(100)});
    busy(2, "a:80");
    pool_put(p, 1, now);
    now += MSEC(30);
    pool_put(p, 2, now);
    CHECK(pool_next_deadline(p) == now + MSEC(70));
    pool_tick(p, now + MSEC(70) - 1);
    EXPECT("");
    now += MSEC(70);
    pool_tick(p, now);
    EXPECT("close c1 idle_timeout");
    CHECK(pool_next_deadline(p) == now + MSEC(30));
    now += SEC(5); /* a late tick */
    pool_tick(p, now);
    EXPECT("close c2 idle_timeout");
    CHECK(pool_next_deadline(p) == NEVER);
}

TEST(R36_a_timeout_passes_the_permit_on) {
    begin((struct pool_conf){.idle_conn_timeout = MSEC(100), .max_conns_per_host = 1});
    busy(1, "a:80");
    pool_put(p, 1, now);
    EXPECT("");
    pool_set_conf(p, &(struct pool_conf){.disable_keep_alives = true, .max_conns_per_host = 1}, now);
    want(2, "a:80"); /* asks for a fresh connection and has no permission */
    EXPECT("");
    now += MSEC(100);
    pool_tick(p, now);
    EXPECT("close c1 idle_timeout, dial c2 w2");
}

TEST(R39_close_idle_takes_the_idle_and_nothing_else) {
    begin((struct pool_conf){.max_idle_conns_per_host = 5});
    busy(4, "a:80");
    pool_put(p, 3, now);
    pool_put(p, 1, now);
    want(9, "b:80");
    EXPECT("dial c5 w9");
    pool_close_idle(p, now);
    EXPECT("close c3 close_idle_conns, close c1 close_idle_conns");
    CHECK_EQ(counts().active, 2);
    CHECK_EQ(counts().dialing, 1);
    pool_put(p, 2, now);
    EXPECT("close c2 close_idle_conns");
    pool_dialed(p, 5, now); /* served all the same (T91) */
    EXPECT("deliver c5 w9");
    pool_put(p, 5, now);
    EXPECT("close c5 close_idle_conns");
}

/* ---- leaving ---- */

TEST(R81_a_detached_connection_frees_its_place) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    busy(1, "a:80");
    want(2, "a:80");
    pool_detach(p, 1, now);
    EXPECT("dial c2 w2");
    pool_put(p, 1, now); /* its id means nothing any more */
    pool_lost(p, 1, REASON_UPGRADED, now);
    EXPECT("");
}

TEST(R104_a_lost_connection_is_not_closed_again) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_put(p, 1, now);
    pool_lost(p, 1, REASON_SERVER_CLOSED_IDLE, now);
    CHECK_STR(taken(true), "c1 active>idle, c1 idle>gone");
    want(2, "a:80");
    EXPECT("dial c2 w2");
}

TEST(late_and_unknown_ids_are_ignored) {
    begin((struct pool_conf){0});
    busy(1, "a:80");
    pool_cancel(p, 77, now);
    pool_dialed(p, 77, now);
    pool_put(p, 77, now);
    pool_lost(p, 77, REASON_READ_ERROR, now);
    pool_detach(p, 77, now);
    pool_put(p, 0, now);
    pool_cancel(p, 0, now);
    pool_dialed(p, 1, now); /* twice */
    EXPECT("");
    pool_put(p, 1, now);
    pool_put(p, 1, now);
    EXPECT("");
    CHECK_EQ(counts().idle, 1);
    want(5, "b:80");
    want(5, "c:80"); /* the id is taken */
    EXPECT("dial c2 w5");
}

/* ---- moves ---- */

TEST(every_move_is_told_before_its_action) {
    begin((struct pool_conf){.max_idle_conns = 1});
    want(1, "a:80");
    CHECK_STR(taken(true), "c1 gone>dialing, dial c1 w1");
    pool_dialed(p, 1, now);
    CHECK_STR(taken(true), "c1 dialing>active, deliver c1 w1");
    want(2, "a:80");
    pool_dialed(p, 2, now);
    CHECK_STR(taken(true), "c2 gone>dialing, dial c2 w2, c2 dialing>active, deliver c2 w2");
    pool_put(p, 1, now);
    CHECK_STR(taken(true), "c1 active>idle");
    pool_put(p, 2, now);
    CHECK_STR(taken(true), "c1 idle>gone, close c1 too_many_idle, c2 active>idle");
    want(3, "a:80");
    CHECK_STR(taken(true), "c2 idle>active, deliver c2 w3 reused");
    pool_lost(p, 2, REASON_EARLY_CLOSE, now);
    CHECK_STR(taken(true), "c2 active>gone");
}

/* ---- changed limits ---- */

TEST(new_limits_close_nothing_by_themselves) {
    begin((struct pool_conf){.max_idle_conns_per_host = 5, .idle_conn_timeout = SEC(90)});
    busy(4, "a:80");
    for (conn_id c = 1; c <= 3; c++) pool_put(p, c, now);
    pool_set_conf(p, &(struct pool_conf){.max_idle_conns_per_host = 1, .idle_conn_timeout = SEC(1)}, now);
    EXPECT("");
    CHECK(pool_next_deadline(p) == now + SEC(90)); /* armed before the change */
    pool_put(p, 4, now);
    EXPECT("close c4 too_many_idle_host");
    want(5, "b:80");
    taken(false);
    pool_dialed(p, 5, now);
    taken(false);
    pool_put(p, 5, now);
    CHECK(pool_next_deadline(p) == now + SEC(1));
    now += SEC(1);
    pool_tick(p, now);
    EXPECT("close c5 idle_timeout");
    CHECK(pool_next_deadline(p) == now + SEC(89));
    now += SEC(89);
    pool_tick(p, now);
    EXPECT("close c1 idle_timeout, close c2 idle_timeout, close c3 idle_timeout");
}

TEST(a_raised_limit_lets_waiters_dial) {
    begin((struct pool_conf){.max_conns_per_host = 1});
    for (unsigned i = 1; i <= 4; i++) want(i, "a:80");
    EXPECT("dial c1 w1");
    pool_set_conf(p, &(struct pool_conf){.max_conns_per_host = 3}, now);
    EXPECT("dial c2 w2, dial c3 w3");
    pool_set_conf(p, &(struct pool_conf){.max_conns_per_host = 2}, now);
    pool_lost(p, 1, REASON_DIAL_ERROR, now); /* three were open: this place is not passed on */
    EXPECT("fail w1 c1 dial_error");
    pool_lost(p, 2, REASON_DIAL_ERROR, now);
    EXPECT("fail w2 c2 dial_error, dial c4 w4");
}

TEST(a_lowered_limit_of_all_holds_at_the_next_return) {
    begin((struct pool_conf){.max_idle_conns_per_host = 9});
    busy(5, "a:80");
    for (conn_id c = 1; c <= 4; c++) pool_put(p, c, now);
    pool_set_conf(p, &(struct pool_conf){.max_idle_conns_per_host = 9, .max_idle_conns = 2}, now);
    pool_put(p, 5, now);
    EXPECT("close c1 too_many_idle, close c2 too_many_idle, close c3 too_many_idle");
}

/* ---- what can be asked ---- */

TEST(rows_and_peaks) {
    begin((struct pool_conf){.max_conns_per_host = 3});
    busy(3, "a:80");
    now += MSEC(7);
    want(4, "a:80");
    now += MSEC(7);
    want(5, "a:80");
    struct pool_row r = row("a:80");
    CHECK_EQ(r.now.active, 3);
    CHECK_EQ(r.now.waiting, 2);
    CHECK_EQ(r.permits, 3);
    CHECK_EQ(r.dials, 3);
    CHECK_EQ(r.gets, 3);
    CHECK_EQ(r.reuses, 0);
    CHECK_EQ(r.oldest_wait, now - MSEC(7));
    pool_put(p, 1, now);
    CHECK_EQ(row("a:80").oldest_wait, now);
    CHECK_EQ(row("a:80").reuses, 1);
    pool_cancel(p, 5, now);
    CHECK_EQ(row("a:80").oldest_wait, NEVER);
    taken(false);
    pool_put(p, 1, now);
    pool_put(p, 2, now);
    pool_lost(p, 3, REASON_READ_ERROR, now);
    CHECK_EQ(row("a:80").peak.open, 3);
    CHECK_EQ(row("a:80").peak.idle, 2);
    pool_reset_peaks(p);
    CHECK_EQ(row("a:80").peak.open, 2);
    struct pool_peaks peak;
    pool_peaks(p, &peak);
    CHECK_EQ(peak.open, 2);
    CHECK_EQ(peak.idle, 2);
}

TEST(rows_of_quiet_keys_are_kept_to_the_newest_1024) {
    char addr[32];
    struct pool_row r = {0};
    unsigned n = 0;

    begin((struct pool_conf){.max_idle_conns_per_host = -1});
    for (unsigned i = 1; i <= 3000; i++) {
        snprintf(addr, sizeof addr, "h%u:80", i);
        want(i, addr);
        taken(false);
        pool_dialed(p, i, now);
        taken(false);
        if (i != 7) pool_put(p, i, now);
        taken(false);
    }
    want(9000, "h7:80");
    while (pool_next_bucket(p, r.seq, &r)) {
        n++;
        if (n == 1) CHECK_STR(r.key.addr, "h7:80"); /* it has connections: its age does not matter */
        if (n == 2) CHECK_STR(r.key.addr, "h1977:80");
    }
    CHECK_EQ(n, 1025);
    CHECK(!pool_next_bucket(p, r.seq + 5, &r));
    CHECK(pool_next_bucket(p, 100, &r)); /* a number that is gone */
    CHECK_STR(r.key.addr, "h1977:80");
    CHECK(pool_check(p) == NULL);
    taken(false);
}

TEST(a_key_borrowed_by_a_queued_dial_outlives_its_bucket) {
    char addr[32];
    struct pool_action a;
    unsigned dials = 0;

    begin((struct pool_conf){0});
    for (unsigned i = 1; i <= 3000; i++) { /* never drained: every bucket is quiet again, none may go */
        snprintf(addr, sizeof addr, "h%u:80", i);
        want(i, addr);
        pool_cancel(p, i, now);
    }
    while (pool_next_action(p, &a)) {
        if (a.kind != POOL_DIAL) continue;
        snprintf(addr, sizeof addr, "h%u:80", ++dials);
        CHECK_STR(a.key->addr, addr);
    }
    CHECK_EQ(dials, 3000);
    want(9000, "a:80");
    taken(false);
    CHECK(pool_check(p) == NULL);
}

/* Ten callers on two connections each for five keys, connections that come and go among them. */
static void traffic(want_id *next, conn_id *last, unsigned rounds) {
    static const char *const addrs[] = {"a:80", "b:80", "c:80", "d:80", "e:80"};
    struct pool_action a;

    for (unsigned i = 0; i < rounds; i++, now += MSEC(1)) {
        for (unsigned k = 0; k < 10; k++) want(++*next, addrs[k % 5]);
        while (pool_next_action(p, &a)) {
            if (a.kind == POOL_DIAL) pool_dialed(p, *last = a.conn, now);
            if (a.kind == POOL_DELIVER && a.conn % 50 == 0)
                pool_lost(p, a.conn, REASON_EARLY_CLOSE, now);
            else if (a.kind == POOL_DELIVER)
                pool_put(p, a.conn, now);
        }
    }
}

TEST(steady_state_allocates_nothing) {
    want_id next = 0;
    conn_id last = 0, before;
    begin((struct pool_conf){.max_conns_per_host = 2, .max_idle_conns = 4, .idle_conn_timeout = SEC(90)});
    traffic(&next, &last, 100);
    unsigned long allocations = n_allocations;
    CHECK(allocations > 0);
    before = last;
    traffic(&next, &last, 1000);
    CHECK_EQ(n_allocations, allocations);
    CHECK(last > before + 100); /* with many a dial and close */
    EXPECT("");
}

TEST(a_crowd_comes_and_goes) {
    begin((struct pool_conf){.max_idle_conns_per_host = 5000, .max_conns_per_host = 3000});
    for (unsigned i = 1; i <= 6000; i++) want(i, "a:80");
    taken(false);
    CHECK_EQ(counts().dialing, 3000);
    CHECK_EQ(counts().waiting, 6000);
    for (conn_id c = 1; c <= 3000; c++) pool_dialed(p, c, now);
    taken(false);
    for (conn_id c = 1; c <= 3000; c++) pool_put(p, c, now);
    taken(false);
    CHECK_EQ(counts().waiting, 0);
    for (conn_id c = 1; c <= 3000; c++) pool_put(p, c, now);
    taken(false);
    CHECK_EQ(counts().idle, 3000);
    CHECK(pool_check(p) == NULL);
    pool_close_idle(p, now);
    taken(false);
    CHECK_EQ(counts().idle, 0);
    CHECK(pool_check(p) == NULL);
    pool_free(&p);
}

int main(void) {
    return tap_run();
}
