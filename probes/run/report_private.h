/* Inside the report: the answers that it is made from. */
#ifndef CONNLEAK_RUN_REPORT_PRIVATE_H
#define CONNLEAK_RUN_REPORT_PRIVATE_H

#include "report.h"

struct report {
    struct json_in **pages; /* of GET /findings */
    size_t n_pages;
    struct json_in *metrics, *pools;
};

/* The i-th finding, the gravest first; NULL after the last. */
const struct json_value *run_report_finding(const struct report *r, size_t i);

/* A number of GET /metrics; 0 where it is null. */
uint64_t run_report_number(const struct report *r, const char *path);

#endif
