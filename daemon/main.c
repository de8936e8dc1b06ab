/* connleakd: options, start, signals, stop. What it does in between is io/. */
#define _GNU_SOURCE
#include "admin/admin.h"
#include "causes.h"
#include "conf.h"
#include "core/ledger.h"
#include "core/pool.h"
#include "io/client_conn.h"
#include "io/listener.h"
#include "io/live_driver.h"
#include "io/server.h"
#include "io/tls.h"
#include "io/tunnel.h"
#include "log/log.h"
#include "probe.h"
#include "record/ledger_file.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SETS_MAX      256
#define LISTENERS_MAX 64
#define FLUSH_TIME    SEC(10) /* for the ledger's last records at the end */

struct options {
    const char *file;
    const char *sets[SETS_MAX];
    size_t n_sets;
    bool check;
};

struct daemon {
    struct options opt;
    struct event_base *base;
    struct conf *conf;
    struct server server;
    struct admin *admin;
    struct probe *probe;
    struct causes *causes;
    struct ledger_file *file;
    struct listener *listeners[LISTENERS_MAX];
    size_t n_listeners;
    char *admin_paths[LISTENERS_MAX]; /* Unix sockets of the admin endpoint that we made */
    size_t n_admin_paths;
    char proxy_text[512], admin_text[512]; /* as bound */
    struct event *signals[6];
    struct event *file_ready, *every, *watchdog;
    mono_ns drain_since;
    struct log_limit said_file;
    bool file_failed; /* when it was last looked at */
    int exit_code;
};

static const char usage[] = "usage: connleakd [-c FILE] [--set SECTION.KEY=VALUE]... [--check-config]\n"
                            "\n"
                            "A proxy that finds HTTP connection leaks: it pools its connections to origins as\n"
                            "Go's http.Transport does, and writes down the life of each.\n"
                            "\n"
                            "  -c, --config FILE         read the configuration from FILE, connleakd.conf(5);\n"
                            "                            without it, the built-in defaults hold\n"
                            "      --set SECTION.KEY=VALUE  set one parameter, over the file\n"
                            "      --check-config        check the configuration and leave: 0 fine, 2 not\n"
                            "      --parameters          list the parameters with their defaults\n"
                            "      --version             say the version\n"
                            "  -h, --help                say this\n"
                            "\n"
                            "Proxy: http://127.0.0.1:3128   metrics: curl -s 127.0.0.1:9128/metrics\n"
                            "Signals: TERM, INT drain and leave (twice: at once); HUP reads the configuration\n"
                            "again; USR1 reopens ledger.file; USR2 closes idle connections to origins.\n"
                            "Manual: connleakd(8), connleakd.conf(5). Exit codes: 0 fine, 1 failed, 2 usage.\n";

static int usage_error(const char *fmt, const char *what) {
    fprintf(stderr, "connleakd: ");
    fprintf(stderr, fmt, what);
    fprintf(stderr, "; see connleakd --help\n");
    return 2;
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *opt) {
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, 'k'}, {"make-ca", required_argument, NULL, 'm'},
        {"parameters", no_argument, NULL, 'p'},   {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":c:h", longs, NULL)) != -1;) {
        switch (o) {
        case 'c':
            opt->file = optarg;
            break;
        case 's':
            if (opt->n_sets == SETS_MAX) return usage_error("%s", "too many --set");
            opt->sets[opt->n_sets++] = optarg;
            break;
        case 'k':
            opt->check = true;
            break;
        case 'm':
            return usage_error("--make-ca %s: interception of TLS is not in this version", optarg);
        case 'p':
            conf_help(stdout);
            return 0;
        case 'v':
            puts("connleakd " CONNLEAK_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case ':':
            return usage_error("%s takes a value", argv[optind - 1]);
        default:
            return usage_error("unknown option %s", argv[optind - 1]);
        }
    }
    if (optind < argc) return usage_error("unexpected argument %s", argv[optind]);
    return -1;
}

static struct conf *build_conf(const struct options *opt, char err[CONF_ERROR_MAX]) {
    return conf_build(opt->file, opt->sets, opt->n_sets, err);
}

static void add_text(char *list, size_t size, const char *text) {
    size_t n = strlen(list);
    snprintf(list + n, size - n, "%s%s", n ? ", " : "", text);
}

static bool add_proxy(struct daemon *d, int fd, const char *path) {
    char text[160];
    if (d->n_listeners == LISTENERS_MAX) return false;
    listener_text(fd, text, sizeof text);
    d->listeners[d->n_listeners++] = listener_new(&d->server, fd, path);
    add_text(d->proxy_text, sizeof d->proxy_text, text);
    log_info("proxy", "listening on %s", text);
    return true;
}

static int admin_fds[LISTENERS_MAX];
static size_t n_admin_fds;

static void note_admin(struct daemon *d, int fd) {
    char text[160];
    struct endpoint e;
    listener_text(fd, text, sizeof text);
    endpoint_local(fd, &e);
    if (e.family != ADDR_UNIX) server_add_own(&d->server, &e);
    add_text(d->admin_text, sizeof d->admin_text, text);
    admin_fds[n_admin_fds++] = fd;
    log_info("admin", "listening on %s", text);
}

/* Sockets that systemd passed: by name (FileDescriptorName=), proxy or admin. */
static bool take_passed(struct daemon *d, bool *proxy, bool *admin) {
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names);
    bool fine = true;
    *proxy = *admin = false;
    for (int i = 0; i < n && fine; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
            log_error("proxy", "the socket named %s that was passed in is not a listening stream socket", names[i]);
            fine = false;
        } else if (strcmp(names[i], "admin") == 0) {
            if (n_admin_fds < LISTENERS_MAX) note_admin(d, fd);
            *admin = true;
        } else if (strcmp(names[i], "proxy") == 0 || strcmp(names[i], "connleakd.socket") == 0) {
            fine = add_proxy(d, fd, NULL);
            *proxy = true;
        } else {
            log_error("proxy", "a socket named %s was passed in; FileDescriptorName= proxy or admin is expected",
                      names[i]);
            fine = false;
        }
        free(names[i]);
    }
    free(names);
    return fine;
}

static bool open_listeners(struct daemon *d) {
    char err[256];
    bool proxy, admin;
    if (!take_passed(d, &proxy, &admin)) return false;
    for (size_t i = 0; !proxy && i < d->conf->proxy.listen.n; i++) {
        const struct conf_listen *w = &d->conf->proxy.listen.item[i];
        int fd = listener_open(w, err, sizeof err);
        if (fd < 0) {
            log_error("proxy", "%s (proxy.listen)", err);
            return false;
        }
        if (!add_proxy(d, fd, w->path)) return false;
    }
    for (size_t i = 0; !admin && i < d->conf->admin.listen.n; i++) {
        const struct conf_listen *w = &d->conf->admin.listen.item[i];
        int fd = listener_open(w, err, sizeof err);
        if (fd < 0) {
            log_error("admin", "%s (admin.listen)", err);
            return false;
        }
        if (w->path) d->admin_paths[d->n_admin_paths++] = strdup(w->path);
        note_admin(d, fd);
    }
    return true;
}

/* What the admin endpoint asks of us. */
static mono_ns env_now(void *arg) {
    return server_enter(&((struct daemon *)arg)->server);
}
static bool env_draining(void *arg) {
    return ((struct daemon *)arg)->server.draining;
}
static void env_close_idle(void *arg) {
    struct server *s = &((struct daemon *)arg)->server;
    server_enter(s);
    live_close_idle(s);
    server_leave(s);
}
static void env_reset_peaks(void *arg) {
    pool_reset_peaks(((struct daemon *)arg)->server.pool);
}
static void env_watch(void *arg, struct event *wake) {
    server_watch(&((struct daemon *)arg)->server, wake);
}
static void env_gauges(void *arg, struct admin_gauges *out) {
    const struct server_gauges *g = &((struct daemon *)arg)->server.gauge;
    *out = (struct admin_gauges){.rejected = g->rejected,
                                 .tunnels_open = g->tunnels_open,
                                 .tunnels_total = g->tunnels_total,
                                 .tunnel_bytes_in = g->tunnel_bytes_in,
                                 .tunnel_bytes_out = g->tunnel_bytes_out};
}

static bool start_admin(struct daemon *d) {
    struct admin_env env = {.pool = d->server.pool,
                            .ledger = d->server.ledger,
                            .findings = d->server.findings,
                            .conf = d->conf,
                            .proxy_listen = d->proxy_text,
                            .admin_listen = d->admin_text,
                            .to_wall_ns = d->server.to_wall_ns,
                            .started = d->server.now,
                            .arg = d,
                            .now = env_now,
                            .is_draining = env_draining,
                            .close_idle = env_close_idle,
                            .reset_peaks = env_reset_peaks,
                            .gauges = env_gauges,
                            .watch = env_watch};
    d->admin = admin_new(d->base, &env);
    causes_tell(d->causes, d->admin);
    for (size_t i = 0; i < n_admin_fds; i++)
        if (!admin_listen_fd(d->admin, admin_fds[i])) {
            log_error("admin", "a passed socket cannot be served: %s", strerror(errno));
            return false;
        }
    return true;
}

/* Closed records on their way to ledger.file; sheds new work when the disk cannot follow. */
static void feed_file(struct daemon *d) {
    struct server *s = &d->server;
    struct ledger_file_trouble t;
    if (!d->file) return;
    ledger_file_offer(d->file, s->ledger, s->to_wall_ns); /* what is left over wakes on_file_ready */
    enum ledger_file_load load = ledger_file_load(d->file, s->ledger);
    s->shedding = load != LEDGER_FILE_FINE;
    s->ledger_full = load == LEDGER_FILE_FULL;
    bool failed = ledger_file_trouble(d->file, &t);
    if (d->file_failed && !failed) log_info("ledger", "%s is written again; no record is lost", d->conf->ledger.file);
    d->file_failed = failed;
    if (failed)
        log_limited(&d->said_file, s->now, LEVEL_ERROR, "ledger", "%s %s: %s, for %lld s; records wait in memory%s",
                    t.doing, d->conf->ledger.file, strerror(t.error), (long long)((s->now - t.since_ns) / SEC(1)),
                    s->ledger_full ? ", and new clients wait"
                    : s->shedding  ? ", and new requests are answered 503"
                                   : "");
}

static void on_file_ready(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct daemon *d = arg;
    server_enter(&d->server);
    ledger_file_woken(d->file);
    feed_file(d);
    server_leave(&d->server);
}

static bool quiet(const struct daemon *d) {
    const struct server *s = &d->server;
    return s->gauge.requests_running == 0 && s->now - s->gauge.last_request >= d->conf->proxy.drain_quiet &&
           s->now - d->drain_since >= d->conf->proxy.drain_quiet;
}

static void start_every(struct daemon *d) {
    struct timeval tv = {0, (suseconds_t)(SERVER_EVERY / 1000)};
    if (!event_pending(d->every, EV_TIMEOUT, NULL)) event_add(d->every, &tv);
}

/* Runs a little after something that it has to look after: records to be written, a drain to end. */
static void on_every(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct daemon *d = arg;
    server_enter(&d->server);
    feed_file(d);
    if (d->server.draining && (quiet(d) || (d->conf->proxy.drain_timeout > 0 &&
                                            d->server.now - d->drain_since >= d->conf->proxy.drain_timeout)))
        event_base_loopbreak(d->base);
    if (d->server.draining) start_every(d);
    server_leave(&d->server);
}

static void on_stop(evutil_socket_t sig, short what, void *arg) {
    (void)what;
    struct daemon *d = arg;
    server_enter(&d->server);
    if (d->server.draining) {
        log_info("daemon", "signal %d again: leaving at once", (int)sig);
        event_base_loopbreak(d->base);
        return;
    }
    log_info("daemon", "signal %d: draining; new requests are still served until none has run for proxy.drain_quiet",
             (int)sig);
    sd_notify(0, "STOPPING=1");
    d->server.draining = true;
    d->drain_since = d->server.now;
    start_every(d);
}

static void said_changed(void *arg, const struct param *p, bool applied, const char *was, const char *now) {
    (void)arg;
    if (applied)
        log_info("conf", "%s.%s: %s -> %s", p->section, p->key, was, now);
    else
        log_warn("conf", "%s.%s: %s -> %s takes a restart and is not applied", p->section, p->key, was, now);
}

static void said_warning(void *arg, const char *line) {
    (void)arg;
    log_warn("conf", "%s", line);
}

static bool load_passwords(const struct conf *c, struct passwords **out, char err[CONF_ERROR_MAX]) {
    *out = NULL;
    if (!c->access.password_file) return true;
    *out = passwords_load(c->access.password_file, err);
    return *out != NULL;
}

static void on_reload(evutil_socket_t sig, short what, void *arg) {
    (void)sig, (void)what;
    struct daemon *d = arg;
    struct server *s = &d->server;
    char err[CONF_ERROR_MAX];
    sd_notify(0, "RELOADING=1");
    server_enter(s);
    struct passwords *passwords = NULL;
    struct conf *next = build_conf(&d->opt, err);
    if (!next || !load_passwords(next, &passwords, err)) {
        log_error("conf", "%s; the configuration stays as it was", err);
        conf_free(&next);
    } else {
        conf_reload(d->conf, &next, said_changed, NULL);
        passwords_free(&s->passwords);
        s->passwords = passwords;
        struct pool_conf pool;
        conf_pool(d->conf, &pool);
        pool_set_conf(s->pool, &pool, s->now);
        ledger_set_keep(s->ledger, (size_t)d->conf->ledger.keep);
        server_set_delays(s);
        causes_set_conf(d->causes);
        s->max_clients = listener_max_clients(d->conf);
        log_configure((enum log_level)d->conf->log.level, (enum log_format)d->conf->log.format);
        evdns_base_clear_host_addresses(s->dns);
        evdns_base_load_hosts(s->dns, "/etc/hosts");
        conf_warnings(d->conf, said_warning, NULL);
        log_info("conf", "configuration read again");
    }
    server_leave(s);
    sd_notify(0, "READY=1");
}

static void on_reopen(evutil_socket_t sig, short what, void *arg) {
    (void)sig, (void)what;
    struct daemon *d = arg;
    if (d->file) ledger_file_reopen(d->file);
    log_info("ledger", d->file ? "reopened" : "no ledger.file is set: nothing to reopen");
}

static void on_close_idle(evutil_socket_t sig, short what, void *arg) {
    (void)sig, (void)what;
    env_close_idle(arg);
    log_info("pool", "idle connections to origins closed");
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    sd_notify(0, "WATCHDOG=1");
}

static void start_signals(struct daemon *d) {
    struct {
        int sig;
        event_callback_fn fn;
    } table[] = {
        {SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}, {SIGUSR1, on_reopen}, {SIGUSR2, on_close_idle}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        d->signals[i] = evsignal_new(d->base, table[i].sig, table[i].fn, d);
        if (!d->signals[i] || event_add(d->signals[i], NULL) != 0) abort();
    }
    signal(SIGPIPE, SIG_IGN);
    uint64_t usec;
    d->every = event_new(d->base, -1, 0, on_every, d);
    if (sd_watchdog_enabled(0, &usec) > 0) {
        struct timeval tv = {(time_t)(usec / 2 / 1000000), (suseconds_t)(usec / 2 % 1000000)};
        d->watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, d);
        event_add(d->watchdog, &tv);
    }
}

static struct evdns_base *start_dns(struct event_base *base) {
    struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!dns) abort();
    /* Without a usable resolv.conf, /etc/hosts still counts, and other names fail. */
    if (evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/etc/resolv.conf") != 0)
        evdns_base_load_hosts(dns, "/etc/hosts");
    return dns;
}

/* An environment that other programs would follow, and this one does not: said, not ignored. */
static void mention_environment(void) {
    static const char *const names[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) {
            log_warn("conf",
                     "%s is set, but going through another proxy is not in this version: origins are dialed directly",
                     names[i]);
            return;
        }
    }
}

/* False where it is asked for and cannot be had. */
static bool start_probe(struct daemon *d) {
    char err[PROBE_TEXT];
    enum probe_switch wanted = (enum probe_switch)d->conf->probe.sockets;
    if (wanted == PROBE_OFF) return true;
    d->probe = probe_new(&d->server, err);
    if (d->probe) return true;
    if (wanted == PROBE_ON)
        log_error("probe", "%s (probe.sockets = on)", err);
    else
        log_info("probe", "clients' sockets are not looked at: %s", err);
    return wanted != PROBE_ON;
}

static bool start(struct daemon *d) {
    struct server *s = &d->server;
    char err[CONF_ERROR_MAX];
    struct event_config *cfg = event_config_new();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | EVENT_BASE_FLAG_NOLOCK);
    d->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    if (!d->base) abort();
    server_init(s, d->base, d->conf);
    s->max_clients = listener_max_clients(d->conf);
    if (s->max_clients < (unsigned)d->conf->proxy.max_clients)
        log_info("proxy", "the descriptor limit allows %u clients, fewer than proxy.max_clients = %d", s->max_clients,
                 d->conf->proxy.max_clients);
    struct pool_conf pool;
    conf_pool(d->conf, &pool);
    s->pool = pool_new(&pool);
    s->ledger = ledger_new(OBSERVER_DAEMON, (size_t)d->conf->ledger.keep);
    ledger_keep_recent(s->ledger, (size_t)d->conf->ledger.keep_requests);
    d->causes = causes_new(s);
    s->dns = start_dns(d->base);
    if (!load_passwords(d->conf, &s->passwords, err)) {
        log_error("conf", "%s", err);
        d->exit_code = 2;
        return false;
    }
    s->tls = tls_client_new(d->conf->tls.upstream_ca, d->conf->tls.min_version == TLS_VERSION_1_3,
                            d->conf->tls.keylog_file, err, sizeof err);
    if (!s->tls) {
        log_error("tls", "%s", err);
        d->exit_code = 2;
        return false;
    }
    start_signals(d);
    if (d->conf->ledger.file) {
        d->file = ledger_file_open(d->conf->ledger.file, s->ledger, 1);
        if (!d->file) {
            log_error("ledger", "%s: %s (ledger.file)", d->conf->ledger.file, strerror(errno));
            return false;
        }
        s->on_closed = d->every;
        d->file_ready = event_new(d->base, ledger_file_fd(d->file), EV_READ | EV_PERSIST, on_file_ready, d);
        event_add(d->file_ready, NULL);
    }
    mention_environment();
    conf_warnings(d->conf, said_warning, NULL);
    return start_probe(d) && open_listeners(d) && start_admin(d);
}

/* Ends what still runs, and hands the last records over. */
static void stop(struct daemon *d) {
    struct server *s = &d->server;
    if (!s->base) return;
    /* A signal must not kill what is ending well, once its handler is gone. */
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof d->signals / sizeof *d->signals; i++)
        if (d->signals[i]) sigaddset(&ours, event_get_signal(d->signals[i]));
    sigprocmask(SIG_BLOCK, &ours, NULL);
    server_enter(s);
    for (size_t i = 0; i < d->n_listeners; i++) listener_free(&d->listeners[i]);
    tunnel_shutdown_all(s);
    client_shutdown_all(s);
    live_drive(s); /* what the pool made of that: its dials end with the others */
    upstream_shutdown_all(s);
    server_leave(s);
    if (d->file) {
        event_free(d->file_ready);
        uint64_t lost = ledger_file_stop(&d->file, s->ledger, s->to_wall_ns, FLUSH_TIME);
        if (lost) {
            log_error("ledger", "%llu records could not be written to %s", (unsigned long long)lost,
                      d->conf->ledger.file);
            d->exit_code = 1;
        }
    }
    if (d->causes) causes_tell(d->causes, NULL);
    admin_free(&d->admin);
    for (size_t i = 0; i < d->n_admin_paths; i++) {
        unlink(d->admin_paths[i]);
        free(d->admin_paths[i]);
    }
    for (size_t i = 0; i < sizeof d->signals / sizeof *d->signals; i++)
        if (d->signals[i]) event_free(d->signals[i]);
    if (d->every) event_free(d->every);
    if (d->watchdog) event_free(d->watchdog);
    if (s->dns) evdns_base_free(s->dns, 0);
    probe_free(&d->probe);
    server_clear(s);
    tls_client_free(&s->tls);
    passwords_free(&s->passwords);
    causes_free(&d->causes);
    pool_free(&s->pool);
    ledger_free(&s->ledger);
    event_base_free(d->base);
}

/* --check-config: also the files that the configuration points to, which are read and not written. */
static int check_only(struct conf **cp) {
    char err[CONF_ERROR_MAX];
    struct passwords *passwords;
    struct tls_client *tls = NULL;
    bool fine = load_passwords(*cp, &passwords, err);
    if (fine) fine = (tls = tls_client_new((*cp)->tls.upstream_ca, false, NULL, err, sizeof err)) != NULL;
    if (fine) {
        conf_warnings(*cp, said_warning, NULL);
        puts("the configuration is fine");
    } else {
        fprintf(stderr, "connleakd: %s\n", err);
    }
    passwords_free(&passwords);
    tls_client_free(&tls);
    conf_free(cp);
    return fine ? 0 : 2;
}

/* Who starts us with one of them closed would find the log in the socket that is opened next. */
static void keep_standard_descriptors(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) return;
}

int main(int argc, char **argv) {
    static struct daemon d;
    char err[CONF_ERROR_MAX];
    keep_standard_descriptors();
    int code = parse_options(argc, argv, &d.opt);
    if (code >= 0) return code;
    d.conf = build_conf(&d.opt, err);
    if (!d.conf) {
        fprintf(stderr, "connleakd: %s\n", err);
        return 2;
    }
    log_open(2);
    log_configure((enum log_level)d.conf->log.level, (enum log_format)d.conf->log.format);
    if (d.opt.check) return check_only(&d.conf);
    d.exit_code = 1;
    if (start(&d)) {
        d.exit_code = 0;
        log_info("daemon", "connleakd %s is ready", CONNLEAK_VERSION);
        sd_notify(0, "READY=1");
        event_base_dispatch(d.base);
    }
    stop(&d);
    if (d.exit_code == 0) log_info("daemon", "done");
    log_close();
    conf_free(&d.conf);
    libevent_global_shutdown();
    return d.exit_code;
}
