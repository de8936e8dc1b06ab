/* histogram.h: quantiles within a sixteenth, the maximum exact. */
#include "core/histogram.h"

#include "tap.h"

static struct histogram h;

TEST(an_empty_histogram_is_all_zero) {
    h = (struct histogram){0};
    CHECK_EQ(histogram_quantile(&h, 0), 0);
    CHECK_EQ(histogram_quantile(&h, 50), 0);
    CHECK_EQ(histogram_quantile(&h, 100), 0);
}

TEST(small_values_are_exact) {
    h = (struct histogram){0};
    for (uint64_t v = 0; v < 16; v++) histogram_add(&h, v);
    CHECK_EQ(histogram_quantile(&h, 50), 7); /* the 8th of 16 */
    CHECK_EQ(histogram_quantile(&h, 51), 8); /* 8.16: the 9th */
    CHECK_EQ(histogram_quantile(&h, 100), 15);
}

TEST(one_value_is_every_quantile) {
    h = (struct histogram){0};
    histogram_add(&h, 1000003);
    for (unsigned p = 1; p <= 100; p++) CHECK_EQ(histogram_quantile(&h, p), 1000003);
}

TEST(quantiles_lie_at_most_a_sixteenth_above_the_truth) {
    for (unsigned shift = 0; shift < 45; shift++) {
        h = (struct histogram){0};
        for (uint64_t i = 1; i <= 200; i++) histogram_add(&h, i << shift);
        for (unsigned p = 1; p <= 100; p++) {
            uint64_t truth = (uint64_t)(p * 2) << shift, got = histogram_quantile(&h, p);
            CHECK(got >= truth);
            CHECK(got - truth <= truth / 16);
        }
    }
}

/* Bounds of neighbouring buckets meet: a value is never above its own bucket's bound. */
TEST(powers_of_two_and_their_neighbours_are_found_again) {
    for (unsigned e = 1; e < 52; e++)
        for (int d = -1; d <= 1; d++) {
            uint64_t v = ((uint64_t)1 << e) + (uint64_t)(int64_t)d;
            h = (struct histogram){0};
            histogram_add(&h, v);
            histogram_add(&h, UINT64_MAX);
            CHECK(histogram_quantile(&h, 50) >= v);
            CHECK(histogram_quantile(&h, 50) - v <= v / 16);
        }
}

TEST(values_from_2_to_the_52_share_the_last_bucket) {
    h = (struct histogram){0};
    histogram_add(&h, (uint64_t)1 << 52);
    histogram_add(&h, UINT64_MAX - 1);
    CHECK_EQ(h.buckets[HISTOGRAM_BUCKETS - 1], 2);
    CHECK(histogram_quantile(&h, 50) == UINT64_MAX - 1);
}

TEST(many_values_do_not_overflow_the_rank) {
    h = (struct histogram){.n = UINT64_MAX - 1, .max = 9};
    h.buckets[3] = UINT64_MAX / 2;
    h.buckets[9] = UINT64_MAX - 1 - UINT64_MAX / 2;
    CHECK_EQ(histogram_quantile(&h, 40), 3);
    CHECK_EQ(histogram_quantile(&h, 60), 9);
}

int main(void) {
    return tap_run();
}
