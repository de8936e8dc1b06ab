/* A fuzz target as a plain program, where libFuzzer is not or not wanted:
 *
 *     f_NAME FILE...               each file once: the corpus as a regression test
 *     f_NAME -t SECONDS FILE...    random changes to these files for that long
 *
 * -s SEED repeats a run of changes. What ends the program is left in crash.input. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define INPUT_MAX 4096
#define FILES_MAX 4096

struct input {
    uint8_t *bytes;
    size_t len;
};
static struct input files[FILES_MAX];
static int n_files;
static uint8_t now[INPUT_MAX]; /* the input under way, for crash.input */
static volatile size_t now_len;
static uint64_t state;

static bool load(const char *path, struct input *in) {
    FILE *f = fopen(path, "rb");
    if (!f) return perror(path), false;
    size_t room = 0;
    for (size_t n = 1; n; in->len += n) {
        if (in->len == room) in->bytes = realloc(in->bytes, room = room * 2 + INPUT_MAX);
        if (!in->bytes) abort();
        n = fread(in->bytes + in->len, 1, room - in->len, f);
    }
    bool ok = !ferror(f);
    if (!ok) perror(path);
    fclose(f);
    return ok;
}

/* An allocation of exactly its length, so that reading past it is seen. */
static void run(const uint8_t *bytes, size_t len) {
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) abort();
    memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static size_t below(size_t n) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % (n ? n : 1));
}

static void insert(size_t at, const uint8_t *p, size_t n) {
    if (n > INPUT_MAX - now_len) n = INPUT_MAX - now_len;
    memmove(now + at + n, now + at, now_len - at);
    memcpy(now + at, p, n);
    now_len += n;
}

static void change(void) {
    static const uint8_t odd[] = {0, '\t', '\n', '\v', '\r', ' ', ',', ':', ';', '0', '5', 'f', 0x7f, 0x80, 0xff};
    size_t at = below(now_len + 1), n = 1 + below(16);
    const struct input *other = &files[below((size_t)n_files)];
    switch (below(6)) {
    case 0:
        insert(at, &odd[below(sizeof odd)], 1);
        break;
    case 1:
        insert(at, other->bytes, other->len < n ? other->len : n);
        break;
    case 2:
        if (other->len > n) insert(at, other->bytes + below(other->len - n), n);
        break;
    case 3:
        if (at < now_len) now[at] = (uint8_t)(now[at] ^ 1u << below(8));
        break;
    case 4:
        if (at < now_len) now[at] = odd[below(sizeof odd)];
        break;
    case 5:
        if (n > now_len - at) n = now_len - at;
        memmove(now + at, now + at + n, now_len - at - n);
        now_len -= n;
        break;
    }
}

static void on_crash(int sig) {
    int fd = open("crash.input", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0 && write(fd, now, now_len) >= 0) close(fd);
    static const char said[] = "the input is in crash.input\n";
    if (write(2, said, sizeof said - 1) < 0) _exit(1);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void change_for(long seconds) {
    const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], on_crash);
    printf("seed %llu\n", (unsigned long long)state);
    fflush(stdout);
    unsigned long runs = 0;
    for (time_t end = time(NULL) + seconds; time(NULL) < end; runs++) {
        const struct input *from = &files[below((size_t)n_files)];
        now_len = from->len < INPUT_MAX ? from->len : INPUT_MAX;
        memcpy(now, from->bytes, now_len);
        for (size_t n = 1 + below(8); n > 0; n--) change();
        run(now, now_len);
    }
    printf("%lu runs in %ld s\n", runs, seconds);
}

int main(int argc, char **argv) {
    long seconds = 0;
    state = (uint64_t)time(NULL);
    for (int opt; (opt = getopt(argc, argv, "t:s:")) != -1;) {
        if (opt == 't')
            seconds = strtol(optarg, NULL, 10);
        else if (opt == 's')
            state = strtoull(optarg, NULL, 0);
        else
            return 2;
    }
    for (; optind < argc && n_files < FILES_MAX; optind++, n_files++)
        if (!load(argv[optind], &files[n_files])) return 2;
    if (n_files == 0) return fprintf(stderr, "usage: %s [-t SECONDS [-s SEED]] FILE...\n", argv[0]), 2;
    if (seconds)
        change_for(seconds);
    else
        for (int i = 0; i < n_files; i++) run(files[i].bytes, files[i].len);
    for (int i = 0; i < n_files; i++) free(files[i].bytes);
    return 0;
}
