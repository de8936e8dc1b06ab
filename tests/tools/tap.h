/* Test Anything Protocol in a page: a test is a function, a check is a line.
 *
 *     TEST(T1_reads_to_eof_and_reuses) { CHECK_EQ(n_dials, 1); }
 *     int main(void) { return tap_run(); }
 *
 * One "ok" or "not ok" per TEST; failed checks are printed as diagnostics. */
#ifndef CONNLEAK_TAP_H
#define CONNLEAK_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tap_test {
    const char *name;
    void (*fn)(void);
    struct tap_test *next;
};
static struct tap_test *tap_first, **tap_last = &tap_first;
static unsigned tap_bad;         /* failed checks of the test that runs */
static const char *tap_skip_why; /* set by SKIP */

#define TEST(name)                                                                                                     \
    static void test_##name(void);                                                                                     \
    static struct tap_test tap_##name = {#name, test_##name, NULL};                                                    \
    __attribute__((constructor)) static void tap_add_##name(void) {                                                    \
        *tap_last = &tap_##name;                                                                                       \
        tap_last = &tap_##name.next;                                                                                   \
    }                                                                                                                  \
    static void test_##name(void)

__attribute__((format(printf, 3, 4), unused)) static void tap_fail(const char *file, int line, const char *fmt, ...) {
    va_list ap;
    if (tap_bad++ > 20) return; /* enough to see */
    printf("# %s:%d: ", file, line);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) tap_fail(__FILE__, __LINE__, "%s", #cond);                                                        \
    } while (0)
#define CHECK_EQ(got, want)                                                                                            \
    do {                                                                                                               \
        intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                                                     \
        if (got_ != want_) tap_fail(__FILE__, __LINE__, "%s is %jd, not %jd", #got, got_, want_);                      \
    } while (0)
#define CHECK_STR(got, want)                                                                                           \
    do {                                                                                                               \
        const char *got_ = (got), *want_ = (want);                                                                     \
        if (!got_ || strcmp(got_, want_))                                                                              \
            tap_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, got_ ? got_ : "(null)", want_);             \
    } while (0)
#define SKIP(why)                                                                                                      \
    do {                                                                                                               \
        tap_skip_why = (why);                                                                                          \
        return;                                                                                                        \
    } while (0)

__attribute__((unused)) static int tap_run(void) {
    unsigned n = 0, failed = 0;
    for (struct tap_test *t = tap_first; t; t = t->next) {
        tap_bad = 0;
        tap_skip_why = NULL;
        t->fn();
        n++;
        failed += tap_bad != 0;
        printf("%sok %u - %s%s%s\n", tap_bad ? "not " : "", n, t->name, tap_skip_why && !tap_bad ? " # SKIP " : "",
               tap_skip_why && !tap_bad ? tap_skip_why : "");
        fflush(stdout);
    }
    printf("1..%u\n", n);
    return failed ? 1 : 0;
}

#endif
