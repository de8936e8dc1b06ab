/* Raw records of the kernel's trace buffer to struct trace_event, by the format
 * that the running kernel gives for each of its tracepoints: where a field lies,
 * and which number is which reason. Nothing of that is compiled in. */
#ifndef CONNLEAK_TRACE_FORMAT_H
#define CONNLEAK_TRACE_FORMAT_H

#include "trace/fold.h"

struct tep_handle;
struct trace_format;

#define TRACE_TEXT 512

/* The tracepoints that are read; tcp_receive_reset may be missing. */
#define TRACE_SEND_EVENT    "tcp_send_reset"
#define TRACE_RECEIVE_EVENT "tcp_receive_reset"
#define TRACE_STATE_EVENT   "inet_sock_set_state"

/* Borrows tep, which has the formats of the systems tcp and sock. NULL, with one
 * line in `error`, if a tracepoint or a field is missing that is needed. */
struct trace_format *trace_format_new(struct tep_handle *tep, char error[TRACE_TEXT]);
void trace_format_free(struct trace_format **fp);

/* Does this kernel give a reason with an RST? */
bool trace_format_has_reason(const struct trace_format *f);
/* Does it tell of RSTs for which there is no full socket? */
bool trace_format_all_resets(const struct trace_format *f);

/* One record. False if it is none of the three, or is no TCP. Reasons stay good
 * until trace_format_free. pid is the task that was current, a thread's id, and 0
 * in an interrupt, where whatever is current has nothing to do with it; comm is empty. */
bool trace_format_read(const struct trace_format *f, void *data, size_t size, int64_t at_ns, struct trace_event *out);

#endif
