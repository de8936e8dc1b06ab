/* One client, as the capture has it: what it sent, how much it took, how it ended.
 *
 * Its steps are done one after the other; one that has to wait for something (an
 * answer, bytes in the kernel's queue, the proxy's end) is looked at again when
 * anything happens on the socket and, since nothing tells of bytes that a socket holds
 * and nobody reads, by run.c's tick. None waits for ever: what does not come in time
 * is noted, and that client waits for nothing more. */
#include "run.h"

#include "core/h1.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const struct h1_limits answer_limits = {1u << 20, 4096, 1u << 20};

static struct plan_conn *plan_of(const struct client *c) {
    return &c->run->plan->conns[c->conn];
}

static uint32_t global(const struct client *c, uint32_t k) {
    return plan_of(c)->first_exchange + k;
}

/* The exchange whose answer is read; NULL: all are answered. */
static struct plan_exchange *reading(const struct client *c) {
    return c->exchange < plan_of(c)->n_exchanges ? &c->run->plan->exchanges[global(c, c->exchange)] : NULL;
}

const char *client_trouble_text(enum client_trouble t) {
    static const char *const texts[N_TROUBLES] = {
        [TROUBLE_CONNECT] = "the proxy could not be reached",
        [TROUBLE_ENDED] = "the proxy ended the connection before the client was done with it",
        [TROUBLE_NO_ANSWER] = "an answer did not come, or not whole",
        [TROUBLE_BAD_ANSWER] = "bytes came that are no answer to a request",
        [TROUBLE_FD] = "no descriptor or no port was left for it",
    };
    return texts[t];
}

static void trouble(struct client *c, enum client_trouble t) {
    if (c->trouble == TROUBLE_NONE) c->trouble = (uint8_t)t;
}

uint64_t client_unread(const struct client *c) {
    int n = 0;

    return c->fd >= 0 && ioctl(c->fd, FIONREAD, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

/* ---- reading ---- */

static void begin_answer(struct client *c) {
    const struct plan_exchange *x = reading(c);

    c->read = c->head_len = 0;
    c->interims = c->awaited = 0;
    c->in_answer = false;
    c->seen = 0;
    c->take = x ? x->take : NO_LEN;
}

/* How many more bytes of this answer may be read: the captured client's number, counted from the end of the head,
 * since the proxy's head has another length. */
static uint64_t may_read(const struct client *c) {
    const struct plan_exchange *x = reading(c);
    uint64_t take = c->take;

    if (!x || take == NO_LEN) return NO_LEN;
    if (c->head_len && take > x->head_len) take = take - x->head_len + c->head_len;
    return take > c->read ? take - c->read : 0;
}

static void want_reading(struct client *c) {
    if (c->state != CLIENT_OPEN) return;
    if (may_read(c) == 0 || c->eof || c->reset)
        event_del(&c->event);
    else
        event_add(&c->event, NULL);
}

static void answer_done(struct client *c) {
    c->answers++;
    c->exchange++;
    begin_answer(c);
}

static void answer_head(struct client *c) {
    const struct h1_head *head = h1_head(c->h1);
    const struct plan_exchange *x = reading(c);
    uint64_t length = 0;
    enum body_framing framing;

    if (head->status < 200) {
        if (c->interims < UINT16_MAX) c->interims++;
        h1_begin_body(c->h1, FRAMING_NONE, 0);
        return;
    }
    framing = h1_response_framing(head, x && x->is_head, &length);
    c->status = head->status;
    c->head_len = c->read;
    c->in_answer = true;
    c->keeps_alive = !h1_response_closes(head, framing);
    h1_begin_body(c->h1, framing, length);
    if (framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0)) answer_done(c);
}

static void feed(struct client *c, const uint8_t *data, size_t len) {
    enum h1_step step = H1_MORE;

    while (len > 0 && c->trouble != TROUBLE_BAD_ANSWER) {
        size_t used = 0;
        if (c->exchange > c->sending || (c->exchange == c->sending && c->written == 0)) { /* nobody asked for it */
            trouble(c, TROUBLE_BAD_ANSWER);
            return;
        }
        step = h1_feed(c->h1, data, len, &used);
        data += used;
        len -= used;
        c->read += used;
        if (step == H1_HEAD)
            answer_head(c);
        else if (step == H1_DONE)
            answer_done(c);
        else if (step == H1_ERROR)
            trouble(c, TROUBLE_BAD_ANSWER);
        else if (step == H1_DATA && len == 0) {
            used = 0;
            if (h1_feed(c->h1, data, 0, &used) == H1_DONE) answer_done(c);
        }
    }
}

static void proxy_ended(struct client *c, bool reset) {
    if (reset)
        c->reset = true;
    else
        c->eof = true;
    observe_proxy_end(c, reset);
    if (!reset && c->in_answer && !h1_between(c->h1) && h1_eof(c->h1) == H1_DONE) answer_done(c);
    event_del(&c->event);
}

static void read_some(struct client *c) {
    for (int turn = 0; turn < 4; turn++) {
        uint64_t may = may_read(c);
        size_t len = may < RUN_BUFFER ? (size_t)may : RUN_BUFFER;
        ssize_t n;

        if (may == 0) break;
        n = recv(c->fd, c->run->buffer, len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n <= 0) {
            proxy_ended(c, n < 0);
            break;
        }
        c->run->bytes_in += (uint64_t)n;
        observe_received(c, c->run->buffer, (size_t)n, may == NO_LEN ? 0 : client_unread(c));
        feed(c, c->run->buffer, (size_t)n);
        if ((size_t)n < len) break;
    }
    want_reading(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;

    (void)fd;
    (void)what;
    run_enter(c->run);
    read_some(c);
    client_advance(c);
}

/* ---- steps ---- */

static void fail_to_open(struct client *c, enum client_trouble why, int error) {
    trouble(c, why);
    if (why == TROUBLE_CONNECT) {
        c->run->connect_error = error;
        if (c->run->open_peak == 0) run_stop(c->run, RUN_NO_PROXY);
    }
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->state = CLIENT_ENDED;
}

static void note_address(struct client *c) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    c->opened_wall_ns = SEC(t.tv_sec) + t.tv_nsec;
    if (getsockname(c->fd, (struct sockaddr *)&ss, &len)) return;
    if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
        c->local = (struct endpoint){.port = ntohs(in->sin_port), .family = ADDR_V4};
        memcpy(c->local.addr, &in->sin_addr, 4);
    } else if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
        c->local = (struct endpoint){.port = ntohs(in6->sin6_port), .family = ADDR_V6};
        memcpy(c->local.addr, &in6->sin6_addr, 16);
    }
}

static void connected(struct client *c) {
    c->state = CLIENT_OPEN;
    note_address(c);
    if (++c->run->open > c->run->open_peak) c->run->open_peak = c->run->open;
    observe_connected(c);
    event_assign(&c->event, c->run->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
    begin_answer(c);
    want_reading(c);
}

static void on_connected(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;
    int error = 0;
    socklen_t len = sizeof error;

    (void)what;
    run_enter(c->run);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
        fail_to_open(c, TROUBLE_CONNECT, error ? error : errno);
    else
        connected(c);
    client_advance(c);
}

static void open_client(struct client *c) {
    const struct sockaddr *to = (const struct sockaddr *)&c->run->options.proxy;
    int on = 1, window = (int)plan_of(c)->window;

    observe_open(c);
    c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fail_to_open(c, TROUBLE_FD, errno);
        return;
    }
    if (to->sa_family != AF_UNIX) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (window) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    c->h1 = h1_new(H1_RESPONSE, &answer_limits);
    if (!c->h1) abort();
    if (connect(c->fd, to, c->run->options.proxy_len) == 0) {
        connected(c);
    } else if (errno == EINPROGRESS) {
        c->state = CLIENT_CONNECTING;
        event_assign(&c->event, c->run->base, c->fd, EV_WRITE, on_connected, c);
        event_add(&c->event, NULL);
    } else {
        fail_to_open(c, errno == EADDRNOTAVAIL || errno == EAGAIN ? TROUBLE_FD : TROUBLE_CONNECT, errno);
    }
}

/* True when the time is over that this step may wait; the client then waits for nothing more. */
static bool is_impatient(struct client *c, int64_t patience, enum client_trouble why) {
    if (c->trouble != TROUBLE_NONE) return true;
    if (!c->wait_ns || c->run->schedule.now_ns - c->wait_ns < patience) return false;
    trouble(c, why);
    c->run->n_in_vain++;
    return true;
}

/* In order one waits after the other: where many have waited in vain, the rest of them does not take hours. */
static int64_t patience(const struct client *c) {
    const struct run *r = c->run;
    int64_t ns = r->options.live ? LIVE_PATIENCE_NS : PATIENCE_NS;

    return r->options.speed > 0 || r->n_in_vain < 3 ? ns : r->n_in_vain < 10 ? ns / 5 : ns / 25;
}

/* Request bytes up to `to`; true when they are written, or cannot be. */
static bool send_up_to(struct client *c, uint32_t k, uint64_t to) {
    struct plan_exchange *x = &c->run->plan->exchanges[global(c, k)];

    while (c->written < to) {
        ssize_t n = send(c->fd, x->request + c->written, to - c->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
        if (n < 0) {
            trouble(c, TROUBLE_ENDED);
            return true;
        }
        observe_sent(c, global(c, k), c->written, c->written + (uint64_t)n);
        c->written += (uint64_t)n;
        c->run->bytes_out += (uint64_t)n;
    }
    return true;
}

enum progress { WAITS, WAITS_FAST, DONE };

static enum progress do_send(struct client *c, const struct plan_step *s) {
    const struct plan_exchange *x = &c->run->plan->exchanges[s->exchange];
    uint32_t k = s->exchange - plan_of(c)->first_exchange;

    if (c->eof || c->reset) {
        trouble(c, TROUBLE_ENDED);
        return DONE;
    }
    if (c->trouble != TROUBLE_NONE && c->exchange < k) return DONE; /* it would wait behind what was not answered */
    if (k != c->sending) {
        c->sending = k;
        c->written = 0;
    }
    if (c->run->stub && c->written == 0) {
        stub_expect(c->run->stub, s->exchange, c->exchange < k);
        bool too_long = c->wait_ns && c->run->schedule.now_ns - c->wait_ns > EQUAL_NS;
        if (!stub_may_send(c->run->stub, s->exchange, too_long)) return WAITS;
    }
    if (!send_up_to(c, k, plan_sent_len(x, s->n)))
        return is_impatient(c, patience(c), TROUBLE_NO_ANSWER) ? DONE : WAITS_FAST;
    /* At full speed the order of requests is kept by letting each arrive before anything else happens. */
    if (c->run->stub && c->run->options.speed == 0 && c->written == x->request_len && c->exchange == k &&
        !stub_has(c->run->stub, s->exchange) && (!c->wait_ns || c->run->schedule.now_ns - c->wait_ns < ARRIVE_NS))
        return WAITS_FAST;
    return DONE;
}

/* Bytes of this answer that have come, read or not; how long there were no more. */
static int64_t look(struct client *c) {
    uint64_t seen = c->read + client_unread(c);

    if (seen > c->seen || !c->seen_ns) {
        c->seen = seen;
        c->seen_ns = c->run->schedule.now_ns;
    }
    return c->run->schedule.now_ns - c->seen_ns;
}

/* As many bytes of the answer came as the captured client had; framing that the proxy
 * made anew may be shorter, so that quiet after all but few of them will do. */
static enum progress wait_for_bytes(struct client *c, const struct plan_exchange *x, uint64_t had) {
    int64_t quiet = look(c);
    uint64_t body = had > x->head_len ? had - x->head_len : 0, slack = body / 16 + 64;

    if (c->eof || c->reset) return DONE;
    if (c->head_len && c->seen >= c->head_len + body) return DONE;
    if (!c->head_len && c->seen >= had + 512)
        return DONE; /* nothing may be read of it: the head's length is not known */
    if (quiet > QUIET_NS && c->seen + slack >= had) return DONE;
    if (quiet > QUIET_NS && c->seen < had && may_read(c) == 0) {
        c->take += had - c->seen; /* more than a socket holds: the captured client must have read that much */
        c->seen_ns = c->run->schedule.now_ns;
        read_some(c);
    }
    return is_impatient(c, patience(c), TROUBLE_NO_ANSWER) ? DONE : WAITS_FAST;
}

static enum progress do_wait_done(struct client *c, const struct plan_step *s) {
    uint32_t k = s->exchange - plan_of(c)->first_exchange;
    const struct plan_exchange *x = &c->run->plan->exchanges[s->exchange];

    if (c->exchange > k) return DONE;
    if (c->eof || c->reset) {
        trouble(c, TROUBLE_NO_ANSWER);
        return DONE;
    }
    if (c->exchange == k && may_read(c) == 0) {
        enum progress g = wait_for_bytes(c, x, x->done_len);
        if (g == DONE) observe_unread(c);
        return g;
    }
    return is_impatient(c, patience(c), TROUBLE_NO_ANSWER) ? DONE : WAITS;
}

static enum progress do_wait_for_some(struct client *c, const struct plan_step *s) {
    if (c->exchange != s->exchange - plan_of(c)->first_exchange) return DONE;
    return wait_for_bytes(c, &c->run->plan->exchanges[s->exchange], s->n);
}

static enum progress do_wait_interim(struct client *c, const struct plan_step *s) {
    uint32_t k = s->exchange - plan_of(c)->first_exchange;

    if (c->exchange > k || c->in_answer || c->eof || c->reset) return DONE;
    if (c->exchange == k && c->interims > c->awaited) {
        c->awaited++;
        return DONE;
    }
    return c->wait_ns && c->run->schedule.now_ns - c->wait_ns > SEC(1) ? DONE
                                                                       : WAITS; /* the proxy may keep it to itself */
}

static enum progress do_take(struct client *c, const struct plan_step *s) {
    if (c->exchange != s->exchange - plan_of(c)->first_exchange) return DONE;
    c->take = s->n;
    want_reading(c);
    if (c->run->options.speed > 0 || may_read(c) == 0) return DONE;
    return look(c) > QUIET_NS || (c->wait_ns && c->run->schedule.now_ns - c->wait_ns > QUIET_NS) ? DONE : WAITS_FAST;
}

static enum progress do_tail(struct client *c, const struct plan_step *s) {
    if (c->run->stub) stub_tail(c->run->stub, s->exchange, s->n);
    return DONE;
}

/* Its FIN, before what lies unread makes close() send a RST: unless the proxy's own FIN is there first. */
static void shut_client(struct client *c) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    shutdown(c->fd, SHUT_WR);
    c->shut = getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state != TCP_CLOSE;
    c->shut_late = !c->shut;
}

static void close_client(struct client *c, bool reset) {
    struct plan_conn *p = plan_of(c);

    event_del(&c->event);
    if (c->shut) shut_client(c);
    observe_close(c, reset && !c->shut_late);
    close(c->fd);
    c->fd = -1;
    c->state = CLIENT_ENDED;
    c->run->open--;
    h1_free(&c->h1);
    if (c->run->stub)
        for (uint32_t k = c->exchange; k < p->n_exchanges; k++) stub_client_ended(c->run->stub, global(c, k));
}

/* After a RST there is nothing left to close; a client whose connection had another end closes it now. */
static enum progress origin_ended(struct client *c) {
    if (plan_of(c)->origin_resets) close_client(c, false);
    return DONE;
}

/* The captured origin ended the connection. A proxy that has an answer whole may keep its client's. */
static enum progress do_origin_end(struct client *c, const struct plan_step *s) {
    const struct plan_exchange *x = reading(c);

    if (!plan_of(c)->n_exchanges) return DONE;
    if (x && x->n_parts && !c->eof && !c->reset && plan_of(c)->origin_resets && !c->wait_ns && c->seen == 0) {
        look(c); /* the RST would overtake what the proxy has not read yet */
        return WAITS_FAST;
    }
    if (c->run->stub) stub_end(c->run->stub, s->exchange);
    if (c->eof || c->reset) return origin_ended(c);
    if (c->exchange >= plan_of(c)->n_exchanges && c->keeps_alive) {
        c->was_kept = true;
        return origin_ended(c);
    }
    return is_impatient(c, patience(c), TROUBLE_NO_ANSWER) ? DONE : WAITS;
}

static enum progress do_end(struct client *c, bool reset) {
    const struct plan_conn *p = plan_of(c);
    struct linger abort_it = {1, 0};

    if (!reset && c->take != NO_LEN) { /* FIN is what close() sends when all was read */
        c->take = NO_LEN;
        read_some(c);
    }
    const struct plan_exchange *x = reading(c);
    if (x && x->n_parts && p->had > 0 && p->record->life.close_by == BY_LOCAL) {
        enum progress g = wait_for_bytes(c, x, p->had);
        if (g != DONE) return g;
    }
    if (!reset && client_unread(c)) {
        read_some(c);
        if (client_unread(c) && !is_impatient(c, patience(c), TROUBLE_NO_ANSWER)) return WAITS_FAST;
    }
    c->shut = plan_of(c)->abandons;
    if (reset && client_unread(c) == 0 && !c->shut)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    close_client(c, reset);
    return DONE;
}

static enum progress do_step(struct client *c, const struct plan_step *s) {
    if (s->kind == STEP_OPEN) {
        if (c->state == CLIENT_NEW) open_client(c);
        if (c->state != CLIENT_CONNECTING) return DONE;
        if (!is_impatient(c, PATIENCE_NS, TROUBLE_CONNECT)) return WAITS;
        event_del(&c->event);
        fail_to_open(c, TROUBLE_CONNECT, ETIMEDOUT);
        return DONE;
    }
    if (c->state != CLIENT_OPEN) return DONE;
    switch ((enum plan_step_kind)s->kind) {
    case STEP_OPEN:
        break;
    case STEP_SEND:
        return do_send(c, s);
    case STEP_INTERIM:
        return do_wait_interim(c, s);
    case STEP_DONE:
        return do_wait_done(c, s);
    case STEP_HAVE:
        return do_wait_for_some(c, s);
    case STEP_TAKE:
        return do_take(c, s);
    case STEP_TAIL:
        return do_tail(c, s);
    case STEP_ORIGIN_END:
        return do_origin_end(c, s);
    case STEP_FIN:
        return do_end(c, false);
    case STEP_RESET:
    case STEP_ABANDON:
        return do_end(c, true);
    }
    return DONE;
}

void client_advance(struct client *c) {
    const struct plan_conn *p = plan_of(c);

    while (c->due > 0) {
        enum progress g = do_step(c, &c->run->plan->steps[p->first_step + c->step]);
        if (g != DONE) {
            run_wait(c->run, c, g == WAITS_FAST);
            return;
        }
        run_wait_over(c->run, c);
        c->wait_ns = 0;
        c->seen_ns = 0;
        c->due--;
        c->step++;
        run_step_done(c->run);
    }
    run_wait_over(c->run, c);
}

void client_close_all(struct run *r) {
    for (uint32_t i = 0; i < r->plan->n_conns; i++) {
        struct client *c = &r->clients[i];
        if (c->state == CLIENT_CONNECTING || c->state == CLIENT_OPEN) event_del(&c->event);
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        h1_free(&c->h1);
    }
}
