#include "whatif/load.h"

#include "record/workload_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct workload *failed(char error[LOAD_TEXT], const char *path, const char *why) {
    snprintf(error, LOAD_TEXT, "%.200s: %.290s", path, why);
    return NULL;
}

/* ---- lines ---- */

struct lines {
    FILE *file;
    char *line;
    size_t room, len;
    uint64_t read, size; /* bytes */
    bool progress;
    unsigned told;
};

static void tell(struct lines *l) {
    if (l->size)
        fprintf(stderr, "\rreading: %llu of %llu MiB ", (unsigned long long)(l->read >> 20),
                (unsigned long long)(l->size >> 20));
    else
        fprintf(stderr, "\rreading: %llu MiB ", (unsigned long long)(l->read >> 20));
}

static bool next_line(struct lines *l) {
    ssize_t len = getline(&l->line, &l->room, l->file);

    if (len < 0) return false;
    l->len = (size_t)len;
    l->read += l->len;
    if (l->progress && l->read >> 22 > l->told) {
        l->told = (unsigned)(l->read >> 22);
        tell(l);
    }
    return true;
}

static struct workload *load_workload(struct lines *l, const char *path, char error[LOAD_TEXT]) {
    const struct workload_limits limits = WORKLOAD_LIMITS_DEFAULT;
    struct workload_reader *r = workload_reader_new(&limits);
    struct workload *w = NULL;
    bool fine = true;

    do fine = workload_read_line(r, l->line, l->len);
    while (fine && next_line(l));
    if (fine && ferror(l->file))
        failed(error, path, strerror(errno));
    else if (!fine || !(w = workload_read_end(r)))
        failed(error, path, workload_reader_error(r));
    workload_reader_free(&r);
    return w;
}

struct workload *workload_load(const char *path, bool progress, char error[LOAD_TEXT]) {
    struct lines l = {.file = strcmp(path, "-") ? fopen(path, "re") : stdin, .progress = progress};
    struct workload *w = NULL;
    struct stat st;

    if (!l.file) return failed(error, path, strerror(errno));
    if (!fstat(fileno(l.file), &st) && S_ISREG(st.st_mode)) l.size = (uint64_t)st.st_size;
    if (!next_line(&l))
        failed(error, path, ferror(l.file) ? strerror(errno) : "it is empty");
    else if (workload_is_header(l.line, l.len))
        w = load_workload(&l, path, error);
    else
        failed(error, path, "expected a workload (connleak.workload/1)");
    if (l.told) fputs("\n", stderr);
    free(l.line);
    if (l.file != stdin) fclose(l.file);
    return w;
}
