/* What a capture shows, connection by connection, through the wire analyser.
 * About 340 bytes a connection are kept. */
#ifndef CONNLEAK_VIEWS_H
#define CONNLEAK_VIEWS_H

#include "capture/feed.h"
#include "core/join.h"

#include <signal.h>

struct views {
    struct join_life *lives; /* ref is the index of the view; join_sort may reorder these */
    struct join_view *views;
    size_t n, room;
    struct feed_counts counts;
    uint64_t gaps;             /* holes in the streams that were seen */
    int64_t first_ns, last_ns; /* of the packets; 0: none */
};

/* When to end a live capture. */
struct views_until {
    int64_t duration_ns;               /* after so long; 0: not for that */
    const volatile sig_atomic_t *stop; /* when a signal handler has set this; NULL: not for that */
};

/* Reads the capture to its end, or a live one until it is time: then what the
 * kernel has captured already is still read, for a second at most. Faults of the
 * sources are theirs to tell (capture_source). With `progress`, says on stderr
 * now and then how far it is. */
void views_read(struct views *v, struct capture *c, const struct views_until *until, bool progress);
void views_free(struct views *v);

#endif
