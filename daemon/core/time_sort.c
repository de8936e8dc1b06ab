#include "time_sort.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BITS   11
#define PLACES (1u << BITS)
#define PASSES 6 /* of 11 bits: 63 and more */

static unsigned digit(const struct timed *row, unsigned pass) {
    return (unsigned)((uint64_t)row->at_ns >> pass * BITS) & (PLACES - 1);
}

/* True if all rows have the same digit: nothing to do. */
static bool count_digits(const struct timed *rows, size_t n, unsigned pass, size_t *count) {
    memset(count, 0, PLACES * sizeof *count);
    for (size_t i = 0; i < n; i++) count[digit(&rows[i], pass)]++;
    return count[digit(&rows[0], pass)] == n;
}

void time_sort(struct timed *rows, size_t n) {
    struct timed *from = rows, *to;
    size_t *count, i;

    for (i = 1; i < n && rows[i - 1].at_ns <= rows[i].at_ns;) i++;
    if (i >= n) return;
    to = malloc(n * sizeof *to);
    count = malloc(PLACES * sizeof *count);
    if (!to || !count) abort();
    for (unsigned pass = 0; pass < PASSES; pass++) {
        struct timed *swap = from;
        size_t at = 0;

        if (count_digits(from, n, pass, count)) continue;
        for (unsigned p = 0; p < PLACES; p++) {
            size_t here = count[p];
            count[p] = at;
            at += here;
        }
        for (i = 0; i < n; i++) to[count[digit(&from[i], pass)]++] = from[i];
        from = to;
        to = swap;
    }
    if (from != rows) memcpy(rows, from, n * sizeof *rows);
    free(from != rows ? from : to);
    free(count);
}
