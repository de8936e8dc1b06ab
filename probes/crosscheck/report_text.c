#include "report.h"

#include "record/conn_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

char *grouped(uint64_t n, char buf[GROUPED_MAX]) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = 0;
    return buf;
}

/* What the ledger is held against, and what shows it. */
static const char *witness(const struct report *r) {
    return r->kernel ? "kernel" : "capture";
}
static const char *unit(const struct report *r) {
    return r->kernel ? "event" : "packet";
}

/* --- The summary ----------------------------------------------------------------- */

struct words {
    char *buf;
    size_t len, size;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *w, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(w->buf + w->len, w->size - w->len, fmt, ap);
    va_end(ap);
    if (n > 0) w->len += (size_t)n < w->size - w->len ? (size_t)n : w->size - w->len - 1;
}

static void say_if_any(struct words *w, uint64_t n, const char *what) {
    char num[GROUPED_MAX];

    if (n) say(w, ", %s %s", grouped(n, num), what);
}

char *report_summary(const struct report *r, char buf[REPORT_SUMMARY_MAX]) {
    const uint64_t *counts = r->x->counts;
    struct words w = {buf, 0, REPORT_SUMMARY_MAX};
    char a[GROUPED_MAX], b[GROUPED_MAX], c[GROUPED_MAX], d[GROUPED_MAX];

    say(&w, "%s connection%s: %s agree, %s disagree", grouped(r->x->connections, a), r->x->connections == 1 ? "" : "s",
        grouped(counts[JOIN_VERDICT_AGREE], b), grouped(counts[JOIN_VERDICT_DISAGREE], c));
    say_if_any(&w, counts[JOIN_VERDICT_ONLY_IN_LEDGER], "only in ledger");
    say_if_any(&w, counts[JOIN_VERDICT_ONLY_IN_CAPTURE], r->kernel ? "only in kernel" : "only in capture");
    say_if_any(&w, counts[JOIN_VERDICT_EXPLAINED], "explained");
    say_if_any(&w, counts[JOIN_VERDICT_INCOMPLETE], "incomplete");
    if (!r->kernel) say(&w, ", %s packet%s %s", grouped(r->lost, d), r->lost == 1 ? "" : "s", "lost in capture");
    return buf;
}

/* --- One connection ---------------------------------------------------------------- */

struct page {
    FILE *out;
    const struct report *r;
    const char *red, *yellow, *green, *bold, *plain;
};

static void print_time(FILE *out, uint64_t ns) {
    char text[JSON_TIME_LEN];

    fwrite(text, 1, text_time(text, (int64_t)ns), out);
}

static void print_value(FILE *out, enum join_field field, uint64_t v) {
    char num[GROUPED_MAX];

    if (v == UNKNOWN_BYTES) {
        fputs("none", out);
        return;
    }
    switch (join_field_kind(field)) {
    case JOIN_KIND_TIME:
        print_time(out, v);
        break;
    case JOIN_KIND_COUNT:
        fputs(grouped(v, num), out);
        break;
    case JOIN_KIND_FLAG:
        fputs(v ? "true" : "false", out);
        break;
    case JOIN_KIND_BY:
        fputs(close_by_name((enum close_by)v), out);
        break;
    case JOIN_KIND_HOW:
        fputs(close_how_name((enum close_how)v), out);
        break;
    }
}

static void print_difference(const struct page *p, const struct join_difference *d) {
    char num[GROUPED_MAX];

    fprintf(p->out, "    %-13s ledger %s", join_field_name(d->field), p->bold);
    print_value(p->out, d->field, d->ledger);
    fprintf(p->out, "%s, %s %s", p->plain, witness(p->r), p->bold);
    print_value(p->out, d->field, d->capture);
    fputs(p->plain, p->out);
    if (d->packet) fprintf(p->out, ", %s %s", unit(p->r), grouped(d->packet, num));
    if (d->cause) fprintf(p->out, " (%s)", join_cause_name(d->cause));
    fputc('\n', p->out);
}

static const struct join_life *life_of(const struct report *r, const struct checked *c) {
    return c->claim != NOBODY ? r->claims->lives + c->claim : r->views->lives + c->view;
}

/* "u-42     10.0.0.1:41234 > 10.0.0.2:80" and the end of the line. */
static void print_who(const struct page *p, const struct checked *c) {
    const struct join_life *life = life_of(p->r, c);
    char id[CONN_ID_TEXT_MAX], from[ENDPOINT_TEXT_MAX], to[ENDPOINT_TEXT_MAX], num[GROUPED_MAX];

    if (c->claim != NOBODY) {
        const struct join_claim *l = p->r->claims->claims + life->ref;
        conn_id_text(l->side, l->id, id);
    } else {
        conn_id_text(SIDE_CLIENT, p->r->views->views[life->ref].id, id);
    }
    fprintf(p->out, "%-8s %s > %s", id, endpoint_text(&life->flow.local, from), endpoint_text(&life->flow.remote, to));
    if (c->claim == NOBODY)
        fprintf(p->out, ", %s %s", unit(p->r), grouped(p->r->views->views[life->ref].first_packet, num));
    fputc('\n', p->out);
}

static void print_verdict(const struct page *p, const char *colour, const char *verdict) {
    fprintf(p->out, "%s%-15s%s ", colour, verdict, p->plain);
}

static void print_pair(const struct page *p, const struct checked *c) {
    struct join_result result;

    print_who(p, c);
    verdicts_compare(p->r->x, p->r->claims, p->r->views, c, &result);
    for (uint32_t i = 0; i < result.n; i++) print_difference(p, result.diff + i);
}

static void print_lonely(const struct page *p, const struct checked *c) {
    print_who(p, c);
    fputs("    it began ", p->out);
    print_time(p->out, (uint64_t)c->at_ns);
    if (c->claim != NOBODY)
        fprintf(p->out, ": the %s covers that time and that address\n", witness(p->r));
    else
        fputs(": the ledger covers that time and that address (or another program on the same host made it)\n", p->out);
}

static void print_wrong(const struct page *p) {
    const struct verdicts *x = p->r->x;
    uint64_t wrong = verdicts_wrong(x);
    char num[GROUPED_MAX];

    for (size_t i = 0; i < wrong && i < REPORT_ROWS; i++) {
        const struct checked *c = x->list + i;
        print_verdict(p, p->red, join_verdict_name(c->verdict));
        if (c->verdict == JOIN_VERDICT_DISAGREE)
            print_pair(p, c);
        else
            print_lonely(p, c);
    }
    if (wrong > REPORT_ROWS) fprintf(p->out, "and %s more; --json lists them all\n", grouped(wrong - REPORT_ROWS, num));
    if (wrong) fputc('\n', p->out);
}

/* --- Groups -------------------------------------------------------------------------- */

/* Each cause once: how often, what it means, and one connection as an example. */
static void print_explained(const struct page *p) {
    const struct verdicts *x = p->r->x;
    bool told[N_JOIN_CAUSES] = {false};
    char num[GROUPED_MAX];

    if (!x->counts[JOIN_VERDICT_EXPLAINED]) return;
    for (size_t i = 0; i < x->n; i++) {
        struct join_result result;

        if (x->list[i].verdict != JOIN_VERDICT_EXPLAINED) continue;
        verdicts_compare(x, p->r->claims, p->r->views, x->list + i, &result);
        if (told[result.diff[0].cause]) continue;
        told[result.diff[0].cause] = true;
        print_verdict(p, p->yellow, "explained");
        fprintf(p->out, "%s x %s: %s\n%15s ", grouped(x->causes[result.diff[0].cause], num),
                join_cause_name(result.diff[0].cause), join_cause_text(result.diff[0].cause), "such as");
        print_pair(p, x->list + i);
    }
    fputc('\n', p->out);
}

static void print_incomplete(const struct page *p) {
    static const char *const seen[N_JOIN_BLINDS] = {"began before the trace", "had not ended when the trace did",
                                                    "may lack events, which the kernel lost", "",
                                                    "are not in the trace, which lost events"};
    static const char *const why[N_JOIN_BLINDS] = {"began before the capture", "had not ended when the capture did",
                                                   "have bytes or a direction that the capture lacks",
                                                   "have packets that the snap length cut (tcpdump -s 0)",
                                                   "are not in the capture, which lost packets"};
    char num[GROUPED_MAX];

    for (unsigned bit = 0; bit < N_JOIN_BLINDS; bit++) {
        if (!p->r->x->blind[bit]) continue;
        fprintf(p->out, "%-15s %s %s: ", "incomplete", grouped(p->r->x->blind[bit], num),
                p->r->kernel ? seen[bit] : why[bit]);
        if (1u << bit == JOIN_BLIND_ALL)
            fprintf(p->out, "if it lost these too, they are %s %ss or more\n", grouped(p->r->x->absent_packets, num),
                    unit(p->r));
        else
            fputs("nothing differs in what was seen\n", p->out);
    }
}

static void print_outside(const struct page *p, const struct outside *o, const char *here, const char *there) {
    char num[GROUPED_MAX], at[ENDPOINT_TEXT_MAX];

    if (o->n[JOIN_ABSENT_ENDPOINT]) {
        fprintf(p->out, "%-15s %s only in the %s, whose addresses the %s does not have:", "not compared",
                grouped(o->n[JOIN_ABSENT_ENDPOINT], num), here, there);
        for (unsigned i = 0; i < o->n_endpoints; i++)
            fprintf(p->out, "%s %s x %s", i ? "," : "", endpoint_text(&o->endpoints[i].at, at),
                    grouped(o->endpoints[i].n, num));
        fprintf(p->out, "%s\n", o->elsewhere ? ", ..." : "");
    }
    if (o->n[JOIN_ABSENT_TIME])
        fprintf(p->out, "%-15s %s only in the %s, outside the time that the %s covers\n", "not compared",
                grouped(o->n[JOIN_ABSENT_TIME], num), here, there);
    if (o->n[JOIN_ABSENT_REFUSED])
        fprintf(p->out, "%-15s %s only in the %s: refused by the kernel before the daemon could know\n", "not compared",
                grouped(o->n[JOIN_ABSENT_REFUSED], num), here);
    if (o->n[JOIN_ABSENT_FOREIGN])
        fprintf(p->out, "%-15s %s only in the %s: another program's, as the kernel says\n", "not compared",
                grouped(o->n[JOIN_ABSENT_FOREIGN], num), here);
}

static void print_resets(const struct page *p) {
    char a[GROUPED_MAX], b[GROUPED_MAX], c[GROUPED_MAX], d[GROUPED_MAX], e[GROUPED_MAX];

    for (int s = 0; s < N_SIDES; s++) {
        const struct reset_sums *r = &p->r->x->resets[s];

        if (!r->claimed && !r->seen) continue;
        fprintf(p->out, "%-15s %s: ledger %s sent with %s bytes unread; %s %s", "resets", side_name((enum side)s),
                grouped(r->claimed, a), grouped(r->claimed_bytes, b), witness(p->r), grouped(r->seen, c));
        if (!p->r->kernel) fprintf(p->out, " with %s bytes unread", grouped(r->seen_bytes, d));
        if (r->seen_after_fin) fprintf(p->out, "; %s more came after the own FIN", grouped(r->seen_after_fin, e));
        fputc('\n', p->out);
    }
}

static void print_loss(const struct page *p) {
    char num[GROUPED_MAX];

    if (!p->r->lost) return;
    if (p->r->kernel) {
        fprintf(p->out,
                "%-15s %s of its records lack some: the kernel's buffers were full, and it is no witness there\n",
                "lost events", grouped(p->r->lost, num));
        return;
    }
    fprintf(p->out,
            "%-15s %s %s, perhaps more: the capture is no witness against the ledger where it shows less (tcpdump -B "
            "262144 loses fewer)\n",
            "lost packets", grouped(p->r->lost, num),
            p->r->lost_counted ? "by the capture's own count" : "as the holes in its streams show");
}

static void print_clock(const struct page *p) {
    const struct verdicts *x = p->r->x;
    uint64_t p99 = histogram_quantile(&x->opened_apart, 99), closed = histogram_quantile(&x->closed_apart, 99);
    char num[GROUPED_MAX];

    if (!x->offset.n) {
        fprintf(p->out, "%-15s no connection begins in both: the clocks are taken as they are\n", "clock");
        return;
    }
    fprintf(p->out,
            "%-15s %s %+.3f ms = ledger (median of %s openings); 99%% of openings within %.3f ms, of closings within "
            "%.3f ms, slack %.0f ms\n",
            "clock", witness(p->r), (double)x->offset.offset_ns / 1e6, grouped(x->offset.n, num), (double)p99 / 1e6,
            (double)closed / 1e6, (double)x->cover.clock.slack_ns / 1e6);
}

static void print_fields(const struct page *p) {
    const struct verdicts *x = p->r->x;
    uint64_t n = 0, wrong = 0, excused = 0;
    char a[GROUPED_MAX], b[GROUPED_MAX], c[GROUPED_MAX], d[GROUPED_MAX];

    for (unsigned f = 0; f < N_JOIN_FIELDS; f++) {
        n += x->fields[f];
        wrong += x->wrong[f];
        excused += x->excused[f];
    }
    fprintf(p->out, "%-15s %s compared: %s equal, %s explained, %s different\n", "fields", grouped(n, a),
            grouped(n - wrong - excused, b), grouped(excused, c), grouped(wrong, d));
}

static void print_ledger(const struct page *p) {
    const struct claims *c = p->r->claims;
    char num[GROUPED_MAX];

    if (c->no_tuple)
        fprintf(p->out, "%-15s %s records of the ledger have no pair of addresses\n", "not compared",
                grouped(c->no_tuple, num));
    if (c->cut) fprintf(p->out, "%-15s the ledger's last line is incomplete and was left out\n", "not compared");
}

void report_text(FILE *out, const struct report *r, bool colour) {
    struct page p = {out, r, "", "", "", "", ""};
    char summary[REPORT_SUMMARY_MAX];
    uint64_t wrong = verdicts_wrong(r->x);

    if (colour) p = (struct page){out, r, "\033[31m", "\033[33m", "\033[32m", "\033[1m", "\033[0m"};
    print_wrong(&p);
    print_explained(&p);
    print_incomplete(&p);
    print_outside(&p, &r->x->outside_capture, "ledger", witness(r));
    print_outside(&p, &r->x->outside_ledger, witness(r), "ledger");
    print_ledger(&p);
    print_loss(&p);
    print_resets(&p);
    print_fields(&p);
    print_clock(&p);
    fprintf(out, "%s%s%s%s\n", wrong ? p.red : p.green, p.bold, report_summary(r, summary), p.plain);
}
