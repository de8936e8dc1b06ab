#include "log.h"

#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line is written to a pipe whole or not at all");

enum sink {
    SINK_POLL,   /* ask poll before writing */
    SINK_OWN,    /* `fd` is a non-blocking description of our own */
    SINK_SOCKET, /* MSG_DONTWAIT */
};

static struct {
    int fd;
    enum sink sink;
    bool is_journal;
    enum log_level level;
    enum log_format format;
    uint64_t lost, lost_told;
    char rest[LOG_LINE_MAX]; /* of a line that a terminal took half of */
    size_t n_rest;
} lg = {.fd = 2, .level = LEVEL_INFO};

static const char *const level_name[] = {"error", "warn", "info", "debug"};

/* systemd says in JOURNAL_STREAM which socket is the journal's, as "device:inode". */
static bool is_journal(const struct stat *st) {
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && dev == st->st_dev && ino == st->st_ino;
}

static void close_own(void) {
    if (lg.sink == SINK_OWN) close(lg.fd);
}

/* O_NONBLOCK belongs to the open file description, which the shell and other
 * programs share with us: setting it on stderr itself would break them. A pipe or
 * a terminal can be opened a second time; a file does not block. */
void log_open(int fd) {
    close_own();
    lg.fd = fd < 0 ? 2 : fd;
    lg.sink = SINK_POLL;
    lg.is_journal = false;
    lg.n_rest = 0;
    struct stat st;
    if (fstat(lg.fd, &st)) return;
    lg.is_journal = is_journal(&st);
    if (S_ISSOCK(st.st_mode)) {
        lg.sink = SINK_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        char path[40];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", lg.fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own < 0) return;
        lg.fd = own;
        lg.sink = SINK_OWN;
    }
}

void log_configure(enum log_level level, enum log_format format) {
    lg.level = level;
    lg.format = format;
}

bool log_wants(enum log_level level) {
    return level <= lg.level;
}
uint64_t log_lost(void) {
    return lg.lost;
}

/* --- a line's text --- */

struct text {
    char *at, *end; /* end leaves room for the newline and what closes the line */
};

static void put(struct text *t, const char *s, size_t len) {
    if (len > (size_t)(t->end - t->at)) len = (size_t)(t->end - t->at);
    memcpy(t->at, s, len);
    t->at += len;
}
static void put_str(struct text *t, const char *s) {
    put(t, s, strlen(s));
}

/* Control characters and what is not UTF-8 become \xNN; in JSON also " and \. */
static void put_escaped(struct text *t, const char *s, bool json) {
    size_t len = strlen(s);
    for (const unsigned char *p = (const unsigned char *)s; len;) {
        size_t n = utf8_length(p, len);
        char esc[8];
        if (json && (*p == '"' || *p == '\\')) {
            snprintf(esc, sizeof(esc), "\\%c", *p);
        } else if (n && !utf8_is_control(p, n)) {
            if ((size_t)(t->end - t->at) < n) return;
            put(t, (const char *)p, n);
            p += n, len -= n;
            continue;
        } else if (json && n) { /* a control character */
            snprintf(esc, sizeof(esc), "\\u%04x", n == 2 ? p[1] : *p);
        } else {
            snprintf(esc, sizeof(esc), json ? "\\\\x%02x" : "\\x%02x", *p);
            n = 1;
        }
        if (!n) n = 1;
        if ((size_t)(t->end - t->at) < strlen(esc)) return; /* never half an escape */
        put_str(t, esc);
        p += n, len -= n;
    }
}

static void put_time(struct text *t) {
    struct timespec now;
    struct tm tm;
    char text[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03ldZ", now.tv_nsec / 1000000);
    put_str(t, text);
}

static size_t make_line(char line[LOG_LINE_MAX], enum log_level level, const char *id, const char *message) {
    static const char *const priority[] = {"<3>", "<4>", "<6>", "<7>"}; /* of syslog(3) */
    bool json = lg.format == FORMAT_JSON;
    struct text t = {line, line + LOG_LINE_MAX - 3};
    if (lg.is_journal) put_str(&t, priority[level]);
    if (json) {
        put_str(&t, "{\"time\":\"");
        put_time(&t);
        put_str(&t, "\",\"level\":\"");
        put_str(&t, level_name[level]);
        put_str(&t, "\",\"id\":\"");
        put_escaped(&t, id, true);
        put_str(&t, "\",\"message\":\"");
        put_escaped(&t, message, true);
        t.end += 2;
        put_str(&t, "\"}");
    } else {
        if (!lg.is_journal) {
            put_time(&t);
            put_str(&t, " ");
            put_str(&t, level_name[level]);
            put_str(&t, " ");
        }
        put_escaped(&t, id, false);
        put_str(&t, ": ");
        put_escaped(&t, message, false);
    }
    *t.at++ = '\n';
    return (size_t)(t.at - line);
}

/* --- getting it out --- */

/* Bytes written, 0 if there is no room now or nobody who reads. */
static size_t write_now(const char *data, size_t len) {
    ssize_t n;
    if (lg.sink == SINK_POLL) {
        struct pollfd p = {.fd = lg.fd, .events = POLLOUT};
        if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) return 0;
    }
    do n = lg.sink == SINK_SOCKET ? send(lg.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : write(lg.fd, data, len);
    while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* The rest of a line that was taken half; true when nothing is left of it. */
static bool flush_rest(void) {
    size_t n = lg.n_rest ? write_now(lg.rest, lg.n_rest) : 0;
    memmove(lg.rest, lg.rest + n, lg.n_rest - n);
    lg.n_rest -= n;
    return lg.n_rest == 0;
}

static bool write_line(const char *line, size_t len) {
    if (!flush_rest()) return false;
    size_t n = write_now(line, len);
    if (!n) return false;
    memcpy(lg.rest, line + n, len - n);
    lg.n_rest = len - n;
    return true;
}

static void tell_lost(void) {
    if (lg.lost == lg.lost_told) return;
    char line[LOG_LINE_MAX], message[100];
    snprintf(message, sizeof(message), "%llu lines were lost: stderr was not being read",
             (unsigned long long)(lg.lost - lg.lost_told));
    if (write_line(line, make_line(line, LEVEL_WARN, "log", message))) lg.lost_told = lg.lost;
}

void log_write(enum log_level level, const char *id, const char *fmt, va_list ap) {
    if (!log_wants(level)) return;
    int saved = errno;
    char message[LOG_LINE_MAX], line[LOG_LINE_MAX];
    vsnprintf(message, sizeof(message), fmt, ap);
    tell_lost();
    if (lg.lost != lg.lost_told || !write_line(line, make_line(line, level, id, message))) lg.lost++;
    errno = saved;
}

#define LOG_FUNCTION(name, level)                                                                                      \
    void log_##name(const char *id, const char *fmt, ...) {                                                            \
        va_list ap;                                                                                                    \
        va_start(ap, fmt);                                                                                             \
        log_write(level, id, fmt, ap);                                                                                 \
        va_end(ap);                                                                                                    \
    }
LOG_FUNCTION(error, LEVEL_ERROR)
LOG_FUNCTION(warn, LEVEL_WARN)
LOG_FUNCTION(info, LEVEL_INFO)
LOG_FUNCTION(debug, LEVEL_DEBUG)

void log_limited(struct log_limit *lim, mono_ns now, enum log_level level, const char *id, const char *fmt, ...) {
    if (lim->said && now - lim->since < LOG_LIMIT_EVERY) {
        lim->suppressed++;
        return;
    }
    char message[LOG_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(message) ? (size_t)n : sizeof(message) - 1;
    if (lim->suppressed)
        snprintf(message + len, sizeof(message) - len, " (%llu times more since this was last said)",
                 (unsigned long long)lim->suppressed);
    *lim = (struct log_limit){.since = now, .said = true};
    switch (level) {
    case LEVEL_ERROR:
        log_error(id, "%s", message);
        break;
    case LEVEL_WARN:
        log_warn(id, "%s", message);
        break;
    case LEVEL_INFO:
        log_info(id, "%s", message);
        break;
    case LEVEL_DEBUG:
        log_debug(id, "%s", message);
        break;
    }
}

void log_close(void) {
    if (flush_rest()) tell_lost();
    close_own();
    lg.fd = 2;
    lg.sink = SINK_POLL;
    lg.is_journal = false;
    lg.n_rest = 0;
}
