/* Rows in the order of their times, rows of one time as they were: a radix sort, so that a
 * million takes milliseconds, and that an adversary's order takes no longer. */
#ifndef CONNLEAK_TIME_SORT_H
#define CONNLEAK_TIME_SORT_H

#include <stddef.h>
#include <stdint.h>

struct timed {
    int64_t at_ns; /* not negative */
    uint64_t what;
};

/* Aborts when memory is out. */
void time_sort(struct timed *rows, size_t n);

#endif
