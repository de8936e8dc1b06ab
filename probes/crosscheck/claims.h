/* What a ledger claims, record by record, from a file or from a daemon's admin
 * endpoint. About 180 bytes a record are kept; texts are not. */
#ifndef CONNLEAK_CLAIMS_H
#define CONNLEAK_CLAIMS_H

#include "core/join.h"

#include <stdbool.h>
#include <stddef.h>

#define CLAIMS_TEXT 512

struct claims {
    struct join_life *lives; /* ref is the index of the claim; join_sort may reorder these */
    struct join_claim *claims;
    size_t n, room;
    uint64_t no_tuple;         /* records without two addresses: Unix sockets, dials that never got one */
    uint64_t other;            /* lines of another schema */
    bool cut;                  /* the last line was incomplete: its writer was still at it */
    int64_t first_ns, last_ns; /* what the ledger covers: see claims_cover; 0, 0: nothing */
    struct conn_reader *reader;
};

/* Reads connleak.conn/1 lines. "-" is stdin. False, with one line in `error`
 * that names file, line and what was expected. */
bool claims_read_file(struct claims *c, const char *path, char error[CLAIMS_TEXT]);

/* The same from GET /ledger on host:port; covers the time until the call. */
bool claims_fetch(struct claims *c, const char *host_port, char error[CLAIMS_TEXT]);

/* Is there an admin endpoint that answers? False, with the reason in `error`. */
bool claims_reachable(const char *host_port, char error[CLAIMS_TEXT]);

/* One line, with or without its newline; for the two above. */
bool claims_line(struct claims *c, const char *line, size_t len, char error[CLAIMS_TEXT]);

void claims_free(struct claims *c);

#endif
