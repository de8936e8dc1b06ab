/* Connections are on one list, oldest first in the state that they are in, so that
 * the one to give way is found by walking it. What a connection is doing is its
 * state and nothing else; every state has one deadline, or none of its own where
 * the write timeout of the bufferevent is its limit. */
#define _GNU_SOURCE 1 /* accept4 */
#include "web.h"

#include "core/h1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 16           /* of one listener */
#define REFUSALS_MAX   8            /* connections beyond max_conns that are told so */
#define LINGER         SEC(1)       /* how long to wait for the peer's FIN after ours */
#define DRAIN_MAX      (256 * 1024) /* bytes thrown away from a socket before it is closed */
#define ACCEPT_PAUSE   MSEC(200)    /* after accept failed for want of something */
#define FIELDS_MAX     100

enum web_state {
    WEB_IDLE,   /* no byte of a request; gives way to newer connections; ended by a byte, idle_timeout, EOF */
    WEB_HEAD,   /* part of a request came; gives way too; ended by the rest of it, or head_timeout and a 408 */
    WEB_ANSWER, /* the whole answer is in the output buffer; not read from until it is written */
    WEB_STREAM, /* as WEB_ANSWER, and `more` has more to give when the buffer is empty */
    WEB_QUIET,  /* a stream that waits for something to say, all it said being written; reads, so that its reader's
                   end is seen, and drops what it reads; ended by web_wake, WEB_BEAT, EOF */
    WEB_LINGER, /* our FIN is sent; reads until the peer's FIN, because a close with bytes unread would be an RST:
                   it could overtake the answer, and count among those that the daemon is here to find */
};

struct web_conn {
    struct web *web;
    struct bufferevent *bev;
    struct event *timer; /* the state's deadline; in WEB_STREAM the next turn after an empty slice */
    struct h1 *h1;
    const uint8_t *head; /* the request's first byte, during the handler's call; else NULL */
    size_t fed;          /* bytes at the front of the input that h1 has seen */
    size_t body;         /* those of them behind the head */
    enum web_state state;
    bool head_done; /* in WEB_HEAD: only the body is missing */
    bool keep;      /* after the answer another request may come */
    bool chunked;   /* a stream is chunked; else it is until EOF */
    bool streams;   /* the answer is a stream, perhaps not wholly written yet */
    bool is_head;   /* the request's method is HEAD */
    web_more_fn *more;
    web_end_fn *end;
    void *stream;
    TAILQ_ENTRY(web_conn) link;
};

struct web_listener {
    struct web *web;
    struct event *event;
    struct event *resume; /* after a pause */
    int fd;
    SLIST_ENTRY(web_listener) link;
};

struct web {
    struct event_base *base;
    struct web_limits limits;
    web_handler_fn *handler;
    web_clock_fn *clock;
    void *arg;
    TAILQ_HEAD(web_conns, web_conn) conns;
    unsigned n_conns;
    int spare_fd; /* given up to accept one more connection when there is no other descriptor */
    struct json_out scratch;
    SLIST_HEAD(, web_listener) listeners;
};

static void conn_read(struct bufferevent *bev, void *arg);
static void conn_written(struct bufferevent *bev, void *arg);
static void conn_event(struct bufferevent *bev, short what, void *arg);
static void conn_timer(evutil_socket_t fd, short what, void *arg);
static void process_input(struct web_conn *c);

static struct timeval timeval_of(mono_ns ns) {
    return (struct timeval){.tv_sec = (time_t)(ns / SEC(1)), .tv_usec = (suseconds_t)(ns % SEC(1) / 1000)};
}

/* --- a connection's states ------------------------------------------------ */

static void move(struct web_conn *c, enum web_state to) {
    struct web *w = c->web;
    mono_ns deadline = to == WEB_IDLE     ? w->limits.idle_timeout
                       : to == WEB_HEAD   ? w->limits.head_timeout
                       : to == WEB_QUIET  ? WEB_BEAT
                       : to == WEB_LINGER ? LINGER
                                          : 0;
    struct timeval tv = timeval_of(deadline);
    c->state = to;
    TAILQ_REMOVE(&w->conns, c, link);
    TAILQ_INSERT_TAIL(&w->conns, c, link);
    if (deadline)
        event_add(c->timer, &tv);
    else
        event_del(c->timer);
    if (to == WEB_ANSWER || to == WEB_STREAM)
        bufferevent_disable(c->bev, EV_READ);
    else
        bufferevent_enable(c->bev, EV_READ);
}

static struct web_conn *conn_new(struct web *w, int fd) {
    struct h1_limits heads = {.max_head_bytes = w->limits.max_head_bytes,
                              .max_fields = FIELDS_MAX,
                              .max_trailer_bytes = w->limits.max_body_bytes};
    struct timeval stall = timeval_of(w->limits.stall_timeout);
    struct web_conn *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->web = w;
    c->bev = bufferevent_socket_new(w->base, fd, 0);
    c->timer = evtimer_new(w->base, conn_timer, c);
    c->h1 = h1_new(H1_REQUEST, &heads);
    if (!c->bev || !c->timer || !c->h1) abort();
    bufferevent_setcb(c->bev, conn_read, conn_written, conn_event, c);
    bufferevent_set_timeouts(c->bev, NULL, &stall);
    TAILQ_INSERT_TAIL(&w->conns, c, link);
    w->n_conns++;
    move(c, WEB_IDLE);
    return c;
}

static void end_stream(struct web_conn *c) {
    if (c->end) c->end(c->stream);
    c->more = NULL;
    c->end = NULL;
}

/* Empties the receive queue, so that close() has no reason to send an RST. */
static void drain_socket(int fd) {
    char sink[16384];
    ssize_t n = 1;
    for (size_t done = 0; n > 0 && done < DRAIN_MAX; done += (size_t)n) n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
}

/* Where EOF is the end of an answer, one that is cut off must not end with it. */
static void reset_if_misleading(const struct web_conn *c, int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    bool cut = c->more || evbuffer_get_length(bufferevent_get_output(c->bev));
    if (c->streams && !c->chunked && cut) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void conn_free(struct web_conn *c) {
    struct web *w = c->web;
    int fd = bufferevent_getfd(c->bev);
    reset_if_misleading(c, fd);
    end_stream(c);
    /* bufferevent_free may close later, when its own callback that we are in has
     * returned. The descriptor must be free now, and out of epoll before that. */
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    bufferevent_setfd(c->bev, -1);
    drain_socket(fd);
    close(fd);
    if (w->spare_fd < 0) w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bufferevent_free(c->bev);
    event_free(c->timer);
    h1_free(&c->h1);
    TAILQ_REMOVE(&w->conns, c, link);
    w->n_conns--;
    free(c);
}

/* The answer is written: another request, or the end. */
static void answer_done(struct web_conn *c) {
    if (!c->keep) {
        shutdown(bufferevent_getfd(c->bev), SHUT_WR);
        move(c, WEB_LINGER);
        return;
    }
    c->streams = false;
    move(c, WEB_IDLE);
    process_input(c); /* what was pipelined */
}

/* --- answers -------------------------------------------------------------- */

static const char *reason_phrase(unsigned status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

/* `length` is the body's, or UNKNOWN_BYTES for a stream. */
static void put_head(struct web_conn *c, unsigned status, const char *type, const char *allow, uint64_t length) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    time_t now = (time_t)c->web->clock(c->web->arg);
    struct tm tm;
    char date[40] = "";
    if (gmtime_r(&now, &tm)) strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %u %s\r\n%sContent-Type: %s\r\nCache-Control: no-store\r\n"
                        "X-Content-Type-Options: nosniff\r\n",
                        status, reason_phrase(status), date, type);
    if (allow) evbuffer_add_printf(out, "Allow: %s\r\n", allow);
    if (length != UNKNOWN_BYTES) evbuffer_add_printf(out, "Content-Length: %llu\r\n", (unsigned long long)length);
    if (length == UNKNOWN_BYTES && c->chunked) evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    if (!c->keep) evbuffer_add_printf(out, "Connection: close\r\n");
    evbuffer_add(out, "\r\n", 2);
}

void web_reply(struct web_conn *c, unsigned status, const char *type, const char *allow, const struct json_out *body) {
    put_head(c, status, type, allow, body->len);
    if (!c->is_head) bufferevent_write(c->bev, body->data, body->len);
    move(c, WEB_ANSWER);
}

void web_problem(struct web_conn *c, const struct problem *p) {
    struct json_out *o = &c->web->scratch;
    json_out_reset(o);
    jo_object(o);
    JO_KEY(o, "type"), jo_str(o, "about:blank");
    JO_KEY(o, "title"), jo_str(o, reason_phrase(p->status));
    JO_KEY(o, "status"), jo_u64(o, p->status);
    JO_KEY(o, "detail"), jo_str(o, p->detail);
    if (p->parameter) JO_KEY(o, "parameter"), jo_str(o, p->parameter);
    if (p->allow) JO_KEY(o, "allow"), jo_str(o, p->allow);
    if (p->available) {
        JO_KEY(o, "available");
        jo_array(o);
        for (const char *const *path = p->available; *path; path++) jo_str(o, *path);
        jo_array_end(o);
    }
    jo_object_end(o);
    jo_line(o);
    web_reply(c, p->status, "application/problem+json", p->allow, o);
}

void web_stream(struct web_conn *c, const char *type, web_more_fn *more, web_end_fn *end, void *state) {
    c->more = more;
    c->end = end;
    c->stream = state;
    c->streams = true;
    put_head(c, 200, type, NULL, UNKNOWN_BYTES);
    if (c->is_head) end_stream(c);
    move(c, c->is_head ? WEB_ANSWER : WEB_STREAM);
}

/* The next slice: the one before is in the kernel's hands. */
static void stream_slice(struct web_conn *c) {
    struct evbuffer *out = bufferevent_get_output(c->bev);
    struct json_out *o = &c->web->scratch;
    json_out_reset(o);
    enum web_more more = c->more(c->stream, o);
    if (more == WEB_ABORT) {
        conn_free(c);
        return;
    }
    if (o->len) {
        if (c->chunked) evbuffer_add_printf(out, "%zx\r\n", o->len);
        evbuffer_add(out, o->data, o->len);
        if (c->chunked) evbuffer_add(out, "\r\n", 2);
    }
    if (more == WEB_LAST) {
        end_stream(c);
        if (c->chunked) evbuffer_add(out, "0\r\n\r\n", 5);
        move(c, WEB_ANSWER);
        if (evbuffer_get_length(out) == 0) answer_done(c);
    } else if (evbuffer_get_length(out) == 0) {
        if (more == WEB_WAIT)
            move(c, WEB_QUIET);
        else
            event_add(c->timer, &(struct timeval){0, 0}); /* looked and not found: others first, then on */
    }
}

void web_wake(struct web_conn *c) {
    if (c->state != WEB_QUIET) return;
    move(c, WEB_STREAM);
    event_add(c->timer, &(struct timeval){0, 0});
}

static void conn_written(struct bufferevent *bev, void *arg) {
    struct web_conn *c = arg;
    if (evbuffer_get_length(bufferevent_get_output(bev))) return;
    if (c->state == WEB_STREAM)
        stream_slice(c);
    else if (c->state == WEB_ANSWER)
        answer_done(c);
}

/* --- requests ------------------------------------------------------------- */

bool web_method_is(const struct web_conn *c, const char *method) {
    const struct h1_head *h = h1_head(c->h1);
    return h->method.len == strlen(method) && memcmp(c->head + h->method.off, method, h->method.len) == 0;
}

const char *web_target(const struct web_conn *c, size_t *len) {
    const struct h1_head *h = h1_head(c->h1);
    *len = h->target.len;
    return (const char *)c->head + h->target.off;
}

const char *web_field(const struct web_conn *c, const char *name, size_t *len) {
    const struct h1_head *h = h1_head(c->h1);
    size_t n = strlen(name);
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct h1_field *f = &h->fields[i];
        if (f->name.len != n || strncasecmp((const char *)c->head + f->name.off, name, n) != 0) continue;
        *len = f->value.len;
        return (const char *)c->head + f->value.off;
    }
    return NULL;
}

struct endpoint web_local(const struct web_conn *c) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } at = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof at;
    struct endpoint e = {.family = ADDR_NONE};
    if (getsockname(bufferevent_getfd(c->bev), &at.any, &len) != 0) return e;
    if (at.any.sa_family == AF_UNIX) {
        e.family = ADDR_UNIX;
    } else if (at.any.sa_family == AF_INET) {
        e.family = ADDR_V4;
        e.port = ntohs(at.v4.sin_port);
        memcpy(e.addr, &at.v4.sin_addr, 4);
    } else if (at.any.sa_family == AF_INET6) {
        bool is_v4 = memcmp(&at.v6.sin6_addr, mapped, 12) == 0;
        e.family = is_v4 ? ADDR_V4 : ADDR_V6;
        e.port = ntohs(at.v6.sin6_port);
        memcpy(e.addr, at.v6.sin6_addr.s6_addr + (is_v4 ? 12 : 0), is_v4 ? 4 : 16);
    }
    return e;
}

/* Nothing more can be read from this connection: says why, and ends it. */
static void refuse(struct web_conn *c, unsigned status, const char *detail) {
    c->keep = false;
    c->is_head = false;
    web_problem(c, &(struct problem){.status = status, .detail = detail});
}

static void refuse_head(struct web_conn *c) {
    uint64_t at;
    enum h1_error e = h1_error(c->h1, &at);
    refuse(c, e == H1_E_HEAD_TOO_LARGE ? 431 : e == H1_E_VERSION ? 505 : 400, h1_error_text(e));
}

/* The head is complete; true if the request is, too, and no body is to come. */
static bool begin_body(struct web_conn *c) {
    const struct h1_head *h = h1_head(c->h1);
    uint64_t length = 0;
    enum body_framing framing = h1_request_framing(h, &length);
    c->head_done = true;
    c->is_head = h->is_head;
    c->keep = h->minor >= 1 && !h->conn_close && !h->conn_upgrade && !h->is_connect;
    c->chunked = h->minor >= 1;
    if (framing == FRAMING_LENGTH && length > c->web->limits.max_body_bytes) {
        refuse(c, 413, "Requests to this endpoint need no body.");
        return false;
    }
    if (framing != FRAMING_NONE && h->expect_continue)
        evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
    h1_begin_body(c->h1, framing, length);
    return framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
}

static void handle(struct web_conn *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev);
    c->head = evbuffer_pullup(in, (ssize_t)c->fed) + (c->fed - c->body - h1_head(c->h1)->bytes);
    c->web->handler(c->web->arg, c);
    c->head = NULL;
    evbuffer_drain(in, c->fed);
    c->fed = c->body = 0;
    c->head_done = false;
}

/* Feeds what is there to h1; true when a request is complete. The end of a body
 * is told by a step of its own, which consumes nothing. */
static bool feed(struct web_conn *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t len = evbuffer_get_length(in), used;
    const uint8_t *data = evbuffer_pullup(in, -1);
    while (c->state == WEB_HEAD) {
        bool in_body = c->head_done;
        enum h1_step step = h1_feed(c->h1, data + c->fed, len - c->fed, &used);
        c->fed += used;
        if (in_body) c->body += used;
        if (step == H1_DONE || (step == H1_HEAD && begin_body(c))) return true;
        if (step == H1_ERROR)
            refuse_head(c);
        else if (c->body > c->web->limits.max_body_bytes)
            refuse(c, 413, "Requests to this endpoint need no body.");
        if (step == H1_MORE) break;
    }
    return false;
}

static void process_input(struct web_conn *c) {
    if (evbuffer_get_length(bufferevent_get_input(c->bev)) == 0) return;
    if (c->state == WEB_IDLE) move(c, WEB_HEAD);
    if (c->state == WEB_HEAD && feed(c)) handle(c);
}

static void conn_read(struct bufferevent *bev, void *arg) {
    struct web_conn *c = arg;
    if (c->state == WEB_LINGER || c->state == WEB_QUIET)
        evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
    else
        process_input(c);
}

static void conn_event(struct bufferevent *bev, short what, void *arg) {
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) conn_free(arg);
}

static void conn_timer(evutil_socket_t fd, short what, void *arg) {
    struct web_conn *c = arg;
    (void)fd, (void)what;
    switch (c->state) {
    case WEB_HEAD:
        refuse(c, 408, "The request did not arrive in time.");
        break;
    case WEB_QUIET:
        move(c, WEB_STREAM);
        stream_slice(c);
        break;
    case WEB_STREAM:
        stream_slice(c);
        break;
    case WEB_IDLE:
    case WEB_ANSWER:
    case WEB_LINGER:
        conn_free(c);
        break;
    }
}

/* --- listeners ------------------------------------------------------------ */

/* Who gives way when there are too many: one that is over, else one that asks
 * nothing, else one that has not finished asking; of these the oldest. */
static struct web_conn *to_give_way(struct web *w) {
    static const enum web_state order[] = {WEB_LINGER, WEB_IDLE, WEB_HEAD};
    struct web_conn *c;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        TAILQ_FOREACH (c, &w->conns, link)
            if (c->state == order[i]) return c;
    return NULL;
}

static void welcome(struct web *w, int fd) {
    if (w->n_conns >= w->limits.max_conns) {
        struct web_conn *old = to_give_way(w);
        if (old) conn_free(old);
    }
    if (w->n_conns >= w->limits.max_conns + REFUSALS_MAX) {
        drain_socket(fd);
        close(fd);
        return;
    }
    bool full = w->n_conns >= w->limits.max_conns;
    struct web_conn *c = conn_new(w, fd);
    if (full) refuse(c, 503, "All connections to this endpoint are busy with answers that are being read.");
}

/* The next connection; without a free descriptor the spare one makes room, because
 * that is when somebody will want to look. */
static int accept_one(struct web *w, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || w->spare_fd < 0) return fd;
    close(w->spare_fd);
    w->spare_fd = -1;
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void listener_ready(evutil_socket_t fd, short what, void *arg) {
    struct web_listener *l = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int conn = accept_one(l->web, fd);
        if (conn >= 0) {
            welcome(l->web, conn);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            struct timeval pause = timeval_of(ACCEPT_PAUSE);
            event_del(l->event);
            event_add(l->resume, &pause);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* anything else was about that one connection */
    }
}

static void listener_resume(evutil_socket_t fd, short what, void *arg) {
    struct web_listener *l = arg;
    (void)fd, (void)what;
    event_add(l->event, NULL);
}

bool web_listen_fd(struct web *w, int fd) {
    int listening = 0, type = 0;
    socklen_t len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0) return false;
    len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) return false;
    if (!listening || type != SOCK_STREAM) {
        errno = EINVAL;
        return false;
    }
    if (evutil_make_socket_nonblocking(fd) != 0) return false;
    struct web_listener *l = calloc(1, sizeof *l);
    if (!l) abort();
    l->web = w;
    l->fd = fd;
    l->event = event_new(w->base, fd, EV_READ | EV_PERSIST, listener_ready, l);
    l->resume = evtimer_new(w->base, listener_resume, l);
    if (!l->event || !l->resume || event_add(l->event, NULL) != 0) abort();
    SLIST_INSERT_HEAD(&w->listeners, l, link);
    return true;
}

struct web *web_new(struct event_base *base, const struct web_limits *limits, web_handler_fn *handler,
                    web_clock_fn *clock, void *arg) {
    struct web *w = calloc(1, sizeof *w);
    if (!w) abort();
    *w = (struct web){.base = base, .limits = *limits, .handler = handler, .clock = clock, .arg = arg};
    w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    TAILQ_INIT(&w->conns);
    SLIST_INIT(&w->listeners);
    return w;
}

void web_free(struct web **wp) {
    struct web *w = *wp;
    *wp = NULL;
    if (!w) return;
    for (struct web_listener *l; (l = SLIST_FIRST(&w->listeners));) {
        SLIST_REMOVE_HEAD(&w->listeners, link);
        event_free(l->event);
        event_free(l->resume);
        close(l->fd);
        free(l);
    }
    for (struct web_conn *c = TAILQ_FIRST(&w->conns), *next; c; c = next) {
        next = TAILQ_NEXT(c, link);
        conn_free(c);
    }
    if (w->spare_fd >= 0) close(w->spare_fd);
    json_out_free(&w->scratch);
    free(w);
}
