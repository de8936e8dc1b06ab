/* The configuration: the table, the file, --set, the checks, SIGHUP. */
#include "conf.h"
#include "conf_values.h"
#include "core/duration.h"
#include "tap.h"

#include <sys/stat.h>
#include <unistd.h>

static char err[CONF_ERROR_MAX];

/* A file with this text; the path is good until the next call. */
static const char *file_of(const void *text, size_t len) {
    static char path[64];
    if (!*path) {
        snprintf(path, sizeof(path), "/tmp/t_conf.XXXXXX");
        int fd = mkstemp(path);
        if (fd < 0) abort();
        close(fd);
    }
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, len, f) != len || fclose(f)) abort();
    return path;
}
__attribute__((destructor)) static void remove_file(void) {
    unlink(file_of("", 0));
}

static struct conf *from_text(const char *text) {
    return conf_build(file_of(text, strlen(text)), NULL, 0, err);
}

/* Is `text` refused with an error that contains `want` and begins with the file's name? */
static bool refused(const char *text, const char *want) {
    struct conf *c = from_text(text);
    bool ok = !c && strstr(err, want) && !strchr(err, '\n') && !strncmp(err, "/tmp/t_conf.", 12);
    if (!ok) printf("# %s -> %s\n", text, c ? "accepted" : err);
    conf_free(&c);
    return ok;
}

static struct conf *from_set(const char *set) {
    return conf_build(NULL, &set, 1, err);
}

static bool set_refused(const char *set, const char *want) {
    struct conf *c = from_set(set);
    bool ok = !c && strstr(err, want) && !strchr(err, '\n');
    if (!ok) printf("# %s -> %s\n", set, c ? "accepted" : err);
    conf_free(&c);
    return ok;
}

static int64_t ns_of(const char *text) {
    int64_t ns = -1;
    return duration_parse(text, &ns) ? ns : -1;
}
static int64_t bytes_of(const char *text) {
    uint64_t n;
    return value_size(text, &n) ? (int64_t)n : -1;
}

TEST(durations_are_written_as_in_go) {
    CHECK_EQ(ns_of("250ms"), MSEC(250));
    CHECK_EQ(ns_of("1m30s"), SEC(90));
    CHECK_EQ(ns_of("1.5h"), SEC(5400));
    CHECK_EQ(ns_of(".5s"), MSEC(500));
    CHECK_EQ(ns_of("1.s"), SEC(1));
    CHECK_EQ(ns_of("1h1m1s1ms1us1ns"), 3661001001001);
    CHECK_EQ(ns_of("10\xc2\xb5s"), USEC(10));
    CHECK_EQ(ns_of("0"), 0);
    CHECK_EQ(ns_of("0s"), 0);
    CHECK_EQ(ns_of("0.1234567891s"), 123456789);
    CHECK_EQ(ns_of("2562047h47m16.854775807s"), INT64_MAX);
    const char *const bad[] = {"",
                               "5",
                               "-1s",
                               "+1s",
                               "s",
                               ".s",
                               "1 s",
                               "1m30",
                               "1d",
                               "1sec",
                               "1S",
                               "1e3s",
                               "0x1s",
                               "1..5s",
                               "1s ",
                               "2562047h47m16.854775808s",
                               "99999999999999999999s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (ns_of(bad[i]) != -1) tap_fail(__FILE__, __LINE__, "\"%s\" passes for a duration", bad[i]);
}

TEST(sizes_are_powers_of_1024) {
    CHECK_EQ(bytes_of("4096"), 4096);
    CHECK_EQ(bytes_of("64k"), 65536);
    CHECK_EQ(bytes_of("64K"), 65536);
    CHECK_EQ(bytes_of("64kB"), 65536);
    CHECK_EQ(bytes_of("10MiB"), 10 << 20);
    CHECK_EQ(bytes_of("1g"), 1 << 30);
    CHECK_EQ(bytes_of("512b"), 512);
    const char *const bad[] = {
        "", "k", "-1", "1.5k", "4 k", "4t", "4kk", "4ib", "99999999999999999999", "18446744073709551615k"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (bytes_of(bad[i]) != -1) tap_fail(__FILE__, __LINE__, "\"%s\" passes for a size", bad[i]);
}

TEST(texts_are_short_and_read_back) {
    char buf[VALUE_TEXT_MAX];
    CHECK_STR(duration_text(SEC(90), buf), "1m30s");
    CHECK_STR(duration_text(0, buf), "0");
    CHECK_STR(duration_text(SEC(3600), buf), "1h");
    CHECK_STR(duration_text(MSEC(1500), buf), "1s500ms");
    CHECK_STR(size_text(4096, buf), "4k");
    CHECK_STR(size_text(10 << 20, buf), "10m");
    CHECK_STR(size_text(4097, buf), "4097");
    CHECK_STR(size_text(0, buf), "0");
    for (int64_t ns = 1; ns < INT64_MAX / 7; ns = ns * 7 + 3) CHECK_EQ(ns_of(duration_text(ns, buf)), ns);
    CHECK_EQ(ns_of(duration_text(INT64_MAX, buf)), INT64_MAX);
    for (int64_t n = 1; n < INT64_MAX / 3; n *= 2) CHECK_EQ(bytes_of(size_text((uint64_t)n, buf)), n);
}

TEST(the_table_is_sound) {
    struct conf *c = conf_default();
    for (size_t i = 0; i < n_conf_params; i++) {
        const struct param *p = &conf_params[i];
        char name[64];
        snprintf(name, sizeof(name), "%s.%s", p->section, p->key);
        if (conf_param(name) != p) tap_fail(__FILE__, __LINE__, "%s is there twice", name);
        if (!(p->flags & PF_LIVE) == !(p->flags & PF_RESTART))
            tap_fail(__FILE__, __LINE__, "%s: LIVE or RESTART", name);
        size_t len = strlen(p->text);
        if (len < 10 || p->text[len - 1] != '.') tap_fail(__FILE__, __LINE__, "%s: not a sentence", name);
        /* What the default reads back as is itself a value, and the same one. */
        char *text = conf_value_text(c, p), set[256];
        snprintf(set, sizeof(set), "%s=%s", name, text);
        struct conf *again = conf_default();
        if (!conf_set(again, set, err)) tap_fail(__FILE__, __LINE__, "%s", err);
        char *text2 = conf_value_text(again, p);
        CHECK_STR(text2, text);
        CHECK_STR(conf_where(again, p), "--set");
        CHECK_STR(conf_where(c, p), "default");
        free(text);
        free(text2);
        conf_free(&again);
    }
    CHECK(conf_check(c, err));
    conf_free(&c);
}

TEST(defaults_are_those_of_the_design) {
    struct conf *c = conf_default();
    CHECK_EQ(c->pool.max_idle_conns, 100);
    CHECK_EQ(c->pool.max_idle_conns_per_host, 2);
    CHECK_EQ(c->pool.max_conns_per_host, 0);
    CHECK_EQ(c->pool.idle_conn_timeout, SEC(90));
    CHECK_EQ(c->pool.response_header_timeout, 0);
    CHECK_EQ(c->pool.max_response_header_bytes, 10 << 20);
    CHECK_EQ(c->pool.read_buffer_size, 4096);
    CHECK_EQ(c->pool.copy_buffer_size, 32768);
    CHECK_EQ(c->pool.profile, POOL_GO1_19);
    CHECK_EQ(c->proxy.mode, MODE_FORWARD);
    CHECK_EQ(c->proxy.listen.n, 1);
    CHECK_EQ(c->proxy.listen.item[0].addr.port, 3128);
    CHECK_EQ(c->admin.listen.item[0].addr.port, 9128);
    CHECK_EQ(c->proxy.client_idle_timeout, SEC(180));
    CHECK(c->proxy.via);
    CHECK_EQ(c->ledger.keep, 65536);
    CHECK(!c->ledger.file);
    CHECK_EQ(c->log.level, LEVEL_INFO);
    CHECK_EQ(c->log.format, FORMAT_TEXT);
    CHECK_EQ(c->tls.min_version, TLS_VERSION_1_2);
    struct pool_conf pool;
    conf_pool(c, &pool);
    CHECK_EQ(pool.max_idle_conns, 100);
    CHECK_EQ(pool.max_idle_conns_per_host, 2);
    CHECK_EQ(pool.idle_conn_timeout, SEC(90));
    conf_free(&c);
}

TEST(a_file_sets_what_it_names) {
    struct conf *c =
        from_text("# a comment\n; another\n\n[pool]\nmax_idle_conns = 7\n  idle_conn_timeout=1.5m ; why\n"
                  "[proxy]\r\nlisten = 127.0.0.1:0, [::1]:8080\r\n\tunix:/run/x.sock,\n localhost:81\nvia: off\n"
                  "[log]\nlevel = Debug");
    CHECK(!c); /* the indented line does not start a key of its own, and says so */
    CHECK(strstr(err, ":6: begins with a blank"));
    c = from_text("\xef\xbb\xbf# a comment\n; another\n\n[pool]\nmax_idle_conns = 7\nidle_conn_timeout=1.5m ; why\n"
                  "[proxy]\r\nlisten = 127.0.0.1:0, [::1]:8080\r\n\tunix:/run/x.sock,\n localhost:81\nvia: off\n"
                  "[log]\nlevel = Debug");
    CHECK(c);
    if (!c) return;
    CHECK_EQ(c->pool.max_idle_conns, 7);
    CHECK_EQ(c->pool.idle_conn_timeout, SEC(90));
    CHECK_EQ(c->proxy.listen.n, 4);
    CHECK_EQ(c->proxy.listen.item[0].addr.port, 0);
    CHECK_EQ(c->proxy.listen.item[1].addr.family, ADDR_V6);
    CHECK_STR(c->proxy.listen.item[2].path, "/run/x.sock");
    CHECK_EQ(c->proxy.listen.item[3].addr.addr[0], 127);
    CHECK(!c->proxy.via);
    CHECK_EQ(c->log.level, LEVEL_DEBUG);
    const struct param *p = conf_param("pool.max_idle_conns");
    CHECK(!strncmp(conf_where(c, p), "/tmp/t_conf.", 12) && strstr(conf_where(c, p), ":5"));
    char *text = conf_value_text(c, conf_param("proxy.listen"));
    CHECK_STR(text, "127.0.0.1:0, [::1]:8080, unix:/run/x.sock, localhost:81");
    free(text);
    conf_free(&c);
}

TEST(errors_name_the_line_and_what_was_expected) {
    CHECK(refused("[pool]\n\nmax_idle_conns = many\n",
                  ":3: pool.max_idle_conns: bad value \"many\"; expected a number from -1 to"));
    CHECK(refused("[pool]\nidle_conn_timeout = 90\n",
                  ":2: pool.idle_conn_timeout: bad value \"90\"; expected a duration"));
    CHECK(refused("[pool]\nidle_conn_timeout = -1s\n", "expected a duration from 0 to 8760h"));
    CHECK(refused("[pool]\nread_buffer_size = 1\n", "expected a size from 512 to 1m"));
    CHECK(refused("[pool]\ndisable_keep_alives = maybe\n", "expected on or off"));
    CHECK(refused("[log]\nlevel = loud\n", "expected one of error, warn, info, debug"));
    CHECK(refused("[proxy]\nlisten = 127.0.0.1:1, example.com:80\n", "bad value \"example.com:80\"; expected"));
    CHECK(refused("[proxy]\nlisten = none\n", "expected 1 to 16 of"));
    CHECK(refused("[access]\nallow_clients = 10.1.2.3/8\n", "bad value \"10.1.2.3/8\""));
    CHECK(refused("[pool]\nmax_idle_conn = 1\n", "no parameter pool.max_idle_conn; did you mean pool.max_idle_conns?"));
    CHECK(refused("[pool]\nlisten = 1\n", "did you mean proxy.listen?"));
    CHECK(refused("[pool]\nidle_timeout = 1s\n", ":2:"));
    CHECK(refused("[poool]\nprofile = go1.19\n", "did you mean pool.profile?"));
    CHECK(refused("[colour]\nzzzzzzz = 1\n", "no section [colour]; expected pool, proxy"));
    CHECK(refused("[log]\nzzzzzzz = 1\n", "section [log] has no parameter zzzzzzz"));
    CHECK(refused("level = info\n", ":1: level stands before the first [section]"));
    CHECK(refused("[log]\nlevel\n", ":2: expected [section], key = value, or a comment"));
    CHECK(refused("[log\nlevel = info\n", ":1: expected [section]"));
    CHECK(refused("[log] level = info\n", ":1: something stands behind the ]"));
    CHECK(
        refused("[log]\nlevel = info\n[pool]\n[log]\nlevel = debug\n", ":5: log.level is set twice, first in line 2"));
    CHECK(refused("[log]\nbroken\nlevel = loud\n", ":2: expected")); /* the first error, not the last */
    CHECK(refused("[log]\nlevel = loud\nbroken\n", ":2: log.level"));
}

TEST(a_file_that_is_no_text_is_refused) {
    struct conf *c = conf_build(file_of("[log]\nlevel = info\0x\n", 21), NULL, 0, err);
    CHECK(!c && strstr(err, ":2: a NUL byte"));
    c = conf_build(file_of("[log]\nlevel = info\0", 19), NULL, 0, err);
    CHECK(!c && strstr(err, ":2: a NUL byte"));
    char big[600] = "[access]\nallow_destinations = ";
    memset(big + strlen(big), 'a', 500);
    CHECK(refused(big, ":2: longer than"));
    c = conf_build("/tmp", NULL, 0, err);
    CHECK(!c && !strncmp(err, "/tmp: ", 6));
    c = conf_build("/nonexistent/file", NULL, 0, err);
    CHECK(!c);
    CHECK_STR(err, "/nonexistent/file: No such file or directory");
    CHECK(refused("[log]\nlevel = \x1b[31m\n", "bad value \"?[31m\""));
    c = from_text("");
    CHECK(c);
    conf_free(&c);
}

TEST(set_wins_over_the_file) {
    const char *const sets[] = {"pool.max_idle_conns=9", "proxy.listen=127.0.0.1:0", "pool.max_idle_conns=10"};
    struct conf *c = conf_build(file_of("[pool]\nmax_idle_conns=3\nprofile=go1.27\n", 38), sets, 3, err);
    CHECK(c);
    if (!c) return;
    CHECK_EQ(c->pool.max_idle_conns, 10);
    CHECK_EQ(c->pool.profile, POOL_GO1_27);
    CHECK_EQ(c->proxy.listen.n, 1);
    CHECK_EQ(c->proxy.listen.item[0].addr.port, 0);
    conf_free(&c);
    CHECK(set_refused("pool", "--set pool: expected SECTION.KEY=VALUE"));
    CHECK(set_refused("=1", "expected SECTION.KEY=VALUE"));
    CHECK(set_refused(".=1", "expected SECTION.KEY=VALUE"));
    CHECK(set_refused("a.=1", "expected SECTION.KEY=VALUE"));
    CHECK(set_refused("pool.max_idle=1",
                      "--set pool.max_idle=1: no parameter pool.max_idle; did you mean pool.max_idle_conns?"));
    CHECK(set_refused("pool.max_idle_conns=many", "--set pool.max_idle_conns: bad value \"many\"; expected"));
    CHECK(set_refused("pool.max_idle_conns=", "bad value \"\""));
    CHECK(set_refused("pool.max_idle_conns=1x", "bad value \"1x\""));
    CHECK(set_refused("pool.max_idle_conns=99999999999999999999", "bad value"));
}

TEST(what_is_not_there_yet_is_refused) {
    CHECK(set_refused("pool.force_attempt_http2=true", "HTTP/2 to origins is not in this version"));
    CHECK(set_refused("pool.proxy=http://127.0.0.1:8080", "another proxy is not in this version"));
    CHECK(set_refused("pool.no_proxy=a", "another proxy is not in this version"));
    CHECK(set_refused("pool.write_buffer_size=8k", "has no write buffer whose size could matter"));
    CHECK(set_refused("proxy.mode=transparent", "transparent mode is not in this version"));
    CHECK(set_refused("proxy.pairing=mirror", "not in this version"));
    CHECK(set_refused("tls.intercept=on", "not in this version"));
    CHECK(set_refused("tls.ca_key=/x", "not in this version"));
    CHECK(set_refused("probe.kernel=on", "not in this version"));
    struct conf *c = from_set("tls.intercept=no"); /* the default in other words */
    CHECK(c);
    conf_free(&c);
}

TEST(reverse_mode_and_its_origin_go_together) {
    CHECK(set_refused("proxy.mode=reverse", "proxy.mode = reverse needs proxy.upstream"));
    CHECK(set_refused("proxy.upstream=http://a", "goes with proxy.mode = reverse only"));
    struct {
        const char *url, *host, *authority;
        bool tls;
        unsigned port;
    } good[] = {{"http://a.example", "a.example", "a.example:80", false, 80},
                {"HTTPS://a.example/", "a.example", "a.example:443", true, 443},
                {"https://10.0.0.1:8443", "10.0.0.1", "10.0.0.1:8443", true, 8443},
                {"http://[::1]:81", "::1", "[::1]:81", false, 81}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char set[100];
        snprintf(set, sizeof(set), "proxy.upstream=%s", good[i].url);
        struct conf *c = conf_build(NULL, (const char *const[]){"proxy.mode=reverse", set}, 2, err);
        if (!c) {
            tap_fail(__FILE__, __LINE__, "%s", err);
            continue;
        }
        CHECK_STR(c->proxy.upstream_host, good[i].host);
        CHECK_STR(c->proxy.upstream_authority, good[i].authority);
        CHECK_EQ(c->proxy.upstream_port, good[i].port);
        CHECK_EQ(c->proxy.upstream_tls, good[i].tls);
        conf_free(&c);
    }
    const char *const bad[] = {
        "a.example",        "ftp://a",        "http://",       "http://a/path", "http://u:p@a",
        "http://a:0",       "http://a:65536", "http://a:",     "http://a?q",    "http://[::1",
        "http://[1.2.3.4]", "http://::1",     "http://[::1]x", "http://a b",    "http://a:80:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char set[100];
        snprintf(set, sizeof(set), "proxy.upstream=%s", bad[i]);
        struct conf *c = conf_build(NULL, (const char *const[]){"proxy.mode=reverse", set}, 2, err);
        if (c) tap_fail(__FILE__, __LINE__, "%s is accepted", bad[i]);
        conf_free(&c);
    }
}

TEST(no_two_listeners_at_one_place) {
    CHECK(set_refused("proxy.listen=127.0.0.1:80,127.0.0.1:80", "listened at already, by proxy.listen"));
    CHECK(set_refused("admin.listen=127.0.0.1:3128",
                      "admin.listen: 127.0.0.1:3128 is listened at already, by proxy.listen"));
    CHECK(set_refused("proxy.listen=unix:/a,unix:/a", "listened at already"));
    struct conf *c = from_set("proxy.listen=127.0.0.1:0,127.0.0.1:0");
    CHECK(c);
    conf_free(&c);
    c = from_set("admin.listen=none");
    CHECK(c && c->admin.listen.n == 0);
    conf_free(&c);
}

TEST(listen_addresses_are_numeric) {
    const char *const bad[] = {
        "3128",
        ":3128",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:80",
        "[::1]",
        "unix:",
        "127.1:80",
        "*:80",
        "a:80",
        "[127.0.0.1:80",
        "unix:/1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "2345678901234567890"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct conf_listen l;
        if (!value_listen(bad[i], &l)) continue;
        tap_fail(__FILE__, __LINE__, "%s passes for a place to listen at", bad[i]);
        free(l.text);
        free(l.path);
    }
}

/* --- SIGHUP --- */

static char changes[400];
static void note_change(void *arg, const struct param *p, bool applied, const char *was, const char *now) {
    (void)arg;
    size_t n = strlen(changes);
    snprintf(changes + n, sizeof(changes) - n, "%s.%s %s->%s%s;", p->section, p->key, was, now,
             applied ? "" : " later");
}

TEST(a_reload_applies_what_is_live_and_names_the_rest) {
    struct conf *c = conf_default(), *same = c;
    const char *const sets[] = {"pool.max_idle_conns=5",      "proxy.listen=127.0.0.1:1", "access.allow_clients=all",
                                "pool.idle_conn_timeout=90s", "access.password_file=/p",  "ledger.file=/l"};
    struct conf *next = conf_build(NULL, sets, 6, err);
    *changes = 0;
    conf_reload(c, &next, note_change, NULL);
    CHECK(!next && c == same);
    CHECK_STR(changes, "pool.max_idle_conns 100->5;proxy.listen 127.0.0.1:3128->127.0.0.1:1 later;"
                       "access.allow_clients loopback->all;access.password_file none->/p;ledger.file none->/l later;");
    CHECK_EQ(c->pool.max_idle_conns, 5);
    CHECK_EQ(c->proxy.listen.item[0].addr.port, 3128);
    CHECK_EQ(c->access.allow_clients.n, 1);
    CHECK_STR(c->access.password_file, "/p");
    CHECK(!c->ledger.file);
    CHECK_STR(conf_where(c, conf_param("pool.max_idle_conns")), "--set");
    CHECK_STR(conf_where(c, conf_param("ledger.file")), "default");
    conf_free(&c);
}

/* --- warnings --- */

static char warned[1000];
static void note_warning(void *arg, const char *line) {
    (void)arg;
    size_t n = strlen(warned);
    snprintf(warned + n, sizeof(warned) - n, "%s;", line);
}
static const char *warnings_of(const char *a, const char *b) {
    struct conf *c = conf_build(NULL, (const char *const[]){a, b}, 2, err);
    *warned = 0;
    if (c) conf_warnings(c, note_warning, NULL);
    conf_free(&c);
    return warned;
}

TEST(what_is_likely_not_meant_is_said) {
    CHECK_STR(warnings_of("log.level=info", "log.level=info"), "");
    CHECK(strstr(warnings_of("proxy.listen=0.0.0.0:1", "log.level=info"), "serves loopback only"));
    CHECK(strstr(warnings_of("proxy.listen=0.0.0.0:1", "access.allow_clients=all"), "open proxy"));
    CHECK(strstr(warnings_of("proxy.listen=[::]:1", "access.allow_clients=::/0"), "open proxy"));
    CHECK_STR(warnings_of("proxy.listen=0.0.0.0:1", "access.allow_clients=10.0.0.0/8"), "");
    CHECK_STR(warnings_of("proxy.listen=127.0.0.1:1,[::1]:1,unix:/a", "access.allow_clients=all"), "");
    CHECK(strstr(warnings_of("admin.listen=10.0.0.1:1", "log.level=info"), "admin.listen = 10.0.0.1:1"));
    CHECK(strstr(warnings_of("tls.keylog_file=/k", "log.level=info"), "tls.keylog_file"));
}

int main(void) {
    return tap_run();
}
