/* Bytes that wait: for the rest of a head, or for a socket that is full. */
#ifndef CONNLEAK_BYTES_H
#define CONNLEAK_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* [off, len) are still wanted. Empty ones hold no memory after bytes_free. */
struct bytes {
    uint8_t *p;
    size_t off, len, room;
};

static inline size_t bytes_left(const struct bytes *b) {
    return b->len - b->off;
}

static inline void bytes_free(struct bytes *b) {
    free(b->p);
    *b = (struct bytes){0};
}

/* Makes room for n more behind len; aborts when memory is short. */
static inline void bytes_reserve(struct bytes *b, size_t n) {
    if (b->off && b->off == b->len) b->off = b->len = 0;
    if (b->room - b->len >= n) return;
    size_t room = b->room ? b->room : 512;
    while (room - b->len < n) room *= 2;
    b->p = realloc(b->p, room);
    if (!b->p) abort();
    b->room = room;
}

static inline void bytes_add(struct bytes *b, const void *data, size_t n) {
    if (!n) return;
    bytes_reserve(b, n);
    memcpy(b->p + b->len, data, n);
    b->len += n;
}

#endif
