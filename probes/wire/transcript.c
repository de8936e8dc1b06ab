#include "wire/transcript.h"

#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

/* While it grows: bytes lie in blocks that never move. */
#define BLOCK_MIN ((size_t)4 << 10)
struct block {
    struct block *next;
    size_t used, room;
    uint8_t bytes[];
};
struct transcript {
    struct wire_transcript t; /* first: what the caller gets and frees */
    struct block *blocks;
    uint32_t parts_room, marks_room, windows_room;
};

/* Room for one more of an array: doubles. */
static void *grow(void *array, uint32_t n, uint32_t *room, size_t size) {
    if (n < *room) return array;
    *room = *room ? *room * 2 : 4;
    array = realloc(array, *room * size);
    if (!array || *room > UINT32_MAX / 2) abort();
    return array;
}

void transcript_begin(struct wire *w, struct conn *c) {
    (void)w;
    c->transcript = calloc(1, sizeof *c->transcript);
    if (!c->transcript) abort();
}

static const uint8_t *keep(struct transcript *t, const uint8_t *bytes, size_t len) {
    struct block *b = t->blocks;
    uint8_t *to;

    if (!b || b->room - b->used < len) {
        size_t room = b ? b->room * 2 : BLOCK_MIN;
        if (room > 64 * BLOCK_MIN) room = 64 * BLOCK_MIN;
        if (room < len) room = len;
        b = malloc(sizeof *b + room);
        if (!b) abort();
        *b = (struct block){.next = t->blocks, .room = room};
        t->blocks = b;
    }
    to = b->bytes + b->used;
    memcpy(to, bytes, len);
    b->used += len;
    return to;
}

void transcript_piece(struct wire *w, struct conn *c, unsigned from, const struct piece *p) {
    struct transcript *t = c->transcript;
    struct wire_part *x;

    t->t.parts = grow(t->t.parts, t->t.n_parts, &t->parts_room, sizeof *t->t.parts);
    x = &t->t.parts[t->t.n_parts++];
    *x = (struct wire_part){.at_ns = p->at_ns, .off = c->dir[from].next - p->len, .len = p->len, .from_server = from};
    if (!p->data || p->len > w->limits.transcript_bytes - w->transcript_bytes) return;
    w->transcript_bytes += p->len;
    x->bytes = keep(t, p->data, p->len);
}

void transcript_mark(struct conn *c, enum wire_mark_kind kind, uint64_t off, uint64_t end, uint64_t exchange,
                     const struct piece *p) {
    struct transcript *t = c->transcript;

    t->t.marks = grow(t->t.marks, t->t.n_marks, &t->marks_room, sizeof *t->t.marks);
    t->t.marks[t->t.n_marks++] = (struct wire_mark){.off = off,
                                                    .end = end,
                                                    .exchange = exchange,
                                                    .at_ns = p->at_ns,
                                                    .part = t->t.n_parts ? t->t.n_parts - 1 : 0,
                                                    .kind = (uint8_t)kind};
}

/* Kept while the window is low, and once when it has recovered: a reader that keeps up has none. */
void transcript_window(struct conn *c, unsigned from, int64_t at_ns, uint64_t edge) {
    struct transcript *t = c->transcript;
    const struct dir *d = &c->dir[from];
    const struct wire_window *last = t->t.n_windows ? &t->t.windows[t->t.n_windows - 1] : NULL;
    uint64_t window = edge - c->dir[!from].acked;
    bool is_low = window < d->window_max / 2, was_low = last && last->edge < c->dir[!from].acked + d->window_max / 2;

    if ((!is_low && !was_low) || (last && last->edge == edge && last->from_server == (from != 0))) return;
    t->t.windows = grow(t->t.windows, t->t.n_windows, &t->windows_room, sizeof *t->t.windows);
    t->t.windows[t->t.n_windows++] =
        (struct wire_window){.at_ns = at_ns, .edge = edge, .part = t->t.n_parts, .from_server = from};
}

/* While it grew, ends were told apart by their index; only now is it known which is the client. */
struct wire_transcript *transcript_end(struct conn *c) {
    struct transcript *t = c->transcript;

    c->transcript = NULL;
    if (!t) return NULL;
    for (uint32_t i = 0; i < t->t.n_parts; i++) t->t.parts[i].from_server ^= c->client;
    for (uint32_t i = 0; i < t->t.n_windows; i++) t->t.windows[i].from_server ^= c->client;
    return &t->t;
}

void wire_transcript_free(struct wire_transcript **tp) {
    struct transcript *t = (struct transcript *)*tp;

    if (!t) return;
    while (t->blocks) {
        struct block *b = t->blocks;
        t->blocks = b->next;
        free(b);
    }
    free(t->t.parts);
    free(t->t.marks);
    free(t->t.windows);
    free(t);
    *tp = NULL;
}
