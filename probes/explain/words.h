/* Every word that connleak and connleakd write, with what it means: all tables by group, for `connleak explain` and
 * for connleak(7). */
#ifndef CONNLEAK_EXPLAIN_WORDS_H
#define CONNLEAK_EXPLAIN_WORDS_H

#include <stddef.h>

/* In the order in which they are listed. */
enum word_group {
    WORDS_FINDINGS, /* index: enum finding_kind */
    WORDS_REASONS,
    WORDS_PHASES,
    WORDS_STATES,
    WORDS_EVENTS,
    WORDS_RECORD,
    WORDS_RECORD_FIELDS,
    WORDS_NUMBERS,
    WORDS_SEVERITIES,
    WORDS_CONFIDENCES,
    WORDS_EVIDENCE,
    WORDS_EARLY,
    WORDS_RST,
    WORDS_RST_REASONS,
    WORDS_INCOMPLETE,
    WORDS_ZEEK_STATES,
    WORDS_ZEEK_LETTERS,
    WORDS_VERDICTS,
    WORDS_CAUSES,
    WORDS_FIELDS,
    WORDS_WAITS,
    WORDS_REPLAY_VERDICTS,
    WORDS_REPLAY_CAUSES,
    WORDS_REPLAY_GAPS,
    WORDS_ENDS,
    WORDS_METRICS,
    WORDS_PARAMS,
    WORDS_STACKS,
    WORDS_MESSAGES,
    N_WORD_GROUPS
};

/* A row of a table. Static; no string is NULL, name apart. */
struct word {
    const char *name; /* NULL: a row that has no word, to be passed over */
    const char *note; /* of findings the usual severity, of a record's words the field, of messages whose they are, of
                         parameters the default, of stacks how their User-Agent begins; else mostly "" */
    const char *text; /* what it means */
    const char *go_error; /* Go's message for it, or "" */
    const char *advice;   /* what to do, or ""; of parameters why only the default is accepted, or "" */
    const char *see;      /* names of other words, with blanks between them */
};

/* The rows of a group; *n: how many. */
const struct word *words_of(enum word_group g, size_t *n);

struct word_group_text {
    const char *title; /* of the section in connleak(7) */
    const char *one;   /* what one of its words is: "close reason" */
    const char *intro; /* where the words stand */
};
const struct word_group_text *words_group(enum word_group g);

#endif
