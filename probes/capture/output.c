/* Writing to stdout, and sums over records. */
#include "capture/analyze.h"

#include <errno.h>
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
