/* The report for people: the causes first, then the numbers. */
#include "report_private.h"

#include "core/human.h"
#include "core/utf8.h"

#include <stdio.h>
#include <string.h>

#define WIDTH       100
#define POOLS_SHOWN 20

static void put(struct json_out *o, const char *text) {
    jo_put(o, text, strlen(text));
}

/* What a peer chose reaches no terminal as a control character. */
static void put_safe(struct json_out *o, const char *text, size_t len) {
    char *to = jo_reserve(o, len);
    o->len += utf8_plain(text, len, to);
}

/* Words in lines of WIDTH, each after `indent` blanks. */
static void put_wrapped(struct json_out *o, unsigned indent, const char *text) {
    size_t at = 0;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (at && at + len + 1 > WIDTH) {
            put(o, "\n");
            at = 0;
        }
        if (at) put(o, " ");
        for (; at < indent; at++) put(o, " ");
        put_safe(o, text, len);
        at += len + 1;
        text += len + strspn(text + len, " \n");
    }
    put(o, "\n");
}

static const char *text_of(const struct json_value *v, const char *path) {
    const char *text = ji_text(v, path);
    return text ? text : "";
}

/* --- findings ------------------------------------------------------------- */

static void put_subject(struct json_out *o, const struct json_value *fi) {
    static const char *const parts[] = {"subject.key", "subject.client.address", "subject.client.tag",
                                        "subject.client.user_agent"};
    bool some = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *text = text_of(fi, parts[i]);
        if (!*text) continue;
        put(o, some ? " " : "  ");
        put_safe(o, text, strlen(text));
        some = true;
    }
}

static void put_statuses(struct json_out *o, const struct json_value *fi) {
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    char line[256] = "by status:", number[HUMAN_MAX];
    size_t n = strlen(line), empty = n;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        char path[24];
        uint64_t count;
        snprintf(path, sizeof path, "by_status.%s", classes[i]);
        if (!ji_u64(fi, path, &count)) continue;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s %s x %s", n > empty ? "," : "", human_count(count, number),
                              i ? classes[i] : "no response");
    }
    if (n > empty) put_wrapped(o, 4, line);
}

static void put_labelled(struct json_out *o, const char *label, const char *text) {
    char line[4096];
    if (!*text) return;
    snprintf(line, sizeof line, "%s%s", label, text);
    put_wrapped(o, 4, line);
}

/* `before`: the advice of the finding above it. */
static void put_finding(struct json_out *o, const struct json_value *fi, const char *before, bool color) {
    const char *severity = text_of(fi, "severity");
    const char *paint = !strcmp(severity, "critical")  ? "\033[1;31m"
                        : !strcmp(severity, "warning") ? "\033[1;33m"
                                                       : "\033[1m";
    put(o, "\n  ");
    if (color) put(o, paint);
    put(o, text_of(fi, "kind"));
    if (color) put(o, "\033[0m");
    put(o, "  ");
    put(o, severity);
    put(o, ", ");
    put(o, text_of(fi, "confidence"));
    put_subject(o, fi);
    if (ji_text(fi, "resolved_at")) put(o, "  (over by now)");
    put(o, "\n");
    put_labelled(o, "", text_of(fi, "summary"));
    put_statuses(o, fi);
    const struct json_value *ambiguous = ji_get(fi, "evidence.ambiguous_with");
    for (size_t i = 0; i < ji_length(ambiguous); i++)
        put_labelled(o, "looks the same from here: ", text_of(ji_item(ambiguous, i), ""));
    put_labelled(o, "", text_of(fi, "observer_effect"));
    put_labelled(o, "do: ", strcmp(text_of(fi, "advice"), before) ? text_of(fi, "advice") : "as above");
}

static void put_findings(struct json_out *o, const struct report *r, bool color) {
    const struct json_value *fi;
    size_t n = 0;
    while (run_report_finding(r, n)) n++;
    if (!n) {
        put(o, "no findings\n");
        return;
    }
    char line[64];
    snprintf(line, sizeof line, "%zu finding%s\n", n, n == 1 ? "" : "s");
    put(o, line);
    const char *before = "";
    for (size_t i = 0; (fi = run_report_finding(r, i)); i++) {
        put_finding(o, fi, before, color);
        before = text_of(fi, "advice");
    }
    put(o, "\n");
}

/* --- pools and totals ----------------------------------------------------- */

static void put_number(struct json_out *o, uint64_t n, int width) {
    char number[HUMAN_MAX], cell[64];
    snprintf(cell, sizeof cell, "%*s", width, human_count(n, number));
    put(o, cell);
}

static uint64_t number_of(const struct json_value *v, const char *path) {
    uint64_t n = 0;
    ji_u64(v, path, &n);
    return n;
}

static void put_pools(struct json_out *o, const struct report *r) {
    const struct json_value *pools = ji_get(json_in_root(r->pools), "pools");
    size_t n = ji_length(pools);
    if (!n) return;
    put(o, "pools                                        dials  requests    reused  peak open  peak active\n");
    for (size_t i = 0; i < n && i < POOLS_SHOWN; i++) {
        const struct json_value *row = ji_item(pools, i);
        char key[300], cell[48];
        snprintf(key, sizeof key, "%s://%s", text_of(row, "key.scheme"), text_of(row, "key.host"));
        snprintf(cell, sizeof cell, "  %-38.38s", key);
        put_safe(o, cell, strlen(cell));
        put_number(o, number_of(row, "dials"), 10);
        put_number(o, number_of(row, "gets"), 10);
        put_number(o, number_of(row, "reuses"), 10);
        put_number(o, number_of(row, "peak_open"), 11);
        put_number(o, number_of(row, "learned.peak_active"), 13);
        put(o, "\n");
    }
    char line[64];
    snprintf(line, sizeof line, "  ... and %zu more\n", n - POOLS_SHOWN);
    if (n > POOLS_SHOWN) put(o, line);
}

static void put_totals(struct json_out *o, const struct report *r) {
    static const struct {
        const char *label, *down, *up;
    } rows[] = {
        {"connections", "downstream.accepted", "upstream.dials"},
        {"requests", "downstream.requests", "upstream.requests"},
        {"reused", "downstream.reused", "upstream.reused"},
        {"bodies given up early", "downstream.early_body_closes", "upstream.early_body_closes"},
        {"RSTs received", "downstream.rst_received", "upstream.rst_received"},
    };
    put(o, "totals                           command to proxy  proxy to servers\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char cell[48];
        snprintf(cell, sizeof cell, "  %-31s", rows[i].label);
        put(o, cell);
        put_number(o, run_report_number(r, rows[i].down), 16);
        put_number(o, run_report_number(r, rows[i].up), 18);
        put(o, "\n");
    }
    if (!run_report_number(r, "tunnels.total")) return;
    put(o, "  CONNECT tunnels                ");
    put_number(o, run_report_number(r, "tunnels.total"), 16);
    put(o, "\n    What passes in a tunnel is encrypted: of its requests nothing is known.\n");
}

/* --- the whole ------------------------------------------------------------ */

static void put_no_traffic(struct json_out *o, const struct outcome *c) {
    put(o, "no connection came to the proxy: nothing can be said about this command\n");
    if (c->reverse) {
        put_wrapped(o, 2,
                    "In reverse mode the command has to be told where the proxy is: CONNLEAK_PROXY has its host and "
                    "port, as in sh -c 'BASE_URL=http://$CONNLEAK_PROXY exec ./tests'.");
        return;
    }
    put_wrapped(o, 2,
                "Go programs never use a proxy for localhost and loopback addresses, whatever the environment says. "
                "Java does not look at http_proxy at all, nor does Go code with a Transport of its own that lacks "
                "Proxy: http.ProxyFromEnvironment, nor Node.js before version 24.");
    put_wrapped(o, 2,
                "Give the server another name (127.0.0.1 origin.test in /etc/hosts), or use reverse mode: connleak run "
                "--set proxy.mode=reverse --set proxy.upstream=http://127.0.0.1:8080 -- sh -c "
                "'BASE_URL=http://$CONNLEAK_PROXY exec ./tests'.");
}

static void put_ending(struct json_out *o, const struct outcome *c) {
    char line[128], time[HUMAN_MAX];
    put(o, "\nconnleak run: ");
    put_safe(o, c->argv[0], strlen(c->argv[0]));
    if (c->signal)
        snprintf(line, sizeof line, " was ended by signal %d after %s\n\n", c->signal, human_ms(c->ms, time));
    else
        snprintf(line, sizeof line, " ended with exit code %d after %s\n\n", c->code, human_ms(c->ms, time));
    put(o, line);
}

static void put_failed(struct json_out *o, uint32_t failed) {
    if (!failed) return;
    put(o, "\nexit code 99, because of");
    for (unsigned k = 0, some = 0; k < N_FINDINGS; k++) {
        if (!(failed >> k & 1)) continue;
        put(o, some++ ? ", " : " ");
        put(o, finding_name((enum finding_kind)k));
    }
    put(o, " (--fail-on)\n");
}

void run_report_text(struct json_out *o, const struct report *r, const struct outcome *c, uint32_t failed, bool color) {
    put_ending(o, c);
    if (run_report_saw_traffic(r)) {
        put_findings(o, r, color);
        put_pools(o, r);
        put_totals(o, r);
    } else {
        put_no_traffic(o, c);
    }
    put_failed(o, failed);
}
