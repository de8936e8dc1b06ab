#define _GNU_SOURCE /* accept4 */
/* The stub origins: one listening socket on loopback for each captured origin, and the
 * captured answers.
 *
 * A proxy is asked for the listener's own address, so that it has one pool key for each
 * captured origin, and neither its configuration nor /etc/hosts has to change. What
 * arrives is known again by method and path, the oldest first of those that are on
 * their way; so each request gets the answer that it got in the capture.
 *
 * Of an answer that its client gave up, the stub sends at first only what that client
 * had when it ended the connection, and the rest when it has ended it: the order of
 * what happened is kept, and with it whether a kernel answers with FIN or RST. */
#include "run.h"

#include "core/h1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_EXCHANGE UINT32_MAX
#define FILL_BLOCK  (64u << 10)
#define AUTHORITY   32 /* "127.0.0.1:65535" */

static const struct h1_limits request_limits = {1u << 20, 4096, 1u << 20};

/* Where a played request stands, as seen from its origin. */
enum service {
    SERVICE_NONE,     /* not sent yet */
    SERVICE_EXPECTED, /* on its way through the proxy: in a list by its key */
    SERVICE_ARRIVED,  /* a stub connection answers it */
    SERVICE_OVER,     /* answered, or its connection is gone */
};

struct served {
    struct stub_conn *conn; /* that answers it, or did so last */
    uint32_t next;          /* in its list; NO_EXCHANGE */
    uint8_t service;
    bool client_ended;
    bool overdue; /* it comes when it comes: no equal one waits for it */
};

struct expected {
    uint32_t first, last;
};

struct listener {
    struct stub *stub;
    struct event event;
    int fd;
    char authority[AUTHORITY];
};

struct stub_conn {
    struct stub *stub;
    LIST_ENTRY(stub_conn) all;
    struct event readable, writable, timer;
    struct h1 *h1;
    struct told told;
    struct endpoint proxy; /* the other end */
    uint32_t ref;
    uint8_t *head; /* of a request, as far as it came */
    size_t head_len;
    uint32_t origin;
    uint32_t exchange; /* that is answered, or was last; NO_EXCHANGE */
    uint32_t part;     /* of its answer, the next to send */
    uint64_t sent;     /* of its answer */
    uint64_t allowed;  /* of it, tails that were asked for included */
    int fd;
    uint64_t body_len;  /* of the request's body: bytes that came, framing included */
    bool request_whole; /* its last byte came */
    bool answered;      /* all was sent that belongs to the answer */
    bool closing;       /* sent its last word: reads on until the proxy has ended it too */
};

struct stub {
    struct run *run;
    struct listener *listeners; /* by origin */
    const char **authorities;
    struct served *served; /* by exchange */
    struct expected *lists;
    uint32_t mask;
    LIST_HEAD(, stub_conn) conns;
    struct event resume; /* listeners that had no descriptor to accept with */
    struct stub_counts counts;
    uint8_t fill[FILL_BLOCK];
    uint8_t in[FILL_BLOCK];
};

static struct plan_exchange *exchange_at(const struct stub *s, uint32_t i) {
    return &s->run->plan->exchanges[i];
}

/* ---- requests on their way ---- */

static size_t list_at(const struct stub *s, uint32_t origin, uint64_t key) {
    return (key ^ origin * 0x9e3779b97f4a7c15u) & s->mask;
}

void stub_expect(struct stub *s, uint32_t exchange, bool behind) {
    const struct plan_exchange *x = exchange_at(s, exchange);
    struct expected *l = &s->lists[list_at(s, x->origin, x->target_key)];
    struct served *v = &s->served[exchange];

    if (v->service != SERVICE_NONE) return;
    v->service = SERVICE_EXPECTED;
    v->overdue = behind;
    v->next = NO_EXCHANGE;
    if (l->first == NO_EXCHANGE)
        l->first = exchange;
    else
        s->served[l->last].next = exchange;
    l->last = exchange;
}

/* Nothing but their order tells equal requests apart. Where their answers differ, one goes after the other. */
static bool answers_alike(const struct plan_exchange *a, const struct plan_exchange *b) {
    return a->response_len == b->response_len && a->done_len == b->done_len && a->status == b->status &&
           a->until_client_ends == b->until_client_ends && a->fill_after == b->fill_after &&
           a->ends_connection == b->ends_connection;
}

#define LOOK_BACK 64 /* at equal requests that are on their way */
bool stub_may_send(struct stub *s, uint32_t exchange, bool no_longer_waits) {
    const struct plan_exchange *x = exchange_at(s, exchange);
    const struct expected *l = &s->lists[list_at(s, x->origin, x->target_key)];
    unsigned n = 0;

    for (uint32_t i = l->first; i != exchange && i != NO_EXCHANGE && n < LOOK_BACK; i = s->served[i].next) {
        const struct plan_exchange *y = exchange_at(s, i);
        if (s->served[i].service != SERVICE_EXPECTED || s->served[i].client_ended || s->served[i].overdue) continue;
        if (y->target_key != x->target_key || y->origin != x->origin) continue;
        if (!answers_alike(x, y)) {
            if (!no_longer_waits) return false;
            s->served[i].overdue = true;
        }
        n++;
    }
    return true;
}

/* One has arrived: the next of its kind may be waiting for that. */
static void wake_next(struct stub *s, uint32_t exchange) {
    for (uint32_t i = s->served[exchange].next; i != NO_EXCHANGE; i = s->served[i].next) {
        const struct plan_exchange *y = exchange_at(s, i);
        if (s->served[i].service != SERVICE_EXPECTED || y->target_key != exchange_at(s, exchange)->target_key) continue;
        client_advance(&s->run->clients[y->conn]);
        return;
    }
}

bool stub_has(const struct stub *s, uint32_t exchange) {
    return s->served[exchange].service >= SERVICE_ARRIVED;
}

/* The oldest of that key that was not answered yet. One whose connection is gone may come again: the proxy tried
 * it on a connection that the origin was closing. Those that are over leave the list. */
static uint32_t find_expected(struct stub *s, uint32_t origin, uint64_t key) {
    struct expected *l = &s->lists[list_at(s, origin, key)];
    uint32_t again = NO_EXCHANGE, left = NO_EXCHANGE, *at = &l->first, before = NO_EXCHANGE;

    while (*at != NO_EXCHANGE) {
        uint32_t i = *at;
        struct served *v = &s->served[i];
        if (v->service == SERVICE_OVER) {
            if (l->last == i) l->last = before;
            *at = v->next;
            continue;
        }
        if (exchange_at(s, i)->target_key == key && exchange_at(s, i)->origin == origin) {
            if (v->service == SERVICE_EXPECTED && !v->client_ended && !v->overdue) return i;
            if (v->service == SERVICE_EXPECTED && left == NO_EXCHANGE) left = i;
            if (again == NO_EXCHANGE && v->conn == NULL) again = i;
        }
        before = i;
        at = &v->next;
    }
    if (left != NO_EXCHANGE) return left; /* its client left before the proxy passed it on */
    if (again != NO_EXCHANGE) s->counts.again++;
    return again;
}

/* ---- connections ---- */

static void conn_free(struct stub_conn *k, bool reset) {
    struct linger abort_it = {1, 0};
    struct stub *s = k->stub;

    if (reset) observe_origin_ended(s->run, &k->told, false, true);

    if (k->exchange != NO_EXCHANGE && s->served[k->exchange].conn == k) {
        struct served *v = &s->served[k->exchange];
        v->conn = NULL;
        if (k->answered) v->service = SERVICE_OVER;
    }
    event_del(&k->readable);
    event_del(&k->writable);
    evtimer_del(&k->timer);
    if (reset) setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    close(k->fd);
    h1_free(&k->h1);
    free(k->head);
    LIST_REMOVE(k, all);
    free(k);
}

/* FIN, and what the proxy still sends is read: closing with bytes unread would be a RST. */
static void conn_end(struct stub_conn *k, bool reset) {
    if (reset) {
        conn_free(k, true);
        return;
    }
    if (k->closing) return;
    k->closing = true;
    event_del(&k->writable);
    evtimer_del(&k->timer);
    shutdown(k->fd, SHUT_WR);
    observe_origin_ended(k->stub->run, &k->told, false, false);
}

/* All of the request that there was in the capture. Of a cut one the proxy may hold back the last bytes. */
static bool request_is_here(const struct stub_conn *k) {
    const struct plan_exchange *x = exchange_at(k->stub, k->exchange);
    uint64_t captured = x->request_end - x->head_end;

    return k->request_whole || (x->is_cut && k->body_len + captured / 16 + 64 >= captured);
}

/* How much of the answer may be sent now, its client and the clock permitting; when more, in *at_ns (monotonic). */
static uint64_t may_send(const struct stub_conn *k, int64_t *at_ns) {
    const struct stub *s = k->stub;
    const struct plan_exchange *x = exchange_at(s, k->exchange);
    const struct run_options *o = &s->run->options;
    uint64_t may = k->allowed;

    *at_ns = NEVER;
    if (x->until_client_ends < may && !s->served[k->exchange].client_ended) may = x->until_client_ends;
    for (uint32_t i = k->part; i < x->n_parts && x->parts[i].off < may; i++) {
        const struct wire_part *p = &x->parts[i];
        if (!request_is_here(k) && (x->sent_ns == 0 || p->at_ns >= x->sent_ns))
            return p->off > k->sent ? p->off : k->sent;
        if (!o->pace || o->speed == 0) continue;
        if (p->at_ns <= s->run->schedule.at_ns) continue;
        *at_ns = s->run->schedule.now_ns + (int64_t)((double)(p->at_ns - s->run->schedule.at_ns) / o->speed);
        return p->off > k->sent ? p->off : k->sent;
    }
    return may;
}

/* Where the answer proper ends: with the part that its last byte is in. */
static uint64_t proper_len(const struct plan_exchange *x) {
    if (x->done_len == NO_LEN) return x->response_len;
    for (uint32_t i = 0; i < x->n_parts; i++)
        if (x->parts[i].off + x->parts[i].len >= x->done_len) return x->parts[i].off + x->parts[i].len;
    return x->response_len;
}

static void answer_sent(struct stub_conn *k) {
    const struct plan_exchange *x = exchange_at(k->stub, k->exchange);
    const struct plan_conn *c = &k->stub->run->plan->conns[x->conn];

    k->answered = true;
    if (x->ends_connection && !c->origin_resets) conn_end(k, false);
}

/* -1: the connection is gone; 0: the socket is full; 1: all that may be sent now was. */
static int push(struct stub_conn *k, uint64_t may) {
    const struct plan_exchange *x = exchange_at(k->stub, k->exchange);

    while (k->sent < may) {
        const uint8_t *bytes = k->stub->fill;
        uint64_t len = may - k->sent, off;
        ssize_t n;

        if (k->sent < x->response_len) {
            const struct wire_part *p = &x->parts[k->part];
            off = k->sent - p->off;
            if (len > p->len - off) len = p->len - off;
            if (p->bytes) bytes = p->bytes + off;
        }
        if (bytes == k->stub->fill && len > FILL_BLOCK) len = FILL_BLOCK;
        n = send(k->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (n < 0) return -1;
        observe_answer(k->stub->run, &k->told, k->exchange, k->sent, bytes, (size_t)n);
        k->sent += (uint64_t)n;
        while (k->part < x->n_parts && k->sent >= x->parts[k->part].off + x->parts[k->part].len) k->part++;
    }
    return 1;
}

static void answer(struct stub_conn *k) {
    const struct plan_exchange *x;
    int64_t at_ns;
    uint64_t may;

    if (k->exchange == NO_EXCHANGE || k->closing) return;
    x = exchange_at(k->stub, k->exchange);
    if (x->n_parts == 0) return;
    may = may_send(k, &at_ns);
    switch (push(k, may)) {
    case -1:
        conn_free(k, false);
        return;
    case 0:
        event_add(&k->writable, NULL);
        return;
    }
    if (at_ns != NEVER) {
        int64_t ns = at_ns - k->stub->run->schedule.now_ns;
        struct timeval wait = {ns / SEC(1), (suseconds_t)(ns % SEC(1) / 1000 + 1)};
        evtimer_add(&k->timer, &wait);
    } else if (k->sent >= proper_len(x) && !k->answered && request_is_here(k) && x->fill_after == 0) {
        answer_sent(k);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct stub_conn *k = arg;

    (void)fd;
    (void)what;
    run_enter(k->stub->run);
    answer(k);
}

/* ---- requests that arrive ---- */

static void refuse_stranger(struct stub_conn *k) {
    static const char text[] = "HTTP/1.1 500 Not in the capture\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    k->stub->counts.strangers++;
    (void)!send(k->fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    conn_end(k, false);
}

static void arrive(struct stub_conn *k) {
    const struct h1_head *head = h1_head(k->h1);
    const uint8_t *message = k->head + k->head_len - head->bytes;
    uint64_t length = 0, key = plan_target_key((const char *)message + head->method.off, head->method.len,
                                               message + head->target.off, head->target.len);
    enum body_framing framing = h1_request_framing(head, &length);
    uint32_t i = find_expected(k->stub, k->origin, key);
    struct served *v;

    h1_begin_body(k->h1, framing, length);
    k->request_whole = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
    k->body_len = 0;
    k->stub->counts.requests++;
    if (k->exchange != NO_EXCHANGE && k->stub->served[k->exchange].conn == k) {
        k->stub->served[k->exchange].service = SERVICE_OVER;
        k->stub->served[k->exchange].conn = NULL;
    }
    k->exchange = i;
    k->part = 0;
    k->sent = 0;
    k->answered = false;
    if (i == NO_EXCHANGE) {
        refuse_stranger(k);
        return;
    }
    const struct plan_exchange *x = exchange_at(k->stub, i);
    k->allowed = proper_len(x) + x->fill_after;
    v = &k->stub->served[i];
    v->service = SERVICE_ARRIVED;
    v->conn = k;
    observe_request(k->stub->run, &k->told, &k->proxy, k->ref, i);
}

static void keep_head(struct stub_conn *k, const uint8_t *data, size_t len) {
    k->head = realloc(k->head, k->head_len + len + 1);
    if (!k->head) abort();
    memcpy(k->head + k->head_len, data, len);
    k->head_len += len;
}

/* False: it cannot be read. */
static bool take_request(struct stub_conn *k, const uint8_t *data, size_t len) {
    bool more = true;

    while ((len > 0 || more) && !k->closing) {
        bool between = h1_between(k->h1) || k->head_len > 0;
        size_t used = 0;
        enum h1_step step = h1_feed(k->h1, data, len, &used);

        if (between && (step == H1_MORE || step == H1_HEAD))
            keep_head(k, data, used);
        else
            observe_request_body(k->stub->run, &k->told, data, used), k->body_len += used;
        data += used;
        len -= used;
        more = step != H1_MORE;
        if (step == H1_ERROR) return false;
        if (step == H1_HEAD) {
            arrive(k);
            k->head_len = 0;
        }
        if (step == H1_DONE) k->request_whole = true;
    }
    return true;
}

static void on_request(evutil_socket_t fd, short what, void *arg) {
    struct stub_conn *k = arg;
    struct stub *s = k->stub;
    ssize_t n;
    uint32_t exchange;

    (void)what;
    run_enter(s->run);
    n = recv(fd, s->in, sizeof s->in, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n <= 0) observe_origin_ended(s->run, &k->told, true, n < 0);
    if (n <= 0 || (!k->closing && !take_request(k, s->in, (size_t)n))) {
        conn_free(k, false);
        return;
    }
    if (k->closing || k->exchange == NO_EXCHANGE) return;
    exchange = k->exchange;
    answer(k); /* k may be gone */
    client_advance(&s->run->clients[exchange_at(s, exchange)->conn]);
    wake_next(s, exchange);
}

/* ---- listeners ---- */

/* No descriptor is left for those that wait: a listener would say so without an end. */
static void pause_listening(struct stub *s) {
    struct timeval a_while = {0, 50000};

    s->counts.not_accepted++;
    for (uint32_t i = 0; i < s->run->plan->n_origins; i++) event_del(&s->listeners[i].event);
    evtimer_add(&s->resume, &a_while);
}

static void on_resume(evutil_socket_t fd, short what, void *arg) {
    struct stub *s = arg;

    (void)fd;
    (void)what;
    for (uint32_t i = 0; i < s->run->plan->n_origins; i++) event_add(&s->listeners[i].event, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg) {
    struct listener *l = arg;
    struct stub *s = l->stub;
    struct sockaddr_in from = {0};
    socklen_t from_len = sizeof from;
    int on = 1, one;

    (void)what;
    run_enter(s->run);
    while ((one = accept4(fd, (struct sockaddr *)&from, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct stub_conn *k = calloc(1, sizeof *k);
        if (!k) abort();
        k->stub = s;
        k->fd = one;
        k->ref = (uint32_t)s->counts.connections;
        k->proxy = (struct endpoint){.family = ADDR_V4, .port = ntohs(from.sin_port)};
        memcpy(k->proxy.addr, &from.sin_addr, 4);
        k->origin = (uint32_t)(l - s->listeners);
        k->exchange = NO_EXCHANGE;
        k->h1 = h1_new(H1_REQUEST, &request_limits);
        if (!k->h1) abort();
        setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        event_assign(&k->readable, s->run->base, one, EV_READ | EV_PERSIST, on_request, k);
        event_assign(&k->writable, s->run->base, one, EV_WRITE, on_writable, k);
        evtimer_assign(&k->timer, s->run->base, on_writable, k);
        event_add(&k->readable, NULL);
        LIST_INSERT_HEAD(&s->conns, k, all);
        s->counts.connections++;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_listening(s);
}

static bool listen_for(struct stub *s, uint32_t origin, char error[256]) {
    struct listener *l = &s->listeners[origin];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;

    l->stub = s;
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&at, sizeof at) || listen(l->fd, 4096) ||
        getsockname(l->fd, (struct sockaddr *)&at, &len)) {
        snprintf(error, 256, "a stub for %.100s cannot listen on 127.0.0.1: %s",
                 s->run->plan->origins[origin].authority, strerror(errno));
        return false;
    }
    snprintf(l->authority, sizeof l->authority, "127.0.0.1:%u", ntohs(at.sin_port));
    s->authorities[origin] = l->authority;
    event_assign(&l->event, s->run->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
    event_add(&l->event, NULL);
    return true;
}

struct stub *stub_new(struct run *r, char error[256]) {
    struct stub *s = calloc(1, sizeof *s);
    const struct plan *p = r->plan;

    if (!s) abort();
    s->run = r;
    s->listeners = calloc(p->n_origins + 1, sizeof *s->listeners);
    s->authorities = calloc(p->n_origins + 1, sizeof *s->authorities);
    s->served = calloc(p->n_exchanges + 1, sizeof *s->served);
    s->mask = 255;
    while (s->mask < p->n_exchanges && s->mask < (1u << 22)) s->mask = s->mask * 2 + 1;
    s->lists = malloc((s->mask + (size_t)1) * sizeof *s->lists);
    if (!s->listeners || !s->authorities || !s->served || !s->lists) abort();
    for (uint32_t i = 0; i <= s->mask; i++) s->lists[i].first = s->lists[i].last = NO_EXCHANGE;
    plan_fill(s->fill, sizeof s->fill);
    LIST_INIT(&s->conns);
    evtimer_assign(&s->resume, r->base, on_resume, s);
    for (uint32_t i = 0; i < p->n_origins; i++) s->listeners[i].fd = -1;
    for (uint32_t i = 0; i < p->n_origins; i++)
        if (!listen_for(s, i, error)) {
            stub_free(&s);
            return NULL;
        }
    return s;
}

void stub_free(struct stub **sp) {
    struct stub *s = *sp;
    struct stub_conn *k;

    if (!s) return;
    while ((k = LIST_FIRST(&s->conns))) conn_free(k, false);
    evtimer_del(&s->resume);
    for (uint32_t i = 0; i < s->run->plan->n_origins; i++) {
        if (s->listeners[i].fd < 0) continue;
        if (s->authorities[i]) event_del(&s->listeners[i].event);
        close(s->listeners[i].fd);
    }
    free(s->listeners);
    free(s->authorities);
    free(s->served);
    free(s->lists);
    free(s);
    *sp = NULL;
}

const char *const *stub_authorities(const struct stub *s) {
    return s->authorities;
}

struct stub_counts stub_counts(const struct stub *s) {
    return s->counts;
}

/* ---- what the schedule says ---- */

void stub_tail(struct stub *s, uint32_t exchange, uint64_t len) {
    struct stub_conn *k = s->served[exchange].conn;

    if (!k || k->closing || k->exchange != exchange || len <= k->allowed) return;
    k->allowed = len;
    answer(k);
}

void stub_end(struct stub *s, uint32_t exchange) {
    struct stub_conn *k = s->served[exchange].conn;

    if (!k || k->closing || k->exchange != exchange) return; /* another request is on it meanwhile */
    k->answered = true;
    conn_end(k, s->run->plan->conns[exchange_at(s, exchange)->conn].origin_resets);
}

void stub_client_ended(struct stub *s, uint32_t exchange) {
    struct served *v = &s->served[exchange];

    v->client_ended = true;
    if (v->conn && v->conn->exchange == exchange) answer(v->conn);
}
