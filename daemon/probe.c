#include "probe.h"

#include "core/finding.h"
#include "sockdiag/owner.h"
#include "sockdiag/sockdiag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A round: so many connections at most, two requests of some microseconds each. After so many without a
 * suspect there is none that time alone could still make one. */
#define ROUND_MOST  128
#define QUIET_LEAST 3

/* A sweep over /proc: so many directory entries at a time, and between two sweeps so many times the time
 * that one takes. The owners of so many sockets are held, then they are looked for anew. */
#define STEP        256
#define STEP_PAUSE  MSEC(20)
#define SWEEP_PAUSE 20
#define OWNERS_KEPT 4096

_Static_assert(PROBE_TEXT >= SOCKDIAG_TEXT, "the error of one is the error of the other");

struct probe {
    struct server *s;
    struct sockdiag *diag;
    struct owners *owners;
    struct event *round; /* server.on_suspicion */
    struct event *sweep; /* the next step, while a sweep is under way */
    unsigned quiet;      /* rounds without a suspect, in a row */
    bool news;           /* an owner is wanted that no sweep has looked for */
    mono_ns sweep_begun;
    mono_ns sweep_again; /* not before */
    bool said_owners;
    struct log_limit said_silent;
};

static void arm(struct event *e, int64_t ns) {
    struct timeval tv = {(time_t)(ns / SEC(1)), (suseconds_t)(ns % SEC(1) / 1000)};
    if (!event_pending(e, EV_TIMEOUT, NULL)) event_add(e, &tv);
}

/* ---- one connection ---- */

static bool find(struct probe *p, const struct flow_key *flow, struct sock_row *out) {
    enum sockdiag_found found = sockdiag_find(p->diag, flow, out);
    if (found == SOCKDIAG_SILENT)
        log_limited(&p->said_silent, p->s->now, LEVEL_WARN, "probe", "the kernel does not say what a socket holds: %s",
                    strerror(errno));
    return found == SOCKDIAG_FOUND;
}

/* The process that has it open, if it is known already; else it will be looked for. */
static const struct owner_process *process_of(struct probe *p, uint32_t inode) {
    const struct owner *owner = owners_find(p->owners, inode);
    struct owners_progress before, after;

    if (owner) return owner->process;
    owners_progress(p->owners, &before);
    owners_want(p->owners, inode);
    owners_progress(p->owners, &after);
    p->news |= after.wanted > before.wanted;
    return NULL;
}

static bool is_stuck(const struct sock_row *ours) {
    uint32_t unsent = ours->notsent != SOCK_UNKNOWN ? ours->notsent : ours->send_q;
    return unsent > 0 && (ours->snd_wnd == 0 || ours->timer == SOCK_TIMER_PROBE);
}

static void look_at(struct probe *p, const struct suspect *suspect) {
    struct server *s = p->s;
    const struct lifecycle *life = ledger_find(s->ledger, suspect->side, suspect->conn);
    struct sock_row ours, theirs;

    if (!life || life->side != SIDE_DOWNSTREAM || life->state == LIFE_CLOSED) return;
    struct flow_key client_end = {.local = life->flow.remote, .remote = life->flow.local};
    struct fact_socket seen = {.recv_q = UNKNOWN_BYTES, .send_q = UNKNOWN_BYTES};
    if (find(p, &life->flow, &ours)) {
        seen.send_q = ours.send_q;
        seen.zero_window = is_stuck(&ours);
    }
    if (find(p, &client_end, &theirs)) {
        const struct owner_process *process = process_of(p, theirs.inode);
        seen.recv_q = theirs.recv_q;
        seen.pid = process ? (uint32_t)process->pid : 0;
        seen.comm = process ? process->comm : NULL;
    }
    if (!seen.pid && life->client) { /* what was known once holds on */
        seen.pid = life->client->pid;
        seen.comm = life->client->comm;
    }
    struct fact fact = {
        .at_ns = s->now, .conn = suspect->conn, .kind = FACT_SOCKET, .side = suspect->side, .socket = &seen};
    findings_fact(s->findings, &fact);
    if (seen.recv_q != UNKNOWN_BYTES) ledger_set_probed(s->ledger, life->id, seen.pid, seen.comm, seen.recv_q);
}

/* ---- whose they are ---- */

/* The callbacks here leave no decision to be carried out, so they do without server_leave, which would count as work.
 */

static void say_unowned(struct probe *p) {
    struct owners_progress done;

    owners_progress(p->owners, &done);
    if (p->said_owners || done.found == done.wanted) return;
    p->said_owners = true;
    if (done.denied)
        log_info("probe",
                 "client.pid stays unknown of some clients: %u processes may not be looked into "
                 "(CAP_SYS_PTRACE would allow it)",
                 done.denied);
    else
        log_info("probe", "client.pid stays unknown of some clients: their processes cannot be seen from here "
                          "(another PID namespace, or ProtectProc=)");
}

static void on_sweep(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct probe *p = arg;
    server_enter(p->s);
    if (!owners_step(p->owners, STEP)) {
        arm(p->sweep, STEP_PAUSE);
    } else {
        p->sweep_again = p->s->now + SWEEP_PAUSE * (p->s->now - p->sweep_begun);
        say_unowned(p);
    }
}

static void maybe_sweep(struct probe *p) {
    struct owners_progress known;

    if (!p->news || p->s->now < p->sweep_again || event_pending(p->sweep, EV_TIMEOUT, NULL)) return;
    p->news = false;
    owners_progress(p->owners, &known);
    p->sweep_begun = p->s->now;
    if (owners_begin(p->owners, false)) {
        arm(p->sweep, 0);
    } else if (!p->said_owners) {
        p->said_owners = true;
        log_info("probe", "client.pid stays unknown: /proc cannot be read: %s", strerror(errno));
    }
}

/* ---- rounds ---- */

static void on_round(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct probe *p = arg;
    struct server *s = p->s;
    struct suspect suspects[ROUND_MOST];
    struct owners_progress known;

    server_enter(s);
    size_t n = findings_suspects(s->findings, s->now, suspects, ROUND_MOST);
    owners_progress(p->owners, &known);
    if (n && known.wanted >= OWNERS_KEPT && !event_pending(p->sweep, EV_TIMEOUT, NULL)) owners_forget(p->owners);
    for (size_t i = 0; i < n; i++) look_at(p, &suspects[i]);
    maybe_sweep(p);
    p->quiet = n || s->may_suspect ? 0 : p->quiet + 1;
    s->may_suspect = false;
    if (p->quiet < QUIET_LEAST) arm(p->round, SUSPECT_AFTER);
    /* else until server.on_suspicion is set going again */
}

struct probe *probe_new(struct server *s, char err[PROBE_TEXT]) {
    struct sockdiag *diag = sockdiag_open(err);
    struct probe *p = diag ? calloc(1, sizeof *p) : NULL;

    if (!diag) return NULL;
    if (!p) abort();
    p->s = s;
    p->diag = diag;
    p->owners = owners_new(0);
    p->round = event_new(s->base, -1, 0, on_round, p);
    p->sweep = event_new(s->base, -1, 0, on_sweep, p);
    if (!p->round || !p->sweep) abort();
    s->on_suspicion = p->round;
    return p;
}

void probe_free(struct probe **pp) {
    struct probe *p = *pp;

    if (!p) return;
    *pp = NULL;
    p->s->on_suspicion = NULL;
    event_free(p->round);
    event_free(p->sweep);
    owners_free(&p->owners);
    sockdiag_close(&p->diag);
    free(p);
}
