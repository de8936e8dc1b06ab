/* The captured ledger beside the replayed one: connection by connection, did the same happen?
 *
 * Both sides are records of the wire analyser, so that the comparison has one rule for
 * each field. A difference that the proxy's own place between client and origin explains
 * is named and does not count as one. */
#ifndef CONNLEAK_REPLAY_OUTCOME_H
#define CONNLEAK_REPLAY_OUTCOME_H

#include "daemon_ledger.h"
#include "run.h"

enum verdict {
#define X(sym, name, text) VERDICT_##sym,
#include "replay/tbl/verdicts.h"
#undef X
    N_VERDICTS
};

/* X(symbol, name) */
#define VERDICT_FIELDS(X)                                                                                              \
    X(REQUESTS, "requests")                                                                                            \
    X(RESPONSES, "responses")                                                                                          \
    X(REUSED, "reused")                                                                                                \
    X(STATUS, "status")                                                                                                \
    X(EARLY, "early_close")                                                                                            \
    X(CLOSE_BY, "close.by")                                                                                            \
    X(CLOSE_HOW, "close.how")                                                                                          \
    X(RST_SENT, "rst_sent")                                                                                            \
    X(DAEMON_REQUESTS, "daemon.requests")                                                                              \
    X(DAEMON_RST, "daemon.rst_received")
enum outcome_field {
#define X(sym, name) FIELD_##sym,
    VERDICT_FIELDS(X)
#undef X
        N_FIELDS
};

enum outcome_cause {
#define X(sym, name, text) CAUSE_##sym,
#include "replay/tbl/causes.h"
#undef X
    N_CAUSES
};

struct difference {
    uint8_t field, cause;
    uint64_t captured, replayed;
};

struct conn_outcome {
    enum verdict verdict;
    enum client_trouble trouble;
    uint32_t n;
    struct difference diff[N_FIELDS];
};

/* A kind of finding, and how often it was counted. */
struct finding_outcome {
    uint64_t captured, clients, origins; /* of the replay: at its clients; between proxy and origins */
    uint8_t cause;
    bool differs;
};

struct outcomes {
    struct conn_outcome *conns;
    uint32_t count[N_VERDICTS];
    struct finding_outcome findings[N_FINDINGS];
    uint32_t findings_differ;
    uint32_t *by_id; /* connections by the number that the capture's analyser gave them */
    uint32_t n_by_id;
};

/* `daemon`: its own records of the clients, NULL: nobody asked. */
void outcomes_make(struct outcomes *v, const struct run *r, const struct daemon_ledger *daemon);

/* After outcomes_make: the rules' findings on both sides. */
void outcomes_findings(struct outcomes *o, const struct run *r, const struct diagnosis *captured);
void outcomes_free(struct outcomes *v);

const char *verdict_name(enum verdict v);
const char *outcome_field_name(enum outcome_field f);
const char *outcome_cause_name(enum outcome_cause c); /* NULL for CAUSE_NONE */
const char *outcome_cause_text(enum outcome_cause c);

/* A value of a field in words. */
const char *outcome_value(enum outcome_field f, uint64_t value, char buf[24]);

#endif
