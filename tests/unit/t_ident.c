/* Keys, hashes and addresses as text. */
#include "core/ident.h"

#include "tap.h"

#include <arpa/inet.h>

static struct connect_key key(const char *proxy, const char *scheme, const char *addr, bool only_h1) {
    return (struct connect_key){proxy, scheme, addr, only_h1};
}

static const char *key_text(struct connect_key k) {
    static char buf[128];
    return connect_key_text(&k, buf, sizeof buf);
}

TEST(R1_keys_are_compared_byte_for_byte) {
    struct connect_key a = key("", "http", "a:80", false);
    const struct connect_key others[] = {
        key("", "http", "A:80", false),   key("", "http", "a.:80", false),          key("", "https", "a:80", false),
        key("", "http", "a:80", true),    key("http://p:1", "http", "a:80", false), key("", "http", "a:8", false),
        key("", "http", "a:8000", false),
    };
    char copy[] = "a:80"; /* equal bytes at another address */
    struct connect_key same = key("", "http", copy, false);

    CHECK(connect_key_equal(&a, &same));
    CHECK(connect_key_hash(&a) == connect_key_hash(&same));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK(!connect_key_equal(&a, &others[i]));
        CHECK(connect_key_hash(&a) != connect_key_hash(&others[i]));
    }
}

TEST(R2_other_credentials_are_another_key) {
    struct connect_key a = key("http://u:1@p:3128", "http", "", false), b = key("http://u:2@p:3128", "http", "", false);
    CHECK(!connect_key_equal(&a, &b));
}

TEST(key_parts_do_not_run_into_one_another) {
    struct connect_key a = key("ab", "c", "d", false), b = key("a", "bc", "d", false), c = key("a", "b", "cd", false);
    CHECK(connect_key_hash(&a) != connect_key_hash(&b));
    CHECK(connect_key_hash(&b) != connect_key_hash(&c));
}

TEST(R8_printable_form) {
    CHECK_STR(key_text(key("", "http", "a:80", false)), "|http|a:80");
    CHECK_STR(key_text(key("http://p:3128", "http", "", false)), "http://p:3128|http|");
    CHECK_STR(key_text(key("http://p:3128", "https", "a:443", false)), "http://p:3128|https|a:443");
    CHECK_STR(key_text(key("", "https", "a:443", true)), "|https,h1|a:443");
}

TEST(printable_form_is_cut_where_the_buffer_ends) {
    struct connect_key k = key("", "http", "a:80", false);
    char buf[16];

    for (size_t size = 1; size <= 11; size++) {
        memset(buf, 'x', sizeof buf);
        connect_key_text(&k, buf, size);
        CHECK(strlen(buf) == (size - 1 < 10 ? size - 1 : 10));
        CHECK(strncmp("|http|a:80", buf, strlen(buf)) == 0);
        CHECK(buf[size] == 'x');
    }
    memset(buf, 'x', sizeof buf);
    connect_key_text(&k, buf, 0);
    CHECK(buf[0] == 'x');
}

TEST(hash_sees_every_bit_of_every_length) {
    uint8_t buf[80] = {0};
    for (size_t len = 0; len <= sizeof buf; len++) {
        uint64_t h = bytes_hash(buf, len, 0);
        CHECK(h == bytes_hash(buf, len, 0));
        CHECK(h != bytes_hash(buf, len, 1));
        if (len < sizeof buf) CHECK(h != bytes_hash(buf, len + 1, 0));
        for (size_t bit = 0; bit < len * 8; bit++) {
            buf[bit / 8] = (uint8_t)(buf[bit / 8] ^ 1 << bit % 8);
            CHECK(h != bytes_hash(buf, len, 0));
            buf[bit / 8] = (uint8_t)(buf[bit / 8] ^ 1 << bit % 8);
        }
    }
}

/* Consecutive ports of one pair of hosts are what a flow table holds. */
TEST(hash_spreads_neighbouring_flows) {
    enum { N = 1 << 14 };
    static unsigned low[N / 4], high[N / 4];
    struct flow_key f = {.local = {.family = ADDR_V4, .addr = {127, 0, 0, 1}},
                         .remote = {.family = ADDR_V4, .addr = {127, 0, 0, 1}, .port = 80}};
    unsigned worst = 0;

    for (unsigned i = 0; i < N; i++) {
        f.local.port = (uint16_t)(32768 + i);
        uint64_t h = flow_hash(&f);
        unsigned a = ++low[h % (N / 4)], b = ++high[h >> 52];
        if (a > worst) worst = a;
        if (b > worst) worst = b;
    }
    CHECK(worst < 20); /* 4 on average; 20 or more by chance in 1 of 10^5 runs */
}

TEST(seed_changes_every_hash_and_is_reproducible) {
    uint64_t before = bytes_hash("abc", 3, 0), with_1, with_2;
    hash_seed(1);
    with_1 = bytes_hash("abc", 3, 0);
    hash_seed(2);
    with_2 = bytes_hash("abc", 3, 0);
    CHECK(with_1 != before && with_2 != before && with_1 != with_2);
    hash_seed(1);
    CHECK(bytes_hash("abc", 3, 0) == with_1);
}

TEST(flows_compare_in_one_direction) {
    struct flow_key f = {.local = {.family = ADDR_V4, .addr = {10, 0, 0, 1}, .port = 1},
                         .remote = {.family = ADDR_V4, .addr = {10, 0, 0, 2}, .port = 2}};
    struct flow_key back = {.local = f.remote, .remote = f.local};
    CHECK(flow_equal(&f, &f));
    CHECK(!flow_equal(&f, &back));
    CHECK(flow_hash(&f) != flow_hash(&back));
    CHECK_EQ(flow_compare(&f, &f), 0);
    CHECK((flow_compare(&f, &back) < 0) == (flow_compare(&back, &f) > 0));
    CHECK(endpoint_equal(&f.local, &back.remote));
    CHECK(!endpoint_equal(&f.local, &f.remote));
}

static const char *round_trip(const char *text) {
    static char buf[ENDPOINT_TEXT_MAX];
    struct endpoint e;
    return endpoint_parse(text, &e) ? endpoint_text(&e, buf) : NULL;
}

TEST(addresses_come_back_as_written) {
    const char *same[] = {
        "127.0.0.1:80",
        "0.0.0.0:0",
        "255.255.255.255:65535",
        "[::1]:80",
        "[::]:443",
        "[1::]:1",
        "[2001:db8::1]:8080",
        "[2001:db8:0:1:1:1:1:1]:1",
        "[2001:0:0:1::1]:1",
        "[1:0:0:2::]:1",
        "[::ffff:1.2.3.4]:5",
        "[fe80::1:2:3:4]:9",
        "[1:2:3:4:5:6:7:8]:7",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) CHECK_STR(round_trip(same[i]), same[i]);
}

TEST(addresses_are_written_in_the_shortest_form) {
    CHECK_STR(round_trip("[2001:DB8:0:0:0:0:0:1]:80"), "[2001:db8::1]:80");
    CHECK_STR(round_trip("[0:0:1:0:0:0:2:3]:80"), "[0:0:1::2:3]:80");
    CHECK_STR(round_trip("[1:0:0:2:3:0:0:4]:80"), "[1::2:3:0:0:4]:80");
    CHECK_STR(round_trip("[64:ff9b::1.2.3.4]:80"), "[64:ff9b::102:304]:80");
    CHECK_STR(round_trip("[0:0:0:0:0:ffff:7f00:1]:80"), "[::ffff:127.0.0.1]:80");
    CHECK_STR(round_trip("[1:2:3:4:5:6:7::]:80"), "[1:2:3:4:5:6:7:0]:80");
}

TEST(addresses_that_are_none) {
    const char *bad[] = {
        "",
        ":80",
        "localhost:80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:080",
        "127.0.0.01:80",
        "256.0.0.1:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1:80",
        "[]:80",
        "[:]:80",
        "[:::]:80",
        "[1::2::3]:80",
        "[1:2:3:4:5:6:7]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[1:2:3:4:5:6:7:8::]:80",
        "[::1:2:3:4:5:6:7:8]:80",
        "[12345::]:80",
        "[1:]:80",
        "[:1]:80",
        "[g::]:80",
        "[fe80::1%eth0]:80",
        "[1.2.3.4]:80",
        "[::1.2.3.256]:80",
        "[::1.2.3.4:5]:80",
        "[1:2:3:4:5:6:7:1.2.3.4]:80",
        "unix",
        "?",
        "[::1]x:80",
    };
    struct endpoint e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (endpoint_parse(bad[i], &e)) tap_fail(__FILE__, __LINE__, "\"%s\" was taken for an address", bad[i]);
}

/* libc as a witness, for addresses with every mixture of zero groups. */
TEST(addresses_agree_with_inet_ntop) {
    for (unsigned mask = 0; mask < 256; mask++) {
        struct endpoint e = {.family = ADDR_V6, .port = 80}, back;
        char got[ENDPOINT_TEXT_MAX], want[ENDPOINT_TEXT_MAX + 8] = "[";
        for (unsigned i = 0; i < 8; i++)
            if (mask & 1u << i) e.addr[2 * i + 1] = (uint8_t)(i + 1);
        if ((mask & 0x3f) == 0) continue; /* glibc writes ::1.2.3.4 for those, RFC 5952 does not ask for it */
        inet_ntop(AF_INET6, e.addr, want + 1, INET6_ADDRSTRLEN);
        strcat(want, "]:80");
        CHECK_STR(endpoint_text(&e, got), want);
        CHECK(endpoint_parse(want, &back) && endpoint_equal(&e, &back));
    }
}

TEST(unix_has_no_address) {
    struct endpoint e = {.family = ADDR_UNIX};
    char buf[ENDPOINT_TEXT_MAX];
    CHECK_STR(endpoint_text(&e, buf), "unix");
    CHECK_STR(endpoint_text(&(struct endpoint){0}, buf), "?");
}

int main(void) {
    return tap_run();
}
