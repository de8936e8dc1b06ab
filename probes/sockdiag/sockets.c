/* connleak sockets: ss and lsof in one, with a verdict. */
#define _GNU_SOURCE
#include "sockdiag/sockets.h"

#include "commands.h"
#include "core/duration.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage_text[] = "usage: connleak sockets [--pid PID|--port PORT] [--watch D] [--json]\n"
                                 "\n"
                                 "TCP connections of this machine: what lies unread in which, and whose it is. A\n"
                                 "row each, the worst first, with what it waits for and a verdict in words.\n"
                                 "\n"
                                 "  --pid PID     only those that this process has open; if it is in another\n"
                                 "                network namespace (a container), sockets are looked for there\n"
                                 "  --port PORT   only those to or from this port; the kernel selects\n"
                                 "  --watch D     look again every D (1s, 250ms, ...) until interrupted; times\n"
                                 "                then run from when nothing was read any more, and not from the\n"
                                 "                last byte's arrival, which is what the kernel remembers\n"
                                 "  --json        one object, connleak.sockets/1; with --watch, a line each round\n"
                                 "\n"
                                 "Recv-Q, Send-Q: bytes received and not read; bytes written and not acknowledged.\n"
                                 "To see processes of other users takes root (or CAP_SYS_PTRACE).\n"
                                 "Exit code: 0 fine, 2 usage or input, 1 failed while running.\n";

#define WATCH_LEAST MSEC(10)
#define SWEEP_STEP  1024

static volatile sig_atomic_t stopped;

static void on_stop(int sig) {
    (void)sig;
    stopped = 1;
}

__attribute__((format(printf, 2, 3))) static int complain(int code, const char *fmt, ...) {
    va_list ap;

    fputs("connleak sockets: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

/* ---- options ---- */

enum { OPT_PID = 256, OPT_PORT, OPT_WATCH, OPT_JSON, OPT_HELP };
static const struct option long_options[] = {
    {"pid", required_argument, NULL, OPT_PID},     {"port", required_argument, NULL, OPT_PORT},
    {"watch", required_argument, NULL, OPT_WATCH}, {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},         {NULL, 0, NULL, 0}};

static bool number(const char *text, long most, long *out) {
    char *end;

    if (*text < '0' || *text > '9') return false;
    errno = 0;
    *out = strtol(text, &end, 10);
    return !errno && !*end && *out >= 1 && *out <= most;
}

/* EXIT_FINE: go on; -1: help was asked for and given; else the exit code. */
static int parse_options(int argc, char **argv, struct sockets_asked *a) {
    long n;
    int opt;

    optind = opterr = 0; /* glibc: a new scan, whatever was scanned before */
    while ((opt = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        switch (opt) {
        case OPT_PID:
            if (!number(optarg, INT32_MAX, &n))
                return complain(EXIT_USAGE, "--pid: expected a process id, found \"%s\"", optarg);
            a->pid = (pid_t)n;
            break;
        case OPT_PORT:
            if (!number(optarg, 65535, &n))
                return complain(EXIT_USAGE, "--port: expected a port, 1 to 65535, found \"%s\"", optarg);
            a->port = (uint16_t)n;
            break;
        case OPT_WATCH:
            if (!duration_parse(optarg, &a->watch_ns) || a->watch_ns < WATCH_LEAST)
                return complain(EXIT_USAGE, "--watch: expected a time such as 1s, at least 10ms, found \"%s\"", optarg);
            break;
        case OPT_JSON:
            a->json = true;
            break;
        case OPT_HELP:
        case 'h':
            fputs(usage_text, stdout);
            return -1;
        case ':':
            return complain(EXIT_USAGE, "%s takes a value; see connleak sockets --help", argv[optind - 1]);
        default:
            return complain(EXIT_USAGE, "unknown option %s; see connleak sockets --help", argv[optind - 1]);
        }
    }
    if (optind < argc) return complain(EXIT_USAGE, "unexpected argument \"%s\"", argv[optind]);
    return EXIT_FINE;
}

/* ---- one round ---- */

static void *grown(void *list, size_t n, size_t *room, size_t size) {
    if (n < *room) return list;
    *room = *room ? *room * 2 : 64;
    list = reallocarray(list, *room, size);
    if (!list) abort();
    return list;
}

static void take_row(const struct sock_row *row, void *arg) {
    struct sockets *s = arg;

    if (row->state == SOCK_TIME_WAIT) {
        s->time_wait++;
    } else if (row->state == SOCK_LISTEN) {
        s->listeners = grown(s->listeners, s->n_listeners, &s->listeners_room, sizeof *s->listeners);
        s->listeners[s->n_listeners++] = *row;
    } else if (s->n_rows == SOCKETS_MAX) {
        s->beyond++;
    } else {
        s->rows = grown(s->rows, s->n_rows, &s->room, sizeof *s->rows);
        s->rows[s->n_rows++] = (struct socket_row){.row = *row};
    }
}

/* Who listens where this connection, which nobody has accepted yet, came in. */
static uint32_t listener_of(const struct sockets *s, const struct sock_row *row) {
    static const uint8_t any[16];
    uint32_t inode = 0;

    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct endpoint *at = &s->listeners[i].flow.local;
        if (at->port != row->flow.local.port) continue;
        if (endpoint_equal(at, &row->flow.local)) return s->listeners[i].inode;
        if (!memcmp(at->addr, any, sizeof any) && (at->family == row->flow.local.family || at->family == ADDR_V6))
            inode = s->listeners[i].inode;
    }
    return inode;
}

static uint32_t inode_of(const struct sockets *s, const struct sock_row *row) {
    bool waits = row->state == SOCK_ESTABLISHED || row->state == SOCK_CLOSE_WAIT;
    return row->inode || !waits ? row->inode : listener_of(s, row);
}

static bool sweep(struct owners *o, bool full) {
    if (!owners_begin(o, full)) return false;
    while (!owners_step(o, SWEEP_STEP) && !stopped) {}
    return true;
}

static void sort(struct sockets *s, int (*compare)(const void *, const void *)) {
    if (s->n_rows) qsort(s->rows, s->n_rows, sizeof *s->rows, compare); /* rows is NULL before the first */
}

static int by_flow(const void *a, const void *b) {
    return flow_compare(&((const struct socket_row *)a)->row.flow, &((const struct socket_row *)b)->row.flow);
}

/* The other end, where it is a socket here too; rows are in order of flow. */
static struct socket_row *other_end(struct sockets *s, const struct sock_row *row) {
    struct socket_row key = {.row.flow = {.local = row->flow.remote, .remote = row->flow.local}};
    return bsearch(&key, s->rows, s->n_rows, sizeof *s->rows, by_flow);
}

/* Looks for the owners of all rows, if one of them is new: whose the others are is known. */
static void find_owners(struct sockets *s) {
    bool news = false;

    for (size_t i = 0; i < s->n_rows && !news; i++) {
        struct owners_progress before, after;
        owners_progress(s->owners, &before);
        owners_want(s->owners, inode_of(s, &s->rows[i].row));
        owners_progress(s->owners, &after);
        news = after.wanted > before.wanted;
    }
    if (news) {
        owners_forget(s->owners); /* those of sockets that are gone, too */
        for (size_t i = 0; i < s->n_rows; i++) owners_want(s->owners, inode_of(s, &s->rows[i].row));
        sweep(s->owners, true);
    }
    owners_progress(s->owners, &s->sweep);
    s->unowned = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        struct socket_row *r = &s->rows[i];
        struct socket_row *other = other_end(s, &r->row);
        r->owner = owners_find(s->owners, inode_of(s, &r->row));
        r->peer = other ? owners_find(s->owners, inode_of(s, &other->row)) : NULL;
    }
}

/* --pid: leaves the rows that the process has. False: there is no such process (any more). */
static bool keep_own(struct sockets *s) {
    size_t kept = 0;

    owners_forget(s->own);
    for (size_t i = 0; i < s->n_rows; i++) owners_want(s->own, inode_of(s, &s->rows[i].row));
    if (!sweep(s->own, true)) return false;
    for (size_t i = 0; i < s->n_rows; i++) {
        struct socket_row *r = &s->rows[i];
        const struct owner *own = owners_find(s->own, inode_of(s, &r->row));
        if (!own) continue;
        r->owner = own;
        s->rows[kept++] = *r;
    }
    s->n_rows = kept;
    return true;
}

/* What is remembered of a socket goes on; of those that are gone, nothing is. */
static void remember(struct sockets *s) {
    struct idmap next = {0};

    for (size_t i = 0; i < s->n_rows; i++) {
        struct socket_row *r = &s->rows[i];
        if (!r->row.cookie || idmap_get(&next, r->row.cookie)) continue;
        r->memory = idmap_get(&s->memories, r->row.cookie);
        if (r->memory)
            idmap_del(&s->memories, r->row.cookie);
        else if (!(r->memory = calloc(1, sizeof *r->memory)))
            abort();
        sock_remember(r->memory, &r->row, s->now);
        idmap_put(&next, r->row.cookie, r->memory);
    }
    for (size_t i = 0; i < s->memories.room; i++)
        if (s->memories.slots[i].id) free(s->memories.slots[i].thing);
    idmap_clear(&s->memories);
    s->memories = next;
}

static struct sock_who who(const struct owner *o) {
    return o ? (struct sock_who){o->process->pid, o->process->comm} : (struct sock_who){0};
}

static int by_worst(const void *a, const void *b) {
    const struct socket_row *x = a, *y = b;
    return sock_worse(&x->verdict, &x->row, &y->verdict, &y->row);
}

static void judge(struct sockets *s) {
    for (size_t i = 0; i < s->n_rows; i++) {
        struct socket_row *r = &s->rows[i];
        struct sock_who self = who(r->owner), peer = who(r->peer);
        sock_judge(&r->row, r->memory, s->now, &self, &peer, &r->verdict);
        s->unowned += r->row.inode && !r->owner;
    }
    sort(s, by_worst);
}

static int64_t read_clock(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return SEC(t.tv_sec) + t.tv_nsec;
}

/* The process of --pid cannot be looked into: errno says why. One that was watched may well end. */
static int no_process(struct sockets *s) {
    int pid = (int)s->asked.pid;

    if (errno == EACCES || errno == EPERM)
        return complain(EXIT_FAILED, "process %d is another user's: this takes root, or CAP_SYS_PTRACE", pid);
    s->ended = true;
    return s->looks ? complain(EXIT_FINE, "process %d has ended", pid)
                    : complain(EXIT_USAGE, "--pid: there is no process %d", pid);
}

/* EXIT_FINE, or the exit code after a complaint. */
static int look(struct sockets *s) {
    struct sockdiag_filter f = {.states = SOCK_CONNECTED | SOCK_STATE(SOCK_LISTEN) | SOCK_STATE(SOCK_TIME_WAIT),
                                .port = s->asked.port};
    char err[SOCKDIAG_TEXT];

    s->n_rows = s->n_listeners = 0;
    s->time_wait = s->beyond = 0;
    s->now = read_clock(CLOCK_MONOTONIC);
    s->wall_ns = read_clock(CLOCK_REALTIME);
    if (!sockdiag_list(s->diag, &f, take_row, s, &s->interrupted, err)) return complain(EXIT_FAILED, "%s", err);
    sort(s, by_flow);
    find_owners(s);
    if (s->own && !keep_own(s)) return no_process(s);
    remember(s);
    judge(s);
    s->looks++;
    return EXIT_FINE;
}

/* ---- output ---- */

const char *sockets_missing(const struct sockets *s, char *buf, size_t size) {
    if (!s->unowned || s->own) return NULL;
    if (s->sweep.denied)
        snprintf(buf, size, "the owners of %llu sockets are not known: %u processes are other users' (run it as root)",
                 (unsigned long long)s->unowned, s->sweep.denied);
    else
        snprintf(buf, size,
                 "the owners of %llu sockets are not known: their processes cannot be seen from here (another PID "
                 "namespace? In Kubernetes: shareProcessNamespace)",
                 (unsigned long long)s->unowned);
    return buf;
}

static int show(struct sockets *s, struct json_out *o, bool *said) {
    bool terminal = isatty(STDOUT_FILENO);
    char why[256];

    json_out_reset(o);
    if (s->asked.json)
        sockets_json(o, s);
    else {
        if (s->asked.watch_ns && terminal) JO_PUT(o, "\033[H\033[2J");
        sockets_table(o, s, takes_color(STDOUT_FILENO));
    }
    fwrite(o->data, 1, o->len, stdout);
    if (fflush(stdout) || ferror(stdout)) return complain(EXIT_FAILED, "stdout: %s", strerror(errno));
    if (!*said && sockets_missing(s, why, sizeof why)) {
        complain(0, "%s", why);
        *said = true;
    }
    return EXIT_FINE;
}

/* Until the next round; on a grid, so that rounds do not drift by what each takes. */
static void pause_until(mono_ns then) {
    struct timespec t = {.tv_sec = then / SEC(1), .tv_nsec = then % SEC(1)};
    while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static int rounds(struct sockets *s) {
    struct sigaction stop = {.sa_handler = on_stop};
    struct json_out o = {0};
    bool said = false;
    int code = look(s);

    if (s->asked.watch_ns) {
        sigaction(SIGINT, &stop, NULL);
        sigaction(SIGTERM, &stop, NULL);
    }
    for (mono_ns next = s->now; code == EXIT_FINE && !s->ended;) {
        code = show(s, &o, &said);
        if (code != EXIT_FINE || !s->asked.watch_ns) break;
        do next += s->asked.watch_ns;
        while (next < s->now);
        pause_until(next);
        if (stopped) break;
        code = look(s);
    }
    json_out_free(&o);
    return code;
}

/* ---- namespaces ---- */

/* Sockets are seen in the network namespace in which one asks: that of the process, if it has
 * another. What may not be found out is not complained of here. */
static int enter_namespace(pid_t pid) {
    char path[48], theirs[64], ours[64];
    ssize_t n, m;
    int fd, code = EXIT_FINE;

    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    n = readlink(path, theirs, sizeof theirs);
    m = readlink("/proc/self/ns/net", ours, sizeof ours);
    if (n <= 0 || (n == m && !memcmp(theirs, ours, (size_t)n))) return EXIT_FINE;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        code = complain(EXIT_FAILED, "process %d is in another network namespace, which takes root to enter: %s",
                        (int)pid, strerror(errno));
    if (fd >= 0) close(fd);
    return code;
}

int sockets_main(int argc, char **argv) {
    struct sockets s = {0};
    char err[SOCKDIAG_TEXT];
    int code = parse_options(argc, argv, &s.asked);

    if (code != EXIT_FINE) return code < 0 ? EXIT_FINE : code;
    if (s.asked.pid) code = enter_namespace(s.asked.pid);
    if (code != EXIT_FINE) return code;
    s.diag = sockdiag_open(err);
    if (!s.diag) return complain(EXIT_FAILED, "%s", err);
    s.owners = owners_new(0);
    if (s.asked.pid) s.own = owners_new(s.asked.pid);
    code = rounds(&s);
    for (size_t i = 0; i < s.memories.room; i++)
        if (s.memories.slots[i].id) free(s.memories.slots[i].thing);
    idmap_clear(&s.memories);
    owners_free(&s.owners);
    owners_free(&s.own);
    sockdiag_close(&s.diag);
    free(s.rows);
    free(s.listeners);
    return code;
}
