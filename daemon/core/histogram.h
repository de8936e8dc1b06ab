/* Counts of values in buckets a sixteenth of a power of two wide: quantiles
 * within 6.25 % of the truth, the maximum exact, no memory beyond the struct. */
#ifndef CONNLEAK_HISTOGRAM_H
#define CONNLEAK_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB     16
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * 49)

struct histogram {
    uint64_t n, max;
    uint64_t buckets[HISTOGRAM_BUCKETS]; /* values from 2^52 share the last */
};

void histogram_add(struct histogram *h, uint64_t value);

/* The smallest bucket bound that at least n * percent / 100 values do not
 * exceed, and never more than max; 0 where n is 0. Values below 16 are exact. */
uint64_t histogram_quantile(const struct histogram *h, unsigned percent);

#endif
