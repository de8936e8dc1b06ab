/* May a failed request be sent again? R106-R111, and the verdicts of T102-T113. */
#include "core/retry.h"

#include "tap.h"

/* A GET on a connection that had been used before; the server closed it before one byte of answer. */
static struct retry_facts get(void) {
    return (struct retry_facts){.has_host = true, .conn_reused = true, .safe_method = true, .failure = FAILED_READ};
}

static struct retry_facts post(bool can_rewind, bool key) {
    struct retry_facts f = get();
    f.safe_method = false;
    f.has_body = true;
    f.can_rewind = can_rewind;
    f.idempotency_key = key;
    return f;
}

TEST(T102_T103_get_on_a_used_connection) {
    struct retry_facts f = get();
    CHECK_EQ(retry_decide(&f), RETRY_YES);
    f.failure = FAILED_SERVER_CLOSED;
    CHECK_EQ(retry_decide(&f), RETRY_YES);
}

TEST(T104_post_is_not_replayable) {
    struct retry_facts f = post(true, false);
    CHECK_EQ(retry_decide(&f), RETRY_NO_REPLAYABLE);
}

TEST(T105_post_with_an_idempotency_key) {
    struct retry_facts with = post(true, true), without = post(false, true);
    CHECK_EQ(retry_decide(&with), RETRY_YES);
    CHECK_EQ(retry_decide(&without), RETRY_NO_REPLAYABLE);
}

TEST(T106_delete_and_put_are_not_replayable) {
    struct retry_facts put = post(true, false), del = get();
    del.safe_method = false;
    CHECK_EQ(retry_decide(&put), RETRY_NO_REPLAYABLE);
    CHECK_EQ(retry_decide(&del), RETRY_NO_REPLAYABLE);
    del.idempotency_key = true;
    CHECK_EQ(retry_decide(&del), RETRY_YES);
}

TEST(T107_get_with_a_body) {
    struct retry_facts f = get();
    f.has_body = true;
    CHECK_EQ(retry_decide(&f), RETRY_NO_REPLAYABLE);
    f.can_rewind = true;
    CHECK_EQ(retry_decide(&f), RETRY_YES);
}

TEST(T108_T109_one_byte_of_answer_ends_it) {
    struct retry_facts f = get();
    f.failure = FAILED_OTHER;
    CHECK_EQ(retry_decide(&f), RETRY_NO_ANSWERED);
}

TEST(T110_a_fresh_connection) {
    struct retry_facts f = get();
    f.conn_reused = false;
    CHECK_EQ(retry_decide(&f), RETRY_NO_FRESH);
    f.nothing_written = true; /* R107 stands before R108 */
    CHECK_EQ(retry_decide(&f), RETRY_NO_FRESH);
}

TEST(T113_nothing_written) {
    struct retry_facts with = post(true, false), without = post(false, false), del = get();
    with.nothing_written = without.nothing_written = del.nothing_written = true;
    with.failure = without.failure = del.failure = FAILED_OTHER; /* a write error: R108 stands before R110 */
    del.safe_method = false;
    CHECK_EQ(retry_decide(&with), RETRY_YES);
    CHECK_EQ(retry_decide(&del), RETRY_YES);
    CHECK_EQ(retry_decide(&without), RETRY_NO_REWIND);
    without.idempotency_key = true;
    without.safe_method = true;
    CHECK_EQ(retry_decide(&without), RETRY_NO_REWIND);
}

TEST(R106_a_request_without_host) {
    struct retry_facts f = get();
    f.has_host = false;
    f.nothing_written = true;
    CHECK_EQ(retry_decide(&f), RETRY_NO_HOST);
}

/* Every combination of facts, against the section's sentences read one by one. */
TEST(every_combination) {
    for (unsigned bits = 0; bits < 128; bits++) {
        for (unsigned failure = FAILED_READ; failure <= FAILED_OTHER; failure++) {
            struct retry_facts f = {
                .has_host = bits & 1,
                .conn_reused = bits & 2,
                .nothing_written = bits & 4,
                .has_body = bits & 8,
                .can_rewind = bits & 16,
                .safe_method = bits & 32,
                .idempotency_key = bits & 64,
                .failure = (enum retry_failure)failure,
            };
            bool never = !f.has_host || !f.conn_reused;
            bool body_ok = !f.has_body || f.can_rewind;
            bool replayable = body_ok && (f.safe_method || f.idempotency_key);
            bool by_nothing_written = f.nothing_written && body_ok;
            bool by_failure = !f.nothing_written && replayable && failure != FAILED_OTHER;
            CHECK_EQ(retry_decide(&f) == RETRY_YES, !never && (by_nothing_written || by_failure));
        }
    }
}

int main(void) {
    return tap_run();
}
