#define _GNU_SOURCE /* splice */
#include "tunnel.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS        8  /* pieces moved before others get their turn */
#define PROBE_SECONDS 15 /* of silence, and the kernel asks an end whose FIN came whether it is still there */

/* One direction. Bytes that its receiver's socket has not taken are in `held` or
 * in the pipe, first those in `held`; while there are any, nothing is read. */
struct way {
    struct tunnel *t;
    struct stream *from, *to;
    struct lifecycle *from_life, *to_life;
    struct bytes held;
    struct splice_pipe *pipe;
    struct event readable, writable;
    uint64_t *counter; /* of the server's gauges */
    size_t ours;       /* bytes at the front that are the proxy's own answer, not the tunnel's */
    bool reading, writing;
    bool ended; /* the sender's FIN came */
    bool shut;  /* and was passed on */
};

struct tunnel {
    TAILQ_ENTRY(tunnel) link;
    struct server *s;
    enum tunnel_kind kind;
    struct client_conn *client;
    struct upstream_conn *upstream;
    struct way up, down; /* client to origin, origin to client */
    struct buried buried;
    bool over;
};

static TAILQ_HEAD(, tunnel) tunnels = TAILQ_HEAD_INITIALIZER(tunnels);

static void tunnel_free(struct server *s, void *object) {
    struct tunnel *t = object;
    struct way *ways[] = {&t->up, &t->down};
    for (int i = 0; i < 2; i++) {
        bytes_free(&ways[i]->held);
        server_pipe_back(s, &ways[i]->pipe);
    }
    free(t);
}

static bool holds(const struct way *w) {
    return bytes_left(&w->held) || (w->pipe && w->pipe->held);
}

static void set(struct event *ev, bool *is, bool want) {
    if (*is == want) return;
    *is = want;
    if (want)
        event_add(ev, NULL);
    else
        event_del(ev);
}

static void tunnel_end(struct tunnel *t, enum close_reason why) {
    struct server *s = t->s;
    if (t->over) return;
    t->over = true;
    struct way *ways[] = {&t->up, &t->down};
    for (int i = 0; i < 2; i++) {
        set(&ways[i]->readable, &ways[i]->reading, false);
        set(&ways[i]->writable, &ways[i]->writing, false);
    }
    upstream_close(t->upstream, why, PHASE_NONE);
    client_close(t->client, why, PHASE_NONE, false);
    s->gauge.tunnels_open--;
    TAILQ_REMOVE(&tunnels, t, link);
    server_bury(s, &t->buried, tunnel_free, t);
}

static enum close_reason reason(const struct tunnel *t) {
    return t->kind == TUNNEL_CONNECT ? REASON_TUNNEL : REASON_UPGRADED;
}

static struct way *other(struct way *w) {
    return w == &w->t->up ? &w->t->down : &w->t->up;
}

/* A sender's FIN was read, so its socket is readable for ever: told of is what changes, which is a RST, or that the
 * kernel's probes were not answered. Where its socket waits to be written to, that tells it too. */
static void watch_ended(struct way *w, bool written_to) {
    if (w->ended) set(&w->readable, &w->reading, !written_to);
}

/* The events that its state asks for; passes a FIN on; ends the tunnel when both are through. */
static void settle(struct way *w) {
    struct tunnel *t = w->t;
    bool held = holds(w);
    if (held) watch_ended(other(w), true); /* edges and levels of one socket do not mix */
    set(&w->writable, &w->writing, held);
    if (!held) watch_ended(other(w), false);
    if (!w->ended) set(&w->readable, &w->reading, !held);
    if (w->reading && !w->ended && stream_pending(w->from))
        event_active(&w->readable, EV_READ, 0); /* TLS: no socket event comes */
    if (held || !w->ended) return;
    if (t->kind == TUNNEL_UPGRADE) {
        tunnel_end(t, reason(t));
        return;
    }
    if (!w->shut) {
        w->shut = true;
        stream_shut(w->to);
        server_event(t->s, w->to_life, EV_FIN_SENT, 0);
    }
    if (t->up.shut && t->down.shut) tunnel_end(t, reason(t));
}

static void passed(struct way *w, size_t n) {
    if (!n) return;
    size_t ours = n < w->ours ? n : w->ours;
    w->ours -= ours;
    *w->counter += n - ours;
    server_bytes_out(w->t->s, w->to_life, w->to, n);
}

/* One end broke; a RST of its is passed on as a RST to the other. */
static void broken(struct way *w, const struct stream *at, struct lifecycle *life, int error) {
    struct tunnel *t = w->t;
    if (error == ECONNRESET || at->reset) {
        bool from_client = at == &t->client->stream;
        server_event(t->s, life, EV_RST_RECEIVED, 0);
        stream_reset_at_close(from_client ? &t->upstream->stream : &t->client->stream);
        server_event(t->s, from_client ? t->upstream->life : t->client->life, EV_RST_SENT, 0);
    }
    tunnel_end(t, reason(t));
}

/* What is held goes on. False if the tunnel ended. */
static bool flush(struct way *w) {
    if (bytes_left(&w->held)) {
        struct iovec iov = {w->held.p + w->held.off, bytes_left(&w->held)};
        size_t put;
        enum io_result res = stream_write(w->to, &iov, 1, &put);
        if (res != IO_OK && res != IO_AGAIN) {
            broken(w, w->to, w->to_life, 0);
            return false;
        }
        w->held.off += put;
        passed(w, put);
        if (bytes_left(&w->held)) return true;
        bytes_free(&w->held);
    }
    if (w->pipe && w->pipe->held) {
        ssize_t n = splice(w->pipe->rd, NULL, w->to->fd, NULL, w->pipe->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            broken(w, w->to, w->to_life, errno);
            return false;
        }
        if (n > 0) {
            w->pipe->held -= (size_t)n;
            passed(w, (size_t)n);
        }
    }
    if (w->pipe && !w->pipe->held) server_pipe_back(w->t->s, &w->pipe);
    return true;
}

static void on_lost(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct way *w = arg;
    int error = 0;
    socklen_t len = sizeof error;
    server_enter(w->t->s);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error) {
        w->from->error = error;
        broken(w, w->from, w->from_life, error == EPIPE ? ECONNRESET : error); /* EPIPE: a RST behind the FIN */
    }
    server_leave(w->t->s);
}

/* From now on only a RST tells that the sender does not listen any more either; probes call for one soon. */
static void begin_watch(struct way *w) {
    struct tunnel *t = w->t;
    int secs = PROBE_SECONDS;
    set(&w->readable, &w->reading, false);
    event_assign(&w->readable, t->s->base, w->from->fd, EV_READ | EV_ET | EV_PERSIST, on_lost, w);
    setsockopt(w->from->fd, IPPROTO_TCP, TCP_KEEPIDLE, &secs, sizeof secs);
    setsockopt(w->from->fd, IPPROTO_TCP, TCP_KEEPINTVL, &secs, sizeof secs);
    w->ended = true;
    watch_ended(w, other(w)->writing);
}

static void came_to_end(struct way *w, enum io_result how) {
    if (how == IO_EOF || how == IO_CLOSE_NOTIFY) {
        server_event(w->t->s, w->from_life, how == IO_EOF ? EV_FIN_RECEIVED : EV_CLOSE_NOTIFY, 0);
        begin_watch(w);
        settle(w);
        return;
    }
    broken(w, w->from, w->from_life, how == IO_RESET ? ECONNRESET : w->from->error);
}

/* One piece from sender to receiver. */
static enum io_result move(struct way *w, size_t *moved, size_t *asked) {
    struct server *s = w->t->s;
    *moved = 0;
    bool plain = !w->from->ssl && !w->to->ssl;
    if (plain && (w->pipe || (w->pipe = server_pipe(s)))) {
        *asked = s->conf->pool.copy_buffer_size < w->pipe->size ? s->conf->pool.copy_buffer_size : w->pipe->size;
        ssize_t n = splice(w->from->fd, NULL, w->pipe->wr, NULL, *asked, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) return IO_AGAIN;
            w->from->error = errno;
            return errno == ECONNRESET ? IO_RESET : IO_ERROR;
        }
        if (n == 0) return IO_EOF;
        w->pipe->held += (size_t)n;
        *moved = (size_t)n;
        return IO_OK;
    }
    *asked = s->conf->pool.copy_buffer_size;
    enum io_result res = stream_read(w->from, s->scratch, *asked, moved);
    if (res == IO_OK) bytes_add(&w->held, s->scratch, *moved);
    return res;
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct way *w = arg;
    struct tunnel *t = w->t;
    struct server *s = t->s;
    server_enter(s);
    for (int i = 0; i < ROUNDS && !t->over; i++) {
        size_t moved, asked;
        enum io_result res = move(w, &moved, &asked);
        if (res == IO_AGAIN) break;
        if (res != IO_OK) {
            came_to_end(w, res);
            break;
        }
        server_bytes_in(s, w->from_life, w->from, moved);
        if (!flush(w) || holds(w) || (moved < asked && !stream_pending(w->from))) break;
    }
    if (!t->over) {
        if (w->pipe && !w->pipe->held) server_pipe_back(s, &w->pipe);
        settle(w);
    }
    server_leave(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct way *w = arg;
    server_enter(w->t->s);
    if (flush(w)) settle(w);
    server_leave(w->t->s);
}

static void way_init(struct way *w, struct tunnel *t, struct stream *from, struct lifecycle *from_life,
                     struct stream *to, struct lifecycle *to_life, uint64_t *counter) {
    w->t = t;
    w->from = from;
    w->from_life = from_life;
    w->to = to;
    w->to_life = to_life;
    w->counter = counter;
    event_assign(&w->readable, t->s->base, from->fd, EV_READ | EV_PERSIST, on_readable, w);
    event_assign(&w->writable, t->s->base, to->fd, EV_WRITE | EV_PERSIST, on_writable, w);
}

void tunnel_start(struct server *s, enum tunnel_kind kind, struct client_conn *c, struct upstream_conn *u,
                  const void *to_client, size_t to_client_len, size_t ours, const void *to_origin,
                  size_t to_origin_len) {
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->s = s;
    t->kind = kind;
    t->client = c;
    t->upstream = u;
    bytes_add(&t->down.held, to_client, to_client_len);
    t->down.ours = ours;
    bytes_add(&t->up.held, to_origin, to_origin_len);
    client_to_opaque(c);
    upstream_read_off(u);
    way_init(&t->up, t, &c->stream, c->life, &u->stream, u->life, &s->gauge.tunnel_bytes_out);
    way_init(&t->down, t, &u->stream, u->life, &c->stream, c->life, &s->gauge.tunnel_bytes_in);
    TAILQ_INSERT_TAIL(&tunnels, t, link);
    s->gauge.tunnels_open++;
    s->gauge.tunnels_total++;
    if (!flush(&t->down)) return;
    settle(&t->down);
    if (!t->over && flush(&t->up)) settle(&t->up);
}

void tunnel_shutdown_all(struct server *s) {
    (void)s;
    for (struct tunnel *t; (t = TAILQ_FIRST(&tunnels));) tunnel_end(t, REASON_SHUTDOWN);
}
