#include "rst_reason.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name, *text;
    enum rst_proof proves;
} reasons[] = {
#define X(name, cause, text) {name, text, RST_BY_##cause},
#include "tbl/rst_reasons.h"
#undef X
};

enum rst_proof rst_reason_proves(const char *reason) {
    for (size_t i = 0; reason && i < sizeof reasons / sizeof *reasons; i++)
        if (!strcmp(reason, reasons[i].name)) return reasons[i].proves;
    return RST_BY_NONE;
}

const char *rst_reason_text(const char *reason) {
    for (size_t i = 0; reason && i < sizeof reasons / sizeof *reasons; i++)
        if (!strcmp(reason, reasons[i].name)) return reasons[i].text;
    return NULL;
}

const char *rst_proof_name(enum rst_proof p) {
    static const char *const names[] = {NULL, "unread_at_close", "data_after_close", "refused", "abort"};

    return (unsigned)p < sizeof names / sizeof *names ? names[p] : NULL;
}

const char *kernel_state_name(unsigned state) {
    static const char *const names[KERNEL_STATES] = {NULL,
                                                     "TCP_ESTABLISHED",
                                                     "TCP_SYN_SENT",
                                                     "TCP_SYN_RECV",
                                                     "TCP_FIN_WAIT1",
                                                     "TCP_FIN_WAIT2",
                                                     "TCP_TIME_WAIT",
                                                     "TCP_CLOSE",
                                                     "TCP_CLOSE_WAIT",
                                                     "TCP_LAST_ACK",
                                                     "TCP_LISTEN",
                                                     "TCP_CLOSING",
                                                     "TCP_NEW_SYN_RECV"};

    return state < KERNEL_STATES ? names[state] : NULL;
}

const char *kernel_incomplete_name(uint32_t bit) {
    switch ((enum kernel_incomplete)bit) {
    case KERNEL_BEGAN_BEFORE:
        return "began_before_trace";
    case KERNEL_OPEN_AT_END:
        return "open_at_end_of_trace";
    case KERNEL_EVENTS_LOST:
        return "events_lost";
    case KERNEL_LIMIT:
        return "limit";
    }
    return NULL;
}

int kernel_first_rst(const struct kernel_evidence *e) {
    uint64_t a = e->end[0].rst_event, b = e->end[1].rst_event;

    if (!a && !b) return -1;
    return a && (!b || a <= b) ? 0 : 1;
}
