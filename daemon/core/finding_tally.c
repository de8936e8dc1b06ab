/* Findings in the making: what is counted of each, when it is one, when it is over, and the lists of them.
 *
 * A tally (struct tally) belongs to a subject and lives as long as that. It is a finding, with an id, from the first
 * time that it is raised. */
#include "finding.h"

#include "finding_private.h"

#include <stdlib.h>
#include <string.h>

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

/* ---- who is at rest ---- */

void subject_rest(struct findings *f, struct subject *s) {
    enum rest to = s->n_watched ? REST_NONE : s->n_raised ? REST_RAISED : s->n_findings ? REST_RESOLVED : REST_BARE;

    if (to == s->rest) return;
    if (s->rest) TAILQ_REMOVE(&f->resting[s->rest - 1], s, rest_link);
    if (to) TAILQ_INSERT_TAIL(&f->resting[to - 1], s, rest_link);
    s->rest = (uint8_t)to;
}

/* ---- findings ---- */

struct tally *tally_of(struct findings *f, struct subject *s, enum finding_kind kind) {
    struct tally *t = s->tally[kind];

    if (t) return t;
    t = must(calloc(1, sizeof *t));
    t->subject = s;
    t->pub.subject = &s->pub;
    t->pub.kind = (uint8_t)kind;
    s->tally[kind] = t;
    TAILQ_INSERT_TAIL(&f->tallies, t, link);
    return t;
}

void tally_set(struct tally *t, enum finding_number n, uint64_t value) {
    uint64_t bit = (uint64_t)1 << n;
    bool known = value != UNKNOWN_BYTES;
    t->pub.number[n] = known ? value : 0;
    t->pub.known = known ? t->pub.known | bit : t->pub.known & ~bit;
}
void tally_add(struct tally *t, enum finding_number n, uint64_t value) {
    tally_set(t, n, t->pub.number[n] + value);
}
void tally_max(struct tally *t, enum finding_number n, uint64_t value) {
    tally_set(t, n, t->pub.number[n] > value ? t->pub.number[n] : value);
}
uint64_t tally_get(const struct tally *t, enum finding_number n) {
    return t->pub.number[n];
}

/* Cut where it is too long; `to` is all zero before. NULL is nothing. */
void put_text(char *to, size_t room, const char *text) {
    if (!text) return;
    size_t n = strlen(text);
    memcpy(to, text, n < room ? n : room - 1);
}

static void share_add(struct finding_share *shares, const char *name) {
    if (!name || !*name) return;
    for (unsigned i = 0; i < FINDING_HOSTS; i++) {
        if (!shares[i].count) {
            put_text(shares[i].name, sizeof shares[i].name, name);
        } else if (strncmp(shares[i].name, name, sizeof shares[i].name - 1)) {
            continue;
        }
        shares[i].count++;
        return;
    }
}

static const char *const methods[] = {"",       "GET",     "HEAD",  "POST",    "PUT",
                                      "DELETE", "OPTIONS", "PATCH", "CONNECT", "other"};
#define METHOD_OTHER 9

uint8_t method_of(const char *name) {
    if (!name) return 0;
    for (uint8_t i = 0; i < METHOD_OTHER; i++)
        if (!strcmp(name, methods[i])) return i;
    return METHOD_OTHER;
}

/* Long ago, and it never came to a finding: begin anew. */
static void forget_old(struct findings *f, struct tally *t) {
    if (t->pub.id || !t->pub.count || f->now - t->pub.last_ns <= f->conf.window_ns) return;
    tally_withdraw(f, t);
}

static void count_rate(struct tally *t, int64_t now) {
    if (!t->dear_times || now - t->dear_since_ns > DEAR_OVER) {
        t->dear_since_ns = now;
        t->dear_times = 0;
    }
    if (++t->dear_times >= DEAR_TIMES) t->is_dear = true;
}

struct tally *tally_count(struct findings *f, struct subject *s, enum finding_kind kind, struct occurrence o) {
    struct tally *t = tally_of(f, s, kind);
    struct finding *p = &t->pub;

    int64_t at_ns = o.at_ns ? o.at_ns : f->now;

    forget_old(f, t);
    count_rate(t, at_ns);
    if (!p->count++ || at_ns < p->first_ns) p->first_ns = at_ns;
    if (at_ns > p->last_ns) p->last_ns = at_ns;
    if (o.id) p->by_status[class_of(o.status)]++;
    if (o.host < s->n_hosts) share_add(p->by_host, s->hosts[o.host].name);
    if (o.method <= METHOD_OTHER) share_add(p->by_method, methods[o.method]);
    if (o.id && p->n_ids < FINDING_IDS) p->ids[p->n_ids++] = o.id;
    f->sort_is_old = true;
    return t;
}

static void changed(struct findings *f, uint64_t id, bool raised) {
    const struct finding_change *last = &f->change[(f->change_next - 1) % CHANGES];

    if (f->change_next > f->change_first && last->id == id && last->raised == raised) return;
    f->change[f->change_next++ % CHANGES] = (struct finding_change){id, raised};
    if (f->change_next - f->change_first > CHANGES) f->change_first = f->change_next - CHANGES;
}

void tally_raise(struct findings *f, struct tally *t, enum severity severity, enum confidence confidence) {
    struct finding *p = &t->pub;
    bool is_open = p->id && !p->resolved_ns;

    if (confidence > p->confidence || !p->id) p->confidence = (uint8_t)confidence;
    bool is_graver = severity > p->severity;
    p->severity = (uint8_t)severity;
    f->sort_is_old = true;
    if (is_open) {
        if (is_graver) changed(f, p->id, true);
        return;
    }
    if (!p->id) {
        p->id = ++f->last_id;
        idmap_put(&f->by_id, p->id, t);
        t->subject->n_findings++;
    }
    p->resolved_ns = 0;
    t->subject->n_raised++;
    subject_rest(f, t->subject);
    f->open++;
    f->open_of[p->kind]++;
    changed(f, p->id, true);
}

void tally_resolve(struct findings *f, struct tally *t) {
    struct finding *p = &t->pub;

    if (!p->id || p->resolved_ns) return;
    p->resolved_ns = f->now;
    t->subject->n_raised--;
    subject_rest(f, t->subject);
    t->is_dear = false;
    f->open--;
    f->open_of[p->kind]--;
    f->sort_is_old = true;
    changed(f, p->id, false);
}

static void share_less(struct finding_share *shares, const char *name) {
    for (unsigned i = 0; i < FINDING_HOSTS && shares[i].count; i++) {
        if (strncmp(shares[i].name, name, sizeof shares[i].name - 1)) continue;
        if (--shares[i].count) return;
        memmove(&shares[i], &shares[i + 1], (FINDING_HOSTS - 1 - i) * sizeof *shares);
        memset(&shares[FINDING_HOSTS - 1], 0, sizeof *shares);
        return;
    }
}

void tally_uncount(struct findings *f, struct tally *t, struct occurrence o) {
    struct finding *p = &t->pub;
    unsigned n = 0;

    p->count--;
    p->by_status[class_of(o.status)]--;
    if (o.host < t->subject->n_hosts) share_less(p->by_host, t->subject->hosts[o.host].name);
    if (o.method <= METHOD_OTHER) share_less(p->by_method, methods[o.method]);
    for (unsigned i = 0; i < p->n_ids; i++)
        if (p->ids[i] != o.id) p->ids[n++] = p->ids[i];
    p->n_ids = n;
    f->sort_is_old = true;
}

void tally_withdraw(struct findings *f, struct tally *t) {
    struct tally fresh = {.subject = t->subject, .link = t->link};

    tally_resolve(f, t);
    if (t->pub.id) {
        idmap_del(&f->by_id, t->pub.id);
        t->subject->n_findings--;
        subject_rest(f, t->subject);
    }
    fresh.pub.subject = t->pub.subject;
    fresh.pub.kind = t->pub.kind;
    *t = fresh;
    f->sort_is_old = true;
}

void tally_free(struct findings *f, struct tally *t) {
    tally_resolve(f, t);
    idmap_del(&f->by_id, t->pub.id);
    TAILQ_REMOVE(&f->tallies, t, link);
    t->subject->tally[t->pub.kind] = NULL;
    free(t);
    f->sort_is_old = true;
}

bool findings_next_change(struct findings *f, struct finding_change *out) {
    if (f->change_first == f->change_next) return false;
    *out = f->change[f->change_first++ % CHANGES];
    return true;
}

unsigned findings_open(const struct findings *f) {
    return f->open;
}
unsigned findings_open_of(const struct findings *f, enum finding_kind kind) {
    return f->open_of[kind];
}
uint64_t findings_held(const struct findings *f) {
    return f->held;
}

/* What a cause leaves behind; the cause has the remedy. */
static bool is_trace(const struct finding *fi) {
    return fi->kind == FINDING_RST_UNREAD_DATA || fi->kind == FINDING_SLOW_READER;
}

static int by_weight(const void *a, const void *b) {
    const struct finding *x = *(const struct finding *const *)a, *y = *(const struct finding *const *)b;

    if (x->severity != y->severity) return x->severity < y->severity ? 1 : -1;
    if (is_trace(x) != is_trace(y)) return is_trace(x) ? 1 : -1;
    if (x->confidence != y->confidence) return x->confidence < y->confidence ? 1 : -1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->last_ns != y->last_ns) return x->last_ns < y->last_ns ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int open_first(const void *a, const void *b) {
    const struct finding *x = *(const struct finding *const *)a, *y = *(const struct finding *const *)b;

    if (!x->resolved_ns != !y->resolved_ns) return x->resolved_ns ? 1 : -1;
    return by_weight(a, b);
}

static void sort_findings(struct findings *f) {
    struct tally *t;

    f->sort_is_old = false;
    f->n_sorted = 0;
    TAILQ_FOREACH (t, &f->tallies, link) {
        if (!t->pub.id) continue;
        if (f->n_sorted == f->sorted_room) {
            f->sorted_room = f->sorted_room ? f->sorted_room * 2 : 16;
            f->sorted = must(realloc(f->sorted, f->sorted_room * sizeof *f->sorted));
        }
        f->sorted[f->n_sorted++] = &t->pub;
    }
    if (!f->n_sorted) return;
    bool is_past = f->conf.observer == OBSERVER_CAPTURE; /* all of it: what went on last weighs no more */
    qsort(f->sorted, f->n_sorted, sizeof *f->sorted, is_past ? by_weight : open_first);
}

const struct finding *findings_get(struct findings *f, size_t i) {
    if (f->sort_is_old) sort_findings(f);
    return i < f->n_sorted ? f->sorted[i] : NULL;
}

const struct finding *findings_find(const struct findings *f, uint64_t id) {
    const struct tally *t = idmap_get(&f->by_id, id);

    return t ? &t->pub : NULL;
}
