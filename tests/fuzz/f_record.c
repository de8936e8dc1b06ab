/* connleak.conn/1 records, a line each. What must hold: a line is read or refused
 * with a message that names it, and a record that is read, written and read again
 * is the same text. */
#include "record/conn_json.h"
#include "record/conn_read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds) {
    if (!holds) abort();
}

static struct json_out written(struct conn_record *rec) {
    struct json_out o = {0};
    conn_json(
        &o, &rec->life,
        &(struct conn_json){.now_ns = rec->seen_ns, .events = true, .evidence = conn_record_evidence, .arg = rec});
    return o;
}

static void check_record(struct conn_record *rec) {
    struct conn_reader *r = conn_reader_new();
    struct conn_record again;
    struct json_out first = written(rec);
    must(!memchr(first.data, '\n', first.len));
    must(conn_read(r, first.data, first.len, &again) == CONN_READ_OK);
    struct json_out second = written(&again);
    must(first.len == second.len && !memcmp(first.data, second.data, first.len));
    json_out_free(&first);
    json_out_free(&second);
    conn_record_clear(&again);
    conn_reader_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct conn_reader *r = conn_reader_new();
    while (len > 0) {
        const uint8_t *newline = memchr(data, '\n', len);
        size_t line = newline ? (size_t)(newline - data) + 1 : len;
        struct conn_record rec;
        enum conn_read result = conn_read(r, (const char *)data, line, &rec);
        if (result == CONN_READ_ERROR) must(!strncmp(conn_reader_error(r), "line ", 5));
        if (result == CONN_READ_OK) {
            check_record(&rec);
            conn_record_clear(&rec);
        }
        data += line;
        len -= line;
    }
    conn_reader_free(&r);
    return 0;
}
