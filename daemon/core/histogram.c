#include "histogram.h"

/* Below 16 a value is its own bucket; above, a power of two e is cut into 16. */
static unsigned bucket_of(uint64_t v) {
    if (v < HISTOGRAM_SUB) return (unsigned)v;
    unsigned e = 63u - (unsigned)__builtin_clzll(v);
    if (e > 51) return HISTOGRAM_BUCKETS - 1;
    return HISTOGRAM_SUB * (e - 3) + (unsigned)(v >> (e - 4)) % HISTOGRAM_SUB;
}

/* The largest value that falls into bucket i. */
static uint64_t bucket_bound(unsigned i) {
    if (i < HISTOGRAM_SUB) return i;
    if (i == HISTOGRAM_BUCKETS - 1) return UINT64_MAX;
    unsigned e = i / HISTOGRAM_SUB + 3, sub = i % HISTOGRAM_SUB;
    return ((uint64_t)(HISTOGRAM_SUB + sub + 1) << (e - 4)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value) {
    h->n++;
    if (value > h->max) h->max = value;
    h->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *h, unsigned percent) {
    if (h->n == 0) return 0;
    if (percent >= 100) return h->max;
    /* n * percent / 100, rounded up, without the overflow */
    uint64_t rank = h->n / 100 * percent + (h->n % 100 * percent + 99) / 100, seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) return bucket_bound(i) < h->max ? bucket_bound(i) : h->max;
    }
    return h->max;
}
