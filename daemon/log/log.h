/* The operator's log: one line an event, on stderr, the name of the thing first.
 *
 *     log_warn("u-42", "origin %s reset the connection", host);
 *
 *     2026-01-02T03:04:05.678Z warn u-42: origin a:80 reset the connection
 *     {"time":"2026-01-02T03:04:05.678Z","level":"warn","id":"u-42","message":"..."}
 *     <4>u-42: origin a:80 reset the connection               under systemd, which has the time
 *
 * Writing never waits: a line that the reader of stderr has no room for is
 * dropped and counted, and the count is the next thing said. Lines are at most
 * LOG_LINE_MAX bytes, longer ones are cut; control characters are escaped, so
 * that what a peer sent cannot forge a line or reach a terminal. */
#ifndef CONNLEAK_LOG_H
#define CONNLEAK_LOG_H

#include "core/clock.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* In the order of the words in core/tbl/params.h. */
enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };
enum log_format { FORMAT_TEXT, FORMAT_JSON };

#define LOG_LINE_MAX 2048 /* below PIPE_BUF, so that lines of several processes do not mix */

/* Where to: takes a descriptor, which stays the caller's and is not made
 * non-blocking (others may share it). Until this is called, and after -1, it is 2.
 * Reads JOURNAL_STREAM to see whether it is the journal. */
void log_open(int fd);
void log_configure(enum log_level level, enum log_format format);

/* Would a line of this level be written? For those that cost something to make. */
bool log_wants(enum log_level level);

/* `id` names the thing: "u-42", "d-7", "proxy", "conf". */
void log_error(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_debug(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_write(enum log_level level, const char *id, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* For what may happen a thousand times a second: says it once a minute, with the
 * number of times that it was not said. One static struct, all zero, a message. */
struct log_limit {
    mono_ns since;       /* when it was last said */
    uint64_t suppressed; /* times since then */
    bool said;
};
#define LOG_LIMIT_EVERY SEC(60)
void log_limited(struct log_limit *lim, mono_ns now, enum log_level level, const char *id, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Lines dropped so far because stderr was not being read. */
uint64_t log_lost(void);

/* Says how many lines were lost since that was last said, if any and if there is
 * room now; then forgets what log_open was told. At the end of a program. */
void log_close(void);

#endif
