/* GET /findings. Which findings an answer has is decided when it begins; each is then
 * written as it stands when its turn comes. */
#include "answers.h"
#include "record/finding_json.h"

#include <stdlib.h>
#include <string.h>

#define SLICE_BYTES (16 * 1024)

struct findings_walk {
    const struct admin_env *env;
    uint64_t *ids; /* of this page */
    size_t n, at;
    uint64_t next; /* the cursor of the page behind it; 0: this is the last */
    bool begun, some;
};

static bool matches(const struct findings_query *q, const struct finding *fi) {
    if (q->kind >= 0 && fi->kind != q->kind) return false;
    if (q->severity >= 0 && fi->severity != q->severity) return false;
    if (q->open >= 0 && (fi->resolved_ns == 0) != (q->open == 1)) return false;
    return !q->tag || strcmp(fi->subject->tag, q->tag) == 0;
}

static void choose(struct findings_walk *w, const struct findings_query *q) {
    const struct finding *fi;
    uint64_t seen = 0;
    w->ids = calloc(q->limit, sizeof *w->ids);
    if (!w->ids) abort();
    for (size_t i = 0; w->env->findings && (fi = findings_get(w->env->findings, i)); i++) {
        if (!matches(q, fi) || seen++ < q->after) continue;
        if (w->n == q->limit) {
            w->next = q->after + w->n;
            return;
        }
        w->ids[w->n++] = fi->id;
    }
}

static enum web_more findings_more(void *state, struct json_out *out) {
    struct findings_walk *w = state;
    if (!w->begun) JO_PUT(out, "{\"findings\":[");
    w->begun = true;
    out->comma = w->some;
    while (w->at < w->n && out->len < SLICE_BYTES) {
        const struct finding *fi = findings_find(w->env->findings, w->ids[w->at++]);
        if (!fi) continue; /* forgotten since */
        finding_json(out, fi, w->env->to_wall_ns);
        w->some = true;
    }
    if (w->at < w->n) return WEB_MORE;
    JO_PUT(out, "],\"next\":");
    out->comma = false;
    if (w->next) {
        char text[JSON_U64_MAX];
        jo_strn(out, text, text_u64(text, w->next));
    } else {
        jo_null(out);
    }
    JO_PUT(out, "}\n");
    return WEB_LAST;
}

static void findings_end_walk(void *state) {
    struct findings_walk *w = state;
    free(w->ids);
    free(w);
}

struct list_stream findings_stream(const struct admin_env *env, const struct findings_query *q) {
    struct findings_walk *w = calloc(1, sizeof *w);
    if (!w) abort();
    w->env = env;
    choose(w, q);
    return (struct list_stream){findings_more, findings_end_walk, w};
}

/* --- the query ------------------------------------------------------------ */

static bool parse_number(const char *value, uint64_t most, uint64_t *out) {
    uint64_t n = 0;
    if (!*value) return false;
    for (const char *p = value; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > most) return false;
    }
    *out = n;
    return true;
}

static bool parse_severity(const char *value, int *out) {
    for (int s = SEVERITY_INFO; s <= SEVERITY_CRITICAL; s++)
        if (strcmp(value, severity_name((enum severity)s)) == 0) {
            *out = s;
            return true;
        }
    return false;
}

bool findings_query_set(struct findings_query *q, const char *name, const char *value, const char **expected) {
    uint64_t n;
    if (strcmp(name, "kind") == 0) {
        enum finding_kind kind;
        *expected = "a kind of finding, such as early_body_close";
        if (!finding_parse(value, &kind)) return false;
        q->kind = (int)kind;
        return true;
    }
    if (strcmp(name, "severity") == 0) {
        *expected = "info, warning or critical";
        return parse_severity(value, &q->severity);
    }
    if (strcmp(name, "state") == 0) {
        *expected = "open or resolved";
        q->open = strcmp(value, "open") == 0;
        return q->open || strcmp(value, "resolved") == 0;
    }
    if (strcmp(name, "tag") == 0) {
        *expected = "the user name in a client's proxy URL";
        q->tag = value;
        return *value != '\0';
    }
    if (strcmp(name, "limit") == 0) {
        *expected = "a whole number from 1 to 1000";
        if (!parse_number(value, FINDINGS_LIMIT_MAX, &n) || n == 0) return false;
        q->limit = (unsigned)n;
        return true;
    }
    *expected = "the value of next in the page before";
    return parse_number(value, 1000000, &q->after);
}
