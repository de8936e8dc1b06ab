/* The join of two ledgers against a naive one that looks at every pair, over
 * random lives. SEED=n repeats a run. */
#include "core/join.h"

#include "tap.h"

#include <time.h>

static uint64_t rng;

static uint64_t next_random(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static int64_t below(int64_t n) {
    return (int64_t)(next_random() % (uint64_t)n);
}

#define LIVES 60

static struct flow_key a_flow(int64_t which) {
    struct flow_key f = {.local = {.addr = {10, 0, 0, 1}, .port = (uint16_t)(40000 + which), .family = ADDR_V4},
                         .remote = {.addr = {10, 0, 0, 2}, .port = 80, .family = ADDR_V4}};
    return f;
}

/* Lives of few flows: some follow each other, some overlap, some stay open. */
static size_t random_lives(struct join_life *out, int64_t n_flows, int64_t span) {
    size_t n = (size_t)below(LIVES);

    for (size_t i = 0; i < n; i++) {
        int64_t opened = 1000 + below(span);
        out[i] = (struct join_life){.flow = a_flow(below(n_flows)),
                                    .opened_ns = opened,
                                    .closed_ns = below(8) ? opened + below(span / 4 + 1) : 0,
                                    .ref = (uint32_t)i,
                                    .opened_known = below(5) != 0};
    }
    return n;
}

/* A copy of the other side as a second observer might have it: later by an
 * offset, inexact, incomplete. */
static size_t observed(const struct join_life *a, size_t n, struct join_life *out, int64_t offset, int64_t jitter) {
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (!below(10)) continue;
        out[kept] = a[i];
        out[kept].opened_ns += below(2 * jitter + 1) - jitter - offset;
        if (out[kept].closed_ns) out[kept].closed_ns += below(2 * jitter + 1) - jitter - offset;
        if (!below(12)) out[kept].closed_ns = out[kept].closed_ns ? 0 : out[kept].opened_ns + 1;
        out[kept].ref = (uint32_t)kept;
        kept++;
    }
    return kept;
}

/* --- The naive join --------------------------------------------------------- */

struct pairing {
    int match_a[LIVES], match_b[LIVES]; /* by ref; -1: alone */
    unsigned calls;
    bool twice;
};

static int64_t apart(int64_t x, int64_t y) {
    return x > y ? x - y : y - x;
}

/* Of all pairs that are left, takes the best one, again and again. */
static void naive(const struct join_life *a, size_t na, const struct join_life *b, size_t nb,
                  const struct join_clock *clock, struct pairing *out) {
    for (size_t i = 0; i < LIVES; i++) out->match_a[i] = out->match_b[i] = -1;
    for (;;) {
        bool found = false;
        size_t best_a = 0, best_b = 0;
        int64_t best_overlap = 0, best_apart = 0;

        for (size_t i = 0; i < na; i++) {
            for (size_t j = 0; j < nb; j++) {
                int64_t bo = b[j].opened_ns + clock->offset_ns;
                int64_t ae = a[i].closed_ns ? a[i].closed_ns : NEVER;
                int64_t be = b[j].closed_ns ? b[j].closed_ns + clock->offset_ns : NEVER;
                int64_t overlap = (ae < be ? ae : be) - (a[i].opened_ns > bo ? a[i].opened_ns : bo);
                int64_t begin = apart(a[i].opened_ns, bo);
                bool together =
                    begin <= clock->slack_ns || (a[i].closed_ns && b[j].closed_ns && apart(ae, be) <= clock->slack_ns);

                if (out->match_a[a[i].ref] >= 0 || out->match_b[b[j].ref] >= 0) continue;
                if (!flow_equal(&a[i].flow, &b[j].flow)) continue;
                if (overlap < -clock->slack_ns && !together) continue;
                if (found && (overlap < best_overlap || (overlap == best_overlap && begin >= best_apart))) continue;
                found = true;
                best_a = i;
                best_b = j;
                best_overlap = overlap;
                best_apart = begin;
            }
        }
        if (!found) return;
        out->match_a[a[best_a].ref] = (int)b[best_b].ref;
        out->match_b[b[best_b].ref] = (int)a[best_a].ref;
    }
}

static void note_pair(void *arg, const struct join_life *a, const struct join_life *b) {
    struct pairing *p = arg;

    p->calls++;
    if (a) {
        if (p->match_a[a->ref] != -2) p->twice = true;
        p->match_a[a->ref] = b ? (int)b->ref : -1;
    }
    if (b) {
        if (p->match_b[b->ref] != -2) p->twice = true;
        p->match_b[b->ref] = a ? (int)a->ref : -1;
    }
}

TEST(join_pairs_as_the_naive_join_does) {
    for (unsigned round = 0; round < 4000; round++) {
        struct join_life a[LIVES], b[LIVES];
        struct join_clock clock = {.offset_ns = below(3) ? 0 : below(2000) - 1000, .slack_ns = below(60)};
        struct pairing want, got = {0};
        size_t na = random_lives(a, 1 + below(6), 200 + below(20000));
        size_t nb =
            below(2) ? observed(a, na, b, clock.offset_ns, 1 + below(50)) : random_lives(b, 1 + below(6), 20000);

        /* The offset may push a time below zero: no lives begin before 1970. */
        for (size_t j = 0; j < nb; j++) {
            if (b[j].opened_ns < 1) b[j].opened_ns = 1;
            if (b[j].closed_ns && b[j].closed_ns < 1) b[j].closed_ns = 1;
        }
        for (size_t i = 0; i < LIVES; i++) got.match_a[i] = got.match_b[i] = -2;
        join_sort(a, na);
        join_sort(b, nb);
        naive(a, na, b, nb, &clock, &want);
        join_pairs(a, na, b, nb, &clock, note_pair, &got);
        CHECK(!got.twice);
        for (size_t i = 0; i < na; i++) CHECK_EQ(got.match_a[i], want.match_a[i]);
        for (size_t j = 0; j < nb; j++) CHECK_EQ(got.match_b[j], want.match_b[j]);
        if (tap_bad) {
            printf("# round %u\n", round);
            return;
        }
    }
}

/* Whatever the numbers: no crash, every life is told of once, differences name each field once. */
TEST(join_compare_names_each_field_once_whatever_the_numbers) {
    for (unsigned round = 0; round < 200000; round++) {
        union {
            struct join_claim claim;
            uint64_t words[sizeof(struct join_claim) / 8];
        } l;
        union {
            struct join_view view;
            uint64_t words[sizeof(struct join_view) / 8];
        } v;
        struct join_cover cover = {.clock = {.offset_ns = below(SEC(2)) - SEC(1), .slack_ns = below(SEC(1))},
                                   .capture_first_ns = below(SEC(100)),
                                   .capture_last_ns = SEC(100) + below(SEC(100)),
                                   .ledger_last_ns = SEC(200),
                                   .lost_packets = (uint64_t)below(3)};
        struct join_result r;
        uint32_t named = 0;
        bool excused = false;

        for (size_t i = 0; i < sizeof l.words / 8; i++) l.words[i] = below(3) ? next_random() % 64 : 0;
        for (size_t i = 0; i < sizeof v.words / 8; i++) v.words[i] = below(3) ? next_random() % 64 : 0;
        if (!below(4)) l.claim.bytes_in = next_random();
        if (!below(4)) l.claim.unread_bytes = next_random();
        if (!below(4)) l.claim.bytes_out = next_random();
        l.claim.known = v.view.known = KNOW_ALL;
        l.claim.rst_sent = below(2);
        l.claim.rst_received = below(2);
        l.claim.opaque = !below(4);
        l.claim.accepted = below(2);
        v.view.stillborn = v.view.end[0].window_low = v.view.end[1].window_low = false;
        join_compare(&l.claim, &v.view, &cover, &r);
        CHECK(r.n <= N_JOIN_FIELDS);
        for (uint32_t i = 0; i < r.n; i++) {
            CHECK(!(named & 1u << r.diff[i].field));
            CHECK(r.compared & 1u << r.diff[i].field);
            CHECK(r.diff[i].ledger != r.diff[i].capture);
            CHECK(!excused || r.diff[i].cause);
            excused |= r.diff[i].cause != 0;
            named |= 1u << r.diff[i].field;
        }
        CHECK_EQ(r.verdict == JOIN_VERDICT_DISAGREE, r.n && !r.diff[0].cause);
        if (tap_bad) {
            for (uint32_t i = 0; i < r.n; i++)
                printf("# %s: %" PRIu64 " %" PRIu64 " %s\n", join_field_name(r.diff[i].field), r.diff[i].ledger,
                       r.diff[i].capture, join_cause_name(r.diff[i].cause));
            printf("# round %u\n", round);
            return;
        }
    }
}

int main(void) {
    const char *seed = getenv("SEED");

    rng = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    if (!rng) rng = 1;
    printf("# SEED=%" PRIu64 "\n", rng);
    return tap_run();
}
