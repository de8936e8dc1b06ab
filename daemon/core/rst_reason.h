/* What a kernel's reason for an RST means, and what the kernel alone can show of
 * a connection's end.
 *
 * Reasons are names, never numbers: those differ from kernel to kernel, and the
 * tracepoint's own format says which number is which. */
#ifndef CONNLEAK_RST_REASON_H
#define CONNLEAK_RST_REASON_H

#include <stdbool.h>
#include <stdint.h>

/* What a reason proves about the end that sent the RST. */
enum rst_proof {
    RST_BY_NONE,             /* neither of these, or not known */
    RST_BY_UNREAD_AT_CLOSE,  /* close() with bytes unread */
    RST_BY_DATA_AFTER_CLOSE, /* bytes came for a socket that was closed */
    RST_BY_REFUSED,          /* there is no such socket */
    RST_BY_ABORT,            /* given up on purpose, or for want of something */
};

/* By the kernel's name for it; NULL or a name not in the table: RST_BY_NONE, and NULL. */
enum rst_proof rst_reason_proves(const char *reason);
const char *rst_reason_text(const char *reason);

/* "unread_at_close", ...; NULL for RST_BY_NONE. The words of evidence.rst_cause. */
const char *rst_proof_name(enum rst_proof p);

/* The states of include/uapi/linux/tcp.h, by their names there ("TCP_ESTABLISHED").
 * NULL for a number that is none. */
#define KERNEL_STATES 13
const char *kernel_state_name(unsigned state);

#define KERNEL_COMM_MAX 16

/* One end of a connection as the kernel showed it. Times are 0, and numbers of
 * events too, where it did not happen or was not seen. */
struct kernel_end {
    int64_t fin_ns, rst_ns, closed_ns; /* it sent its FIN, its first RST; its socket went to CLOSE */
    uint64_t fin_event, rst_event;     /* the events that showed it, from 1 */
    uint64_t closed_event;
    const char *reason; /* of that RST, borrowed; NULL: not known */
    uint32_t rsts;
    int32_t pid;                /* who dialed; else who closed it; 0: not known */
    char comm[KERNEL_COMM_MAX]; /* with it, NUL-terminated */
    uint8_t state;              /* the last one seen; 0: none */
    uint8_t before;             /* the one before that */
    bool seen;                  /* its socket is on this host: what it sent was seen being sent */
};

/* What is missing of a connection: bits. */
enum kernel_incomplete {
    KERNEL_BEGAN_BEFORE = 1 << 0, /* it stood already when the trace began */
    KERNEL_OPEN_AT_END = 1 << 1,  /* it still stood when the trace ended */
    KERNEL_EVENTS_LOST = 1 << 2,  /* the kernel's buffer overflowed meanwhile */
    KERNEL_LIMIT = 1 << 3,        /* too many connections at once: it was let go of before its end */
};
#define N_KERNEL_INCOMPLETE 4
const char *kernel_incomplete_name(uint32_t bit); /* "began_before_trace", ... */

enum kernel_roles {
    KERNEL_ROLES_HANDSHAKE, /* one end was seen to connect, or the other to accept */
    KERNEL_ROLES_ASSUMED,   /* a guess: the lower port is called the server's */
};

/* What the kernel alone can show: the `evidence` of a record whose observer is the kernel. */
struct kernel_evidence {
    struct kernel_end end[2]; /* the record's local end, its remote end */
    int64_t first_ns, last_ns;
    uint64_t first_event, last_event;
    uint32_t incomplete; /* enum kernel_incomplete */
    uint8_t roles;       /* enum kernel_roles */
};

/* The end whose first RST came first: 0 or 1; -1: none was sent. */
int kernel_first_rst(const struct kernel_evidence *e);

#endif
