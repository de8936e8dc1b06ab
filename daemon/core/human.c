#include "human.h"

#include <string.h>

char *human_count(uint64_t n, char *buf) {
    char reversed[HUMAN_MAX];
    size_t len = 0, digits = 0;
    do {
        if (digits && digits % 3 == 0) reversed[len++] = ',';
        reversed[len++] = (char)('0' + n % 10);
        digits++;
    } while (n /= 10);
    for (size_t i = 0; i < len; i++) buf[i] = reversed[len - 1 - i];
    buf[len] = '\0';
    return buf;
}

static void append(char *buf, const char *text) {
    size_t len = strlen(buf);
    memcpy(buf + len, text, strlen(text) + 1);
}

/* "6 h 12 min"; without the second where there are none of it. */
static char *two(uint64_t big, const char *big_unit, uint64_t small, const char *small_unit, char *buf) {
    human_count(big, buf);
    append(buf, big_unit);
    if (!small) return buf;
    append(buf, " ");
    human_count(small, buf + strlen(buf));
    append(buf, small_unit);
    return buf;
}

char *human_ms(uint64_t ms, char *buf) {
    if (ms < 1000) return two(ms, " ms", 0, "", buf);
    uint64_t tenths = ms / 100 + (ms % 100 >= 50), s = ms / 1000 + (ms % 1000 >= 500);
    if (tenths < 100) {
        human_count(tenths / 10, buf);
        if (tenths % 10) append(buf, (char[]){'.', (char)('0' + tenths % 10), '\0'});
        append(buf, " s");
        return buf;
    }
    if (s < 60) return two(s, " s", 0, "", buf);
    if (s < 3600) return two(s / 60, " min", s % 60, " s", buf);
    uint64_t min = s / 60 + (s % 60 >= 30);
    if (min < 24 * 60) return two(min / 60, " h", min % 60, " min", buf);
    uint64_t h = min / 60 + (min % 60 >= 30);
    return two(h / 24, " d", h % 24, " h", buf);
}
