#include "fail_on.h"

#include <stdio.h>
#include <string.h>

bool fail_on_parse(struct fail_on *f, const char *list) {
    char name[64];

    *f = (struct fail_on){0};
    for (const char *p = list; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        enum finding_kind kind;
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), p);
        p += len;
        if (!strcmp(name, "any"))
            f->any = true;
        else if (finding_parse(name, &kind))
            f->kinds |= (uint32_t)1 << kind;
        else
            return false;
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
