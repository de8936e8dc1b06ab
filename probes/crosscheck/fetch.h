/* One GET over plain HTTP, line by line: enough for a daemon's admin endpoint. */
#ifndef CONNLEAK_FETCH_H
#define CONNLEAK_FETCH_H

#include <stdbool.h>
#include <stddef.h>

#define FETCH_TEXT 256

/* A line of the body without its newline, borrowed; false ends the fetch. The
 * last one may come without a newline of its own. */
typedef bool fetch_line_fn(void *arg, const char *line, size_t len);

/* GETs path from host:port and hands over the lines of a 200's body as they
 * come. Waits at most 5 s for the connection and 30 s for each further byte. A
 * line may have 1 MiB. False, with the reason in `error`, if the answer was not
 * 200, was not complete, or fn said so (then `error` is untouched). */
bool fetch_lines(const char *host_port, const char *path, fetch_line_fn *fn, void *arg, char error[FETCH_TEXT]);

#endif
