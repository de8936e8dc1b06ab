#include "retry.h"

static bool body_can_be_sent_again(const struct retry_facts *f) {
    return !f->has_body || f->can_rewind;
}

static bool is_replayable(const struct retry_facts *f) {
    return body_can_be_sent_again(f) && (f->safe_method || f->idempotency_key);
}

/* The order decides which verdict a request gets that fails several tests, and
 * that a request of which nothing was written is sent again whatever its method. */
enum retry_verdict retry_decide(const struct retry_facts *f) {
    if (!f->has_host) return RETRY_NO_HOST;
    if (!f->conn_reused) return RETRY_NO_FRESH;
    if (f->nothing_written) return body_can_be_sent_again(f) ? RETRY_YES : RETRY_NO_REWIND;
    if (!is_replayable(f)) return RETRY_NO_REPLAYABLE;
    if (f->failure == FAILED_OTHER) return RETRY_NO_ANSWERED;
    return RETRY_YES;
}
