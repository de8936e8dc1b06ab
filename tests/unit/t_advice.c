/* Advice: every kind has some, and clients get theirs. */
#include "core/advice.h"
#include "tap.h"

TEST(every_kind_has_a_general_text_first) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        struct advice a = {STACK_GO, ""};
        CHECK(finding_advice_at((enum finding_kind)k, 0, &a));
        CHECK_EQ(a.stack, STACK_UNKNOWN);
        CHECK(strlen(a.text) > 20);
        for (unsigned s = 0; s < N_STACKS; s++) CHECK(*finding_advice((enum finding_kind)k, (enum stack)s));
    }
}

TEST(rows_are_complete_sentences_and_each_is_found) {
    static const struct {
        enum finding_kind kind;
        enum stack stack;
        const char *text;
    } rows[] = {
#define X(kind, stack, text) {FINDING_##kind, STACK_##stack, text},
#include "core/tbl/advice.h"
#undef X
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_STR(finding_advice(rows[i].kind, rows[i].stack), rows[i].text);
        size_t len = strlen(rows[i].text);
        if (len < 20 || len > 600 || rows[i].text[len - 1] != '.' || strstr(rows[i].text, "  "))
            tap_fail(__FILE__, __LINE__, "%s", rows[i].text);
        bool new_kind = !i || rows[i].kind != rows[i - 1].kind;
        CHECK_EQ(rows[i].stack == STACK_UNKNOWN, new_kind);
        if (!new_kind && rows[i].stack <= rows[i - 1].stack) tap_fail(__FILE__, __LINE__, "order: %s", rows[i].text);
    }
}

TEST(a_list_has_each_stack_once_in_order) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        struct advice a, last = {STACK_UNKNOWN, ""};
        unsigned n = 0;
        for (; finding_advice_at((enum finding_kind)k, n, &a); n++) {
            CHECK(!n || a.stack > last.stack);
            CHECK_STR(a.text, finding_advice((enum finding_kind)k, a.stack));
            last = a;
        }
        CHECK(n >= 1 && n <= N_STACKS);
        CHECK(!finding_advice_at((enum finding_kind)k, n + 1, &a));
    }
}

TEST(clients_are_told_in_their_words) {
    CHECK(strstr(finding_advice(FINDING_EARLY_BODY_CLOSE, stack_of("Go-http-client/1.1")), "io.Copy(io.Discard"));
    CHECK(strstr(finding_advice(FINDING_BODY_NOT_CLOSED, stack_of("Go-http-client/1.1")), "defer resp.Body.Close()"));
    CHECK(strstr(finding_advice(FINDING_IDLE_CAP_CHURN, STACK_GO), "MaxIdleConnsPerHost"));
    CHECK(strstr(finding_advice(FINDING_TRANSPORT_PER_REQUEST, stack_of("python-requests/2.28.1")), "Session"));
    CHECK(strstr(finding_advice(FINDING_EARLY_BODY_CLOSE, stack_of("Python/3.11 aiohttp/3.8.4")), "response.read()"));
    CHECK(strstr(finding_advice(FINDING_KEEPALIVES_DISABLED, stack_of("Python-urllib/3.11")), "urllib.request"));
    CHECK(strstr(finding_advice(FINDING_EARLY_BODY_CLOSE, stack_of("okhttp/4.9")), "response.close()"));
}

TEST(kinds_with_the_same_remedy_share_it) {
    CHECK_STR(finding_advice(FINDING_RST_UNREAD_DATA, STACK_GO), finding_advice(FINDING_EARLY_BODY_CLOSE, STACK_GO));
    CHECK_STR(finding_advice(FINDING_STALE_REUSE_RACE, STACK_HTTPX),
              finding_advice(FINDING_SERVER_CLOSES_IDLE, STACK_HTTPX));
    CHECK(strcmp(finding_advice(FINDING_RST_UNREAD_DATA, STACK_UNKNOWN),
                 finding_advice(FINDING_EARLY_BODY_CLOSE, STACK_UNKNOWN)) != 0);
    CHECK_STR(finding_advice(FINDING_SERVER_RESETS_IDLE, STACK_CURL),
              finding_advice(FINDING_SERVER_RESETS_IDLE, STACK_UNKNOWN));
}

TEST(what_is_no_kind_has_no_advice) {
    struct advice a;
    CHECK_STR(finding_advice(N_FINDINGS, STACK_GO), "");
    CHECK(!finding_advice_at(N_FINDINGS, 0, &a));
}

static struct finding early(uint8_t side, enum stack stack, uint64_t waited) {
    static struct finding_subject subject;
    subject = (struct finding_subject){.side = side, .stack = stack};
    struct finding fi = {.kind = FINDING_EARLY_BODY_CLOSE, .count = 10, .subject = &subject};
    fi.number[NUM_WAITED_FOR_MORE] = waited;
    return fi;
}

TEST(the_remedy_goes_by_what_the_numbers_show) {
    struct advice a;
    struct finding fi = early(SIDE_CLIENT, STACK_GO, 0);
    CHECK_STR(finding_remedy(&fi), finding_advice(FINDING_EARLY_BODY_CLOSE, STACK_GO));
    CHECK(!finding_remedy_at(&fi, 0, &a));
    fi = early(SIDE_CLIENT, STACK_GO, 9); /* who waits for more has read what there was */
    CHECK_STR(finding_remedy(&fi), finding_advice(FINDING_REQUEST_TIMEOUT, STACK_GO));
    fi = early(SIDE_DOWNSTREAM, STACK_UNKNOWN, 0);
    CHECK(finding_remedy_at(&fi, 0, &a) && a.stack == STACK_GO);
    fi = early(SIDE_UPSTREAM, STACK_UNKNOWN, 0); /* the daemon is no client to be mended */
    CHECK(strstr(finding_remedy(&fi), "downstream") && !finding_remedy_at(&fi, 0, &a));
}

int main(void) {
    return tap_run();
}
