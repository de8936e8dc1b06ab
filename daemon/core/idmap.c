#include "idmap.h"

#include <stdlib.h>

#define FIRST_ROOM_LOG 6

static size_t home(const struct idmap *m, uint64_t id) {
    return (size_t)(id * 0x9e3779b97f4a7c15u >> m->shift);
}

/* The slot of `id`, or the free one where it would go. */
static size_t seek(const struct idmap *m, uint64_t id) {
    size_t i = home(m, id);
    while (m->slots[i].id != id && m->slots[i].id != 0) i = (i + 1) & (m->room - 1);
    return i;
}

void *idmap_get(const struct idmap *m, uint64_t id) {
    if (m->n == 0 || id == 0) return NULL;
    return m->slots[seek(m, id)].thing;
}

static void grow(struct idmap *m) {
    struct idmap old = *m;

    m->shift = old.room ? old.shift - 1 : 64 - FIRST_ROOM_LOG;
    m->room = (size_t)1 << (64 - m->shift);
    m->slots = calloc(m->room, sizeof *m->slots);
    if (!m->slots) abort();
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].id) m->slots[seek(m, old.slots[i].id)] = old.slots[i];
    free(old.slots);
}

void idmap_put(struct idmap *m, uint64_t id, void *thing) {
    if (m->n * 2 >= m->room) grow(m);
    m->slots[seek(m, id)] = (struct idmap_slot){id, thing};
    m->n++;
}

void idmap_del(struct idmap *m, uint64_t id) {
    if (m->n == 0 || id == 0) return;
    size_t mask = m->room - 1, gap = seek(m, id);
    if (m->slots[gap].id == 0) return;

    /* Whoever stands behind the gap and could not be found across it moves into it. */
    for (size_t i = (gap + 1) & mask; m->slots[i].id; i = (i + 1) & mask) {
        size_t wanted = home(m, m->slots[i].id);
        if (((i - wanted) & mask) < ((i - gap) & mask)) continue;
        m->slots[gap] = m->slots[i];
        gap = i;
    }
    m->slots[gap] = (struct idmap_slot){0, NULL};
    m->n--;
}

void idmap_clear(struct idmap *m) {
    free(m->slots);
    *m = (struct idmap){0};
}
