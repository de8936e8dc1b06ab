/* Packets of one pcap or pcapng file, up to its end or its first fault. */
#ifndef CONNLEAK_CAPTURE_FILE_H
#define CONNLEAK_CAPTURE_FILE_H

#include "capture/bytes.h"
#include "capture/capture.h"

/* A pcapng interface, or the one of a pcap file. */
struct file_interface {
    int32_t link_type;
    uint32_t snaplen; /* 0: no limit */
    uint64_t units;   /* per second */
    int64_t offset_s; /* if_tsoffset */
    uint64_t dropped;
    bool dropped_known;
};

struct capture_file {
    struct bytes bytes;
    char *path;
    struct file_interface *interfaces; /* of the section */
    uint32_t n_interfaces;
    bool is_pcapng, swapped;
    const uint8_t *ahead; /* file_look_ahead's */
    uint32_t stride;      /* of the last large record that it met */
    int64_t unit_ns;      /* pcap: of a fraction; 1000 or 1 */
    uint64_t packets;     /* delivered */
    int64_t first_ns, last_ns;
    int32_t link_type; /* of the first interface; -1: none yet */
    uint64_t dropped;  /* of the sections before */
    bool dropped_known;
    uint64_t no_time; /* packets without a time of their own (simple packet blocks) */
    char fault[CAPTURE_TEXT];
};

/* False with one line in `error`; nothing is left open. */
bool file_open(struct capture_file *f, const char *path, char error[CAPTURE_TEXT]);
/* The same for bytes that are open and of which nothing was taken: they are the file's now, whatever comes of it. */
bool file_adopt(struct capture_file *f, struct bytes *b, const char *path, char error[CAPTURE_TEXT]);
void file_close(struct capture_file *f);

/* The next packet. With `at_hand`, only what can be had without reading: then
 * CAPTURE_WAIT means call again without it, and earlier packets stay valid. */
enum capture_step file_next(struct capture_file *f, bool at_hand, struct capture_packet *out);

/* Calls for one more of the records to come. Where each stands is told by the one
 * before: walked at once they would be waited for one by one; walked while others are
 * worked on, they are there when they are needed. Only for files that are read in place. */
void file_look_ahead(struct capture_file *f);

uint64_t file_dropped(const struct capture_file *f, bool *known);

#endif
