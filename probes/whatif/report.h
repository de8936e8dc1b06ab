/* What a what-if found, for people. */
#ifndef CONNLEAK_WHATIF_REPORT_H
#define CONNLEAK_WHATIF_REPORT_H

#include "record/json_out.h"
#include "whatif/job.h"

void whatif_report(struct json_out *o, const struct whatif_job *j, bool color);

#endif
