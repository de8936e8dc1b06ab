/* pcap and pcapng files: byte orders, resolutions, sections, gzip, damage, merging. */
#define _GNU_SOURCE
#include "tap.h"

#include "capture/capture.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

static uint8_t file[1 << 20];
static size_t size;
static bool big; /* byte order of what is put */

static void put(const void *p, size_t n) {
    memcpy(file + size, p, n);
    size += n;
}
static void put32(uint32_t v) {
    if (big) v = __builtin_bswap32(v);
    put(&v, 4);
}
static void put16(uint16_t v) {
    if (big) v = __builtin_bswap16(v);
    put(&v, 2);
}

static void pcap_header(uint32_t magic, uint32_t link) {
    put32(magic), put16(2), put16(4), put32(0), put32(0), put32(65535), put32(link);
}
static void pcap_record(uint32_t s, uint32_t fraction, const char *data, uint32_t len) {
    put32(s), put32(fraction), put32((uint32_t)strlen(data)), put32(len), put(data, strlen(data));
}

static void block(uint32_t type, const void *body, size_t len) {
    size_t padded = (len + 3) & ~(size_t)3;
    put32(type), put32((uint32_t)padded + 12);
    put(body, len);
    memset(file + size, 0, padded - len);
    size += padded - len;
    put32((uint32_t)padded + 12);
}
static void section(void) {
    size_t at = size;
    put32(0x0a0d0d0a), put32(28), put32(0x1a2b3c4d), put16(1), put16(0), put32(UINT32_MAX), put32(UINT32_MAX),
        put32(28);
    CHECK_EQ(size - at, 28);
}
static void interface(uint16_t link, int resolution) {
    uint8_t saved[64];
    size_t at = size, n;
    put16(link), put16(0), put32(0);
    if (resolution >= 0) put16(9), put16(1), put((uint8_t[]){(uint8_t)resolution, 0, 0, 0}, 4), put16(0), put16(0);
    n = size - at;
    memcpy(saved, file + at, n);
    size = at;
    block(1, saved, n);
}
static void enhanced(uint32_t id, uint64_t ticks, const char *data) {
    uint8_t saved[256];
    size_t at = size, n;
    put32(id), put32((uint32_t)(ticks >> 32)), put32((uint32_t)ticks), put32((uint32_t)strlen(data)), put32(1000);
    put(data, strlen(data));
    n = size - at;
    memcpy(saved, file + at, n);
    size = at;
    block(6, saved, n);
}

static char paths[2][64];
static int fds[2];
static const char *names[] = {paths[0], paths[1]};

static struct capture *open_file(int i) {
    char error[CAPTURE_TEXT];
    fds[i] = memfd_create("capture", 0);
    if (write(fds[i], file, size) != (ssize_t)size) abort();
    snprintf(paths[i], sizeof paths[i], "/proc/self/fd/%d", fds[i]);
    return i ? NULL : capture_open(names, 1, error);
}

static struct capture_packet p;

static void expect(struct capture *c, int64_t at_ns, const char *data, int32_t link) {
    CHECK_EQ(capture_next(c, &p), CAPTURE_PACKET);
    CHECK_EQ(p.at_ns, at_ns);
    CHECK_EQ(p.captured, strlen(data));
    CHECK(!memcmp(p.data, data, strlen(data)));
    CHECK_EQ(p.link_type, link);
}

TEST(pcap_in_both_byte_orders_and_resolutions) {
    for (int i = 0; i < 4; i++) {
        size = 0;
        big = i & 1;
        pcap_header(i & 2 ? 0xa1b23c4d : 0xa1b2c3d4, 101);
        pcap_record(1000, 7, "one", 300);
        pcap_record(1001, 999, "two!", 4);
        struct capture *c = open_file(0);
        expect(c, SEC(1000) + (i & 2 ? 7 : 7000), "one", 101);
        CHECK_EQ(p.len, 300);
        CHECK_EQ(p.number, 1);
        expect(c, SEC(1001) + (i & 2 ? 999 : 999000), "two!", 101);
        CHECK_EQ(capture_next(c, &p), CAPTURE_END);
        CHECK_EQ(capture_next(c, &p), CAPTURE_END);
        capture_close(&c);
        close(fds[0]);
    }
    big = false;
}

TEST(pcapng_sections_and_interfaces_each_with_its_own_resolution) {
    size = 0;
    section();
    interface(1, -1);
    interface(101, 9);
    interface(113, 0x80 | 10); /* 2^-10 s */
    enhanced(0, 5000000, "us");
    enhanced(1, 6000000001, "ns");
    enhanced(2, 7 * 1024 + 512, "2^-10");
    block(99, "skipped", 7);
    big = true;
    section();
    interface(276, 3);
    enhanced(0, 8001, "ms");
    big = false;
    struct capture *c = open_file(0);
    expect(c, SEC(5), "us", 1);
    expect(c, SEC(6) + 1, "ns", 101);
    expect(c, SEC(7) + MSEC(500), "2^-10", 113);
    expect(c, SEC(8) + MSEC(1), "ms", 276);
    CHECK_EQ(capture_next(c, &p), CAPTURE_END);
    capture_close(&c);
    close(fds[0]);
}

TEST(a_cut_file_is_read_up_to_its_fault_which_is_named) {
    size = 0;
    pcap_header(0xa1b2c3d4, 101);
    pcap_record(1, 0, "one", 3);
    size_t second = size;
    pcap_record(2, 0, "second", 6);
    for (size_t whole = size, cut = second + 1; cut < whole; cut++) {
        struct capture_source s;
        char want[64];
        size = cut;
        struct capture *c = open_file(0);
        expect(c, SEC(1), "one", 101);
        CHECK_EQ(capture_next(c, &p), CAPTURE_FAULT);
        CHECK_EQ(capture_next(c, &p), CAPTURE_END);
        capture_source(c, 0, &s);
        snprintf(want, sizeof want, "packet 2 at offset %zu: ", second);
        CHECK(!strncmp(s.fault, want, strlen(want)));
        CHECK_EQ(s.packets, 1);
        capture_close(&c);
        close(fds[0]);
    }
}

TEST(damaged_lengths_are_not_waited_for) {
    struct capture_source s;
    size = 0;
    pcap_header(0xa1b2c3d4, 1);
    put32(1), put32(0), put32(0x7fffffff), put32(0x7fffffff);
    struct capture *c = open_file(0);
    CHECK_EQ(capture_next(c, &p), CAPTURE_FAULT);
    capture_source(c, 0, &s);
    CHECK_STR(s.fault, "packet 1 at offset 24: a captured length of 2147483647 bytes; damaged from here on");
    capture_close(&c);
    close(fds[0]);
    size = 0;
    section();
    interface(1, -1);
    enhanced(3, 0, "x"); /* an interface that was not described */
    c = open_file(0);
    CHECK_EQ(capture_next(c, &p), CAPTURE_FAULT);
    capture_close(&c);
    close(fds[0]);
}

TEST(gzip_of_several_members) {
    uint8_t packed[4096];
    size_t n = 0, half;
    size = 0;
    pcap_header(0xa1b2c3d4, 101);
    pcap_record(1, 0, "one", 3);
    half = size;
    pcap_record(2, 0, "two", 3);
    for (int i = 0; i < 2; i++) {
        z_stream z = {0};
        deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
        z.next_in = file + (i ? half : 0), z.avail_in = (uInt)(i ? size - half : half);
        z.next_out = packed + n, z.avail_out = (uInt)(sizeof packed - n);
        CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
        n = sizeof packed - z.avail_out;
        deflateEnd(&z);
    }
    memcpy(file, packed, n);
    for (size = n; size + 1 >= n; size--) { /* whole, and cut by a byte */
        struct capture *c = open_file(0);
        expect(c, SEC(1), "one", 101);
        expect(c, SEC(2), "two", 101);
        CHECK_EQ(capture_next(c, &p), size == n ? CAPTURE_END : CAPTURE_FAULT);
        capture_close(&c);
        close(fds[0]);
    }
}

TEST(several_files_are_one_capture_in_order_of_time) {
    char error[CAPTURE_TEXT];
    for (int i = 0; i < 2; i++) {
        size = 0;
        pcap_header(0xa1b2c3d4, i ? 101 : 1);
        for (uint32_t k = 0; k < 3; k++) pcap_record(10 + 2 * k + (uint32_t)i, 0, i ? "b" : "a", 1);
        struct capture *c = open_file(i);
        capture_close(&c);
    }
    struct capture *c = capture_open((const char *[]){names[1], names[0]}, 2, error);
    for (int k = 0; k < 6; k++) {
        expect(c, SEC(10 + k), k & 1 ? "b" : "a", k & 1 ? 101 : 1);
        CHECK_EQ(p.number, k + 1);
    }
    CHECK_EQ(capture_next(c, &p), CAPTURE_END);
    capture_close(&c);
    close(fds[0]), close(fds[1]);
}

/* ---- files large enough to be read in place ---- */

#define LARGE_RECORDS 3000u

/* Sizes go up and down, so that records stand across every border of pages and windows. */
static uint32_t large_len(uint32_t n) {
    return 4 + (n % 7 ? n * 37 % 3000 : 9000 + n % 5000);
}

static void append_large(int fd, uint32_t from, uint32_t to) {
    for (uint32_t n = from; n < to; n++) {
        size = 0;
        put32(n), put32(0), put32(large_len(n)), put32(large_len(n)), put32(n);
        memset(file + size, 'x', large_len(n) - 4);
        size += large_len(n) - 4;
        if (write(fd, file, size) != (ssize_t)size) abort();
    }
}

static struct capture *open_large(void) {
    struct capture *c;

    size = 0;
    pcap_header(0xa1b2c3d4, 1);
    c = open_file(0);
    capture_close(&c);
    append_large(fds[0], 0, LARGE_RECORDS);
    return capture_open(names, 1, (char[CAPTURE_TEXT]){0});
}

/* Takes batches of 32 up to packet `to`; how many came that are not what was written. */
static uint32_t read_large(struct capture *c, uint32_t *at, uint32_t to, enum capture_step *step) {
    struct capture_packet some[32];
    uint32_t wrong = 0, value;
    size_t n;

    while (*at < to && (n = capture_next_some(c, some, 32, step))) {
        for (size_t i = 0; i < n; i++, ++*at) {
            capture_look_ahead(c);
            memcpy(&value, some[i].data, 4);
            wrong += value != *at || some[i].captured != large_len(*at) || some[i].at_ns != SEC(*at) ||
                     some[i].data[some[i].captured - 1] != (some[i].captured > 4 ? 'x' : *at >> 24);
        }
    }
    return wrong;
}

TEST(a_large_file_is_read_to_its_end_and_what_is_appended_meanwhile) {
    struct capture *c = open_large();
    struct capture_source source;
    enum capture_step step = CAPTURE_PACKET;
    uint32_t at = 0;

    CHECK_EQ(read_large(c, &at, LARGE_RECORDS / 2, &step), 0);
    append_large(fds[0], LARGE_RECORDS, LARGE_RECORDS + 500);
    CHECK_EQ(read_large(c, &at, UINT32_MAX, &step), 0);
    CHECK_EQ(at, LARGE_RECORDS + 500);
    CHECK_EQ(step, CAPTURE_END);
    capture_source(c, 0, &source);
    CHECK_EQ(source.bytes, (uint64_t)lseek(fds[0], 0, SEEK_END));
    CHECK_STR(source.fault, "");
    capture_close(&c);
    close(fds[0]);
}

TEST(a_large_file_that_is_cut_short_meanwhile_is_a_fault) {
    struct capture *c = open_large();
    struct capture_source source;
    enum capture_step step = CAPTURE_PACKET;
    uint32_t at = 0, before;

    CHECK_EQ(read_large(c, &at, LARGE_RECORDS / 2, &step), 0);
    before = at;
    if (ftruncate(fds[0], 100)) abort();
    (void)read_large(c, &at, before + 1, &step); /* what is at hand reads as zeros, once */
    CHECK(at - before <= 32);
    CHECK_EQ(capture_next(c, &p), CAPTURE_FAULT);
    CHECK_EQ(capture_next(c, &p), CAPTURE_END);
    capture_source(c, 0, &source);
    CHECK(strstr(source.fault, "was cut short") != NULL);
    capture_close(&c);
    close(fds[0]);
}

TEST(what_is_no_capture_is_refused_with_a_line) {
    char error[CAPTURE_TEXT];
    static const char *const bad[] = {"", "ab", "PK\3\4 something else", "\xd4\xc3\xb2\xa1 short"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size = 0;
        put(bad[i], strlen(bad[i]));
        CHECK(!open_file(0));
        CHECK(!capture_open(names, 1, error));
        CHECK(strstr(error, names[0]) && strstr(error, "pcap") && !strchr(error, '\n'));
        close(fds[0]);
    }
    CHECK(!capture_open((const char *[]){"/nonexistent/x.pcap"}, 1, error));
    CHECK_STR(error, "/nonexistent/x.pcap: No such file or directory");
    CHECK(!capture_open((const char *[]){"/"}, 1, error));
}

int main(void) {
    return tap_run();
}
