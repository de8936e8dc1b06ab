#include "record/kernel_evidence.h"

#include "record/conn_read.h"

#include <jansson.h>
#include <stdio.h>

/* ---- writing ---- */

static void put_time(struct json_out *o, int64_t ns, int64_t to_wall_ns) {
    if (ns)
        jo_time(o, ns + to_wall_ns);
    else
        jo_null(o);
}

static void put_event(struct json_out *o, uint64_t n) {
    if (n)
        jo_u64(o, n);
    else
        jo_null(o);
}

static void put_end(struct json_out *o, const struct kernel_end *e, int64_t to_wall_ns) {
    jo_object(o);
    JO_KEY(o, "seen");
    jo_bool(o, e->seen);
    JO_KEY(o, "state");
    jo_word(o, kernel_state_name(e->state));
    JO_KEY(o, "pid");
    put_event(o, (uint64_t)(e->pid > 0 ? e->pid : 0));
    JO_KEY(o, "comm");
    jo_str(o, e->pid > 0 && e->comm[0] ? e->comm : NULL);
    JO_KEY(o, "fin_at");
    put_time(o, e->fin_ns, to_wall_ns);
    JO_KEY(o, "fin_event");
    put_event(o, e->fin_event);
    JO_KEY(o, "rst_at");
    put_time(o, e->rst_ns, to_wall_ns);
    JO_KEY(o, "rst_event");
    put_event(o, e->rst_event);
    JO_KEY(o, "rst_reason");
    jo_str(o, e->reason);
    JO_KEY(o, "rsts");
    jo_u64(o, e->rsts);
    JO_KEY(o, "closed_at");
    put_time(o, e->closed_ns, to_wall_ns);
    JO_KEY(o, "closed_event");
    put_event(o, e->closed_event);
    jo_object_end(o);
}

static void put_incomplete(struct json_out *o, uint32_t bits) {
    if (!bits) {
        jo_null(o);
        return;
    }
    jo_array(o);
    for (unsigned i = 0; i < N_KERNEL_INCOMPLETE; i++)
        if (bits >> i & 1) jo_word(o, kernel_incomplete_name(1u << i));
    jo_array_end(o);
}

void kernel_evidence_json(struct json_out *o, const struct lifecycle *l, void *arg) {
    const struct kernel_evidence_out *how = arg;
    const struct kernel_evidence *e = how->evidence;
    int first = kernel_first_rst(e);
    const char *reason = first < 0 ? NULL : e->end[first].reason;

    (void)l;
    jo_object(o);
    JO_KEY(o, "rst_cause");
    jo_word(o, rst_proof_name(rst_reason_proves(reason)));
    JO_KEY(o, "rst_reason");
    jo_str(o, reason);
    JO_KEY(o, "incomplete");
    put_incomplete(o, e->incomplete);
    if (e->roles != KERNEL_ROLES_HANDSHAKE) {
        JO_KEY(o, "roles_by");
        jo_word(o, "assumed");
    }
    JO_KEY(o, "first_event");
    put_event(o, e->first_event);
    JO_KEY(o, "last_event");
    put_event(o, e->last_event);
    JO_KEY(o, "first_at");
    put_time(o, e->first_ns, how->to_wall_ns);
    JO_KEY(o, "last_at");
    put_time(o, e->last_ns, how->to_wall_ns);
    JO_KEY(o, "local");
    put_end(o, &e->end[0], how->to_wall_ns);
    JO_KEY(o, "remote");
    put_end(o, &e->end[1], how->to_wall_ns);
    jo_object_end(o);
}

/* ---- reading ---- */

static bool wrong(char error[KERNEL_EVIDENCE_TEXT], const char *end, const char *name, const char *expected) {
    snprintf(error, KERNEL_EVIDENCE_TEXT, "evidence%s%s.%s: expected %s", *end ? "." : "", end, name, expected);
    return false;
}

static bool get_event(json_t *o, const char *end, const char *name, uint64_t *out, char error[KERNEL_EVIDENCE_TEXT]) {
    json_t *v = json_object_get(o, name);

    if (!v || json_is_null(v)) return true;
    if (!json_is_integer(v) || json_integer_value(v) < 1) return wrong(error, end, name, "the number of an event");
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_time(json_t *o, const char *end, const char *name, int64_t *out, char error[KERNEL_EVIDENCE_TEXT]) {
    json_t *v = json_object_get(o, name);

    if (!v || json_is_null(v)) return true;
    if (json_is_string(v) && record_time_parse(json_string_value(v), out)) return true;
    return wrong(error, end, name, "a time such as \"2026-01-02T03:04:05.678901Z\"");
}

static bool get_end(json_t *evidence, const char *name, struct kernel_end *out, char error[KERNEL_EVIDENCE_TEXT]) {
    json_t *o = json_object_get(evidence, name), *seen = json_object_get(o, "seen");
    uint64_t pid = 0;

    if (!json_is_object(o)) return wrong(error, "", name, "an object");
    if (!json_is_boolean(seen)) return wrong(error, name, "seen", "true or false");
    out->seen = json_is_true(seen);
    if (!get_event(o, name, "fin_event", &out->fin_event, error) ||
        !get_event(o, name, "rst_event", &out->rst_event, error) ||
        !get_event(o, name, "closed_event", &out->closed_event, error) || !get_event(o, name, "pid", &pid, error) ||
        !get_time(o, name, "fin_at", &out->fin_ns, error) || !get_time(o, name, "rst_at", &out->rst_ns, error) ||
        !get_time(o, name, "closed_at", &out->closed_ns, error))
        return false;
    if (pid > INT32_MAX) return wrong(error, name, "pid", "a process id");
    out->pid = (int32_t)pid;
    if (!out->fin_event != !out->fin_ns) return wrong(error, name, "fin_at", "a time where fin_event has a number");
    if (!out->closed_event != !out->closed_ns)
        return wrong(error, name, "closed_at", "a time where closed_event has a number");
    if (!out->rst_event != !out->rst_ns) return wrong(error, name, "rst_at", "a time where rst_event has a number");
    return true;
}

static bool get_incomplete(json_t *evidence, uint32_t *out, char error[KERNEL_EVIDENCE_TEXT]) {
    json_t *list = json_object_get(evidence, "incomplete"), *word;
    size_t i;

    if (!list || json_is_null(list)) return true;
    if (!json_is_array(list)) return wrong(error, "", "incomplete", "a list");
    json_array_foreach(list, i, word) {
        const char *text = json_string_value(word);

        for (unsigned bit = 0; text && bit < N_KERNEL_INCOMPLETE; bit++)
            if (!strcmp(text, kernel_incomplete_name(1u << bit))) *out |= 1u << bit;
        if (!text) return wrong(error, "", "incomplete", "words");
    }
    return true;
}

static bool get_evidence(json_t *o, struct kernel_evidence *out, char error[KERNEL_EVIDENCE_TEXT]) {
    const char *roles = json_string_value(json_object_get(o, "roles_by"));

    out->roles = roles && !strcmp(roles, "assumed") ? KERNEL_ROLES_ASSUMED : KERNEL_ROLES_HANDSHAKE;
    return get_event(o, "", "first_event", &out->first_event, error) &&
           get_event(o, "", "last_event", &out->last_event, error) &&
           get_time(o, "", "first_at", &out->first_ns, error) && get_time(o, "", "last_at", &out->last_ns, error) &&
           get_incomplete(o, &out->incomplete, error) && get_end(o, "local", &out->end[0], error) &&
           get_end(o, "remote", &out->end[1], error);
}

bool kernel_evidence_read(const char *text, struct kernel_evidence *out, char error[KERNEL_EVIDENCE_TEXT]) {
    struct kernel_evidence e = {0};
    json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool fine;

    if (!json_is_object(o)) {
        json_decref(o);
        snprintf(error, KERNEL_EVIDENCE_TEXT, "evidence: expected what the kernel showed, found nothing");
        return false;
    }
    fine = get_evidence(o, &e, error);
    json_decref(o);
    if (fine) *out = e;
    return fine;
}
