#include "claims.h"

#include "fetch.h"
#include "record/conn_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool failed(char error[CLAIMS_TEXT], const char *where, const char *why) {
    snprintf(error, CLAIMS_TEXT, "%.200s: %.280s", where, why);
    return false;
}

static int64_t clamp_time(int64_t ns) {
    return ns < 0 ? 0 : ns > JOIN_TIME_MAX ? JOIN_TIME_MAX : ns;
}

static bool has_address(const struct endpoint *e) {
    return (e->family == ADDR_V4 || e->family == ADDR_V6) && e->port;
}

static void add(struct claims *c, const struct join_life *life, const struct join_claim *claim) {
    if (c->n == c->room) {
        c->room = c->room ? c->room * 2 : 1024;
        c->lives = realloc(c->lives, c->room * sizeof *c->lives);
        c->claims = realloc(c->claims, c->room * sizeof *c->claims);
        if (!c->lives || !c->claims) abort();
    }
    c->lives[c->n] = *life;
    c->lives[c->n].ref = (uint32_t)c->n;
    c->claims[c->n++] = *claim;
}

/* A record that says "closed" and not when has lost its time, not its end: the
 * missing time is compared like a wrong one. */
static struct join_claim claim_of(const struct conn_record *rec) {
    const struct lifecycle *l = &rec->life;
    uint32_t known = l->known | (l->observer == OBSERVER_DAEMON ? KNOW_CLOSED : 0u);

    return (struct join_claim){.id = l->id,
                               .opened_ns = clamp_time(l->opened_ns),
                               .closed_ns = clamp_time(l->closed_ns),
                               .seen_ns =
                                   l->closed_ns || l->state != LIFE_CLOSED ? clamp_time(rec->seen_ns) : JOIN_TIME_MAX,
                               .bytes_in = l->bytes_in,
                               .bytes_out = l->bytes_out,
                               .unread_bytes = l->unread_bytes,
                               .requests = l->requests,
                               .reused = rec->reused,
                               .early_closes = l->early_closes,
                               .known = known,
                               .side = l->side,
                               .state = l->state,
                               .close_by = l->close_by,
                               .close_how = l->close_how,
                               .close_reason = l->close_reason,
                               .rst_sent = l->rst_sent,
                               .rst_received = l->rst_received,
                               .opaque = l->opaque,
                               .accepted = l->side == SIDE_DOWNSTREAM};
}

static void take(struct claims *c, const struct conn_record *rec) {
    const struct flow_key *flow = &rec->life.flow;
    struct join_claim claim = claim_of(rec);
    struct join_life life = {.flow = *flow,
                             .opened_ns = claim.opened_ns,
                             .closed_ns = claim.closed_ns,
                             .opened_known = (claim.known & KNOW_OPENED) != 0};

    /* Closed, nobody says when: it pairs by its beginning alone. */
    if (!life.closed_ns && claim.state == LIFE_CLOSED) life.closed_ns = life.opened_ns;
    if (!has_address(&flow->local) || !has_address(&flow->remote)) {
        c->no_tuple++;
        return;
    }
    if (claim.accepted) {
        life.flow.local = flow->remote;
        life.flow.remote = flow->local;
    }
    add(c, &life, &claim);
}

bool claims_line(struct claims *c, const char *line, size_t len, char error[CLAIMS_TEXT]) {
    struct conn_record rec;

    if (!c->reader) c->reader = conn_reader_new();
    switch (conn_read(c->reader, line, len, &rec)) {
    case CONN_READ_BLANK:
        return true;
    case CONN_READ_OTHER:
        c->other++;
        return true;
    case CONN_READ_ERROR:
        return failed(error, "ledger", conn_reader_error(c->reader));
    case CONN_READ_OK:
        break;
    }
    if (c->n == UINT32_MAX) {
        conn_record_clear(&rec);
        return failed(error, "ledger", "more than 4,294,967,295 records");
    }
    take(c, &rec);
    conn_record_clear(&rec);
    return true;
}

/* A ledger knows every connection of its daemon that closed after the first that
 * it still holds, or began after the first that began, where none has been dropped. */
static void cover(struct claims *c, int64_t until) {
    uint64_t first_id[N_SIDES] = {0};
    int64_t opened = INT64_MAX, closed = INT64_MAX, last = 0;
    bool dropped = false;

    for (size_t i = 0; i < c->n; i++) {
        const struct join_claim *l = c->claims + i;
        int64_t seen = l->closed_ns ? l->closed_ns : l->opened_ns;

        if (l->opened_ns < opened) opened = l->opened_ns;
        if (l->closed_ns && l->closed_ns < closed) closed = l->closed_ns;
        if (seen > last) last = seen;
        if (l->side < N_SIDES && (!first_id[l->side] || l->id < first_id[l->side])) first_id[l->side] = l->id;
    }
    for (int s = 0; s < N_SIDES; s++) dropped |= first_id[s] > 1;
    c->first_ns = dropped && closed != INT64_MAX ? closed : opened;
    c->last_ns = until ? until : last;
    if (!c->n) c->first_ns = c->last_ns;
}

struct line_sink {
    struct claims *c;
    char *error;
};

static bool take_line(void *arg, const char *line, size_t len) {
    struct line_sink *s = arg;

    return claims_line(s->c, line, len, s->error);
}

static bool pass_over(void *arg, const char *line, size_t len) {
    (void)arg;
    (void)line;
    (void)len;
    return true;
}

bool claims_reachable(const char *host_port, char error[CLAIMS_TEXT]) {
    char why[FETCH_TEXT] = "";

    if (fetch_lines(host_port, "/healthz", pass_over, NULL, why)) return true;
    snprintf(error, CLAIMS_TEXT, "%s", why);
    return false;
}

bool claims_fetch(struct claims *c, const char *host_port, char error[CLAIMS_TEXT]) {
    struct line_sink sink = {c, error};
    char why[FETCH_TEXT] = "";
    struct timespec now;

    if (!fetch_lines(host_port, "/ledger", take_line, &sink, why)) {
        if (*why) snprintf(error, CLAIMS_TEXT, "%s", why);
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    cover(c, (int64_t)now.tv_sec * SEC(1) + now.tv_nsec);
    return true;
}

/* The last line of a file that a daemon is writing may be half there. */
static bool read_lines(struct claims *c, FILE *f, const char *path, char error[CLAIMS_TEXT]) {
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool ok = true;

    while (ok && (len = getline(&line, &room, f)) >= 0) {
        char why[CLAIMS_TEXT];

        ok = claims_line(c, line, (size_t)len, why);
        if (!ok && line[len - 1] != '\n' && feof(f)) {
            c->cut = ok = true;
            break;
        }
        if (!ok) failed(error, path, why);
    }
    if (ok && ferror(f)) ok = failed(error, path, strerror(errno));
    free(line);
    return ok;
}

bool claims_read_file(struct claims *c, const char *path, char error[CLAIMS_TEXT]) {
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
    bool ok;

    if (!f) return failed(error, path, strerror(errno));
    ok = read_lines(c, f, path, error);
    if (f != stdin) fclose(f);
    if (ok) cover(c, 0);
    return ok;
}

void claims_free(struct claims *c) {
    free(c->lives);
    free(c->claims);
    conn_reader_free(&c->reader);
    *c = (struct claims){0};
}
