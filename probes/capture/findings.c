/* Findings for people, above the table. */
#include "capture/analyze.h"
#include "core/advice.h"
#include "core/finding.h"
#include "core/utf8.h"

#include <inttypes.h>
#include <string.h>

#define WIDTH 110

static void put(struct out *o, const char *text) {
    jo_put(&o->text, text, strlen(text));
}

/* What a peer chose reaches no terminal as a control character. */
static void put_safe(struct out *o, const char *text, size_t len) {
    char *to = jo_reserve(&o->text, len);
    o->text.len += utf8_plain(text, len, to);
}

/* Words, broken at WIDTH, each line after `indent` blanks. */
static void put_wrapped(struct out *o, const char *text, unsigned indent) {
    size_t at = 0;

    while (*text) {
        size_t len = strcspn(text, " ");
        if (at && at + len + 1 > WIDTH) {
            put(o, "\n");
            at = 0;
        }
        if (at) put(o, " ");
        for (; at < indent; at++) put(o, " ");
        put_safe(o, text, len);
        at += len + 1;
        text += len + strspn(text + len, " ");
    }
    put(o, "\n");
}

static void put_head(struct out *o, const struct finding *fi, bool color) {
    static const char *const colors[] = {"\033[1m", "\033[1;33m", "\033[1;31m"};
    const struct finding_subject *p = fi->subject;
    char line[768];

    if (color) put(o, colors[fi->severity]);
    put(o, finding_name((enum finding_kind)fi->kind));
    if (color) put(o, "\033[0m");
    snprintf(line, sizeof line, "  %s, %s  %s%s%s%s%s%s%s%s", severity_name((enum severity)fi->severity),
             confidence_name((enum confidence)fi->confidence), p->client, p->tag[0] ? " " : "", p->tag,
             p->user_agent[0] ? " (" : "", p->user_agent, p->user_agent[0] ? ")" : "", p->key[0] ? " -> " : "", p->key);
    put_safe(o, line, strlen(line));
    put(o, "\n");
}

static void put_shares(struct out *o, const struct finding *fi) {
    static const char *const classes[] = {"no answer", "1xx", "2xx", "3xx", "4xx", "5xx"};
    char line[256];
    int n = 0;

    for (int i = 0; i < 6; i++)
        if (fi->by_status[i])
            n += snprintf(line + n, sizeof line - (size_t)n, "%s%" PRIu64 " x %s", n ? ", " : "", fi->by_status[i],
                          classes[i]);
    for (int i = 0; i < FINDING_HOSTS && fi->by_method[i].count && n < (int)sizeof line - 80; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s%" PRIu64 " x %.20s", n ? ", " : "", fi->by_method[i].count,
                      fi->by_method[i].name);
    if (n) put_wrapped(o, line, 2);
}

static void put_connections(struct out *o, const struct finding *fi) {
    char line[512] = "connections:";
    size_t n = strlen(line);
    unsigned shown = 0;

    for (; shown < fi->n_ids && n < 100; shown++)
        n += (size_t)snprintf(line + n, sizeof line - n, " c-%" PRIu64, fi->ids[shown]);
    if (fi->count > shown) n += (size_t)snprintf(line + n, sizeof line - n, " ... (%" PRIu64 " in all)", fi->count);
    if (fi->known & (uint64_t)1 << NUM_RST_PACKET)
        snprintf(line + n, sizeof line - n, "; the last one's RST: tshark -Y 'frame.number == %" PRIu64 "'",
                 fi->number[NUM_RST_PACKET]);
    if (fi->n_ids) put_wrapped(o, line, 2);
}

static void put_finding(struct out *o, const struct finding *fi, bool color) {
    char text[1024];

    put_head(o, fi, color);
    finding_summary(fi, text, sizeof text);
    put_wrapped(o, text, 2);
    put_shares(o, fi);
    put_connections(o, fi);
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        if (!(fi->ambiguous & (uint32_t)1 << k)) continue;
        snprintf(text, sizeof text, "looks the same in a capture: %s", finding_name((enum finding_kind)k));
        put_wrapped(o, text, 2);
    }
    if (fi->observer_effect) put_wrapped(o, fi->observer_effect, 2);
    snprintf(text, sizeof text, "do: %s", finding_remedy(fi));
    put_wrapped(o, text, 2);
    put(o, "\n");
    out_maybe_flush(o);
}

void put_findings(struct out *o, struct findings *f, bool color) {
    const struct finding *fi;

    for (size_t i = 0; (fi = findings_get(f, i)); i++) put_finding(o, fi, color);
}
