/* ledger.file: every closed record as a line of JSON, and none lost.
 *
 * The event loop formats records into a batch; a thread of this module writes
 * the batch, since a disk may block for as long as it likes. The batch is
 * bounded: what does not fit stays in the ledger, which must not release it
 * (ledger_release_to). On an error, a full disk for instance, the thread cuts an
 * incomplete last line off again and tries anew until it succeeds.
 *
 * The loop's part:
 *   - when connections have closed, soon, but not for each by itself: ledger_file_offer;
 *   - ledger_file_fd readable: ledger_file_woken, then ledger_file_offer again;
 *   - after each offer, ledger_file_trouble: say so once a minute; ledger_file_load: shed new work.
 * All functions are for the loop's thread. None waits for the disk but
 * ledger_file_stop. */
#ifndef CONNLEAK_LEDGER_FILE_H
#define CONNLEAK_LEDGER_FILE_H

#include "core/ledger.h"

struct ledger_file;

#define LEDGER_FILE_RETRY MSEC(500)
#define LEDGER_FILE_BATCH (1u << 20) /* bytes; twice that at most, and a record more, is held */

/* Opens path for appending, mode 0600 where it is new, and starts the thread.
 * The first record to be written is `from` (ledger_first_closed for all that is
 * held); the ledger keeps what is not written from now on. A last line that a
 * crash left incomplete is removed; text of others that does not end in a newline
 * gets one. NULL: errno says why. */
struct ledger_file *ledger_file_open(const char *path, struct ledger *l, uint64_t from);

/* Hands over closed records that are new, as many as fit, and releases in the
 * ledger what is written. to_wall_ns: added to the times of the records. False:
 * something is left to hand over, or the ledger is over its bound because of
 * what is not written yet; ledger_file_fd then becomes readable, once, when the
 * thread has written a batch or failed to. */
bool ledger_file_offer(struct ledger_file *f, struct ledger *l, int64_t to_wall_ns);
int ledger_file_fd(const struct ledger_file *f);
void ledger_file_woken(struct ledger_file *f); /* takes the wake-up off the descriptor */

/* Records before this sequence number are in the file. */
uint64_t ledger_file_written(struct ledger_file *f);

/* Is the last attempt to write a failure, and since when do they fail? An attempt
 * that has not come back for LEDGER_FILE_STUCK is one too, with EINPROGRESS. */
#define LEDGER_FILE_STUCK SEC(1)
struct ledger_file_trouble {
    int error;         /* errno of the last attempt */
    const char *doing; /* "open" or "write": static text */
    int64_t since_ns;  /* CLOCK_MONOTONIC of the first failure in this row */
    uint64_t attempts; /* that have failed */
};
bool ledger_file_trouble(struct ledger_file *f, struct ledger_file_trouble *out);

/* How much work may be taken, judged by what the ledger holds for this file alone. */
enum ledger_file_load {
    LEDGER_FILE_FINE, /* all of it */
    LEDGER_FILE_SHED, /* the file is in trouble and the ledger over its bound: no new requests */
    LEDGER_FILE_FULL, /* LEDGER_FILE_OWED_MAX over it: no new connections either, for their records need memory */
};
#define LEDGER_FILE_OWED_MAX 65536
enum ledger_file_load ledger_file_load(struct ledger_file *f, const struct ledger *l);

/* Closes the file and opens its path again, for rotation: records handed over
 * before go to the old file unless writing to it fails. */
void ledger_file_reopen(struct ledger_file *f);

/* Hands over and writes all that is closed, waiting for timeout_ns at most; ends
 * the thread and frees. From then on the ledger owes nobody. Returns how many
 * closed records were not written: 0 is success. */
uint64_t ledger_file_stop(struct ledger_file **fp, struct ledger *l, int64_t to_wall_ns, int64_t timeout_ns);

#endif
