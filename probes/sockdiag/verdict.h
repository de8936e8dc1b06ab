/* What a socket waits for, since when, and whether somebody should do something about
 * it: from one look at it, and more exactly from several.
 *
 * Pure: a row goes in with the time it was taken, words come out. What one look can say
 * of a span of time is a lower bound: the kernel keeps when data last came, and whatever
 * lies unread has lain there since then, if not longer. */
#ifndef CONNLEAK_VERDICT_H
#define CONNLEAK_VERDICT_H

#include "core/clock.h"
#include "sockdiag/sockdiag.h"

/* Less than this is how sockets of a healthy program look at any moment. */
#define SOCK_MOMENT MSEC(1000)
/* What lasts this long needs somebody (findings.slow_after has the same default). */
#define SOCK_LONG SEC(10)

enum sock_trouble {
    TROUBLE_NONE, /* nothing to say against it */
    TROUBLE_NOTE, /* just now, or the other end's to mend */
    TROUBLE_WARN, /* for longer than a moment */
    TROUBLE_BAD,  /* and for long */
    N_TROUBLES
};

enum sock_waits {
#define X(sym, name, text) WAITS_##sym,
#include "sockdiag/tbl/waits.h"
#undef X
    N_WAITS
};

/* "read", "peer_read", ...; and "none", "note", "warn", "bad". */
const char *sock_waits_name(enum sock_waits w);
const char *sock_trouble_name(enum sock_trouble t);

/* What is remembered of a socket from one look to the next. All zero before the first. */
struct sock_memory {
    mono_ns seen;         /* the first look; 0: none yet */
    mono_ns unread_since; /* Recv-Q above zero, and nothing read; 0: Recv-Q was zero */
    mono_ns unsent_since; /* bytes unsent, and nothing sent; 0: there were none */
    mono_ns state_since;  /* when its state changed before our eyes; 0: it was so at the first look */
    uint64_t was_read, was_acked;
    uint32_t was_recv_q;
    uint8_t state;
    bool reads; /* its program was seen to read: the kernel's bound no longer holds */
};

/* The next look, at `now`. */
void sock_remember(struct sock_memory *m, const struct sock_row *row, mono_ns now);

struct sock_verdict {
    enum sock_trouble trouble;
    enum sock_waits waits;
    int64_t for_ns; /* at least so long; -1: the kernel does not tell */
    char words[224];
};

/* Who has an end of it, for the words; pid 0: not known. */
struct sock_who {
    int pid;
    const char *comm;
};

/* m: NULL for a single look, at no time in particular; else as remembered with this row.
 * self, peer: its owner, and that of the other end where this is one of ours too. */
void sock_judge(const struct sock_row *row, const struct sock_memory *m, mono_ns now, const struct sock_who *self,
                const struct sock_who *peer, struct sock_verdict *out);

/* Bytes that its program has read, UNKNOWN where the kernel does not tell. */
uint64_t sock_bytes_read(const struct sock_row *row);

/* Worst first, for qsort: by trouble, then by time, then by bytes. */
int sock_worse(const struct sock_verdict *a, const struct sock_row *ra, const struct sock_verdict *b,
               const struct sock_row *rb);

#endif
