#include "views.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t clamp_time(int64_t ns) {
    return ns < 0 ? 0 : ns > JOIN_TIME_MAX ? JOIN_TIME_MAX : ns;
}

static struct join_end end_of(const struct wire_end *e) {
    return (struct join_end){.bytes = e->bytes,
                             .acked_bytes = e->acked_bytes,
                             .acked_by_rst = e->acked_by_rst,
                             .fin_packet = e->fin_packet,
                             .rst_packet = e->rst_packet,
                             .last_payload_packet = e->last_payload_packet,
                             .fin_ns = clamp_time(e->fin_ns),
                             .rst_ns = clamp_time(e->rst_ns),
                             .last_payload_ns = clamp_time(e->last_payload_ns),
                             .crossed = e->crossed,
                             .window_low = e->zero_windows || (e->window_known && e->window < e->window_max / 2)};
}

/* A view that lacks only what no capture could show (TLS hides its messages) is whole. */
static uint32_t blind_spots(const struct wire_evidence *e) {
    uint32_t missing = e->incomplete, blind = 0;

    if (missing & INCOMPLETE_START) blind |= JOIN_BLIND_START;
    if (missing & (INCOMPLETE_END | INCOMPLETE_CAPTURE_ENDED)) blind |= JOIN_BLIND_END;
    if (missing & INCOMPLETE_SNAPLEN)
        blind |= JOIN_BLIND_CUT;
    else if (missing & (INCOMPLETE_GAP_IN | INCOMPLETE_GAP_OUT))
        blind |= JOIN_BLIND_GAPS;
    if (missing & (INCOMPLETE_ONE_WAY | INCOMPLETE_LIMIT)) blind |= JOIN_BLIND_GAPS;
    return blind;
}

struct join_view *views_add(struct views *v, struct join_life **life) {
    if (v->n == v->room) {
        v->room = v->room ? v->room * 2 : 1024;
        v->lives = realloc(v->lives, v->room * sizeof *v->lives);
        v->views = realloc(v->views, v->room * sizeof *v->views);
        if (!v->lives || !v->views) abort();
    }
    *life = v->lives + v->n;
    **life = (struct join_life){.ref = (uint32_t)v->n};
    return v->views + v->n++;
}

static void add(struct views *v, const struct wire_record *rec) {
    const struct lifecycle *l = &rec->life;
    const struct wire_evidence *e = &rec->evidence;
    struct join_life *life;
    struct join_view *view = views_add(v, &life);

    if (!(e->incomplete & INCOMPLETE_SNAPLEN)) v->gaps += e->local.gaps + e->remote.gaps;
    life->flow = l->flow;
    life->opened_ns = clamp_time(l->opened_ns ? l->opened_ns : e->first_ns);
    life->closed_ns = clamp_time(l->closed_ns);
    life->opened_known = (l->known & KNOW_OPENED) != 0;
    *view = (struct join_view){.id = l->id,
                               .end = {end_of(&e->local), end_of(&e->remote)},
                               .opened_ns = clamp_time(l->opened_ns),
                               .first_ns = clamp_time(e->first_ns),
                               .last_ns = clamp_time(e->last_ns),
                               .syn_packet = e->syn_packet,
                               .first_packet = e->first_packet,
                               .last_packet = e->last_packet,
                               .last_request_packet = e->last_request_packet,
                               .requests = l->requests,
                               .responses = l->responses + e->excess_is_response, /* a 408, say */
                               .pipelined = e->pipelined,
                               .last_head_at = e->last_head_at,
                               .early_closes = l->early_closes,
                               .known = l->known,
                               .blind = blind_spots(e),
                               .stillborn = e->syn_packet && !e->established && !e->local.bytes && !e->remote.bytes};
}

static void take_finished(struct views *v, struct wire *w) {
    struct wire_record *rec;

    while ((rec = wire_next(w))) {
        if (v->n < UINT32_MAX) add(v, rec);
        wire_record_free(&rec);
    }
}

static int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SEC(1) + t.tv_nsec;
}

static void tell_progress(const struct views *v, const struct capture *c, bool last) {
    uint64_t read = 0, size = 0;

    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;
        capture_source(c, i, &s);
        read += s.bytes;
        size += s.size;
    }
    fprintf(stderr, "\r%llu packets, %llu MiB", (unsigned long long)v->counts.packets,
            (unsigned long long)(read >> 20));
    if (size) fprintf(stderr, " of %llu", (unsigned long long)(size >> 20));
    fprintf(stderr, ", %zu connections%s", v->n, last ? "\n" : " ");
}

/* What the capture covers: from the first packet of its sources to the last. */
static void take_span(struct views *v, const struct capture *c) {
    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;

        capture_source(c, i, &s);
        if (!s.packets) continue;
        if (!v->first_ns || s.first_ns < v->first_ns) v->first_ns = clamp_time(s.first_ns);
        if (s.last_ns > v->last_ns) v->last_ns = clamp_time(s.last_ns);
    }
}

#define PROGRESS_EVERY MSEC(250)

/* The loop over the packets; finished connections are taken as they come. */
static void read_packets(struct views *v, struct capture *c, struct wire *w, struct live_until *until, bool progress) {
    int64_t began = now_ns(), told = began;
    bool over;

    do {
        enum capture_step step = feed_some(c, w, &v->counts);
        int64_t now;

        take_finished(v, w);
        over = step == CAPTURE_END || (until && live_is_over(until, step));
        if (!progress || (now = now_ns()) - told < PROGRESS_EVERY) continue;
        tell_progress(v, c, false);
        told = now;
    } while (!over);
    if (told != began) tell_progress(v, c, true);
}

void views_read(struct views *v, struct capture *c, struct live_until *until, bool progress) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct wire *w;

    limits.exchanges = false;
    w = wire_new(&limits);
    read_packets(v, c, w, until, progress);
    wire_finish(w);
    take_finished(v, w);
    wire_free(&w);
    take_span(v, c);
}

void views_free(struct views *v) {
    free(v->lives);
    free(v->views);
    *v = (struct views){0};
}
