/* A configuration file, and what access rules make of destinations. The input: a host
 * up to the first newline, then the file. What must hold: an error is one line of
 * printable text; what is accepted reads back, through --set, as itself; and no
 * answer about a destination depends on the case of its letters. */
#define _GNU_SOURCE /* memfd_create */
#include "access.h"
#include "conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds) {
    if (!holds) abort();
}

static void must_be_a_line(const char *err) {
    must(*err != 0);
    for (; *err; err++) must((unsigned char)*err >= ' ' && *err != 0x7f);
}

static void check_reads_back(const struct conf *c) {
    char err[CONF_ERROR_MAX];
    struct conf *again = conf_default();
    for (size_t i = 0; i < n_conf_params; i++) {
        const struct param *p = &conf_params[i];
        char *text = conf_value_text(c, p);
        size_t size = strlen(p->section) + strlen(p->key) + strlen(text) + 3;
        char *set = malloc(size);
        must(set);
        snprintf(set, size, "%s.%s=%s", p->section, p->key, text);
        must(conf_set(again, set, err));
        char *text2 = conf_value_text(again, p);
        must(!strcmp(text, text2));
        free(text);
        free(text2);
        free(set);
    }
    must(conf_check(again, err));
    conf_reload(again, &(struct conf *){conf_default()}, NULL, NULL);
    conf_free(&again);
}

static void check_destination(const struct conf *c, const char *host) {
    char upper[256];
    size_t n = 0;
    for (; host[n] && n + 1 < sizeof(upper); n++) upper[n] = (char)toupper((unsigned char)host[n]);
    upper[n] = 0;
    if (host[n]) return;
    struct endpoint somewhere = {.family = ADDR_V4, .addr = {10, 1, 2, 3}};
    must(access_destination_ok(c, host, 80, NULL) == access_destination_ok(c, upper, 80, NULL));
    must(access_destination_ok(c, host, 80, &somewhere) == access_destination_ok(c, upper, 80, &somewhere));
    access_client_ok(c, &somewhere);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static char path[40];
    static int fd = -1;
    char err[CONF_ERROR_MAX] = "", host[300] = "";
    if (fd < 0) {
        fd = memfd_create("f_conf", 0);
        must(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    const uint8_t *newline = memchr(data, '\n', len);
    size_t n_host = newline ? (size_t)(newline - data) : 0;
    memcpy(host, data, n_host < sizeof(host) ? n_host : sizeof(host) - 1);
    size_t at = newline ? n_host + 1 : 0;
    must(ftruncate(fd, 0) == 0 && pwrite(fd, data + at, len - at, 0) == (ssize_t)(len - at));
    struct conf *c = conf_build(path, NULL, 0, err);
    if (!c) {
        must_be_a_line(err);
        return 0;
    }
    check_reads_back(c);
    check_destination(c, host);
    conf_free(&c);
    return 0;
}
