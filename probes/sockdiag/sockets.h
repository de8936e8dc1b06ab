/* One round of `connleak sockets`: the sockets that were asked for, whose they are and
 * what is to be said of each; and its two outputs. */
#ifndef CONNLEAK_SOCKETS_H
#define CONNLEAK_SOCKETS_H

#include "core/clock.h"
#include "core/idmap.h"
#include "record/json_out.h"
#include "sockdiag/owner.h"
#include "sockdiag/sockdiag.h"
#include "sockdiag/verdict.h"

#define SOCKETS_MAX (1u << 18) /* rows in memory, some 500 bytes each; the others are counted */

struct socket_row {
    struct sock_row row;
    struct sock_memory *memory; /* borrowed from sockets.memories */
    struct sock_verdict verdict;
    const struct owner *owner; /* NULL: not known */
    const struct owner *peer;  /* of the other end, where that is a socket here too; NULL: not known */
};

struct sockets_asked {
    pid_t pid;        /* 0: anybody's */
    uint16_t port;    /* 0: any */
    int64_t watch_ns; /* 0: one round */
    bool json;
};

struct sockets {
    struct sockets_asked asked;
    struct sockdiag *diag;
    struct owners *owners; /* of all processes */
    struct owners *own;    /* of asked.pid alone; NULL: any */
    struct idmap memories; /* cookie -> struct sock_memory */

    int64_t wall_ns;
    mono_ns now;
    struct socket_row *rows; /* worst first */
    size_t n_rows, room;
    struct sock_row *listeners; /* to whom connections belong that are not accepted yet */
    size_t n_listeners, listeners_room;
    uint64_t time_wait, beyond; /* not in rows: over already; more than SOCKETS_MAX */
    uint64_t unowned;           /* rows that some program has, nobody knows which */
    bool interrupted;
    struct owners_progress sweep;
    uint64_t looks; /* rounds so far */
    bool ended;     /* the process of asked.pid is gone */
};

/* What is summed up under the table and in JSON's totals. */
struct sockets_totals {
    uint64_t connections, unread, unread_bytes, close_wait, not_accepted, peer_not_reading, unsent_bytes;
};
void sockets_sum(const struct sockets *s, struct sockets_totals *out);

void sockets_table(struct json_out *o, const struct sockets *s, bool color);
void sockets_json(struct json_out *o, const struct sockets *s); /* one line */

/* Why owners are missing, as a sentence without an end; NULL if none is. */
const char *sockets_missing(const struct sockets *s, char *buf, size_t size);

#endif
