/* What a browser may be made to send to the admin endpoint. The input: a request
 * target up to the first newline, a Host up to the second, then an Accept field. What
 * must hold: whatever is parsed lies inside the target's own memory and is text; a
 * Host that counts as our own is one that a plain reading finds on a short list. */
#include "admin/target.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds) {
    if (!holds) abort();
}

static void must_be_inside(const struct target *t, const char *s) {
    if (!strcmp(s, "/")) return; /* the root of http://host is a literal */
    must(s >= t->text && s + strlen(s) < t->text + sizeof t->text);
}

static void check_target(const char *text, size_t len) {
    struct target t;
    if (target_parse(&t, text, len) != TARGET_OK) return;
    must(t.path[0] == '/' && t.n_params <= TARGET_PARAMS_MAX);
    must_be_inside(&t, t.path);
    if (t.authority) must_be_inside(&t, t.authority);
    for (size_t i = 0; i < t.n_params; i++) {
        must_be_inside(&t, t.param[i].name);
        must_be_inside(&t, t.param[i].value);
    }
}

/* Own hosts begin like this, whatever port follows; 10.1.2.3 is where we are. */
static void check_host(const char *text, size_t len) {
    static const struct endpoint here = {.family = ADDR_V4, .addr = {10, 1, 2, 3}};
    static const char *const own[] = {"localhost", "127.", "10.1.2.3"};
    bool found = false;
    if (!host_is_own(text, len, &here)) return;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        found = found || (len >= strlen(own[i]) && !strncasecmp(text, own[i], strlen(own[i])));
    must(found || (len > 4 && text[0] == '[' && (text[1] == ':' || text[1] == '0'))); /* ::1 has many spellings */
    must(!memchr(text, '/', len) && !memchr(text, '@', len) && !memchr(text, ' ', len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    const char *part[3], *p = (const char *)data, *end = p + len;
    size_t n[3];
    for (int i = 0; i < 3; i++) {
        const char *newline = i < 2 && p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        part[i] = p;
        n[i] = (size_t)((newline ? newline : end) - p);
        p = newline ? newline + 1 : end;
    }
    if (!len) return 0;
    check_target(part[0], n[0]);
    check_host(part[1], n[1]);
    accept_form(part[2], n[2]);
    origin_is_own(part[2], n[2], part[1], n[1]);
    return 0;
}
