#include "record/whatif_json.h"

#include "core/human.h"

#include <stdio.h>

/* ---- notes ---- */

const char *whatif_peer_name(const struct demands *d, uint32_t peer) {
    const struct workload *w = d->w;

    if (peer < w->n_origins) return workload_text_of(w, w->origins[peer].host);
    return peer < d->n_peers ? workload_text_of(w, d->proxy_text[peer - w->n_origins]) : "proxy";
}

bool whatif_error(uint64_t model, uint64_t real, int64_t *error) {
    if (real == 0) return false;
    *error = (int64_t)(((double)model - (double)real) * 10000 / (double)real);
    return true;
}

struct note {
    uint64_t n;             /* 0: there is nothing to say */
    const char *one, *many; /* behind the number; %s is not in them */
};

/* Closes by the end whose pool it is, that a capture gives no reason for: what the limits do not explain. */
static uint64_t unexplained_dials(const struct whatif_job *j) {
    const struct whatif_row *real = whatif_job_observed(j), *model = whatif_job_base_row(j);

    if (whatif_job_workload(j)->observer == OBSERVER_DAEMON) return 0;
    return real->dials > model->dials + model->dials / 10 + 1 ? real->dials - model->dials : 0;
}

static bool has_proxy_keys(const struct whatif_job *j) {
    const struct demands *d = whatif_job_demands(j);
    const struct sweep *s = whatif_job_sweep(j);

    for (unsigned k = 0; k < s->n; k++)
        for (unsigned v = 0; s->lists[k].key == SET_KEYS && v < s->lists[k].n; v++)
            if ((s->lists[k].values[v] == KEYS_PROXY && d->direct) ||
                (s->lists[k].values[v] == KEYS_DIRECT && d->proxied))
                return true;
    return false;
}

bool whatif_note(const struct whatif_job *j, unsigned i, char buf[WHATIF_NOTE_TEXT]) {
    const struct demands *d = whatif_job_demands(j);
    const struct workload *w = whatif_job_workload(j);
    const struct note notes[] = {
        {w->arrivals == ARRIVALS_SENT && d->n ? 1 : 0, NULL,
         "arrivals are when requests were sent: how long they had waited for a connection by then is not known, so "
         "that "
         "waiting times are lower bounds"},
        {unexplained_dials(j), "dial is not a matter of these limits",
         "dials are not a matter of these limits: something else ended good connections, such as bodies that nobody "
         "reads "
         "to their end, a transport for each request, or keep-alives switched off; connleak analyze says what it can "
         "tell"},
        {d->n_pools > 1 ? d->n_pools : 0, NULL,
         "pools are assumed, one for each client address and proxy; several processes on one address are taken for "
         "one"},
        {d->missing, "request is not here with its time, and counts nowhere but in the records",
         "requests are not here with their times, and count nowhere but in the records"},
        {d->spread,
         "request has no time of its own (a record keeps 32 events, and ledger.file none): it is put evenly between "
         "those that have",
         "requests have no times of their own (a record keeps 32 events): they are spread evenly between those that "
         "have, "
         "so that the numbers are estimates"},
        {d->unplaced, "request names no origin and is left out", "requests name no origin and are left out"},
        {d->opaque, "connection cannot be looked into (TLS, a tunnel) and is left out of the model",
         "connections cannot be looked into (TLS, tunnels) and are left out of the model"},
        {d->pipelined, "request was pipelined behind another one: Go's pool gives it a connection of its own",
         "requests were pipelined behind others: Go's pool gives each a connection of its own"},
        {d->retried, "request was sent again after its connection failed, and counts once",
         "requests were sent again after their connections failed, and count once"},
        {whatif_job_observed(j)->standing, "connection stood when the observation began, and is no dial",
         "connections stood when the observation began, and are no dials"},
        {has_proxy_keys(j) ? 1 : 0, NULL,
         "how long a dial takes under keys that nobody used is not known: the median of all dials is taken"},
    };
    char number[HUMAN_MAX];

    for (unsigned k = 0; k < sizeof notes / sizeof *notes; k++) {
        if (!notes[k].n || i-- > 0) continue;
        if (notes[k].n == 1 && !notes[k].one)
            snprintf(buf, WHATIF_NOTE_TEXT, "%s", notes[k].many);
        else
            snprintf(buf, WHATIF_NOTE_TEXT, "%s %s", human_count(notes[k].n, number),
                     notes[k].n == 1 ? notes[k].one : notes[k].many);
        return true;
    }
    return false;
}

/* ---- rows ---- */

static void put_wait(struct json_out *o, const struct whatif_row *r) {
    JO_KEY(o, "wait_ms");
    if (!r->waits_known) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "p50");
    jo_ms(o, (int64_t)histogram_quantile(&r->wait, 50));
    JO_KEY(o, "p99");
    jo_ms(o, (int64_t)histogram_quantile(&r->wait, 99));
    JO_KEY(o, "max");
    jo_ms(o, (int64_t)r->wait.max);
    jo_object_end(o);
}

/* The members of a row, into an object that is open. */
static void put_row(struct json_out *o, const struct whatif_row *r) {
#define PUT(name)                                                                                                      \
    JO_KEY(o, #name);                                                                                                  \
    jo_u64(o, r->name)
    PUT(requests);
    PUT(unserved);
    PUT(dials);
    PUT(reused);
    JO_KEY(o, "reuse_ratio");
    jo_ratio(o, r->reused, r->requests);
    PUT(standing);
    PUT(peak_open);
    PUT(peak_idle);
    PUT(tls_handshakes);
#undef PUT
    JO_KEY(o, "closes");
    jo_object(o);
    for (unsigned i = 0; i < N_REASONS; i++) {
        if (!r->closes[i]) continue;
        jo_key(o, i == REASON_NONE ? "unknown" : close_reason_name((enum close_reason)i));
        jo_u64(o, r->closes[i]);
    }
    jo_object_end(o);
    put_wait(o, r);
    JO_KEY(o, "time_wait_peak");
    jo_object(o);
    JO_KEY(o, "local");
    jo_u64(o, r->time_wait_local);
    JO_KEY(o, "remote");
    jo_u64(o, r->time_wait_remote);
    jo_object_end(o);
}

static void put_setting(struct json_out *o, enum setting key, int64_t value) {
    char text[SETTING_VALUE_TEXT];

    jo_key(o, setting_name(key));
    setting_text(key, value, text);
    switch (key) {
    case SET_DISABLE_KEEP_ALIVES:
        jo_bool(o, value != 0);
        break;
    case SET_IDLE_CONN_TIMEOUT:
    case SET_PROFILE:
    case SET_KEYS:
        jo_str(o, text);
        break;
    case SET_MAX_IDLE_CONNS:
    case SET_MAX_IDLE_CONNS_PER_HOST:
    case SET_MAX_CONNS_PER_HOST:
    case N_SETTINGS:
        jo_i64(o, value);
        break;
    }
}

static void put_conf(struct json_out *o, const struct virtual_conf *conf) {
    JO_KEY(o, "settings");
    jo_object(o);
    for (unsigned i = 0; i < N_SETTINGS; i++) put_setting(o, (enum setting)i, setting_get(conf, (enum setting)i));
    jo_object_end(o);
}

static void put_error(struct json_out *o, uint64_t model, uint64_t real) {
    int64_t error;

    if (whatif_error(model, real, &error))
        jo_fixed(o, error, 4);
    else
        jo_null(o);
}

static void put_base(struct json_out *o, const struct whatif_job *j) {
    const struct whatif_row *real = whatif_job_observed(j), *base = whatif_job_base_row(j);

    jo_object(o);
    put_conf(o, whatif_job_base(j));
    put_row(o, base);
    JO_KEY(o, "error");
    jo_object(o);
    JO_KEY(o, "dials");
    put_error(o, base->dials, real->dials);
    JO_KEY(o, "reused");
    put_error(o, base->reused, real->reused);
    jo_object_end(o);
    jo_object_end(o);
}

static void put_rows(struct json_out *o, const struct whatif_job *j) {
    const struct sweep *s = whatif_job_sweep(j);

    jo_array(o);
    for (unsigned i = 0; s->n && i < sweep_combinations(s); i++) {
        jo_object(o);
        JO_KEY(o, "settings");
        jo_object(o);
        for (unsigned k = 0; k < s->n; k++) put_setting(o, (enum setting)s->lists[k].key, sweep_value(s, i, k));
        jo_object_end(o);
        put_row(o, whatif_job_row(j, i));
        jo_object_end(o);
    }
    jo_array_end(o);
}

/* ---- the advice ---- */

static void put_timeout(struct json_out *o, int64_t ns) {
    char text[SETTING_VALUE_TEXT];

    if (ns)
        jo_str(o, setting_text(SET_IDLE_CONN_TIMEOUT, ns, text));
    else
        jo_null(o);
}

static void put_origin(struct json_out *o, const struct whatif_job *j, const struct origin_advice *a) {
    const struct demands *d = whatif_job_demands(j);
    const struct server_facts *f = server_facts(whatif_job_servers(j), a->peer);
    bool is_origin = a->peer < d->w->n_origins;

    jo_object(o);
    JO_KEY(o, "scheme");
    jo_str(o, is_origin ? workload_text_of(d->w, d->w->origins[a->peer].scheme) : NULL);
    JO_KEY(o, "host");
    jo_str(o, whatif_peer_name(d, a->peer));
    JO_KEY(o, "proxy");
    jo_bool(o, !is_origin);
    JO_KEY(o, "requests");
    jo_u64(o, a->requests);
    JO_KEY(o, "dials");
    jo_u64(o, a->dials_base);
    JO_KEY(o, "least_dials");
    jo_u64(o, a->dials_least);
    JO_KEY(o, "max_idle_conns_per_host");
    jo_i64(o, a->max_idle_per_host);
    JO_KEY(o, "dials_then");
    jo_u64(o, a->dials_advised);
    JO_KEY(o, "idle_conn_timeout");
    put_timeout(o, a->idle_conn_timeout);
    JO_KEY(o, "server");
    jo_object(o);
    JO_KEY(o, "idle_timeout_ms");
    if (f->idle_timeout_ns)
        jo_ms(o, f->idle_timeout_ns);
    else
        jo_null(o);
    JO_KEY(o, "idle_observations");
    jo_u64(o, f->idle_observations);
    JO_KEY(o, "requests_per_connection");
    if (f->requests_limit)
        jo_u64(o, f->requests_limit);
    else
        jo_null(o);
    JO_KEY(o, "dial_ms");
    if (f->n_dials)
        jo_ms(o, f->dial_ns);
    else
        jo_null(o);
    jo_object_end(o);
    jo_object_end(o);
}

static void put_advice(struct json_out *o, const struct whatif_job *j) {
    const struct whatif_advice *a = whatif_job_advice(j);

    if (!a) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "is_base");
    jo_bool(o, a->is_base);
    JO_KEY(o, "least_dials");
    jo_u64(o, a->dials_least);
    put_conf(o, &a->conf);
    put_row(o, &a->row);
    JO_KEY(o, "origins");
    jo_array(o);
    for (uint32_t i = 0; i < a->n_origins; i++) put_origin(o, j, &a->origins[i]);
    jo_array_end(o);
    jo_object_end(o);
}

static void put_workload(struct json_out *o, const struct whatif_job *j, const char *source) {
    const struct workload *w = whatif_job_workload(j);
    const struct demands *d = whatif_job_demands(j);

    jo_object(o);
    JO_KEY(o, "source");
    jo_str(o, source);
    JO_KEY(o, "observer");
    jo_word(o, observer_name((enum observer)w->observer));
    JO_KEY(o, "side");
    jo_word(o, side_name(d->side));
    JO_KEY(o, "began_at");
    jo_time(o, w->began_ns);
    JO_KEY(o, "duration_ms");
    jo_ms(o, w->duration_ns);
    JO_KEY(o, "origins");
    jo_u64(o, w->n_origins);
    JO_KEY(o, "connections");
    jo_u64(o, d->n_conns);
    JO_KEY(o, "exchanges");
    jo_u64(o, d->n);
    JO_KEY(o, "pools");
    jo_u64(o, d->n_pools);
    jo_object_end(o);
}

void whatif_json(struct json_out *o, const struct whatif_job *j, const char *source) {
    char note[WHATIF_NOTE_TEXT];

    jo_object(o);
    JO_KEY(o, "schema");
    jo_word(o, "connleak.whatif/1");
    JO_KEY(o, "workload");
    put_workload(o, j, source);
    JO_KEY(o, "notes");
    jo_array(o);
    for (unsigned i = 0; whatif_note(j, i, note); i++) jo_str(o, note);
    jo_array_end(o);
    JO_KEY(o, "observed");
    jo_object(o);
    put_row(o, whatif_job_observed(j));
    jo_object_end(o);
    JO_KEY(o, "base");
    put_base(o, j);
    JO_KEY(o, "rows");
    put_rows(o, j);
    JO_KEY(o, "advice");
    put_advice(o, j);
    jo_object_end(o);
    jo_line(o);
}
