/* A workload from a file of any kind that has one: a workload's own (connleak.workload/1),
 * a ledger (connleak.conn/1), or a capture; gzip or not. */
#ifndef CONNLEAK_WHATIF_LOAD_H
#define CONNLEAK_WHATIF_LOAD_H

#include "core/workload.h"

#define LOAD_TEXT 512

/* "-" is stdin. NULL, with one line in `error` that names the file and what is wrong. A file that is cut or
 * damaged from some place on gives what stands before it, and a line in `error`; else that is "".
 * With `progress`, says on stderr how far it is. */
struct workload *workload_load(const char *path, bool progress, char error[LOAD_TEXT]);

#endif
