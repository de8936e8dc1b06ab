/* Writing to stdout, and sums over records. */
#include "capture/analyze.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void out_flush(struct out *o) {
    const char *p = o->text.data;
    size_t left = o->text.len;

    while (left && !o->error) {
        ssize_t n = write(o->fd, p, left);
        if (n < 0) {
            if (errno != EINTR) o->error = errno;
            continue;
        }
        p += n;
        left -= (size_t)n;
    }
    o->text.len = 0;
}

void spool_begin(struct spool *s, struct out *o) {
    FILE *file = tmpfile();

    s->to = o->fd;
    s->hidden = file ? dup(fileno(file)) : -1;
    if (file) fclose(file);
    if (s->hidden < 0) return;
    o->fd = s->hidden;
    o->name = "a temporary file for the rows of the table (--jsonl needs none)";
}

void spool_end(struct spool *s, struct out *o) {
    if (s->hidden <= 0) return;
    out_flush(o);
    o->fd = s->to;
    if (!o->error) o->name = "stdout";
}

void spool_copy(struct spool *s, struct out *o) {
    char block[65536];
    ssize_t n;

    if (s->hidden <= 0) return;
    if (lseek(s->hidden, 0, SEEK_SET) < 0) o->error = errno;
    while (!o->error && (n = read(s->hidden, block, sizeof block)) != 0) {
        if (n < 0 && errno != EINTR) o->error = errno;
        if (n > 0) {
            jo_put(&o->text, block, (size_t)n);
            out_flush(o);
        }
    }
    close(s->hidden);
    s->hidden = -1;
}

void totals_add(struct totals *t, const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    const struct wire_evidence *e = &r->evidence;

    t->connections++;
    if (l->state == LIFE_CLOSED)
        t->closed++;
    else
        t->open++;
    t->refused += e->rst_cause == RST_CAUSE_REFUSED;
    if (l->known & KNOW_REQUESTS) {
        t->requests += l->requests;
        t->responses += l->responses;
        t->reused += lifecycle_reused(l);
    } else {
        t->requests_unknown++;
    }
    if (l->known & KNOW_EARLY_CLOSES)
        t->early_closes += l->early_closes;
    else
        t->early_unknown++;
    t->rst_sent += l->rst_sent;
    t->rst_received += l->rst_received;
    t->rst_unread += l->rst_sent && e->rst_cause == RST_CAUSE_UNREAD_AT_CLOSE;
    t->rst_after_close += l->rst_sent && e->rst_cause == RST_CAUSE_DATA_AFTER_CLOSE;
    if (l->known & KNOW_BYTES_IN) t->bytes_in += l->bytes_in;
    if (l->known & KNOW_BYTES_OUT) t->bytes_out += l->bytes_out;
    t->incomplete += (e->incomplete & ~(uint32_t)INCOMPLETE_CAPTURE_ENDED) != 0;
    t->retransmits += (uint64_t)e->local.retransmits + e->remote.retransmits;
    t->gap_bytes += e->local.gap_bytes + e->remote.gap_bytes;
    t->zero_windows += (uint64_t)e->local.zero_windows + e->remote.zero_windows;
}

static void put_line(struct json_out *o, const char *text) {
    jo_put(o, text, strlen(text));
}

void put_tshark_filter(struct json_out *o, const struct wire_record *r) {
    const struct flow_key *f = &r->life.flow;
    const char *ip = f->local.family == ADDR_V6 ? "ipv6" : "ip";
    char local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX], text[512];
    const struct endpoint *ends[2] = {&f->local, &f->remote};
    char *names[2] = {local, remote};

    for (int i = 0; i < 2; i++) { /* the address alone, without brackets */
        char *name = endpoint_text(ends[i], names[i]), *colon = strrchr(name, ':');
        if (colon) *colon = 0;
        if (*name == '[') {
            size_t len = strlen(name);
            memmove(name, name + 1, len);
            name[len - 2] = 0;
        }
    }
    snprintf(text, sizeof text,
             "%s.addr == %s && %s.addr == %s && tcp.port == %u && tcp.port == %u && frame.number >= %" PRIu64
             " && frame.number <= %" PRIu64,
             ip, local, ip, remote, f->local.port, f->remote.port, r->evidence.first_packet, r->evidence.last_packet);
    put_line(o, text);
}

/* ---- progress ---- */

static int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

void progress_begin(struct progress *p) {
    p->begun_ns = p->next_ns = 0;
    if (isatty(STDERR_FILENO)) {
        p->begun_ns = now_ns();
        p->next_ns = p->begun_ns + MSEC(300); /* what is done sooner needs no telling */
    }
}

void progress_show(struct progress *p, const struct capture *c, const struct wire *w) {
    uint64_t read = 0, size = 0;
    int64_t now;
    char of[48] = "";

    if (!p->begun_ns || (now = now_ns()) < p->next_ns) return;
    p->next_ns = now + MSEC(100);
    p->shown = true;
    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;
        capture_source(c, i, &s);
        read += s.bytes;
        size += s.size;
    }
    if (size)
        snprintf(of, sizeof of, " of %.1f MiB, %.0f %%", (double)size / 1048576, 100.0 * (double)read / (double)size);
    fprintf(stderr, "\r\033[K%.1f MiB%s, %.0f MiB/s, %" PRIu64 " connections", (double)read / 1048576, of,
            (double)read / 1048576 / ((double)(now - p->begun_ns) / 1e9), wire_totals(w)->connections);
}

void progress_end(struct progress *p) {
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}
