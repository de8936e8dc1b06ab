/* What findings say in words: every template reads well, whatever is known. */
#include "core/finding.h"
#include "core/human.h"
#include "tap.h"

static char line[600];

static const char *say(const struct finding *fi) {
    finding_summary(fi, line, sizeof line);
    return line;
}

static void know(struct finding *fi, enum finding_number n, uint64_t value) {
    fi->number[n] = value;
    fi->known |= UINT64_C(1) << n;
}

static const char *count_text(uint64_t n) {
    static char buf[HUMAN_MAX];
    return human_count(n, buf);
}

static const char *ms_text(uint64_t ms) {
    static char buf[HUMAN_MAX];
    return human_ms(ms, buf);
}

TEST(thousands_have_commas) {
    CHECK_STR(count_text(0), "0");
    CHECK_STR(count_text(999), "999");
    CHECK_STR(count_text(1000), "1,000");
    CHECK_STR(count_text(24164), "24,164");
    CHECK_STR(count_text(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(times_have_the_units_that_matter) {
    CHECK_STR(ms_text(0), "0 ms");
    CHECK_STR(ms_text(999), "999 ms");
    CHECK_STR(ms_text(1000), "1 s");
    CHECK_STR(ms_text(1540), "1.5 s");
    CHECK_STR(ms_text(1960), "2 s");
    CHECK_STR(ms_text(9949), "9.9 s");
    CHECK_STR(ms_text(9951), "10 s");
    CHECK_STR(ms_text(34200), "34 s");
    CHECK_STR(ms_text(59499), "59 s");
    CHECK_STR(ms_text(59500), "1 min");
    CHECK_STR(ms_text(125000), "2 min 5 s");
    CHECK_STR(ms_text(3599600), "1 h");
    CHECK_STR(ms_text(22320000), "6 h 12 min");
    CHECK_STR(ms_text(86399000), "1 d");
    CHECK_STR(ms_text(273600000), "3 d 4 h");
    CHECK_STR(ms_text(88200000), "1 d 1 h");
    CHECK(strlen(ms_text(UINT64_MAX)) < HUMAN_MAX);
}

TEST(names_are_found_again) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        enum finding_kind found = N_FINDINGS;
        CHECK(finding_parse(finding_name((enum finding_kind)k), &found) && found == k);
    }
    enum finding_kind untouched = FINDING_POOL_WAIT;
    CHECK(!finding_parse("early_body", &untouched) && !finding_parse("", &untouched));
    CHECK_EQ(untouched, FINDING_POOL_WAIT);
    CHECK_STR(finding_name(N_FINDINGS), "?");
    CHECK_STR(finding_number_name(NUM_UNREAD_IF_4096), "unread_if_read_4096");
    CHECK_STR(severity_name(SEVERITY_CRITICAL), "critical");
    CHECK_STR(confidence_name(CONFIDENCE_LIKELY), "likely");
}

static const char *const templates[] = {
#define X(sym, name, severity, summary, text) summary,
#include "core/tbl/findings.h"
#undef X
};

static bool is_number(const char *name, size_t n) {
    for (unsigned i = 0; i < N_NUMBERS; i++)
        if (strlen(finding_number_name((enum finding_number)i)) == n &&
            !memcmp(finding_number_name((enum finding_number)i), name, n))
            return true;
    return false;
}

/* Brackets and braces match; every number is one; outside of brackets only {count} stands. */
TEST(templates_are_well_formed) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        int depth = 0;
        for (const char *p = templates[k]; *p && depth >= 0; p++) {
            if (*p == '[') depth++;
            if (*p == ']') depth--;
            if (*p == '|' && !depth) tap_fail(__FILE__, __LINE__, "%s: a bar outside of brackets", templates[k]);
            if (*p != '{') continue;
            size_t n = strcspn(p + 1, "}|:"), len = strcspn(p, "}");
            bool is_count = (n == 5 && !memcmp(p + 1, "count", 5)) || (n == 4 && !memcmp(p + 1, "sure", 4));
            if (!is_count && !is_number(p + 1, n)) tap_fail(__FILE__, __LINE__, "{%.*s} is no number", (int)n, p + 1);
            if (!is_count && !depth) tap_fail(__FILE__, __LINE__, "{%.*s} outside of brackets", (int)n, p + 1);
            if (p[n + 1] == ':' && memcmp(p + n + 1, ":time}", 6) != 0) tap_fail(__FILE__, __LINE__, "%.12s?", p);
            CHECK(p[len] == '}');
            p += len;
        }
        CHECK_EQ(depth, 0);
    }
}

/* No sign of the template is left, whether nothing is known, or all, and of which size. */
TEST(sentences_have_no_gaps) {
    for (unsigned k = 0; k < N_FINDINGS; k++)
        for (unsigned what = 0; what < 4; what++) {
            struct finding fi = {.kind = (uint8_t)k, .confidence = CONFIDENCE_LIKELY, .count = what == 1 ? 1 : 40};
            for (unsigned n = 0; n < N_NUMBERS && what; n++)
                know(&fi, (enum finding_number)n, what == 3 ? 0 : what == 1 ? 1 : 5000);
            say(&fi);
            if (strpbrk(line, "{}[]|") || strstr(line, "  ") || strstr(line, " ,") || strstr(line, " 0 "))
                tap_fail(__FILE__, __LINE__, "%s", line);
            CHECK(line[0] == "41"[what == 1] || !strncmp(line, "The ", 4) || k == FINDING_DIAL_STORM);
            CHECK(strlen(line) < 400 && line[strlen(line) - 1] != '.' && line[strlen(line) - 1] != ' ');
            if (what == 1 && (strstr(line, "1 connections") || strstr(line, " 1 are ") || strstr(line, "1 requests")))
                tap_fail(__FILE__, __LINE__, "%s", line);
        }
}

TEST(article) {
    struct finding fi = {.kind = FINDING_EARLY_BODY_CLOSE, .confidence = CONFIDENCE_CONFIRMED, .count = 1};
    know(&fi, NUM_RECEIVED_BYTES, 24164);
    know(&fi, NUM_UNREAD_IF_4096, 20068);
    know(&fi, NUM_REQUESTS, 1);
    CHECK_STR(say(&fi), "1 response body was given up before its end, with a RST after 24,164 bytes received, "
                        "20,068 of them unread if the client read 4,096; 1 request on its connection, not reused");
}

TEST(first_alternative_that_is_known) {
    struct finding fi = {.kind = FINDING_EARLY_BODY_CLOSE, .confidence = CONFIDENCE_CONFIRMED, .count = 12};
    know(&fi, NUM_RECEIVED_BYTES, 5000);
    CHECK_STR(say(&fi), "12 response bodies were given up before their end, the last with 5,000 bytes received");
    know(&fi, NUM_UNREAD_IF_4096, 904);
    CHECK_STR(say(&fi), "12 response bodies were given up before their end, the last with a RST after 5,000 bytes "
                        "received, 904 of them unread if the client read 4,096");
    fi.known &= ~(UINT64_C(1) << NUM_RECEIVED_BYTES);
    CHECK_STR(say(&fi), "12 response bodies were given up before their end");
    know(&fi, NUM_REQUESTS, 3);
    know(&fi, NUM_REDIALS, 11);
    CHECK_STR(say(&fi), "12 response bodies were given up before their end; 3 requests on the last connection; 11 new "
                        "connections followed");
}

TEST(what_is_only_suspected_says_so) {
    struct finding fi = {.kind = FINDING_POOL_WAIT, .confidence = CONFIDENCE_SUSPECTED, .count = 14};
    know(&fi, NUM_OPEN, 2);
    CHECK_STR(say(&fi), "Perhaps 14 requests waited for a connection, while all 2 were in use");
    fi.confidence = CONFIDENCE_LIKELY;
    CHECK_STR(say(&fi), "14 requests waited for a connection, while all 2 were in use");
}

TEST(parts_in_parts) {
    struct finding fi = {.kind = FINDING_BODY_NOT_CLOSED, .confidence = CONFIDENCE_CONFIRMED, .count = 2};
    know(&fi, NUM_OLDEST_HELD_MS, 40000);
    CHECK_STR(say(&fi), "2 responses were neither read to their end nor closed");
    know(&fi, NUM_HELD, 1);
    CHECK_STR(say(&fi),
              "2 responses were neither read to their end nor closed; 1 connection is held now, the oldest for 40 s");
    fi.known &= ~(UINT64_C(1) << NUM_OLDEST_HELD_MS);
    CHECK_STR(say(&fi), "2 responses were neither read to their end nor closed; 1 connection is held now");
}

TEST(times_in_sentences) {
    struct finding fi = {.kind = FINDING_BODY_NOT_CLOSED, .confidence = CONFIDENCE_CONFIRMED, .count = 2};
    know(&fi, NUM_HELD, 1);
    know(&fi, NUM_OLDEST_HELD_MS, 22320000);
    know(&fi, NUM_OPENS_SINCE, 1);
    CHECK_STR(say(&fi),
              "2 responses were neither read to their end nor closed; 1 connection is held now, the oldest for "
              "6 h 12 min, while the same client opened 1 new one");
    struct finding storm = {.kind = FINDING_DIAL_STORM, .count = 1};
    CHECK_STR(say(&storm), "Dials come too fast");
    know(&storm, NUM_DIALS_PER_S, 1500);
    know(&storm, NUM_PORTS_LEFT_S, 90);
    CHECK_STR(say(&storm), "1,500 dials per second; all are used up in 1 min 30 s");
}

TEST(what_does_not_fit_is_cut) {
    struct finding fi = {.kind = FINDING_EARLY_BODY_CLOSE, .confidence = CONFIDENCE_CONFIRMED, .count = 12};
    const char *whole = "12 response bodies were given up before their end";
    char buf[64];
    for (size_t size = 0; size < sizeof buf; size++) {
        memset(buf, '#', sizeof buf);
        size_t want = !size ? 0 : size - 1 < strlen(whole) ? size - 1 : strlen(whole);
        CHECK_EQ(finding_summary(&fi, buf, size), want);
        CHECK(!memcmp(buf, whole, want) && (!size || !buf[want]) && buf[size] == '#');
    }
    know(&fi, NUM_UNREAD_IF_4096, 3); /* a part that is begun and left out, across the end of the buffer */
    CHECK_EQ(finding_summary(&fi, buf, 52), strlen(whole));
    CHECK_STR(buf, whole);
}

int main(void) {
    return tap_run();
}
