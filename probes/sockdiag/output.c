/* The table for people, and connleak.sockets/1. */
#include "sockdiag/sockets.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sockets_sum(const struct sockets *s, struct sockets_totals *out) {
    *out = (struct sockets_totals){.connections = s->n_rows + s->beyond};
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct socket_row *r = &s->rows[i];
        out->unread += r->row.recv_q > 0;
        out->unread_bytes += r->row.recv_q;
        out->close_wait += r->row.state == SOCK_CLOSE_WAIT;
        out->not_accepted += r->verdict.waits == WAITS_ACCEPT;
        out->peer_not_reading += r->verdict.waits == WAITS_PEER_READ;
        out->unsent_bytes += r->row.notsent != SOCK_UNKNOWN ? r->row.notsent : 0;
    }
}

/* ---- the table ---- */

static const char *const colors[N_TROUBLES] = {"", "", "\033[33m", "\033[31m"};

__attribute__((format(printf, 2, 3))) static void print(struct json_out *o, const char *fmt, ...) {
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0) jo_put(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void put_row(struct json_out *o, const struct socket_row *r, int width, bool color) {
    char local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
    const char *paint = color ? colors[r->verdict.trouble] : "";

    print(o, "%s%-*s %-*s %-11s %9" PRIu32 " %9" PRIu32 "  %-12s ", paint, width,
          endpoint_text(&r->row.flow.local, local), width, endpoint_text(&r->row.flow.remote, remote),
          sock_state_name(r->row.state), r->row.recv_q, r->row.send_q,
          r->verdict.waits == WAITS_NOTHING ? "-" : sock_waits_name(r->verdict.waits));
    print(o, "%s%s\n", r->verdict.words, *paint ? "\033[0m" : "");
}

/* "1,234,567 " and what follows */
static void put_number(struct json_out *o, uint64_t n, const char *then) {
    char digits[JSON_U64_MAX];
    size_t len = text_u64(digits, n);

    for (size_t i = 0; i < len; i++) print(o, i && (len - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
    print(o, "%s", then);
}

static void put_summary(struct json_out *o, const struct sockets *s) {
    struct sockets_totals t;

    sockets_sum(s, &t);
    if (s->n_rows) print(o, "\n");
    put_number(o, t.connections, t.connections == 1 ? " connection: " : " connections: ");
    put_number(o, t.unread, " unread (");
    put_number(o, t.unread_bytes, " bytes), ");
    put_number(o, t.close_wait, " in CLOSE_WAIT, ");
    put_number(o, t.not_accepted, " not accepted, ");
    put_number(o, t.peer_not_reading, " whose peer does not read (");
    put_number(o, t.unsent_bytes, " bytes unsent)");
    if (s->time_wait && !s->own) {
        print(o, "; ");
        put_number(o, s->time_wait, " more in TIME_WAIT");
    }
    if (s->beyond) {
        print(o, "; ");
        put_number(o, s->beyond, " not listed");
    }
    print(o, "\n");
}

void sockets_table(struct json_out *o, const struct sockets *s, bool color) {
    char text[ENDPOINT_TEXT_MAX], at[JSON_TIME_LEN];
    int width = 21; /* of 255.255.255.255:65535 */

    if (s->asked.watch_ns) print(o, "%.*s\n", (int)text_time(at, s->wall_ns), at);
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct flow_key *f = &s->rows[i].row.flow;
        int local = (int)strlen(endpoint_text(&f->local, text)), remote = (int)strlen(endpoint_text(&f->remote, text));
        if (local > width) width = local;
        if (remote > width) width = remote;
    }
    if (s->n_rows)
        print(o, "%s%-*s %-*s %-11s %9s %9s  %-12s %s%s\n", color ? "\033[1m" : "", width, "local", width, "remote",
              "state", "Recv-Q", "Send-Q", "waits for", "verdict", color ? "\033[0m" : "");
    for (size_t i = 0; i < s->n_rows; i++) put_row(o, &s->rows[i], width, color);
    put_summary(o, s);
    if (s->asked.watch_ns) print(o, "\n");
}

/* ---- JSON ---- */

static void put_known(struct json_out *o, uint32_t n) {
    if (n == SOCK_UNKNOWN)
        jo_null(o);
    else
        jo_u64(o, n);
}

static void put_known64(struct json_out *o, uint64_t n) {
    if (n == SOCK_UNKNOWN64)
        jo_null(o);
    else
        jo_u64(o, n);
}

static void put_text(struct json_out *o, const char *text) {
    jo_str(o, text && *text ? text : NULL);
}

static void put_owner(struct json_out *o, const struct owner *w) {
    JO_KEY(o, "pid");
    if (w)
        jo_i64(o, w->process->pid);
    else
        jo_null(o);
    JO_KEY(o, "comm");
    put_text(o, w ? w->process->comm : NULL);
    JO_KEY(o, "cgroup");
    put_text(o, w ? w->process->cgroup : NULL);
    JO_KEY(o, "shared_by");
    if (w)
        jo_u64(o, w->others + (uint64_t)1);
    else
        jo_null(o);
}

static void put_peer(struct json_out *o, const struct owner *w) {
    JO_KEY(o, "peer");
    if (!w) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "pid");
    jo_i64(o, w->process->pid);
    JO_KEY(o, "comm");
    put_text(o, w->process->comm);
    jo_object_end(o);
}

static void put_kernel(struct json_out *o, const struct sock_row *row) {
    JO_KEY(o, "bytes_received");
    put_known64(o, row->bytes_received);
    JO_KEY(o, "bytes_read");
    put_known64(o, sock_bytes_read(row));
    JO_KEY(o, "bytes_acked");
    put_known64(o, row->bytes_acked);
    JO_KEY(o, "notsent");
    put_known(o, row->notsent);
    JO_KEY(o, "peer_window");
    put_known(o, row->snd_wnd);
    JO_KEY(o, "rcv_space");
    put_known(o, row->rcv_space);
    JO_KEY(o, "last_recv_ms");
    put_known(o, row->last_recv_ms);
    JO_KEY(o, "last_sent_ms");
    put_known(o, row->last_sent_ms);
    JO_KEY(o, "last_ack_ms");
    put_known(o, row->last_ack_ms);
    JO_KEY(o, "unacked_segments");
    put_known(o, row->unacked);
    JO_KEY(o, "retransmits");
    put_known(o, row->retransmits);
    JO_KEY(o, "retransmitted");
    put_known(o, row->retransmitted);
    JO_KEY(o, "rtt_us");
    put_known(o, row->rtt_us);
    JO_KEY(o, "inode");
    jo_u64(o, row->inode);
    JO_KEY(o, "uid");
    jo_u64(o, row->uid);
    JO_KEY(o, "cookie");
    jo_u64(o, row->cookie);
}

static void put_socket(struct json_out *o, const struct socket_row *r) {
    char text[ENDPOINT_TEXT_MAX];

    jo_object(o);
    JO_KEY(o, "local");
    jo_word(o, endpoint_text(&r->row.flow.local, text));
    JO_KEY(o, "remote");
    jo_word(o, endpoint_text(&r->row.flow.remote, text));
    JO_KEY(o, "state");
    jo_word(o, sock_state_name(r->row.state));
    JO_KEY(o, "recv_q");
    jo_u64(o, r->row.recv_q);
    JO_KEY(o, "send_q");
    jo_u64(o, r->row.send_q);
    JO_KEY(o, "waits_for");
    jo_word(o, sock_waits_name(r->verdict.waits));
    JO_KEY(o, "trouble");
    jo_word(o, sock_trouble_name(r->verdict.trouble));
    JO_KEY(o, "for_ms");
    if (r->verdict.for_ns < 0)
        jo_null(o);
    else
        jo_ms(o, r->verdict.for_ns);
    JO_KEY(o, "verdict");
    jo_str(o, r->verdict.words);
    put_owner(o, r->owner);
    put_peer(o, r->peer);
    put_kernel(o, &r->row);
    jo_object_end(o);
}

static void put_totals(struct json_out *o, const struct sockets *s) {
    struct sockets_totals t;

    sockets_sum(s, &t);
    JO_KEY(o, "totals");
    jo_object(o);
    JO_KEY(o, "connections");
    jo_u64(o, t.connections);
    JO_KEY(o, "unread");
    jo_u64(o, t.unread);
    JO_KEY(o, "unread_bytes");
    jo_u64(o, t.unread_bytes);
    JO_KEY(o, "close_wait");
    jo_u64(o, t.close_wait);
    JO_KEY(o, "not_accepted");
    jo_u64(o, t.not_accepted);
    JO_KEY(o, "peer_not_reading");
    jo_u64(o, t.peer_not_reading);
    JO_KEY(o, "unsent_bytes");
    jo_u64(o, t.unsent_bytes);
    JO_KEY(o, "time_wait");
    if (s->own) /* nobody's */
        jo_null(o);
    else
        jo_u64(o, s->time_wait);
    JO_KEY(o, "not_listed");
    jo_u64(o, s->beyond);
    jo_object_end(o);
}

static void put_owners(struct json_out *o, const struct sockets *s) {
    char why[256];

    JO_KEY(o, "owners");
    jo_object(o);
    JO_KEY(o, "unknown");
    jo_u64(o, s->unowned);
    JO_KEY(o, "processes_denied");
    jo_u64(o, s->sweep.denied);
    JO_KEY(o, "missing");
    jo_str(o, sockets_missing(s, why, sizeof why));
    jo_object_end(o);
}

void sockets_json(struct json_out *o, const struct sockets *s) {
    jo_object(o);
    JO_KEY(o, "schema");
    jo_word(o, "connleak.sockets/1");
    JO_KEY(o, "at");
    jo_time(o, s->wall_ns);
    JO_KEY(o, "asked");
    jo_object(o);
    JO_KEY(o, "pid");
    if (s->asked.pid)
        jo_i64(o, s->asked.pid);
    else
        jo_null(o);
    JO_KEY(o, "port");
    if (s->asked.port)
        jo_u64(o, s->asked.port);
    else
        jo_null(o);
    jo_object_end(o);
    JO_KEY(o, "consistent"); /* the kernel's table did not change while it was read, or the kernel does not say */
    jo_bool(o, !s->interrupted);
    put_totals(o, s);
    put_owners(o, s);
    JO_KEY(o, "sockets");
    jo_array(o);
    for (size_t i = 0; i < s->n_rows; i++) put_socket(o, &s->rows[i]);
    jo_array_end(o);
    jo_object_end(o);
    jo_line(o);
}
