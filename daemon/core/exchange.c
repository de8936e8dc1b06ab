#include "exchange.h"

#include <string.h>

/* Go's max1xxResponses: the next one fails the request (R80). */
#define INTERIM_MAX 5

void exchange_begin(struct exchange *x, const struct exchange_request *rq) {
    *x = (struct exchange){
        .body_announced = UNKNOWN_BYTES,
        .write = WRITE_NOTHING,
        .expect = rq->has_body && rq->expect_continue ? EXPECT_WAITING : EXPECT_NO,
        .framing = FRAMING_NONE,
        .head_only = rq->head_only,
        .is_upgrade = rq->is_upgrade,
        .request_close = rq->request_close,
    };
}

/* Interim answers do not end the wait for a final one; 101 is final (R80). */
static bool is_interim(unsigned status) {
    return status < 200 && status != 101;
}

static enum head_verdict interim(struct exchange *x, unsigned status) {
    if (x->n_interim == INTERIM_MAX) return HEAD_MALFORMED;
    x->n_interim++;
    if (status != 100 || x->expect != EXPECT_WAITING) return HEAD_INTERIM;
    x->expect = EXPECT_GO;
    return HEAD_CONTINUE;
}

/* R81. That the client asked for it is our own condition: a raw stream that
 * nobody expects would carry bytes that nobody framed. Unasked, it is R82. */
static bool switches(const struct exchange *x, const struct h1_head *head) {
    return head->status == 101 && x->is_upgrade && head->has_upgrade && head->conn_upgrade;
}

enum head_verdict exchange_head(struct exchange *x, const struct h1_head *head) {
    x->first_byte = true;
    if (is_interim(head->status)) return interim(x, head->status);

    uint64_t length;
    enum body_framing framing = h1_response_framing(head, x->head_only, &length);
    x->status = head->status;
    x->framing = (uint8_t)framing;
    x->response_close = h1_response_closes(head, framing);
    x->body_announced = framing == FRAMING_LENGTH || framing == FRAMING_NONE ? length : UNKNOWN_BYTES;
    if (switches(x, head)) {
        x->switched = true;
        x->body_announced = UNKNOWN_BYTES;
        return HEAD_SWITCH;
    }
    /* R121: the body that was held back is never sent, and Go 1.19 then takes the
     * request for written, so that the connection may be kept (T123). */
    if (x->expect == EXPECT_WAITING) {
        x->expect = EXPECT_REFUSED;
        x->write = WRITE_DONE;
    }
    /* R44: chunked is a body even if it turns out empty (T9). */
    bool has_body = framing == FRAMING_CHUNKED || framing == FRAMING_UNTIL_EOF || length > 0;
    x->body_eof = !has_body;
    return has_body ? HEAD_BODY : HEAD_NO_BODY;
}

static enum keep_verdict no(enum close_reason *why, enum close_reason reason) {
    *why = reason;
    return KEEP_NO;
}

/* R45-R49. Go has one reason for most refusals (RL); ours say more, so the order
 * differs in one place: a body that was given up is named as that, whatever
 * else would have closed the connection later. */
enum keep_verdict exchange_keep(const struct exchange *x, bool grace_over, bool left_over, enum close_reason *why) {
    *why = REASON_NONE;
    if (x->switched) return no(why, REASON_UPGRADED);
    if (!x->body_eof) return no(why, x->status ? REASON_EARLY_CLOSE : REASON_CANCELED);
    if (x->framing == FRAMING_UNTIL_EOF) return no(why, REASON_UNTIL_EOF);
    if (x->response_close) return no(why, REASON_RESPONSE_CLOSE);
    if (x->request_close) return no(why, REASON_REQUEST_CLOSE);
    if (x->status < 200) return no(why, REASON_RESPONSE_CLOSE); /* R82 */
    if (x->write == WRITE_FAILED) return no(why, REASON_WRITE_ERROR);
    if (x->write != WRITE_DONE) {
        if (!grace_over) return KEEP_WAIT_WRITE;
        return no(why, REASON_UPLOAD_UNFINISHED);
    }
    if (x->canceled) return no(why, REASON_CANCELED);
    if (left_over) return no(why, REASON_UNSOLICITED_RESPONSE);
    return KEEP_YES;
}

enum close_reason exchange_read_end(const struct exchange *x, bool eof) {
    /* R114: cancellation, then the request's own body, then what the server did. */
    if (x->canceled) return REASON_CANCELED;
    if (x->write == WRITE_FAILED) return REASON_WRITE_ERROR;
    if (!eof) return REASON_READ_ERROR;
    return x->body_eof ? REASON_SERVER_CLOSED_IDLE : REASON_SERVER_CLOSED;
}

enum close_phase exchange_phase(const struct exchange *x, bool in_head, bool after_data) {
    if (!x->status) return in_head ? PHASE_IN_HEADERS : PHASE_IN_REQUEST;
    if (x->body_eof) return PHASE_IDLE;
    bool all_read = x->framing == FRAMING_LENGTH && x->body_read == x->body_announced;
    return after_data || all_read ? PHASE_AFTER_BODY : PHASE_IN_BODY;
}

enum close_reason exchange_idle_bytes(const uint8_t *data, size_t len) {
    bool is_408 = len >= 12 && memcmp(data, "HTTP/1.", 7) == 0 && memcmp(data + 8, " 408", 4) == 0;
    return is_408 ? REASON_SERVER_CLOSED_IDLE : REASON_UNSOLICITED_RESPONSE;
}

size_t exchange_read_size(size_t read_buffer, size_t buffered, bool in_body, uint64_t remaining, size_t copy_buffer) {
    if (in_body && remaining > 0) {
        size_t want = remaining < copy_buffer ? (size_t)remaining : copy_buffer;
        return want >= read_buffer ? want : read_buffer;
    }
    /* A line that fills the buffer is taken out of it in parts, so that the fill starts anew. */
    return read_buffer - buffered % read_buffer;
}

bool exchange_may_drain(const struct exchange *x) {
    /* Draining serves reuse alone: where that is lost already, nothing is read. */
    if (!x->status || x->body_eof || x->switched || x->response_close || x->request_close || x->canceled) return false;
    if (x->write == WRITE_FAILED) return false;
    return x->framing == FRAMING_CHUNKED || (x->framing == FRAMING_LENGTH && x->body_announced <= DRAIN_BYTES);
}
