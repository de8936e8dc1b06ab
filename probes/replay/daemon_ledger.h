/* What the daemon wrote down about the replayed clients: its downstream records, fetched
 * from its admin endpoint and found again by the clients' own addresses. */
#ifndef CONNLEAK_REPLAY_DAEMON_LEDGER_H
#define CONNLEAK_REPLAY_DAEMON_LEDGER_H

#include "run.h"

struct daemon_life {
    bool found, closed, rst_received;
    uint32_t requests, early_closes;
};
struct daemon_ledger {
    struct daemon_life *lives; /* by connection of the plan; NULL: nobody asked */
    uint32_t found;
};

/* After the run. False with one line in `error`. */
bool daemon_ledger_fetch(struct daemon_ledger *d, const struct run *r, const char *admin, char error[256]);
void daemon_ledger_free(struct daemon_ledger *d);

#endif
