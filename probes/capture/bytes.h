/* The bytes of one file in order, plain or gzip, from a path or from stdin. */
#ifndef CONNLEAK_CAPTURE_BYTES_H
#define CONNLEAK_CAPTURE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *at, *end; /* what is at hand */
    uint64_t passed;         /* offset of `at` in the (unpacked) stream, kept by bytes_skip */
    bool in_place;   /* `at` points into the page cache: cold memory, where what is not looked at costs nothing */
    uint64_t stored; /* bytes taken from the file as stored */
    uint64_t size;   /* of the file as stored; 0: not known */
    struct bytes_reader *reader;
};

/* NULL or "-": stdin. False with one line in `error`. */
bool bytes_open(struct bytes *b, const char *path, char *error, size_t error_size);
void bytes_close(struct bytes *b);

/* At least n bytes at b->at, reading and waiting as needed; what is at hand may
 * move. False at the end of the stream: fewer are left, and bytes_fault says
 * whether that is because of an error ("" if not). */
bool bytes_need(struct bytes *b, size_t n);
const char *bytes_fault(const struct bytes *b);

/* A file that is read in place was cut short meanwhile: what is at hand may be zeros
 * that were never in it. bytes_fault says so. */
bool bytes_are_void(struct bytes *b);

static inline void bytes_skip(struct bytes *b, size_t n) {
    b->at += n;
    b->passed += n;
}

#endif
