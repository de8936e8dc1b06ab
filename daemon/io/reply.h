/* The proxy's own answers: application/problem+json (RFC 9457) with a
 * Proxy-Status field (RFC 9209) that says what went wrong, and where. */
#ifndef CONNLEAK_REPLY_H
#define CONNLEAK_REPLY_H

#include "core/clock.h"

#include <stdbool.h>
#include <stddef.h>

struct json_out;

/* One row an answer: what it is called here, its status, its Proxy-Status error
 * ("" where RFC 9209 has no word for it) and its title. */
enum reply_kind {
    REPLY_BAD_REQUEST,
    REPLY_DENIED_CLIENT,
    REPLY_DENIED_DESTINATION,
    REPLY_AUTH_REQUIRED,
    REPLY_HEAD_TIMEOUT,
    REPLY_HEAD_TOO_LARGE,
    REPLY_TRACE,
    REPLY_DNS_ERROR,
    REPLY_DNS_TIMEOUT,
    REPLY_REFUSED,
    REPLY_UNREACHABLE,
    REPLY_DIAL_TIMEOUT,
    REPLY_TLS_CERTIFICATE,
    REPLY_TLS_ALERT,
    REPLY_TLS_ERROR,
    REPLY_TLS_TIMEOUT,
    REPLY_TERMINATED,
    REPLY_MALFORMED,
    REPLY_RESPONSE_HEAD_TOO_LARGE,
    REPLY_UPGRADE_FAILED,
    REPLY_RESPONSE_TIMEOUT,
    REPLY_WRITE_ERROR,
    REPLY_CLIENT_GONE,
    REPLY_LIMIT,
    REPLY_INTERNAL,
    REPLY_LOOP,
    N_REPLIES
};

unsigned reply_status(enum reply_kind k);

/* The whole answer. `detail` is one sentence about this case, or NULL; `name` our
 * name in Proxy-Status; `date` an IMF-fixdate. `head_only` for HEAD requests. */
void reply_write(struct json_out *out, enum reply_kind k, const char *detail, const char *name, const char *date,
                 bool close, bool head_only);

/* "HTTP/1.1 200 Connection established" for CONNECT, and an empty 200 to OPTIONS
 * with Max-Forwards: 0. */
void reply_connected(struct json_out *out, const char *name);
void reply_options(struct json_out *out, const char *date, bool close);

/* IMF-fixdate of a wall clock time, made once a second. */
#define DATE_LEN 29
const char *reply_date(wall_ns now);

#endif
