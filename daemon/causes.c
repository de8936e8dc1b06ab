#include "causes.h"

#include "log/log.h"
#include "record/finding_json.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MOST  SEC(1)
#define TICK_LEAST MSEC(100)
#define TICK_CALM  SEC(4)  /* nothing happens, but what did may become a leak: at most so much later than it is one */
#define TICK_QUIET SEC(15) /* nothing happens, but what is open may resolve */
#define AFTERMATH  SEC(2)  /* for what the rules wait to see after a connection's end */

/* Off: longer than anything lasts, and far from overflow. */
#define OFF (NEVER / 4)

struct causes {
    struct server *server;
    struct admin *admin;
    struct event *tick;
    mono_ns period, calm;
    mono_ns patience; /* so long after the last thing that happened, time alone may raise something */
};

/* How many local ports the kernel gives out; the default of Linux where it does not say. */
static uint32_t port_range(void) {
    static const struct findings_conf dflt = FINDINGS_CONF_DEFAULT;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned from, to;
    if (!f) return dflt.port_range;
    bool fine = fscanf(f, "%5u %5u", &from, &to) == 2 && from <= to && to <= 65535;
    fclose(f);
    return fine ? to - from + 1 : dflt.port_range;
}

static struct findings_conf settings(const struct conf *c) {
    struct findings_conf f = FINDINGS_CONF_DEFAULT;
    f.leak_after_ns = c->findings.leak_after ? c->findings.leak_after : OFF;
    f.slow_after_ns = c->findings.slow_after ? c->findings.slow_after : OFF;
    f.window_ns = c->findings.window;
    f.idle_conn_timeout_ns = c->pool.idle_conn_timeout;
    f.port_range = port_range();
    f.observer = OBSERVER_DAEMON;
    f.forward = c->proxy.mode == MODE_FORWARD;
    return f;
}

/* Four looks within the shorter of the two thresholds, but no more than it takes. */
static void set_times(struct causes *c) {
    const struct conf *conf = c->server->conf;
    mono_ns leak = conf->findings.leak_after, slow = conf->findings.slow_after;
    mono_ns shorter = leak && (!slow || leak < slow) ? leak : slow;
    c->patience = (leak > slow ? leak : slow) + TICK_CALM;
    c->period = !shorter || shorter / 4 > TICK_MOST ? TICK_MOST : shorter / 4 < TICK_LEAST ? TICK_LEAST : shorter / 4;
    c->calm = !shorter || shorter / 2 > TICK_CALM ? TICK_CALM : shorter / 2 < c->period ? c->period : shorter / 2;
    c->server->tick_after = c->period;
}

/* --- news ----------------------------------------------------------------- */

static void log_change(const struct finding *fi, bool raised) {
    const struct finding_subject *s = fi->subject;
    const char *kind = finding_name((enum finding_kind)fi->kind);
    char id[FINDING_ID_TEXT_MAX], summary[512];
    finding_id_text(fi->id, id);
    if (!raised) {
        log_info(id, "cleared: %s", kind);
        return;
    }
    finding_summary(fi, summary, sizeof summary);
    (fi->severity == SEVERITY_INFO ? log_info : log_warn)(
        id, "raised: %s, %s, %s %s%s%s: %s", kind, confidence_name((enum confidence)fi->confidence),
        side_name((enum side)s->side), *s->key ? s->key : s->client, *s->tag ? ", " : "", s->tag, summary);
}

/* It turned out to be none, or its client was not seen for long and there was no room. What was raised is cleared. */
static void log_gone(uint64_t finding) {
    char id[FINDING_ID_TEXT_MAX];
    log_info(finding_id_text(finding, id), "cleared, and not held any more");
}

static void tell_news(struct causes *c) {
    struct findings *f = c->server->findings;
    struct finding_change change;
    while (findings_next_change(f, &change)) {
        const struct finding *fi = findings_find(f, change.id);
        if (fi)
            log_change(fi, change.raised);
        else if (!change.raised)
            log_gone(change.id);
        if (c->admin) admin_finding(c->admin, &change);
    }
}

/* --- time ----------------------------------------------------------------- */

/* 0: no need to look again before something happens. */
static mono_ns next_look(const struct causes *c) {
    const struct server *s = c->server;
    mono_ns quiet = s->now - s->last_work;
    bool connected =
        ledger_totals(s->ledger, SIDE_UPSTREAM)->open > 0 || ledger_totals(s->ledger, SIDE_DOWNSTREAM)->open > 0;
    if (quiet <= AFTERMATH) return c->period;
    if (connected && quiet <= c->patience) return c->calm;
    return findings_open(s->findings) ? TICK_QUIET : 0;
}

/* Leaves no decision to carry out, so it does without server_leave, which would count as work. */
static void on_tick(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct causes *c = arg;
    struct server *s = c->server;
    server_enter(s);
    findings_tick(s->findings, s->now);
    tell_news(c);
    mono_ns next = next_look(c);
    struct timeval tv = {(time_t)(next / SEC(1)), (suseconds_t)(next % SEC(1) / 1000)};
    s->ticking = next == c->period; /* else work goes on with the short period at once */
    if (next) event_add(c->tick, &tv);
}

/* --- life ----------------------------------------------------------------- */

struct causes *causes_new(struct server *s) {
    struct causes *c = calloc(1, sizeof *c);
    if (!c) abort();
    struct findings_conf conf = settings(s->conf);
    c->server = s;
    c->tick = event_new(s->base, -1, 0, on_tick, c);
    if (!c->tick) abort();
    set_times(c);
    s->findings = findings_new(&conf);
    s->tick = c->tick;
    return c;
}

void causes_set_conf(struct causes *c) {
    struct findings_conf conf = settings(c->server->conf);
    findings_set_conf(c->server->findings, &conf);
    set_times(c);
}

void causes_tell(struct causes *c, struct admin *a) {
    c->admin = a;
}

void causes_free(struct causes **cp) {
    struct causes *c = *cp;
    *cp = NULL;
    if (!c) return;
    c->server->tick = NULL;
    event_free(c->tick);
    findings_free(&c->server->findings);
    free(c);
}
