#define _GNU_SOURCE /* accept4 */
#include "listener.h"

#include "client_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS           64     /* before others get their turn */
#define OWN_DESCRIPTORS   200    /* listeners, admin clients, pipes, files, name servers */
#define PAUSE_WITHOUT_FDS 100000 /* microseconds */

struct listener {
    struct server *s;
    struct event *event;
    struct event *resume;
    int fd;
    struct endpoint local; /* every client's, unless it is a wildcard */
    bool wildcard;
    char *unlink_path;
    struct log_limit said_error;
};

static int open_unix(const char *path, char *err, size_t err_size) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un.sun_path) {
        snprintf(err, err_size, "unix:%s: the path is longer than %zu bytes", path, sizeof un.sun_path - 1);
        return -1;
    }
    strcpy(un.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) goto fail;
    if (bind(fd, (struct sockaddr *)&un, sizeof un) != 0) {
        if (errno != EADDRINUSE) goto fail;
        /* A socket that nobody serves is left over from a run that was killed. */
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISSOCK(st.st_mode) || connect(fd, (struct sockaddr *)&un, sizeof un) == 0 ||
            errno != ECONNREFUSED) {
            errno = EADDRINUSE;
            goto fail;
        }
        unlink(path);
        close(fd);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) != 0) goto fail;
    }
    if (listen(fd, SOMAXCONN) == 0) return fd;
fail:
    snprintf(err, err_size, "cannot listen on unix:%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

int listener_open(const struct conf_listen *where, char *err, size_t err_size) {
    if (where->path) return open_unix(where->path, err, err_size);
    struct sockaddr_storage ss = {0};
    socklen_t len;
    int one = 1;
    const struct endpoint *e = &where->addr;
    if (e->family == ADDR_V4) {
        struct sockaddr_in *in = (struct sockaddr_in *)&ss;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        memcpy(&in->sin_addr, e->addr, 4);
        len = sizeof *in;
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(e->port);
        memcpy(&in6->sin6_addr, e->addr, 16);
        len = sizeof *in6;
    }
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit both */
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    }
    if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    snprintf(err, err_size, "cannot listen on %s: %s", where->text, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

void listener_text(int fd, char *buf, size_t size) {
    struct sockaddr_un un = {0};
    socklen_t len = sizeof un;
    struct endpoint e;
    char text[ENDPOINT_TEXT_MAX];
    endpoint_local(fd, &e);
    if (e.family == ADDR_UNIX && getsockname(fd, (struct sockaddr *)&un, &len) == 0)
        snprintf(buf, size, "unix:%s", un.sun_path);
    else
        snprintf(buf, size, "%s", endpoint_text(&e, text));
}

unsigned listener_max_clients(const struct conf *conf) {
    struct rlimit r;
    unsigned most = (unsigned)conf->proxy.max_clients;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return most;
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit raised = {r.rlim_max, r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) r = raised;
    }
    rlim_t room = r.rlim_cur > 2 * OWN_DESCRIPTORS ? (r.rlim_cur - OWN_DESCRIPTORS) / 2 : r.rlim_cur / 4;
    return room < most ? (unsigned)room : most;
}

static void resume(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    event_add(((struct listener *)arg)->event, NULL);
}

/* Those in the backlog wait a little, instead of the loop spinning over them. */
static void pause_accepting(struct listener *l) {
    struct timeval tv = {0, PAUSE_WITHOUT_FDS};
    event_del(l->event);
    event_add(l->resume, &tv);
}

static void out_of_descriptors(struct listener *l) {
    log_limited(&l->s->said_fds, l->s->now, LEVEL_ERROR, "proxy",
                "out of descriptors: new clients wait; raise the limit (ulimit -n, LimitNOFILE=)");
    pause_accepting(l);
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *ss) {
    struct server *s = l->s;
    struct endpoint peer, own, *local = &l->local;
    endpoint_of(ss, &peer);
    if (peer.family == ADDR_NONE) peer.family = ADDR_UNIX; /* unnamed */
    if (l->wildcard) {
        endpoint_local(fd, &own);
        local = &own;
    }
    if (s->gauge.clients_open < s->max_clients) {
        client_accept(s, fd, local, &peer);
        return;
    }
    log_limited(&s->said_clients, s->now, LEVEL_WARN, "proxy",
                "%u clients are connected, the most that proxy.max_clients and the descriptor limit allow; "
                "more are answered 503",
                s->gauge.clients_open);
    client_reject(s, fd, local, &peer, "too many clients are connected");
}

static void on_acceptable(evutil_socket_t lfd, short what, void *arg) {
    (void)what;
    struct listener *l = arg;
    if (l->s->ledger_full) { /* the log says so, about the file */
        pause_accepting(l);
        return;
    }
    server_enter(l->s);
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof ss;
        int fd = accept4(lfd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(l, fd, &ss);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            out_of_descriptors(l);
        else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            log_limited(&l->said_error, l->s->now, LEVEL_ERROR, "proxy", "accept: %s", strerror(errno));
        if (errno != ECONNABORTED) break;
    }
    server_leave(l->s);
}

struct listener *listener_new(struct server *s, int fd, const char *unlink_path) {
    static const uint8_t any[16];
    struct listener *l = calloc(1, sizeof *l);
    if (!l) abort();
    l->s = s;
    l->fd = fd;
    l->unlink_path = unlink_path ? strdup(unlink_path) : NULL;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    endpoint_local(fd, &l->local);
    l->wildcard = l->local.family != ADDR_UNIX && memcmp(l->local.addr, any, 16) == 0;
    if (l->local.family != ADDR_UNIX) server_add_own(s, &l->local);
    l->event = event_new(s->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    l->resume = evtimer_new(s->base, resume, l);
    if (!l->event || !l->resume) abort();
    event_add(l->event, NULL);
    return l;
}

void listener_free(struct listener **lp) {
    struct listener *l = *lp;
    *lp = NULL;
    if (!l) return;
    event_free(l->event);
    event_free(l->resume);
    close(l->fd);
    if (l->unlink_path) unlink(l->unlink_path);
    free(l->unlink_path);
    free(l);
}
