/* Bytes of peers as text: which of them are UTF-8 (RFC 3629), and which a terminal would obey and not show. */
#ifndef CONNLEAK_UTF8_H
#define CONNLEAK_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes the character at s has, of the len > 0 that are there; 0: it is none (cut, overlong, a surrogate,
 * beyond U+10FFFF). */
size_t utf8_length(const unsigned char *s, size_t len);

/* A control character, C0, DEL or C1 (U+0080 to U+009F, which some terminals obey as they do ESC); s has n bytes, which
 * utf8_length counted. */
bool utf8_is_control(const unsigned char *s, size_t n);

/* Copies text with a '?' for each control character and each byte that is not UTF-8: at most len bytes. Returns how
 * many; `to` may be `text`. No NUL is put behind. */
size_t utf8_plain(const char *text, size_t len, char *to);

#endif
