#include "duration.h"

#include "clock.h"

#include <stddef.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Adds `whole`.`frac` units to *sum; false on overflow. */
static bool add_units(int64_t *sum, int64_t whole, const char *frac, size_t frac_len, int64_t unit) {
    int64_t ns;
    if (__builtin_mul_overflow(whole, unit, &ns) || __builtin_add_overflow(*sum, ns, sum)) return false;
    int64_t part = unit;
    for (size_t i = 0; i < frac_len && (part /= 10); i++)
        if (__builtin_add_overflow(*sum, (frac[i] - '0') * part, sum)) return false;
    return true;
}

/* The unit at *at, which moves behind it; 0 if there is none. */
static int64_t duration_unit(const char **at) {
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},     {"us", USEC(1)}, {"\xc2\xb5s", USEC(1)}, {"ms", MSEC(1)},
                 {"s", SEC(1)}, {"m", SEC(60)},  {"h", SEC(3600)}};
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        size_t len = strlen(units[i].name);
        if (!strncmp(*at, units[i].name, len)) return *at += len, units[i].ns;
    }
    return 0;
}

bool duration_parse(const char *text, int64_t *out_ns) {
    if (!strcmp(text, "0")) return *out_ns = 0, true;
    int64_t sum = 0;
    const char *p = text;
    do {
        int64_t whole = 0;
        const char *digits = p;
        for (; is_digit(*p); p++)
            if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *p - '0', &whole))
                return false;
        size_t n_digits = (size_t)(p - digits), frac_len = 0;
        const char *frac = p;
        if (*p == '.') {
            frac = ++p;
            while (is_digit(*p)) p++;
            frac_len = (size_t)(p - frac);
        }
        int64_t unit = n_digits + frac_len ? duration_unit(&p) : 0;
        if (!unit || !add_units(&sum, whole, frac, frac_len, unit)) return false;
    } while (*p);
    *out_ns = sum;
    return true;
}
