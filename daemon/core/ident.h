/* Who is who: the ids and keys that cross the borders between rooms.
 *
 * Ids only grow and are never used twice, so a late answer about something that
 * is gone is recognised and ignored, and the same number stands in the log, the
 * ledger and the JSON. Nothing outside its owner ever holds a pointer instead. */
#ifndef CONNLEAK_IDENT_H
#define CONNLEAK_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t conn_id; /* a connection; 0 is none */
typedef uint64_t want_id; /* a request that needs a connection; 0 is none */

enum addr_family { ADDR_NONE, ADDR_V4, ADDR_V6, ADDR_UNIX };

/* One end of a connection. IPv4 uses the first four bytes of addr; all unused
 * bytes are zero, so endpoints compare with memcmp. ADDR_UNIX has no address:
 * such peers have no name that a capture could know. */
struct endpoint {
    uint8_t addr[16]; /* network byte order */
    uint16_t port;    /* host byte order */
    uint8_t family;   /* enum addr_family */
    uint8_t zero;
};

/* A connection's 4-tuple from one end's point of view. */
struct flow_key {
    struct endpoint local, remote;
};

/* What makes connections interchangeable (Go's connectMethodKey, R1-R8):
 * compared exactly, byte for byte; no lower-casing. */
struct connect_key {
    const char *proxy;  /* the proxy's URL, "" if direct (R2) */
    const char *scheme; /* "http" or "https", of the request's URL (R3) */
    const char *addr;   /* host:port, IPv6 in brackets; "" for plain HTTP through a proxy (R4, R5) */
    bool only_h1;       /* a WebSocket upgrade (R7) */
};

/* Both compare bytes; a flow equals itself only in the same direction. */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
bool flow_equal(const struct flow_key *a, const struct flow_key *b);
int flow_compare(const struct flow_key *a, const struct flow_key *b); /* total order, as memcmp */
uint64_t flow_hash(const struct flow_key *f);

bool connect_key_equal(const struct connect_key *a, const struct connect_key *b);
uint64_t connect_key_hash(const struct connect_key *k);

/* Any bytes to a well-mixed 64-bit hash under a process-wide seed that the
 * driver sets once from the kernel's randomness; the default is 0, for tests. */
uint64_t bytes_hash(const void *data, size_t len, uint64_t seed);
void hash_seed(uint64_t seed);

/* "127.0.0.1:80", "[::1]:80" or "unix" into buf; returns buf. */
#define ENDPOINT_TEXT_MAX 56
char *endpoint_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX]);

/* The reverse for numeric addresses with a port; false if text is not one. */
bool endpoint_parse(const char *text, struct endpoint *out);

/* Go's printable form, "|http|a:80" (R8), into buf of size bytes, cut if it
 * does not fit; returns buf. */
char *connect_key_text(const struct connect_key *k, char *buf, size_t size);

#endif
