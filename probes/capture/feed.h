/* From packets to the wire analyser: the loop that analyze and crosscheck share. */
#ifndef CONNLEAK_CAPTURE_FEED_H
#define CONNLEAK_CAPTURE_FEED_H

#include "capture/capture.h"

#include <signal.h>

struct feed_counts {
    uint64_t packets, tcp, other, fragments, cut, malformed, unsupported;
    uint64_t first_fragment, first_malformed; /* packet numbers; 0: none */
    int32_t unsupported_type;                 /* the first link type that could not be read */
};

/* Takes the packets that are at hand (waiting for one, if there is none) and feeds
 * them. What capture_next says: CAPTURE_PACKET, and the rest when nothing was fed. */
enum capture_step feed_some(struct capture *c, struct wire *w, struct feed_counts *counts);

/* When a live capture is over. What the kernel has captured by then is still read,
 * for a second at most; a second signal ends that, too. */
struct live_until {
    int64_t duration_ns;         /* after so long; 0: not for that */
    volatile sig_atomic_t *stop; /* counts signals, see live_catch; NULL: none is waited for */
    int64_t began_ns, ends_ns;   /* these and what follows are live_is_over's own */
    int waits;
};

/* Lets SIGINT and SIGTERM count up *stop. */
void live_catch(volatile sig_atomic_t *stop);

/* After each step of a live capture: is it time to leave? The first call begins the time. */
bool live_is_over(struct live_until *u, enum capture_step step);

#endif
