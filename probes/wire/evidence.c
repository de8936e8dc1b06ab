#include "wire/evidence.h"

#include <stddef.h>

const char *rst_cause_name(enum rst_cause c) {
    static const char *const names[] = {
#define X(sym, name, text) name,
#include "wire/tbl/rst_causes.h"
#undef X
    };
    return c < sizeof names / sizeof *names ? names[c] : NULL;
}

const char *early_verdict_name(enum early_verdict v) {
    static const char *const names[] = {
#define X(sym, name, text) name,
#include "wire/tbl/early_verdicts.h"
#undef X
    };
    return v < sizeof names / sizeof *names ? names[v] : "unknown";
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
#define X(sym, n, name, text)                                                                                          \
    case INCOMPLETE_##sym:                                                                                             \
        return name;
#include "wire/tbl/incomplete.h"
#undef X
    }
    return "?";
}
