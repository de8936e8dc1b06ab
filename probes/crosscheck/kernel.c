/* What the kernel saw of connections, as views: its events stand where a
 * capture's packets do. */
#include "record/conn_read.h"
#include "record/kernel_evidence.h"
#include "views.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t clamp_time(int64_t ns) {
    return ns < 0 ? 0 : ns > JOIN_TIME_MAX ? JOIN_TIME_MAX : ns;
}

static struct join_end end_of(const struct kernel_end *e) {
    return (struct join_end){.fin_packet = e->fin_event,
                             .rst_packet = e->rst_event,
                             .gone_packet = e->closed_event,
                             .fin_ns = clamp_time(e->fin_ns),
                             .rst_ns = clamp_time(e->rst_ns),
                             .gone_ns = clamp_time(e->closed_ns)};
}

static uint32_t blind_spots(uint32_t missing) {
    uint32_t blind = 0;

    if (missing & KERNEL_BEGAN_BEFORE) blind |= JOIN_BLIND_START;
    if (missing & (KERNEL_OPEN_AT_END | KERNEL_LIMIT)) blind |= JOIN_BLIND_END;
    if (missing & KERNEL_EVENTS_LOST) blind |= JOIN_BLIND_GAPS;
    return blind;
}

static uint32_t unsaid(uint32_t known) {
    uint32_t fields = 0;

    if (!(known & KNOW_RST_SENT)) fields |= 1u << JOIN_RST_SENT;
    if (!(known & KNOW_RST_RECEIVED)) fields |= 1u << JOIN_RST_RECEIVED;
    if (!(known & KNOW_CLOSE)) fields |= 1u << JOIN_CLOSE_BY | 1u << JOIN_CLOSE_HOW;
    return fields;
}

/* A kernel knows sockets and nothing of what they carry, whatever a record says. */
#define KERNEL_KNOWS (KNOW_OPENED | KNOW_CLOSED | KNOW_RST_SENT | KNOW_RST_RECEIVED | KNOW_CLOSE | KNOW_DIAL)

static void add(struct views *v, const struct lifecycle *l, const struct kernel_evidence *e) {
    struct join_life *life;
    struct join_view *view = views_add(v, &life);

    life->flow = l->flow;
    life->opened_ns = clamp_time(l->opened_ns ? l->opened_ns : e->first_ns);
    life->closed_ns = clamp_time(l->closed_ns);
    life->opened_known = (l->known & KNOW_OPENED) != 0;
    *view = (struct join_view){.id = l->id,
                               .end = {end_of(&e->end[0]), end_of(&e->end[1])},
                               .opened_ns = clamp_time(l->opened_ns),
                               .first_ns = clamp_time(e->first_ns),
                               .last_ns = clamp_time(e->last_ns),
                               .syn_packet = l->known & KNOW_OPENED ? e->first_event : 0,
                               .first_packet = e->first_event,
                               .last_packet = e->last_event,
                               .known = l->known & KERNEL_KNOWS,
                               .blind = blind_spots(e->incomplete),
                               .unsaid = unsaid(l->known),
                               .pid = {e->end[0].pid, e->end[1].pid},
                               .roles_assumed = e->roles == KERNEL_ROLES_ASSUMED,
                               .stillborn = l->known & KNOW_OPENED && !l->dialed_ns && !e->end[1].seen};
    if (!v->first_ns || view->first_ns < v->first_ns) v->first_ns = view->first_ns;
    if (view->last_ns > v->last_ns) v->last_ns = view->last_ns;
    v->gaps += (e->incomplete & KERNEL_EVENTS_LOST) != 0;
    v->counts.packets = e->last_event > v->counts.packets ? e->last_event : v->counts.packets;
}

static bool failed(char error[VIEWS_TEXT], const char *path, uint64_t line, const char *why) {
    snprintf(error, VIEWS_TEXT, "%.200s: line %llu: %.250s", path, (unsigned long long)line, why);
    return false;
}

static bool has_address(const struct endpoint *e) {
    return e->family == ADDR_V4 || e->family == ADDR_V6;
}

static bool take(struct views *v, const struct conn_record *rec, const char *path, uint64_t line,
                 char error[VIEWS_TEXT]) {
    char why[KERNEL_EVIDENCE_TEXT];
    struct kernel_evidence e;

    if (rec->life.observer != OBSERVER_KERNEL)
        return failed(error, path, line, "observer: expected \"kernel\": what connleak resets --jsonl prints");
    if (!kernel_evidence_read(rec->evidence, &e, why)) return failed(error, path, line, why);
    if (!e.first_event || !e.first_ns) return failed(error, path, line, "evidence.first_event: expected a number");
    if (has_address(&rec->life.flow.local) && has_address(&rec->life.flow.remote) && v->n < UINT32_MAX)
        add(v, &rec->life, &e);
    return true;
}

/* As with a ledger, the last line may be half there: its writer was killed. */
static bool read_lines(struct views *v, FILE *f, const char *path, char error[VIEWS_TEXT]) {
    struct conn_reader *reader = conn_reader_new();
    char *text = NULL;
    size_t room = 0;
    uint64_t line = 0;
    ssize_t len;
    bool fine = true;

    while (fine && (len = getline(&text, &room, f)) >= 0) {
        struct conn_record rec;
        enum conn_read step = conn_read(reader, text, (size_t)len, &rec);

        line++;
        if (step == CONN_READ_OK) {
            fine = take(v, &rec, path, line, error);
            conn_record_clear(&rec);
        } else if (step == CONN_READ_ERROR && (text[len - 1] == '\n' || !feof(f))) {
            snprintf(error, VIEWS_TEXT, "%.200s: %.250s", path, conn_reader_error(reader));
            fine = false;
        }
    }
    if (fine && ferror(f)) fine = failed(error, path, line, strerror(errno));
    free(text);
    conn_reader_free(&reader);
    return fine;
}

bool views_read_kernel(struct views *v, const char *path, char error[VIEWS_TEXT]) {
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
    bool fine;

    if (!f) {
        snprintf(error, VIEWS_TEXT, "%.200s: %.250s", path, strerror(errno));
        return false;
    }
    fine = read_lines(v, f, path, error);
    if (f != stdin) fclose(f);
    return fine;
}

/* ---- which end had connected ---- */

static bool knows_flow(const struct join_life *lives, size_t n, const struct flow_key *flow) {
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = flow_compare(&lives[mid].flow, flow);

        if (!order) return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

static void turn(struct join_view *view) {
    bool sent = view->unsaid >> JOIN_RST_SENT & 1, received = view->unsaid >> JOIN_RST_RECEIVED & 1;
    struct join_end end = view->end[0];
    int32_t pid = view->pid[0];

    view->end[0] = view->end[1];
    view->end[1] = end;
    view->pid[0] = view->pid[1];
    view->pid[1] = pid;
    view->unsaid &= ~(1u << JOIN_RST_SENT | 1u << JOIN_RST_RECEIVED);
    view->unsaid |= (uint32_t)sent << JOIN_RST_RECEIVED | (uint32_t)received << JOIN_RST_SENT;
}

void views_turn(struct views *v, const struct join_life *lives, size_t n) {
    for (size_t i = 0; i < v->n; i++) {
        struct join_life *life = v->lives + i;
        struct flow_key back = {.local = life->flow.remote, .remote = life->flow.local};

        if (!v->views[life->ref].roles_assumed) continue;
        if (knows_flow(lives, n, &life->flow) || !knows_flow(lives, n, &back)) continue;
        life->flow = back;
        turn(v->views + life->ref);
    }
}
