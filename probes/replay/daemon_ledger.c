#include "daemon_ledger.h"

#include "crosscheck/fetch.h"
#include "record/conn_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_NS SEC(1) /* a local port may be used again, but not that soon */

struct own {
    struct endpoint local;
    int64_t wall;
    uint32_t conn;
};

struct fetching {
    struct daemon_ledger *d;
    struct own *own; /* sorted */
    size_t n;
    struct conn_reader *reader;
    char *error;
};

static int by_address(const void *a, const void *b) {
    const struct own *x = a, *y = b;
    int c = memcmp(&x->local, &y->local, sizeof x->local);

    return c ? c : x->wall < y->wall ? -1 : x->wall > y->wall;
}

/* The client whose address this is and that connected about then. */
static const struct own *find_own(const struct fetching *f, const struct endpoint *e, int64_t wall) {
    const struct own *best = NULL;
    int64_t apart = NEAR_NS;
    size_t lo = 0, hi = f->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (memcmp(&f->own[mid].local, e, sizeof *e) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < f->n && endpoint_equal(&f->own[lo].local, e); lo++) {
        int64_t d = f->own[lo].wall > wall ? f->own[lo].wall - wall : wall - f->own[lo].wall;
        if (d < apart) {
            apart = d;
            best = &f->own[lo];
        }
    }
    return best;
}

static bool take_line(void *arg, const char *line, size_t len) {
    struct fetching *f = arg;
    struct conn_record rec;
    const struct own *own;

    switch (conn_read(f->reader, line, len, &rec)) {
    case CONN_READ_BLANK:
    case CONN_READ_OTHER:
        return true;
    case CONN_READ_ERROR:
        snprintf(f->error, 256, "ledger: %.200s", conn_reader_error(f->reader));
        return false;
    case CONN_READ_OK:
        break;
    }
    own = rec.life.side == SIDE_DOWNSTREAM ? find_own(f, &rec.life.flow.remote, rec.life.opened_ns) : NULL;
    if (own && !f->d->lives[own->conn].found) {
        f->d->lives[own->conn] = (struct daemon_life){.found = true,
                                                      .closed = rec.life.state == LIFE_CLOSED,
                                                      .rst_received = rec.life.rst_received,
                                                      .requests = rec.life.requests,
                                                      .early_closes = rec.life.early_closes};
        f->d->found++;
    }
    conn_record_clear(&rec);
    return true;
}

bool daemon_ledger_fetch(struct daemon_ledger *d, const struct run *r, const char *admin, char error[256]) {
    struct fetching f = {.d = d, .error = error};
    bool ok;

    d->lives = calloc(r->plan->n_conns + (size_t)1, sizeof *d->lives);
    f.own = calloc(r->plan->n_conns + (size_t)1, sizeof *f.own);
    if (!d->lives || !f.own) abort();
    for (uint32_t i = 0; i < r->plan->n_conns; i++)
        if (r->clients[i].local.family != ADDR_NONE)
            f.own[f.n++] = (struct own){r->clients[i].local, r->clients[i].opened_wall_ns, i};
    qsort(f.own, f.n, sizeof *f.own, by_address);
    f.reader = conn_reader_new();
    ok = fetch_lines(admin, "/ledger", take_line, &f, error);
    conn_reader_free(&f.reader);
    free(f.own);
    return ok;
}

void daemon_ledger_free(struct daemon_ledger *d) {
    free(d->lives);
    *d = (struct daemon_ledger){0};
}
