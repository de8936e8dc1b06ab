/* Numbers as people read them, in sentences and tables. */
#ifndef CONNLEAK_HUMAN_H
#define CONNLEAK_HUMAN_H

#include <stddef.h>
#include <stdint.h>

#define HUMAN_MAX 28 /* longest text, with its NUL: 18,446,744,073,709,551,615 */

/* n with a comma between thousands: "24,164". Into buf of HUMAN_MAX bytes; returns buf. */
char *human_count(uint64_t n, char *buf);

/* So many milliseconds, in the two largest units that matter: "850 ms", "1.5 s", "34 s", "2 min 5 s", "6 h 12 min",
 * "3 d 4 h". Into buf of HUMAN_MAX bytes; returns buf. */
char *human_ms(uint64_t ms, char *buf);

#endif
