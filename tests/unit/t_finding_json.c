/* finding_json.h: a finding as text. */
#include "core/advice.h"
#include "record/finding_json.h"

#include "tap.h"

#include <jansson.h>

#define TO_WALL (SEC(1767323045) - SEC(1000))

static struct finding_subject client = {.side = SIDE_DOWNSTREAM,
                                        .key = "api.example:80",
                                        .client = "127.0.0.1",
                                        .tag = "checkout",
                                        .user_agent = "Go-http-client/1.1",
                                        .stack = STACK_GO};

static void set(struct finding *fi, enum finding_number n, uint64_t value) {
    fi->number[n] = value;
    fi->known |= UINT64_C(1) << n;
}

/* The story of the design. */
static struct finding early_close(void) {
    struct finding fi = {.id = 3,
                         .subject = &client,
                         .kind = FINDING_EARLY_BODY_CLOSE,
                         .severity = SEVERITY_WARNING,
                         .confidence = CONFIDENCE_CONFIRMED,
                         .count = 5,
                         .first_ns = SEC(1000),
                         .last_ns = SEC(1002) + MSEC(500),
                         .by_status = {[2] = 4, [4] = 1},
                         .by_host = {{"api.example:80", 5}},
                         .by_method = {{"GET", 4}, {"POST", 1}},
                         .ids = {17, 18},
                         .n_ids = 2};
    set(&fi, NUM_RECEIVED_BYTES, 24164);
    set(&fi, NUM_UNREAD_BYTES, 20068);
    set(&fi, NUM_WASTEFUL, 5);
    return fi;
}

/* As JSON; the caller's reference. */
static json_t *written(const struct finding *fi) {
    struct json_out o = {0};
    finding_json(&o, fi, TO_WALL);
    json_t *j = json_loadb(o.data, o.len, 0, NULL);
    CHECK(j != NULL);
    json_out_free(&o);
    return j;
}

static const char *text(json_t *j, const char *key) {
    return json_string_value(json_object_get(j, key));
}

static json_t *sub(json_t *j, const char *a, const char *b) {
    return json_object_get(json_object_get(j, a), b);
}

TEST(every_member_is_in_its_place) {
    struct finding fi = early_close();
    char summary[1024];
    finding_summary(&fi, summary, sizeof summary);
    json_t *j = written(&fi);
    CHECK_STR(text(j, "schema"), "connleak.finding/1");
    CHECK_STR(text(j, "id"), "f-3");
    CHECK_STR(text(j, "kind"), "early_body_close");
    CHECK_STR(text(j, "severity"), "warning");
    CHECK_STR(text(j, "confidence"), "confirmed");
    CHECK_STR(text(j, "side"), "downstream");
    CHECK_STR(json_string_value(sub(j, "subject", "key")), "api.example:80");
    json_t *who = sub(j, "subject", "client");
    CHECK_STR(text(who, "address"), "127.0.0.1");
    CHECK_STR(text(who, "tag"), "checkout");
    CHECK_STR(text(who, "user_agent"), "Go-http-client/1.1");
    CHECK_STR(text(who, "stack"), "go");
    CHECK_EQ(json_object_size(json_object_get(j, "by_status")), 2);
    CHECK_EQ(json_integer_value(sub(j, "by_status", "2xx")), 4);
    CHECK_EQ(json_integer_value(sub(j, "by_status", "4xx")), 1);
    CHECK_EQ(json_object_size(json_object_get(j, "by_host")), 1);
    CHECK_EQ(json_integer_value(sub(j, "by_host", "api.example:80")), 5);
    CHECK_EQ(json_object_size(json_object_get(j, "by_method")), 2);
    CHECK_EQ(json_integer_value(sub(j, "by_method", "POST")), 1);
    CHECK_EQ(json_integer_value(json_object_get(j, "count")), 5);
    CHECK_STR(text(j, "first_at"), "2026-01-02T03:04:05.000000Z");
    CHECK_STR(text(j, "last_at"), "2026-01-02T03:04:07.500000Z");
    CHECK(json_is_null(json_object_get(j, "resolved_at")));
    CHECK_STR(text(j, "summary"), summary);
    CHECK(strstr(summary, "20,068") != NULL || strstr(summary, "20068") != NULL);
    CHECK_EQ(json_integer_value(sub(j, "evidence", "received_bytes")), 24164);
    CHECK_EQ(json_integer_value(sub(j, "evidence", "unread_bytes")), 20068);
    CHECK_STR(json_string_value(sub(j, "evidence", "cost")), "wasteful");
    CHECK(json_is_null(json_object_get(j, "observer_effect")));
    json_t *ids = json_object_get(j, "connections");
    CHECK_EQ(json_array_size(ids), 2);
    CHECK_STR(json_string_value(json_array_get(ids, 1)), "d-18");
    CHECK_STR(text(j, "advice"), finding_advice(FINDING_EARLY_BODY_CLOSE, STACK_GO));
    CHECK(json_is_null(json_object_get(j, "advice_by_stack")));
    json_decref(j);
}

TEST(a_number_that_is_not_known_is_not_there) {
    struct finding fi = early_close();
    fi.known = 0;
    json_t *j = written(&fi);
    json_t *evidence = json_object_get(j, "evidence");
    CHECK_EQ(json_object_size(evidence), 1);
    CHECK_EQ(json_array_size(json_object_get(evidence, "ambiguous_with")), 0);
    json_decref(j);
}

TEST(every_number_has_its_name) {
    struct finding fi = early_close();
    for (unsigned n = 0; n < N_NUMBERS; n++) set(&fi, (enum finding_number)n, INT64_MAX - n);
    json_t *j = written(&fi);
    for (unsigned n = 0; n < N_NUMBERS; n++) {
        json_t *value = sub(j, "evidence", finding_number_name((enum finding_number)n));
        CHECK_EQ(json_integer_value(value), INT64_MAX - n);
    }
    json_decref(j);
}

TEST(cost_is_mixed_where_there_were_both) {
    struct finding fi = early_close();
    CHECK_STR(finding_cost(&fi), "wasteful");
    set(&fi, NUM_JUSTIFIED, 2);
    CHECK_STR(finding_cost(&fi), "mixed");
    set(&fi, NUM_WASTEFUL, 0);
    CHECK_STR(finding_cost(&fi), "justified");
    set(&fi, NUM_JUSTIFIED, 0);
    CHECK(finding_cost(&fi) == NULL);
    fi.known = 0;
    fi.number[NUM_WASTEFUL] = 7; /* left over: not known */
    CHECK(finding_cost(&fi) == NULL);
}

TEST(a_resolved_finding_says_when_and_names_what_looks_the_same) {
    struct finding fi = early_close();
    fi.resolved_ns = SEC(1060);
    fi.ambiguous = 1u << FINDING_TRANSPORT_PER_REQUEST | 1u << FINDING_BODY_NOT_CLOSED;
    fi.observer_effect = "the proxy has one list for all hosts";
    strcpy(fi.comm, "aaa");
    json_t *j = written(&fi);
    CHECK_STR(text(j, "resolved_at"), "2026-01-02T03:05:05.000000Z");
    json_t *ambiguous = sub(j, "evidence", "ambiguous_with");
    CHECK_EQ(json_array_size(ambiguous), 2);
    CHECK_STR(json_string_value(json_array_get(ambiguous, 0)), "body_not_closed");
    CHECK_STR(json_string_value(json_array_get(ambiguous, 1)), "transport_per_request");
    CHECK_STR(json_string_value(sub(j, "evidence", "comm")), "aaa");
    CHECK_STR(text(j, "observer_effect"), "the proxy has one list for all hosts");
    json_decref(j);
}

TEST(an_origin_has_no_client_and_advice_for_everybody) {
    struct finding_subject origin = {.side = SIDE_UPSTREAM, .key = "api.example:80"};
    struct finding fi = early_close();
    fi.subject = &origin;
    fi.kind = FINDING_SERVER_CLOSES_IDLE;
    json_t *j = written(&fi);
    CHECK_STR(text(j, "side"), "upstream");
    CHECK(json_is_null(sub(j, "subject", "client")));
    CHECK_STR(json_string_value(json_array_get(json_object_get(j, "connections"), 0)), "u-17");
    CHECK_STR(text(j, "advice"), finding_advice(FINDING_SERVER_CLOSES_IDLE, STACK_UNKNOWN));
    json_t *others = json_object_get(j, "advice_by_stack");
    CHECK(json_object_size(others) > 3);
    CHECK_STR(text(others, "go"), finding_advice(FINDING_SERVER_CLOSES_IDLE, STACK_GO));
    json_decref(j);
}

TEST(a_client_that_says_nothing_of_itself_is_null_in_parts) {
    struct finding_subject anybody = {.side = SIDE_DOWNSTREAM, .client = "127.0.0.1"};
    struct finding fi = early_close();
    fi.subject = &anybody;
    json_t *j = written(&fi);
    CHECK(json_is_null(sub(j, "subject", "key")));
    json_t *who = sub(j, "subject", "client");
    CHECK_STR(text(who, "address"), "127.0.0.1");
    CHECK(json_is_null(json_object_get(who, "tag")));
    CHECK(json_is_null(json_object_get(who, "user_agent")));
    CHECK(json_is_null(json_object_get(who, "stack")));
    json_decref(j);
}

TEST(what_peers_chose_is_escaped) {
    struct finding_subject evil = {.side = SIDE_DOWNSTREAM,
                                   .key = "a\"b\\c:80",
                                   .client = "127.0.0.1",
                                   .tag = "\x01\x1b[31m",
                                   .user_agent = "cut \xe2\x82"};
    struct finding fi = early_close();
    fi.subject = &evil;
    strcpy(fi.by_host[0].name, "\"},{\xff");
    strcpy(fi.by_method[0].name, "GE\nT");
    strcpy(fi.comm, "a\"\x7f");
    struct json_out o = {0};
    finding_json(&o, &fi, TO_WALL);
    for (size_t i = 0; i < o.len; i++) CHECK((unsigned char)o.data[i] >= 0x20 && o.data[i] != 0x7f);
    json_t *j = json_loadb(o.data, o.len, 0, NULL);
    CHECK(j != NULL);
    CHECK_STR(json_string_value(sub(j, "subject", "key")), "a\"b\\c:80");
    CHECK_STR(text(sub(j, "subject", "client"), "tag"), "\x01\x1b[31m");
    CHECK_STR(text(sub(j, "subject", "client"), "user_agent"), "cut \xef\xbf\xbd\xef\xbf\xbd");
    CHECK_EQ(json_integer_value(sub(j, "by_host", "\"},{\xef\xbf\xbd")), 5);
    CHECK_EQ(json_integer_value(sub(j, "by_method", "GE\nT")), 4);
    CHECK_STR(json_string_value(sub(j, "evidence", "comm")), "a\"\x7f");
    json_decref(j);
    json_out_free(&o);
}

TEST(no_more_ids_than_there_is_room_for) {
    struct finding fi = early_close();
    fi.n_ids = 1000;
    for (unsigned i = 0; i < FINDING_IDS; i++) fi.ids[i] = i + 1;
    json_t *j = written(&fi);
    CHECK_EQ(json_array_size(json_object_get(j, "connections")), FINDING_IDS);
    json_decref(j);
}

int main(void) {
    return tap_run();
}
