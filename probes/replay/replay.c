#include "replay.h"

#include "input.h"
#include "report.h"

#include "commands.h"
#include "core/duration.h"
#include "core/fail_on.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char usage_text[] = "Usage: connleak replay FILE --proxy HOST:PORT [OPTION]...\n"
                                 "\n"
                                 "Plays the clients of a capture, of a workload (analyze --export-workload) or of\n"
                                 "a ledger with events (GET /ledger?events=true) against a proxy: when each\n"
                                 "connected, what it sent, how much of each answer it took and how it ended. Then\n"
                                 "the captured connections and the replayed ones are held against each other.\n"
                                 "\n"
                                 "  --proxy HOST:PORT  the proxy to play against; unix:PATH for a Unix socket\n"
                                 "  --origin stub      origins are played too, with the captured answers (default)\n"
                                 "  --origin live      requests go to the real origins; safe methods alone\n"
                                 "  --unsafe-methods   with --origin live: the others too, such as POST\n"
                                 "  --speed N          N times as fast as captured (1); max: as order allows\n"
                                 "  --admin HOST:PORT  the daemon's admin endpoint: its ledger is compared, too\n"
                                 "  --hold D           keep what is open at the end open so long afterwards (0)\n"
                                 "  --pace             answers come as slowly as they did (not with --speed max)\n"
                                 "  --fail-on KIND,... exit 99 if there is such a finding; any: warning or worse\n"
                                 "  --json             one object, connleak.replay/1\n"
                                 "\n"
                                 "Exit code: 0 the same happened, 3 it did not, 99 --fail-on, 2 usage or input, 1\n"
                                 "failed while running.\n";

struct options {
    const char *file, *proxy, *admin;
    int64_t hold_ns;
    struct run_options run;
    bool unsafe, json;
    struct fail_on fail_on;
};

static int complain(const char *what, const char *why) {
    fprintf(stderr, "connleak replay: %s%s%s\n", what, *why ? ": " : "", why);
    return EXIT_USAGE;
}

/* --- Options ------------------------------------------------------------------------ */

static bool parse_speed(const char *text, double *out) {
    char *end;

    if (!strcmp(text, "max")) {
        *out = 0;
        return true;
    }
    *out = strtod(text, &end);
    return *text && !*end && *out >= 0.001 && *out <= 1e6;
}

static int parse_options(int argc, char **argv, struct options *o) {
    enum {
        OPT_PROXY = 256,
        OPT_ADMIN,
        OPT_HOLD,
        OPT_ORIGIN,
        OPT_SPEED,
        OPT_PACE,
        OPT_UNSAFE,
        OPT_FAIL_ON,
        OPT_JSON,
        OPT_HELP
    };
    static const struct option long_options[] = {{"proxy", required_argument, NULL, OPT_PROXY},
                                                 {"origin", required_argument, NULL, OPT_ORIGIN},
                                                 {"admin", required_argument, NULL, OPT_ADMIN},
                                                 {"hold", required_argument, NULL, OPT_HOLD},
                                                 {"speed", required_argument, NULL, OPT_SPEED},
                                                 {"pace", no_argument, NULL, OPT_PACE},
                                                 {"unsafe-methods", no_argument, NULL, OPT_UNSAFE},
                                                 {"json", no_argument, NULL, OPT_JSON},
                                                 {"fail-on", required_argument, NULL, OPT_FAIL_ON},
                                                 {"help", no_argument, NULL, OPT_HELP},
                                                 {NULL, 0, NULL, 0}};
    int opt;

    o->run.speed = 1;
    optind = opterr = 0; /* glibc: a new scan, whatever was scanned before */
    while ((opt = getopt_long(argc, argv, "-:h", long_options, NULL)) != -1) {
        switch (opt) {
        case 1:
            if (o->file) return complain("one FILE at a time, found also", optarg);
            o->file = optarg;
            break;
        case OPT_PROXY:
            o->proxy = optarg;
            break;
        case OPT_ADMIN:
            o->admin = optarg;
            break;
        case OPT_HOLD:
            if (!duration_parse(optarg, &o->hold_ns))
                return complain("--hold: expected a time such as 40s or 5m, found", optarg);
            break;
        case OPT_ORIGIN:
            if (strcmp(optarg, "live") && strcmp(optarg, "stub"))
                return complain("--origin: expected stub or live, found", optarg);
            o->run.live = !strcmp(optarg, "live");
            break;
        case OPT_SPEED:
            if (!parse_speed(optarg, &o->run.speed))
                return complain("--speed: expected max or a number from 0.001 to 1000000, found", optarg);
            break;
        case OPT_PACE:
            o->run.pace = true;
            break;
        case OPT_UNSAFE:
            o->unsafe = true;
            break;
        case OPT_FAIL_ON:
            if (!fail_on_parse(&o->fail_on, optarg))
                return complain("--fail-on: expected any, or kinds of findings with commas between, found", optarg);
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_HELP:
        case 'h':
            fputs(usage_text, stdout);
            return -1;
        case ':':
            return complain("an option that takes a value (connleak replay --help lists them)", argv[optind - 1]);
        default:
            return complain("unknown option (connleak replay --help lists them)", argv[optind - 1]);
        }
    }
    for (; optind < argc; optind++) { /* behind "--" */
        if (o->file) return complain("one FILE at a time, found also", argv[optind]);
        o->file = argv[optind];
    }
    if (!o->file) return complain("a FILE is needed; connleak replay --help says more", "");
    if (!o->proxy) return complain("--proxy HOST:PORT is needed; connleak replay --help says more", "");
    if (o->run.pace && o->run.speed == 0) return complain("--pace needs a time, and --speed max has none", "");
    if (o->run.pace && o->run.live) return complain("--pace is for --origin stub: a live origin has its own", "");
    if (o->unsafe && !o->run.live) return complain("--unsafe-methods is for --origin live: a stub is never harmed", "");
    return EXIT_FINE;
}

/* "host:port", "[v6]:port", ":port" or "unix:path" into an address. */
static bool find_proxy(const char *text, struct run_options *o, char error[INPUT_TEXT]) {
    const char *colon = strrchr(text, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    char host[256];
    size_t len;
    int err;

    if (!strncmp(text, "unix:", 5)) {
        struct sockaddr_un *un = (struct sockaddr_un *)&o->proxy;
        if (!text[5] || strlen(text + 5) >= sizeof un->sun_path) {
            snprintf(error, 256, "--proxy: expected unix:PATH of up to %zu bytes", sizeof un->sun_path - 1);
            return false;
        }
        un->sun_family = AF_UNIX;
        strcpy(un->sun_path, text + 5);
        o->proxy_len = sizeof *un;
        return true;
    }
    len = colon ? (size_t)(colon - text) : 0;
    if (!colon || !colon[1] || len >= sizeof host) {
        snprintf(error, 256, "--proxy: expected HOST:PORT, found %.100s", text);
        return false;
    }
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') text++, len -= 2;
    memcpy(host, text, len);
    host[len] = 0;
    err = getaddrinfo(len ? host : "127.0.0.1", colon + 1, &hints, &list);
    if (err) {
        snprintf(error, 256, "--proxy %.100s: %s", text, gai_strerror(err));
        return false;
    }
    memcpy(&o->proxy, list->ai_addr, list->ai_addrlen);
    o->proxy_len = list->ai_addrlen;
    freeaddrinfo(list);
    return true;
}

/* --- Running ------------------------------------------------------------------------- */

/* Two descriptors for each connection, and the proxy's own are in another process. */
static void raise_descriptors(void) {
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= l.rlim_max) return;
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

static void announce(const struct plan *p, const struct options *o) {
    uint64_t requests = 0, unsafe = 0;

    for (uint32_t i = 0; i < p->n_conns; i++)
        for (uint32_t k = 0; k < p->conns[i].n_exchanges && p->conns[i].played; k++) {
            requests++;
            unsafe += !p->exchanges[p->conns[i].first_exchange + k].is_safe;
        }
    fprintf(stderr, "connleak replay: %llu requests go to live origins through %s:", (unsigned long long)requests,
            o->proxy);
    for (uint32_t i = 0; i < p->n_origins; i++)
        fprintf(stderr, "%s %s (%u)", i ? "," : "", p->origins[i].authority, p->origins[i].n_exchanges);
    fprintf(stderr, "; %llu with methods that may change something\n", (unsigned long long)unsafe);
    if (p->by_gap[PLAN_UNSAFE])
        fprintf(stderr, "connleak replay: %u connections are cut before their first unsafe method (--unsafe-methods)\n",
                p->by_gap[PLAN_UNSAFE]);
}

static int64_t now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

/* A daemon that has just been told of many ends needs a moment to write them down. */
#define SETTLE_US 100000
static bool fetch_ledger(struct daemon_ledger *d, const struct options *o, const struct run *r) {
    char error[256];

    usleep(SETTLE_US);
    if (daemon_ledger_fetch(d, r, o->admin, error)) return true;
    complain("--admin", error);
    return false;
}

/* Connections that could not be made are no behaviour of anybody's. */
static bool all_were_made(const struct options *o, const struct run *r) {
    uint32_t refused = 0, no_means = r->stub && stub_counts(r->stub).not_accepted ? 1 : 0;
    struct rlimit l = {0};

    for (uint32_t i = 0; i < r->plan->n_conns; i++) {
        refused += r->clients[i].trouble == TROUBLE_CONNECT;
        no_means += r->clients[i].trouble == TROUBLE_FD;
    }
    if (refused)
        fprintf(stderr, "connleak replay: %s: %" PRIu32 " of %" PRIu32 " connections could not be made: %s\n", o->proxy,
                refused, r->plan->n_conns, strerror(r->connect_error));
    if (!no_means) return !refused;
    getrlimit(RLIMIT_NOFILE, &l);
    fprintf(stderr,
            "connleak replay: no descriptor or port was left for some connections: each needs two here; ulimit -n is "
            "%llu\n",
            (unsigned long long)l.rlim_cur);
    return false;
}

/* 99 comes before 3: it was asked for. */
static int judge(const struct options *o, const struct run *r, const struct outcomes *x) {
    if (!all_were_made(o, r)) return EXIT_FAILED;
    if (fail_on_found(&o->fail_on, r->clients_seen.rules.findings)) return EXIT_FINDING;
    for (unsigned k = 0; k < N_FINDINGS; k++)
        if (x->findings[k].origins && fail_on_matches(&o->fail_on, (enum finding_kind)k, SEVERITY_WARNING))
            return EXIT_FINDING;
    return x->count[VERDICT_DIFFERENT] || x->findings_differ ? EXIT_DISAGREED : EXIT_FINE;
}

/* Connections that the capture leaves open stay open, to be looked at. The proxy's ends are noticed meanwhile. */
static void hold(struct run *r, int64_t ns) {
    struct timeval wait = {ns / SEC(1), (suseconds_t)(ns % SEC(1) / 1000)};

    if (ns <= 0) return;
    if (r->open) fprintf(stderr, "connleak replay: %u connections are held open\n", r->open);
    event_base_loopexit(r->base, &wait);
    event_base_dispatch(r->base);
}

static int report(const struct options *o, struct run *r, const struct input *s, int64_t took_ns) {
    struct outcomes outcomes = {0};
    struct daemon_ledger daemon = {0};
    struct replay_report report = {r, &outcomes, o->admin ? &daemon : NULL, o->file, o->proxy, took_ns, s->made_up};
    int code = EXIT_FAILED;

    observe_finish(r);
    if (!o->admin || fetch_ledger(&daemon, o, r)) {
        outcomes_make(&outcomes, r, report.daemon);
        outcomes_findings(&outcomes, r, input_findings(s));
        if (o->json)
            replay_json(stdout, &report);
        else
            replay_text(stdout, &report);
        code = judge(o, r, &outcomes);
        if (fflush(stdout) || ferror(stdout)) {
            complain("stdout", strerror(errno));
            code = EXIT_FAILED;
        }
        hold(r, o->hold_ns);
    }
    daemon_ledger_free(&daemon);
    outcomes_free(&outcomes);
    return code;
}

/* Requests are for the stub's listeners, or for whom they were captured. */
static bool address(const struct options *o, struct run *r) {
    char error[256];
    const char **live;

    if (!o->run.live) {
        r->stub = stub_new(r, error);
        if (r->stub)
            plan_address(r->plan, stub_authorities(r->stub));
        else
            complain(error, "");
        return r->stub;
    }
    announce(r->plan, o);
    live = calloc(r->plan->n_origins + (size_t)1, sizeof *live);
    if (!live) abort();
    for (uint32_t i = 0; i < r->plan->n_origins; i++) live[i] = r->plan->origins[i].authority;
    plan_address(r->plan, live);
    free(live);
    return true;
}

static int play(const struct options *o, struct run *r, const struct input *s) {
    int64_t begun;
    int code = EXIT_FAILED;

    plan_finish(r->plan, o->run.live && !o->unsafe);
    if (!address(o, r)) return code;
    signal(SIGPIPE, SIG_IGN);
    begun = now();
    switch (run_play(r)) {
    case RUN_PLAYED:
        code = report(o, r, s, now() - begun);
        break;
    case RUN_INTERRUPTED:
        complain("interrupted", "");
        break;
    case RUN_NO_PROXY:
        complain(o->proxy, strerror(r->connect_error));
        break;
    }
    client_close_all(r);
    return code;
}

int replay_main(int argc, char **argv) {
    struct options o = {0};
    struct plan plan = {0};
    struct run r = {.plan = &plan};
    struct input input;
    char error[INPUT_TEXT];
    int code = parse_options(argc, argv, &o);

    if (code != EXIT_FINE) return code < 0 ? EXIT_FINE : code;
    if (!find_proxy(o.proxy, &o.run, error)) return complain(error, "");
    raise_descriptors();
    r.options = o.run;
    if (input_read(&input, &plan, o.file, error)) {
        code = EXIT_FAILED;
        if (run_begin(&r))
            code = play(&o, &r, &input);
        else
            complain("no event loop", strerror(errno));
        stub_free(&r.stub);
        run_free(&r);
    } else {
        code = complain(error, "");
    }
    input_free(&input);
    plan_clear(&plan);
    return code;
}
