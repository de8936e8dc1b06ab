#include "capture/feed.h"

#define BATCH 32 /* packets whose connections are fetched from memory at once */

static void count(struct feed_counts *n, enum link_verdict v, const struct capture_packet *p) {
    switch (v) {
    case LINK_TCP:
        n->tcp++;
        break;
    case LINK_OTHER:
        n->other++;
        break;
    case LINK_FRAGMENT:
        if (!n->fragments++) n->first_fragment = p->number;
        break;
    case LINK_CUT:
        n->cut++;
        break;
    case LINK_MALFORMED:
        if (!n->malformed++) n->first_malformed = p->number;
        break;
    case LINK_UNSUPPORTED:
        if (!n->unsupported++) n->unsupported_type = p->link_type;
        break;
    }
}

enum capture_step feed_some(struct capture *c, struct wire *w, struct feed_counts *counts) {
    struct capture_packet packets[BATCH];
    struct wire_segment segments[BATCH];
    enum capture_step step;
    size_t n = capture_next_some(c, packets, BATCH, &step), n_tcp = 0;

    if (n == 0) return step;
    for (size_t i = 0; i < n; i++) {
        enum link_verdict v = link_decode(&packets[i], &segments[n_tcp]);
        count(counts, v, &packets[i]);
        n_tcp += v == LINK_TCP;
    }
    counts->packets += n;
    for (size_t i = 0; i < n_tcp; i++) wire_prepare(w, &segments[i]);
    for (size_t i = 0; i < n_tcp; i++) wire_prefetch(w, &segments[i]);
    for (size_t i = 0; i < n_tcp; i++) {
        capture_look_ahead(c);
        wire_feed_prepared(w, &segments[i]);
    }
    return CAPTURE_PACKET;
}
