/* Findings as people read them: their names, and the sentence that tbl/findings.h has a template for. */
#include "finding.h"
#include "human.h"

#include <string.h>

static const struct {
    const char *name, *summary;
} kinds[] = {
#define X(sym, name, severity, summary, text) {name, summary},
#include "tbl/findings.h"
#undef X
};

static const char *const numbers[] = {
#define X(sym, name, text) name,
#include "tbl/finding_numbers.h"
#undef X
};

_Static_assert(N_NUMBERS <= 64, "struct finding.known has a bit for each number");

const char *finding_name(enum finding_kind k) {
    return k < N_FINDINGS ? kinds[k].name : "?";
}

bool finding_parse(const char *name, enum finding_kind *out) {
    for (unsigned i = 0; i < N_FINDINGS; i++)
        if (!strcmp(name, kinds[i].name)) return *out = (enum finding_kind)i, true;
    return false;
}

const char *finding_number_name(enum finding_number n) {
    return n < N_NUMBERS ? numbers[n] : "?";
}

const char *severity_name(enum severity s) {
    static const char *const names[] = {
#define X(sym, name, text) name,
#include "tbl/severities.h"
#undef X
    };
    return s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *confidence_name(enum confidence c) {
    static const char *const names[] = {
#define X(sym, name, text) name,
#include "tbl/confidences.h"
#undef X
    };
    return c < sizeof names / sizeof *names ? names[c] : "?";
}

/* ---- the sentence ---- */

/* A sentence that grows: `at` reads the template, `len` counts what was written, also where it did not fit. */
struct sentence {
    const struct finding *of;
    const char *at;
    char *buf;
    size_t size, len;
};

static void add(struct sentence *s, const char *text, size_t n) {
    if (s->len < s->size) memcpy(s->buf + s->len, text, n < s->size - s->len ? n : s->size - s->len);
    s->len += n;
}

/* The number of that name; false: not known, or 0, of which a sentence says nothing. */
static bool number_of(const struct finding *fi, const char *name, size_t n, uint64_t *out) {
    if (n == 5 && !memcmp(name, "count", 5)) return *out = fi->count, true;
    if (n == 4 && !memcmp(name, "sure", 4)) return *out = fi->confidence > CONFIDENCE_SUSPECTED, true;
    *out = 0;
    for (unsigned i = 0; i < N_NUMBERS; i++)
        if (strlen(numbers[i]) == n && !memcmp(numbers[i], name, n) && fi->known & UINT64_C(1) << i)
            *out = fi->number[i];
    return *out != 0;
}

/* {name}, {name:time} or {name|one|many}; *at is behind the brace, and behind the closing one afterwards.
 * False: its number is not known. */
static bool add_number(struct sentence *s) {
    const char *name = s->at;
    size_t n = strcspn(name, ":|}"), len = strcspn(name, "}");
    uint64_t value;
    bool known = number_of(s->of, name, n, &value);
    s->at = name + len + (name[len] == '}');
    if (name[n] == '|') {
        const char *one = name + n + 1, *many = one + strcspn(one, "|}") + 1;
        if (value == 1)
            add(s, one, (size_t)(many - 1 - one));
        else
            add(s, many, (size_t)(name + len - many));
        return known;
    }
    char text[HUMAN_MAX];
    bool seconds = n > 2 && !memcmp(name + n - 2, "_s", 2);
    if (name[n] == ':')
        human_ms(seconds && value < UINT64_MAX / 1000 ? value * 1000 : value, text);
    else
        human_count(value, text);
    add(s, text, strlen(text));
    return known;
}

static void add_part(struct sentence *s);

/* Text up to the end of this alternative, which it returns: ']', '|' or NUL; *known: every number in it is,
 * those of the parts within it apart. */
static char add_text(struct sentence *s, bool *known) {
    *known = true;
    for (;;) {
        size_t plain = strcspn(s->at, "{[]|");
        add(s, s->at, plain);
        s->at += plain;
        char c = *s->at;
        if (c) s->at++;
        if (c == '{')
            *known &= add_number(s);
        else if (c == '[')
            add_part(s);
        else
            return c;
    }
}

/* [one|other|...]: the first alternative whose numbers are all known, or nothing. */
static void add_part(struct sentence *s) {
    bool taken = false;
    char end;
    do {
        size_t before = s->len;
        bool known;
        end = add_text(s, &known);
        if (taken || !known) s->len = before;
        taken |= known;
    } while (end == '|');
}

size_t finding_summary(const struct finding *fi, char *buf, size_t size) {
    if (!size) return 0;
    struct sentence s = {fi, fi->kind < N_FINDINGS ? kinds[fi->kind].summary : "", buf, size - 1, 0};
    bool known;
    while (add_text(&s, &known)) {}
    size_t len = s.len < s.size ? s.len : s.size;
    buf[len] = '\0';
    return len;
}
