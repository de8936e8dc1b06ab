/* The socket probe: the kernel's answers read from bytes made by hand, verdicts under a clock of our
 * own, and real sockets over loopback where this machine lets one ask for them. */
#include "sockdiag/owner.h"
#include "sockdiag/sockdiag.h"
#include "sockdiag/verdict.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- answers ---- */

#define SEQ 7

struct answer {
    _Alignas(8) uint8_t bytes[4096];
    size_t len;
};

static void *add(struct answer *a, const void *data, size_t len) {
    uint8_t *at = a->bytes + a->len;
    memcpy(at, data, len);
    a->len += (len + 3) & ~(size_t)3;
    return at;
}

static struct nlmsghdr *begin(struct answer *a, uint16_t type) {
    return add(a, &(struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_seq = SEQ}, NLMSG_HDRLEN);
}

static void end(struct answer *a, struct nlmsghdr *h) {
    h->nlmsg_len = (uint32_t)(a->bytes + a->len - (uint8_t *)h);
}

static struct inet_diag_msg v4_message(uint8_t state, uint32_t recv_q, uint32_t send_q) {
    struct inet_diag_msg m = {.idiag_family = AF_INET,
                              .idiag_state = state,
                              .id.idiag_sport = htons(40000),
                              .id.idiag_dport = htons(80),
                              .id.idiag_src = {htonl(0x7f000001)},
                              .id.idiag_dst = {htonl(0x0a000002)},
                              .id.idiag_cookie = {5, 1},
                              .idiag_rqueue = recv_q,
                              .idiag_wqueue = send_q,
                              .idiag_uid = 1000,
                              .idiag_inode = 4711};
    return m;
}

static void add_row(struct answer *a, const struct inet_diag_msg *m, const struct tcp_info *info, size_t info_len) {
    struct nlmsghdr *h = begin(a, SOCK_DIAG_BY_FAMILY);
    add(a, m, sizeof *m);
    if (info) {
        /* one that nobody asked for stands before it */
        add(a, &(struct nlattr){.nla_len = sizeof(struct nlattr) + 1, .nla_type = INET_DIAG_SHUTDOWN},
            sizeof(struct nlattr));
        add(a, "", 1);
        add(a, &(struct nlattr){.nla_len = (uint16_t)(sizeof(struct nlattr) + info_len), .nla_type = INET_DIAG_INFO},
            sizeof(struct nlattr));
        add(a, info, info_len);
    }
    end(a, h);
}

static struct sockdiag_reader reader(const struct answer *a) {
    return (struct sockdiag_reader){.at = a->bytes, .left = a->len, .seq = SEQ};
}

static struct sock_row read_one(const struct inet_diag_msg *m, const struct tcp_info *info, size_t info_len) {
    struct answer a = {.len = 0};
    struct sock_row row = {0};

    add_row(&a, m, info, info_len);
    struct sockdiag_reader r = reader(&a);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_ROW);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_MORE);
    return row;
}

TEST(a_row_has_addresses_queues_and_owner) {
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 72480, 12);
    struct sock_row row = read_one(&m, NULL, 0);
    char text[ENDPOINT_TEXT_MAX];

    CHECK_STR(endpoint_text(&row.flow.local, text), "127.0.0.1:40000");
    CHECK_STR(endpoint_text(&row.flow.remote, text), "10.0.0.2:80");
    CHECK_EQ(row.state, SOCK_ESTABLISHED);
    CHECK_EQ(row.recv_q, 72480);
    CHECK_EQ(row.send_q, 12);
    CHECK_EQ(row.inode, 4711);
    CHECK_EQ(row.uid, 1000);
    CHECK_EQ(row.cookie, (1ull << 32) + 5);
    CHECK(!row.fin_unread);
}

TEST(ipv6_stays_and_mapped_ipv4_becomes_ipv4) {
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 0, 0);
    const uint32_t loopback[4] = {0, 0, 0, htonl(1)}, mapped[4] = {0, 0, htonl(0xffff), htonl(0x7f000001)};
    char text[ENDPOINT_TEXT_MAX];

    m.idiag_family = AF_INET6;
    memcpy(m.id.idiag_src, loopback, 16);
    memcpy(m.id.idiag_dst, loopback, 16);
    struct sock_row row = read_one(&m, NULL, 0);
    CHECK_STR(endpoint_text(&row.flow.local, text), "[::1]:40000");
    memcpy(m.id.idiag_src, mapped, 16);
    memcpy(m.id.idiag_dst, mapped, 16);
    row = read_one(&m, NULL, 0);
    CHECK_STR(endpoint_text(&row.flow.local, text), "127.0.0.1:40000");
    CHECK_STR(endpoint_text(&row.flow.remote, text), "127.0.0.1:80");
}

TEST(a_fin_takes_a_place_in_the_queue_and_is_no_byte) {
    struct tcp_info info = {.tcpi_bytes_received = 1001};
    struct inet_diag_msg m = v4_message(SOCK_CLOSE_WAIT, 501, 0);
    struct sock_row row = read_one(&m, &info, sizeof info);
    CHECK_EQ(row.recv_q, 500);
    CHECK_EQ(row.bytes_received, 1000);
    CHECK_EQ(sock_bytes_read(&row), 500);
    CHECK(row.fin_unread);

    m.idiag_rqueue = 0;
    row = read_one(&m, &info, sizeof info);
    CHECK_EQ(row.recv_q, 0);
    CHECK(!row.fin_unread);

    m = v4_message(SOCK_FIN_WAIT1, 0, 81);
    row = read_one(&m, NULL, 0);
    CHECK_EQ(row.send_q, 80);
    m = v4_message(SOCK_SYN_SENT, 0, 1);
    row = read_one(&m, NULL, 0);
    CHECK_EQ(row.send_q, 0);
}

static struct tcp_info full_info(void) {
    return (struct tcp_info){.tcpi_retransmits = 3,
                             .tcpi_unacked = 4,
                             .tcpi_last_data_sent = 11,
                             .tcpi_last_data_recv = 34000,
                             .tcpi_last_ack_recv = 12,
                             .tcpi_rtt = 250,
                             .tcpi_rcv_space = 14600,
                             .tcpi_total_retrans = 5,
                             .tcpi_bytes_acked = 1ull << 33,
                             .tcpi_bytes_received = 1ull << 34,
                             .tcpi_notsent_bytes = 81920,
                             .tcpi_snd_wnd = 0};
}

TEST(all_that_tcp_info_has) {
    struct tcp_info info = full_info();
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 0, 0);
    struct sock_row row = read_one(&m, &info, sizeof info);

    CHECK_EQ(row.retransmits, 3);
    CHECK_EQ(row.unacked, 4);
    CHECK_EQ(row.last_sent_ms, 11);
    CHECK_EQ(row.last_recv_ms, 34000);
    CHECK_EQ(row.last_ack_ms, 12);
    CHECK_EQ(row.rtt_us, 250);
    CHECK_EQ(row.rcv_space, 14600);
    CHECK_EQ(row.retransmitted, 5);
    CHECK_EQ(row.bytes_acked, 1ll << 33);
    CHECK_EQ(row.bytes_received, 1ll << 34);
    CHECK_EQ(row.notsent, 81920);
    CHECK_EQ(row.snd_wnd, 0);
}

/* What tcp_info has grown by: at every length, what is not wholly there is unknown. */
TEST(an_older_kernel_s_tcp_info_leaves_the_rest_unknown) {
    struct tcp_info info = full_info();
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 0, 0);

    for (size_t len = 0; len <= sizeof info; len++) {
        struct sock_row row = read_one(&m, &info, len);
#define ENDS(field) (offsetof(struct tcp_info, field) + sizeof info.field)
        CHECK_EQ(row.last_recv_ms == SOCK_UNKNOWN, len < ENDS(tcpi_last_data_recv));
        CHECK_EQ(row.rcv_space == SOCK_UNKNOWN, len < ENDS(tcpi_rcv_space));
        CHECK_EQ(row.bytes_received == SOCK_UNKNOWN64, len < ENDS(tcpi_bytes_received));
        CHECK_EQ(row.bytes_acked == SOCK_UNKNOWN64, len < ENDS(tcpi_bytes_acked));
        CHECK_EQ(row.notsent == SOCK_UNKNOWN, len < ENDS(tcpi_notsent_bytes));
        CHECK_EQ(row.snd_wnd == SOCK_UNKNOWN, len < ENDS(tcpi_snd_wnd));
    }
    struct sock_row none = read_one(&m, NULL, 0);
    CHECK_EQ(none.last_recv_ms, SOCK_UNKNOWN);
    CHECK_EQ(none.snd_wnd, SOCK_UNKNOWN);
    CHECK_EQ(sock_bytes_read(&none), SOCK_UNKNOWN64);
}

TEST(rows_follow_each_other_until_done) {
    struct answer a = {.len = 0};
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 1, 0), odd = m;
    struct nlmsghdr *other;
    struct sock_row row;

    add_row(&a, &m, NULL, 0);
    other = begin(&a, SOCK_DIAG_BY_FAMILY); /* an answer to somebody else's question */
    other->nlmsg_seq = SEQ + 1;
    add(&a, &m, sizeof m);
    end(&a, other);
    odd.idiag_family = AF_UNIX;
    add_row(&a, &odd, NULL, 0);
    odd = m;
    odd.idiag_state = SOCK_STATES; /* a state that came after us */
    add_row(&a, &odd, NULL, 0);
    m.idiag_rqueue = 2;
    add_row(&a, &m, NULL, 0);
    begin(&a, NLMSG_DONE)->nlmsg_flags = NLM_F_MULTI | NLM_F_DUMP_INTR;

    struct sockdiag_reader r = reader(&a);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_ROW);
    CHECK_EQ(row.recv_q, 1);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_ROW);
    CHECK_EQ(row.recv_q, 2);
    CHECK(!r.interrupted);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_DONE);
    CHECK(r.interrupted);
}

TEST(a_refusal_has_its_errno) {
    for (int i = 0; i < 2; i++) {
        struct answer a = {.len = 0};
        int32_t code = -ENOENT;
        struct nlmsghdr *h = begin(&a, i ? NLMSG_DONE : NLMSG_ERROR);
        add(&a, &code, sizeof code);
        end(&a, h);
        struct sockdiag_reader r = reader(&a);
        struct sock_row row;
        CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_FAIL);
        CHECK_EQ(r.error, ENOENT);
    }
}

TEST(what_is_cut_or_lies_about_its_length_is_bad) {
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 1, 0);
    struct tcp_info info = full_info();
    struct answer a = {.len = 0};
    struct sock_row row;

    add_row(&a, &m, &info, sizeof info);
    for (size_t cut = 1; cut < a.len; cut++) {
        struct sockdiag_reader r = reader(&a);
        r.left = cut;
        CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_BAD);
    }
    ((struct nlmsghdr *)a.bytes)->nlmsg_len = 8;
    struct sockdiag_reader r = reader(&a);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_BAD);

    /* An attribute that claims more than there is: the rest of the row holds. */
    a.len = 0;
    add_row(&a, &m, &info, sizeof info);
    ((struct nlattr *)(a.bytes + NLMSG_HDRLEN + sizeof m))->nla_len = 60000;
    r = reader(&a);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_ROW);
    CHECK_EQ(row.recv_q, 1);
    CHECK_EQ(row.snd_wnd, SOCK_UNKNOWN);

    /* The same of the very attribute that is wanted: four bytes beyond the message. */
    a.len = 0;
    add_row(&a, &m, &info, sizeof info);
    ((struct nlattr *)(a.bytes + a.len - sizeof info - sizeof(struct nlattr)))->nla_len += 4;
    r = reader(&a);
    CHECK_EQ(sockdiag_next(&r, &row), SOCKDIAG_ROW);
    CHECK_EQ(row.snd_wnd, SOCK_UNKNOWN);
}

/* ---- verdicts ---- */

/* An established connection on which nothing has passed for a second and a half. */
static struct sock_row quiet_row(void) {
    struct inet_diag_msg m = v4_message(SOCK_ESTABLISHED, 0, 0);
    struct tcp_info info = {.tcpi_last_data_sent = 1500,
                            .tcpi_last_data_recv = 1500,
                            .tcpi_last_ack_recv = 1500,
                            .tcpi_bytes_received = 100000,
                            .tcpi_snd_wnd = 65536};
    return read_one(&m, &info, sizeof info);
}

static const struct sock_who aaa = {54330, "aaa"}, peer = {54331, "bbb"};

static struct sock_verdict judge(const struct sock_row *row) {
    struct sock_verdict v;
    sock_judge(row, NULL, 0, &aaa, &peer, &v);
    return v;
}

TEST(unread_bytes_are_named_with_time_and_owner) {
    struct sock_row row = quiet_row();
    row.recv_q = 72480;
    row.bytes_received = 72480;
    row.last_recv_ms = 34567;
    struct sock_verdict v = judge(&row);
    CHECK_STR(v.words, "unread for 34 s, 72,480 bytes, pid 54330 aaa");
    CHECK_EQ(v.waits, WAITS_READ);
    CHECK_EQ(v.trouble, TROUBLE_BAD);
    CHECK_EQ(v.for_ns, MSEC(34567));

    row.bytes_received = 76576;
    v = judge(&row);
    CHECK_STR(v.words, "unread for 34 s, 72,480 bytes after 4,096 that were read, pid 54330 aaa");
    row.last_recv_ms = 1000;
    CHECK_EQ(judge(&row).trouble, TROUBLE_WARN);
    row.last_recv_ms = 999; /* a healthy program a moment before its read() */
    CHECK_EQ(judge(&row).trouble, TROUBLE_NOTE);
    row.last_recv_ms = SOCK_UNKNOWN;
    row.bytes_received = SOCK_UNKNOWN64;
    v = judge(&row);
    CHECK_STR(v.words, "unread, 72,480 bytes, pid 54330 aaa");
    CHECK_EQ(v.trouble, TROUBLE_NOTE);
    CHECK_EQ(v.for_ns, -1);
}

TEST(close_wait_tells_how_long_and_whether_anybody_noticed) {
    struct sock_row row = quiet_row();
    row.state = SOCK_CLOSE_WAIT;
    row.last_ack_ms = 12000;
    row.last_recv_ms = 12100;
    struct sock_verdict v = judge(&row);
    CHECK_STR(v.words, "CLOSE_WAIT: the peer closed 12 s ago and nobody closes, pid 54330 aaa");
    CHECK_EQ(v.waits, WAITS_CLOSE);
    CHECK_EQ(v.trouble, TROUBLE_BAD);
    row.last_recv_ms = 90000; /* the FIN came at some time between */
    row.fin_unread = true;
    CHECK_STR(judge(&row).words, "CLOSE_WAIT: the peer closed at least 12 s ago and nobody has noticed, pid 54330 aaa");
    row.recv_q = 5;
    row.bytes_received = 5;
    CHECK_STR(judge(&row).words, "unread for 90 s, 5 bytes, and the peer has closed, pid 54330 aaa");
}

TEST(a_peer_that_does_not_read) {
    struct sock_row row = quiet_row();
    row.send_q = row.notsent = 81920;
    row.snd_wnd = 0;
    row.last_sent_ms = 20000;
    struct sock_verdict v = judge(&row);
    CHECK_STR(v.words,
              "peer does not read: window 0, 81,920 bytes unsent for 20 s, pid 54330 aaa; the peer is pid 54331 bbb");
    CHECK_EQ(v.waits, WAITS_PEER_READ);
    CHECK_EQ(v.trouble, TROUBLE_BAD);
    row.snd_wnd = 40;
    row.timer = SOCK_TIMER_PROBE; /* too small for a segment */
    CHECK_EQ(judge(&row).waits, WAITS_PEER_READ);
    row.timer = SOCK_TIMER_RETRANSMIT;
    CHECK_EQ(judge(&row).waits, WAITS_PEER_ACK);
    row.snd_wnd = row.notsent = SOCK_UNKNOWN; /* Linux before 5.4 */
    CHECK_EQ(judge(&row).waits, WAITS_PEER_ACK);
    row.timer = SOCK_TIMER_PROBE;
    CHECK_STR(judge(&row).words,
              "peer does not read: 81,920 bytes not taken for 20 s, pid 54330 aaa; the peer is pid 54331 bbb");
}

TEST(a_zero_window_with_nothing_to_send_is_no_trouble) {
    struct sock_row row = quiet_row();
    row.snd_wnd = 0;
    row.notsent = 0;
    CHECK_EQ(judge(&row).trouble, TROUBLE_NONE);
}

TEST(what_nobody_has_accepted) {
    struct sock_row row = quiet_row();
    row.inode = 0;
    row.recv_q = 78;
    struct sock_verdict v = judge(&row);
    CHECK_STR(v.words, "not accepted for 1.5 s, 78 bytes unread, pid 54330 aaa");
    CHECK_EQ(v.waits, WAITS_ACCEPT);
}

TEST(the_healthy_are_idle) {
    struct sock_row row = quiet_row();
    struct sock_verdict v = judge(&row);
    CHECK_STR(v.words, "idle for 1.5 s, pid 54330 aaa");
    CHECK_EQ(v.trouble, TROUBLE_NONE);
    row.last_recv_ms = row.last_sent_ms = 3 * 86400 * 1000;
    CHECK_STR(judge(&row).words, "idle for 3 days, pid 54330 aaa");
    row.send_q = 10;
    row.notsent = 0;
    CHECK_EQ(judge(&row).trouble, TROUBLE_NONE);
    row.retransmits = 2;
    v = judge(&row);
    CHECK_STR(v.words, "10 bytes under way, no answer to 2 retransmissions, pid 54330 aaa");
    CHECK_EQ(v.trouble, TROUBLE_WARN);
}

static struct sock_verdict look(struct sock_memory *m, const struct sock_row *row, mono_ns now) {
    struct sock_verdict v;
    sock_remember(m, row, now);
    sock_judge(row, m, now, &aaa, NULL, &v);
    return v;
}

TEST(watching_dates_from_when_nothing_is_read_any_more) {
    struct sock_row row = quiet_row();
    struct sock_memory m = {0};
    mono_ns t = SEC(1000);

    row.recv_q = 1000;
    row.last_recv_ms = 2000;
    CHECK_EQ(look(&m, &row, t).for_ns, SEC(2)); /* the kernel's bound, at first */
    row.last_recv_ms = 0;                       /* more came, and nothing was read */
    row.recv_q = 2000;
    row.bytes_received += 1000;
    CHECK_EQ(look(&m, &row, t + SEC(5)).for_ns, SEC(5));
    row.recv_q = 1999; /* it reads, a byte in five seconds: not stuck, whatever the kernel's bound */
    row.last_recv_ms = 5000;
    CHECK_EQ(look(&m, &row, t + SEC(10)).for_ns, 0);
    row.last_recv_ms = 8000;
    CHECK_EQ(look(&m, &row, t + SEC(13)).for_ns, SEC(3));
    row.recv_q = 0;
    row.bytes_received += 1;
    CHECK_EQ(look(&m, &row, t + SEC(14)).waits, WAITS_NOTHING);
}

/* The queue stays as long as it was: what was read, came anew. */
TEST(a_queue_that_stays_may_still_be_read) {
    struct sock_row row = quiet_row();
    struct sock_memory m = {0};
    row.recv_q = 1000;
    look(&m, &row, SEC(10));
    row.bytes_received += 500;
    CHECK_EQ(look(&m, &row, SEC(11)).for_ns, 0);
}

TEST(watching_sees_the_peer_close) {
    struct sock_row row = quiet_row();
    struct sock_memory m = {0};
    row.last_ack_ms = row.last_recv_ms = 60000;
    look(&m, &row, SEC(10));
    row.state = SOCK_CLOSE_WAIT;
    row.last_ack_ms = 100;
    look(&m, &row, SEC(11));
    row.last_ack_ms = 50; /* it answers our keep-alive */
    CHECK_STR(look(&m, &row, SEC(31)).words, "CLOSE_WAIT: the peer closed 20 s ago and nobody closes, pid 54330 aaa");
}

TEST(the_worst_comes_first) {
    struct sock_row bad = quiet_row(), warn = bad, fine = bad, old = bad;
    bad.recv_q = warn.recv_q = 10;
    bad.last_recv_ms = 11000;
    warn.recv_q = 100000;
    old.last_recv_ms = old.last_sent_ms = 9000;
    struct sock_verdict b = judge(&bad), w = judge(&warn), f = judge(&fine), o = judge(&old);
    CHECK(sock_worse(&b, &bad, &w, &warn) < 0);
    CHECK(sock_worse(&w, &warn, &b, &bad) > 0);
    CHECK(sock_worse(&w, &warn, &f, &fine) < 0);
    CHECK(sock_worse(&f, &fine, &o, &old) < 0);
    CHECK_EQ(sock_worse(&f, &fine, &f, &fine), 0);
}

TEST(words_fit_whatever_the_numbers) {
    struct sock_row row = quiet_row();
    char comm[OWNER_COMM_MAX];
    struct sock_who long_one = {INT32_MAX, comm};
    struct sock_verdict v;
    memset(comm, 'x', sizeof comm - 1);
    comm[sizeof comm - 1] = 0;
    row.send_q = row.notsent = UINT32_MAX - 1;
    row.snd_wnd = 0;
    row.inode = 1;
    sock_judge(&row, NULL, 0, &long_one, &long_one, &v);
    CHECK(strlen(v.words) < sizeof v.words);
    CHECK(strstr(v.words, "the peer is pid 2147483647 xxx") != NULL);
}

/* ---- owners ---- */

TEST(links_of_descriptors) {
    CHECK_EQ(owner_inode("socket:[4711]", 13), 4711);
    CHECK_EQ(owner_inode("socket:[4294967295]", 19), 4294967295);
    CHECK_EQ(owner_inode("socket:[4294967296]", 19), 0);
    CHECK_EQ(owner_inode("socket:[]", 9), 0);
    CHECK_EQ(owner_inode("socket:[12x]", 12), 0);
    CHECK_EQ(owner_inode("socket:[12", 10), 0);
    CHECK_EQ(owner_inode("pipe:[4711]", 11), 0);
    CHECK_EQ(owner_inode("", 0), 0);
}

static const char *cgroup_of(const char *text) {
    static char out[OWNER_CGROUP_MAX];
    owner_cgroup(text, out);
    return out;
}

TEST(cgroups_of_both_versions) {
    CHECK_STR(cgroup_of("0::/kubepods/pod1/c2\n"), "/kubepods/pod1/c2");
    CHECK_STR(cgroup_of("12:memory:/docker/ab\n1:name=systemd:/docker/ab\n0::/\n"), "/docker/ab");
    CHECK_STR(cgroup_of("12:cpu:/\n4:memory:/x\n"), "/x");
    CHECK_STR(cgroup_of("0::/x\n1:name=systemd:/y\n"), "/x");
    CHECK_STR(cgroup_of("1:name=systemd:/a\n0::/b"), "/b");
    CHECK_STR(cgroup_of("0::/\n"), "/");
    CHECK_STR(cgroup_of(""), "");
    CHECK_STR(cgroup_of("nonsense\n"), "");
}

/* ---- real sockets ---- */

struct pair {
    int listener, client, server;
    struct flow_key flow; /* from the client's end */
};

static void name_of(int fd, bool remote, struct endpoint *out) {
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    memset(out, 0, sizeof *out);
    if ((remote ? getpeername : getsockname)(fd, (struct sockaddr *)&a, &len) != 0) abort();
    out->port = ntohs(a.sin6_port);
    out->family = a.sin6_family == AF_INET ? ADDR_V4 : ADDR_V6;
    if (a.sin6_family == AF_INET)
        memcpy(out->addr, &((struct sockaddr_in *)&a)->sin_addr, 4);
    else
        memcpy(out->addr, &a.sin6_addr, 16);
}

/* client: AF_INET or AF_INET6; the listener takes both kinds if it is to. False where there is no IPv6. */
static bool connected(struct pair *p, int client, bool dual) {
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = dual ? in6addr_any : in6addr_loopback};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool six = dual || client == AF_INET6;
    socklen_t len = six ? sizeof v6 : sizeof v4;
    struct sockaddr *at = six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;

    p->listener = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    p->client = socket(client, SOCK_STREAM, 0);
    p->server = -1;
    if (p->listener < 0 || p->client < 0 || bind(p->listener, at, len) || listen(p->listener, 1) ||
        getsockname(p->listener, at, &len))
        return false;
    if (dual && client == AF_INET) v4.sin_port = v6.sin6_port;
    if (client == AF_INET ? connect(p->client, (struct sockaddr *)&v4, sizeof v4)
                          : connect(p->client, (struct sockaddr *)&v6, sizeof v6))
        return false;
    p->server = accept(p->listener, NULL, NULL);
    name_of(p->client, false, &p->flow.local);
    name_of(p->client, true, &p->flow.remote);
    return p->server >= 0;
}

static void disconnect(struct pair *p) {
    if (p->client >= 0) close(p->client);
    if (p->server >= 0) close(p->server);
    if (p->listener >= 0) close(p->listener);
}

static struct flow_key swapped(const struct flow_key *f) {
    return (struct flow_key){.local = f->remote, .remote = f->local};
}

static void fill(int fd, size_t n) {
    static char bytes[70000];
    if (write(fd, bytes, n) != (ssize_t)n) abort();
}

/* Over loopback, what is written is in the other queue when write() returns. */
TEST(one_socket_is_found_by_its_addresses) {
    char err[SOCKDIAG_TEXT], some[4096];
    struct sockdiag *d = sockdiag_open(err);
    struct pair p;
    struct sock_row row;
    int unread;

    if (!d) SKIP("sock_diag does not answer here");
    if (!connected(&p, AF_INET, false)) abort();
    fill(p.server, 70000);
    if (read(p.client, some, sizeof some) != sizeof some || ioctl(p.client, SIOCINQ, &unread)) abort();
    CHECK_EQ(unread, 70000 - 4096);
    CHECK_EQ(sockdiag_find(d, &p.flow, &row), SOCKDIAG_FOUND);
    CHECK_EQ(row.recv_q, unread);
    CHECK_EQ(sock_bytes_read(&row), 4096);
    CHECK_EQ(row.state, SOCK_ESTABLISHED);
    CHECK(flow_equal(&row.flow, &p.flow));
    CHECK(row.inode != 0);

    struct flow_key back = swapped(&p.flow);
    CHECK_EQ(sockdiag_find(d, &back, &row), SOCKDIAG_FOUND);
    CHECK_EQ(row.recv_q, 0);

    /* The peer's FIN is in the queue, and no byte of it. */
    close(p.server);
    p.server = -1;
    if (ioctl(p.client, SIOCINQ, &unread)) abort();
    CHECK_EQ(sockdiag_find(d, &p.flow, &row), SOCKDIAG_FOUND);
    CHECK_EQ(row.state, SOCK_CLOSE_WAIT);
    CHECK_EQ(row.recv_q, unread);
    CHECK_EQ(row.bytes_received, 70000);
    CHECK(row.fin_unread);

    /* Nobody has this 4-tuple; the kernel then offers whoever listens. */
    struct flow_key none = back;
    none.remote.port = 1;
    CHECK_EQ(sockdiag_find(d, &none, &row), SOCKDIAG_GONE);
    disconnect(&p);
    CHECK_EQ(sockdiag_find(d, &p.flow, &row), SOCKDIAG_GONE);
    sockdiag_close(&d);
    CHECK(d == NULL);
}

TEST(ipv6_and_mapped_ipv4_are_found) {
    char err[SOCKDIAG_TEXT];
    struct sockdiag *d = sockdiag_open(err);
    struct pair p;
    struct sock_row row;

    if (!d) SKIP("sock_diag does not answer here");
    for (int dual = 0; dual < 2; dual++) {
        if (connected(&p, dual ? AF_INET : AF_INET6, dual)) {
            struct flow_key back = swapped(&p.flow); /* of a dual listener: an IPv6 socket with an IPv4 peer */
            fill(p.client, 300);
            CHECK_EQ(sockdiag_find(d, &p.flow, &row), SOCKDIAG_FOUND);
            CHECK_EQ(sockdiag_find(d, &back, &row), SOCKDIAG_FOUND);
            CHECK_EQ(row.recv_q, 300);
        }
        disconnect(&p);
    }
    sockdiag_close(&d);
}

struct listed {
    const struct flow_key *flow;
    uint16_t port;
    unsigned n, matches, strangers, states;
};
static void count_row(const struct sock_row *row, void *arg) {
    struct listed *l = arg;
    l->n++;
    l->states |= SOCK_STATE(row->state);
    l->matches += flow_equal(&row->flow, l->flow);
    l->strangers += row->flow.local.port != l->port && row->flow.remote.port != l->port;
}

TEST(the_kernel_applies_the_filter) {
    char err[SOCKDIAG_TEXT];
    struct sockdiag *d = sockdiag_open(err);
    struct pair p;

    if (!d) SKIP("sock_diag does not answer here");
    if (!connected(&p, AF_INET, false)) abort();
    uint16_t port = p.flow.remote.port;
    struct listed l = {.flow = &p.flow, .port = port};
    struct sockdiag_filter f = {.states = SOCK_CONNECTED, .port = port};
    CHECK(sockdiag_list(d, &f, count_row, &l, NULL, err));
    CHECK_EQ(l.n, 2); /* both ends, and not the listener */
    CHECK_EQ(l.matches, 1);
    CHECK_EQ(l.strangers, 0);

    l = (struct listed){.flow = &p.flow, .port = port};
    f = (struct sockdiag_filter){.states = SOCK_STATE(SOCK_LISTEN), .port = port};
    CHECK(sockdiag_list(d, &f, count_row, &l, NULL, err));
    CHECK_EQ(l.n, 1);
    CHECK_EQ(l.states, SOCK_STATE(SOCK_LISTEN));

    l = (struct listed){.flow = &p.flow, .port = port};
    f = (struct sockdiag_filter){.states = SOCK_CONNECTED};
    CHECK(sockdiag_list(d, &f, count_row, &l, NULL, err));
    CHECK_EQ(l.matches, 1);
    CHECK(!(l.states & ~SOCK_CONNECTED));
    disconnect(&p);
    sockdiag_close(&d);
}

/* More sockets than one buffer of the answer holds. */
TEST(a_long_list_comes_whole) {
    enum { N = 400 };
    char err[SOCKDIAG_TEXT];
    struct sockdiag *d = sockdiag_open(err);
    struct pair p;
    int fds[N][2];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (!d) SKIP("sock_diag does not answer here");
    if (!connected(&p, AF_INET, false)) abort();
    at.sin_port = htons(p.flow.remote.port);
    for (int i = 0; i < N; i++) {
        fds[i][0] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[i][0] < 0 || connect(fds[i][0], (struct sockaddr *)&at, sizeof at)) abort();
        fds[i][1] = accept(p.listener, NULL, NULL);
    }
    struct listed l = {.flow = &p.flow, .port = p.flow.remote.port};
    struct sockdiag_filter f = {.states = SOCK_CONNECTED, .port = l.port};
    CHECK(sockdiag_list(d, &f, count_row, &l, NULL, err));
    CHECK_EQ(l.n, 2 * (N + 1));
    for (int i = 0; i < N; i++) close(fds[i][0]), close(fds[i][1]);
    disconnect(&p);
    sockdiag_close(&d);
}

TEST(owners_are_found_in_steps) {
    char err[SOCKDIAG_TEXT];
    struct sockdiag *d = sockdiag_open(err);
    struct pair p;
    struct sock_row row;
    struct owners_progress progress;
    unsigned steps = 0;

    if (!d) SKIP("sock_diag does not answer here");
    if (!connected(&p, AF_INET, false) || sockdiag_find(d, &p.flow, &row) != SOCKDIAG_FOUND) abort();
    struct owners *o = owners_new(getpid());
    CHECK(owners_step(o, 10)); /* none was begun */
    CHECK(owners_want(o, row.inode));
    CHECK(owners_want(o, row.inode)); /* once is enough */
    CHECK(owners_want(o, UINT32_MAX));
    CHECK(owners_want(o, 0));
    CHECK(owners_begin(o, true));
    while (!owners_step(o, 1)) steps++;
    CHECK(steps > 5); /* one directory entry each: three standard ones, and ours */
    const struct owner *w = owners_find(o, row.inode);
    CHECK(w && w->process->pid == getpid() && w->others == 0);
    if (w) CHECK_STR(w->process->comm, "t_sockdiag");
    CHECK(owners_find(o, UINT32_MAX) == NULL);
    CHECK(owners_find(o, 0) == NULL);
    owners_progress(o, &progress);
    CHECK_EQ(progress.wanted, 2);
    CHECK_EQ(progress.found, 1);
    CHECK_EQ(progress.processes, 1);

    /* Not full: over as soon as all are found. */
    owners_forget(o);
    CHECK(owners_find(o, row.inode) == NULL);
    owners_want(o, row.inode);
    CHECK(owners_begin(o, false));
    while (!owners_step(o, 1000)) {}
    CHECK(owners_find(o, row.inode) != NULL);
    CHECK(owners_begin(o, false));
    CHECK(owners_step(o, 1)); /* nothing is left to find */
    owners_free(&o);

    o = owners_new(INT32_MAX);
    CHECK(!owners_begin(o, true));
    CHECK_EQ(errno, ENOENT);
    owners_free(&o);
    disconnect(&p);
    sockdiag_close(&d);
}

int main(void) {
    return tap_run();
}
