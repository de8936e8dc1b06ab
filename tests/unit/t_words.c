/* The words: each row of each table has a name and a sentence, and what is referred to is there. */
#include "core/finding.h"
#include "core/join.h"
#include "core/ledger.h"
#include "explain/words.h"
#include "tap.h"
#include "wire/evidence.h"

static size_t named(enum word_group g) {
    size_t n, found = 0;
    const struct word *w = words_of(g, &n);
    for (; n; n--, w++) found += w->name != NULL;
    return found;
}

static bool is_word(const char *name, size_t len) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        for (; n; n--, w++) {
            if (!w->name) continue;
            const char *last = strrchr(w->name, '.');
            last = last ? last + 1 : w->name;
            if ((strlen(w->name) == len && !memcmp(w->name, name, len)) ||
                (strlen(last) == len && !memcmp(last, name, len)))
                return true;
        }
    }
    return false;
}

TEST(no_text_is_empty) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        const struct word_group_text *t = words_group((enum word_group)g);
        CHECK(n && w && *t->title && *t->one && *t->intro);
        for (; n; n--, w++) {
            if (!w->name) continue;
            if (!*w->name || strlen(w->text) < 3) tap_fail(__FILE__, __LINE__, "%s: %s: no text", t->title, w->name);
            if (strstr(w->text, "  ") || w->text[strlen(w->text) - 1] == ' ')
                tap_fail(__FILE__, __LINE__, "%s: %s: blanks", t->title, w->name);
            CHECK(w->note && w->go_error && w->advice && w->see);
        }
    }
}

TEST(a_name_stands_once_in_its_group) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                if (w[i].name && w[j].name && !strcmp(w[i].name, w[j].name))
                    tap_fail(__FILE__, __LINE__, "%s twice", w[i].name);
    }
}

/* Rows that are null in a record are the only ones passed over. */
TEST(no_row_is_left_out) {
    CHECK_EQ(named(WORDS_FINDINGS), N_FINDINGS);
    CHECK_EQ(named(WORDS_REASONS), N_REASONS - 1);
    CHECK_EQ(named(WORDS_NUMBERS), N_NUMBERS);
    CHECK_EQ(named(WORDS_VERDICTS), N_JOIN_VERDICTS);
    CHECK_EQ(named(WORDS_CAUSES), N_JOIN_CAUSES - 1);
    CHECK_EQ(named(WORDS_FIELDS), N_JOIN_FIELDS);
    CHECK_EQ(named(WORDS_STACKS), N_STACKS);
    CHECK_EQ(named(WORDS_SEVERITIES), SEVERITY_CRITICAL + 1);
    CHECK_EQ(named(WORDS_CONFIDENCES), CONFIDENCE_CONFIRMED + 1);
    CHECK_EQ(named(WORDS_EARLY), EARLY_UNKNOWN + 1);
    CHECK_EQ(named(WORDS_RST), RST_CAUSE_ABORT);
    CHECK_EQ(named(WORDS_PHASES), PHASE_AFTER_BODY);
    CHECK_EQ(named(WORDS_STATES), LIFE_CLOSED + 1);
    size_t listed = 0;
#define X(sym, name, is_listed, text) listed += (is_listed);
#include "core/tbl/conn_events.h"
#undef X
    CHECK_EQ(named(WORDS_EVENTS), listed);
}

/* What is summed up is explained under its name in /metrics: upstream, downstream or on its own. */
TEST(counters_are_metrics) {
    static const char *const counters[] = {
#define X(sym, name, text) name,
#include "core/tbl/counters.h"
#undef X
    };
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        if (!is_word(counters[i], strlen(counters[i]))) tap_fail(__FILE__, __LINE__, "%s", counters[i]);
}

TEST(what_to_read_on_at_is_there) {
    size_t n;
    const struct word *w = words_of(WORDS_MESSAGES, &n);
    for (; n; n--, w++) {
        size_t len;
        for (const char *p = w->see; *p; p += len, p += strspn(p, " ")) {
            len = strcspn(p, " ");
            if (!is_word(p, len)) tap_fail(__FILE__, __LINE__, "%s: see %.*s", w->name, (int)len, p);
        }
        if (w->text[strlen(w->text) - 1] != '.') tap_fail(__FILE__, __LINE__, "%s: no full stop", w->name);
    }
}

TEST(zeeks_words_are_those_of_the_analyser) {
    static const char *const states[] = {"S0",   "S1",     "SF",    "REJ", "S2",  "S3", "RSTO",
                                         "RSTR", "RSTOS0", "RSTRH", "SH",  "SHR", "OTH"};
    CHECK_EQ(named(WORDS_ZEEK_STATES), sizeof states / sizeof *states);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) CHECK(is_word(states[i], strlen(states[i])));
    for (const char *p = "shadfrgtw"; *p; p++) CHECK(is_word(p, 1));
}

int main(void) {
    return tap_run();
}
