/* connleak resets: RSTs as the kernel sends them, with its reason. */
#include "commands.h"
#include "core/duration.h"
#include "trace/output.h"
#include "trace/source.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char usage_text[] = "usage: connleak resets [--duration D] [--json|--jsonl]\n"
                                 "\n"
                                 "Shows each RST that this host's kernel sends, with its reason and whose socket\n"
                                 "it was, and those that come from other hosts, until interrupted. Takes root.\n"
                                 "\n"
                                 "  --duration D  for so long (90s, 5m, ...)\n"
                                 "  --json        one object, connleak.resets/1\n"
                                 "  --jsonl       the lives of all TCP connections of this host, connleak.conn/1,\n"
                                 "                one a line as they end: what connleak crosscheck --kernel takes\n"
                                 "\n"
                                 "Exit code: 0 fine, 2 usage, or what it takes is missing, 1 failed while running.\n";

/* Between two looks at the kernel's buffers: the first event of a burst is looked
 * at while its process still lives; coming for each would cost more than they do. */
#define LOOK_EVERY MSEC(20)
#define LOOK_AGAIN MSEC(250) /* while nothing happens: what was held back is due */

struct options {
    int64_t duration_ns; /* 0: until interrupted */
    enum resets_output as;
};

static int complain(const char *fmt, const char *what) {
    fputs("connleak resets: ", stderr);
    fprintf(stderr, fmt, what);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

/* EXIT_FINE: go on; -1: help was asked for and given; else the exit code. */
static int parse_options(int argc, char **argv, struct options *o) {
    enum { OPT_DURATION = 256, OPT_JSON, OPT_JSONL, OPT_HELP };
    static const struct option long_options[] = {{"duration", required_argument, NULL, OPT_DURATION},
                                                 {"json", no_argument, NULL, OPT_JSON},
                                                 {"jsonl", no_argument, NULL, OPT_JSONL},
                                                 {"help", no_argument, NULL, OPT_HELP},
                                                 {NULL, 0, NULL, 0}};
    int opt;

    optind = opterr = 0; /* glibc: a new scan, whatever was scanned before */
    while ((opt = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        enum resets_output before = o->as;

        switch (opt) {
        case OPT_DURATION:
            if (!duration_parse(optarg, &o->duration_ns) || o->duration_ns <= 0)
                return complain("--duration: expected a time such as 90s or 5m, found \"%s\"", optarg);
            break;
        case OPT_JSON:
        case OPT_JSONL:
            o->as = opt == OPT_JSON ? RESETS_JSON : RESETS_JSONL;
            if (before != RESETS_TABLE && before != o->as) return complain("expected one of --json and --jsonl%s", "");
            break;
        case 'h':
        case OPT_HELP:
            fputs(usage_text, stdout);
            return -1;
        case ':':
            return complain("%s takes a value; connleak resets --help says more", argv[optind - 1]);
        default:
            return complain("unknown option %s; connleak resets --help says more", argv[optind - 1]);
        }
    }
    return optind == argc ? EXIT_FINE : complain("unexpected argument \"%s\"", argv[optind]);
}

static volatile sig_atomic_t stopped;

static void stop(int sig) {
    (void)sig;
    stopped = 1;
}

static void catch_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = stop}, ignore = {.sa_handler = SIG_IGN};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) sigaction(ends[i], &action, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a reader that left is told by errno */
}

static int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SEC(1) + t.tv_nsec;
}

static void drain(struct fold *fold, struct resets_page *page, int64_t now) {
    struct trace_reset reset;
    struct trace_record record;

    while (fold_next_reset(fold, &reset)) page_reset(page, &reset);
    while (fold_next_record(fold, &record)) page_record(page, &record, now);
}

/* One look at the buffers. False if what came of it could not be written. */
static bool look(struct source *source, struct fold *fold, struct resets_page *page, bool last) {
    struct trace_event ev;
    int64_t until;
    uint64_t lost;

    source_read(source, last, &until, &lost);
    if (lost) fold_lost(fold, lost);
    while (source_next(source, &ev)) {
        fold_event(fold, &ev);
        drain(fold, page, ev.at_ns);
    }
    fold_tick(fold, until);
    drain(fold, page, until);
    return page_flush(page);
}

static bool watch(const struct options *o, struct source *source, struct fold *fold, struct resets_page *page) {
    struct timespec pause = {.tv_nsec = LOOK_EVERY};
    struct fold_counts counts;
    int64_t now = page->began_ns;

    page_begin(page);
    if (!page_flush(page)) return false;
    while (!stopped && (!o->duration_ns || now - page->began_ns < o->duration_ns)) {
        int64_t left = o->duration_ns ? page->began_ns + o->duration_ns - now : LOOK_AGAIN;

        source_wait(source, left < LOOK_AGAIN ? left : LOOK_AGAIN);
        if (!look(source, fold, page, false)) return false;
        if (!stopped) nanosleep(&pause, NULL);
        now = now_ns();
    }
    if (!look(source, fold, page, true)) return false;
    now = now_ns();
    fold_finish(fold, now);
    drain(fold, page, now);
    counts = fold_counts(fold);
    page_end(page, &counts, now);
    return page_flush(page);
}

static void tell_lost(uint64_t lost) {
    if (!lost) return;
    fprintf(stderr, "connleak resets: %llu events were lost, and records that they may concern say so\n",
            (unsigned long long)lost);
}

int resets_main(int argc, char **argv) {
    struct options o = {.as = RESETS_TABLE};
    struct fold_limits limits = FOLD_LIMITS_DEFAULT;
    struct resets_page page = {.out = stdout};
    char error[TRACE_TEXT] = "", left[TRACE_TEXT] = "";
    struct source *source;
    struct fold *fold;
    int code = parse_options(argc, argv, &o);

    if (code) return code < 0 ? EXIT_FINE : code;
    catch_signals();
    source = source_open(error);
    if (!source) return complain("%s", error);
    if (!trace_format_has_reason(source_format(source)))
        complain("this kernel gives no reason for its RSTs%s", "; Linux 6.12 and newer do");
    page.as = o.as;
    page.colour = takes_color(STDOUT_FILENO);
    page.reasons_known = trace_format_has_reason(source_format(source));
    page.to_wall_ns = source_to_wall_ns(source);
    page.began_ns = now_ns();
    limits.all_resets = trace_format_all_resets(source_format(source));
    fold = fold_new(&limits);
    fprintf(stderr, "connleak resets: watching%s\n", o.duration_ns ? "" : " until interrupted");
    if (!watch(&o, source, fold, &page)) {
        complain("stdout: %s", strerror(errno));
        code = EXIT_FAILED;
    }
    tell_lost(fold_counts(fold).lost);
    fold_free(&fold);
    json_out_free(&page.text);
    if (!source_close(&source, left)) {
        complain("%s is still there; rmdir it", left);
        code = EXIT_FAILED;
    }
    return code;
}
