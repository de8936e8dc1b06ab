#include "job.h"

#include "observed.h"

#include <stdlib.h>
#include <string.h>

/* What is run, one after the other. The steps of the search are run again and again. */
enum stage {
    STAGE_DEMANDS, /* what is made of the workload, in three steps */
    STAGE_SERVERS,
    STAGE_OBSERVED,
    STAGE_BASE,    /* the base configuration */
    STAGE_SWEEP,   /* each combination */
    STAGE_LEAST,   /* pools by origin, without limits: no configuration dials less */
    STAGE_PRESENT, /* pools by origin, with the base's limit per host */
    STAGE_EACH,    /* bisection: the limit that is enough, for each origin by itself */
    STAGE_COMMON,  /* bisection: one limit for all */
    STAGE_ADVISED, /* the configuration that comes out of it */
    STAGE_OVER,
};

/* The smallest limit that is enough lies in [low, high]. */
struct search {
    int low, high;
};

struct whatif_job {
    struct workload *w;
    struct demands *d;
    struct server_model *m;
    struct virtual_conf base;
    struct sweep sweep;
    bool advise;
    enum stage stage;
    unsigned combination, runs_done, runs_expected;
    struct virtual_driver *run;
    struct whatif_row observed, base_row, *rows;

    int *limits;         /* of each split, of the run under way */
    struct search *each; /* by split */
    struct search common;
    uint64_t *least, *present, *advised; /* dials by split */
    uint64_t least_sum, present_sum;
    struct whatif_advice advice;
};

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* ---- the advice ---- */

#define NO_LIMIT INT32_MAX

/* 95 % of what can be avoided: as few dials as this are enough. */
static uint64_t enough(uint64_t least, uint64_t present) {
    return present > least ? least + (present - least) / 20 : present;
}

static uint64_t sum(const uint64_t *n, uint32_t count) {
    uint64_t total = 0;

    for (uint32_t i = 0; i < count; i++) total += n[i];
    return total;
}

static int base_limit(const struct whatif_job *j) {
    int limit = j->base.pool.max_idle_conns_per_host;
    return limit == 0 ? 2 : limit;
}

static void copy_dials(struct whatif_job *j, uint64_t *into) {
    memcpy(into, virtual_dials_by_split(j->run), j->d->n_splits * sizeof *into);
}

static void set_all(struct whatif_job *j, int limit) {
    for (uint32_t i = 0; i < j->d->n_splits; i++) j->limits[i] = limit;
}

/* The search begins between 1 and the most idle connections that any split had; what is
 * searched for is not there where nothing can be avoided. */
static void begin_search(struct whatif_job *j) {
    for (uint32_t i = 0; i < j->d->n_splits; i++) {
        bool avoidable = j->present[i] > j->least[i];
        if (!avoidable) j->each[i] = (struct search){base_limit(j), base_limit(j)};
        if (j->each[i].high < j->each[i].low) j->each[i].high = j->each[i].low;
        if (avoidable && j->each[i].high > j->common.high) j->common.high = j->each[i].high;
    }
    j->common.low = 1;
    if (j->present_sum <= j->least_sum) j->common = (struct search){base_limit(j), base_limit(j)};
    if (j->common.high < j->common.low) j->common.high = j->common.low;
}

static int middle(const struct search *s) {
    return s->low + (s->high - s->low) / 2;
}

static void narrow(struct search *s, bool is_enough) {
    if (s->low >= s->high) return;
    if (is_enough)
        s->high = middle(s);
    else
        s->low = middle(s) + 1;
}

static bool each_is_found(const struct whatif_job *j) {
    for (uint32_t i = 0; i < j->d->n_splits; i++)
        if (j->each[i].low < j->each[i].high) return false;
    return true;
}

/* Two digits that matter, and not less: a limit of 143 is advised as 150. */
static int round_up(uint64_t n) {
    uint64_t unit = 1;

    while (n / unit >= 100) unit *= 10;
    n = (n + unit - 1) / unit * unit;
    return n > 1000000 ? 1000000 : (int)n;
}

/* A client's timeout that ends before the server's does: by a tenth, or a second where that is less, and
 * in round numbers: two digits that matter below a second, whole seconds above ten. */
static int64_t below(const struct server_facts *f) {
    int64_t margin = f->idle_shortest_ns / 10, ns = f->idle_shortest_ns - (margin > SEC(1) ? SEC(1) : margin);
    int64_t unit = ns >= SEC(10) ? SEC(1) : 1;

    while (ns < SEC(10) && ns / unit >= 100) unit *= 10;
    return ns - ns % unit;
}

static int64_t shortest_timeout(const struct whatif_job *j) {
    int64_t shortest = 0;

    for (uint32_t p = 0; p < j->d->n_peers; p++) {
        const struct server_facts *f = server_facts(j->m, p);
        if (f->idle_timeout_ns && (!shortest || below(f) < shortest)) shortest = below(f);
    }
    return shortest;
}

/* The base with what was found. `peak_idle`: of all, with the common limit. */
static void make_advised(struct whatif_job *j, uint64_t peak_idle) {
    struct virtual_conf *conf = &j->advice.conf;
    int64_t timeout = shortest_timeout(j);

    *conf = j->base;
    if (j->common.low > base_limit(j)) {
        conf->pool.max_idle_conns_per_host = j->common.low;
        if (conf->pool.max_idle_conns != 0 && peak_idle > (uint64_t)conf->pool.max_idle_conns)
            conf->pool.max_idle_conns = round_up(peak_idle);
    }
    if (timeout && (conf->pool.idle_conn_timeout <= 0 || timeout < conf->pool.idle_conn_timeout))
        conf->pool.idle_conn_timeout = timeout;
    j->advice.is_base = true;
    for (unsigned i = 0; i < N_SETTINGS; i++)
        if (setting_get(conf, (enum setting)i) != setting_get(&j->base, (enum setting)i)) j->advice.is_base = false;
}

static int compare_origins(const void *a, const void *b) {
    const struct origin_advice *x = a, *y = b;
    uint64_t left = x->dials_base - x->dials_least, right = y->dials_base - y->dials_least;

    if (left != right) return left > right ? -1 : 1;
    if (x->requests != y->requests) return x->requests > y->requests ? -1 : 1;
    return x->peer < y->peer ? -1 : x->peer > y->peer;
}

/* Splits of several clients make one origin: with the limit that is enough for each. */
static void tell_origins(struct whatif_job *j) {
    struct origin_advice *rows = must_have(calloc((size_t)j->d->n_peers + 1, sizeof *rows));
    uint32_t n = 0;

    for (uint32_t i = 0; i < j->d->n; i++) rows[j->d->rows[i].peer].requests++;
    for (uint32_t i = 0; i < j->d->n_splits; i++) {
        struct origin_advice *o = &rows[j->d->split_peer[i]];
        o->dials_base += j->present[i];
        o->dials_least += j->least[i] < j->present[i] ? j->least[i] : j->present[i];
        o->dials_advised += j->advised[i];
        if (j->each[i].low > o->max_idle_per_host) o->max_idle_per_host = j->each[i].low;
    }
    for (uint32_t p = 0; p < j->d->n_peers; p++) {
        const struct server_facts *f = server_facts(j->m, p);
        if (!rows[p].requests) continue;
        rows[p].peer = p;
        if (f->idle_timeout_ns) rows[p].idle_conn_timeout = below(f);
        rows[n++] = rows[p];
    }
    qsort(rows, n, sizeof *rows, compare_origins);
    j->advice.origins = rows;
    j->advice.n_origins = n;
    j->advice.dials_base = j->present_sum;
    j->advice.dials_least = j->least_sum;
}

/* ---- one run after the other ---- */

static void begin_run(struct whatif_job *j) {
    struct virtual_conf conf = j->base;

    switch (j->stage) {
    case STAGE_SWEEP:
        sweep_apply(&j->sweep, j->combination, &conf);
        break;
    case STAGE_LEAST:
        set_all(j, NO_LIMIT);
        conf.limit_of_split = j->limits;
        break;
    case STAGE_PRESENT:
        set_all(j, base_limit(j));
        conf.limit_of_split = j->limits;
        break;
    case STAGE_EACH:
        for (uint32_t i = 0; i < j->d->n_splits; i++) j->limits[i] = middle(&j->each[i]);
        conf.limit_of_split = j->limits;
        break;
    case STAGE_COMMON:
        set_all(j, middle(&j->common));
        conf.limit_of_split = j->limits;
        break;
    case STAGE_ADVISED:
        conf = j->advice.conf;
        break;
    default:
        break;
    }
    j->run = virtual_new(j->d, j->m, &conf);
}

static enum stage behind_sweep(const struct whatif_job *j) {
    return j->advise && j->d->n && !j->base.pool.disable_keep_alives && base_limit(j) > 0 ? STAGE_LEAST : STAGE_OVER;
}

static enum stage after_least(struct whatif_job *j) {
    copy_dials(j, j->least);
    for (uint32_t i = 0; i < j->d->n_splits; i++)
        j->each[i] = (struct search){1, (int)virtual_peak_idle_of_split(j->run, i)};
    return STAGE_PRESENT;
}

static enum stage after_present(struct whatif_job *j) {
    copy_dials(j, j->present);
    copy_dials(j, j->advised);
    j->least_sum = sum(j->least, j->d->n_splits);
    j->present_sum = sum(j->present, j->d->n_splits);
    begin_search(j);
    return STAGE_EACH;
}

/* The search ends with a run at the very limits that it found. */
static enum stage after_each(struct whatif_job *j) {
    bool was_found = each_is_found(j);

    copy_dials(j, j->advised);
    if (was_found) return STAGE_COMMON;
    for (uint32_t i = 0; i < j->d->n_splits; i++)
        narrow(&j->each[i], j->advised[i] <= enough(j->least[i], j->present[i]));
    return STAGE_EACH;
}

static enum stage after_common(struct whatif_job *j) {
    const struct whatif_row *row = virtual_row(j->run);

    if (j->common.low < j->common.high) {
        narrow(&j->common, row->dials <= enough(j->least_sum, j->present_sum));
        return STAGE_COMMON;
    }
    make_advised(j, row->peak_idle);
    tell_origins(j);
    return STAGE_ADVISED;
}

/* Takes the result of the run that is over, and says what comes next. */
static enum stage end_run(struct whatif_job *j) {
    switch (j->stage) {
    case STAGE_BASE:
        j->base_row = *virtual_row(j->run);
        return j->sweep.n ? STAGE_SWEEP : behind_sweep(j);
    case STAGE_SWEEP:
        j->rows[j->combination++] = *virtual_row(j->run);
        return j->combination < sweep_combinations(&j->sweep) ? STAGE_SWEEP : behind_sweep(j);
    case STAGE_LEAST:
        return after_least(j);
    case STAGE_PRESENT:
        return after_present(j);
    case STAGE_EACH:
        return after_each(j);
    case STAGE_COMMON:
        return after_common(j);
    case STAGE_ADVISED:
        j->advice.row = *virtual_row(j->run);
        break;
    default:
        break;
    }
    return STAGE_OVER;
}

/* What all runs share. */
static void prepare(struct whatif_job *j) {
    size_t n;

    switch (j->stage++) {
    case STAGE_DEMANDS:
        j->d = demands_new(j->w);
        n = (size_t)j->d->n_splits + 1;
        j->limits = must_have(calloc(n, sizeof *j->limits));
        j->each = must_have(calloc(n, sizeof *j->each));
        j->least = must_have(calloc(n, sizeof *j->least));
        j->present = must_have(calloc(n, sizeof *j->present));
        j->advised = must_have(calloc(n, sizeof *j->advised));
        break;
    case STAGE_SERVERS:
        j->m = server_model_new(j->d);
        break;
    default:
        observe(j->d, &j->observed);
        break;
    }
}

bool whatif_job_run(struct whatif_job *j, uint32_t steps) {
    if (j->stage == STAGE_OVER) return false;
    if (j->stage < STAGE_BASE) {
        prepare(j);
        return true;
    }
    if (!j->run) begin_run(j);
    if (virtual_run(j->run, steps)) return true;
    j->stage = end_run(j);
    j->runs_done++;
    virtual_free(&j->run);
    return j->stage != STAGE_OVER;
}

unsigned whatif_job_done(const struct whatif_job *j) {
    unsigned done = j->runs_done, all = j->runs_expected > done ? j->runs_expected : done + 1;
    uint64_t part = j->run && j->d->n ? (uint64_t)virtual_progress(j->run) * 1000 / j->d->n : 0;

    return j->stage == STAGE_OVER ? 1000 : (unsigned)(((uint64_t)done * 1000 + part) / all);
}

/* ---- beginning and end ---- */

/* A search takes as many runs as the number of idle connections has binary digits; it is not known yet. */
#define RUNS_OF_ADVICE 12

struct whatif_job *whatif_job_new(struct workload *w, const struct virtual_conf *base, const struct sweep *sweep,
                                  bool advise) {
    struct whatif_job *j = must_have(calloc(1, sizeof *j));

    j->w = w;
    j->base = *base;
    j->base.limit_of_split = NULL;
    j->sweep = *sweep;
    j->advise = advise;
    j->rows = must_have(calloc(sweep_combinations(sweep), sizeof *j->rows));
    j->runs_expected = 1 + (sweep->n ? sweep_combinations(sweep) : 0) + (advise ? RUNS_OF_ADVICE : 0);
    return j;
}

void whatif_job_free(struct whatif_job **jp) {
    struct whatif_job *j = *jp;

    if (!j) return;
    virtual_free(&j->run);
    server_model_free(&j->m);
    demands_free(&j->d);
    workload_free(&j->w);
    free(j->rows);
    free(j->limits);
    free(j->each);
    free(j->least);
    free(j->present);
    free(j->advised);
    free(j->advice.origins);
    free(j);
    *jp = NULL;
}

const struct workload *whatif_job_workload(const struct whatif_job *j) {
    return j->w;
}
const struct demands *whatif_job_demands(const struct whatif_job *j) {
    return j->d;
}
const struct server_model *whatif_job_servers(const struct whatif_job *j) {
    return j->m;
}
const struct virtual_conf *whatif_job_base(const struct whatif_job *j) {
    return &j->base;
}
const struct sweep *whatif_job_sweep(const struct whatif_job *j) {
    return &j->sweep;
}
const struct whatif_row *whatif_job_observed(const struct whatif_job *j) {
    return &j->observed;
}
const struct whatif_row *whatif_job_base_row(const struct whatif_job *j) {
    return &j->base_row;
}
const struct whatif_row *whatif_job_row(const struct whatif_job *j, unsigned combination) {
    return &j->rows[combination];
}
const struct whatif_advice *whatif_job_advice(const struct whatif_job *j) {
    return behind_sweep(j) == STAGE_OVER ? NULL : &j->advice;
}
