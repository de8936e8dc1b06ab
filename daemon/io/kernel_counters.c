#include "kernel_counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file is pairs of lines, "TcpExt: name name ..." and "TcpExt: value value ...".
 * Linux 6 writes some 3 KiB; a kernel that writes more than this is not asked. */
#define NETSTAT_MAX 65536

struct kernel_counters {
    int fd; /* -1: unreadable */
    struct kernel_counts zero;
    char *text; /* NETSTAT_MAX + 1 bytes */
};

static bool is_prefix_line(const char *line) {
    return strncmp(line, "TcpExt:", 7) == 0;
}

static const char *next_line(const char *s) {
    const char *end = strchr(s, '\n');
    return end ? end + 1 : s + strlen(s);
}

/* The next word of a line, and where it ends; false at the end of the line. */
static bool next_word(const char **s, const char **word, size_t *len) {
    const char *p = *s;
    while (*p == ' ') p++;
    if (*p == '\n' || *p == '\0') return false;
    *word = p;
    *len = strcspn(p, " \n");
    *s = p + *len;
    return true;
}

static uint64_t number(const char *word, size_t len) {
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9') return KERNEL_COUNTER_UNKNOWN;
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(word[i] - '0'), &n))
            return KERNEL_COUNTER_UNKNOWN;
    }
    return n;
}

static bool is_word(const char *word, size_t len, const char *name) {
    return len == strlen(name) && memcmp(word, name, len) == 0;
}

void kernel_counts_parse(const char *text, struct kernel_counts *out) {
    *out = (struct kernel_counts){KERNEL_COUNTER_UNKNOWN, KERNEL_COUNTER_UNKNOWN};
    const char *names = text;
    while (*names && !is_prefix_line(names)) names = next_line(names);
    const char *values = next_line(names);
    if (!*names || !is_prefix_line(values)) return;

    const char *name, *value;
    size_t name_len, value_len;
    while (next_word(&names, &name, &name_len) && next_word(&values, &value, &value_len)) {
        if (is_word(name, name_len, "TCPAbortOnClose")) out->abort_on_close = number(value, value_len);
        if (is_word(name, name_len, "TCPAbortOnData")) out->abort_on_data = number(value, value_len);
    }
}

static uint64_t since(uint64_t earlier, uint64_t later) {
    if (earlier == KERNEL_COUNTER_UNKNOWN || later == KERNEL_COUNTER_UNKNOWN || later < earlier)
        return KERNEL_COUNTER_UNKNOWN;
    return later - earlier;
}

struct kernel_counts kernel_counts_since(const struct kernel_counts *earlier, const struct kernel_counts *later) {
    return (struct kernel_counts){since(earlier->abort_on_close, later->abort_on_close),
                                  since(earlier->abort_on_data, later->abort_on_data)};
}

/* Reads the whole file from its start: offset 0 makes the kernel count anew. */
static struct kernel_counts counts_now(struct kernel_counters *k) {
    struct kernel_counts none = {KERNEL_COUNTER_UNKNOWN, KERNEL_COUNTER_UNKNOWN}, now;
    if (k->fd < 0) return none;
    size_t len = 0;
    for (;;) {
        ssize_t n = pread(k->fd, k->text + len, NETSTAT_MAX - len, (off_t)len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return none;
        if (n == 0) break;
        len += (size_t)n;
    }
    k->text[len] = '\0';
    kernel_counts_parse(k->text, &now);
    return now;
}

struct kernel_counters *kernel_counters_new(void) {
    struct kernel_counters *k = calloc(1, sizeof *k);
    if (!k) abort();
    k->text = malloc(NETSTAT_MAX + 1);
    if (!k->text) abort();
    /* self, and not thread-self or a pid: it works in a /proc mounted with subset=pid too. */
    k->fd = open("/proc/self/net/netstat", O_RDONLY | O_CLOEXEC);
    k->zero = counts_now(k);
    return k;
}

struct kernel_counts kernel_counters_read(struct kernel_counters *k) {
    struct kernel_counts now = counts_now(k);
    return kernel_counts_since(&k->zero, &now);
}

void kernel_counters_free(struct kernel_counters **kp) {
    struct kernel_counters *k = *kp;
    *kp = NULL;
    if (!k) return;
    if (k->fd >= 0) close(k->fd);
    free(k->text);
    free(k);
}
