/* pcap and pcapng files, plain or gzip, from a file in memory. */
#define _GNU_SOURCE
#include "capture/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    char path[64], error[CAPTURE_TEXT];
    const char *paths[] = {path};
    int fd = memfd_create("capture", MFD_CLOEXEC);
    struct capture *c;
    struct capture_packet p;
    uint64_t sum = 0, n = 0;

    if (fd < 0 || write(fd, data, len) != (ssize_t)len) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    c = capture_open(paths, 1, error);
    if (c) {
        enum capture_step step;
        while ((step = capture_next(c, &p)) == CAPTURE_PACKET) {
            if (p.number != ++n || p.len < p.captured) abort();
            for (uint32_t i = 0; i < p.captured; i++) sum += p.data[i];
        }
        if (step == CAPTURE_FAULT) {
            struct capture_source s;
            capture_source(c, 0, &s);
            if (!s.fault[0] || capture_next(c, &p) != CAPTURE_END) abort();
        }
        capture_close(&c);
    }
    close(fd);
    return sum == 1; /* so that the bytes are read */
}
