/* Ids to things: against an array, through growth, removal and wrap-around. */
#include "core/idmap.h"

#include "tap.h"

#define N 20000

static char things[N + 1];

TEST(an_empty_map_has_nothing) {
    struct idmap m = {0};
    CHECK(idmap_get(&m, 1) == NULL);
    idmap_del(&m, 1);
    idmap_put(&m, 1, things);
    CHECK(idmap_get(&m, 0) == NULL);
    idmap_del(&m, 0);
    CHECK(m.n == 1);
    idmap_clear(&m);
    CHECK(idmap_get(&m, 1) == NULL);
    idmap_put(&m, 1, things); /* usable again */
    CHECK(idmap_get(&m, 1) == things);
    idmap_clear(&m);
}

/* A block of old ids that stay, in front of and among many that come and go. */
TEST(a_moving_window_over_ids_that_stay) {
    static bool there[N + 1];
    struct idmap m = {0};
    size_t n = 0;

    for (uint64_t id = 1; id <= N; id++) {
        idmap_put(&m, id, &things[id]);
        there[id] = true;
        n++;
        uint64_t old = id > 300 && id % 10 ? id - id % 10 + 1 : 0;
        idmap_del(&m, old);
        n -= there[old];
        there[old] = false;
    }
    CHECK_EQ(m.n, n);
    CHECK(m.room >= 2 * n);
    for (uint64_t id = 1; id <= N; id++) CHECK(idmap_get(&m, id) == (there[id] ? &things[id] : NULL));
    idmap_clear(&m);
}

TEST(random_ids_against_an_array) {
    static uint64_t ids[500];
    static bool there[500];
    struct idmap m = {0};
    uint64_t x = 88172645463325252u;
    size_t n = 0;

    for (unsigned i = 0; i < 500; i++) ids[i] = (i + 1) * 0x9e3779b97f4a7c15u; /* spread, or all in one place */
    for (unsigned i = 250; i < 500; i++) ids[i] = (uint64_t)i << 58 | i;
    for (unsigned step = 0; step < 200000; step++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        unsigned i = (unsigned)(x >> 20) % 500;
        if (there[i])
            idmap_del(&m, ids[i]);
        else
            idmap_put(&m, ids[i], &ids[i]);
        there[i] = !there[i];
        n = there[i] ? n + 1 : n - 1;
        if (m.n != n) break;
        if (step % 97 != 0) continue;
        for (unsigned k = 0; k < 500; k++)
            if (idmap_get(&m, ids[k]) != (there[k] ? &ids[k] : NULL)) {
                tap_fail(__FILE__, __LINE__, "after %u steps id %u is lost or found", step, k);
                step = 200000;
                break;
            }
    }
    CHECK_EQ(m.n, n);
    idmap_clear(&m);
}

int main(void) {
    return tap_run();
}
