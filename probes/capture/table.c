/* The table for people: a row a connection, coloured by trouble, then sums by server. */
#include "capture/analyze.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SERVERS 1024 /* with sums of their own; the others share a row */
#define SLOTS       (2 * MAX_SERVERS)

struct server {
    struct endpoint at;
    struct totals sum;
};

struct table {
    bool color, begun;
    struct server *servers; /* as they came, then sorted */
    size_t n_servers, room;
    uint16_t slots[SLOTS]; /* index + 1 by hash, while they come; 0: free */
    struct totals others;
};

enum trouble { FINE, NOTE, WARN, BAD };

static const char *const colors[] = {"", "\033[2m", "\033[33m", "\033[31m"};

struct table *table_new(bool color) {
    struct table *t = calloc(1, sizeof *t);

    if (!t) abort();
    t->color = color;
    return t;
}

void table_free(struct table **tp) {
    if (!*tp) return;
    free((*tp)->servers);
    free(*tp);
    *tp = NULL;
}

__attribute__((format(printf, 2, 3))) static void print(struct out *o, const char *fmt, ...) {
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0) jo_put(&o->text, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static const char *number(char *to, size_t room, uint64_t n, bool known) {
    if (known)
        snprintf(to, room, "%" PRIu64, n);
    else
        snprintf(to, room, "?");
    return to;
}

/* 1536 -> "1.5K": five characters at most. */
static const char *size_text(char *to, size_t room, uint64_t n, bool known) {
    static const char units[] = "BKMGTPE";
    double v = (double)n;
    int u = 0;

    if (!known) return number(to, room, 0, false);
    while (v >= 1000 && units[u + 1]) v /= 1024, u++;
    snprintf(to, room, u && v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
    return to;
}

static const char *span_text(char *to, size_t room, int64_t ns, bool known) {
    double s = (double)ns / 1e9;

    if (!known)
        snprintf(to, room, "?");
    else if (s < 0.9995)
        snprintf(to, room, "%.1fms", s * 1000);
    else if (s < 600)
        snprintf(to, room, "%.2fs", s);
    else
        snprintf(to, room, "%.0fs", s);
    return to;
}

static const char *how_text(const struct lifecycle *l, char *to, size_t room) {
    static const char *const by[] = {"", "client", "server"}, *const how[] = {"open", "FIN", "RST"};

    if (!(l->known & KNOW_CLOSE))
        snprintf(to, room, "?");
    else if (l->close_by == BY_NONE)
        snprintf(to, room, "open");
    else
        snprintf(to, room, "%s %s%s%s", by[l->close_by], how[l->close_how],
                 l->close_how == HOW_FIN && l->rst_sent ? ", RST" : "",
                 l->close_how == HOW_FIN && l->rst_received ? ", srv RST" : "");
    return to;
}

/* What a reader should know of this row, worst first. */
static enum trouble remark(const struct wire_record *r, char *to, size_t room) {
    const struct lifecycle *l = &r->life;
    const struct wire_evidence *e = &r->evidence;

    to[0] = 0;
    if (e->rst_cause == RST_CAUSE_REFUSED) {
        snprintf(to, room, "refused");
        return BAD;
    }
    if (e->early == EARLY_IN_BODY) {
        snprintf(to, room, "body given up%s, RST packet %" PRIu64,
                 e->rst_cause == RST_CAUSE_DATA_AFTER_CLOSE ? ", more came after the close"
                 : e->rst_packet                            ? " unread"
                                                            : "",
                 e->rst_packet);
        if (!e->rst_packet) snprintf(to, room, "body given up");
        return BAD;
    }
    if (l->rst_sent && e->early == EARLY_RST_AFTER_COMPLETE) {
        snprintf(to, room, "reset after the response: unread?, packet %" PRIu64, e->rst_packet);
        return BAD;
    }
    if (e->early == EARLY_NO_RESPONSE) {
        snprintf(to, room, "left before the response");
        return WARN;
    }
    if (l->close_by == BY_REMOTE && (l->known & KNOW_PHASE) && l->close_phase == PHASE_IN_BODY) {
        snprintf(to, room, "response cut by the server");
        return BAD;
    }
    if (l->rst_sent || l->rst_received) {
        snprintf(to, room, "reset by the %s%s, packet %" PRIu64, l->rst_sent ? "client" : "server",
                 e->rst_cause == RST_CAUSE_DATA_AFTER_CLOSE ? " (data after its close)" : "", e->rst_packet);
        return e->rst_cause == RST_CAUSE_DATA_AFTER_CLOSE ? NOTE : WARN;
    }
    if (e->excess_bytes) {
        snprintf(to, room, "%" PRIu64 " bytes nobody asked for", e->excess_bytes);
        return WARN;
    }
    if (e->local.zero_windows) {
        snprintf(to, room, "client's window was zero for %.0f ms", (double)e->local.zero_window_ns / 1e6);
        return WARN;
    }
    if (e->incomplete & ~(uint32_t)(INCOMPLETE_CAPTURE_ENDED | INCOMPLETE_LOSS)) {
        size_t n = 0;
        for (uint32_t bit = 1; bit <= e->incomplete; bit <<= 1)
            if (e->incomplete & bit & ~(uint32_t)(INCOMPLETE_CAPTURE_ENDED | INCOMPLETE_LOSS) && n < room)
                n += (size_t)snprintf(to + n, room - n, "%s%s", n ? ", " : "", wire_incomplete_name(bit));
        return NOTE;
    }
    if ((l->known & KNOW_REQUESTS) && l->requests == 0 && e->established) {
        snprintf(to, room, "never used");
        return NOTE;
    }
    return FINE;
}

static void put_header(struct table *t, struct out *o) {
    print(o, "%s%-10s %-23s %-21s %5s %6s %6s %9s %9s  %-16s %-6s %s%s\n", t->color ? "\033[1m" : "", "id", "client",
          "server", "reqs", "in", "out", "open for", "idle", "closed by", "zeek", "remarks", t->color ? "\033[0m" : "");
}

static uint16_t *slot_of(struct table *t, const struct endpoint *at) {
    size_t i = bytes_hash(at, sizeof *at, 0) % SLOTS;

    while (t->slots[i] && !endpoint_equal(&t->servers[t->slots[i] - 1].at, at)) i = (i + 1) % SLOTS;
    return &t->slots[i];
}

static void add_to_server(struct table *t, const struct wire_record *r) {
    const struct endpoint *at = &r->life.flow.remote;
    uint16_t *slot = slot_of(t, at);

    if (*slot) {
        totals_add(&t->servers[*slot - 1].sum, r);
        return;
    }
    if (t->n_servers == MAX_SERVERS) {
        totals_add(&t->others, r);
        return;
    }
    if (t->n_servers == t->room) {
        t->room = t->room ? t->room * 2 : 8;
        t->servers = realloc(t->servers, t->room * sizeof *t->servers);
        if (!t->servers) abort();
    }
    memset(&t->servers[t->n_servers], 0, sizeof *t->servers);
    t->servers[t->n_servers].at = *at;
    *slot = (uint16_t)(t->n_servers + 1);
    totals_add(&t->servers[t->n_servers++].sum, r);
}

void table_row(struct table *t, struct out *o, const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    char id[24], client[ENDPOINT_TEXT_MAX], server[ENDPOINT_TEXT_MAX], requests[24], in[16], out[16], life[16],
        idle[16], how[40], words[160];
    enum trouble trouble = remark(r, words, sizeof words);
    int64_t until = l->closed_ns ? l->closed_ns : r->evidence.last_ns;

    if (!t->begun) put_header(t, o);
    t->begun = true;
    snprintf(id, sizeof id, "c-%" PRIu64, l->id);
    print(o, "%s%-10s %-23s %-21s %5s %6s %6s %9s %9s  %-16s %-6s %s%s\n", t->color ? colors[trouble] : "", id,
          endpoint_text(&l->flow.local, client), endpoint_text(&l->flow.remote, server),
          number(requests, sizeof requests, l->requests, l->known & KNOW_REQUESTS),
          size_text(in, sizeof in, l->bytes_in, l->known & KNOW_BYTES_IN),
          size_text(out, sizeof out, l->bytes_out, l->known & KNOW_BYTES_OUT),
          span_text(life, sizeof life, until - l->opened_ns, l->known & KNOW_OPENED),
          span_text(idle, sizeof idle, lifecycle_idle_ns(l, until), l->known & KNOW_IDLE), how_text(l, how, sizeof how),
          r->evidence.conn_state, words, t->color && trouble != FINE ? "\033[0m" : "");
    add_to_server(t, r);
}

static void put_sum(struct out *o, const char *name, const struct totals *s) {
    char reuse[16] = "-";

    if (s->requests) snprintf(reuse, sizeof reuse, "%.0f%%", 100.0 * (double)s->reused / (double)s->requests);
    print(o, "%-23s %7" PRIu64 " %7" PRIu64 " %9" PRIu64 " %7" PRIu64 " %7s %7" PRIu64 " %7" PRIu64 " %8" PRIu64 "\n",
          name, s->connections, s->open, s->requests, s->reused, reuse, s->early_closes, s->rst_sent, s->rst_received);
}

static int by_connections(const void *a, const void *b) {
    const struct server *x = a, *y = b;
    return x->sum.connections < y->sum.connections   ? 1
           : x->sum.connections > y->sum.connections ? -1
                                                     : memcmp(&x->at, &y->at, sizeof x->at);
}

void table_end(struct table *t, struct out *o, const struct totals *sum) {
    char name[ENDPOINT_TEXT_MAX];

    if (!t->begun) {
        print(o, "no connections\n");
        return;
    }
    qsort(t->servers, t->n_servers, sizeof *t->servers, by_connections);
    print(o, "\n%s%-23s %7s %7s %9s %7s %7s %7s %7s %8s%s\n", t->color ? "\033[1m" : "", "server", "conns", "open",
          "requests", "reused", "reuse", "early", "client", "server", t->color ? "\033[0m" : "");
    print(o, "%-23s %7s %7s %9s %7s %7s %7s %7s %8s\n", "", "", "", "", "", "", "closes", "RSTs", "RSTs");
    for (size_t i = 0; i < t->n_servers; i++) {
        put_sum(o, endpoint_text(&t->servers[i].at, name), &t->servers[i].sum);
        out_maybe_flush(o);
    }
    if (t->others.connections) put_sum(o, "(other servers)", &t->others);
    if (t->n_servers > 1) put_sum(o, "all", sum);
    if (sum->early_unknown)
        print(o,
              "\nEarly closes are proven ones; of %" PRIu64
              " more connections the capture cannot tell (--json: evidence.early_close).\n",
              sum->early_unknown);
}
