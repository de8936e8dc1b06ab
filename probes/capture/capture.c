/* One capture out of several files, by a merge in order of time, or a live one. */
#include "capture/capture.h"
#include "capture/file.h"
#include "capture/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct merged {
    struct capture_file file;
    struct capture_packet head; /* the next packet, if has_head */
    bool has_head, ended, fault_told;
};

struct capture {
    struct merged *files;
    size_t n_files;
    struct live *live;
    uint64_t packets;
};

struct capture *capture_open(const char *const *paths, size_t n, char error[CAPTURE_TEXT]) {
    struct capture *c = calloc(1, sizeof *c);

    if (c) c->files = calloc(n ? n : 1, sizeof *c->files);
    if (!c || !c->files) {
        snprintf(error, CAPTURE_TEXT, "no memory for %zu files", n);
        capture_close(&c);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!file_open(&c->files[i].file, paths[i], error)) {
            capture_close(&c);
            return NULL;
        }
        c->n_files++;
    }
    return c;
}

struct capture *capture_adopt(struct bytes *b, const char *path, char error[CAPTURE_TEXT]) {
    struct capture *c = calloc(1, sizeof *c);

    if (c) c->files = calloc(1, sizeof *c->files);
    if (!c || !c->files) {
        snprintf(error, CAPTURE_TEXT, "%s: no memory", path);
        bytes_close(b);
        capture_close(&c);
        return NULL;
    }
    if (file_adopt(&c->files[0].file, b, path, error))
        c->n_files = 1;
    else
        capture_close(&c);
    return c;
}

struct capture *capture_open_live(const char *interface, const char *ports, const char *filter,
                                  char error[CAPTURE_TEXT]) {
    struct capture *c = calloc(1, sizeof *c);

    if (!c) {
        snprintf(error, CAPTURE_TEXT, "no memory");
        return NULL;
    }
    c->live = live_open(interface, ports, filter, error);
    if (!c->live) capture_close(&c);
    return c;
}

void capture_close(struct capture **cp) {
    struct capture *c = *cp;

    if (!c) return;
    for (size_t i = 0; i < c->n_files; i++) file_close(&c->files[i].file);
    free(c->files);
    live_close(&c->live);
    free(c);
    *cp = NULL;
}

/* A fault is told once; then the file has ended. */
static enum capture_step ended(struct merged *m) {
    m->ended = true;
    if (!m->file.fault[0] || m->fault_told) return CAPTURE_END;
    m->fault_told = true;
    return CAPTURE_FAULT;
}

static size_t some_of_one(struct merged *m, struct capture_packet *out, size_t max, enum capture_step *step) {
    size_t n = 0;

    if (m->ended || (*step = file_next(&m->file, false, &out[0])) != CAPTURE_PACKET) {
        *step = ended(m);
        return 0;
    }
    for (n = 1; n < max && file_next(&m->file, true, &out[n]) == CAPTURE_PACKET; n++) continue;
    return n;
}

static size_t one_of_many(struct capture *c, struct capture_packet *out, enum capture_step *step) {
    struct merged *best = NULL;

    for (size_t i = 0; i < c->n_files; i++) {
        struct merged *m = &c->files[i];
        if (!m->has_head && !m->ended) {
            m->has_head = file_next(&m->file, false, &m->head) == CAPTURE_PACKET;
            if (!m->has_head && (*step = ended(m)) == CAPTURE_FAULT) return 0;
        }
        if (m->has_head && (!best || m->head.at_ns < best->head.at_ns)) best = m;
    }
    *step = best ? CAPTURE_PACKET : CAPTURE_END;
    if (!best) return 0;
    *out = best->head;
    best->has_head = false;
    return 1;
}

size_t capture_next_some(struct capture *c, struct capture_packet *out, size_t max, enum capture_step *step) {
    size_t n;

    if (c->live)
        n = (*step = live_next(c->live, out)) == CAPTURE_PACKET;
    else if (c->n_files == 1)
        n = some_of_one(&c->files[0], out, max, step);
    else
        n = one_of_many(c, out, step);
    for (size_t i = 0; i < n; i++) out[i].number = ++c->packets;
    return n;
}

void capture_look_ahead(struct capture *c) {
    if (c->n_files == 1) file_look_ahead(&c->files[0].file);
}

enum capture_step capture_next(struct capture *c, struct capture_packet *out) {
    enum capture_step step;

    return capture_next_some(c, out, 1, &step) ? CAPTURE_PACKET : step;
}

size_t capture_n_sources(const struct capture *c) {
    return c->live ? 1 : c->n_files;
}

void capture_source(const struct capture *c, size_t i, struct capture_source *out) {
    const struct capture_file *f;

    memset(out, 0, sizeof *out);
    if (c->live) {
        live_source(c->live, out);
        return;
    }
    f = &c->files[i].file;
    out->path = f->path;
    out->packets = f->packets;
    out->bytes = f->bytes.stored;
    out->size = f->bytes.size;
    out->first_ns = f->first_ns;
    out->last_ns = f->last_ns;
    out->link_type = f->link_type;
    out->dropped = file_dropped(f, &out->dropped_known);
    memcpy(out->fault, f->fault, sizeof out->fault);
}
