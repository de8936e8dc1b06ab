#include "explain/words.h"

#include "core/finding.h"
#include "core/join.h"

#define PLAIN(name, text)                                                                                              \
    { name, "", text, "", "", "" }

static const struct word findings[] = {
#define INFO                                  "info"
#define WARNING                               "warning"
#define CRITICAL                              "critical"
#define X(sym, name, severity, summary, text) {name, severity, text, "", "", ""},
#include "core/tbl/findings.h"
#undef X
#undef INFO
#undef WARNING
#undef CRITICAL
};

/* Without the first, which is none: null in a record. */
static const struct word reasons[] = {
#define X(sym, name, go_error, text, advice) {REASON_##sym ? (name) : NULL, "", text, go_error, advice, ""},
#include "core/tbl/close_reasons.h"
#undef X
};

static const struct word phases[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/close_phases.h"
#undef X
};

static const struct word states[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/life_states.h"
#undef X
};

/* Without those that are only folded into numbers. */
static const struct word events[] = {
#define X(sym, name, listed, text) {(listed) ? (name) : NULL, "", text, "", "", ""},
#include "core/tbl/conn_events.h"
#undef X
};

static const struct word record[] = {
#define X(field, word, text) {word, field, text, "", "", ""},
#include "core/tbl/record_words.h"
#undef X
};

static const struct word record_fields[] = {
#define X(path, text) PLAIN(path, text),
#include "core/tbl/record_fields.h"
#undef X
};

static const struct word numbers[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/finding_numbers.h"
#undef X
};

static const struct word severities[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/severities.h"
#undef X
};

static const struct word confidences[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/confidences.h"
#undef X
};

static const struct word evidence[] = {
#define X(path, text) PLAIN(path, text),
#include "wire/tbl/evidence_fields.h"
#undef X
};

static const struct word early[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "wire/tbl/early_verdicts.h"
#undef X
};

static const struct word rst[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "wire/tbl/rst_causes.h"
#undef X
};

static const struct word rst_reasons[] = {
#define X(name, cause, text) PLAIN(name, text),
#include "core/tbl/rst_reasons.h"
#undef X
};

static const struct word incomplete[] = {
#define X(sym, bit, name, text) PLAIN(name, text),
#include "wire/tbl/incomplete.h"
#undef X
};

static const struct word zeek_states[] = {
#define X(sym, text) PLAIN(#sym, text),
#include "wire/tbl/zeek_states.h"
#undef X
};

static const struct word zeek_letters[] = {
#define X(letter, written, text) {(const char[]){letter, '\0'}, (written) ? "" : "Zeek alone", text, "", "", ""},
#include "wire/tbl/zeek_letters.h"
#undef X
};

static const struct word verdicts[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/join_verdicts.h"
#undef X
};

static const struct word causes[] = {
#define X(sym, name, text) {JOIN_CAUSE_##sym ? (name) : NULL, "", text, "", "", ""},
#include "core/tbl/join_causes.h"
#undef X
};

static const struct word fields[] = {
#define X(sym, name, kind, text) PLAIN(name, text),
#include "core/tbl/join_fields.h"
#undef X
};

static const struct word waits[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "sockdiag/tbl/waits.h"
#undef X
};

static const struct word replay_verdicts[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "replay/tbl/verdicts.h"
#undef X
};

static const struct word replay_causes[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "replay/tbl/causes.h"
#undef X
};

static const struct word replay_gaps[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "replay/tbl/gaps.h"
#undef X
};

static const struct word ends[] = {
#define X(sym, name, text) PLAIN(name, text),
#include "core/tbl/workload_ends.h"
#undef X
};

static const struct word metrics[] = {
#define X(path, text) PLAIN(path, text),
#include "core/tbl/metrics.h"
#undef X
};

static const struct word params[] = {
#define X(section, key, type, dflt, min, max, unit, flags, refused, text)                                              \
    {#section "." #key, dflt, text, "", refused, ""},
#include "core/tbl/params.h"
#undef X
};

static const struct word stacks[] = {
#define X(sym, name, prefix, text) {name, prefix, text, "", "", ""},
#include "core/tbl/stacks.h"
#undef X
};

static const struct word messages[] = {
#define X(who, message, see, text) {message, who, text, "", "", see},
#include "core/tbl/messages.h"
#undef X
};

#define GROUP(rows, title, one, intro)                                                                                 \
    {                                                                                                                  \
        rows, sizeof(rows) / sizeof(*(rows)), {                                                                        \
            title, one, intro                                                                                          \
        }                                                                                                              \
    }

static const struct {
    const struct word *rows;
    size_t n;
    struct word_group_text text;
} groups[] = {
    [WORDS_FINDINGS] = GROUP(findings, "FINDINGS", "finding",
                             "Kind of a finding, in GET /findings and in connleak analyze: a named cause with its "
                             "evidence and its remedy."),
    [WORDS_REASONS] =
        GROUP(reasons, "CLOSE REASONS", "close reason",
              "The reason of a close, close.reason of a record, and the labels in closes of GET /metrics. The message "
              "is the one that Go's "
              "http.Transport has for it, so that it can be searched for; records have it as close.go_error."),
    [WORDS_PHASES] =
        GROUP(phases, "PHASES", "phase",
              "The phase of a close, close.phase: how far the exchange under way was when the connection ended."),
    [WORDS_STATES] = GROUP(states, "STATES", "state", "The state of a record: where the connection's life stands."),
    [WORDS_EVENTS] = GROUP(events, "EVENTS", "event",
                           "What GET /connections/ID lists in order, with the time of each. Of a long life it has the "
                           "first eight and the newest."),
    [WORDS_RECORD] = GROUP(record, "WORDS OF A RECORD", "word of a record",
                           "Other words of connleak.conn/1, with the field in which they stand."),
    [WORDS_RECORD_FIELDS] =
        GROUP(record_fields, "FIELDS OF A RECORD", "field of a record",
              "The fields of connleak.conn/1, by their path. null is what the observer cannot know."),
    [WORDS_NUMBERS] =
        GROUP(numbers, "NUMBERS OF A FINDING", "number of a finding",
              "Of a finding's evidence. What is not known is not there; names that end in _ms are milliseconds."),
    [WORDS_SEVERITIES] = GROUP(severities, "SEVERITY", "severity", "How bad a finding is."),
    [WORDS_CONFIDENCES] = GROUP(confidences, "CONFIDENCE", "confidence", "How sure a finding is."),
    [WORDS_EVIDENCE] =
        GROUP(evidence, "EVIDENCE OF A CAPTURE", "field of a capture's evidence",
              "What a record of connleak analyze has in evidence, by its path. What says nothing is not there: a count "
              "that is missing is 0, a flag false, a text not seen."),
    [WORDS_EARLY] =
        GROUP(early, "EARLY CLOSES IN A CAPTURE", "verdict on an early close",
              "The field evidence.early_close: whether a response body was given up, as far as packets can tell."),
    [WORDS_RST] =
        GROUP(rst, "CAUSES OF A RST", "cause of a RST",
              "The field evidence.rst_cause where packets prove it, evidence.rst_cause_likely where they only suggest "
              "it."),
    [WORDS_RST_REASONS] = GROUP(rst_reasons, "THE KERNEL'S REASONS FOR A RST", "kernel's reason for a RST",
                                "What connleak resets prints: the reason of the kernel that sent the RST, Linux 6.12 "
                                "or newer."),
    [WORDS_INCOMPLETE] = GROUP(incomplete, "WHAT A CAPTURE LACKS", "lack of a capture",
                               "The field evidence.incomplete: why something is not known."),
    [WORDS_ZEEK_STATES] =
        GROUP(zeek_states, "ZEEK'S CONNECTION STATES", "Zeek conn_state",
              "The field evidence.conn_state, in the words of Zeek's conn.log. Zeek's originator is the "
              "client, its responder the server."),
    [WORDS_ZEEK_LETTERS] =
        GROUP(zeek_letters, "ZEEK'S HISTORY", "letter of Zeek's history",
              "The field evidence.history: a letter where a kind of packet came first; the client's are "
              "capitals, the server's small."),
    [WORDS_VERDICTS] = GROUP(verdicts, "VERDICTS OF A CROSSCHECK", "verdict of a crosscheck",
                             "What comes out when a connection of the ledger is held against a capture."),
    [WORDS_CAUSES] = GROUP(causes, "CAUSES THAT EXPLAIN A DIFFERENCE", "cause of a difference",
                           "Why a ledger and a capture may differ without either being wrong; each is granted only "
                           "where the packets prove it."),
    [WORDS_FIELDS] = GROUP(fields, "FIELDS OF A CROSSCHECK", "field of a crosscheck",
                           "What is compared, and what the capture's value is."),
    [WORDS_WAITS] = GROUP(waits, "WHAT A SOCKET WAITS FOR", "what a socket waits for",
                          "What connleak sockets says that a socket waits for."),
    [WORDS_REPLAY_VERDICTS] = GROUP(replay_verdicts, "VERDICTS OF A REPLAY", "verdict of a replay",
                                    "What comes out when a replayed connection is held against the captured one."),
    [WORDS_REPLAY_CAUSES] =
        GROUP(replay_causes, "CAUSES THAT EXPLAIN A REPLAY", "cause of a difference in a replay",
              "Why a replay may differ from its capture without anything being wrong: a proxy stands in between."),
    [WORDS_REPLAY_GAPS] = GROUP(replay_gaps, "WHAT A REPLAY CANNOT PLAY", "reason not to play",
                                "Why a connection of a capture is not played, or only in part."),
    [WORDS_ENDS] = GROUP(ends, "ENDS OF AN EXCHANGE", "end of an exchange",
                         "How an exchange of a workload, connleak.workload/1, ended, as the side that asked saw it."),
    [WORDS_METRICS] =
        GROUP(metrics, "METRICS", "number of GET /metrics", "The numbers of GET /metrics, by their path."),
    [WORDS_PARAMS] = GROUP(params, "PARAMETERS", "parameter", "Parameters of connleakd, see connleakd.conf(5)."),
    [WORDS_STACKS] = GROUP(stacks, "CLIENTS", "client stack",
                           "What a client seems to be written with, as the beginning of its User-Agent tells."),
    [WORDS_MESSAGES] = GROUP(messages, "MESSAGES OF OTHER PROGRAMS", "message",
                             "What other programs say when it happens, and which of the words above it is about. "
                             "connleak explain finds them in a pasted line of a log."),
};

const struct word *words_of(enum word_group g, size_t *n) {
    *n = groups[g].n;
    return groups[g].rows;
}

const struct word_group_text *words_group(enum word_group g) {
    return &groups[g].text;
}
