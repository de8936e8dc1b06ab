/* What `connleak resets` prints: a table for people, one object or records for machines. */
#ifndef CONNLEAK_TRACE_OUTPUT_H
#define CONNLEAK_TRACE_OUTPUT_H

#include "record/json_out.h"
#include "trace/fold.h"

#include <stdio.h>

enum resets_output { RESETS_TABLE, RESETS_JSON, RESETS_JSONL };

/* Reasons that are counted apart; a kernel has some 26 of them. */
#define RESETS_REASONS 64
struct resets_sum {
    const char *name; /* NULL: the kernel gave none */
    uint64_t n;
};
struct resets_sums {
    struct resets_sum reasons[RESETS_REASONS];
    size_t n_reasons;
    uint64_t sent, received;
    uint64_t elsewhere; /* of reasons that found no place above */
};

struct resets_page {
    FILE *out;
    struct json_out text; /* not written yet */
    struct resets_sums sums;
    enum resets_output as;
    bool colour, reasons_known;
    int64_t began_ns, to_wall_ns;
};

/* Headings, or the beginning of the object. */
void page_begin(struct resets_page *p);
void page_reset(struct resets_page *p, const struct trace_reset *r);
void page_record(struct resets_page *p, struct trace_record *r, int64_t now_ns);
/* Totals. */
void page_end(struct resets_page *p, const struct fold_counts *counts, int64_t now_ns);

/* Writes what there is; false, with errno, if that fails. */
bool page_flush(struct resets_page *p);

#endif
