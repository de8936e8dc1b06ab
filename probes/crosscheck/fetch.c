#define _GNU_SOURCE /* memrchr */
#include "fetch.h"

#include "core/clock.h"
#include "core/h1.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECT_MS 5000
#define READ_S     30
#define MAX_LINE   (1u << 20)

static bool failed(char error[FETCH_TEXT], const char *host_port, const char *doing, const char *why) {
    snprintf(error, FETCH_TEXT, "%.100s: %s: %s", host_port, doing, why);
    return false;
}

/* "host:port", "[v6]:port" or ":port" (loopback) into its two parts. */
static bool split_host_port(const char *text, char host[128], char port[16]) {
    const char *colon = strrchr(text, ':');
    size_t len;

    if (!colon || !colon[1] || strlen(colon + 1) >= 16) return false;
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return false; /* an IPv6 address without brackets */
    }
    if (len >= 128) return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (!len) strcpy(host, "127.0.0.1");
    strcpy(port, colon + 1);
    return true;
}

/* Connects within CONNECT_MS and leaves the socket blocking, with time limits. */
static bool connect_within(int fd, const struct addrinfo *a) {
    struct timeval limit = {.tv_sec = READ_S};
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof errno;
    int flags = fcntl(fd, F_GETFL), err = 0;

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) return false;
    if (connect(fd, a->ai_addr, a->ai_addrlen)) {
        if (errno != EINPROGRESS) return false;
        if (poll(&p, 1, CONNECT_MS) != 1) {
            errno = ETIMEDOUT;
            return false;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len)) return false;
        if (err) {
            errno = err;
            return false;
        }
    }
    return !fcntl(fd, F_SETFL, flags) && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) &&
           !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int dial(const char *host_port, char error[FETCH_TEXT]) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
    char host[128], port[16];
    int fd = -1, err = 0;

    if (!split_host_port(host_port, host, port)) {
        failed(error, host_port, "address", "expected HOST:PORT");
        return -1;
    }
    err = getaddrinfo(host, port, &hints, &list);
    if (err) {
        failed(error, host_port, "address", gai_strerror(err));
        return -1;
    }
    for (a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect_within(fd, a)) break;
        err = errno;
        if (fd >= 0) close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0) failed(error, host_port, "connect", strerror(err));
    return fd;
}

static bool send_request(int fd, const char *host_port, const char *path, char error[FETCH_TEXT]) {
    char request[512];
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: connleak/" CONNLEAK_VERSION
                       "\r\nConnection: close\r\n\r\n",
                       path, host_port);

    if (len < 0 || (size_t)len >= sizeof request) return failed(error, host_port, "request", "the address is too long");
    for (int sent = 0; sent < len;) {
        ssize_t n = send(fd, request + sent, (size_t)(len - sent), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(error, host_port, "send", strerror(errno));
        sent += (int)n;
    }
    return true;
}

/* The body on its way from the framing to lines. */
struct body {
    fetch_line_fn *fn;
    void *arg;
    char *line; /* the beginning of a line whose end has not come */
    size_t len, room;
    bool refused; /* fn returned false */
    bool too_long;
};

static bool body_keep(struct body *b, const char *data, size_t len) {
    if (len > MAX_LINE - b->len) {
        b->too_long = true;
        return false;
    }
    if (b->room - b->len < len) {
        size_t room = (b->len + len) * 2;
        char *line = realloc(b->line, room);
        if (!line) abort();
        b->line = line;
        b->room = room;
    }
    if (len) memcpy(b->line + b->len, data, len);
    b->len += len;
    return true;
}

static bool body_tell(struct body *b, const char *line, size_t len) {
    if (b->fn(b->arg, line, len)) return true;
    b->refused = true;
    return false;
}

static bool body_add(struct body *b, const char *data, size_t len) {
    const char *newline;

    while ((newline = memchr(data, '\n', len))) {
        size_t n = (size_t)(newline - data);
        if (b->len) {
            if (!body_keep(b, data, n) || !body_tell(b, b->line, b->len)) return false;
            b->len = 0;
        } else if (!body_tell(b, data, n)) {
            return false;
        }
        data += n + 1;
        len -= n + 1;
    }
    return body_keep(b, data, len);
}

/* What came so far of the answer. */
struct answer {
    struct h1 *h;
    int status; /* 0: no head yet */
    bool done;
    struct body body;
};

/* The final head: what follows is told apart from it, or there is no use in reading on. */
static bool answer_head(struct answer *a) {
    const struct h1_head *head = h1_head(a->h);
    uint64_t length = 0;
    enum body_framing framing = h1_response_framing(head, false, &length);

    if (head->status < 200) {
        h1_begin_body(a->h, FRAMING_NONE, 0);
        return true;
    }
    a->status = head->status;
    a->done = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && !length);
    h1_begin_body(a->h, framing, length);
    return a->status == 200;
}

/* One read's bytes through the framing; false ends the fetch. */
static bool answer_feed(struct answer *a, const uint8_t *data, size_t len) {
    while (!a->done) {
        const uint8_t *piece;
        size_t used = 0, piece_len;
        enum h1_step step = h1_feed(a->h, data, len, &used);

        data += used;
        len -= used;
        switch (step) {
        case H1_MORE:
            return true;
        case H1_HEAD:
            if (!answer_head(a)) return false;
            break;
        case H1_DATA:
            h1_data(a->h, &piece, &piece_len);
            if (!body_add(&a->body, (const char *)piece, piece_len)) return false;
            break;
        case H1_DONE:
            a->done = true;
            break;
        case H1_ERROR:
            return false;
        }
    }
    return true;
}

static bool explain(const struct answer *a, const char *host_port, const char *why, char error[FETCH_TEXT]) {
    uint64_t offset;
    enum h1_error e = h1_error(a->h, &offset);
    char text[64];

    if (a->body.refused) return false;
    if (a->body.too_long) return failed(error, host_port, "answer", "a line is longer than 1 MiB");
    if (why) return failed(error, host_port, "answer", why);
    if (a->status && a->status != 200) {
        snprintf(text, sizeof text, "expected status 200, found %d", a->status);
        return failed(error, host_port, "answer", text);
    }
    return failed(error, host_port, "answer", e ? h1_error_text(e) : "it ended early");
}

static bool receive(int fd, struct answer *a, const char *host_port, char error[FETCH_TEXT]) {
    uint8_t buf[65536];

    while (!a->done) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return explain(a, host_port,
                           errno == EAGAIN || errno == EWOULDBLOCK ? "nothing came for 30 s" : strerror(errno), error);
        if (!n) {
            if (!a->status || h1_eof(a->h) != H1_DONE) return explain(a, host_port, NULL, error);
            a->done = true;
        } else if (!answer_feed(a, buf, (size_t)n)) {
            return explain(a, host_port, NULL, error);
        }
    }
    if (a->body.len && !body_tell(&a->body, a->body.line, a->body.len)) return false;
    return true;
}

bool fetch_lines(const char *host_port, const char *path, fetch_line_fn *fn, void *arg, char error[FETCH_TEXT]) {
    struct h1_limits limits = {.max_head_bytes = 64u << 10, .max_fields = 256, .max_trailer_bytes = 64u << 10};
    struct answer a = {.body = {.fn = fn, .arg = arg}};
    int fd = dial(host_port, error);
    bool ok;

    if (fd < 0) return false;
    a.h = h1_new(H1_RESPONSE, &limits);
    ok = send_request(fd, host_port, path, error) && receive(fd, &a, host_port, error);
    close(fd);
    h1_free(&a.h);
    free(a.body.line);
    return ok;
}
