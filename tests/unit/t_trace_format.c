/* A kernel's raw records read by its own formats, and evidence as JSON and back. */
#include "record/kernel_evidence.h"
#include "tap.h"
#include "trace/fold.h"
#include "trace/format.h"
#include "trace_samples.h"

#include <event-parse.h>
#include <netinet/tcp.h>

/* ---- the kernel's own records ---- */

static struct tep_handle *tep;
static struct trace_format *format;
static char error[TRACE_TEXT];

static void parse(const char *text, const char *system) {
    CHECK_EQ(tep_parse_event(tep, text, strlen(text), system), 0);
}

static void use_formats(const char *send) {
    tep_set_loglevel(TEP_LOG_NONE);
    tep = tep_alloc();
    tep_set_long_size(tep, 8);
    tep_set_local_bigendian(tep, TEP_LITTLE_ENDIAN);
    tep_set_file_bigendian(tep, TEP_LITTLE_ENDIAN);
    if (send) parse(send, "tcp");
    parse(FORMAT_RECEIVE, "tcp");
    parse(FORMAT_STATE, "sock");
    format = trace_format_new(tep, error);
}

static void drop_formats(void) {
    trace_format_free(&format);
    tep_free(tep);
}

static size_t unhex(const char *hex, unsigned char out[128]) {
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n && i < 128; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (unsigned char)byte;
    }
    return n;
}

static bool read_sample(size_t i, struct trace_event *ev) {
    unsigned char data[128];
    size_t size = unhex(samples[i].hex, data);

    return trace_format_read(format, data, size, samples[i].at_ns, ev);
}

#define N_SAMPLES (sizeof samples / sizeof *samples)

TEST(real_records_of_linux_6_18) {
    struct trace_event ev;
    char text[ENDPOINT_TEXT_MAX];

    use_formats(FORMAT_SEND);
    CHECK(format != NULL);
    CHECK(trace_format_has_reason(format));
    CHECK(trace_format_all_resets(format));
    CHECK(read_sample(1, &ev));
    CHECK_EQ(ev.kind, TRACE_SET_STATE);
    CHECK_EQ(ev.old_state, TCP_CLOSE);
    CHECK_EQ(ev.new_state, TCP_SYN_SENT);
    CHECK_EQ(ev.flow.local.port, 0);
    CHECK_STR(endpoint_text(&ev.flow.remote, text), "127.0.0.1:47217");
    CHECK_EQ(ev.pid, 0x4678);
    CHECK_EQ(ev.sk, 0xffff8882af349280);
    CHECK(read_sample(3, &ev));
    CHECK_EQ(ev.pid, 0); /* softirq */
    CHECK(read_sample(9, &ev));
    CHECK_EQ(ev.kind, TRACE_SEND_RESET);
    CHECK_STR(ev.reason, "TCP_ABORT_ON_CLOSE");
    CHECK_EQ(ev.new_state, TCP_CLOSE);
    CHECK_EQ(ev.pid, 0x4678);
    CHECK_STR(endpoint_text(&ev.flow.local, text), "127.0.0.1:34534");
    CHECK(read_sample(20, &ev));
    CHECK_STR(ev.reason, "TCP_TIMEWAIT_SOCKET");
    CHECK_EQ(ev.new_state, TCP_TIME_WAIT);
    CHECK_EQ(ev.pid, 0);
    CHECK_STR(endpoint_text(&ev.flow.local, text), "[::1]:47420");
    drop_formats();
}

static const char *cause(const struct trace_record *r) {
    int first = kernel_first_rst(&r->evidence);

    return first < 0 ? NULL : rst_proof_name(rst_reason_proves(r->evidence.end[first].reason));
}

TEST(real_records_folded) {
    struct fold_limits limits = FOLD_LIMITS_DEFAULT;
    struct fold *fold = fold_new(&limits);
    struct trace_record r;
    struct trace_reset rst;
    struct trace_event ev;

    use_formats(FORMAT_SEND);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        CHECK(read_sample(i, &ev));
        fold_event(fold, &ev);
        CHECK(!fold_check(fold));
    }
    fold_finish(fold, samples[N_SAMPLES - 1].at_ns);
    CHECK(fold_next_record(fold, &r));
    CHECK(r.life.rst_sent);
    CHECK_EQ(r.life.close_how, HOW_RST);
    CHECK_STR(cause(&r), "unread_at_close");
    CHECK(fold_next_record(fold, &r));
    CHECK(r.life.rst_sent);
    CHECK_EQ(r.life.close_how, HOW_FIN);
    CHECK_EQ(r.life.close_by, BY_LOCAL);
    CHECK_STR(cause(&r), "data_after_close");
    CHECK(!fold_next_record(fold, &r));
    CHECK(fold_next_reset(fold, &rst));
    CHECK_EQ(rst.state, TCP_ESTABLISHED);
    CHECK(fold_next_reset(fold, &rst));
    CHECK(!fold_next_reset(fold, &rst));
    fold_free(&fold);
    drop_formats();
}

/* The number of a reason is the kernel's to choose, and its name too. */
TEST(reasons_are_named_by_the_format) {
    char *other = strdup(FORMAT_SEND), *at = strstr(other, "{ 11, \"TCP_ABORT_ON_CLOSE\" }");
    struct trace_event ev;

    CHECK(at != NULL);
    memcpy(at, "{ 11, \"RENAMED_BY_THE_KERNEL\"}", strlen("{ 11, \"TCP_ABORT_ON_CLOSE\" }"));
    at = strstr(other, "{ 11, \"RENAMED");
    memcpy(at, "{ 11, \"SOMETHING_ELSE\"     }", strlen("{ 11, \"TCP_ABORT_ON_CLOSE\" }"));
    use_formats(other);
    CHECK(format != NULL);
    CHECK(read_sample(9, &ev));
    CHECK_STR(ev.reason, "SOMETHING_ELSE");
    CHECK(rst_reason_text(ev.reason) == NULL);
    CHECK_EQ(rst_reason_proves(ev.reason), RST_BY_NONE);
    drop_formats();
    free(other);
}

/* Linux 5.16 to 6.9: no reason, and ports apart from addresses. */
TEST(an_older_kernel_has_no_reason) {
    unsigned char data[74] = {0x3c, 0x06, 0, 0, 0x39, 0x30, 0, 0};
    struct trace_event ev;
    char text[ENDPOINT_TEXT_MAX];

    use_formats(FORMAT_SEND_OLD);
    CHECK(format != NULL);
    CHECK(!trace_format_has_reason(format));
    CHECK(!trace_format_all_resets(format));
    data[16] = 0x42;
    data[24] = TCP_CLOSE;
    data[28] = 0x40, data[29] = 0x1f; /* 8000, in the host's order */
    data[30] = 0x10, data[31] = 0x27;
    data[42 + 10] = data[42 + 11] = 0xff, data[42 + 12] = 127, data[42 + 15] = 1;
    data[58] = 0xfe, data[59] = 0x80, data[58 + 15] = 9;
    CHECK(trace_format_read(format, data, sizeof data, 5, &ev));
    CHECK_EQ(ev.kind, TRACE_SEND_RESET);
    CHECK(ev.reason == NULL);
    CHECK_EQ(ev.pid, 12345);
    CHECK_EQ(ev.sk, 0x42);
    CHECK_EQ(ev.new_state, TCP_CLOSE);
    CHECK_STR(endpoint_text(&ev.flow.local, text), "127.0.0.1:8000");
    CHECK_STR(endpoint_text(&ev.flow.remote, text), "[fe80::9]:10000");
    drop_formats();
}

TEST(a_kernel_without_the_tracepoint_is_told_so) {
    use_formats(NULL);
    CHECK(format == NULL);
    CHECK_STR(error, "tracepoint tcp:tcp_send_reset is missing");
    drop_formats();
}

TEST(a_record_cut_anywhere_is_refused_and_never_read_past_its_end) {
    struct trace_event ev;

    use_formats(FORMAT_SEND);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        unsigned char data[128];
        size_t size = unhex(samples[i].hex, data);

        for (size_t n = 0; n <= size; n++) {
            unsigned char *exact = malloc(n ? n : 1);

            memcpy(exact, data, n);
            trace_format_read(format, exact, n, 1, &ev);
            if (n < 40) CHECK(!trace_format_read(format, exact, n, 1, &ev));
            free(exact);
        }
    }
    drop_formats();
}

/* ---- as JSON, and back ---- */

TEST(evidence_is_read_as_it_was_written) {
    struct kernel_evidence e = {.end = {{.seen = true,
                                         .state = TCP_CLOSE,
                                         .pid = 77,
                                         .comm = "a \"name\"",
                                         .fin_ns = SEC(5),
                                         .fin_event = 9,
                                         .rst_ns = SEC(6),
                                         .rst_event = 12,
                                         .reason = "TCP_ABORT_ON_DATA",
                                         .rsts = 2,
                                         .closed_ns = SEC(7),
                                         .closed_event = 14},
                                        {.seen = false}},
                                .first_ns = SEC(1),
                                .last_ns = SEC(8),
                                .first_event = 3,
                                .last_event = 20,
                                .incomplete = KERNEL_BEGAN_BEFORE | KERNEL_EVENTS_LOST,
                                .roles = KERNEL_ROLES_ASSUMED},
                           back;
    struct kernel_evidence_out how = {&e, SEC(1000000)};
    struct lifecycle life = {0};
    struct json_out o = {0};
    char why[KERNEL_EVIDENCE_TEXT], *text;
    size_t len;

    kernel_evidence_json(&o, &life, &how);
    text = json_out_take(&o, &len);
    CHECK(strstr(text, "\"rst_cause\":\"data_after_close\",\"rst_reason\":\"TCP_ABORT_ON_DATA\"") != NULL);
    CHECK(strstr(text, "\"incomplete\":[\"began_before_trace\",\"events_lost\"]") != NULL);
    CHECK(kernel_evidence_read(text, &back, why));
    CHECK_EQ(back.end[0].fin_ns, SEC(1000005));
    CHECK_EQ(back.end[0].rst_ns, SEC(1000006));
    CHECK_EQ(back.end[0].closed_ns, SEC(1000007));
    CHECK_EQ(back.end[0].fin_event, 9);
    CHECK_EQ(back.end[0].rst_event, 12);
    CHECK_EQ(back.end[0].closed_event, 14);
    CHECK_EQ(back.end[0].pid, 77);
    CHECK(back.end[0].seen);
    CHECK(!back.end[1].seen);
    CHECK_EQ(back.end[1].fin_event, 0);
    CHECK_EQ(back.incomplete, e.incomplete);
    CHECK_EQ(back.roles, KERNEL_ROLES_ASSUMED);
    CHECK_EQ(back.first_ns, SEC(1000001));
    free(text);
}

TEST(evidence_of_another_kind_is_refused_by_name) {
    struct kernel_evidence e;
    char why[KERNEL_EVIDENCE_TEXT];

    CHECK(!kernel_evidence_read(NULL, &e, why));
    CHECK(!kernel_evidence_read("{\"history\":\"ShADadFf\"}", &e, why));
    CHECK_STR(why, "evidence.local: expected an object");
    CHECK(!kernel_evidence_read("{\"local\":{\"seen\":true,\"fin_event\":0},\"remote\":{\"seen\":true}}", &e, why));
    CHECK_STR(why, "evidence.local.fin_event: expected the number of an event");
    CHECK(!kernel_evidence_read("{\"local\":{\"seen\":true},\"remote\":{\"seen\":true,\"rst_event\":4}}", &e, why));
    CHECK_STR(why, "evidence.remote.rst_at: expected a time where rst_event has a number");
}

int main(void) {
    return tap_run();
}
