/* What `connleak analyze` was asked for, and its outputs. */
#ifndef CONNLEAK_CAPTURE_ANALYZE_H
#define CONNLEAK_CAPTURE_ANALYZE_H

#include "capture/feed.h"
#include "record/json_out.h"

#include <stdio.h>

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_TSHARK };

struct totals {
    uint64_t connections, closed, open, refused, requests, responses, reused, early_closes, early_unknown;
    uint64_t requests_unknown; /* connections whose requests are null */
    uint64_t rst_sent, rst_received, rst_unread, rst_after_close, bytes_in, bytes_out;
    uint64_t incomplete, retransmits, gap_bytes, zero_windows;
};

/* Where text for machines or people goes; flushed as it fills. */
struct out {
    struct json_out text;
    int fd;
    int error; /* errno of the first write that failed, to what is named here */
    const char *name;
    uint64_t n_rows;
};
void out_flush(struct out *o);
static inline void out_maybe_flush(struct out *o) {
    if (o->text.len >= 64u << 10) out_flush(o);
}

/* Holds back what is written, in a file without a name once it is large, so that something known only at the end can
 * stand above it. Where there is no room for a file, what comes is written through as it comes. */
struct spool {
    int to;     /* where it goes in the end */
    int hidden; /* -1: nothing is held back */
};
void spool_begin(struct spool *s, struct out *o);
void spool_end(struct spool *s, struct out *o);  /* from here on o writes to the end again */
void spool_copy(struct spool *s, struct out *o); /* what was held back */

/* Findings for people, the gravest first; NULL: none are looked for. */
struct findings;
void put_findings(struct out *o, struct findings *f, bool color);

void totals_add(struct totals *t, const struct wire_record *r);

/* The table: a row each, then totals by server. */
struct table;
struct table *table_new(bool color);
void table_row(struct table *t, struct out *o, const struct wire_record *r);
void table_end(struct table *t, struct out *o, const struct totals *sum);
void table_free(struct table **tp);

/* An expression for tshark -Y: a connection's packets and no other's. */
void put_tshark_filter(struct json_out *o, const struct wire_record *r);

/* How far it is, on stderr where that is a terminal. */
struct progress {
    bool shown;
    int64_t begun_ns, next_ns;
};
void progress_begin(struct progress *p);
void progress_show(struct progress *p, const struct capture *c, const struct wire *w);
void progress_end(struct progress *p);

#endif
