#include "crosscheck.h"

#include "commands.h"
#include "core/duration.h"
#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] = "usage: connleak crosscheck --pcap FILE...|--interface IF|--kernel FILE\n"
                                 "                           --ledger FILE|--admin HOST:PORT [OPTION]...\n"
                                 "\n"
                                 "Holds a daemon's ledger against a capture of the same time, connection by\n"
                                 "connection, or against what the kernel saw of the sockets.\n"
                                 "\n"
                                 "  --pcap FILE...     captures (pcap, pcapng, gzip), read as one; - is stdin\n"
                                 "  --interface IF     capture live (any: all interfaces) until interrupted\n"
                                 "  --port P,...       of that, only these TCP ports: 8080,9000-9010; default: all\n"
                                 "  --duration D       capture live for so long (90s, 5m, ...)\n"
                                 "  --kernel FILE      what connleak resets --jsonl printed; - is stdin\n"
                                 "  --ledger FILE      connleak.conn/1 records, a line each: its ledger.file\n"
                                 "  --admin HOST:PORT  the same from a running daemon\n"
                                 "  --slack D          times this close are the same time (250ms)\n"
                                 "  --json             one object, connleak.crosscheck/1\n"
                                 "\n"
                                 "Exit code: 0 no disagreement, 3 a disagreement, 2 usage or input, 1 failed while\n"
                                 "running.\n";

#define SAYS_MORE "connleak crosscheck --help says more"

struct options {
    const char **pcap;
    size_t n_pcap;
    const char *interface, *ports, *kernel, *ledger, *admin;
    int64_t duration_ns, slack_ns;
    bool json;
};

static int complain(const char *fmt, const char *what, const char *why) {
    fputs("connleak crosscheck: ", stderr);
    fprintf(stderr, fmt, what, why);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

/* At most a day, so that no sum of times overflows; -1: it is none. */
static int64_t parse_duration(const char *text) {
    int64_t ns;

    return duration_parse(text, &ns) && ns <= SEC(86400) ? ns : -1;
}

static bool check_options(const struct options *o) {
    if ((o->n_pcap != 0) + (o->interface != NULL) + (o->kernel != NULL) != 1) {
        complain("%s%s", "expected one of --pcap FILE..., --interface IF and --kernel FILE", "");
        return false;
    }
    if (!o->ledger == !o->admin) {
        complain("%s%s", "expected one of --ledger FILE and --admin HOST:PORT", "");
        return false;
    }
    if ((o->duration_ns || o->ports) && !o->interface) {
        complain("%s goes with --interface%s", o->ports ? "--port" : "--duration", "");
        return false;
    }
    return true;
}

enum {
    OPT_PCAP = 256,
    OPT_INTERFACE,
    OPT_PORT,
    OPT_DURATION,
    OPT_KERNEL,
    OPT_LEDGER,
    OPT_ADMIN,
    OPT_SLACK,
    OPT_JSON,
    OPT_HELP
};
static const struct option long_options[] = {{"pcap", required_argument, NULL, OPT_PCAP},
                                             {"interface", required_argument, NULL, OPT_INTERFACE},
                                             {"port", required_argument, NULL, OPT_PORT},
                                             {"duration", required_argument, NULL, OPT_DURATION},
                                             {"kernel", required_argument, NULL, OPT_KERNEL},
                                             {"ledger", required_argument, NULL, OPT_LEDGER},
                                             {"admin", required_argument, NULL, OPT_ADMIN},
                                             {"slack", required_argument, NULL, OPT_SLACK},
                                             {"json", no_argument, NULL, OPT_JSON},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {NULL, 0, NULL, 0}};

/* EXIT_FINE: go on; -1: help was asked for and given; else the exit code. */
static int parse_options(int argc, char **argv, struct options *o) {
    int opt;

    optind = opterr = 0; /* glibc: a new scan, whatever was scanned before */
    while ((opt = getopt_long(argc, argv, "-:h", long_options, NULL)) != -1) {
        switch (opt) {
        case OPT_PCAP:
            o->pcap[o->n_pcap++] = optarg;
            break;
        case 1: /* more files after --pcap */
            if (!o->n_pcap) return complain("unexpected argument \"%s\"%s", optarg, "");
            o->pcap[o->n_pcap++] = optarg;
            break;
        case OPT_INTERFACE:
            o->interface = optarg;
            break;
        case OPT_PORT:
            o->ports = optarg;
            break;
        case OPT_KERNEL:
            o->kernel = optarg;
            break;
        case OPT_LEDGER:
            o->ledger = optarg;
            break;
        case OPT_ADMIN:
            o->admin = optarg;
            break;
        case OPT_DURATION:
            o->duration_ns = parse_duration(optarg);
            if (o->duration_ns <= 0)
                return complain("--duration: expected a time such as 90s or 5m, found \"%s\"%s", optarg, "");
            break;
        case OPT_SLACK:
            o->slack_ns = parse_duration(optarg);
            if (o->slack_ns < 0) return complain("--slack: expected a time such as 250ms, found \"%s\"%s", optarg, "");
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_HELP:
        case 'h':
            fputs(usage_text, stdout);
            return -1;
        case ':':
            return complain("%s takes a value; %s", argv[optind - 1], SAYS_MORE);
        default:
            return complain("unknown option %s; %s", argv[optind - 1], SAYS_MORE);
        }
    }
    return check_options(o) ? EXIT_FINE : EXIT_USAGE;
}

/* --- Input ------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static struct capture *open_capture(const struct options *o) {
    char error[CAPTURE_TEXT] = "";
    struct capture *c;

    if (o->interface)
        c = capture_open_live(o->interface, o->ports, NULL, error);
    else
        c = capture_open(o->pcap, o->n_pcap, error);
    if (!c) {
        complain("%s%s", error, "");
        return NULL;
    }
    if (o->interface) {
        live_catch(&stopped);
        fprintf(stderr, "connleak crosscheck: capturing on %s%s\n", o->interface,
                o->duration_ns ? "" : " until interrupted");
    }
    return c;
}

/* Before a long capture is made: will there be a ledger to hold against it? */
static bool probe_ledger(const struct options *o) {
    char error[CLAIMS_TEXT] = "";

    if (o->ledger && (!strcmp(o->ledger, "-") || !access(o->ledger, R_OK))) return true;
    if (o->admin && claims_reachable(o->admin, error)) return true;
    if (o->ledger)
        complain("%s: %s", o->ledger, strerror(errno));
    else
        complain("%s%s", error, "");
    return false;
}

static bool read_ledger(const struct options *o, struct claims *claims) {
    char error[CLAIMS_TEXT] = "";

    if (o->admin ? claims_fetch(claims, o->admin, error) : claims_read_file(claims, o->ledger, error)) return true;
    complain("%s%s", error, "");
    return false;
}

/* A daemon writes its file some tenths of a second after a connection has ended. */
#define LEDGER_FILE_LAG_US 500000

/* Faults of the capture's files, told one a line; true if there are any. */
static bool tell_faults(const struct capture *c, const struct feed_counts *counts) {
    bool any = false;

    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;

        capture_source(c, i, &s);
        if (!*s.fault) continue;
        complain("%s: %s", s.path, s.fault);
        any = true;
    }
    if (counts->unsupported) {
        char type[16];

        snprintf(type, sizeof type, "%d", counts->unsupported_type);
        complain("packets of link type %s cannot be read%s", type, "");
        any = true;
    }
    return any;
}

static void count_lost(struct report *r) {
    if (r->kernel) {
        r->lost = r->views->gaps;
        return;
    }
    r->lost_counted = true;
    for (size_t i = 0; i < capture_n_sources(r->capture); i++) {
        struct capture_source s;

        capture_source(r->capture, i, &s);
        r->lost += s.dropped;
        r->lost_counted &= s.dropped_known;
    }
    if (r->views->gaps <= r->lost) return;
    r->lost = r->views->gaps; /* a hole is a packet at least, whatever was counted */
    r->lost_counted = false;
}

static int run(const struct options *o, struct capture *c, struct claims *claims, struct views *views,
               struct verdicts *x) {
    struct report r = {.x = x,
                       .claims = claims,
                       .views = views,
                       .capture = c,
                       .kernel = o->kernel,
                       .ledger = o->admin ? o->admin : o->ledger};
    struct live_until until = {.duration_ns = o->duration_ns, .stop = &stopped};
    char error[VIEWS_TEXT];
    bool faulty = false;

    /* A file that is wrong is told before a long capture is read; of a live one, the ledger is asked for afterwards. */
    if (!o->interface && !read_ledger(o, claims)) return EXIT_USAGE;
    if (c) views_read(views, c, o->interface ? &until : NULL, isatty(STDERR_FILENO));
    if (o->kernel && !views_read_kernel(views, o->kernel, error)) return complain("%s%s", error, "");
    if (o->interface) {
        if (o->ledger) usleep(LEDGER_FILE_LAG_US);
        if (!read_ledger(o, claims)) return EXIT_USAGE;
    }
    if (c) faulty = tell_faults(c, &views->counts);
    count_lost(&r);
    verdicts_make(x, claims, views, o->slack_ns, r.lost);
    if (o->json)
        report_json(stdout, &r);
    else
        report_text(stdout, &r, takes_color(STDOUT_FILENO));
    if (fflush(stdout) || ferror(stdout)) {
        complain("stdout: %s%s", strerror(errno), "");
        return EXIT_FAILED;
    }
    if (verdicts_wrong(x)) return EXIT_DISAGREED;
    return faulty ? EXIT_USAGE : EXIT_FINE;
}

int crosscheck_main(int argc, char **argv) {
    struct options o = {.slack_ns = MSEC(250)};
    struct claims claims = {0};
    struct views views = {0};
    struct verdicts *x = calloc(1, sizeof *x);
    struct capture *c;
    int code;

    o.pcap = calloc((size_t)argc + 1, sizeof *o.pcap);
    if (!x || !o.pcap) abort();
    code = parse_options(argc, argv, &o);
    if (code == EXIT_FINE) {
        c = !o.kernel && (!o.interface || probe_ledger(&o)) ? open_capture(&o) : NULL;
        code = c || o.kernel ? run(&o, c, &claims, &views, x) : EXIT_USAGE;
        if (c) capture_close(&c);
    }
    claims_free(&claims);
    views_free(&views);
    verdicts_free(x);
    free(x);
    free(o.pcap);
    return code < 0 ? EXIT_FINE : code;
}
