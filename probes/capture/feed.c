#include "capture/feed.h"

#include <time.h>

#define BATCH 32 /* packets that are decoded together */
#define AHEAD 6  /* and as many before its turn a packet's connection is called for */

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
    for (size_t i = 0; i < n_tcp && i < AHEAD; i++) wire_prefetch(w, &segments[i]);
    for (size_t i = 0; i < n_tcp; i++) {
        if (i + AHEAD < n_tcp) wire_prefetch(w, &segments[i + AHEAD]);
        capture_look_ahead(c);
        wire_feed_prepared(w, &segments[i]);
    }
    return CAPTURE_PACKET;
}

/* ---- the end of a live capture ---- */

#define DRAIN_FOR   SEC(1)
#define DRAIN_WAITS 3 /* the kernel hands packets over in blocks, and may keep one for as long as a wait */

static volatile sig_atomic_t *caught;

static void on_signal(int sig) {
    (void)sig;
    if (*caught < 2) ++*caught;
}

void live_catch(volatile sig_atomic_t *stop) {
    struct sigaction count = {.sa_handler = on_signal};

    caught = stop;
    sigaction(SIGINT, &count, NULL);
    sigaction(SIGTERM, &count, NULL);
}

static int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

bool live_is_over(struct live_until *u, enum capture_step step) {
    int64_t now = now_ns();
    int signals = u->stop ? *u->stop : 0;

    if (!u->began_ns) u->began_ns = now;
    if (!u->ends_ns && (signals || (u->duration_ns && now - u->began_ns >= u->duration_ns)))
        u->ends_ns = now + DRAIN_FOR;
    u->waits = step == CAPTURE_WAIT ? u->waits + 1 : 0;
    return u->ends_ns && (u->waits >= DRAIN_WAITS || now >= u->ends_ns || signals > 1);
}
