/* Request targets, Host and Origin, Accept: what is let in, and what is preferred. */
#include "admin/target.h"
#include "tap.h"

static enum target_error parse(struct target *t, const char *text) {
    return target_parse(t, text, strlen(text));
}

TEST(paths_and_parameters) {
    struct target t;
    CHECK_EQ(parse(&t, "/connections?side=upstream&&key=a%3A80&x+y=1+2&flag&=v"), TARGET_OK);
    CHECK_STR(t.path, "/connections");
    CHECK(t.authority == NULL);
    CHECK_EQ(t.n_params, 5);
    CHECK_STR(t.param[0].name, "side");
    CHECK_STR(t.param[0].value, "upstream");
    CHECK_STR(t.param[1].value, "a:80");
    CHECK_STR(t.param[2].name, "x y");
    CHECK_STR(t.param[2].value, "1 2");
    CHECK_STR(t.param[3].name, "flag");
    CHECK_STR(t.param[3].value, "");
    CHECK_STR(t.param[4].name, "");
    CHECK_EQ(parse(&t, "/a%2Fb+c?"), TARGET_OK);
    CHECK_STR(t.path, "/a/b+c");
    CHECK_EQ(t.n_params, 0);
}

TEST(absolute_form) {
    struct target t;
    CHECK_EQ(parse(&t, "http://127.0.0.1:9128/metrics?format=json"), TARGET_OK);
    CHECK_STR(t.authority, "127.0.0.1:9128");
    CHECK_STR(t.path, "/metrics");
    CHECK_STR(t.param[0].value, "json");
    CHECK_EQ(parse(&t, "HTTP://h"), TARGET_OK);
    CHECK_STR(t.authority, "h");
    CHECK_STR(t.path, "/");
    CHECK_EQ(parse(&t, "http:///x"), TARGET_OK);
    CHECK_STR(t.authority, "");
    CHECK_STR(t.path, "/x");
    CHECK_EQ(parse(&t, "http://h?a=http://b/c"), TARGET_OK);
    CHECK_STR(t.authority, "h");
    CHECK_STR(t.param[0].value, "http://b/c");
}

TEST(what_is_no_target) {
    struct target t;
    char text[TARGET_MAX + 1];
    CHECK_EQ(parse(&t, "*"), TARGET_FORM);
    CHECK_EQ(parse(&t, ""), TARGET_FORM);
    CHECK_EQ(parse(&t, "https://localhost/metrics"), TARGET_FORM);
    CHECK_EQ(parse(&t, "localhost:80"), TARGET_FORM);
    CHECK_EQ(target_parse(&t, "/a\0b", 4), TARGET_FORM);
    CHECK_EQ(parse(&t, "/%"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/%4"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/%4g"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/%00"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/?a=%zz"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/?a%=1"), TARGET_ESCAPE);
    CHECK_EQ(parse(&t, "/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p"), TARGET_OK);
    CHECK_EQ(parse(&t, "/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q"), TARGET_PARAMS);
    memset(text, 'a', sizeof text);
    text[0] = '/';
    CHECK_EQ(target_parse(&t, text, TARGET_MAX - 2), TARGET_OK);
    CHECK_EQ(target_parse(&t, text, TARGET_MAX - 1), TARGET_TOO_LONG);
    CHECK_EQ(target_parse(&t, text, TARGET_MAX), TARGET_TOO_LONG);
}

static bool own(const char *host, const char *local) {
    struct endpoint e = {.family = ADDR_UNIX};
    if (local) CHECK(endpoint_parse(local, &e));
    return host_is_own(host, strlen(host), &e);
}

TEST(hosts_that_are_our_own) {
    CHECK(own("localhost", "127.0.0.1:9128"));
    CHECK(own("LocalHost:9128", "127.0.0.1:9128"));
    CHECK(own("localhost.:1", "127.0.0.1:9128"));
    CHECK(own("localhost:", "127.0.0.1:9128"));
    CHECK(own("127.0.0.1:9128", "127.0.0.1:9128"));
    CHECK(own("127.8.9.10", "127.0.0.1:9128"));
    CHECK(own("[::1]:9128", "127.0.0.1:9128"));
    CHECK(own("[::1]", "[::1]:9128"));
    CHECK(own("10.1.2.3:9128", "10.1.2.3:9128"));
    CHECK(own("10.1.2.3:80", "10.1.2.3:9128")); /* a forwarded port */
    CHECK(own("[fd00::7]", "[fd00::7]:9128"));
    CHECK(own("[fd00:0::0:7]", "[fd00::7]:9128"));
}

TEST(hosts_that_are_not) {
    static const char *const foreign[] = {
        "",
        ":9128",
        "evil.example",
        "evil.example:9128",
        "localhost.evil.example",
        "xlocalhost",
        "localhostx",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "10.1.2.4",
        "128.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::2]",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]x:80",
        "localhost:80x",
        "localhost:123456",
        "localhost:80:80",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "[127.0.0.1]",
        "[localhost]",
        "localhost..",
        ".",
        "[]",
        "[fd00::8]",
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        CHECK(!own(foreign[i], "10.1.2.3:9128"));
        if (own(foreign[i], "10.1.2.3:9128")) printf("# %s\n", foreign[i]);
    }
    CHECK(!own("10.1.2.3", "[fd00::7]:80"));
    CHECK(!own("10.1.2.3", NULL));
    CHECK(!host_is_own("\0", 1, &(struct endpoint){.family = ADDR_V4}));
    CHECK(!host_is_own("localhost\0.evil.example", 23, &(struct endpoint){.family = ADDR_V4}));
    char long_name[600];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    CHECK(!own(long_name, "10.1.2.3:9128"));
}

static bool origin(const char *o, const char *host) {
    return origin_is_own(o, strlen(o), host, strlen(host));
}

TEST(origins) {
    CHECK(origin("http://localhost:9128", "localhost:9128"));
    CHECK(origin("HTTP://LOCALHOST:9128", "localhost:9128"));
    CHECK(!origin("null", "localhost:9128"));
    CHECK(!origin("", "localhost:9128"));
    CHECK(!origin("http://localhost:8080", "localhost:9128"));
    CHECK(!origin("https://localhost:9128", "localhost:9128"));
    CHECK(!origin("http://evil.example", "localhost:9128"));
}

static enum accept_form form(const char *accept) {
    return accept_form(accept, strlen(accept));
}
static bool prefers(const char *accept) {
    return form(accept) != ACCEPT_JSON;
}

TEST(json_unless_text_is_preferred) {
    CHECK(!prefers("*/*"));
    CHECK(!prefers(""));
    CHECK(!prefers("application/json"));
    CHECK(!prefers("application/json, text/plain;q=0.9"));
    CHECK(!prefers("text/plain, application/json"));
    CHECK(!prefers("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
    CHECK(!prefers("image/png"));
    CHECK(!prefers("text/plain;q=0"));
    CHECK(!prefers("text/plain;q=0.5;x=1, application/json;q=0.50"));
    CHECK(!prefers("a/b;x=\",text/plain\", application/json"));
    CHECK(prefers("text/plain"));
    CHECK(prefers("TEXT/Plain"));
    CHECK(prefers("text/*"));
    CHECK(prefers("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
    CHECK(prefers("application/json;q=0.1 , text/plain ; q=0.2"));
    CHECK(prefers("application/json;q=0.001, text/plain;q=0.002"));
    CHECK(prefers("text/plain, application/json;q=0"));
    /* what Prometheus 2 sends */
    CHECK(prefers("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
}

TEST(of_the_two_texts_the_one_that_is_preferred) {
    CHECK_EQ(form("text/plain"), ACCEPT_TEXT);
    CHECK_EQ(form("application/openmetrics-text"), ACCEPT_OPENMETRICS);
    CHECK_EQ(form("application/openmetrics-text;q=0.5, text/plain"), ACCEPT_TEXT);
    CHECK_EQ(form("application/openmetrics-text, text/plain"), ACCEPT_TEXT);
    CHECK_EQ(form("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
             ACCEPT_OPENMETRICS);
    CHECK_EQ(form("application/openmetrics-text;q=0.3, application/json"), ACCEPT_JSON);
}

int main(void) {
    return tap_run();
}
