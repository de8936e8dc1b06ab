/* Raw records of the kernel's trace buffer, through its formats and the fold, to JSON and back. The
 * input: for each record one byte of its size, one of milliseconds since the one before, its bytes. */
#include "../unit/trace_samples.h"
#include "record/conn_read.h"
#include "record/kernel_evidence.h"
#include "trace/fold.h"
#include "trace/format.h"

#include <event-parse.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

static struct trace_format *known_format(void) {
    static struct trace_format *format;
    char error[TRACE_TEXT];
    struct tep_handle *tep;

    if (format) return format;
    tep_set_loglevel(TEP_LOG_NONE);
    tep = tep_alloc();
    tep_set_long_size(tep, 8);
    tep_set_local_bigendian(tep, TEP_LITTLE_ENDIAN);
    tep_set_file_bigendian(tep, TEP_LITTLE_ENDIAN);
    MUST(!tep_parse_event(tep, FORMAT_SEND, strlen(FORMAT_SEND), "tcp"));
    MUST(!tep_parse_event(tep, FORMAT_RECEIVE, strlen(FORMAT_RECEIVE), "tcp"));
    MUST(!tep_parse_event(tep, FORMAT_STATE, strlen(FORMAT_STATE), "sock"));
    format = trace_format_new(tep, error);
    MUST(format);
    return format;
}

/* What is written can be read, and says the same. */
static void check_record(struct conn_reader *reader, struct trace_record *r, int64_t now) {
    struct kernel_evidence_out evidence = {&r->evidence, SEC(1700000000)};
    struct conn_json how = {
        .to_wall_ns = SEC(1700000000), .now_ns = now, .evidence = kernel_evidence_json, .arg = &evidence};
    struct kernel_evidence back;
    struct conn_record read;
    struct json_out o = {0};
    char why[KERNEL_EVIDENCE_TEXT];

    conn_json(&o, &r->life, &how);
    MUST(conn_read(reader, o.data, o.len, &read) == CONN_READ_OK);
    MUST(flow_equal(&read.life.flow, &r->life.flow));
    MUST(read.life.rst_sent == r->life.rst_sent || !(r->life.known & KNOW_RST_SENT));
    MUST(kernel_evidence_read(read.evidence, &back, why));
    MUST(back.incomplete == r->evidence.incomplete && back.roles == r->evidence.roles);
    MUST(back.end[0].rst_event == r->evidence.end[0].rst_event &&
         back.end[1].fin_event == r->evidence.end[1].fin_event);
    conn_record_clear(&read);
    json_out_free(&o);
}

static void drain(struct fold *fold, struct conn_reader *reader, int64_t now) {
    struct trace_record record;
    struct trace_reset reset;

    while (fold_next_reset(fold, &reset)) MUST(reset.conn <= fold_counts(fold).events);
    while (fold_next_record(fold, &record)) check_record(reader, &record, now);
    MUST(!fold_check(fold));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct fold_limits limits = FOLD_LIMITS_DEFAULT;
    struct trace_format *format = known_format();
    struct conn_reader *reader = conn_reader_new();
    struct fold *fold;
    int64_t now = SEC(1);

    limits.connections = 4;
    fold = fold_new(&limits);
    while (len >= 2) {
        size_t size = data[0] < len - 2 ? data[0] : len - 2;
        unsigned char *exact = malloc(size + !size);
        struct trace_event ev;

        MUST(exact);
        now += MSEC(data[1]) + 1;
        memcpy(exact, data + 2, size);
        if (trace_format_read(format, exact, size, now, &ev)) fold_event(fold, &ev);
        free(exact);
        drain(fold, reader, now);
        data += 2 + size;
        len -= 2 + size;
    }
    fold_finish(fold, now);
    drain(fold, reader, now);
    fold_free(&fold);
    conn_reader_free(&reader);
    return 0;
}
