/* What happens on connections, in order: a queue that the reader empties after each batch. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

/* Texts of the events in the queue, in blocks that do not move; the first is kept for the next batch. */
#define TEXT_BLOCK ((size_t)64 << 10)
struct event_texts {
    struct event_texts *next;
    size_t used;
    char bytes[TEXT_BLOCK];
};

struct wire_event *happened(struct wire *w, const struct conn *c, enum wire_event_kind kind, int64_t at_ns,
                            uint64_t packet) {
    struct wire_event *e;

    if (!w->limits.events) return NULL;
    if (w->n_events == w->events_room) {
        w->events_room = w->events_room ? w->events_room * 2 : 256;
        w->events = realloc(w->events, w->events_room * sizeof *w->events);
        if (!w->events) abort();
    }
    e = &w->events[w->n_events++];
    *e = (struct wire_event){.at_ns = at_ns,
                             .conn = c->id,
                             .packet = packet,
                             .client = c->ends[c->client],
                             .server = c->ends[!c->client],
                             .host = c->host,
                             .user_agent = c->user_agent,
                             .kind = (uint8_t)kind};
    return e;
}

static const char *keep_text(struct wire *w, const uint8_t *text, size_t len) {
    struct event_texts *t = w->event_texts;
    char *to;

    if (len > WIRE_TARGET_MAX) len = WIRE_TARGET_MAX;
    if (!t || TEXT_BLOCK - t->used < len + 1) {
        t = malloc(sizeof *t);
        if (!t) abort();
        t->next = w->event_texts;
        t->used = 0;
        w->event_texts = t;
    }
    to = t->bytes + t->used;
    memcpy(to, text, len);
    to[len] = 0;
    t->used += len + 1;
    return to;
}

static void drop_texts(struct wire *w, size_t keep) {
    for (struct event_texts *t = w->event_texts, *next; t; t = next) {
        next = t->next;
        if (!next && keep) {
            t->used = 0;
            w->event_texts = t;
            return;
        }
        free(t);
    }
    w->event_texts = NULL;
}

void events_free(struct wire *w) {
    drop_texts(w, 0);
    free(w->events);
}

static size_t find_any(const uint8_t *text, size_t len, const char *set) {
    size_t i = 0;

    while (i < len && !strchr(set, text[i])) i++;
    return i;
}

/* RFC 9112 section 3.2: CONNECT names an authority; an absolute form's authority wins over Host; else Host. */
void event_target(struct wire *w, struct wire_event *e, const struct h1_head *head, const uint8_t *message) {
    const uint8_t *target = message + head->target.off, *authority = message + head->host.off, *at;
    size_t len = head->target.len, authority_len = head->has_host ? head->host.len : 0, scheme;

    if (!w->limits.targets) return;
    if (head->is_connect) {
        e->authority = keep_text(w, target, len);
        e->path = keep_text(w, target, 0);
        return;
    }
    scheme = find_any(target, len, ":/?");
    if (scheme + 3 <= len && !memcmp(target + scheme, "://", 3)) {
        target += scheme + 3;
        len -= scheme + 3;
        authority = target;
        authority_len = find_any(target, len, "/?#");
        target += authority_len;
        len -= authority_len;
        while ((at = memchr(authority, '@', authority_len))) { /* userinfo: nobody's business */
            authority_len -= (size_t)(at + 1 - authority);
            authority = at + 1;
        }
    }
    e->authority = keep_text(w, authority, authority_len);
    e->path = keep_text(w, target, find_any(target, len, "?#"));
}

const struct wire_event *wire_next_event(struct wire *w) {
    if (w->events_first < w->n_events) return &w->events[w->events_first++];
    w->events_first = w->n_events = 0;
    if (w->event_texts) drop_texts(w, 1);
    return NULL;
}
