/* TcpExt's two counters: read from text in every shape that a kernel may give it. */
#include "io/kernel_counters.h"
#include "tap.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static struct kernel_counts parsed(const char *text) {
    struct kernel_counts k;
    kernel_counts_parse(text, &k);
    return k;
}

TEST(finds_both_by_name_whatever_stands_between) {
    struct kernel_counts k = parsed("TcpExt: SyncookiesSent TCPAbortOnData Other TCPAbortOnClose TCPAbortOnMemory\n"
                                    "TcpExt: 9 17 0 4294967296 8\n"
                                    "IpExt: InNoRoutes TCPAbortOnClose\nIpExt: 3 4\n");
    CHECK_EQ(k.abort_on_data, 17);
    CHECK_EQ(k.abort_on_close, 4294967296);
}

TEST(names_are_compared_whole) {
    struct kernel_counts k = parsed("TcpExt: TCPAbortOnCloseX XTCPAbortOnData TCPAbortOnClos\nTcpExt: 1 2 3\n");
    CHECK(k.abort_on_close == KERNEL_COUNTER_UNKNOWN);
    CHECK(k.abort_on_data == KERNEL_COUNTER_UNKNOWN);
}

TEST(other_groups_may_come_first) {
    struct kernel_counts k = parsed("IpExt: TCPAbortOnClose\nIpExt: 3\nTcpExt: TCPAbortOnClose\nTcpExt: 5\n");
    CHECK_EQ(k.abort_on_close, 5);
    CHECK(k.abort_on_data == KERNEL_COUNTER_UNKNOWN);
}

TEST(what_is_cut_off_or_not_a_number_is_unknown) {
    static const char *const bad[] = {
        "",
        "TcpExt:",
        "TcpExt: TCPAbortOnClose TCPAbortOnData",
        "TcpExt: TCPAbortOnClose TCPAbortOnData\n",
        "TcpExt: TCPAbortOnClose TCPAbortOnData\nIpExt: 1 2\n",
        "TcpExt: TCPAbortOnClose TCPAbortOnData\nTcpExt: x 1x\n",
        "TcpExt: TCPAbortOnClose TCPAbortOnData\nTcpExt: -1 99999999999999999999999\n",
        "TcpExt: TCPAbortOnClose TCPAbortOnData\nTcpExt:\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kernel_counts k = parsed(bad[i]);
        CHECK(k.abort_on_close == KERNEL_COUNTER_UNKNOWN);
        CHECK(k.abort_on_data == KERNEL_COUNTER_UNKNOWN);
    }
    struct kernel_counts k = parsed("TcpExt: TCPAbortOnClose TCPAbortOnData\nTcpExt: 6"); /* no value for the second */
    CHECK_EQ(k.abort_on_close, 6);
    CHECK(k.abort_on_data == KERNEL_COUNTER_UNKNOWN);
}

TEST(a_difference_needs_both_ends) {
    struct kernel_counts a = {10, KERNEL_COUNTER_UNKNOWN}, b = {12, 4}, c = {9, KERNEL_COUNTER_UNKNOWN};
    CHECK_EQ(kernel_counts_since(&a, &b).abort_on_close, 2);
    CHECK(kernel_counts_since(&a, &b).abort_on_data == KERNEL_COUNTER_UNKNOWN);
    CHECK(kernel_counts_since(&b, &a).abort_on_data == KERNEL_COUNTER_UNKNOWN);
    CHECK(kernel_counts_since(&a, &c).abort_on_close == KERNEL_COUNTER_UNKNOWN); /* went back */
}

/* A connection whose server end has `unread` bytes waiting when it is closed. */
static bool close_with(size_t unread) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = l >= 0 && c >= 0 && !bind(l, (struct sockaddr *)&at, len) && !listen(l, 1) &&
              !getsockname(l, (struct sockaddr *)&at, &len) && !connect(c, (struct sockaddr *)&at, len);
    int s = ok ? accept(l, NULL, NULL) : -1;
    char byte = 'x';
    for (size_t i = 0; s >= 0 && i < unread; i++) ok = ok && send(c, &byte, 1, 0) == 1;
    if (s >= 0 && unread) ok = ok && recv(s, &byte, 1, MSG_PEEK) == 1; /* it has arrived */
    if (s >= 0) close(s);
    close(c);
    close(l);
    return ok && s >= 0;
}

TEST(counts_what_this_kernel_does) {
    struct kernel_counters *k = kernel_counters_new();
    struct kernel_counts before = kernel_counters_read(k);
    if (before.abort_on_close == KERNEL_COUNTER_UNKNOWN) {
        kernel_counters_free(&k);
        SKIP("/proc/self/net/netstat cannot be read here");
    }
    CHECK(close_with(0));
    CHECK(close_with(5));
    CHECK(close_with(1));
    struct kernel_counts after = kernel_counters_read(k);
    CHECK(after.abort_on_close >= before.abort_on_close + 2); /* others of the namespace count too */
    kernel_counters_free(&k);
    CHECK(k == NULL);
}

int main(void) {
    return tap_run();
}
