#include "utf8.h"

#include <string.h>

size_t utf8_length(const unsigned char *s, size_t len) {
    unsigned char lead = s[0];
    size_t n = lead < 0x80                    ? 1
               : lead >= 0xc2 && lead <= 0xdf ? 2
               : (lead & 0xf0) == 0xe0        ? 3
               : lead >= 0xf0 && lead <= 0xf4 ? 4
                                              : 0;
    if (n == 0 || n > len) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (lead == 0xe0 && s[1] < 0xa0) || (lead == 0xf0 && s[1] < 0x90);
    bool surrogate = lead == 0xed && s[1] > 0x9f;
    bool beyond = lead == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

bool utf8_is_control(const unsigned char *s, size_t n) {
    return n == 1 ? s[0] < 0x20 || s[0] == 0x7f : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

size_t utf8_plain(const char *text, size_t len, char *to) {
    size_t at = 0;

    for (size_t i = 0, n; i < len; i += n ? n : 1) {
        const unsigned char *s = (const unsigned char *)text + i;
        n = utf8_length(s, len - i);
        if (n == 0 || utf8_is_control(s, n)) {
            to[at++] = '?';
            continue;
        }
        memmove(to + at, s, n);
        at += n;
    }
    return at;
}
