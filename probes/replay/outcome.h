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
    VERDICT_SAME,
    VERDICT_EXPLAINED, /* differs where a proxy in between has to */
    VERDICT_DIFFERENT,
    VERDICT_PARTIAL,    /* the capture shows a part of it; what was played went well */
    VERDICT_NOT_PLAYED, /* there is nothing that could be played: plan_gap says why */
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
    CAUSE_NONE,
    CAUSE_PROXY_KEPT,       /* the origin ended its connection; the proxy keeps its client's */
    CAUSE_DATA_AFTER_CLOSE, /* RST for bytes that came after close(): no socket is told of it */
    CAUSE_PROXY_ANSWERED,   /* the origin broke its answer off, or gave none: the proxy answers in its place, or ends */
    CAUSE_PROXY_ENDED,      /* the same, told by the end of the connection */
    CAUSE_LEFT_BEFORE,      /* the answer came when the client had left: no socket is told of it */
    CAUSE_CLOSE_RACE,       /* both ends close after such an answer, whoever is first */
    CAUSE_NOT_SEEN,         /* the capture does not know it */
    CAUSE_NOT_PACED,  /* of a finding: it depends on how long answers took, and they came at once */
    CAUSE_NOT_PLAYED, /* of a finding: its connections could not be played whole */
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
