/* Who may use the proxy, and for what. */
#include "access.h"
#include "conf_values.h"
#include "tap.h"

#include <unistd.h>

static char err[CONF_ERROR_MAX];

static struct endpoint at(const char *text) {
    struct endpoint e = {0};
    if (!strcmp(text, "unix"))
        e.family = ADDR_UNIX;
    else if (!value_address(text, &e))
        tap_fail(__FILE__, __LINE__, "%s is no address", text);
    return e;
}

static bool client_ok(const char *allow, const char *client) {
    char set[300];
    snprintf(set, sizeof(set), "access.allow_clients=%s", allow);
    struct conf *c = conf_build(NULL, (const char *const[]){set}, 1, err);
    if (!c) {
        tap_fail(__FILE__, __LINE__, "%s", err);
        return false;
    }
    struct endpoint e = at(client);
    bool ok = access_client_ok(c, &e);
    conf_free(&c);
    return ok;
}

/* "allow | deny" against host:port and, unless NULL, the address it resolved to. */
static bool dest_ok(const char *allow, const char *deny, const char *host, uint16_t port, const char *resolved) {
    char a[300], d[300];
    snprintf(a, sizeof(a), "access.allow_destinations=%s", allow);
    snprintf(d, sizeof(d), "access.deny_destinations=%s", deny);
    struct conf *c = conf_build(NULL, (const char *const[]){a, d}, 2, err);
    if (!c) {
        tap_fail(__FILE__, __LINE__, "%s", err);
        return false;
    }
    struct endpoint e = {0};
    if (resolved) e = at(resolved);
    bool ok = access_destination_ok(c, host, port, resolved ? &e : NULL);
    conf_free(&c);
    return ok;
}

TEST(clients_by_network) {
    CHECK(client_ok("loopback", "127.0.0.1"));
    CHECK(client_ok("loopback", "127.255.0.9"));
    CHECK(client_ok("loopback", "::1"));
    CHECK(client_ok("loopback", "::ffff:127.0.0.1"));
    CHECK(!client_ok("loopback", "10.0.0.1"));
    CHECK(!client_ok("loopback", "::2"));
    CHECK(client_ok("none", "unix"));
    CHECK(!client_ok("none", "127.0.0.1"));
    CHECK(client_ok("all", "8.8.8.8") && client_ok("all", "2001:db8::1"));
    CHECK(client_ok("10.0.0.0/8, 2001:db8::/33", "10.255.255.255"));
    CHECK(!client_ok("10.0.0.0/8, 2001:db8::/33", "11.0.0.0"));
    CHECK(client_ok("10.0.0.0/8, 2001:db8::/33", "2001:db8:7fff::1"));
    CHECK(!client_ok("10.0.0.0/8, 2001:db8::/33", "2001:db8:8000::1"));
    CHECK(client_ok("0.0.0.0/0", "1.2.3.4") && !client_ok("0.0.0.0/0", "::1"));
    CHECK(client_ok("192.168.1.7", "192.168.1.7") && !client_ok("192.168.1.7", "192.168.1.6"));
    CHECK(client_ok("::ffff:10.0.0.0/104", "10.9.9.9") && !client_ok("::ffff:10.0.0.0/104", "11.0.0.1"));
    CHECK(client_ok("192.168.1.128/25", "192.168.1.200") && !client_ok("192.168.1.128/25", "192.168.1.100"));
}

TEST(destinations_by_name) {
    CHECK(dest_ok("all", "none", "a.example", 80, NULL));
    CHECK(dest_ok("a.example", "none", "A.Example.", 80, NULL));
    CHECK(!dest_ok("a.example", "none", "b.example", 80, NULL));
    CHECK(!dest_ok("a.example", "none", "xa.example", 80, NULL));
    CHECK(dest_ok("*.example", "none", "a.b.example", 80, NULL));
    CHECK(!dest_ok("*.example", "none", "example", 80, NULL));
    CHECK(!dest_ok("*.example", "none", "badexample", 80, NULL));
    CHECK(dest_ok("a.example:443", "none", "a.example", 443, NULL));
    CHECK(!dest_ok("a.example:443", "none", "a.example", 80, NULL));
    CHECK(!dest_ok("all", "*:25", "a.example", 25, NULL));
    CHECK(dest_ok("all", "*:25", "a.example", 26, NULL));
    CHECK(!dest_ok("all", "evil.example", "EVIL.example", 80, NULL));
    CHECK(!dest_ok("none", "none", "a", 80, NULL));
    CHECK(!dest_ok("evil.example", "*.example", "evil.example", 80, NULL)); /* deny goes before allow */
}

TEST(destinations_by_address) {
    CHECK(!dest_ok("all", "169.254.0.0/16", "169.254.169.254", 80, NULL));
    CHECK(!dest_ok("all", "169.254.0.0/16", "::ffff:169.254.169.254", 80, NULL));
    CHECK(!dest_ok("all", "::1", "0:0:0:0:0:0:0:1", 80, NULL));
    /* A name is asked about again with each address that it has. */
    CHECK(dest_ok("all", "169.254.0.0/16", "metadata.example", 80, NULL));
    CHECK(!dest_ok("all", "169.254.0.0/16", "metadata.example", 80, "169.254.169.254"));
    CHECK(dest_ok("all", "169.254.0.0/16", "metadata.example", 80, "10.0.0.1"));
    /* Other spellings of an address are names until they are resolved. */
    CHECK(!dest_ok("all", "127.0.0.0/8", "2130706433", 80, "127.0.0.1"));
    CHECK(dest_ok("10.0.0.0/8", "none", "a.example", 80, NULL));
    CHECK(dest_ok("10.0.0.0/8", "none", "a.example", 80, "10.1.2.3"));
    CHECK(!dest_ok("10.0.0.0/8", "none", "a.example", 80, "11.1.2.3"));
    CHECK(!dest_ok("10.0.0.0/8", "none", "11.1.2.3", 80, NULL));
    CHECK(dest_ok("10.0.0.0/8:80", "none", "10.0.0.1", 80, NULL) &&
          !dest_ok("10.0.0.0/8:80", "none", "10.0.0.1", 81, NULL));
    CHECK(dest_ok("[2001:db8::]/32:443", "none", "2001:db8::5", 443, NULL));
    CHECK(!dest_ok("[2001:db8::]/32:443", "none", "2001:db8::5", 80, NULL));
    CHECK(dest_ok("[::1]:80", "none", "::1", 80, NULL) && dest_ok("::1", "none", "::1", 81, NULL));
}

TEST(patterns_that_are_none) {
    const char *const bad[] = {
        "",    "*a.example", "a.*",     "*.",   "a..b",     "10.0.0",   "10.0.0.0/33", "10.0.0.1/8",  "a:0",
        "a:x", "[::1",       "::1/129", "a/8",  "http://a", "a:80:80",  "[a]:80",      "10.0.0.0/8:", "[1.2.3.4/",
        "a b", "*.*.a",      "[[::1]]", "::1]", "[::1]x",   "256.1.1.1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct conf_dest d;
        if (!value_dest(bad[i], &d)) continue;
        tap_fail(__FILE__, __LINE__, "\"%s\" passes for a destination", bad[i]);
        free(d.name);
    }
}

TEST(a_name_too_long_for_dns_is_refused) {
    char host[400];
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = 0;
    CHECK(!dest_ok("all", "evil.example", host, 80, NULL));
}

/* --- passwords --- */

static const char *path_of(const char *text) {
    static char path[64];
    if (!*path) {
        snprintf(path, sizeof(path), "/tmp/t_access.XXXXXX");
        int fd = mkstemp(path);
        if (fd < 0) abort();
        close(fd);
    }
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f)) abort();
    return path;
}
__attribute__((destructor)) static void remove_file(void) {
    unlink(path_of(""));
}

/* "secret" by openssl passwd -5 and -6, and htpasswd -nB -C 4 */
#define SHA256_SECRET "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"

TEST(users_and_their_passwords) {
    struct passwords *p =
        passwords_load(path_of("# users\n\nann:" SHA256_SECRET
                               "\r\nbob:$2y$04$4JM0bv6oUQ3JNwMyCrXKAe6nIXd.jPauEc7fWSbsTq1w8faaxI6J.\n"),
                       err);
    if (!p) {
        tap_fail(__FILE__, __LINE__, "%s", err);
        return;
    }
    for (int again = 0; again < 2; again++) { /* the second time from the cache */
        CHECK(passwords_ok(p, "ann", "secret"));
        CHECK(!passwords_ok(p, "ann", "Secret"));
        CHECK(!passwords_ok(p, "ann", ""));
        CHECK(!passwords_ok(p, "eve", "secret"));
        CHECK(!passwords_ok(p, "", ""));
        CHECK(!passwords_ok(p, "annsecret", ""));
    }
    char long_one[2000];
    memset(long_one, 'x', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = 0;
    CHECK(!passwords_ok(p, long_one, "secret"));
    CHECK(!passwords_ok(p, "ann", long_one));
    passwords_free(&p);
    CHECK(!p);
}

static bool load_refused(const char *text, const char *want) {
    struct passwords *p = passwords_load(path_of(text), err);
    bool ok = !p && strstr(err, want);
    if (!ok) printf("# %s -> %s\n", text, p ? "accepted" : err);
    passwords_free(&p);
    return ok;
}

TEST(a_file_of_users_that_is_wrong) {
    CHECK(load_refused("ann\n", ":1: expected user:hash"));
    CHECK(load_refused(":x\n", ":1: expected user:hash"));
    CHECK(load_refused("\n# c\nann:secret\n", ":3: what follows the colon is no hash"));
    CHECK(load_refused("ann:\n", "no hash"));
    CHECK(load_refused("ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n", "no hash that crypt(3) knows"));
    CHECK(load_refused("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "no hash"));
    CHECK(load_refused("ann:" SHA256_SECRET "\nann:" SHA256_SECRET "\n", ":2: user ann is there twice"));
    struct passwords *p = passwords_load("/nonexistent", err);
    CHECK(!p);
    CHECK_STR(err, "access.password_file: /nonexistent: No such file or directory");
    p = passwords_load(path_of(""), err); /* nobody may */
    CHECK(p && !passwords_ok(p, "ann", "secret"));
    passwords_free(&p);
}

int main(void) {
    return tap_run();
}
