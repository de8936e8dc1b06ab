/* Where connections are found: an open table of hashes and indexes, so that a
 * segment costs one probe there and one visit to its connection. Linear probing
 * with backward shift: no tombstones in the table, no growth without growth. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK CONNS_PER_CHUNK
#define TOMBS (64u << 10)

static uint64_t slot_of(uint32_t hash, uint32_t index) {
    return (uint64_t)hash << 32 | (index + 1);
}

static bool same_end(const struct endpoint *a, const struct endpoint *b) {
    uint64_t x[2], y[2];
    uint32_t p, q;

    memcpy(x, a->addr, 16), memcpy(y, b->addr, 16);
    memcpy(&p, &a->port, 4), memcpy(&q, &b->port, 4);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (p ^ q)) == 0;
}

uint32_t table_find(const struct wire *w, const struct endpoint *lower, const struct endpoint *upper, uint32_t hash) {
    for (uint32_t i = hash & w->mask; w->slots[i]; i = (i + 1) & w->mask) {
        if (w->slots[i] >> 32 == hash) {
            uint32_t index = (uint32_t)w->slots[i] - 1;
            const struct conn *c = conn_at(w, index);
            if (same_end(&c->ends[0], lower) && same_end(&c->ends[1], upper)) return index;
        }
    }
    return NO_INDEX;
}

static void insert(uint64_t *slots, uint32_t mask, uint64_t slot) {
    uint32_t i = (uint32_t)(slot >> 32) & mask;
    while (slots[i]) i = (i + 1) & mask;
    slots[i] = slot;
}

static void grow(struct wire *w) {
    uint32_t mask = w->slots ? w->mask * 2 + 1 : 4095;
    uint64_t *slots = calloc((size_t)mask + 1, sizeof *slots);

    if (!slots || mask == UINT32_MAX) abort();
    if (w->slots)
        for (uint32_t i = 0; i <= w->mask; i++)
            if (w->slots[i]) insert(slots, mask, w->slots[i]);
    free(w->slots);
    w->slots = slots;
    w->mask = mask;
}

void table_init(struct wire *w) {
    w->free_list = NO_INDEX;
    grow(w);
}

void table_add(struct wire *w, uint32_t index) {
    if ((uint64_t)w->n_slots_used * 2 >= w->mask) grow(w);
    insert(w->slots, w->mask, slot_of(conn_at(w, index)->hash, index));
    w->n_slots_used++;
}

void table_remove(struct wire *w, uint32_t index) {
    uint64_t slot = slot_of(conn_at(w, index)->hash, index);
    uint32_t i = (uint32_t)(slot >> 32) & w->mask, hole;

    while (w->slots[i] != slot) i = (i + 1) & w->mask;
    for (hole = i;;) { /* whatever stands behind and may stand here moves up */
        i = (i + 1) & w->mask;
        if (!w->slots[i]) break;
        uint32_t home = (uint32_t)(w->slots[i] >> 32) & w->mask;
        if (((i - home) & w->mask) >= ((i - hole) & w->mask)) {
            w->slots[hole] = w->slots[i];
            hole = i;
        }
    }
    w->slots[hole] = 0;
    w->n_slots_used--;
}

uint32_t conn_take(struct wire *w) {
    uint32_t index;

    if (w->free_list == NO_INDEX) {
        struct conn **chunks = realloc(w->chunks, (w->n_chunks + 1) * sizeof *chunks);
        struct conn *chunk = aligned_alloc(_Alignof(struct conn), CHUNK * sizeof *chunk);
        if (!chunks || !chunk || w->n_chunks >= UINT32_MAX / CHUNK - 1) abort();
        w->chunks = chunks;
        chunks[w->n_chunks] = chunk;
        for (uint32_t i = CHUNK; i-- > 0;) {
            chunk[i].newer = w->free_list;
            w->free_list = w->n_chunks * CHUNK + i;
        }
        w->n_chunks++;
    }
    index = w->free_list;
    w->free_list = conn_at(w, index)->newer;
    memset(conn_at(w, index), 0, sizeof(struct conn));
    return index;
}

void conn_give(struct wire *w, uint32_t index) {
    conn_at(w, index)->newer = w->free_list;
    w->free_list = index;
}

/* Connections whose record is made already: a late segment of one must not look
 * like a new connection that began before the capture. */
bool table_is_tomb(const struct wire *w, uint32_t hash) {
    return w->tombs && w->tombs[hash % TOMBS] == (hash | 1);
}

void table_bury(struct wire *w, uint32_t hash) {
    if (!w->tombs && !(w->tombs = calloc(TOMBS, sizeof *w->tombs))) abort();
    w->tombs[hash % TOMBS] = hash | 1; /* 0 is none */
}
