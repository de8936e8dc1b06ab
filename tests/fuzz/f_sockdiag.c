/* The kernel's answers about sockets. The input: four bytes of sequence number, then netlink messages. */
#include "sockdiag/sockdiag.h"
#include "sockdiag/verdict.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

static void check_row(const struct sock_row *row) {
    const struct sock_who who = {1, "fuzz"};
    struct sock_memory m = {0};
    struct sock_verdict v;

    MUST(row->state > 0 && row->state < SOCK_STATES);
    MUST(row->flow.local.family == ADDR_V4 || row->flow.local.family == ADDR_V6);
    MUST(row->flow.remote.family == ADDR_V4 || row->flow.remote.family == ADDR_V6);
    for (int look = 0; look < 2; look++) {
        sock_judge(row, look ? &m : NULL, SEC(1), &who, &who, &v);
        MUST(v.trouble < N_TROUBLES && v.waits < N_WAITS && v.for_ns >= -1);
        MUST(v.words[0] && memchr(v.words, 0, sizeof v.words));
        sock_remember(&m, row, SEC(1) + look);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct sockdiag_reader r = {.at = data + 4, .left = len - 4};
    struct sock_row row;
    enum sockdiag_part part;

    if (len < 4) return 0;
    memcpy(&r.seq, data, 4);
    do {
        const uint8_t *before = r.at;
        part = sockdiag_next(&r, &row);
        MUST(r.at >= before && r.at + r.left == data + len);
        MUST(part == SOCKDIAG_MORE || part == SOCKDIAG_BAD || r.at > before);
        MUST(part != SOCKDIAG_FAIL || r.error > 0);
        if (part == SOCKDIAG_ROW) check_row(&row);
    } while (part == SOCKDIAG_ROW);
    return 0;
}
