/* A small HTTP/1.1 server for a few readers on a loop that has other work: every
 * request is whole before it is handled, every answer is either short or made in
 * slices as its reader takes them, and everything a peer can make grow or wait
 * has a limit.
 *
 * It stands on core/h1 rather than on evhttp, because evhttp (2.1) cannot limit
 * its connections, times each read and not the head as a whole, answers malformed
 * requests in HTML, and takes heads that the proxy's own parser refuses. */
#ifndef CONNLEAK_ADMIN_WEB_H
#define CONNLEAK_ADMIN_WEB_H

#include "core/clock.h"
#include "core/ident.h"
#include "record/json_out.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct web;
struct web_conn; /* a connection, and the request on it that is being answered */

/* All are limits of one connection but the first; none may be 0. */
struct web_limits {
    unsigned max_conns;
    uint32_t max_head_bytes, max_body_bytes;
    mono_ns head_timeout, idle_timeout, stall_timeout;
};

/* Called with a complete request. Answers it before it returns, by exactly one of
 * web_reply, web_problem and web_stream. */
typedef void web_handler_fn(void *arg, struct web_conn *c);

/* Seconds since 1970, for the Date field. */
typedef int64_t web_clock_fn(void *arg);

struct web *web_new(struct event_base *base, const struct web_limits *limits, web_handler_fn *handler,
                    web_clock_fn *clock, void *arg);
void web_free(struct web **wp);

/* As admin_listen_fd. */
bool web_listen_fd(struct web *w, int fd);

/* The request, for the handler, during its call. Texts are not NUL-terminated. */
bool web_method_is(const struct web_conn *c, const char *method);
const char *web_target(const struct web_conn *c, size_t *len);
/* The value of the first field of this name; NULL if there is none. */
const char *web_field(const struct web_conn *c, const char *name, size_t *len);
/* The address that the connection came in at: ADDR_UNIX for Unix sockets; IPv4-mapped addresses are IPv4. */
struct endpoint web_local(const struct web_conn *c);

/* An answer in one piece; copies the body. To a HEAD request only the head is
 * sent. `allow` is the value of an Allow field, or NULL. */
void web_reply(struct web_conn *c, unsigned status, const char *type, const char *allow, const struct json_out *body);

/* RFC 9457. Members that are NULL are left out. */
struct problem {
    unsigned status;
    const char *detail;
    const char *parameter;        /* which parameter is wrong */
    const char *allow;            /* which methods are right; goes in the Allow field too */
    const char *const *available; /* which paths there are; ends with NULL */
};
void web_problem(struct web_conn *c, const struct problem *p);

/* An answer in slices, with status 200. `more` appends the next slice to `out`: a
 * few tens of KiB at most, or nothing when it has only looked and not found, for
 * it is called again on a later turn of the loop. WEB_WAIT: there is no more now;
 * it is called again when the slice is written and once more after web_wake or
 * WEB_BEAT. WEB_ABORT ends the connection in a way that no reader takes for the end
 * of the answer. `end` is called exactly once, when `state` and the connection are
 * not to be used any more, whatever happened; for HEAD requests without `more` ever
 * being called. */
enum web_more { WEB_MORE, WEB_WAIT, WEB_LAST, WEB_ABORT };
typedef enum web_more web_more_fn(void *state, struct json_out *out);
typedef void web_end_fn(void *state);
void web_stream(struct web_conn *c, const char *type, web_more_fn *more, web_end_fn *end, void *state);

/* How long a stream may have nothing to say before it is asked again. */
#define WEB_BEAT SEC(15)

/* There is more for a stream that said WEB_WAIT: it is asked on a later turn of the
 * loop. Nothing happens where it is being asked already, or its reader lags. */
void web_wake(struct web_conn *c);

#endif
