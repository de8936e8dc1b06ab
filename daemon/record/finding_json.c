#include "record/finding_json.h"

#include "core/advice.h"
#include "record/conn_json.h"

#define SUMMARY_MAX 1024

static const char *text_or_null(const char *text) {
    return text && *text ? text : NULL;
}

char *finding_id_text(uint64_t id, char buf[FINDING_ID_TEXT_MAX]) {
    buf[0] = 'f';
    buf[1] = '-';
    buf[2 + text_u64(buf + 2, id)] = 0;
    return buf;
}

static bool knows(const struct finding *fi, enum finding_number n) {
    return fi->known >> n & 1;
}

const char *finding_cost(const struct finding *fi) {
    bool wasteful = knows(fi, NUM_WASTEFUL) && fi->number[NUM_WASTEFUL];
    bool justified = knows(fi, NUM_JUSTIFIED) && fi->number[NUM_JUSTIFIED];
    return wasteful && justified ? "mixed" : wasteful ? "wasteful" : justified ? "justified" : NULL;
}

/* ---- the parts ---- */

static void put_subject(struct json_out *o, const struct finding_subject *s) {
    bool client = *s->client || *s->tag || *s->user_agent;
    JO_KEY(o, "subject");
    jo_object(o);
    JO_KEY(o, "key"), jo_str(o, text_or_null(s->key));
    JO_KEY(o, "client");
    if (client) {
        jo_object(o);
        JO_KEY(o, "address"), jo_str(o, text_or_null(s->client));
        JO_KEY(o, "tag"), jo_str(o, text_or_null(s->tag));
        JO_KEY(o, "user_agent"), jo_str(o, text_or_null(s->user_agent));
        JO_KEY(o, "stack"), jo_word(o, s->stack == STACK_UNKNOWN ? NULL : stack_name(s->stack));
        jo_object_end(o);
    } else {
        jo_null(o);
    }
    jo_object_end(o);
}

/* Status classes that occurred. */
static void put_statuses(struct json_out *o, const struct finding *fi) {
    static const char names[6][5] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    JO_KEY(o, "by_status");
    jo_object(o);
    for (unsigned i = 0; i < 6; i++) {
        if (!fi->by_status[i]) continue;
        jo_key(o, names[i]);
        jo_u64(o, fi->by_status[i]);
    }
    jo_object_end(o);
}

static void put_shares(struct json_out *o, const struct finding_share share[FINDING_HOSTS]) {
    jo_object(o);
    for (unsigned i = 0; i < FINDING_HOSTS; i++) {
        if (!share[i].count || !*share[i].name) continue;
        jo_key(o, share[i].name);
        jo_u64(o, share[i].count);
    }
    jo_object_end(o);
}

static void put_evidence(struct json_out *o, const struct finding *fi) {
    const char *cost = finding_cost(fi);
    JO_KEY(o, "evidence");
    jo_object(o);
    for (unsigned n = 0; n < N_NUMBERS; n++) {
        if (!knows(fi, (enum finding_number)n)) continue;
        jo_key(o, finding_number_name((enum finding_number)n));
        jo_u64(o, fi->number[n]);
    }
    if (cost) JO_KEY(o, "cost"), jo_word(o, cost);
    if (*fi->comm) JO_KEY(o, "comm"), jo_str(o, fi->comm);
    JO_KEY(o, "ambiguous_with");
    jo_array(o);
    for (unsigned k = 0; k < N_FINDINGS; k++)
        if (fi->ambiguous >> k & 1) jo_word(o, finding_name((enum finding_kind)k));
    jo_array_end(o);
    jo_object_end(o);
}

static void put_connections(struct json_out *o, const struct finding *fi) {
    char text[CONN_ID_TEXT_MAX];
    JO_KEY(o, "connections");
    jo_array(o);
    for (unsigned i = 0; i < fi->n_ids && i < FINDING_IDS; i++)
        jo_word(o, conn_id_text((enum side)fi->subject->side, fi->ids[i], text));
    jo_array_end(o);
}

/* For the client's stack; where nobody knows that, what holds for all, and beside it
 * what each stack has of its own. */
static void put_advice(struct json_out *o, const struct finding *fi) {
    struct advice a;
    JO_KEY(o, "advice"), jo_str(o, finding_remedy(fi));
    JO_KEY(o, "advice_by_stack");
    if (fi->subject->stack != STACK_UNKNOWN) {
        jo_null(o);
        return;
    }
    jo_object(o);
    for (unsigned i = 0; finding_remedy_at(fi, i, &a); i++) {
        jo_key(o, stack_name(a.stack));
        jo_str(o, a.text);
    }
    jo_object_end(o);
}

void finding_json(struct json_out *o, const struct finding *fi, int64_t to_wall_ns) {
    char id[FINDING_ID_TEXT_MAX], summary[SUMMARY_MAX];
    jo_object(o);
    JO_KEY(o, "schema"), jo_word(o, "connleak.finding/1");
    JO_KEY(o, "id"), jo_word(o, finding_id_text(fi->id, id));
    JO_KEY(o, "kind"), jo_word(o, finding_name((enum finding_kind)fi->kind));
    JO_KEY(o, "severity"), jo_word(o, severity_name((enum severity)fi->severity));
    JO_KEY(o, "confidence"), jo_word(o, confidence_name((enum confidence)fi->confidence));
    JO_KEY(o, "side"), jo_word(o, side_name((enum side)fi->subject->side));
    put_subject(o, fi->subject);
    put_statuses(o, fi);
    JO_KEY(o, "by_host"), put_shares(o, fi->by_host);
    JO_KEY(o, "by_method"), put_shares(o, fi->by_method);
    JO_KEY(o, "count"), jo_u64(o, fi->count);
    JO_KEY(o, "first_at"), jo_time(o, fi->first_ns + to_wall_ns);
    JO_KEY(o, "last_at"), jo_time(o, fi->last_ns + to_wall_ns);
    JO_KEY(o, "resolved_at");
    if (fi->resolved_ns)
        jo_time(o, fi->resolved_ns + to_wall_ns);
    else
        jo_null(o);
    JO_KEY(o, "summary"), jo_strn(o, summary, finding_summary(fi, summary, sizeof summary));
    put_evidence(o, fi);
    JO_KEY(o, "observer_effect"), jo_str(o, fi->observer_effect);
    put_connections(o, fi);
    put_advice(o, fi);
    jo_object_end(o);
}
