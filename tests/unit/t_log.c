/* The operator's log: what a line looks like, and that writing never waits. */
#include "log/log.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int ends[2]; /* a pipe; we read the first */

static void begin(enum log_level level, enum log_format format) {
    if (pipe(ends)) abort();
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    log_open(ends[1]);
    log_configure(level, format);
}

static void end(void) {
    log_close();
    close(ends[0]);
    close(ends[1]);
}

/* What was written since, as one string. */
static const char *written(void) {
    static char text[1 << 20];
    size_t n = 0;
    ssize_t got;
    while (n + 1 < sizeof(text) && (got = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0) n += (size_t)got;
    text[n] = 0;
    return text;
}

/* Digits become 0, so that a time can be compared. */
static const char *zeroed(const char *text, size_t len) {
    static char out[200];
    snprintf(out, sizeof(out), "%.*s", (int)len, text);
    for (char *p = out; *p; p++)
        if (*p >= '0' && *p <= '9') *p = '0';
    return out;
}

TEST(a_line_has_time_level_and_id) {
    begin(LEVEL_INFO, FORMAT_TEXT);
    log_warn("u-42", "origin %s reset the connection", "a:80");
    const char *line = written();
    CHECK_STR(zeroed(line, 24), "0000-00-00T00:00:00.000Z");
    CHECK_STR(line + 24, " warn u-42: origin a:80 reset the connection\n");
    end();
}

TEST(levels_below_the_configured_one_are_silent) {
    begin(LEVEL_WARN, FORMAT_TEXT);
    log_info("x", "not this");
    log_debug("x", "nor this");
    CHECK_STR(written(), "");
    log_error("x", "this");
    CHECK(strstr(written(), " error x: this\n"));
    CHECK(log_wants(LEVEL_WARN) && !log_wants(LEVEL_INFO));
    end();
}

TEST(json_lines) {
    begin(LEVEL_DEBUG, FORMAT_JSON);
    log_debug("d-7", "said \"%s\" \\ and\nmore", "hi\x01");
    const char *line = written();
    CHECK_STR(zeroed(line, 33), "{\"time\":\"0000-00-00T00:00:00.000Z");
    CHECK_STR(line + 33,
              "\",\"level\":\"debug\",\"id\":\"d-7\",\"message\":\"said \\\"hi\\u0001\\\" \\\\ and\\u000amore\"}\n");
    end();
}

TEST(nothing_can_forge_a_line_or_reach_the_terminal) {
    begin(LEVEL_INFO, FORMAT_TEXT);
    log_info("x", "%s", "a\nb\r\x1b[31m\x7f \xc3\xa4 \xff \xc0\xaf \xed\xa0\x80 \xc2\x9b \xf0\x9f\x90\x9f");
    CHECK_STR(written() + 24,
              " info x: a\\x0ab\\x0d\\x1b[31m\\x7f \xc3\xa4 \\xff \\xc0\\xaf \\xed\\xa0\\x80 \\xc2\\x9b "
              "\xf0\x9f\x90\x9f\n");
    end();
    begin(LEVEL_INFO, FORMAT_JSON);
    log_info("x", "%s", "\xff\xc2\x9b");
    CHECK(strstr(written(), "\"message\":\"\\\\xff\\u009b\"}\n"));
    end();
}

TEST(long_lines_are_cut_and_stay_whole) {
    static char big[9000];
    for (int json = 0; json < 2; json++) {
        for (size_t n = LOG_LINE_MAX - 130; n < LOG_LINE_MAX + 20; n++) { /* every place a quote can be cut at */
            memset(big, '"', n);
            big[n] = 0;
            begin(LEVEL_INFO, json ? FORMAT_JSON : FORMAT_TEXT);
            log_info("x", "%s", big + n / 2);
            log_info("x", "a%s", big);
            const char *text = written();
            const char *line = strchr(text, '\n') + 1;
            size_t len = strlen(line);
            CHECK(len <= LOG_LINE_MAX && line[len - 1] == '\n' && strchr(line, '\n') == line + len - 1);
            if (json) {
                CHECK(!strcmp(line + len - 3, "\"}\n"));
                CHECK(strncmp(line + len - 5, "\\", 1) == 0 &&
                      (len - (size_t)(strstr(line, ":\"a") + 3 - line) - 3) % 2 == 0);
            }
            end();
        }
    }
}

TEST(a_stuck_pipe_costs_lines_and_no_time) {
    begin(LEVEL_INFO, FORMAT_TEXT);
    uint64_t before = log_lost();
    alarm(100); /* a write that blocks would never end */
    for (int i = 0; i < 5000; i++) log_info("x", "line %d of many that nobody reads", i);
    alarm(0);
    uint64_t lost = log_lost() - before;
    CHECK(lost > 3000 && lost < 5000);
    const char *text = written();
    size_t n = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++) n++;
    CHECK_EQ(n + lost, 5000);
    CHECK(!strstr(text, "were lost"));
    log_info("x", "after");
    char want[100];
    snprintf(want, sizeof(want), " warn log: %llu lines were lost: stderr was not being read\n",
             (unsigned long long)lost);
    text = written();
    CHECK(strstr(text, want) && strstr(text, " info x: after\n") > strstr(text, want));
    log_info("x", "once");
    CHECK(!strstr(written(), "were lost"));
    end();
}

TEST(the_descriptor_stays_blocking_for_those_who_share_it) {
    begin(LEVEL_INFO, FORMAT_TEXT);
    log_info("x", "y");
    CHECK_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    end();
}

TEST(a_stuck_socket_and_a_closed_one) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) abort();
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    log_open(ends[1]);
    log_configure(LEVEL_INFO, FORMAT_TEXT);
    uint64_t before = log_lost();
    alarm(100);
    for (int i = 0; i < 20000; i++) log_info("x", "%0500d", i);
    alarm(0);
    CHECK(log_lost() > before);
    written();
    close(ends[0]);
    before = log_lost();
    log_info("x", "nobody there"); /* no SIGPIPE */
    CHECK_EQ(log_lost(), before + 1);
    log_close();
    close(ends[1]);
    begin(LEVEL_INFO, FORMAT_TEXT); /* said as soon as there is a reader again */
    log_info("x", "a reader");
    CHECK(strstr(written(), " lines were lost"));
    end();
}

TEST(the_journal_gets_priorities_and_has_its_own_time) {
    if (pipe(ends)) abort();
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    struct stat st;
    char stream[64];
    if (fstat(ends[1], &st)) abort();
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open(ends[1]);
    log_configure(LEVEL_DEBUG, FORMAT_TEXT);
    log_error("a", "1");
    log_warn("a", "2");
    log_info("a", "3");
    log_debug("a", "4");
    CHECK_STR(written(), "<3>a: 1\n<4>a: 2\n<6>a: 3\n<7>a: 4\n");
    setenv("JOURNAL_STREAM", "1:1", 1); /* inherited from a service, but this is another stream */
    log_open(ends[1]);
    log_info("a", "5");
    CHECK(strstr(written(), "Z info a: 5\n"));
    unsetenv("JOURNAL_STREAM");
    end();
}

TEST(once_a_minute_with_a_count) {
    static struct log_limit lim;
    mono_ns now = 1000;
    begin(LEVEL_INFO, FORMAT_TEXT);
    for (int i = 0; i < 4; i++) log_limited(&lim, now + SEC(i), LEVEL_WARN, "proxy", "out of %s", "descriptors");
    CHECK_STR(written() + 24, " warn proxy: out of descriptors\n");
    log_limited(&lim, now + SEC(60) - 1, LEVEL_WARN, "proxy", "out of %s", "descriptors");
    CHECK_STR(written(), "");
    log_limited(&lim, now + SEC(60), LEVEL_WARN, "proxy", "out of %s", "descriptors");
    CHECK_STR(written() + 24, " warn proxy: out of descriptors (4 times more since this was last said)\n");
    log_limited(&lim, now + SEC(120), LEVEL_WARN, "proxy", "out of %s", "descriptors");
    CHECK_STR(written() + 24, " warn proxy: out of descriptors\n");
    end();
}

TEST(errno_is_left_alone) {
    begin(LEVEL_INFO, FORMAT_TEXT);
    errno = EXDEV;
    log_info("x", "y");
    CHECK_EQ(errno, EXDEV);
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    log_info("x", "y");
    CHECK_EQ(errno, EXDEV);
    end();
}

int main(void) {
    return tap_run();
}
