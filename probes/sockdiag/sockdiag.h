/* TCP sockets as this kernel knows them: Recv-Q, Send-Q, state, owner's inode and
 * tcp_info, asked for over netlink (sock_diag(7), NETLINK_SOCK_DIAG, linux/inet_diag.h).
 *
 *     struct sockdiag *d = sockdiag_open(err);
 *     sockdiag_find(d, &flow, &row);            one socket: one request, one answer
 *     sockdiag_list(d, &filter, fn, arg, err);  all that the filter lets through
 *     sockdiag_close(&d);
 *
 * Any user may ask. What is seen are the sockets of the network namespace in which
 * the probe was opened. Nothing blocks: the kernel makes its answer while it is being
 * asked. Both ends of a connection over loopback are sockets of their own, and each is
 * a row, with `local` its own address. */
#ifndef CONNLEAK_SOCKDIAG_H
#define CONNLEAK_SOCKDIAG_H

#include "core/ident.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's numbers for TCP states (include/net/tcp_states.h). */
enum sock_state {
    SOCK_ESTABLISHED = 1, /* both ends may send */
    SOCK_SYN_SENT,        /* connect() is under way */
    SOCK_SYN_RECV,        /* a client's SYN is answered; nobody's socket yet */
    SOCK_FIN_WAIT1,       /* closed here; the peer's kernel has not acknowledged the FIN */
    SOCK_FIN_WAIT2,       /* closed here, acknowledged; the peer has not closed */
    SOCK_TIME_WAIT,       /* over; the kernel keeps the port for a minute */
    SOCK_CLOSE,           /* not connected */
    SOCK_CLOSE_WAIT,      /* the peer has closed; the program here has not */
    SOCK_LAST_ACK,        /* closed by both, the peer first; our FIN is not acknowledged */
    SOCK_LISTEN,          /* waits for clients */
    SOCK_CLOSING,         /* closed by both at once; our FIN is not acknowledged */
    SOCK_STATES           /* one more than the last */
};

/* "ESTABLISHED", "CLOSE_WAIT": as the kernel and RFC 9293 write them; "?" for a number that is no state. */
const char *sock_state_name(enum sock_state s);

#define SOCK_STATE(s) (1u << (s))
/* Connections of which a program still holds an end, or whose bytes are not yet delivered. */
#define SOCK_CONNECTED                                                                                                 \
    (SOCK_STATE(SOCK_ESTABLISHED) | SOCK_STATE(SOCK_SYN_SENT) | SOCK_STATE(SOCK_FIN_WAIT1) |                           \
     SOCK_STATE(SOCK_FIN_WAIT2) | SOCK_STATE(SOCK_CLOSE_WAIT) | SOCK_STATE(SOCK_LAST_ACK) | SOCK_STATE(SOCK_CLOSING))

/* A number that this kernel does not tell, or not of such a socket. */
#define SOCK_UNKNOWN   UINT32_MAX
#define SOCK_UNKNOWN64 UINT64_MAX

/* Why a socket's timer runs (idiag_timer). */
enum sock_timer {
    SOCK_TIMER_NONE,
    SOCK_TIMER_RETRANSMIT,
    SOCK_TIMER_KEEPALIVE,
    SOCK_TIMER_TIME_WAIT,
    SOCK_TIMER_PROBE
};

struct sock_row {
    struct flow_key flow;    /* IPv4 mapped into IPv6 is IPv4 */
    uint64_t cookie;         /* this socket's own number, never used again until the next boot */
    uint64_t bytes_received; /* payload, unread included */
    uint64_t bytes_acked;    /* sent, and acknowledged by the peer; one more where we connected, for the SYN */
    uint32_t recv_q;         /* bytes received and not read: what SIOCINQ says. LISTEN: connections to be accepted */
    uint32_t send_q;         /* bytes written and not acknowledged, notsent included. LISTEN: the most recv_q may be */
    uint32_t notsent;        /* bytes of send_q that were not sent even once */
    uint32_t inode;          /* 0: no program has it: not accepted yet, or closed already */
    uint32_t uid;            /* of whoever made it */
    uint32_t last_sent_ms;   /* since data was last sent */
    uint32_t last_recv_ms;   /* since data last came, or since the connection began */
    uint32_t last_ack_ms;    /* since the peer's last segment of any kind that has an ACK, a FIN too */
    uint32_t rcv_space;      /* what the kernel believes the program to read in a round trip, bytes */
    uint32_t snd_wnd;        /* the window that the peer last offered, bytes; 0: it takes nothing */
    uint32_t unacked;        /* segments under way */
    uint32_t retransmits;    /* of the oldest of them, so far in vain */
    uint32_t retransmitted;  /* segments sent again, over its life */
    uint32_t rtt_us;
    uint8_t state;   /* enum sock_state */
    uint8_t timer;   /* enum sock_timer */
    bool fin_unread; /* the peer's FIN lies in the receive queue: the program has not read that far */
};

/* ---- answers: pure, over a buffer ---- */

/* What stands next in an answer. */
enum sockdiag_part {
    SOCKDIAG_ROW,  /* a socket */
    SOCKDIAG_MORE, /* the buffer is used up; the answer may go on in another */
    SOCKDIAG_DONE, /* the answer is over */
    SOCKDIAG_FAIL, /* the kernel refused: reader.error has an errno */
    SOCKDIAG_BAD   /* this is no such answer */
};

struct sockdiag_reader {
    const uint8_t *at; /* borrowed; aligned to 4 bytes */
    size_t left;
    uint32_t seq;     /* of the request; answers to another are passed over */
    int error;        /* SOCKDIAG_FAIL */
    bool interrupted; /* the table changed under the walk: rows may be missing or stand twice */
};

/* Reads the next part; a row goes to *out, which else is untouched. Rows that are not
 * TCP over IPv4 or IPv6 are passed over. Attributes that the kernel has cut short leave
 * what they lack unknown. */
enum sockdiag_part sockdiag_next(struct sockdiag_reader *r, struct sock_row *out);

/* ---- the kernel ---- */

struct sockdiag;
#define SOCKDIAG_TEXT 160

/* A probe of the network namespace of this thread; NULL with a line in err where netlink
 * does not answer. */
struct sockdiag *sockdiag_open(char err[SOCKDIAG_TEXT]);
void sockdiag_close(struct sockdiag **dp);

/* The socket with exactly this 4-tuple, from its own end. One that is bound to an interface, such as those of
 * link-local addresses, is not found. */
enum sockdiag_found {
    SOCKDIAG_FOUND,
    SOCKDIAG_GONE,  /* no socket of this namespace has it */
    SOCKDIAG_SILENT /* the kernel could not be asked, or did not answer; errno says why */
};
enum sockdiag_found sockdiag_find(struct sockdiag *d, const struct flow_key *flow, struct sock_row *out);

struct sockdiag_filter {
    uint32_t states; /* SOCK_STATE() of each that is wanted */
    uint16_t port;   /* local or remote; 0: any */
};

typedef void sock_row_fn(const struct sock_row *row, void *arg);

/* Hands every socket to fn, IPv4 first; the kernel itself applies the filter. The row is
 * good for the length of the call. False with a line in err when it could not go on;
 * *interrupted (may be NULL) as in the reader. */
bool sockdiag_list(struct sockdiag *d, const struct sockdiag_filter *f, sock_row_fn *fn, void *arg, bool *interrupted,
                   char err[SOCKDIAG_TEXT]);

#endif
