#include "input.h"

#include "from_workload.h"

#include "capture/feed.h"
#include "whatif/load.h"

#include <stdio.h>
#include <string.h>

static bool failed(char error[INPUT_TEXT], const char *path, const char *why) {
    snprintf(error, INPUT_TEXT, "%.200s: %.290s", path, why);
    return false;
}

static void warn(const char *path, const char *what) {
    fprintf(stderr, "connleak replay: %s: %s\n", path, what);
}

/* ---- captures ---- */

static bool read_capture(struct input *s, struct plan *p, struct capture *c, char error[INPUT_TEXT]) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct feed_counts counts = {0};
    struct capture_source source;
    struct wire_record *r;
    enum capture_step step;
    struct wire *w;

    limits.transcript_bytes = PLAN_BYTES_MAX;
    limits.events = true;
    w = wire_new(&limits);
    do {
        step = feed_some(c, w, &counts);
        if (step == CAPTURE_END) wire_finish(w);
        diagnosis_events(&s->of_capture, w);
        while ((r = wire_next(w))) {
            diagnosis_record(&s->of_capture, r);
            plan_add(p, r);
        }
    } while (step != CAPTURE_END);
    wire_free(&w);
    capture_source(c, 0, &source);
    if (source.last_ns > p->end_ns) p->end_ns = source.last_ns;
    diagnosis_end(&s->of_capture, p->end_ns);
    if (*source.fault) warn(source.path, source.fault);
    if (counts.unsupported) warn(source.path, "has packets of a link type that cannot be read");
    return p->n_conns || failed(error, source.path, "there is no TCP connection in it");
}

/* ---- workloads and ledgers ---- */

/* JSON Lines begin with a brace; captures begin otherwise. "-" is not looked at: stdin is a capture. */
static bool is_text(const char *path) {
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : NULL;
    bool is = f && getc(f) == '{';

    if (f) fclose(f);
    return is;
}

/* A ledger's record keeps some of its events: of requests without any, when they were is a guess. */
static bool has_times(const struct workload *work, const char *path, char error[INPUT_TEXT]) {
    uint32_t spread = 0;

    for (uint32_t i = 0; i < work->n_exchanges; i++) spread += (work->exchanges[i].flags & WX_SPREAD) != 0;
    if (spread && spread == work->n_exchanges)
        return failed(error, path,
                      "its records have no events, which say what was asked and when; save the daemon's GET "
                      "/ledger?events=true");
    if (spread)
        fprintf(stderr,
                "connleak replay: %u of %u requests have no events of their own: they are spread over their "
                "connection's life\n",
                spread, work->n_exchanges);
    return true;
}

static bool read_workload(struct input *s, struct plan *p, const char *path, char error[INPUT_TEXT]) {
    char said[LOAD_TEXT];
    struct workload *work = workload_load(path, false, said);
    bool fine;

    snprintf(error, INPUT_TEXT, "%s", said);
    if (!work) return false;
    if (*said) fprintf(stderr, "connleak replay: %s\n", said);
    fine = has_times(work, path, error);
    if (fine) {
        witness_begin(&s->of_workload, PLAN_BYTES_MAX);
        from_workload_add(p, &s->of_workload, work);
        fine = p->n_conns || failed(error, path, "there is no connection in it");
    }
    workload_free(&work);
    return fine;
}

bool input_read(struct input *s, struct plan *p, const char *path, char error[INPUT_TEXT]) {
    char said[CAPTURE_TEXT];
    struct capture *c;
    bool fine;

    *s = (struct input){.made_up = is_text(path)};
    diagnosis_begin(&s->of_capture);
    if (s->made_up) return read_workload(s, p, path, error);
    c = capture_open(&path, 1, said);
    if (!c) {
        snprintf(error, INPUT_TEXT, "%s", said);
        return false;
    }
    fine = read_capture(s, p, c, error);
    capture_close(&c);
    return fine;
}

void input_free(struct input *s) {
    diagnosis_free(&s->of_capture);
    if (s->of_workload.wire) witness_free(&s->of_workload);
}

const struct diagnosis *input_findings(const struct input *s) {
    return s->made_up ? &s->of_workload.rules : &s->of_capture;
}
