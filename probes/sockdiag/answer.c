/* The netlink answer as rows. Nothing in it is trusted: every length is checked against
 * the one around it, and every number is copied out, whatever its alignment. */
#include "sockdiag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>

const char *sock_state_name(enum sock_state s) {
    static const char *const names[SOCK_STATES] = {
        "?",         "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT", "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",    "CLOSING",
    };
    return (unsigned)s < SOCK_STATES ? names[s] : names[0];
}

/* ---- one socket ---- */

static bool put_address(struct endpoint *e, uint8_t family, const uint32_t addr[4], uint16_t port) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *bytes = (const uint8_t *)addr;

    memset(e, 0, sizeof *e);
    if (family == AF_INET || (family == AF_INET6 && !memcmp(bytes, mapped, sizeof mapped))) {
        e->family = ADDR_V4;
        memcpy(e->addr, family == AF_INET ? bytes : bytes + sizeof mapped, 4);
    } else if (family == AF_INET6) {
        e->family = ADDR_V6;
        memcpy(e->addr, bytes, 16);
    } else {
        return false;
    }
    e->port = ntohs(port);
    return true;
}

/* States in which a FIN of the peer's has come, and those in which one of ours is not yet
 * acknowledged. The kernel's queues are distances in sequence numbers, in which a FIN
 * takes one place, and a SYN too. */
#define PEER_CLOSED                                                                                                    \
    (SOCK_STATE(SOCK_CLOSE_WAIT) | SOCK_STATE(SOCK_LAST_ACK) | SOCK_STATE(SOCK_CLOSING) | SOCK_STATE(SOCK_TIME_WAIT))
#define FIN_UNDER_WAY (SOCK_STATE(SOCK_FIN_WAIT1) | SOCK_STATE(SOCK_LAST_ACK) | SOCK_STATE(SOCK_CLOSING))

static void put_queues(struct sock_row *row, uint32_t recv_q, uint32_t send_q) {
    uint32_t state = SOCK_STATE(row->state);

    row->fin_unread = (state & PEER_CLOSED) && recv_q > 0;
    row->recv_q = recv_q - row->fin_unread;
    if (row->state == SOCK_SYN_SENT || row->state == SOCK_SYN_RECV)
        row->send_q = 0;
    else
        row->send_q = send_q - ((state & FIN_UNDER_WAY) && send_q > 0);
}

/* A member of struct tcp_info that ends within `len` bytes, or unknown. */
#define HAS(field, len)    (offsetof(struct tcp_info, field) + sizeof(((struct tcp_info *)0)->field) <= (len))
#define TAKE(field, len)   (HAS(field, len) ? info.field : SOCK_UNKNOWN)
#define TAKE64(field, len) (HAS(field, len) ? info.field : SOCK_UNKNOWN64)

static void put_info(struct sock_row *row, const uint8_t *data, size_t len) {
    struct tcp_info info;

    memset(&info, 0, sizeof info);
    memcpy(&info, data, len < sizeof info ? len : sizeof info);
    row->retransmits = TAKE(tcpi_retransmits, len);
    row->unacked = TAKE(tcpi_unacked, len);
    row->last_sent_ms = TAKE(tcpi_last_data_sent, len);
    row->last_recv_ms = TAKE(tcpi_last_data_recv, len);
    row->last_ack_ms = TAKE(tcpi_last_ack_recv, len);
    row->rtt_us = TAKE(tcpi_rtt, len);
    row->rcv_space = TAKE(tcpi_rcv_space, len);
    row->retransmitted = TAKE(tcpi_total_retrans, len);
    row->bytes_acked = TAKE64(tcpi_bytes_acked, len);
    row->bytes_received = TAKE64(tcpi_bytes_received, len);
    row->notsent = TAKE(tcpi_notsent_bytes, len);
    row->snd_wnd = TAKE(tcpi_snd_wnd, len);
    /* The kernel counts the peer's FIN as a byte received. */
    if ((SOCK_STATE(row->state) & PEER_CLOSED) && row->bytes_received != SOCK_UNKNOWN64 && row->bytes_received > 0)
        row->bytes_received--;
}

static void put_attributes(struct sock_row *row, const uint8_t *at, size_t left) {
    struct nlattr a;

    while (left >= sizeof a) {
        size_t len, step;

        memcpy(&a, at, sizeof a);
        len = a.nla_len;
        if (len < sizeof a || len > left) return;
        if ((a.nla_type & NLA_TYPE_MASK) == INET_DIAG_INFO) put_info(row, at + sizeof a, len - sizeof a);
        step = (len + NLA_ALIGNTO - 1) & ~(size_t)(NLA_ALIGNTO - 1);
        if (step >= left) return;
        at += step;
        left -= step;
    }
}

static bool put_row(struct sock_row *row, const uint8_t *at, size_t len) {
    struct inet_diag_msg m;

    if (len < sizeof m) return false;
    memcpy(&m, at, sizeof m);
    if (m.idiag_state == 0 || m.idiag_state >= SOCK_STATES) return false;
    *row = (struct sock_row){.bytes_received = SOCK_UNKNOWN64,
                             .bytes_acked = SOCK_UNKNOWN64,
                             .notsent = SOCK_UNKNOWN,
                             .last_sent_ms = SOCK_UNKNOWN,
                             .last_recv_ms = SOCK_UNKNOWN,
                             .last_ack_ms = SOCK_UNKNOWN,
                             .rcv_space = SOCK_UNKNOWN,
                             .snd_wnd = SOCK_UNKNOWN,
                             .unacked = SOCK_UNKNOWN,
                             .retransmits = SOCK_UNKNOWN,
                             .retransmitted = SOCK_UNKNOWN,
                             .rtt_us = SOCK_UNKNOWN};
    row->state = m.idiag_state;
    row->timer = m.idiag_timer;
    row->inode = m.idiag_inode;
    row->uid = m.idiag_uid;
    row->cookie = (uint64_t)m.id.idiag_cookie[1] << 32 | m.id.idiag_cookie[0];
    if (!put_address(&row->flow.local, m.idiag_family, m.id.idiag_src, m.id.idiag_sport) ||
        !put_address(&row->flow.remote, m.idiag_family, m.id.idiag_dst, m.id.idiag_dport))
        return false;
    put_queues(row, m.idiag_rqueue, m.idiag_wqueue);
    if (len > NLMSG_ALIGN(sizeof m)) put_attributes(row, at + NLMSG_ALIGN(sizeof m), len - NLMSG_ALIGN(sizeof m));
    return true;
}

/* ---- the stream of messages ---- */

static enum sockdiag_part read_error(struct sockdiag_reader *r, const uint8_t *at, size_t len) {
    int32_t code;

    if (len < sizeof code) return SOCKDIAG_BAD;
    memcpy(&code, at, sizeof code);
    if (code == 0) return SOCKDIAG_DONE;
    if (code > 0 || code < -4095) return SOCKDIAG_BAD; /* the kernel's MAX_ERRNO */
    r->error = -code;
    return SOCKDIAG_FAIL;
}

enum sockdiag_part sockdiag_next(struct sockdiag_reader *r, struct sock_row *out) {
    while (r->left >= NLMSG_HDRLEN) {
        struct nlmsghdr h;
        const uint8_t *body = r->at + NLMSG_HDRLEN;
        size_t len, step;

        memcpy(&h, r->at, sizeof h);
        if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > r->left) return SOCKDIAG_BAD;
        len = h.nlmsg_len - NLMSG_HDRLEN;
        step = NLMSG_ALIGN(h.nlmsg_len);
        if (step > r->left) step = r->left;
        r->at += step;
        r->left -= step;
        if (h.nlmsg_seq != r->seq) continue;
        if (h.nlmsg_flags & NLM_F_DUMP_INTR) r->interrupted = true;
        switch (h.nlmsg_type) {
        case NLMSG_ERROR:
            return read_error(r, body, len);
        case NLMSG_DONE:
            /* A dump that failed half way says so here. */
            return len >= sizeof(int32_t) ? read_error(r, body, len) : SOCKDIAG_DONE;
        case SOCK_DIAG_BY_FAMILY:
            if (put_row(out, body, len)) return SOCKDIAG_ROW;
            break;
        default: /* NLMSG_NOOP, or what a later kernel adds */
            break;
        }
    }
    return r->left == 0 ? SOCKDIAG_MORE : SOCKDIAG_BAD;
}
