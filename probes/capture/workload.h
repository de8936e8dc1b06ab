/* From what the wire analyser says to a workload: its events make the exchanges, its
 * records end them and make the connections. */
#ifndef CONNLEAK_CAPTURE_WORKLOAD_H
#define CONNLEAK_CAPTURE_WORKLOAD_H

#include "core/workload.h"
#include "wire/wire.h"

struct workload_builder;

/* wire_limits.events and .targets must be on. */
struct workload_builder *workload_builder_new(const struct workload_limits *limits);
void workload_builder_free(struct workload_builder **bp);

/* Each event, and each record, once, in the order in which the wire gives them. */
void workload_builder_event(struct workload_builder *b, const struct wire_event *e);
void workload_builder_record(struct workload_builder *b, const struct wire_record *r);

/* The capture is over: the workload, sorted, the caller's now. first_ns and last_ns: of its
 * packets. NULL where a limit was reached: *why says which. */
struct workload *workload_builder_end(struct workload_builder *b, int64_t first_ns, int64_t last_ns, const char **why);

#endif
