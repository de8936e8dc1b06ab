#include "whatif/report.h"

#include "core/human.h"
#include "core/utf8.h"
#include "record/whatif_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void put(struct json_out *o, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len > 0) jo_put(o, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

/* ---- cells ---- */

#define CELL 40

static const char *put_ratio(char cell[CELL], uint64_t part, uint64_t whole) {
    if (!whole) return "-";
    snprintf(cell, CELL, "%.2f %%", 100 * (double)part / (double)whole);
    return cell;
}

static const char *put_wait(char cell[CELL], const struct whatif_row *r, unsigned percent) {
    double ms = (double)histogram_quantile(&r->wait, percent) / 1e6;

    if (!r->waits_known) return "-";
    snprintf(cell, CELL, ms < 10 ? "%.2f" : ms < 100 ? "%.1f" : "%.0f", ms);
    return cell;
}

/* The reasons that closed most. */
static void put_closes(char *text, size_t size, const struct whatif_row *r) {
    bool done[N_REASONS] = {false};
    size_t at = 0;

    *text = 0;
    for (unsigned n = 0; n < 3; n++) {
        unsigned most = N_REASONS;
        char number[HUMAN_MAX];
        for (unsigned i = 0; i < N_REASONS; i++)
            if (!done[i] && r->closes[i] && (most == N_REASONS || r->closes[i] > r->closes[most])) most = i;
        if (most == N_REASONS) return;
        done[most] = true;
        at += (size_t)snprintf(text + at, size - at, "%s%s %s", n ? ", " : "",
                               most ? close_reason_name((enum close_reason)most) : "unknown",
                               human_count(r->closes[most], number));
        if (at >= size) return;
    }
}

/* ---- rows ---- */

static void put_head(struct json_out *o, int width, bool color) {
    put(o, "%s%-*s %9s %9s %10s %6s %6s %8s %8s %7s %9s  %s%s\n", color ? "\x1b[1m" : "", width, "", "requests",
        "dials", "reuse", "open", "idle", "p50 ms", "p99 ms", "TLS", "TIME_WAIT", "closed by", color ? "\x1b[0m" : "");
}

static void put_row(struct json_out *o, int width, const char *name, const struct whatif_row *r) {
    char requests[HUMAN_MAX], dials[HUMAN_MAX], tls[HUMAN_MAX], reuse[CELL], p50[CELL], p99[CELL], closes[160];

    put_closes(closes, sizeof closes, r);
    put(o, "%-*s %9s %9s %10s %6llu %6llu %8s %8s %7s %9llu  %s\n", width, name, human_count(r->requests, requests),
        human_count(r->dials, dials), put_ratio(reuse, r->reused, r->requests), (unsigned long long)r->peak_open,
        (unsigned long long)r->peak_idle, put_wait(p50, r, 50), put_wait(p99, r, 99),
        human_count(r->tls_handshakes, tls), (unsigned long long)r->time_wait_local, closes);
}

static size_t name_combination(const struct sweep *s, unsigned i, char *text, size_t size) {
    char value[SETTING_VALUE_TEXT];
    size_t at = 0;

    *text = 0;
    for (unsigned k = 0; k < s->n && at < size; k++)
        at +=
            (size_t)snprintf(text + at, size - at, "%s%s=%s", k ? " " : "", setting_name((enum setting)s->lists[k].key),
                             setting_text((enum setting)s->lists[k].key, sweep_value(s, i, k), value));
    return at < size ? at : size - 1;
}

#define NAME_MAX_LEN 200

static int width_of_names(const struct sweep *s) {
    char name[NAME_MAX_LEN];
    size_t width = 20;

    for (unsigned i = 0; s->n && i < sweep_combinations(s); i++) {
        size_t len = name_combination(s, i, name, sizeof name);
        if (len > width) width = len;
    }
    return (int)width;
}

static void put_error(struct json_out *o, const struct whatif_job *j) {
    const struct whatif_row *real = whatif_job_observed(j), *base = whatif_job_base_row(j);
    int64_t dials, reused;

    if (!whatif_error(base->dials, real->dials, &dials)) return;
    put(o, "The model differs from what happened by %+.2f %% in dials", (double)dials / 100);
    if (whatif_error(base->reused, real->reused, &reused))
        put(o, " and %+.2f %% in requests that reused", (double)reused / 100);
    put(o, ".\n");
}

/* ---- the advice ---- */

static void put_changes(struct json_out *o, const struct whatif_job *j, const struct whatif_advice *a) {
    for (unsigned i = 0; i < N_SETTINGS; i++) {
        int64_t was = setting_get(whatif_job_base(j), (enum setting)i), is = setting_get(&a->conf, (enum setting)i);
        char before[SETTING_VALUE_TEXT], after[SETTING_VALUE_TEXT];
        if (was == is) continue;
        put(o, "  %s = %s, not %s\n", setting_name((enum setting)i), setting_text((enum setting)i, is, after),
            setting_text((enum setting)i, was, before));
    }
}

#define ORIGINS_SHOWN 20
#define ORIGIN_WIDTH  50 /* longer names are cut */

static void put_origin(struct json_out *o, const struct whatif_job *j, const struct origin_advice *a, int width) {
    const struct server_facts *f = server_facts(whatif_job_servers(j), a->peer);
    const char *peer = whatif_peer_name(whatif_job_demands(j), a->peer);
    char name[ORIGIN_WIDTH + 1];
    size_t len = strlen(peer) < (size_t)width ? strlen(peer) : (size_t)width;
    char requests[HUMAN_MAX], dials[HUMAN_MAX], then[HUMAN_MAX], timeout[SETTING_VALUE_TEXT] = "-", own[HUMAN_MAX];

    if (a->idle_conn_timeout) setting_text(SET_IDLE_CONN_TIMEOUT, a->idle_conn_timeout, timeout);
    name[utf8_plain(peer, len, name)] = 0;
    put(o, "  %-*s %9s %9s %9s %9d  %s", width, name, human_count(a->requests, requests),
        human_count(a->dials_base, dials), human_count(a->dials_advised, then), a->max_idle_per_host, timeout);
    if (f->idle_timeout_ns) put(o, " (it closes after %s)", human_ms((uint64_t)(f->idle_timeout_ns / 1000000), own));
    if (f->requests_limit) put(o, ", closes with request %u", f->requests_limit);
    put(o, "\n");
}

/* What no limit changes, where it ends most connections. */
static void put_main_reason(struct json_out *o, const struct whatif_job *j) {
    const struct whatif_row *base = whatif_job_base_row(j);
    unsigned most = REASON_NONE;
    char number[HUMAN_MAX];

    for (unsigned i = 1; i < N_REASONS; i++)
        if (base->closes[i] > base->closes[most] || (most == REASON_NONE && base->closes[i])) most = i;
    switch (most) {
    case REASON_NONE:
    case REASON_IDLE_TIMEOUT:
    case REASON_TOO_MANY_IDLE:
    case REASON_TOO_MANY_IDLE_HOST:
    case REASON_KEEPALIVES_DISABLED:
    case REASON_SERVER_CLOSED_IDLE:
        return;
    default:
        break;
    }
    if (base->closes[most] * 10 < base->requests) return;
    put(o, "What ends most connections is %s (%s), which no limit changes; connleak(7) says what does.\n",
        close_reason_name((enum close_reason)most), human_count(base->closes[most], number));
}

static void put_advice(struct json_out *o, const struct whatif_job *j) {
    const struct whatif_advice *a = whatif_job_advice(j);
    char base[HUMAN_MAX], then[HUMAN_MAX];
    size_t width = 20;

    if (!a) return;
    if (a->is_base) {
        put(o, "\nAdvice: these limits do not cost much; none of them needs a change.\n");
    } else {
        put(o, "\nAdvice: set\n");
        put_changes(o, j, a);
        if (a->row.dials != whatif_job_base_row(j)->dials)
            put(o, "and there are %s dials instead of %s.\n", human_count(a->row.dials, then),
                human_count(whatif_job_base_row(j)->dials, base));
        else
            put(o, "so that no request meets a connection that its server is just closing.\n");
    }
    put_main_reason(o, j);
    for (uint32_t i = 0; i < a->n_origins && i < ORIGINS_SHOWN; i++) {
        size_t len = strlen(whatif_peer_name(whatif_job_demands(j), a->origins[i].peer));
        if (len > width) width = len > ORIGIN_WIDTH ? ORIGIN_WIDTH : len;
    }
    put(o, "\n  %-*s %9s %9s %9s %9s  %s\n", (int)width, "by itself", "requests", "dials", "then", "max idle",
        "idle_conn_timeout");
    for (uint32_t i = 0; i < a->n_origins && i < ORIGINS_SHOWN; i++) put_origin(o, j, &a->origins[i], (int)width);
    if (a->n_origins > ORIGINS_SHOWN) put(o, "  and %u more; --json has all\n", a->n_origins - ORIGINS_SHOWN);
}

void whatif_report(struct json_out *o, const struct whatif_job *j, bool color) {
    const struct sweep *s = whatif_job_sweep(j);
    const struct whatif_advice *a = whatif_job_advice(j);
    char name[NAME_MAX_LEN], note[WHATIF_NOTE_TEXT];
    int width = width_of_names(s);

    put_head(o, width, color);
    put_row(o, width, "as it was", whatif_job_observed(j));
    put_row(o, width, "the same, modelled", whatif_job_base_row(j));
    for (unsigned i = 0; s->n && i < sweep_combinations(s); i++) {
        name_combination(s, i, name, sizeof name);
        put_row(o, width, name, whatif_job_row(j, i));
    }
    if (a && !a->is_base) put_row(o, width, "as advised", &a->row);
    put(o, "\n");
    put_error(o, j);
    for (unsigned i = 0; whatif_note(j, i, note); i++) put(o, "Note: %s.\n", note);
    put_advice(o, j);
}
