#include "dialer.h"

#include "facts.h"
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES_MAX 32        /* of one name; the rest is left out */
#define HEAD_START    MSEC(300) /* of the first family over the other (Go: FallbackDelay) */
#define ATTEMPT_LEAST SEC(2)    /* no address gets less of the time that is left (Go: partialDeadline) */

enum { STATE_CLOSE = 7 }; /* tcpi_state, as the kernel counts */

enum dial_state {
    DIALER_STARTING,   /* decided already; tells of it in the next round of the loop */
    DIALER_RESOLVING,  /* waits for addresses */
    DIALER_CONNECTING, /* one or both lanes have a connect under way */
    DIALER_HANDSHAKE,  /* connected, TLS under way */
};

/* One family's addresses, tried one after the other. */
struct lane {
    unsigned next, end; /* addresses still to be tried: [next, end) */
    int fd;             /* -1: no connect under way */
    mono_ns started, deadline;
    struct flow_key flow;
    struct event event;
    struct dial *dial;
};

struct dial {
    struct server *s;
    conn_id id;
    struct lifecycle *life;
    dial_done_fn *done;
    void *arg;
    char *host, *addr;
    uint16_t port;
    bool tls;
    enum dial_state state;
    struct endpoint address[ADDRESSES_MAX];
    unsigned n_addresses;
    struct lane lane[2]; /* the family of the first address, and the other */
    mono_ns deadline;    /* of resolving and connecting; NEVER if there is no limit */
    mono_ns fallback_at; /* when the second lane may begin; NEVER once it has */
    struct evdns_getaddrinfo_request *dns;
    struct event timer;
    struct event io; /* the handshake */
    struct stream stream;
    enum dial_result result; /* of the last failure */
    bool on_wire;            /* the main life has an attempt of its own, not yet told */
    mono_ns last_started;
    struct flow_key last_flow;
    bool last_reset;
    char text[192];
    struct buried buried;
};

static void lanes_go(struct dial *d);

static void dial_free(struct server *s, void *object) {
    (void)s;
    struct dial *d = object;
    free(d->host);
    free(d->addr);
    free(d);
}

static void lane_stop(struct lane *l) {
    if (l->fd < 0) return;
    event_del(&l->event);
    close(l->fd);
    l->fd = -1;
}

/* Gives up a connect that is under way. True: its handshake was through by then, and nobody had been told. shutdown()
 * sends a FIN where the connection stands and nothing where it does not yet; the state after it says which, or, where
 * the peer's FIN has ended that too, the SYN that was acknowledged. */
static bool lane_abandon(struct lane *l) {
    struct tcp_info info = {.tcpi_state = STATE_CLOSE};
    socklen_t len = sizeof info;
    shutdown(l->fd, SHUT_RDWR);
    bool stood = getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
                 (info.tcpi_state != STATE_CLOSE || info.tcpi_bytes_acked > 0);
    lane_stop(l);
    return stood;
}

/* Stops everything that could call back. */
static void stop(struct dial *d) {
    if (d->dns) {
        struct evdns_getaddrinfo_request *dns = d->dns;
        d->dns = NULL;
        evdns_getaddrinfo_cancel(dns);
    }
    lane_stop(&d->lane[0]);
    lane_stop(&d->lane[1]);
    event_del(&d->timer);
    if (d->state == DIALER_HANDSHAKE) event_del(&d->io);
}

/* An attempt in whose place another goes on, as a record of its own. */
static void record_attempt(struct dial *d, const struct lane *l, enum close_reason why, bool reset, bool stood) {
    struct server *s = d->s;
    struct lifecycle *life = ledger_open(s->ledger, SIDE_UPSTREAM, pool_new_id(s->pool), l->started);
    struct connect_key key = {.proxy = "", .scheme = d->tls ? "https" : "http", .addr = d->addr};
    ledger_set_key(s->ledger, life, &key);
    facts_dialing(s, life, d->addr);
    life->flow = l->flow;
    struct conn_event ev = {.at_ns = l->started, .kind = EV_DIALING};
    ledger_apply(s->ledger, life, &ev);
    if (stood) server_event(s, life, EV_DIALED, 0);
    struct stream_end end = {.rst_received = reset};
    server_closed(s, life, why, PHASE_DIALING, &end);
}

/* The main life's own attempt: the last one. */
static void tell_dialing(struct dial *d) {
    if (d->on_wire) d->life->flow = d->last_flow;
    struct conn_event ev = {.at_ns = d->on_wire ? d->last_started : d->s->now, .kind = EV_DIALING};
    ledger_apply(d->s->ledger, d->life, &ev);
}

static void finish(struct dial *d, struct stream *stream) {
    stop(d);
    dial_done_fn *done = d->done;
    struct server *s = d->s;
    server_bury(s, &d->buried, dial_free, d);
    done(s, d->arg, d->result, d->text, stream, d->life);
}

/* The whole dial failed; d->result and d->text say how. */
static void fail(struct dial *d, enum close_reason why, const struct stream_end *end) {
    if (d->state != DIALER_HANDSHAKE) tell_dialing(d);
    facts_dial_failed(d->s, d->life, d->result);
    server_closed(d->s, d->life, why, PHASE_DIALING, end);
    d->life = NULL;
    finish(d, NULL);
}

static void fail_dial(struct dial *d) {
    struct stream_end end = {.rst_received = d->on_wire && d->last_reset};
    fail(d, REASON_DIAL_ERROR, &end);
}

/* The last failure speaks for the dial; but that one of a name's addresses is our
 * own, or denied, is more to the point than how the others failed. */
__attribute__((format(printf, 3, 4))) static void set_failure(struct dial *d, enum dial_result result, const char *fmt,
                                                              ...) {
    if (d->result == DIAL_LOOP || d->result == DIAL_DENIED) return;
    va_list ap;
    d->result = result;
    va_start(ap, fmt);
    vsnprintf(d->text, sizeof d->text, fmt, ap);
    va_end(ap);
}

/* One timer for the dial's limit, an attempt's share of it, and the head start. */
static void arm_timer(struct dial *d) {
    mono_ns at = d->deadline;
    if (d->fallback_at < at) at = d->fallback_at;
    for (int i = 0; i < 2; i++)
        if (d->lane[i].fd >= 0 && d->lane[i].deadline < at) at = d->lane[i].deadline;
    event_del(&d->timer);
    if (at == NEVER) return;
    mono_ns wait = (at > d->s->now ? at - d->s->now : 0) + 999999;
    struct timeval tv = {.tv_sec = wait / SEC(1), .tv_usec = (wait % SEC(1)) / 1000};
    event_add(&d->timer, &tv);
}

static void connected(struct dial *d, struct lane *l);

/* The lane's attempt ended without a connection. */
static void attempt_failed(struct lane *l, int error) {
    struct dial *d = l->dial;
    char where[ENDPOINT_TEXT_MAX];
    endpoint_text(&l->flow.remote, where);
    bool reset = error == ECONNREFUSED || error == ECONNRESET;
    enum dial_result r = reset ? DIAL_REFUSED : error == ETIMEDOUT ? DIAL_TIMEOUT : DIAL_UNREACHABLE;
    set_failure(d, r, "connect to %s: %s", where, strerror(error));
    bool other_runs = d->lane[0].fd >= 0 && d->lane[1].fd >= 0;
    lane_stop(l);
    bool more = other_runs || d->lane[0].next < d->lane[0].end || d->lane[1].next < d->lane[1].end;
    if (more) {
        record_attempt(d, l, REASON_DIAL_ERROR, reset, false);
    } else {
        d->on_wire = true;
        d->last_started = l->started;
        d->last_flow = l->flow;
        d->last_reset = reset;
    }
    if (l == &d->lane[0]) d->fallback_at = d->s->now; /* no need to wait for the head start */
}

static void lane_ready(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct lane *l = arg;
    struct dial *d = l->dial;
    server_enter(d->s);
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    /* A connect to a free ephemeral port of this host can meet itself. */
    if (!error && endpoint_equal(&l->flow.local, &l->flow.remote)) error = ECONNREFUSED;
    if (error) {
        attempt_failed(l, error);
        lanes_go(d);
    } else {
        connected(d, l);
    }
    server_leave(d->s);
}

static socklen_t to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ss) {
    memset(ss, 0, sizeof *ss);
    if (e->family == ADDR_V4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ss;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        memcpy(&in->sin_addr, e->addr, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(e->port);
    memcpy(&in6->sin6_addr, e->addr, 16);
    return sizeof *in6;
}

/* As Go's Dialer sets them: no delay, keep-alive idle and interval alike. */
static void socket_options(struct server *s, int fd) {
    int one = 1, secs = (int)(s->conf->pool.dial_keep_alive / SEC(1));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (s->conf->pool.dial_keep_alive <= 0) return;
    if (secs < 1) secs = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &secs, sizeof secs);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &secs, sizeof secs);
}

/* What an address may not be, before a packet is sent to it. */
static bool address_ok(struct dial *d, const struct endpoint *e) {
    if (server_is_own(d->s, e)) {
        set_failure(d, DIAL_LOOP, "%s is this daemon itself", d->addr);
        return false;
    }
    if (!access_destination_ok(d->s->conf, d->host, d->port, e)) {
        char where[ENDPOINT_TEXT_MAX];
        set_failure(d, DIAL_DENIED, "access to %s is denied", endpoint_text(e, where));
        return false;
    }
    return true;
}

/* An address's share of the time that is left (Go: partialDeadline). */
static mono_ns share(const struct dial *d, unsigned addresses_left) {
    if (d->deadline == NEVER) return NEVER;
    mono_ns left = d->deadline - d->s->now, part = left / (addresses_left ? addresses_left : 1);
    if (part < ATTEMPT_LEAST) part = left < ATTEMPT_LEAST ? left : ATTEMPT_LEAST;
    return d->s->now + part;
}

/* Begins the lane's next attempt; false if it has none left that can be begun. */
static bool lane_next(struct lane *l) {
    struct dial *d = l->dial;
    while (l->next < l->end) {
        const struct endpoint *e = &d->address[l->next];
        unsigned left = l->end - l->next++;
        if (!address_ok(d, e)) continue;
        int fd = socket(e->family == ADDR_V4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            int error = errno;
            set_failure(d, error == EAFNOSUPPORT ? DIAL_UNREACHABLE : DIAL_NO_SOCKET, "socket: %s", strerror(error));
            if (error == EMFILE || error == ENFILE)
                log_limited(&d->s->said_fds, d->s->now, LEVEL_ERROR, "proxy",
                            "out of descriptors: a dial fails; raise the limit (ulimit -n, LimitNOFILE=)");
            continue;
        }
        socket_options(d->s, fd);
        struct sockaddr_storage ss;
        socklen_t len = to_sockaddr(e, &ss);
        if (connect(fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS) {
            int error = errno;
            char where[ENDPOINT_TEXT_MAX];
            close(fd);
            set_failure(d, error == EADDRNOTAVAIL ? DIAL_NO_SOCKET : DIAL_UNREACHABLE, "connect to %s: %s",
                        endpoint_text(e, where), strerror(error));
            continue;
        }
        l->fd = fd;
        l->started = d->s->now;
        l->deadline = share(d, left);
        l->flow.remote = *e;
        endpoint_local(fd, &l->flow.local);
        event_assign(&l->event, d->s->base, fd, EV_WRITE, lane_ready, l);
        event_add(&l->event, NULL);
        return true;
    }
    return false;
}

/* Keeps the lanes busy; fails the dial when nothing is left to be tried. */
static void lanes_go(struct dial *d) {
    struct lane *a = &d->lane[0], *b = &d->lane[1];
    if (a->fd < 0 && !lane_next(a)) d->fallback_at = d->s->now;
    if (b->fd < 0 && d->s->now >= d->fallback_at) lane_next(b);
    if (a->fd < 0 && b->fd < 0) {
        fail_dial(d);
        return;
    }
    if (b->fd >= 0 || b->next == b->end) d->fallback_at = NEVER;
    arm_timer(d);
}

static void succeed(struct dial *d) {
    d->result = DIAL_OK;
    d->text[0] = 0;
    struct stream stream = d->stream;
    finish(d, &stream);
}

static void handshake_failed(struct dial *d, int error) {
    enum dial_result results[] = {[TLS_CERTIFICATE] = DIAL_TLS_CERTIFICATE,
                                  [TLS_ALERT] = DIAL_TLS_ALERT,
                                  [TLS_EOF] = DIAL_TLS_ERROR,
                                  [TLS_PROTOCOL] = DIAL_TLS_ERROR};
    d->result = results[tls_explain(d->stream.ssl, error, d->text, sizeof d->text)];
    if (error == ECONNRESET) d->stream.reset = true;
    d->stream.tls_failed = true;
    struct stream_end end;
    stream_close(&d->stream, &end);
    fail(d, REASON_TLS_ERROR, &end);
}

static void handshake(struct dial *d) {
    ERR_clear_error();
    errno = 0;
    int ret = SSL_do_handshake(d->stream.ssl);
    int error = errno;
    if (ret == 1) {
        server_enter(d->s); /* it may have taken its time inside the call */
        d->life->tls_version = SSL_get_version(d->stream.ssl);
        d->life->tls_cipher = SSL_get_cipher_name(d->stream.ssl);
        server_event(d->s, d->life, EV_TLS_DONE, 0);
        event_del(&d->io);
        succeed(d);
        return;
    }
    int want = SSL_get_error(d->stream.ssl, ret);
    if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) {
        handshake_failed(d, want == SSL_ERROR_SYSCALL ? error : 0);
        return;
    }
    short on = want == SSL_ERROR_WANT_WRITE ? EV_WRITE : EV_READ;
    if (event_get_events(&d->io) == on && event_pending(&d->io, on, NULL)) return;
    event_callback_fn fn = event_get_callback(&d->io);
    event_del(&d->io);
    event_assign(&d->io, d->s->base, d->stream.fd, on, fn, d);
    event_add(&d->io, NULL);
}

static void handshake_ready(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct dial *d = arg;
    server_enter(d->s);
    handshake(d);
    server_leave(d->s);
}

static void connected(struct dial *d, struct lane *l) {
    struct server *s = d->s;
    d->result = DIAL_OK; /* forgotten is what other addresses did */
    stream_init(&d->stream, l->fd);
    event_del(&l->event);
    l->fd = -1;
    d->on_wire = true;
    d->last_started = l->started;
    d->last_flow = l->flow;
    struct lane *other = &d->lane[l == &d->lane[0]];
    if (other->fd >= 0) {
        bool stood = lane_abandon(other);
        record_attempt(d, other, REASON_CANCELED, false, stood);
    }
    event_del(&d->timer);
    tell_dialing(d);
    server_event(s, d->life, EV_DIALED, 0);
    if (!d->tls) {
        succeed(d);
        return;
    }
    d->state = DIALER_HANDSHAKE;
    event_assign(&d->io, s->base, d->stream.fd, EV_READ, handshake_ready, d);
    d->stream.ssl = tls_connect(s->tls, d->stream.fd, d->host, d->addr);
    if (!d->stream.ssl) {
        set_failure(d, DIAL_TLS_ERROR, "%s is not a name that TLS can verify", d->host);
        struct stream_end end;
        stream_close(&d->stream, &end);
        fail(d, REASON_TLS_ERROR, &end);
        return;
    }
    d->deadline = s->conf->pool.tls_handshake_timeout > 0 ? s->now + s->conf->pool.tls_handshake_timeout : NEVER;
    d->fallback_at = NEVER;
    arm_timer(d);
    handshake(d);
}

static void timed_out(struct dial *d) {
    if (d->state == DIALER_HANDSHAKE) {
        struct stream_end end;
        d->stream.tls_failed = true; /* no close_notify in the middle of a handshake */
        stream_close(&d->stream, &end);
        set_failure(d, DIAL_TLS_TIMEOUT, "no TLS handshake with %s within pool.tls_handshake_timeout", d->addr);
        fail(d, REASON_TLS_ERROR, &end);
        return;
    }
    if (d->state == DIALER_RESOLVING) {
        set_failure(d, DIAL_DNS_TIMEOUT, "no name server answered for %s within pool.dial_timeout", d->host);
    } else {
        for (int i = 0; i < 2; i++) {
            d->lane[i].next = d->lane[i].end;
            if (d->lane[i].fd >= 0) attempt_failed(&d->lane[i], ETIMEDOUT);
        }
        set_failure(d, DIAL_TIMEOUT, "no connection to %s within pool.dial_timeout", d->addr);
    }
    fail_dial(d);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct dial *d = arg;
    struct server *s = d->s;
    mono_ns now = server_enter(s);
    if (d->state == DIALER_STARTING) {
        fail_dial(d);
    } else if (now >= d->deadline) {
        timed_out(d);
    } else {
        for (int i = 0; i < 2; i++)
            if (d->lane[i].fd >= 0 && now >= d->lane[i].deadline) attempt_failed(&d->lane[i], ETIMEDOUT);
        lanes_go(d);
    }
    server_leave(s);
}

static void add_address(struct dial *d, const struct sockaddr *sa) {
    if (d->n_addresses == ADDRESSES_MAX) return;
    struct endpoint *e = &d->address[d->n_addresses];
    *e = (struct endpoint){.port = d->port};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, any[16];
    if (sa->sa_family == AF_INET) {
        e->family = ADDR_V4;
        memcpy(e->addr, &((const struct sockaddr_in *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const uint8_t *a = ((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr;
        e->family = memcmp(a, mapped, 12) ? ADDR_V6 : ADDR_V4;
        memcpy(e->addr, e->family == ADDR_V4 ? a + 12 : a, e->family == ADDR_V4 ? 4 : 16);
    } else {
        return;
    }
    /* Linux takes the unspecified address for this host: say so, as it matters for loops and access. */
    if (e->family == ADDR_V4 && memcmp(e->addr, any, 4) == 0) memcpy(e->addr, "\x7f\0\0\1", 4);
    if (e->family == ADDR_V6 && memcmp(e->addr, any, 16) == 0) e->addr[15] = 1;
    d->n_addresses++;
}

/* The first address's family leads, the other follows: a stable partition. */
static void make_lanes(struct dial *d) {
    struct endpoint sorted[ADDRESSES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < d->n_addresses; i++)
        if (d->address[i].family == d->address[0].family) sorted[n++] = d->address[i];
    d->lane[0].end = d->lane[1].next = n;
    for (unsigned i = 0; i < d->n_addresses; i++)
        if (d->address[i].family != d->address[0].family) sorted[n++] = d->address[i];
    d->lane[1].end = n;
    memcpy(d->address, sorted, n * sizeof *sorted);
}

static void connect_all(struct dial *d) {
    make_lanes(d);
    d->state = DIALER_CONNECTING;
    d->fallback_at = d->lane[0].end ? d->s->now + HEAD_START : d->s->now;
    lanes_go(d);
}

static void resolved(int error, struct evutil_addrinfo *list, void *arg) {
    if (error == EVUTIL_EAI_CANCEL) return; /* and the dial may be gone */
    struct dial *d = arg;
    struct server *s = d->s;
    if (d->state == DIALER_STARTING) { /* from inside dial_start: the answer was in a file */
        d->dns = NULL;
        if (error)
            set_failure(d, DIAL_DNS_ERROR, "%s: %s", d->host, evutil_gai_strerror(error));
        else
            for (struct evutil_addrinfo *ai = list; ai; ai = ai->ai_next) add_address(d, ai->ai_addr);
        if (list) evutil_freeaddrinfo(list);
        return;
    }
    server_enter(s);
    d->dns = NULL;
    if (error) {
        set_failure(d, DIAL_DNS_ERROR, "%s: %s", d->host, evutil_gai_strerror(error));
        fail_dial(d);
    } else {
        for (struct evutil_addrinfo *ai = list; ai; ai = ai->ai_next) add_address(d, ai->ai_addr);
        connect_all(d);
    }
    if (list) evutil_freeaddrinfo(list);
    server_leave(s);
}

/* Numeric addresses need no name server. */
static bool add_numeric(struct dial *d) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, d->host, &in.sin_addr) == 1) {
        add_address(d, (struct sockaddr *)&in);
        return true;
    }
    if (inet_pton(AF_INET6, d->host, &in6.sin6_addr) == 1) {
        add_address(d, (struct sockaddr *)&in6);
        return true;
    }
    return false;
}

static void resolve(struct dial *d) {
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct evdns_getaddrinfo_request *dns =
        evdns_getaddrinfo(d->s->dns, d->host, NULL, &hints, resolved, d); /* NULL: answered already */
    d->dns = dns;
    if (dns) d->state = DIALER_RESOLVING;
}

struct dial *dial_start(struct server *s, conn_id id, const struct dial_target *target, struct lifecycle *life,
                        dial_done_fn *done, void *arg) {
    struct dial *d = calloc(1, sizeof *d);
    if (!d || !(d->host = strdup(target->host)) || !(d->addr = strdup(target->addr))) abort();
    d->s = s;
    d->id = id;
    d->life = life;
    d->done = done;
    d->arg = arg;
    d->port = target->port;
    d->tls = target->tls;
    d->stream.fd = -1;
    d->deadline = s->conf->pool.dial_timeout > 0 ? s->now + s->conf->pool.dial_timeout : NEVER;
    d->fallback_at = NEVER;
    d->state = DIALER_STARTING;
    set_failure(d, DIAL_DNS_ERROR, "%s: no address found", d->host);
    for (int i = 0; i < 2; i++) d->lane[i].fd = -1, d->lane[i].dial = d;
    event_assign(&d->timer, s->base, -1, 0, on_timer, d);
    if (!add_numeric(d)) resolve(d);
    if (d->state == DIALER_STARTING && d->n_addresses) {
        /* Straight on, unless nothing can be begun: `done` must not be called from here. */
        make_lanes(d);
        d->fallback_at = s->now + HEAD_START;
        if (!lane_next(&d->lane[0])) lane_next(&d->lane[1]);
        if (d->lane[0].fd >= 0 || d->lane[1].fd >= 0) {
            d->state = DIALER_CONNECTING;
            if (d->lane[1].next == d->lane[1].end) d->fallback_at = NEVER;
        }
    }
    if (d->state == DIALER_STARTING) {
        struct timeval at_once = {0, 0};
        event_add(&d->timer, &at_once);
    } else {
        arm_timer(d);
    }
    return d;
}

void dial_cancel(struct dial **dp, enum close_reason why) {
    struct dial *d = *dp;
    *dp = NULL;
    if (!d) return;
    struct stream_end end = {0};
    struct lane *l = d->lane[0].fd >= 0 ? &d->lane[0] : &d->lane[1];
    struct lane *other = &d->lane[l == &d->lane[0]];
    if (l->fd >= 0 && other->fd >= 0) {
        bool stood = lane_abandon(other);
        record_attempt(d, other, why, false, stood);
    }
    if (d->state == DIALER_HANDSHAKE) {
        event_del(&d->io);
        d->stream.tls_failed = true;
        stream_close(&d->stream, &end);
    } else {
        if (l->fd >= 0) d->on_wire = true, d->last_started = l->started, d->last_flow = l->flow;
        bool stood = l->fd >= 0 && lane_abandon(l);
        tell_dialing(d);
        if (stood) server_event(d->s, d->life, EV_DIALED, 0);
    }
    server_closed(d->s, d->life, why, PHASE_DIALING, &end);
    stop(d);
    server_bury(d->s, &d->buried, dial_free, d);
}
