/* A cross-check's verdicts for people and for machines. */
#ifndef CONNLEAK_CROSSCHECK_REPORT_H
#define CONNLEAK_CROSSCHECK_REPORT_H

#include "verdicts.h"

#include <stdio.h>

struct report {
    const struct verdicts *x;
    const struct claims *claims;
    const struct views *views;
    const struct capture *capture; /* NULL: the kernel is the witness */
    const char *kernel;            /* the file with its records; NULL: a capture is the witness */
    const char *ledger;            /* the file's name, or the admin endpoint's address */
    uint64_t lost;                 /* packets that the capture lost; records that the kernel lost events of */
    bool lost_counted;             /* as its own counters say; else only as holes in the streams show */
};

/* Disagreements first, REPORT_ROWS of them at most, then what was explained and
 * left out, the clocks, and the summary as the last line. */
#define REPORT_ROWS 40
void report_text(FILE *out, const struct report *r, bool colour);

/* One object, connleak.crosscheck/1, with every connection that does not simply agree. */
void report_json(FILE *out, const struct report *r);

/* "1,204 connections: 1,204 agree, 0 disagree, 3 packets lost in capture" */
#define REPORT_SUMMARY_MAX 256
char *report_summary(const struct report *r, char buf[REPORT_SUMMARY_MAX]);

/* 1234567 as "1,234,567". */
#define GROUPED_MAX 28
char *grouped(uint64_t n, char buf[GROUPED_MAX]);

#endif
