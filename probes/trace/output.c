#include "trace/output.h"

#include "record/kernel_evidence.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* ---- in words ---- */

/* The RST of another host: its kernel knows why, and the state here says what it ended. */
static const char *received_text(const struct trace_reset *r) {
    switch (r->state) {
    case TCP_SYN_SENT:
        return "another host refused the connection: nobody listens there";
    case TCP_CLOSE_WAIT:
        return "from another host, after its FIN: it had closed, and got bytes after that";
    default:
        return "from another host, whose kernel knows why";
    }
}

static const char *meaning(const struct trace_reset *r) {
    const char *text = rst_reason_text(r->reason);

    if (r->received) return received_text(r);
    if (text) return text;
    return r->reason ? NULL : "this kernel gives no reason";
}

/* ---- sums ---- */

static void count(struct resets_sums *s, const struct trace_reset *r) {
    if (r->received) {
        s->received++;
        return;
    }
    s->sent++;
    for (size_t i = 0; i < s->n_reasons; i++) {
        if (s->reasons[i].name != r->reason) continue;
        s->reasons[i].n++;
        return;
    }
    if (s->n_reasons == RESETS_REASONS) {
        s->elsewhere++;
        return;
    }
    s->reasons[s->n_reasons].name = r->reason;
    s->reasons[s->n_reasons++].n = 1;
}

static int most_first(const void *p, const void *q) {
    const struct resets_sum *a = p, *b = q;

    return a->n > b->n ? -1 : a->n < b->n;
}

/* ---- the table ---- */

#define TABLE_ROW 640

static void put_text(struct resets_page *p, const char *text) {
    jo_put(&p->text, text, strlen(text));
}

/* A process may call itself anything; a terminal must not believe it. */
static void plain(char *out, const char *comm) {
    for (; *comm; comm++) *out++ = (char)((unsigned char)*comm < 0x20 || (unsigned char)*comm >= 0x7f ? '?' : *comm);
    *out = 0;
}

static void who_text(char out[48], const struct trace_reset *r) {
    int32_t pid = r->pid ? r->pid : r->owner_pid;
    char comm[KERNEL_COMM_MAX];

    plain(comm, r->pid ? r->comm : r->owner_comm);
    if (pid)
        snprintf(out, 48, "%d %s", (int)pid, comm);
    else
        strcpy(out, "-");
}

static const char *state_text(uint8_t state) {
    const char *name = kernel_state_name(state);

    return name ? name + strlen("TCP_") : "-";
}

static void row(struct resets_page *p, const char *at, const char *flow, const char *state, const char *reason,
                const char *who, const char *why) {
    char line[TABLE_ROW];

    snprintf(line, sizeof line, "%-13s %-43s  %-11s %-24s %-22s %s\n", at, flow, state, reason, who, why ? why : "");
    put_text(p, line);
}

static const char *colour_of(const struct resets_page *p, const struct trace_reset *r) {
    if (!p->colour) return "";
    switch (rst_reason_proves(r->reason)) {
    case RST_BY_UNREAD_AT_CLOSE:
        return "\033[31m";
    case RST_BY_DATA_AFTER_CLOSE:
        return "\033[33m";
    default:
        return "";
    }
}

static void table_reset(struct resets_page *p, const struct trace_reset *r) {
    char from[ENDPOINT_TEXT_MAX], to[ENDPOINT_TEXT_MAX], flow[2 * ENDPOINT_TEXT_MAX + 8], who[48];
    char at[JSON_TIME_LEN + 1];
    const char *colour = colour_of(p, r), *reason = r->received ? "(received)" : r->reason ? r->reason : "-";

    at[text_time(at, r->at_ns + p->to_wall_ns)] = 0;
    at[strlen("2026-01-02T03:04:05.678")] = 0;
    snprintf(flow, sizeof flow, "%s -> %s", endpoint_text(&r->flow.local, from), endpoint_text(&r->flow.remote, to));
    who_text(who, r);
    put_text(p, colour);
    row(p, at + strlen("2026-01-02T"), flow, state_text(r->state), reason, who, meaning(r));
    if (*colour) put_text(p, "\033[0m");
}

static void table_end(struct resets_page *p, const struct fold_counts *counts, int64_t now_ns) {
    const struct resets_sums *s = &p->sums;
    char line[TABLE_ROW];

    if (s->sent + s->received) put_text(p, "\n");
    for (size_t i = 0; i < s->n_reasons; i++) {
        const char *text = rst_reason_text(s->reasons[i].name), *name = s->reasons[i].name;

        snprintf(line, sizeof line, "%8llu  %-24s %s\n", (unsigned long long)s->reasons[i].n,
                 name ? name : "(no reason)", text ? text : "");
        put_text(p, line);
    }
    if (s->elsewhere) {
        snprintf(line, sizeof line, "%8llu  of further reasons\n", (unsigned long long)s->elsewhere);
        put_text(p, line);
    }
    if (s->received) {
        snprintf(line, sizeof line, "%8llu  %-24s from other hosts\n", (unsigned long long)s->received, "(received)");
        put_text(p, line);
    }
    snprintf(line, sizeof line, "%llu RST%s sent and %llu received from other hosts in %.1f s\n",
             (unsigned long long)s->sent, s->sent == 1 ? "" : "s", (unsigned long long)s->received,
             (double)(now_ns - p->began_ns) / 1e9);
    put_text(p, line);
    if (!counts->lost) return;
    snprintf(line, sizeof line, "%llu events were lost: there may have been more\n", (unsigned long long)counts->lost);
    put_text(p, line);
}

/* ---- JSON ---- */

static void put_who(struct json_out *o, int32_t pid, const char *comm) {
    JO_KEY(o, "pid");
    if (pid)
        jo_u64(o, (uint64_t)pid);
    else
        jo_null(o);
    JO_KEY(o, "comm");
    jo_str(o, pid && *comm ? comm : NULL);
}

static void json_reset(struct resets_page *p, const struct trace_reset *r) {
    struct json_out *o = &p->text;
    char text[ENDPOINT_TEXT_MAX];

    jo_object(o);
    JO_KEY(o, "at");
    jo_time(o, r->at_ns + p->to_wall_ns);
    JO_KEY(o, "direction");
    jo_word(o, r->received ? "received" : "sent");
    JO_KEY(o, "from");
    jo_word(o, endpoint_text(&r->flow.local, text));
    JO_KEY(o, "to");
    jo_word(o, endpoint_text(&r->flow.remote, text));
    JO_KEY(o, "state");
    jo_word(o, kernel_state_name(r->state));
    JO_KEY(o, "reason");
    jo_str(o, r->reason);
    JO_KEY(o, "rst_cause");
    jo_word(o, rst_proof_name(rst_reason_proves(r->reason)));
    JO_KEY(o, "meaning");
    jo_str(o, meaning(r));
    put_who(o, r->pid, r->comm);
    JO_KEY(o, "owner");
    if (r->pid || r->owner_pid) {
        jo_object(o);
        put_who(o, r->pid ? r->pid : r->owner_pid, r->pid ? r->comm : r->owner_comm);
        jo_object_end(o);
    } else {
        jo_null(o);
    }
    JO_KEY(o, "connection");
    jo_word(o, r->conn ? conn_id_text(SIDE_CLIENT, r->conn, text) : NULL);
    jo_object_end(o);
}

static void json_begin(struct resets_page *p) {
    struct json_out *o = &p->text;
    struct utsname kernel;

    jo_object(o);
    JO_KEY(o, "schema");
    jo_word(o, "connleak.resets/1");
    JO_KEY(o, "kernel");
    jo_str(o, uname(&kernel) ? NULL : kernel.release);
    JO_KEY(o, "reasons_known");
    jo_bool(o, p->reasons_known);
    JO_KEY(o, "began_at");
    jo_time(o, p->began_ns + p->to_wall_ns);
    JO_KEY(o, "resets");
    jo_array(o);
}

static void json_end(struct resets_page *p, const struct fold_counts *counts, int64_t now_ns) {
    const struct resets_sums *s = &p->sums;
    struct json_out *o = &p->text;
    uint64_t unknown = s->elsewhere;

    jo_array_end(o);
    JO_KEY(o, "ended_at");
    jo_time(o, now_ns + p->to_wall_ns);
    JO_KEY(o, "duration_ms");
    jo_ms(o, now_ns - p->began_ns);
    JO_KEY(o, "totals");
    jo_object(o);
    JO_KEY(o, "sent");
    jo_u64(o, s->sent);
    JO_KEY(o, "received");
    jo_u64(o, s->received);
    JO_KEY(o, "by_reason");
    jo_object(o);
    for (size_t i = 0; i < s->n_reasons; i++) {
        if (!s->reasons[i].name) {
            unknown += s->reasons[i].n;
            continue;
        }
        jo_key(o, s->reasons[i].name);
        jo_u64(o, s->reasons[i].n);
    }
    jo_object_end(o);
    JO_KEY(o, "without_reason");
    jo_u64(o, unknown);
    jo_object_end(o);
    JO_KEY(o, "events");
    jo_u64(o, counts->events);
    JO_KEY(o, "events_lost");
    jo_u64(o, counts->lost);
    jo_object_end(o);
    jo_line(o);
}

/* ---- all three ---- */

void page_begin(struct resets_page *p) {
    switch (p->as) {
    case RESETS_TABLE:
        row(p, "UTC", "from -> to", "state", "reason", "process", "what it means");
        break;
    case RESETS_JSON:
        json_begin(p);
        break;
    case RESETS_JSONL:
        break;
    }
}

void page_reset(struct resets_page *p, const struct trace_reset *r) {
    count(&p->sums, r);
    if (p->as == RESETS_TABLE) table_reset(p, r);
    if (p->as == RESETS_JSON) json_reset(p, r);
}

void page_record(struct resets_page *p, struct trace_record *r, int64_t now_ns) {
    struct kernel_evidence_out evidence = {&r->evidence, p->to_wall_ns};
    struct conn_json how = {
        .to_wall_ns = p->to_wall_ns, .now_ns = now_ns, .evidence = kernel_evidence_json, .arg = &evidence};

    if (p->as != RESETS_JSONL) return;
    conn_json(&p->text, &r->life, &how);
    jo_line(&p->text);
}

void page_end(struct resets_page *p, const struct fold_counts *counts, int64_t now_ns) {
    struct resets_sums *s = &p->sums;

    if (s->n_reasons) qsort(s->reasons, s->n_reasons, sizeof *s->reasons, most_first);
    if (p->as == RESETS_TABLE) table_end(p, counts, now_ns);
    if (p->as == RESETS_JSON) json_end(p, counts, now_ns);
}

bool page_flush(struct resets_page *p) {
    bool fine = !p->text.len || fwrite(p->text.data, 1, p->text.len, p->out) == p->text.len;

    p->text.len = 0;
    return !fflush(p->out) && fine;
}
