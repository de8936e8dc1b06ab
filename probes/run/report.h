/* What `connleak run` says at the end: gathered from the daemon, for people and for machines. */
#ifndef CONNLEAK_RUN_REPORT_H
#define CONNLEAK_RUN_REPORT_H

#include "core/fail_on.h"
#include "record/json_in.h"
#include "record/json_out.h"

#include <stdbool.h>
#include <stdint.h>

#define REPORT_TEXT 512

/* How the command went. */
struct outcome {
    char *const *argv;
    int code;   /* its exit code, as a shell has it */
    int signal; /* what ended it; 0: it exited */
    uint64_t ms;
    bool reverse; /* the daemon was in reverse mode */
};

struct report; /* what the daemon knows */

/* Asks the daemon at host:port. NULL, with the reason in `error`, if it does not say it all. */
struct report *run_report_fetch(const char *admin, char error[REPORT_TEXT]);
void run_report_free(struct report **rp);

/* Did anything reach the daemon? */
bool run_report_saw_traffic(const struct report *r);

/* Kinds of findings that make the run fail: bits by enum finding_kind. */
uint32_t run_report_failed(const struct report *r, const struct fail_on *f);

/* For people; `failed` as of run_report_failed. */
void run_report_text(struct json_out *o, const struct report *r, const struct outcome *c, uint32_t failed, bool color);

/* connleak.run/1 (daemon/record/schema/connleak.run-1.json); exit_code: of connleak itself. */
void run_report_json(struct json_out *o, const struct report *r, const struct outcome *c, uint32_t failed,
                     int exit_code);

#endif
