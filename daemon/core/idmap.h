/* From an id to the thing that has it: open addressing, two words a slot.
 *
 * Made for ids that only grow and die in any order: they are spread by a
 * multiplication, so that a block of old ones is no wall to the new ones, and a
 * removal closes its gap, so that there are no graves to walk over. */
#ifndef CONNLEAK_IDMAP_H
#define CONNLEAK_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    uint64_t id; /* 0: free */
    void *thing;
};

/* All zero is an empty map. */
struct idmap {
    struct idmap_slot *slots;
    size_t room, n; /* room is a power of two, or 0 */
    unsigned shift; /* 64 minus the logarithm of room */
};

/* The thing, or NULL. */
void *idmap_get(const struct idmap *m, uint64_t id);

/* Borrows `thing`; `id` is neither 0 nor in the map. Aborts when memory is out. */
void idmap_put(struct idmap *m, uint64_t id, void *thing);

/* Nothing happens if `id` is not there. */
void idmap_del(struct idmap *m, uint64_t id);

/* Gives the memory back; the map is empty and may be used again. */
void idmap_clear(struct idmap *m);

#endif
