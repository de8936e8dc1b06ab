#include "sim_private.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW (256u << 10) /* what the kernel takes for a caller that does not read */

static void receive(struct line *l, const char *text, size_t len, size_t fill) {
    if (l->queued + len + fill > l->room) {
        l->room = (l->queued + len + fill) * 2;
        l->queue = realloc(l->queue, l->room);
        if (!l->queue) abort();
    }
    if (len) memcpy(l->queue + l->queued, text, len);
    memset(l->queue + l->queued + len, 'x', fill);
    l->queued += len + fill;
}

static void top_up(struct line *l) {
    if (!l->stream || l->queued >= WINDOW) return;
    receive(l, NULL, 0, WINDOW - l->queued);
    l->blocked = true;
}

/* The server writes to a connection that we have closed. */
static void late_write(struct line *l) {
    l->late_writes++;
    if (l->wire == WIRE_F)
        l->wire = WIRE_FR;
    else
        l->late_failed++;
}

void sim_serve_step(struct line *l, const struct serve_step *step) {
    bool closed = l->where == CLOSED;

    switch (step->kind) {
    case SERVE_SEND:
        if (closed)
            late_write(l);
        else
            receive(l, step->text, step->text ? strlen(step->text) : 0, step->fill);
        break;
    case SERVE_FIN:
        if (!closed) l->fin = true;
        break;
    case SERVE_RST:
        if (!closed) l->rst = true;
        break;
    case SERVE_STREAM:
        if (closed) late_write(l);
        l->stream = !closed;
        top_up(l);
        break;
    case SERVE_END:
        break;
    }
}

void sim_at(struct sim *s, mono_ns when, int line, enum net_kind kind, const struct serve_step *step) {
    if (s->n_events == EVENTS_MAX) sim_die("too many events");
    struct event *e = &s->events[s->n_events++];
    *e = (struct event){.at = when, .line = line, .kind = kind};
    if (step) e->step = *step;
}

void sim_serve(struct sim *s, int line, const struct serve *answer) {
    for (int i = 0; i < SIM_STEPS && answer->step[i].kind != SERVE_END; i++)
        sim_at(s, s->now + MSEC(answer->step[i].at_ms), line, NET_SERVE, &answer->step[i]);
}

int sim_number_of(const struct sim *s, const struct line *l) {
    for (int i = 1; i <= s->n_lines; i++)
        if (s->lines[i] == l) return i;
    return 0;
}

void sim_close_line(struct line *l, enum close_reason why) {
    if (l->where == CLOSED) return;
    if (!l->dialed)
        l->wire = WIRE_NONE;
    else if (l->fin || l->rst)
        l->wire = WIRE_S;
    else
        l->wire = l->queued ? WIRE_R : WIRE_F;
    l->where = CLOSED;
    l->reason = why;
    l->caller = NULL;
}

enum filled sim_fill(struct line *l, size_t size) {
    if (l->at == l->n) l->at = l->n = 0;
    if (l->queued == 0) return l->rst ? AT_RST : l->fin ? AT_FIN : NOTHING_THERE;
    if (size > l->queued) size = l->queued;
    if (l->n + size > sizeof l->buf) sim_die("the read buffer overflows");
    memcpy(l->buf + l->n, l->queue, size);
    l->n += size;
    l->queued -= size;
    memmove(l->queue, l->queue + size, l->queued);
    l->blocked = false;
    top_up(l);
    return FILLED;
}
