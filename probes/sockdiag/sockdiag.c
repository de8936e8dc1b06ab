/* Asking: requests to the kernel, and the loop over its answers. */
#define _GNU_SOURCE
#include "sockdiag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel fills what a reader offers, up to 32 KiB at a time: some hundred sockets. */
#define ANSWER_SIZE 32768

struct sockdiag {
    int fd;
    uint32_t seq;
    _Alignas(8) uint8_t answer[ANSWER_SIZE];
};

struct request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 ask;
};

/* ---- the kernel's filter ---- */

/* "local port is P, or remote port is P", as INET_DIAG_REQ_BYTECODE. A step is two words:
 * the comparison with where to go, in bytes from here, if it holds (yes) and if not (no);
 * and the number compared with. Exactly at the end accepts, beyond it refuses. EQ would be
 * shorter but needs Linux 5.1; these are as old as inet_diag. */
#define STEP sizeof(struct inet_diag_bc_op[2])
#define JUMP sizeof(struct inet_diag_bc_op)
struct port_filter {
    struct inet_diag_bc_op op[9];
};

static struct inet_diag_bc_op op(unsigned code, size_t yes, size_t no) {
    return (struct inet_diag_bc_op){(uint8_t)code, (uint8_t)yes, (uint16_t)no};
}

static void make_port_filter(struct port_filter *f, uint16_t port) {
    const struct inet_diag_bc_op number = op(0, 0, port);
    const size_t refuse = sizeof(struct inet_diag_bc_op);

    f->op[0] = op(INET_DIAG_BC_S_GE, STEP, 2 * STEP + JUMP);
    f->op[1] = number;
    f->op[2] = op(INET_DIAG_BC_S_LE, STEP, STEP + JUMP);
    f->op[3] = number;
    f->op[4] = op(INET_DIAG_BC_JMP, JUMP, JUMP + 2 * STEP); /* local port it is: to the end */
    f->op[5] = op(INET_DIAG_BC_D_GE, STEP, 2 * STEP + refuse);
    f->op[6] = number;
    f->op[7] = op(INET_DIAG_BC_D_LE, STEP, STEP + refuse);
    f->op[8] = number;
}

/* ---- requests ---- */

static struct request make_request(struct sockdiag *d, uint8_t family, uint16_t flags, uint32_t states) {
    return (struct request){.head = {.nlmsg_len = sizeof(struct request),
                                     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                     .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
                                     .nlmsg_seq = ++d->seq},
                            .ask = {.sdiag_family = family,
                                    .sdiag_protocol = IPPROTO_TCP,
                                    .idiag_ext = 1 << (INET_DIAG_INFO - 1),
                                    .idiag_states = states,
                                    .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}};
}

static bool send_parts(struct sockdiag *d, struct iovec *parts, size_t n) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct msghdr m = {.msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = parts, .msg_iovlen = n};
    ssize_t sent;

    do sent = sendmsg(d->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

/* A buffer of an answer into the reader; false with errno set. Only the kernel is listened to. */
static bool receive(struct sockdiag *d, struct sockdiag_reader *r) {
    struct sockaddr_nl from = {0};
    struct iovec part = {d->answer, sizeof d->answer};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;

    do n = recvmsg(d->fd, &m, MSG_DONTWAIT);
    while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid != 0));
    if (n >= 0 && (m.msg_flags & MSG_TRUNC)) errno = EMSGSIZE;
    if (n == 0) errno = EPROTO;
    if (n <= 0 || (m.msg_flags & MSG_TRUNC)) return false;
    r->at = d->answer;
    r->left = (size_t)n;
    return true;
}

/* Throws away what is left of an answer, so that it is not taken for the next one's. */
static void drain(struct sockdiag *d) {
    struct sockdiag_reader r;
    while (receive(d, &r)) {}
}

/* ---- one socket ---- */

static void put_id(struct inet_diag_sockid *id, const struct flow_key *flow) {
    size_t len = flow->local.family == ADDR_V4 ? 4 : 16;

    id->idiag_sport = htons(flow->local.port);
    id->idiag_dport = htons(flow->remote.port);
    memcpy(id->idiag_src, flow->local.addr, len);
    memcpy(id->idiag_dst, flow->remote.addr, len);
}

enum sockdiag_found sockdiag_find(struct sockdiag *d, const struct flow_key *flow, struct sock_row *out) {
    if (flow->local.family != flow->remote.family || (flow->local.family != ADDR_V4 && flow->local.family != ADDR_V6))
        return SOCKDIAG_GONE;
    struct request q = make_request(d, flow->local.family == ADDR_V4 ? AF_INET : AF_INET6, 0, ~0u);
    struct sockdiag_reader r = {.seq = q.head.nlmsg_seq};
    struct sock_row row;
    enum sockdiag_part part = SOCKDIAG_MORE;

    put_id(&q.ask.id, flow);
    if (!send_parts(d, &(struct iovec){&q, sizeof q}, 1)) return SOCKDIAG_SILENT;
    while (part == SOCKDIAG_MORE) {
        if (!receive(d, &r)) return SOCKDIAG_SILENT;
        part = sockdiag_next(&r, &row);
    }
    if (part == SOCKDIAG_FAIL && r.error == ENOENT) return SOCKDIAG_GONE;
    if (part != SOCKDIAG_ROW) {
        errno = part == SOCKDIAG_FAIL ? r.error : EPROTO;
        return SOCKDIAG_SILENT;
    }
    /* Where there is no such connection, the kernel offers whoever listens on the port. */
    if (!flow_equal(&row.flow, flow)) return SOCKDIAG_GONE;
    *out = row;
    return SOCKDIAG_FOUND;
}

/* ---- many ---- */

static bool fail(struct sockdiag *d, char err[SOCKDIAG_TEXT], int code) {
    if (code == ENOENT)
        snprintf(err, SOCKDIAG_TEXT, "this kernel cannot list TCP sockets: it lacks tcp_diag (modprobe tcp_diag)");
    else
        snprintf(err, SOCKDIAG_TEXT, "the kernel does not list TCP sockets: %s", strerror(code));
    drain(d);
    return false;
}

static bool list_family(struct sockdiag *d, uint8_t family, const struct sockdiag_filter *f, sock_row_fn *fn, void *arg,
                        bool *interrupted, char err[SOCKDIAG_TEXT]) {
    struct request q = make_request(d, family, NLM_F_DUMP, f->states);
    struct port_filter ports;
    struct nlattr a = {.nla_len = sizeof a + sizeof ports, .nla_type = INET_DIAG_REQ_BYTECODE};
    struct iovec parts[] = {{&q, sizeof q}, {&a, sizeof a}, {&ports, sizeof ports}};
    struct sockdiag_reader r = {.seq = q.head.nlmsg_seq};
    struct sock_row row;

    if (f->port) {
        make_port_filter(&ports, f->port);
        q.head.nlmsg_len += a.nla_len;
    }
    if (!send_parts(d, parts, f->port ? 3 : 1)) return fail(d, err, errno);
    for (enum sockdiag_part part = SOCKDIAG_MORE; part != SOCKDIAG_DONE;) {
        if (part == SOCKDIAG_MORE && !receive(d, &r)) return fail(d, err, errno);
        part = sockdiag_next(&r, &row);
        if (part == SOCKDIAG_ROW) fn(&row, arg);
        if (part == SOCKDIAG_FAIL) return fail(d, err, r.error);
        if (part == SOCKDIAG_BAD) return fail(d, err, EPROTO);
    }
    if (interrupted) *interrupted |= r.interrupted;
    return true;
}

bool sockdiag_list(struct sockdiag *d, const struct sockdiag_filter *f, sock_row_fn *fn, void *arg, bool *interrupted,
                   char err[SOCKDIAG_TEXT]) {
    if (interrupted) *interrupted = false;
    return list_family(d, AF_INET, f, fn, arg, interrupted, err) &&
           list_family(d, AF_INET6, f, fn, arg, interrupted, err);
}

/* ---- open and close ---- */

static void pass_over(const struct sock_row *row, void *arg) {
    (void)row, (void)arg;
}

struct sockdiag *sockdiag_open(char err[SOCKDIAG_TEXT]) {
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    struct sockdiag *d = calloc(1, sizeof *d);

    if (!d) abort();
    d->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (d->fd < 0 || bind(d->fd, (struct sockaddr *)&self, sizeof self) != 0) {
        snprintf(err, SOCKDIAG_TEXT, "netlink (NETLINK_SOCK_DIAG) cannot be opened: %s", strerror(errno));
        sockdiag_close(&d);
        return NULL;
    }
    /* No state is asked for, so this costs nothing; whoever cannot answer says so now. */
    if (!list_family(d, AF_INET, &(struct sockdiag_filter){0}, pass_over, NULL, NULL, err)) sockdiag_close(&d);
    return d;
}

void sockdiag_close(struct sockdiag **dp) {
    if (!*dp) return;
    if ((*dp)->fd >= 0) close((*dp)->fd);
    free(*dp);
    *dp = NULL;
}
