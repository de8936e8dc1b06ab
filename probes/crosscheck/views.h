/* What a capture shows, connection by connection, through the wire analyser.
 * About 340 bytes a connection are kept. */
#ifndef CONNLEAK_VIEWS_H
#define CONNLEAK_VIEWS_H

#include "capture/feed.h"
#include "core/join.h"

struct views {
    struct join_life *lives; /* ref is the index of the view; join_sort may reorder these */
    struct join_view *views;
    size_t n, room;
    struct feed_counts counts;
    uint64_t gaps;             /* holes in the streams that were seen */
    int64_t first_ns, last_ns; /* of the packets; 0: none */
};

/* Reads the capture to its end, or a live one until it is time; `until` is NULL for
 * files. Faults of the sources are theirs to tell (capture_source). With `progress`,
 * says on stderr now and then how far it is. */
void views_read(struct views *v, struct capture *c, struct live_until *until, bool progress);
/* The same of what the kernel saw: the records of `connleak resets --jsonl`, a
 * line each; "-" is stdin. False, with one line in `error` that names file, line
 * and what was expected. */
#define VIEWS_TEXT 512
bool views_read_kernel(struct views *v, const char *path, char error[VIEWS_TEXT]);

/* Turns those round of which it is a guess who had connected, where the flows of
 * `lives` (sorted) know better. */
void views_turn(struct views *v, const struct join_life *lives, size_t n);

/* One more, its life's ref set; the caller fills them. For the two above. */
struct join_view *views_add(struct views *v, struct join_life **life);
void views_free(struct views *v);

#endif
