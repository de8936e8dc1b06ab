/* The kernel's own count of RSTs because of unread bytes: TcpExt TCPAbortOnClose
 * and TCPAbortOnData of the network namespace that the daemon started in.
 *
 *   TCPAbortOnClose  close() found bytes in the receive queue
 *   TCPAbortOnData   bytes arrived after close(), or SO_LINGER 0 was set at it
 *
 * They count every socket of the namespace, the daemon's or not: equal to the
 * ledger's numbers only where the daemon is alone, and a witness everywhere. */
#ifndef CONNLEAK_KERNEL_COUNTERS_H
#define CONNLEAK_KERNEL_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#define KERNEL_COUNTER_UNKNOWN UINT64_MAX

struct kernel_counts {
    uint64_t abort_on_close, abort_on_data; /* KERNEL_COUNTER_UNKNOWN where the kernel does not say */
};

/* Finds both in the text of a /proc/net/netstat; what it does not find, or what
 * is not a number, is unknown. */
void kernel_counts_parse(const char *text, struct kernel_counts *out);

/* later - earlier, each; unknown if one of them is unknown, or if it went back. */
struct kernel_counts kernel_counts_since(const struct kernel_counts *earlier, const struct kernel_counts *later);

struct kernel_counters;

/* Opens the file, once, so that a lack of descriptors later does not matter, and
 * takes the present counts as zero. Where it cannot be read everything is unknown. */
struct kernel_counters *kernel_counters_new(void);

/* How much has been counted since kernel_counters_new. */
struct kernel_counts kernel_counters_read(struct kernel_counters *k);

void kernel_counters_free(struct kernel_counters **kp);

#endif
