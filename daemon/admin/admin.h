/* The admin endpoint: what the daemon knows, as JSON over HTTP, on the loop that
 * carries the traffic.
 *
 *     struct admin *a = admin_new(base, &env);
 *     admin_listen_fd(a, fd);
 *
 * It reads the pool and the ledger and changes nothing but by the two POSTs. An
 * answer that walks connections is made in slices, one a turn of the loop and
 * none while its reader lags: traffic waits for no reader, and memory is bounded
 * by admin_limits whatever a reader does. */
#ifndef CONNLEAK_ADMIN_H
#define CONNLEAK_ADMIN_H

#include "core/clock.h"
#include "core/finding.h"
#include "core/ledger.h"
#include "core/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct event;
struct event_base;
struct admin;

/* Numbers that neither the pool nor the ledger has. */
struct admin_gauges {
    uint64_t rejected;                          /* connections turned away, and among those accepted */
    uint64_t tunnels_open, tunnels_total;       /* CONNECT and Upgrade */
    uint64_t tunnel_bytes_in, tunnel_bytes_out; /* from and to the origins */
};

/* What a reader may cost; 0 stands for the default. */
struct admin_limits {
    unsigned max_conns;      /* 64: connections; beyond it, those without a complete request give way, then 503 */
    uint32_t max_head_bytes; /* 16 KiB: 431 */
    uint32_t max_body_bytes; /* 4 KiB: 413; bodies are read and not looked at */
    mono_ns head_timeout;    /* 5 s from the first byte of a request to its last: 408 */
    mono_ns idle_timeout;    /* 60 s between requests */
    mono_ns stall_timeout;   /* 30 s in which a reader takes no byte of its answer */
    unsigned max_listeners;  /* 16: connections that listen to GET /events; then 503 */
};

/* Where the endpoint gets everything from. All pointers are borrowed and live
 * longer than the endpoint; every function is called with `arg`, on the loop. */
struct admin_env {
    const struct pool *pool;
    const struct ledger *ledger;
    struct findings *findings;               /* NULL: nobody looks for causes, and what is known of them is null */
    const struct conf *conf;                 /* in force; read at each request, so conf_reload shows */
    const char *proxy_listen, *admin_listen; /* as bound, where the configuration may say port 0; comma separated */
    int64_t to_wall_ns;                      /* a mono_ns plus this is a wall_ns */
    mono_ns started;
    struct admin_limits limits;

    void *arg;
    mono_ns (*now)(void *arg);
    bool (*is_draining)(void *arg);
    void (*close_idle)(void *arg);  /* POST /close_idle: CloseIdleConnections (R39) */
    void (*reset_peaks)(void *arg); /* POST /reset_peaks */
    void (*gauges)(void *arg, struct admin_gauges *out);
    /* Activate `wake` (borrowed) once, soon after connections have opened or closed; called anew each time. NULL:
     * never. */
    void (*watch)(void *arg, struct event *wake);
};

/* The kernel counters' zero is taken here: call it before the first traffic. */
struct admin *admin_new(struct event_base *base, const struct admin_env *env);

/* Serves a listening stream socket, TCP or Unix, from the next turn of the loop.
 * Takes fd and makes it non-blocking. False, with errno set and fd still the
 * caller's, if it is not such a socket. */
bool admin_listen_fd(struct admin *a, int fd);

/* A finding was raised or cleared: told to those who listen to GET /events. */
void admin_finding(struct admin *a, const struct finding_change *change);

/* Closes listeners and connections at once, answers under way included. */
void admin_free(struct admin **ap);

#endif
