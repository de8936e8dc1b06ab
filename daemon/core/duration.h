/* Durations as people write them, in configuration files and on command lines. */
#ifndef CONNLEAK_DURATION_H
#define CONNLEAK_DURATION_H

#include <stdbool.h>
#include <stdint.h>

/* Go's ParseDuration without a sign: "1h30m", "1.5s", "250ms", "10us", "5ns", "0".
 * False, and *out_ns is left alone, if the text is none or does not fit. */
bool duration_parse(const char *text, int64_t *out_ns);

#endif
