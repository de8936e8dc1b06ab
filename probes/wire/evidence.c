#include "wire/evidence.h"

#include <stddef.h>

const char *rst_cause_name(enum rst_cause c) {
    switch (c) {
    case RST_CAUSE_NONE:
        return NULL;
    case RST_CAUSE_UNREAD_AT_CLOSE:
        return "unread_at_close";
    case RST_CAUSE_DATA_AFTER_CLOSE:
        return "data_after_close";
    case RST_CAUSE_REFUSED:
        return "refused";
    case RST_CAUSE_ABORT:
        return "abort";
    }
    return NULL;
}

const char *early_verdict_name(enum early_verdict v) {
    switch (v) {
    case EARLY_NO:
        return "no";
    case EARLY_IN_BODY:
        return "in_body";
    case EARLY_FIN_AFTER_COMPLETE:
        return "fin_after_complete";
    case EARLY_RST_AFTER_COMPLETE:
        return "rst_after_complete";
    case EARLY_NO_RESPONSE:
        return "no_response";
    case EARLY_OPEN:
        return "open";
    case EARLY_UNKNOWN:
        return "unknown";
    }
    return "unknown";
}

const char *wire_protocol_name(enum wire_protocol p) {
    switch (p) {
    case PROTO_NONE:
        return NULL;
    case PROTO_HTTP1:
        return "http/1";
    case PROTO_TLS:
        return "tls";
    case PROTO_HTTP2:
        return "http/2";
    case PROTO_UNKNOWN:
        return "unknown";
    }
    return NULL;
}

const char *wire_roles_name(enum wire_roles r) {
    switch (r) {
    case ROLES_HANDSHAKE:
        return "handshake";
    case ROLES_CONTENT:
        return "content";
    case ROLES_ASSUMED:
        return "assumed";
    }
    return "assumed";
}

const char *wire_incomplete_name(uint32_t bit) {
    switch ((enum wire_incomplete)bit) {
    case INCOMPLETE_START:
        return "began_before_capture";
    case INCOMPLETE_END:
        return "end_not_captured";
    case INCOMPLETE_GAP_IN:
        return "gap_in_responses";
    case INCOMPLETE_GAP_OUT:
        return "gap_in_requests";
    case INCOMPLETE_SNAPLEN:
        return "snap_length";
    case INCOMPLETE_ONE_WAY:
        return "one_way";
    case INCOMPLETE_OPAQUE:
        return "opaque";
    case INCOMPLETE_LIMIT:
        return "limit";
    case INCOMPLETE_CAPTURE_ENDED:
        return "open_at_end_of_capture";
    case INCOMPLETE_BAD_HTTP:
        return "bad_http";
    case INCOMPLETE_LOSS:
        return "bytes_not_captured";
    }
    return "?";
}
