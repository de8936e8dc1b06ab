/* A whole workload from memory, as the fuzz targets read it. */
#ifndef CONNLEAK_TESTS_WORKLOAD_LINES_H
#define CONNLEAK_TESTS_WORKLOAD_LINES_H

#include "record/workload_json.h"

#include <string.h>

/* NULL where a line was refused, which the reader can tell the reason of. The reader stays the caller's. */
static inline struct workload *read_workload_lines(struct workload_reader *r, const char *text, size_t len) {
    while (len > 0) {
        const char *newline = memchr(text, '\n', len);
        size_t line = newline ? (size_t)(newline - text) + 1 : len;
        if (!workload_read_line(r, text, line)) return NULL;
        text += line;
        len -= line;
    }
    return workload_read_end(r);
}

#endif
