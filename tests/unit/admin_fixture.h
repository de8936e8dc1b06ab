/* The admin endpoint alone, on a loop of its own, over a made-up pool and a real
 * ledger; and a client that shares the loop, so that a test decides what happens
 * between two turns of it. The functions of core/pool.h and core/finding.h that the
 * endpoint calls are defined here: pool and findings are whatever the test says. */
#ifndef ADMIN_FIXTURE_H
#define ADMIN_FIXTURE_H

#define _GNU_SOURCE 1
#include "admin/admin.h"
#include "admin/answers.h"
#include "conf.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* --- the made-up pool ------------------------------------------------------ */

struct pool {
    struct pool_counts counts;
    struct pool_peaks peaks;
    uint64_t first, last; /* buckets exist with these sequence numbers; 0, 0: none */
};

static const struct connect_key fake_key = {.proxy = "", .scheme = "http", .addr = "api.example:8080"};

void pool_counts(const struct pool *p, struct pool_counts *out) {
    *out = p->counts;
}
void pool_peaks(const struct pool *p, struct pool_peaks *out) {
    *out = p->peaks;
}
bool pool_next_bucket(const struct pool *p, uint64_t after, struct pool_row *out) {
    uint64_t seq = after + 1 > p->first ? after + 1 : p->first;
    if (p->last == 0 || seq > p->last) return false;
    *out = (struct pool_row){.key = fake_key,
                             .now = {.idle = 2, .active = 1, .dialing = 1, .waiting = 3},
                             .peak = {.open = 5, .idle = 4},
                             .dials = 10,
                             .gets = 40,
                             .reuses = 30,
                             .oldest_wait = seq % 2 ? NEVER : SEC(100) - MSEC(1500),
                             .seq = seq};
    return true;
}

/* --- made-up findings ------------------------------------------------------- */

struct findings {
    struct finding list[400]; /* in the order in which findings_get gives them */
    size_t n;
    uint64_t held;
    unsigned ticks;
    struct origin_facts origin; /* of fake_key */
};

const struct finding *findings_get(struct findings *f, size_t i) {
    return i < f->n ? &f->list[i] : NULL;
}
const struct finding *findings_find(const struct findings *f, uint64_t id) {
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].id == id) return &f->list[i];
    return NULL;
}
unsigned findings_open_of(const struct findings *f, enum finding_kind kind) {
    unsigned n = 0;
    for (size_t i = 0; i < f->n; i++) n += !f->list[i].resolved_ns && f->list[i].kind == kind;
    return n;
}
unsigned findings_open(const struct findings *f) {
    unsigned n = 0;
    for (unsigned k = 0; k < N_FINDINGS; k++) n += findings_open_of(f, (enum finding_kind)k);
    return n;
}
uint64_t findings_held(const struct findings *f) {
    return f->held;
}
void findings_tick(struct findings *f, int64_t now) {
    CHECK(now >= 0);
    f->ticks++;
}
bool findings_origin(const struct findings *f, const char *key, struct origin_facts *out) {
    *out = f->origin;
    return strcmp(key, fake_key.addr) == 0;
}

/* --- a made-up what-if, which ends when the test says so ---------------------- */

static struct {
    struct sweep sweep;
    bool advise, may_end;
    unsigned *running;
} fake_whatif;

static enum web_more fake_whatif_more(void *state, struct json_out *out) {
    (void)state;
    if (!fake_whatif.may_end) return WEB_MORE;
    jo_put(out, "{}\n", 3);
    return WEB_LAST;
}
static void fake_whatif_end(void *state) {
    (void)state;
    --*fake_whatif.running;
}
struct list_stream whatif_stream(const struct admin_env *env, const struct sweep *sweep, bool advise,
                                 unsigned *running) {
    (void)env;
    fake_whatif.sweep = *sweep;
    fake_whatif.advise = advise;
    fake_whatif.running = running;
    ++*running;
    return (struct list_stream){fake_whatif_more, fake_whatif_end, NULL};
}

/* --- the endpoint and its loop ---------------------------------------------- */

#define TO_WALL (1767323045678901000 - SEC(100)) /* the clock's 100 s are 2026-01-02T03:04:05.678901Z */

struct fixture {
    struct event_base *base;
    struct admin *admin;
    struct pool pool;
    struct ledger *ledger;
    struct findings findings;
    struct conf *conf;
    struct event *wake; /* what the endpoint watches with */
    mono_ns now;
    bool draining;
    unsigned closed_idle, reset_peaks;
    struct admin_gauges gauges;
    uint16_t port;
};

static mono_ns fx_now(void *arg) {
    return ((struct fixture *)arg)->now;
}
static bool fx_is_draining(void *arg) {
    return ((struct fixture *)arg)->draining;
}
static void fx_close_idle(void *arg) {
    struct fixture *f = arg;
    f->closed_idle++;
    f->pool.counts.idle = 0;
}
static void fx_reset_peaks(void *arg) {
    struct fixture *f = arg;
    f->reset_peaks++;
    f->pool.peaks = (struct pool_peaks){3, 2};
}
static void fx_gauges(void *arg, struct admin_gauges *out) {
    *out = ((struct fixture *)arg)->gauges;
}

static void fx_watch(void *arg, struct event *wake) {
    ((struct fixture *)arg)->wake = wake;
}

static void fx_listen(struct fixture *f) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 128) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    f->port = ntohs(at.sin_port);
    CHECK(admin_listen_fd(f->admin, fd));
}

static struct fixture *fx_new(size_t keep, const struct admin_limits *limits) {
    struct fixture *f = calloc(1, sizeof *f);
    f->base = event_base_new();
    f->ledger = ledger_new(OBSERVER_DAEMON, keep);
    f->conf = conf_default();
    f->now = SEC(100);
    struct admin_env env = {.pool = &f->pool,
                            .ledger = f->ledger,
                            .findings = &f->findings,
                            .conf = f->conf,
                            .proxy_listen = "127.0.0.1:41234",
                            .admin_listen = "127.0.0.1:41235, unix:/run/a.sock",
                            .to_wall_ns = TO_WALL,
                            .started = SEC(88) - MSEC(300),
                            .arg = f,
                            .now = fx_now,
                            .is_draining = fx_is_draining,
                            .close_idle = fx_close_idle,
                            .reset_peaks = fx_reset_peaks,
                            .gauges = fx_gauges,
                            .watch = fx_watch};
    if (limits) env.limits = *limits;
    f->admin = admin_new(f->base, &env);
    fx_listen(f);
    return f;
}

static void fx_free(struct fixture *f) {
    admin_free(&f->admin);
    CHECK(f->wake == NULL);
    event_base_loop(f->base, EVLOOP_NONBLOCK); /* what libevent frees later */
    CHECK_EQ(event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED), 0);
    ledger_free(&f->ledger);
    conf_free(&f->conf);
    event_base_free(f->base);
    free(f);
}

/* NONBLOCK alone would go on while anything is active. */
static void turn(struct fixture *f) {
    event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}
static __attribute__((unused)) void turns(struct fixture *f, int n) {
    while (n-- > 0) turn(f);
}

/* --- the client -------------------------------------------------------------- */

struct client {
    int fd;
    char *data; /* what came and was not taken, NUL-terminated */
    size_t len;
    bool eof, reset;
};

struct answer {
    int status;
    char *head, *body; /* NUL-terminated */
    size_t body_len;
    bool complete; /* by its framing */
};

static struct client dial(struct fixture *f, int rcvbuf) {
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(f->port)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .data = calloc(1, 1)};
    if (rcvbuf) setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    CHECK(connect(c.fd, (struct sockaddr *)&at, sizeof at) == 0);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    return c;
}

static void hang_up(struct client *c) {
    close(c->fd);
    free(c->data);
}

static void say(struct client *c, const char *text) {
    size_t len = strlen(text);
    CHECK_EQ(send(c->fd, text, len, MSG_NOSIGNAL), len);
}

/* Reads at most `most` bytes of what has arrived. */
static void hear(struct client *c, size_t most) {
    char buf[65536];
    ssize_t n = recv(c->fd, buf, most < sizeof buf ? most : sizeof buf, 0);
    if (n < 0) {
        c->reset = c->reset || errno != EAGAIN;
        return;
    }
    if (n == 0) c->eof = true;
    c->data = realloc(c->data, c->len + (size_t)n + 1);
    memcpy(c->data + c->len, buf, (size_t)n);
    c->len += (size_t)n;
    c->data[c->len] = '\0';
}

/* The body of a chunked answer as far as it came; NULL if its framing is broken. */
static char *unchunk(const char *s, const char *end, size_t *len, const char **rest) {
    char *out = calloc(1, (size_t)(end - s) + 1);
    *len = 0;
    *rest = NULL;
    for (;;) {
        char *after;
        unsigned long n = strtoul(s, &after, 16);
        if (after == s || after + 2 > end) return out;
        if (memcmp(after, "\r\n", 2) != 0) break;
        s = after + 2;
        if ((size_t)(end - s) < n + 2) return out;
        if (memcmp(s + n, "\r\n", 2) != 0) break;
        memcpy(out + *len, s, n);
        *len += n;
        s += n + 2;
        if (n == 0) {
            *rest = s;
            return out;
        }
    }
    free(out);
    return NULL;
}

/* Takes one answer out of what came; `bare` for one to a HEAD request. */
static struct answer take(struct client *c, bool bare) {
    struct answer a = {0};
    const char *blank = strstr(c->data, "\r\n\r\n"), *end = c->data + c->len, *rest = NULL;
    if (!blank) return a;
    const char *body = blank + 4;
    a.head = strndup(c->data, (size_t)(body - c->data));
    a.status = atoi(a.head + 9);
    const char *length = strstr(a.head, "Content-Length: ");
    if (bare) {
        a.body = calloc(1, 1);
        rest = body;
    } else if (length) {
        size_t n = strtoul(length + 16, NULL, 10), here = (size_t)(end - body);
        a.body_len = n < here ? n : here;
        a.body = strndup(body, a.body_len);
        rest = here >= n ? body + n : NULL;
    } else if (strstr(a.head, "Transfer-Encoding: chunked")) {
        a.body = unchunk(body, end, &a.body_len, &rest);
        CHECK(a.body != NULL);
    } else {
        a.body_len = (size_t)(end - body);
        a.body = strndup(body, a.body_len);
        rest = c->eof ? end : NULL;
    }
    a.complete = rest != NULL;
    if (rest) {
        c->len = (size_t)(end - rest);
        memmove(c->data, rest, c->len + 1);
    }
    return a;
}

static void answer_free(struct answer *a) {
    free(a->head);
    free(a->body);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Turns the loop until an answer is complete, or the connection ended, or a minute
 * has passed (then something is broken: nothing here waits for time to pass). */
static struct answer listen_to(struct fixture *f, struct client *c, bool bare) {
    double until = seconds() + 60;
    struct answer a = take(c, bare);
    while (!a.complete && !c->eof && !c->reset && seconds() < until) {
        answer_free(&a);
        turn(f);
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        poll(&p, 1, 1);
        hear(c, SIZE_MAX);
        a = take(c, bare);
    }
    if (!a.head) a = (struct answer){.head = calloc(1, 1), .body = calloc(1, 1)};
    return a;
}

/* True when the connection ends, without a reset, within a minute. */
static __attribute__((unused)) bool ends(struct fixture *f, struct client *c) {
    double until = seconds() + 60;
    while (!c->eof && !c->reset && seconds() < until) {
        turn(f);
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        poll(&p, 1, 1);
        hear(c, SIZE_MAX);
    }
    return c->eof && !c->reset;
}

/* One request on a connection of its own, as its bytes. */
static struct answer ask_raw(struct fixture *f, const char *request) {
    struct client c = dial(f, 0);
    say(&c, request);
    struct answer a = listen_to(f, &c, strncmp(request, "HEAD ", 5) == 0);
    hang_up(&c);
    return a;
}

static struct answer ask(struct fixture *f, const char *method, const char *target, const char *fields) {
    char request[8192];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost:%u\r\n%s\r\n", method, target, f->port,
             fields);
    return ask_raw(f, request);
}

/* The status alone. */
static __attribute__((unused)) int status_of(struct fixture *f, const char *method, const char *target,
                                             const char *fields) {
    struct answer a = ask(f, method, target, fields);
    int status = a.complete ? a.status : -1;
    answer_free(&a);
    return status;
}

/* A GET's JSON; checks the status. The caller's reference. */
static __attribute__((unused)) json_t *get_json(struct fixture *f, const char *target, int status) {
    json_error_t err;
    struct answer a = ask(f, "GET", target, "");
    CHECK(a.complete);
    CHECK_EQ(a.status, status);
    json_t *j = json_loads(a.body, 0, &err);
    CHECK(j != NULL);
    answer_free(&a);
    return j;
}

/* A member by a path such as "pool.open"; NULL if it is not there. */
static __attribute__((unused)) json_t *at(json_t *j, const char *path) {
    char name[64];
    while (j && *path) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        j = json_object_get(j, name);
        path += n + (path[n] == '.');
    }
    return j;
}
#define CHECK_INT(j, path, want)                                                                                       \
    do {                                                                                                               \
        CHECK(json_is_integer(at(j, path)));                                                                           \
        CHECK_EQ(json_integer_value(at(j, path)), want);                                                               \
    } while (0)
#define CHECK_NULL(j, path)       CHECK(json_is_null(at(j, path)))
#define CHECK_TEXT(j, path, want) CHECK_STR(json_string_value(at(j, path)), want)

/* --- lives ------------------------------------------------------------------- */

static void happen(struct fixture *f, struct lifecycle *l, enum conn_event_kind kind, uint64_t value, unsigned code) {
    ledger_apply(f->ledger, l,
                 &(struct conn_event){.at_ns = f->now, .value = value, .code = (uint16_t)code, .kind = (uint8_t)kind});
}

/* An upstream connection that stands; a downstream one that was accepted. */
static __attribute__((unused)) struct lifecycle *open_life(struct fixture *f, enum side side, conn_id id) {
    f->now += MSEC(1);
    struct lifecycle *l = ledger_open(f->ledger, side, id, f->now);
    l->known = KNOW_ALL;
    if (side == SIDE_UPSTREAM) {
        ledger_set_key(f->ledger, l, &fake_key);
        happen(f, l, EV_DIALING, 0, 0);
        happen(f, l, EV_DIALED, 0, 0);
    } else {
        happen(f, l, EV_ACCEPTED, 0, 0);
    }
    return l;
}

static __attribute__((unused)) void close_life(struct fixture *f, struct lifecycle *l, enum close_reason why,
                                               uint64_t unread) {
    f->now += MSEC(1);
    happen(f, l, EV_ENDED, unread, why);
}

#endif
