/* From packets to the wire analyser: the loop that analyze and crosscheck share. */
#ifndef CONNLEAK_CAPTURE_FEED_H
#define CONNLEAK_CAPTURE_FEED_H

#include "capture/capture.h"

struct feed_counts {
    uint64_t packets, tcp, other, fragments, cut, malformed, unsupported;
    uint64_t first_fragment, first_malformed; /* packet numbers; 0: none */
    int32_t unsupported_type;                 /* the first link type that could not be read */
};

/* Takes the packets that are at hand (waiting for one, if there is none) and feeds
 * them. What capture_next says: CAPTURE_PACKET, and the rest when nothing was fed. */
enum capture_step feed_some(struct capture *c, struct wire *w, struct feed_counts *counts);

#endif
