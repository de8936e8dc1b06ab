/* The lives of all connections that one observer saw: the open ones, and as
 * many closed ones as the bound allows, with totals that are their sum.
 *
 * The ledger is the only writer of lives. A closed record may leave memory only
 * when nobody is owed it any more: ledger_release_to says how far the writer of
 * ledger.file has come. */
#ifndef CONNLEAK_LEDGER_H
#define CONNLEAK_LEDGER_H

#include "histogram.h"
#include "lifecycle.h"
#include "recent.h"

enum counter {
#define X(sym, name, text) COUNT_##sym,
#include "tbl/counters.h"
#undef X
    N_COUNTERS
};

const char *counter_name(enum counter c);
const char *counter_text(enum counter c);

struct ledger_totals {
    uint64_t count[N_COUNTERS];
    uint64_t closes[N_REASONS];
    uint64_t open;                      /* connections open now */
    struct histogram requests_per_conn; /* closed connections that once stood: requests */
    struct histogram wait;              /* EV_GOT_CONN: nanoseconds waited */
};

struct ledger;

/* keep: how many closed records stay in memory, at least 1. */
struct ledger *ledger_new(enum observer observer, size_t keep);
void ledger_free(struct ledger **lp);

/* A new life on `side`; the id must be new on that side. The pointer is
 * borrowed and good until the life's EV_ENDED is applied. */
struct lifecycle *ledger_open(struct ledger *l, enum side side, conn_id id, int64_t now);

/* The only way to write a life: folds the event in and keeps the totals. */
void ledger_apply(struct ledger *l, struct lifecycle *life, const struct conn_event *ev);

/* Shared strings; both may be called again for the same life. */
void ledger_set_key(struct ledger *l, struct lifecycle *life, const struct connect_key *key);
void ledger_set_client(struct ledger *l, struct lifecycle *life, const char *tag, const char *user_agent);

/* What the socket probe saw of the client of an open downstream life, in place of what it saw before: pid 0
 * and comm NULL are not known, recv_q may be UNKNOWN_BYTES, and is from the next request on. Nothing happens
 * if the life is not open. The record itself does not grow; a connection never looked at costs nothing. */
void ledger_set_probed(struct ledger *l, conn_id id, uint32_t pid, const char *comm, uint64_t recv_q);

/* A closed upstream life whose dial failed: no connection, or no TLS handshake. */
bool ledger_is_dial_error(const struct lifecycle *life);

/* From now on also holds the newest n upstream requests by themselves (recent.h). Once. */
void ledger_keep_recent(struct ledger *l, size_t n);
const struct recent *ledger_recent(const struct ledger *l); /* NULL: none are held */

const struct ledger_totals *ledger_totals(const struct ledger *l, enum side side);
void ledger_set_keep(struct ledger *l, size_t keep);

/* An open or kept life by id; NULL if it is neither. */
const struct lifecycle *ledger_find(const struct ledger *l, enum side side, conn_id id);

/* Closed records carry a sequence number, 1 for the first that closed. Records
 * in [ledger_first_closed, ledger_next_closed) are in memory. */
uint64_t ledger_first_closed(const struct ledger *l);
uint64_t ledger_next_closed(const struct ledger *l);
const struct lifecycle *ledger_closed(const struct ledger *l, uint64_t seq);

/* With a file: no record at or after `seq` leaves memory, whatever `keep` says.
 * UINT64_MAX, the default: no file. ledger_owed tells how many records are over
 * the bound because of it. */
void ledger_release_to(struct ledger *l, uint64_t seq);
size_t ledger_owed(const struct ledger *l);

/* Walks open lives of one side in order of opening, oldest first; `after` 0 starts.
 * Safe against closes between calls, because it goes by id. NULL: no more. */
const struct lifecycle *ledger_open_after(const struct ledger *l, enum side side, conn_id after);
const struct lifecycle *ledger_open_before(const struct ledger *l, enum side side,
                                           conn_id before); /* UINT64_MAX starts */

#endif
