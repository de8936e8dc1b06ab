#include "trace/source.h"

#include "trace/guard.h"
#include "trace/who.h"

#include <errno.h>
#include <kbuffer.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>
#include <tracefs.h>
#include <unistd.h>

#define TRACEFS_MAGIC 0x74726163

/* An event stands in its buffer a moment after the time that it bears. */
#define SETTLE_NS MSEC(5)

/* Bytes of a CPU that are read in one go; more stays with the kernel until the next. */
#define BATCH_BYTES (4u << 20)

struct waiting {
    struct trace_event ev;
    uint64_t nth; /* as it was read: what one CPU did within one tick of the clock stays in order */
};

struct source {
    struct tep_handle *tep;
    struct trace_format *format;
    struct tracefs_instance *instance;
    struct guard *guard;
    struct who *who;
    struct kbuffer *kbuffer;
    void *page;
    size_t page_size;
    struct pollfd *cpus; /* the raw buffer of each */
    size_t n_cpus;
    struct waiting *events; /* sorted: [first, until) may be handed out, [until, n) later */
    size_t first, until, n, room;
    int64_t to_wall_ns;
    uint64_t lost, n_read;
};

static int64_t read_clock(clockid_t clock) {
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SEC(1) + t.tv_nsec;
}

static bool refuse(char error[TRACE_TEXT], const char *what, const char *remedy) {
    snprintf(error, TRACE_TEXT, "%.240s; %.240s", what, remedy);
    return false;
}

/* ---- what must be there ---- */

static bool is_tracefs(const char *path) {
    struct statfs fs;

    return !statfs(path, &fs) && fs.f_type == TRACEFS_MAGIC;
}

/* libtracefs would mount it where it is not: that is for the administrator to do. */
static bool find_tracefs(char error[TRACE_TEXT]) {
    static char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char instances[64], what[128];

        if (!is_tracefs(places[i])) continue;
        snprintf(instances, sizeof instances, "%s/instances", places[i]);
        if (!access(instances, W_OK | X_OK)) return !tracefs_set_tracing_dir(places[i]);
        snprintf(what, sizeof what, "%s: %s", instances, strerror(errno));
        return refuse(error, what, "tracing needs root");
    }
    return refuse(error, "no tracefs at /sys/kernel/tracing",
                  geteuid() ? "run as root, or have it mounted: mount -t tracefs nodev /sys/kernel/tracing"
                            : "mount it: mount -t tracefs nodev /sys/kernel/tracing");
}

static bool has_event(const char *system, const char *event, char error[TRACE_TEXT]) {
    char what[128];

    if (tracefs_event_file_exists(NULL, system, event, "format")) return true;
    snprintf(what, sizeof what, "this kernel has no tracepoint %s:%s", system, event);
    return refuse(error, what, "it takes Linux 4.16 or newer with CONFIG_FTRACE");
}

/* The format as the running kernel gives it, parsed. */
static bool read_format(struct source *s, const char *system, const char *event) {
    int size = 0;
    char *text = tracefs_event_file_read(NULL, system, event, "format", &size);
    bool fine = text && !tep_parse_event(s->tep, text, (unsigned long)size, system);

    free(text);
    return fine;
}

static void read_page_header(struct source *s) {
    int size = 0;
    char *text = tracefs_instance_file_read(NULL, "events/header_page", &size);

    if (text) tep_parse_header_page(s->tep, text, (unsigned long)size, (int)sizeof(long));
    free(text);
}

/* Of these tracepoints alone: what else the kernel has is not for us to parse. */
static bool read_formats(struct source *s, char error[TRACE_TEXT]) {
    char why[TRACE_TEXT];

    if (!has_event("tcp", TRACE_SEND_EVENT, error) || !has_event("sock", TRACE_STATE_EVENT, error)) return false;
    s->tep = tep_alloc();
    if (!s->tep) abort();
    tep_set_local_bigendian(s->tep, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? TEP_BIG_ENDIAN : TEP_LITTLE_ENDIAN);
    tep_set_file_bigendian(s->tep, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? TEP_BIG_ENDIAN : TEP_LITTLE_ENDIAN);
    tep_set_long_size(s->tep, (int)sizeof(long));
    tep_set_page_size(s->tep, (int)sysconf(_SC_PAGESIZE));
    read_page_header(s);
    read_format(s, "tcp", TRACE_SEND_EVENT);
    read_format(s, "tcp", TRACE_RECEIVE_EVENT);
    read_format(s, "sock", TRACE_STATE_EVENT);
    s->format = trace_format_new(s->tep, why);
    return s->format || refuse(error, why, "this kernel's tracepoints are not those that are known");
}

/* ---- the instance ---- */

static bool no_instance(struct source *s, const char *doing, char error[TRACE_TEXT]) {
    char what[160];

    (void)s;
    snprintf(what, sizeof what, "%s: %s", doing, strerror(errno));
    return refuse(error, what,
                  errno == EPERM ? "the kernel's lockdown may forbid it, or a container" : "dmesg may say more");
}

static bool make_instance(struct source *s, char error[TRACE_TEXT]) {
    char name[GUARD_NAME_MAX], path[256];
    uint32_t random = 0;

    guard_clear_stale(tracefs_tracing_dir());
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = (uint32_t)read_clock(CLOCK_MONOTONIC);
    snprintf(name, sizeof name, GUARD_PREFIX "%d-%08x", (int)getpid(), random);
    snprintf(path, sizeof path, "%s/instances/%s", tracefs_tracing_dir(), name);
    s->guard = guard_start(path);
    if (!s->guard) return no_instance(s, "no process to guard the tracefs instance", error);
    s->instance = tracefs_instance_create(name);
    if (!s->instance) return no_instance(s, "no tracefs instance", error);
    return true;
}

/* Memory for events that wait for us, of all CPUs together, and of one. */
#define BUFFERS_KIB (64 << 10)
#define BUFFER_KIB  (8 << 10)

static void size_buffers(struct source *s) {
    char kib[24];
    size_t each = BUFFERS_KIB / (s->n_cpus ? s->n_cpus : 1);

    if (each > BUFFER_KIB) each = BUFFER_KIB;
    snprintf(kib, sizeof kib, "%zu", each);
    tracefs_instance_file_write(s->instance, "buffer_size_kb", kib);
}

/* Written before anything is traced: a clock that can be told as wall-clock
 * time; other protocols left out, waking with the first event, room for a burst.
 * The last three only help, and old kernels do without. */
static bool set_up(struct source *s, char error[TRACE_TEXT]) {
    if (tracefs_instance_file_write(s->instance, "trace_clock", "mono") < 0)
        return no_instance(s, "no trace clock \"mono\"", error);
    tracefs_event_file_write(s->instance, "sock", TRACE_STATE_EVENT, "filter", "protocol == 6");
    tracefs_instance_file_write(s->instance, "buffer_percent", "0");
    size_buffers(s);
    if (tracefs_event_enable(s->instance, "sock", TRACE_STATE_EVENT) < 0 ||
        tracefs_event_enable(s->instance, "tcp", TRACE_SEND_EVENT) < 0)
        return no_instance(s, "the tracepoints cannot be enabled", error);
    tracefs_event_enable(s->instance, "tcp", TRACE_RECEIVE_EVENT);
    s->to_wall_ns = read_clock(CLOCK_REALTIME) - read_clock(CLOCK_MONOTONIC);
    return true;
}

static bool open_cpus(struct source *s, char error[TRACE_TEXT]) {
    long n = sysconf(_SC_NPROCESSORS_CONF);
    char *names;

    s->cpus = calloc(n > 0 ? (size_t)n : 1, sizeof *s->cpus);
    if (!s->cpus) abort();
    for (long cpu = 0; cpu < n; cpu++) {
        char file[64];
        int fd;

        snprintf(file, sizeof file, "per_cpu/cpu%ld/trace_pipe_raw", cpu);
        fd = tracefs_instance_file_open(s->instance, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) s->cpus[s->n_cpus++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    if (!s->n_cpus) return no_instance(s, "no trace buffer can be read", error);
    s->page_size = (size_t)tep_get_sub_buffer_size(s->tep);
    if (s->page_size < 4096) s->page_size = (size_t)sysconf(_SC_PAGESIZE);
    s->page = malloc(s->page_size);
    s->kbuffer = kbuffer_alloc(KBUFFER_LSIZE_SAME_AS_HOST, KBUFFER_ENDIAN_SAME_AS_HOST);
    if (!s->page || !s->kbuffer) abort();
    names = tracefs_get_tracing_file("saved_cmdlines");
    s->who = who_new(names ? names : "/sys/kernel/tracing/saved_cmdlines");
    tracefs_put_tracing_file(names);
    return true;
}

struct source *source_open(char error[TRACE_TEXT]) {
    struct source *s = calloc(1, sizeof *s);
    char left[TRACE_TEXT];

    if (!s) abort();
    tep_set_loglevel(TEP_LOG_NONE);
    tracefs_set_loglevel(TEP_LOG_NONE);
    if (find_tracefs(error) && read_formats(s, error) && make_instance(s, error) && open_cpus(s, error) &&
        set_up(s, error))
        return s;
    source_close(&s, left);
    return NULL;
}

bool source_close(struct source **sp, char left[TRACE_TEXT]) {
    struct source *s = *sp;
    bool gone = true;

    if (!s) return true;
    *sp = NULL;
    for (size_t i = 0; i < s->n_cpus; i++) close(s->cpus[i].fd);
    if (s->instance) {
        char *dir = tracefs_instance_get_dir(s->instance);

        snprintf(left, TRACE_TEXT, "%s", dir ? dir : "a tracefs instance");
        tracefs_put_tracing_file(dir);
        tracefs_instance_free(s->instance);
    }
    if (s->guard) gone = guard_end(&s->guard);
    trace_format_free(&s->format);
    if (s->tep) tep_free(s->tep);
    if (s->kbuffer) kbuffer_free(s->kbuffer);
    who_free(&s->who);
    free(s->page);
    free(s->cpus);
    free(s->events);
    free(s);
    return gone;
}

const struct trace_format *source_format(const struct source *s) {
    return s->format;
}

int64_t source_to_wall_ns(const struct source *s) {
    return s->to_wall_ns;
}

/* ---- reading ---- */

void source_wait(struct source *s, int64_t wait_ns) {
    int64_t ms = (wait_ns + MSEC(1) - 1) / MSEC(1);

    if (s->n > s->until && ms > SETTLE_NS / MSEC(1)) ms = SETTLE_NS / MSEC(1);
    poll(s->cpus, (nfds_t)s->n_cpus, ms > 60000 ? 60000 : (int)ms);
}

static void take(struct source *s, void *data, size_t size, uint64_t at_ns) {
    struct waiting w;

    if (!trace_format_read(s->format, data, size, (int64_t)at_ns, &w.ev)) return;
    if (w.ev.pid) w.ev.pid = who_is(s->who, w.ev.pid, w.ev.at_ns, w.ev.comm);
    w.nth = s->n_read++;
    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 1024;
        s->events = realloc(s->events, s->room * sizeof *s->events);
        if (!s->events) abort();
    }
    s->events[s->n++] = w;
}

static void take_page(struct source *s) {
    unsigned long long at;
    void *data;
    int missed;

    if (kbuffer_load_subbuffer(s->kbuffer, s->page) < 0) return;
    missed = kbuffer_missed_events(s->kbuffer);
    if (missed) s->lost += missed > 0 ? (uint64_t)missed : 1; /* negative: the kernel did not count them */
    for (data = kbuffer_read_event(s->kbuffer, &at); data; data = kbuffer_next_event(s->kbuffer, &at))
        take(s, data, (size_t)kbuffer_event_size(s->kbuffer), at);
}

/* Until when all events of this CPU are there now, if not until `until`. */
static int64_t take_cpu(struct source *s, int fd, size_t limit, int64_t until) {
    size_t total = 0;
    ssize_t n;

    while ((n = read(fd, s->page, s->page_size)) > 0) {
        if ((size_t)n < s->page_size) memset((char *)s->page + n, 0, s->page_size - (size_t)n);
        take_page(s);
        total += (size_t)n;
        if (total >= limit && s->n && s->events[s->n - 1].ev.at_ns < until) return s->events[s->n - 1].ev.at_ns;
    }
    return until;
}

static int by_time(const void *p, const void *q) {
    const struct waiting *a = p, *b = q;

    if (a->ev.at_ns != b->ev.at_ns) return a->ev.at_ns < b->ev.at_ns ? -1 : 1;
    return a->nth < b->nth ? -1 : a->nth > b->nth;
}

void source_read(struct source *s, bool last, int64_t *until_ns, uint64_t *lost) {
    int64_t until;

    if (last) tracefs_trace_off(s->instance);
    until = read_clock(CLOCK_MONOTONIC) - (last ? 0 : SETTLE_NS);
    s->n -= s->first;
    if (s->n) memmove(s->events, s->events + s->first, s->n * sizeof *s->events);
    s->first = 0;
    for (size_t i = 0; i < s->n_cpus; i++) until = take_cpu(s, s->cpus[i].fd, last ? SIZE_MAX : BATCH_BYTES, until);
    if (s->n) qsort(s->events, s->n, sizeof *s->events, by_time);
    for (s->until = 0; s->until < s->n && (last || s->events[s->until].ev.at_ns <= until);) s->until++;
    *until_ns = until;
    *lost = s->lost;
    s->lost = 0;
}

bool source_next(struct source *s, struct trace_event *out) {
    if (s->first == s->until) return false;
    *out = s->events[s->first++].ev;
    return true;
}
