/* May a failed request be sent again on another connection? (section 7.1) */
#ifndef CONNLEAK_RETRY_H
#define CONNLEAK_RETRY_H

#include <stdbool.h>

enum retry_failure {
    FAILED_READ,          /* EOF or error before the first byte of the answer: RF */
    FAILED_SERVER_CLOSED, /* the server had closed the connection while it was idle: SC */
    FAILED_OTHER,         /* anything else, one byte of answer included */
};

struct retry_facts {
    bool has_host;
    bool conn_reused;     /* R107 */
    bool nothing_written; /* not one byte of this request reached the socket: R108 */
    bool has_body;
    bool can_rewind;      /* the body can be made anew (Go's GetBody); a proxy's never can */
    bool safe_method;     /* GET, HEAD, OPTIONS, TRACE */
    bool idempotency_key; /* Idempotency-Key or X-Idempotency-Key is present */
    enum retry_failure failure;
};

enum retry_verdict {
    RETRY_YES,
    RETRY_NO_HOST,       /* R106 */
    RETRY_NO_FRESH,      /* R107: a fresh connection that fails is an answer */
    RETRY_NO_REPLAYABLE, /* R109 */
    RETRY_NO_ANSWERED,   /* R110 */
    RETRY_NO_REWIND,     /* R111: the body is gone */
};

enum retry_verdict retry_decide(const struct retry_facts *f);

#endif
