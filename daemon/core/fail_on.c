#include "fail_on.h"

#include <string.h>

static bool is_word(const char *word, const char *text, size_t len) {
    return strlen(word) == len && !memcmp(word, text, len);
}

static bool add_word(struct fail_on *f, const char *text, size_t len) {
    if (is_word("any", text, len)) return f->any = true;
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        if (!is_word(finding_name((enum finding_kind)k), text, len)) continue;
        f->kinds |= (uint32_t)1 << k;
        return true;
    }
    return false;
}

bool fail_on_parse(struct fail_on *f, const char *list) {
    *f = (struct fail_on){0};
    for (size_t len; *list; list += len + strspn(list + len, ",")) {
        len = strcspn(list, ",");
        if (!add_word(f, list, len)) return false;
    }
    return f->any || f->kinds;
}

bool fail_on_matches(const struct fail_on *f, enum finding_kind kind, enum severity severity) {
    return f->kinds & (uint32_t)1 << kind || (f->any && severity >= SEVERITY_WARNING);
}

bool fail_on_found(const struct fail_on *f, struct findings *findings) {
    const struct finding *fi;

    for (size_t i = 0; findings && (fi = findings_get(findings, i)); i++)
        if (fail_on_matches(f, (enum finding_kind)fi->kind, (enum severity)fi->severity)) return true;
    return false;
}
