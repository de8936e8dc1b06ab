/* Time as the core sees it: numbers that somebody else read off a clock.
 *
 * No function in daemon/core reads a clock. The driver reads one per callback
 * and hands it down as `now`, so that the same code runs under a live daemon, a
 * simulator and a test. */
#ifndef CONNLEAK_CLOCK_H
#define CONNLEAK_CLOCK_H

#include <stdint.h>

/* Nanoseconds on a clock that never goes back; the zero is arbitrary. */
typedef int64_t mono_ns;

/* Nanoseconds since 1970-01-01T00:00:00Z. */
typedef int64_t wall_ns;

#define USEC(n) (1000 * (int64_t)(n))
#define MSEC(n) (1000000 * (int64_t)(n))
#define SEC(n)  (1000000000 * (int64_t)(n))

/* A deadline that does not come. */
#define NEVER INT64_MAX

#endif
