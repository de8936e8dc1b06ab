/* What a replay says when it is over. */
#ifndef CONNLEAK_REPLAY_REPORT_H
#define CONNLEAK_REPLAY_REPORT_H

#include "outcome.h"

#include <stdio.h>

struct replay_report {
    const struct run *run;
    const struct outcomes *outcomes;
    const struct daemon_ledger *daemon; /* NULL: nobody asked */
    const char *file, *proxy;
    int64_t took_ns;
    bool made_up; /* heads and bodies: it was a workload */
};

void replay_text(FILE *out, const struct replay_report *r);
void replay_json(FILE *out, const struct replay_report *r); /* connleak.replay/1 */

#endif
