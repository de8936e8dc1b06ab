/* Packets from files, from stdin and from interfaces.
 *
 * Files are read by this room itself: pcap in both byte orders, micro- and
 * nanoseconds, and pcapng with several sections and interfaces, each with its own
 * link type and resolution; gzip or not; up to the last whole packet of a file
 * that is cut or damaged, and then a fault that says where. Live capture is libpcap's. */
#ifndef CONNLEAK_CAPTURE_H
#define CONNLEAK_CAPTURE_H

#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_packet {
    int64_t at_ns;       /* wall clock */
    uint64_t number;     /* from 1, over all files of a set in the order delivered */
    const uint8_t *data; /* borrowed until the next call */
    uint32_t captured, len;
    int32_t link_type; /* LINKTYPE_* of tcpdump.org */
};

enum capture_step {
    CAPTURE_PACKET,
    CAPTURE_WAIT, /* live only: nothing came for a while; call again */
    CAPTURE_END,
    CAPTURE_FAULT, /* a source is damaged from here on and has ended, see its fault; call again for the others */
};

#define CAPTURE_TEXT 256

struct capture;

/* Opens a set of files, read as one capture in the order of time; "-" is stdin.
 * NULL with one line in `error` that names the file and what was expected. */
struct capture *capture_open(const char *const *paths, size_t n, char error[CAPTURE_TEXT]);

/* The same of one file that is open already (capture/bytes.h) and of which nothing was taken: it is the capture's
 * now, whatever comes of it. */
struct bytes;
struct capture *capture_adopt(struct bytes *b, const char *path, char error[CAPTURE_TEXT]);

/* Opens an interface ("any": all). What is captured: `filter` in pcap-filter(7)'s
 * language, or where that is NULL TCP on `ports` ("80,443,8000-8010"; NULL: all of
 * them), behind a VLAN tag too. */
struct capture *capture_open_live(const char *interface, const char *ports, const char *filter,
                                  char error[CAPTURE_TEXT]);
void capture_close(struct capture **cp);

enum capture_step capture_next(struct capture *c, struct capture_packet *out);

/* As many packets as are at hand, at most max and one at least: their bytes are
 * all borrowed until the next call. 0: *step says why there is none. */
size_t capture_next_some(struct capture *c, struct capture_packet *out, size_t max, enum capture_step *step);

/* A hint between two of them, while the packets at hand are worked on: once for each. */
void capture_look_ahead(struct capture *c);

/* What was read of each source. */
struct capture_source {
    const char *path;
    uint64_t packets, bytes;   /* bytes of the file as stored, compressed or not; live: of packets */
    uint64_t size;             /* of the file; 0: not known */
    int64_t first_ns, last_ns; /* 0: no packet */
    int32_t link_type;         /* of the first interface; -1: none */
    uint64_t dropped;          /* by the kernel, and by the interface; as libpcap or pcapng's statistics say */
    bool dropped_known;
    char fault[CAPTURE_TEXT]; /* "" if there is none; names packet number and offset */
};
size_t capture_n_sources(const struct capture *c);
void capture_source(const struct capture *c, size_t i, struct capture_source *out);

const char *link_type_name(int32_t link_type); /* "EN10MB", ...; NULL if this program cannot read it */

/* What a packet is, beneath TCP. */
enum link_verdict {
    LINK_TCP,         /* out is filled */
    LINK_OTHER,       /* not TCP over IP */
    LINK_FRAGMENT,    /* a part of an IP datagram: reported, not put together */
    LINK_CUT,         /* headers cut short by the snap length */
    LINK_MALFORMED,   /* headers that contradict themselves */
    LINK_UNSUPPORTED, /* a link type that this program cannot read */
};

/* Decodes link layer, IP and TCP. Borrows the packet's bytes for out->payload. */
enum link_verdict link_decode(const struct capture_packet *p, struct wire_segment *out);

#endif
