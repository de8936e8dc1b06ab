#include "capture/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Large enough that a read costs little beside its copy, small enough that the
 * copy is still in the cache when it is looked at. */
#define BUFFER_BYTES (256u << 10)
#define PACKED_BYTES (64u << 10)

/* A file of some size is looked at where it lies in the page cache: most of a capture
 * is bodies, which nobody looks at, so copying them is most of what reading costs. It
 * is mapped whole and gone through a window at a time: the pages of a window are called
 * for at once and given back behind it, so that memory stays flat. */
#define MAPPED_FROM  BUFFER_BYTES
#define WINDOW_BYTES (2u << 20)
#define WINDOW_PAGE  ((size_t)64 << 10) /* a multiple of every page size */

struct bytes_reader {
    int fd;
    bool ended; /* no more to be read */
    bool is_gzip;
    bool in_member;  /* inside a gzip member: an end here is a fault */
    uint8_t *buffer; /* `room` bytes; b->at and b->end point into it */
    size_t room;
    uint8_t *map;  /* NULL: read into the buffer */
    size_t mapped; /* bytes of the file there; what was appended later is read */
    size_t given_back;
    volatile sig_atomic_t cut; /* bytes of the map are gone */
    struct bytes_reader *next_mapped;
    uint8_t *packed; /* gzip: as read */
    z_stream z;
    char fault[160];
};

/* ---- files that are mapped ---- */

static struct bytes_reader *all_mapped;
static struct sigaction before_us;

/* The file became shorter, or its disk failed: the kernel has no bytes for an address.
 * They read as zeros from here on, and the reader is told that what it saw is void. */
static void on_bus_error(int sig, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    int saved = errno;

    (void)context;
    for (struct bytes_reader *r = all_mapped; r; r = r->next_mapped) {
        uintptr_t from = (uintptr_t)r->map, to = from + r->mapped;
        if (at < from || at >= to) continue;
        at -= at % WINDOW_PAGE;
        if (mmap((void *)at, to - at, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
        r->cut = 1;
        errno = saved;
        return;
    }
    sigaction(sig, &before_us, NULL); /* not ours: it comes again */
}

static void map_file(struct bytes *b) {
    struct bytes_reader *r = b->reader;
    struct sigaction mine = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    void *map;

    if (b->size > SIZE_MAX / 2) return;
    map = mmap(NULL, (size_t)b->size, PROT_READ, MAP_SHARED, r->fd, 0);
    if (map == MAP_FAILED) return; /* then it is read */
    if (!all_mapped) sigaction(SIGBUS, &mine, &before_us);
    r->map = map;
    r->mapped = (size_t)b->size;
    r->next_mapped = all_mapped;
    all_mapped = r;
    b->at = b->end = r->map;
    b->in_place = true;
    b->stored = 0;
}

static void unmap_file(struct bytes_reader *r) {
    struct bytes_reader **at = &all_mapped;

    if (!r->map) return;
    while (*at != r) at = &(*at)->next_mapped;
    *at = r->next_mapped;
    if (!all_mapped) sigaction(SIGBUS, &before_us, NULL);
    munmap(r->map, r->mapped);
    r->map = NULL;
}

bool bytes_are_void(struct bytes *b) {
    struct bytes_reader *r = b->reader;

    if (r->cut && !r->fault[0])
        snprintf(r->fault, sizeof r->fault, "the file was cut short, or its disk failed, while it was read");
    return r->cut;
}

static bool is_cut(struct bytes *b) {
    struct bytes_reader *r = b->reader;
    struct stat st;

    if (fstat(r->fd, &st) < 0 || (uint64_t)st.st_size < r->mapped) r->cut = 1;
    return bytes_are_void(b);
}

/* The window moves on to have n bytes from b->at. False: they are not all in the map. */
static bool next_window(struct bytes *b, size_t n) {
    struct bytes_reader *r = b->reader;
    size_t at = (size_t)(b->at - r->map), passed = at - at % WINDOW_PAGE, from = (size_t)(b->end - r->map), to;

    if (is_cut(b)) {
        r->ended = true;
        b->end = b->at;
        return false;
    }
    if (passed > r->given_back) {
        (void)madvise(r->map + r->given_back, passed - r->given_back, MADV_DONTNEED);
        r->given_back = passed;
    }
    to = at + (n > WINDOW_BYTES ? n : WINDOW_BYTES);
    if (to < n || to > r->mapped) to = r->mapped;
    from -= from % WINDOW_PAGE;
    (void)madvise(r->map + from, to - from, MADV_POPULATE_READ); /* older kernels: they come one by one */
    b->end = r->map + to;
    b->stored = to;
    return to - at >= n;
}

/* Behind the map stands what was appended since: from here on the file is read. */
static bool leave_map(struct bytes *b, size_t n) {
    struct bytes_reader *r = b->reader;
    size_t have = (size_t)(b->end - b->at);

    if (have > r->room) {
        uint8_t *bigger = realloc(r->buffer, n + BUFFER_BYTES);
        if (!bigger) {
            snprintf(r->fault, sizeof r->fault, "no memory for a record of %zu bytes", n);
            r->ended = true;
            return false;
        }
        r->buffer = bigger;
        r->room = n + BUFFER_BYTES;
    }
    memcpy(r->buffer, b->at, have);
    if (lseek(r->fd, (off_t)r->mapped, SEEK_SET) < 0) r->ended = true;
    unmap_file(r);
    b->in_place = false;
    b->at = r->buffer;
    b->end = r->buffer + have;
    return true;
}

/* ---- files that are read ---- */

const char *bytes_fault(const struct bytes *b) {
    return b->reader->fault;
}

static ssize_t read_some(struct bytes *b, uint8_t *to, size_t room) {
    struct bytes_reader *r = b->reader;
    ssize_t n;

    do n = read(r->fd, to, room);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        snprintf(r->fault, sizeof r->fault, "cannot be read: %s", strerror(errno));
        n = 0;
    }
    b->stored += (uint64_t)n;
    return n;
}

/* Unpacks until `room` is full or the input at hand is used up and something came. */
static size_t unpack_some(struct bytes *b, uint8_t *to, size_t room) {
    struct bytes_reader *r = b->reader;

    r->z.next_out = to;
    r->z.avail_out = (uInt)room;
    while (r->z.avail_out == room && !r->fault[0]) {
        int rc;
        if (r->z.avail_in == 0) {
            ssize_t n = read_some(b, r->packed, PACKED_BYTES);
            if (n == 0) {
                if (r->in_member && !r->fault[0]) snprintf(r->fault, sizeof r->fault, "gzip data end before their end");
                break;
            }
            r->z.next_in = r->packed;
            r->z.avail_in = (uInt)n;
        }
        if (!r->in_member) { /* a further member, or what tar and tape padding leave */
            if (r->z.next_in[0] == 0) {
                r->z.next_in++, r->z.avail_in--;
                continue;
            }
            inflateReset(&r->z);
            r->in_member = true;
        }
        rc = inflate(&r->z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END)
            r->in_member = false;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            snprintf(r->fault, sizeof r->fault, "gzip data are damaged: %s", r->z.msg ? r->z.msg : zError(rc));
    }
    return room - r->z.avail_out;
}

bool bytes_need(struct bytes *b, size_t n) {
    struct bytes_reader *r = b->reader;
    size_t have = (size_t)(b->end - b->at);

    if (have >= n) return true;
    if (r->ended) return false;
    if (r->map) {
        if (next_window(b, n)) return true;
        if (r->ended || !leave_map(b, n)) return false;
        have = (size_t)(b->end - b->at);
    }
    if (n > r->room) {
        size_t room = n + BUFFER_BYTES;
        uint8_t *bigger = malloc(room);
        if (!bigger) {
            snprintf(r->fault, sizeof r->fault, "no memory for a record of %zu bytes", n);
            return false;
        }
        memcpy(bigger, b->at, have);
        free(r->buffer);
        r->buffer = bigger;
        r->room = room;
    } else {
        memmove(r->buffer, b->at, have);
    }
    b->at = r->buffer;
    while (have < n) {
        size_t got = r->is_gzip ? unpack_some(b, r->buffer + have, r->room - have)
                                : (size_t)read_some(b, r->buffer + have, r->room - have);
        if (got == 0) {
            r->ended = true;
            break;
        }
        have += got;
    }
    b->end = b->at + have;
    return have >= n;
}

static bool start_gzip(struct bytes *b) {
    struct bytes_reader *r = b->reader;
    size_t have = (size_t)(b->end - b->at);

    r->packed = malloc(PACKED_BYTES > have ? PACKED_BYTES : have);
    if (!r->packed || inflateInit2(&r->z, 15 + 16) != Z_OK) return false;
    memcpy(r->packed, b->at, have);
    r->z.next_in = r->packed;
    r->z.avail_in = (uInt)have;
    r->is_gzip = r->in_member = true;
    r->ended = false;
    b->at = b->end = r->buffer;
    return true;
}

bool bytes_open(struct bytes *b, const char *path, char *error, size_t error_size) {
    bool is_stdin = !path || !strcmp(path, "-");
    const char *name = is_stdin ? "stdin" : path;
    struct bytes_reader *r = calloc(1, sizeof *r);
    struct stat st;

    memset(b, 0, sizeof *b);
    b->reader = r;
    if (!r || !(r->buffer = malloc(BUFFER_BYTES))) {
        snprintf(error, error_size, "%s: no memory", name);
        goto fail;
    }
    r->room = BUFFER_BYTES;
    b->at = b->end = r->buffer;
    r->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0 || fstat(r->fd, &st) < 0) {
        snprintf(error, error_size, "%s: %s", name, strerror(errno));
        goto fail;
    }
    if (S_ISDIR(st.st_mode)) {
        snprintf(error, error_size, "%s: is a directory, expected a pcap or pcapng file", name);
        goto fail;
    }
    if (S_ISREG(st.st_mode)) {
        b->size = (uint64_t)st.st_size;
        (void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    if (bytes_need(b, 2) && b->at[0] == 0x1f && b->at[1] == 0x8b && !start_gzip(b)) {
        snprintf(error, error_size, "%s: no memory to unpack gzip", name);
        goto fail;
    }
    if (!is_stdin && !r->is_gzip && b->size >= MAPPED_FROM) map_file(b);
    return true;
fail:
    bytes_close(b);
    return false;
}

void bytes_close(struct bytes *b) {
    struct bytes_reader *r = b->reader;

    if (!r) return;
    unmap_file(r);
    if (r->packed) inflateEnd(&r->z);
    free(r->packed);
    free(r->buffer);
    if (r->fd > STDIN_FILENO) close(r->fd);
    free(r);
    memset(b, 0, sizeof *b);
}
