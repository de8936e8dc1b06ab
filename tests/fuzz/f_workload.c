/* connleak.workload/1 lines. What must hold: the lines are read or refused with a
 * sentence, whatever they announce; a workload that was read is written as text that
 * reads as the same again, with its names and without; and a what-if over it ends, with
 * each request served or not. */
#include "record/whatif_json.h"
#include "workload_lines.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds) {
    if (!holds) abort();
}

static struct workload *read_all(const char *text, size_t len, bool *refused) {
    const struct workload_limits limits = {.exchanges = 2000, .conns = 500, .origins = 100, .text_bytes = 128u << 10};
    struct workload_reader *r = workload_reader_new(&limits);
    struct workload *w = read_workload_lines(r, text, len);

    *refused = *workload_reader_error(r) != 0;
    must(*refused == !w);
    workload_reader_free(&r);
    return w;
}

static char *written(const struct workload *w, size_t *len) {
    struct json_out o = {0};
    uint64_t at = 0;

    while (workload_json_some(&o, w, &at)) continue;
    return json_out_take(&o, len);
}

/* The rows refer to each other as they ought to. */
static void check_rows(const struct workload *w) {
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        must(x->conn < w->n_conns && (x->origin == WORKLOAD_NO || x->origin < w->n_origins));
        must(x->end < N_WORKLOAD_ENDS && x->at_ns >= 0 && x->at_ns <= WORKLOAD_TIME_MAX);
        must(i == 0 || w->exchanges[i - 1].at_ns <= x->at_ns);
    }
    for (uint32_t i = 0; i < w->n_conns; i++)
        must(w->conns[i].origin == WORKLOAD_NO || w->conns[i].origin < w->n_origins);
}

static void check_again(const struct workload *w) {
    size_t len, len2;
    char *text = written(w, &len), *text2;
    bool refused;
    struct workload *again = read_all(text, len, &refused);

    must(again && !refused);
    text2 = written(again, &len2);
    must(len == len2 && !memcmp(text, text2, len));
    free(text);
    free(text2);
    workload_free(&again);
}

static void check_row(const struct whatif_row *row, uint32_t n) {
    uint64_t closes = 0;

    for (unsigned i = 0; i < N_REASONS; i++) closes += row->closes[i];
    must(row->requests + row->unserved == n && row->reused <= row->requests);
    must(closes <= row->dials + row->standing && row->peak_idle <= row->peak_open);
    must(row->peak_open <= row->dials + row->standing && row->tls_handshakes <= row->dials);
}

/* Takes the workload. */
static void ask_whatif(struct workload *w) {
    struct virtual_conf base = settings_default();
    struct sweep sweep = {0};
    char error[SETTINGS_TEXT], note[WHATIF_NOTE_TEXT];
    struct json_out o = {0};
    struct whatif_job *j;

    must(sweep_add(&sweep, "max_conns_per_host=0,1", error) && sweep_add(&sweep, "keys=proxy,direct", error) &&
         sweep_add(&sweep, "profile=go1.19,go1.27", error) && sweep_add(&sweep, "idle_conn_timeout=0,1ms", error));
    j = whatif_job_new(w, &base, &sweep, true);
    while (whatif_job_run(j, 1000)) must(whatif_job_done(j) <= 1000);
    for (unsigned i = 0; i < sweep_combinations(&sweep); i++) check_row(whatif_job_row(j, i), whatif_job_demands(j)->n);
    check_row(whatif_job_base_row(j), whatif_job_demands(j)->n);
    for (unsigned i = 0; whatif_note(j, i, note); i++) must(*note);
    whatif_json(&o, j, "x");
    json_out_free(&o);
    whatif_job_free(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    bool refused;
    struct workload *w = read_all((const char *)data, len, &refused);

    if (!w) return 0;
    check_rows(w);
    check_again(w);
    workload_anonymise(w);
    check_rows(w);
    check_again(w);
    ask_whatif(w);
    return 0;
}
