/* What only the kernel can show of a connection, as the object `evidence` of a
 * connleak.conn/1 record whose observer is the kernel, and back.
 *
 *   {"rst_cause", "rst_reason", "incomplete": [..] or null, "roles_by": only if "assumed",
 *    "first_event", "last_event", "first_at", "last_at",
 *    "local": {"seen", "state", "pid", "comm", "fin_at", "fin_event", "rst_at", "rst_event",
 *              "rst_reason", "rsts", "closed_at", "closed_event"}, "remote": {the same}}
 *
 * rst_cause and rst_reason are those of the first RST, whichever end sent it. Of
 * an end, what did not happen or was not seen is null. */
#ifndef CONNLEAK_KERNEL_EVIDENCE_H
#define CONNLEAK_KERNEL_EVIDENCE_H

#include "core/rst_reason.h"
#include "record/conn_json.h"

/* Both borrowed; what conn_json's `arg` points to for kernel_evidence_json. */
struct kernel_evidence_out {
    const struct kernel_evidence *evidence;
    int64_t to_wall_ns;
};

/* A conn_evidence_fn; arg: a struct kernel_evidence_out. */
void kernel_evidence_json(struct json_out *o, const struct lifecycle *l, void *arg);

/* The same text read again; times are wall-clock. Names of reasons and states
 * are left out: *out has no reason. False if the text is not what is written
 * above, with what is wrong in `error`. */
#define KERNEL_EVIDENCE_TEXT 128
bool kernel_evidence_read(const char *text, struct kernel_evidence *out, char error[KERNEL_EVIDENCE_TEXT]);

#endif
