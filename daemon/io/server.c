#define _GNU_SOURCE /* pipe2, F_SETPIPE_SZ */
#include "server.h"

#include "facts.h"
#include "live_driver.h"
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINGER_TIME SEC(2) /* from our last byte to the client's FIN */

static int64_t read_clock(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * SEC(1) + ts.tv_nsec;
}

mono_ns server_enter(struct server *s) {
    return s->now = read_clock(CLOCK_MONOTONIC);
}

static void empty_graveyard(struct server *s) {
    for (struct buried *b; (b = SLIST_FIRST(&s->graveyard));) {
        SLIST_REMOVE_HEAD(&s->graveyard, link);
        b->free(s, b->object);
    }
}

static void run_soon(struct event *ev) {
    struct timeval tv = {0, SERVER_EVERY / 1000};
    if (!event_pending(ev, EV_TIMEOUT, NULL)) event_add(ev, &tv);
}

/* A tick that is set for later comes sooner. */
static void start_ticking(struct server *s) {
    struct timeval tv = {(time_t)(s->tick_after / SEC(1)), (suseconds_t)(s->tick_after % SEC(1) / 1000)};
    event_add(s->tick, &tv);
    s->ticking = true;
}

/* Every opening and every close makes this number larger. */
static uint64_t moves(const struct ledger *l) {
    return ledger_totals(l, SIDE_UPSTREAM)->count[COUNT_CONNECTIONS] +
           ledger_totals(l, SIDE_DOWNSTREAM)->count[COUNT_CONNECTIONS] + ledger_next_closed(l);
}

void server_watch(struct server *s, struct event *wake) {
    s->on_moved = wake;
    s->moves_seen = moves(s->ledger);
}

static void wake_watcher(struct server *s) {
    uint64_t n = moves(s->ledger) - s->moves_seen;
    if (n >= MOVES_MOST)
        event_active(s->on_moved, EV_TIMEOUT, 0);
    else if (n)
        run_soon(s->on_moved);
}

void server_leave(struct server *s) {
    live_drive(s);
    empty_graveyard(s);
    s->last_work = s->now;
    if (s->tick && !s->ticking) start_ticking(s);
    if (s->on_closed && ledger_next_closed(s->ledger) != s->closed_seen) {
        s->closed_seen = ledger_next_closed(s->ledger);
        run_soon(s->on_closed);
    }
    if (s->on_moved) wake_watcher(s);
}

void server_bury(struct server *s, struct buried *b, void (*fn)(struct server *, void *), void *object) {
    b->free = fn;
    b->object = object;
    SLIST_INSERT_HEAD(&s->graveyard, b, link);
}

static void on_ready(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct server *s = arg;
    server_enter(s);
    live_want_ready(s);
    server_leave(s);
}

static void on_pool_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct server *s = arg;
    server_enter(s);
    live_tick(s);
    server_leave(s);
}

static mono_ns enter(void *arg) {
    return server_enter(arg);
}
static void leave(void *arg) {
    server_leave(arg);
}

void server_set_delays(struct server *s) {
    s->head_q.after = s->conf->proxy.header_timeout;
    s->idle_q.after = s->conf->proxy.client_idle_timeout;
    s->response_q.after = s->conf->pool.response_header_timeout;
    s->expect_q.after = s->conf->pool.expect_continue_timeout;
}

void server_init(struct server *s, struct event_base *base, struct conf *conf) {
    *s = (struct server){.base = base, .conf = conf, .pool_timer_at = NEVER};
    server_enter(s);
    s->to_wall_ns = read_clock(CLOCK_REALTIME) - s->now;
    s->gauge.last_request = s->now;
    TAILQ_INIT(&s->clients);
    TAILQ_INIT(&s->ready);
    SLIST_INIT(&s->graveyard);
    s->ready_event = event_new(base, -1, 0, on_ready, s);
    s->pool_timer = event_new(base, -1, 0, on_pool_timer, s);
    struct {
        struct deadline_queue *q;
        void (*expired)(struct deadline *, void *);
        mono_ns after;
    } queues[] = {
        {&s->head_q, client_head_expired, 0},
        {&s->idle_q, client_idle_expired, 0},
        {&s->linger_q, client_linger_expired, LINGER_TIME},
        {&s->response_q, relay_response_expired, 0},
        {&s->expect_q, relay_expect_expired, 0},
        {&s->grace_q, relay_grace_expired, WRITE_GRACE},
        {&s->drain_q, relay_drain_expired, DRAIN_TIME},
    };
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        deadline_queue_init(queues[i].q, base, queues[i].after, queues[i].expired, enter, leave, s);
    server_set_delays(s);
    s->scratch_size = conf->pool.copy_buffer_size + conf->pool.read_buffer_size;
    if (s->scratch_size < SCRATCH_LEAST) s->scratch_size = SCRATCH_LEAST;
    s->scratch = malloc(s->scratch_size);
    s->client_scratch = malloc(s->scratch_size);
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) abort();
    hash_seed(random);
    snprintf(s->via, sizeof s->via, "connleakd-%08x", (unsigned)(random >> 32 ^ random));
    if (!s->scratch || !s->client_scratch || !s->ready_event || !s->pool_timer) abort();
}

void server_clear(struct server *s) {
    struct deadline_queue *queues[] = {&s->head_q,   &s->idle_q,  &s->linger_q, &s->response_q,
                                       &s->expect_q, &s->grace_q, &s->drain_q};
    empty_graveyard(s);
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) deadline_queue_clear(queues[i]);
    event_free(s->ready_event);
    event_free(s->pool_timer);
    relay_free_spares(s);
    for (struct splice_pipe *p; (p = SLIST_FIRST(&s->spare_pipes));) {
        SLIST_REMOVE_HEAD(&s->spare_pipes, link);
        close(p->rd);
        close(p->wr);
        free(p);
    }
    for (int side = 0; side < 2; side++)
        while (s->n_spare_h1[side]) h1_free(&s->spare_h1[side][--s->n_spare_h1[side]]);
    idmap_clear(&s->upstreams);
    idmap_clear(&s->wants);
    bytes_free(&s->head_out);
    free(s->scratch);
    free(s->client_scratch);
    free(s->own);
}

void server_add_own(struct server *s, const struct endpoint *e) {
    struct endpoint *own = realloc(s->own, (s->n_own + 1) * sizeof *own);
    if (!own) abort();
    s->own = own;
    s->own[s->n_own++] = *e;
}

static void from_sockaddr(const struct sockaddr_storage *ss, struct endpoint *out) {
    *out = (struct endpoint){0};
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        out->family = ADDR_V4;
        out->port = ntohs(in->sin_port);
        memcpy(out->addr, &in->sin_addr, 4);
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        out->family = mapped ? ADDR_V4 : ADDR_V6;
        out->port = ntohs(in6->sin6_port);
        memcpy(out->addr, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else if (ss->ss_family == AF_UNIX) {
        out->family = ADDR_UNIX;
    }
}

void endpoint_local(int fd, struct endpoint *out) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    *out = (struct endpoint){0};
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) from_sockaddr(&ss, out);
}

void endpoint_of(const struct sockaddr_storage *ss, struct endpoint *out) {
    from_sockaddr(ss, out);
}

/* Is it one of this host's addresses? Asked only for ports that we listen on at a wildcard. */
static bool is_local(const struct endpoint *e) {
    if (e->family == ADDR_V4 && e->addr[0] == 127) return true;
    struct ifaddrs *list, *i;
    bool found = false;
    if (getifaddrs(&list) != 0) return false;
    for (i = list; i && !found; i = i->ifa_next) {
        struct sockaddr_storage ss = {0};
        struct endpoint a;
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6)) continue;
        memcpy(&ss, i->ifa_addr,
               i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        from_sockaddr(&ss, &a);
        a.port = e->port;
        found = endpoint_equal(&a, e);
    }
    freeifaddrs(list);
    return found;
}

bool server_is_own(const struct server *s, const struct endpoint *e) {
    static const uint8_t any[16];
    for (size_t i = 0; i < s->n_own; i++) {
        const struct endpoint *own = &s->own[i];
        if (own->port != e->port) continue;
        if (endpoint_equal(own, e)) return true;
        if (memcmp(own->addr, any, 16) == 0 && is_local(e)) return true;
    }
    return false;
}

struct h1 *server_h1(struct server *s, enum h1_side side) {
    struct h1_limits limits = {
        .max_head_bytes =
            side == H1_REQUEST ? s->conf->proxy.max_request_header_bytes : s->conf->pool.max_response_header_bytes,
        .max_fields = side == H1_REQUEST ? 1000 : 65535,
        .max_trailer_bytes = side == H1_REQUEST ? 16384 : s->conf->pool.read_buffer_size,
    };
    if (!s->n_spare_h1[side]) return h1_new(side, &limits);
    struct h1 *h = s->spare_h1[side][--s->n_spare_h1[side]];
    h1_reset(h);
    h1_set_limits(h, &limits); /* SIGHUP may have changed them since */
    return h;
}

void server_h1_back(struct server *s, enum h1_side side, struct h1 **hp) {
    struct h1 *h = *hp;
    *hp = NULL;
    if (!h) return;
    if (s->n_spare_h1[side] < SPARE_H1)
        s->spare_h1[side][s->n_spare_h1[side]++] = h;
    else
        h1_free(&h);
}

struct splice_pipe *server_pipe(struct server *s) {
    struct splice_pipe *p = SLIST_FIRST(&s->spare_pipes);
    if (p) {
        SLIST_REMOVE_HEAD(&s->spare_pipes, link);
        return p;
    }
    int fds[2];
    if (s->n_pipes >= PIPES_MAX || pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return NULL;
    /* As large as the system lets anybody have one; the user's share may be used up. */
    int room = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
    if (room <= 0) room = fcntl(fds[1], F_GETPIPE_SZ);
    p = malloc(sizeof *p);
    if (!p) abort();
    *p = (struct splice_pipe){.rd = fds[0], .wr = fds[1], .size = room > 0 ? (size_t)room : 4096};
    s->n_pipes++;
    return p;
}

void server_pipe_back(struct server *s, struct splice_pipe **pp) {
    struct splice_pipe *p = *pp;
    *pp = NULL;
    if (!p) return;
    if (!p->held) {
        SLIST_INSERT_HEAD(&s->spare_pipes, p, link);
        return;
    }
    close(p->rd); /* with somebody's bytes in it */
    close(p->wr);
    free(p);
    s->n_pipes--;
}

void server_closed(struct server *s, struct lifecycle *l, enum close_reason why, enum close_phase phase,
                   const struct stream_end *end) {
    if (end->tls_in) server_event(s, l, EV_BYTES_IN, end->tls_in);
    if (end->tls_out) server_event(s, l, EV_BYTES_OUT, end->tls_out);
    if (end->read_late) server_event(s, l, EV_BYTES_IN, end->read_late);
    /* The kernel counts a FIN as a byte: the only trace that a RST behind it leaves of it. */
    bool fin_came = end->fin_received || (end->rst_received && end->acked_known && !l->fin_sent_first &&
                                          end->received == l->bytes_in + end->unread + 1);
    if (fin_came && !l->fin_received && !l->rst_received) server_event(s, l, EV_FIN_RECEIVED, 0);
    if (end->rst_received && !l->rst_received) server_event(s, l, EV_RST_RECEIVED, 0);
    struct conn_event ev = {
        .at_ns = s->now, .value = end->unread, .code = (uint16_t)why, .kind = EV_ENDED, .framing = (uint8_t)phase};
    ledger_apply(s->ledger, l, &ev);
    facts_closed(s, ledger_closed(s->ledger, ledger_next_closed(s->ledger) - 1), end);
}
