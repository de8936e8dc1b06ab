/* What a request to the admin endpoint asks for: its path and parameters, whether
 * it comes from where it may, and what kind of answer it prefers. Pure. */
#ifndef CONNLEAK_ADMIN_TARGET_H
#define CONNLEAK_ADMIN_TARGET_H

#include "core/ident.h"

#include <stdbool.h>
#include <stddef.h>

#define TARGET_MAX        2048
#define TARGET_PARAMS_MAX 16

struct target_param {
    const char *name, *value; /* decoded; a name without = has the value "" */
};

struct target {
    char text[TARGET_MAX]; /* what the pointers point into, decoded in place */
    const char *authority; /* of an absolute-form target (RFC 9112 section 3.2.2), else NULL */
    const char *path;      /* decoded, begins with / */
    struct target_param param[TARGET_PARAMS_MAX];
    size_t n_params;
};

enum target_error {
    TARGET_OK,
    TARGET_TOO_LONG,
    TARGET_FORM,   /* neither /path nor http://authority/path */
    TARGET_ESCAPE, /* a percent sign without two hex digits, or %00 */
    TARGET_PARAMS, /* too many parameters */
};

/* Takes a request target apart. Plus signs in the query are blanks. */
enum target_error target_parse(struct target *t, const char *text, size_t len);
const char *target_error_text(enum target_error e);

/* May a request that names `host` (the value of Host, or an absolute target's
 * authority: name or address, with or without a port) be answered? Yes for
 * localhost, for loopback addresses, and for the address that the connection
 * came in at (`local`). Everything else may be a foreign page whose name was
 * made to resolve to this machine: DNS rebinding. */
bool host_is_own(const char *host, size_t len, const struct endpoint *local);

/* Does an Origin field belong to a page served from here, that is, is it http://
 * and then, byte for byte, the request's Host? */
bool origin_is_own(const char *origin, size_t origin_len, const char *host, size_t host_len);

/* What an Accept field prefers among application/json, text/plain and
 * application/openmetrics-text (RFC 9110 section 12.5.1). A tie goes to JSON, then to
 * plain text. */
enum accept_form { ACCEPT_JSON, ACCEPT_TEXT, ACCEPT_OPENMETRICS };
enum accept_form accept_form(const char *accept, size_t len);

#endif
