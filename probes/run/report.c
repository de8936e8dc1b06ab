/* What the daemon knows at the end, as its answers say it. */
#include "report.h"

#include "crosscheck/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_private.h"

_Static_assert(REPORT_TEXT >= FETCH_TEXT, "the error of one is the error of the other");

#define PAGES_MAX 100 /* of findings, 100 each */

/* --- fetching ------------------------------------------------------------- */

static bool add_line(void *arg, const char *line, size_t len) {
    jo_put(arg, line, len);
    return true;
}

/* One answer of the admin endpoint; NULL, with the reason in `error`. */
static struct json_in *fetch(const char *admin, const char *path, char error[REPORT_TEXT]) {
    struct json_out text = {0};
    struct json_in *j = NULL;
    if (fetch_lines(admin, path, add_line, &text, error)) {
        j = json_in_parse(text.data, text.len);
        if (!j) snprintf(error, REPORT_TEXT, "%s%s: expected JSON", admin, path);
    }
    json_out_free(&text);
    return j;
}

static bool fetch_findings(struct report *r, const char *admin, char error[REPORT_TEXT]) {
    char path[96] = "/findings?limit=100";
    while (r->n_pages < PAGES_MAX) {
        struct json_in *page = fetch(admin, path, error);
        if (!page) return false;
        r->pages[r->n_pages++] = page;
        const char *next = ji_text(json_in_root(page), "next");
        if (!next) return true;
        snprintf(path, sizeof path, "/findings?limit=100&after=%.20s", next);
    }
    return true;
}

struct report *run_report_fetch(const char *admin, char error[REPORT_TEXT]) {
    struct report *r = calloc(1, sizeof *r);
    if (!r || !(r->pages = calloc(PAGES_MAX, sizeof *r->pages))) abort();
    if (fetch_findings(r, admin, error) && (r->metrics = fetch(admin, "/metrics", error)) &&
        (r->pools = fetch(admin, "/pools", error)))
        return r;
    run_report_free(&r);
    return NULL;
}

void run_report_free(struct report **rp) {
    struct report *r = *rp;
    *rp = NULL;
    if (!r) return;
    for (size_t i = 0; i < r->n_pages; i++) json_in_free(&r->pages[i]);
    free(r->pages);
    json_in_free(&r->metrics);
    json_in_free(&r->pools);
    free(r);
}

const struct json_value *run_report_finding(const struct report *r, size_t i) {
    for (size_t p = 0; p < r->n_pages; p++) {
        const struct json_value *list = ji_get(json_in_root(r->pages[p]), "findings");
        if (i < ji_length(list)) return ji_item(list, i);
        i -= ji_length(list);
    }
    return NULL;
}

uint64_t run_report_number(const struct report *r, const char *path) {
    uint64_t n = 0;
    ji_u64(json_in_root(r->metrics), path, &n);
    return n;
}

/* --- what follows from it ------------------------------------------------- */

bool run_report_saw_traffic(const struct report *r) {
    return run_report_number(r, "downstream.accepted") > 0;
}

uint32_t run_report_failed(const struct report *r, const struct fail_on *f) {
    const struct json_value *fi;
    uint32_t failed = 0;
    for (size_t i = 0; (fi = run_report_finding(r, i)); i++) {
        const char *name = ji_text(fi, "kind"), *severity = ji_text(fi, "severity");
        enum finding_kind kind;
        if (!name || !severity || !finding_parse(name, &kind)) continue;
        uint32_t bit = (uint32_t)1 << kind;
        bool grave = strcmp(severity, "info") != 0;
        if (fail_on_matches(f, kind, grave ? SEVERITY_WARNING : SEVERITY_INFO)) failed |= bit;
    }
    return failed;
}

/* --- for machines --------------------------------------------------------- */

static void put_findings(struct json_out *o, const struct report *r) {
    const struct json_value *fi;
    JO_KEY(o, "findings");
    jo_array(o);
    for (size_t i = 0; (fi = run_report_finding(r, i)); i++) ji_write(o, fi);
    jo_array_end(o);
}

void run_report_json(struct json_out *o, const struct report *r, const struct outcome *c, uint32_t failed,
                     int exit_code) {
    jo_object(o);
    JO_KEY(o, "schema"), jo_word(o, "connleak.run/1");
    JO_KEY(o, "command");
    jo_array(o);
    for (char *const *arg = c->argv; *arg; arg++) jo_str(o, *arg);
    jo_array_end(o);
    JO_KEY(o, "command_exit");
    if (c->signal)
        jo_null(o);
    else
        jo_i64(o, c->code);
    JO_KEY(o, "command_signal");
    if (c->signal)
        jo_i64(o, c->signal);
    else
        jo_null(o);
    JO_KEY(o, "duration_ms"), jo_u64(o, c->ms);
    JO_KEY(o, "exit_code"), jo_i64(o, exit_code);
    JO_KEY(o, "failed_on");
    jo_array(o);
    for (unsigned k = 0; k < N_FINDINGS; k++)
        if (failed >> k & 1) jo_word(o, finding_name((enum finding_kind)k));
    jo_array_end(o);
    JO_KEY(o, "saw_traffic"), jo_bool(o, run_report_saw_traffic(r));
    put_findings(o, r);
    JO_KEY(o, "pools"), ji_write(o, ji_get(json_in_root(r->pools), "pools"));
    JO_KEY(o, "metrics"), ji_write(o, json_in_root(r->metrics));
    jo_object_end(o);
    jo_line(o);
}
