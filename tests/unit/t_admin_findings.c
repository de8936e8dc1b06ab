/* GET /findings, and what of findings is in other answers. */
#include "admin_fixture.h"

static struct finding_subject checkout = {.side = SIDE_DOWNSTREAM, .client = "127.0.0.1", .tag = "checkout"};
static struct finding_subject billing = {.side = SIDE_DOWNSTREAM, .client = "127.0.0.1", .tag = "billing"};
static struct finding_subject origin = {.side = SIDE_UPSTREAM, .key = "api.example:80"};

static void add(struct fixture *f, enum finding_kind kind, enum severity severity, const struct finding_subject *s,
                int64_t resolved_ns) {
    size_t n = f->findings.n++;
    f->findings.list[n] = (struct finding){.id = n + 1,
                                           .subject = s,
                                           .kind = (uint8_t)kind,
                                           .severity = (uint8_t)severity,
                                           .count = n + 10,
                                           .first_ns = SEC(100),
                                           .last_ns = SEC(101),
                                           .resolved_ns = resolved_ns};
}

static void some_findings(struct fixture *f) {
    add(f, FINDING_DIAL_STORM, SEVERITY_CRITICAL, &origin, 0);
    add(f, FINDING_EARLY_BODY_CLOSE, SEVERITY_WARNING, &checkout, 0);
    add(f, FINDING_EARLY_BODY_CLOSE, SEVERITY_WARNING, &billing, 0);
    add(f, FINDING_SERVER_CLOSES_IDLE, SEVERITY_INFO, &origin, 0);
    add(f, FINDING_EARLY_BODY_CLOSE, SEVERITY_WARNING, &origin, SEC(102));
}

/* The ids of an answer's findings, "f-1 f-2". */
static const char *ids(struct fixture *f, const char *target) {
    static char text[8192];
    json_t *j = get_json(f, target, 200), *list = at(j, "findings");
    *text = '\0';
    CHECK(json_is_array(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                 json_string_value(at(json_array_get(list, i), "id")));
    json_decref(j);
    return text;
}

TEST(findings_are_listed_as_they_are_ordered) {
    struct fixture *f = fx_new(100, NULL);
    CHECK_STR(ids(f, "/findings"), "");
    some_findings(f);
    CHECK_STR(ids(f, "/findings"), "f-1 f-2 f-3 f-4 f-5");
    CHECK_EQ(f->findings.ticks, 2); /* each answer asks the rules first */
    json_t *j = get_json(f, "/findings", 200), *second = json_array_get(at(j, "findings"), 1);
    CHECK_TEXT(second, "schema", "connleak.finding/1");
    CHECK_TEXT(second, "kind", "early_body_close");
    CHECK_TEXT(second, "subject.client.tag", "checkout");
    CHECK_TEXT(second, "first_at", "2026-01-02T03:04:05.678901Z");
    CHECK_INT(second, "count", 11);
    CHECK_NULL(j, "next");
    json_decref(j);
    fx_free(f);
}

TEST(findings_are_chosen_by_kind_severity_state_and_tag) {
    struct fixture *f = fx_new(100, NULL);
    some_findings(f);
    CHECK_STR(ids(f, "/findings?kind=early_body_close"), "f-2 f-3 f-5");
    CHECK_STR(ids(f, "/findings?severity=critical"), "f-1");
    CHECK_STR(ids(f, "/findings?severity=info"), "f-4");
    CHECK_STR(ids(f, "/findings?state=open"), "f-1 f-2 f-3 f-4");
    CHECK_STR(ids(f, "/findings?state=resolved"), "f-5");
    CHECK_STR(ids(f, "/findings?tag=billing"), "f-3");
    CHECK_STR(ids(f, "/findings?tag=nobody"), "");
    CHECK_STR(ids(f, "/findings?kind=early_body_close&state=open&tag=checkout"), "f-2");
    fx_free(f);
}

/* What the refusal says that it should be. */
static const char *wanted(const char *parameter) {
    switch (*parameter) {
    case 'k':
        return " must be a kind of finding";
    case 's':
        return parameter[1] == 'e' ? " must be info, warning or critical" : " must be open or resolved";
    case 't':
        return " must be the user name";
    case 'l':
        return " must be a whole number from 1 to 1000";
    default:
        return " must be the value of next";
    }
}

TEST(values_that_mean_nothing_are_refused) {
    static const char *const targets[] = {"kind=leak",
                                          "kind=",
                                          "severity=bad",
                                          "state=closed",
                                          "tag=",
                                          "limit=0",
                                          "limit=1001",
                                          "limit=x",
                                          "limit=",
                                          "after=x",
                                          "after=-1",
                                          "after=",
                                          "limit=99999999999999999999"};
    struct fixture *f = fx_new(100, NULL);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char target[80];
        snprintf(target, sizeof target, "/findings?%s", targets[i]);
        json_t *j = get_json(f, target, 400);
        CHECK(strncmp(targets[i], json_string_value(at(j, "parameter")), strcspn(targets[i], "=")) == 0);
        CHECK(strstr(json_string_value(at(j, "detail")), wanted(targets[i])));
        json_decref(j);
    }
    fx_free(f);
}

TEST(pages_go_on_where_the_one_before_ended) {
    struct fixture *f = fx_new(100, NULL);
    some_findings(f);
    CHECK_STR(ids(f, "/findings?limit=2"), "f-1 f-2");
    json_t *j = get_json(f, "/findings?limit=2", 200);
    CHECK_TEXT(j, "next", "2");
    json_decref(j);
    CHECK_STR(ids(f, "/findings?limit=2&after=2"), "f-3 f-4");
    j = get_json(f, "/findings?limit=2&after=4", 200);
    CHECK_EQ(json_array_size(at(j, "findings")), 1);
    CHECK_NULL(j, "next");
    json_decref(j);
    j = get_json(f, "/findings?limit=5", 200);
    CHECK_NULL(j, "next"); /* exactly as many as there are */
    json_decref(j);
    CHECK_STR(ids(f, "/findings?kind=early_body_close&limit=1&after=1"), "f-3"); /* counts those that match */
    fx_free(f);
}

/* Longer than a slice; and one of them is forgotten while its turn has not come. */
TEST(long_lists_are_whole_though_findings_are_forgotten_meanwhile) {
    struct fixture *f = fx_new(100, NULL);
    for (int i = 0; i < 300; i++) add(f, FINDING_EARLY_BODY_CLOSE, SEVERITY_WARNING, &checkout, 0);
    struct client c = dial(f, 0);
    say(&c, "GET /findings?limit=300 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (c.len < 1000) turn(f), hear(&c, SIZE_MAX);
    f->findings.n = 299; /* the last */
    struct answer a = listen_to(f, &c, false);
    json_t *j = json_loads(a.body, 0, NULL);
    CHECK(j != NULL);
    CHECK_EQ(json_array_size(at(j, "findings")), 299);
    json_decref(j);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(a_list_whose_first_is_forgotten_is_json_still) {
    struct fixture *f = fx_new(100, NULL);
    some_findings(f);
    struct client c = dial(f, 0);
    say(&c, "GET /findings HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (f->findings.ticks == 0) turn(f);
    f->findings.list[0].id = 99;
    struct answer a = listen_to(f, &c, false);
    json_t *j = json_loads(a.body, 0, NULL);
    CHECK(j != NULL);
    CHECK(json_array_size(at(j, "findings")) >= 4);
    json_decref(j);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(pools_have_what_was_learned) {
    struct fixture *f = fx_new(100, NULL);
    f->pool.first = f->pool.last = 1;
    f->findings.origin = (struct origin_facts){
        .idle_timeout_ns = MSEC(5000) + USEC(250), .idle_observations = 7, .peak_active = 12, .sufficient_idle = 9};
    json_t *j = get_json(f, "/pools", 200), *row = json_array_get(at(j, "pools"), 0);
    CHECK(json_number_value(at(row, "learned.idle_timeout_ms")) == 5000.25);
    CHECK_INT(row, "learned.idle_timeout_observations", 7);
    CHECK_INT(row, "learned.peak_active", 12);
    CHECK_INT(row, "learned.sufficient_idle", 9);
    json_decref(j);
    f->findings.origin = (struct origin_facts){0};
    j = get_json(f, "/pools", 200), row = json_array_get(at(j, "pools"), 0);
    CHECK_NULL(row, "learned.idle_timeout_ms");
    CHECK_INT(row, "learned.idle_timeout_observations", 0);
    CHECK_NULL(row, "learned.peak_active");
    CHECK_NULL(row, "learned.sufficient_idle");
    json_decref(j);
    fx_free(f);
}

int main(void) {
    return tap_run();
}
