/* The thread and its hand-over.
 *
 * There are two buffers. The loop formats into `batch`, under the lock; the
 * thread swaps it for its own empty buffer, under the lock too, and writes
 * without it. So the loop never waits for longer than a swap.
 *
 * A batch is a run of whole lines, one a record, and `sent` is how many of its
 * bytes lie in the file. When a write fails within a line, the part of the line
 * that went out is cut off the file and `sent` goes back to the line's start. A
 * pipe cannot be cut: there the writing goes on exactly where it stopped. */
#define _GNU_SOURCE /* memrchr */
#include "record/ledger_file.h"

#include "record/conn_json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct ledger_file {
    char *path;
    int wake_fd; /* eventfd, non-blocking */
    pthread_t thread;

    /* the loop's thread only */
    uint64_t next; /* the first record not handed over */

    pthread_mutex_t lock; /* guards the rest but for the thread's own */
    pthread_cond_t work;  /* to the thread: a batch, a wish, the end */
    pthread_cond_t done;  /* to ledger_file_stop: something was written, or the thread has ended */
    struct json_out batch;
    uint64_t batch_from; /* sequence number of the batch's first record */
    uint64_t written;    /* records before it are in the file */
    bool want_wake, want_reopen;
    int64_t busy_since_ns;
    bool busy;     /* the thread is out of the lock, in a system call perhaps */
    bool stopping; /* all is handed over: the thread ends when it is written */
    bool give_up;  /* the thread ends now */
    bool orphaned; /* nobody waits for the thread: it frees everything */
    bool ended;
    struct ledger_file_trouble trouble; /* error 0: none */

    /* the writing thread only */
    int fd; /* -1: to be opened */
    bool is_regular;
    struct json_out writing;
    uint64_t writing_from;
    size_t sent;
};

static int64_t monotonic_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return SEC(ts.tv_sec) + ts.tv_nsec;
}

static struct timespec timespec_at(int64_t ns) {
    return (struct timespec){.tv_sec = ns / SEC(1), .tv_nsec = ns % SEC(1)};
}

/* ---- the file ---- */

#define TAIL_MAX (64u << 10)
static const char record_start[] = "{\"schema\":\"connleak.conn/1\"";

/* Every line must begin at the start of one. What stands behind the last newline
 * is the torn record of a daemon that was killed, and goes; or it is somebody
 * else's text, and gets its newline. */
static bool mend_last_line(int fd, off_t size) {
    static const char newline = '\n';
    char tail[TAIL_MAX];
    size_t want = size < (off_t)sizeof(tail) ? (size_t)size : sizeof(tail);
    ssize_t got = pread(fd, tail, want, size - (off_t)want);
    if (got < 0) return false;
    const char *last_newline = memrchr(tail, '\n', (size_t)got);
    size_t torn = (size_t)(last_newline ? tail + got - (last_newline + 1) : got);
    if (torn == 0) return true;
    size_t compared = torn < sizeof(record_start) - 1 ? torn : sizeof(record_start) - 1;
    bool whole_tail = last_newline || (off_t)got == size;
    if (whole_tail && !memcmp(tail + got - torn, record_start, compared)) return ftruncate(fd, size - (off_t)torn) == 0;
    return write(fd, &newline, 1) == 1;
}

/* Opens for appending; a regular file's end is mended. -1: errno. */
static int open_for_append(const char *path, bool *is_regular) {
    struct stat st;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0 && errno == EACCES)
        fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY); /* such as /dev/stdout */
    if (fd < 0) return -1;
    if (fstat(fd, &st) < 0) goto fail;
    *is_regular = S_ISREG(st.st_mode);
    if (*is_regular && st.st_size > 0 && !mend_last_line(fd, st.st_size)) goto fail;
    return fd;
fail:;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- the thread ---- */

static void release(struct ledger_file *f) {
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->work);
    pthread_cond_destroy(&f->done);
    json_out_free(&f->batch);
    json_out_free(&f->writing);
    if (f->wake_fd >= 0) close(f->wake_fd);
    if (f->fd >= 0) close(f->fd);
    free(f->path);
    free(f);
}

static void wake_loop(struct ledger_file *f) {
    const uint64_t one = 1;
    if (!f->want_wake) return;
    f->want_wake = false;
    if (write(f->wake_fd, &one, sizeof(one)) < 0) return; /* its count is not zero: the loop is awake already */
}

static uint64_t count_lines(const char *text, size_t len) {
    uint64_t n = 0;
    for (const char *p = text, *end = text + len; (p = memchr(p, '\n', (size_t)(end - p))); p++) n++;
    return n;
}

/* Bytes of the batch that went out after the last whole line. */
static size_t torn_bytes(const struct ledger_file *f) {
    const char *newline = f->sent ? memrchr(f->writing.data, '\n', f->sent) : NULL;
    return newline ? f->sent - (size_t)(newline + 1 - f->writing.data) : f->sent;
}

/* Takes the part of a line that went out off the file again. */
static void cut_torn_line(struct ledger_file *f) {
    size_t torn = torn_bytes(f);
    struct stat st;
    if (!torn || !f->is_regular || fstat(f->fd, &st) < 0 || st.st_size < (off_t)torn) return;
    if (ftruncate(f->fd, st.st_size - (off_t)torn) == 0) f->sent -= torn;
}

static bool wait_writable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

/* Writes what is left of the batch. False: errno, and no torn line is left if that can be helped. */
static bool write_batch(struct ledger_file *f) {
    while (f->sent < f->writing.len) {
        ssize_t n = write(f->fd, f->writing.data + f->sent, f->writing.len - f->sent);
        if (n > 0) {
            f->sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN && wait_writable(f->fd)) {
            continue;
        } else if (n == 0 || errno != EINTR) {
            int error = n == 0 ? EIO : errno;
            cut_torn_line(f);
            errno = error;
            return false;
        }
    }
    return true;
}

/* A new file: a line that was begun in the old one is written again as a whole. */
static bool reopen(struct ledger_file *f) {
    if (f->fd >= 0) close(f->fd);
    f->sent -= torn_bytes(f);
    f->fd = open_for_append(f->path, &f->is_regular);
    return f->fd >= 0;
}

/* Under the lock: what the attempt came to; n_lines of the batch are in the file. */
static void note_outcome(struct ledger_file *f, uint64_t n_lines, const char *doing, int error) {
    if (f->writing.len > 0) f->written = f->writing_from + n_lines;
    if (error == 0) {
        f->trouble = (struct ledger_file_trouble){0};
        json_out_reset(&f->writing);
        f->sent = 0;
    } else {
        if (f->trouble.error == 0) f->trouble = (struct ledger_file_trouble){.since_ns = monotonic_ns()};
        f->trouble.error = error;
        f->trouble.doing = doing;
        f->trouble.attempts++;
    }
    pthread_cond_broadcast(&f->done);
    wake_loop(f);
}

/* Under the lock: sleeps until there is something to do. False: the end, and all
 * that can be written is. */
static bool wait_for_work(struct ledger_file *f) {
    struct timespec retry_at = timespec_at(monotonic_ns() + LEDGER_FILE_RETRY);
    bool failing = f->trouble.error != 0;
    for (;;) {
        bool has_work = f->want_reopen || f->batch.len > 0;
        if (f->give_up) return false;
        if (!failing && has_work) return true;
        if (!failing && f->stopping) return false;
        if (!failing)
            pthread_cond_wait(&f->work, &f->lock);
        else if (pthread_cond_timedwait(&f->work, &f->lock, &retry_at) == ETIMEDOUT)
            return true;
    }
}

/* Under the lock: the batch becomes what is written, and the loop gets the empty
 * buffer; a large one goes back when a burst is over. */
static void take_batch(struct ledger_file *f) {
    struct json_out empty = f->writing;
    if (empty.room > LEDGER_FILE_BATCH / 4 && f->batch.len < empty.room / 4) json_out_free(&empty);
    f->writing = f->batch;
    f->writing_from = f->batch_from;
    f->batch = empty;
}

/* Without the lock. Returns 0 or errno, and in *doing what failed. */
static int attempt(struct ledger_file *f, bool want_reopen, const char **doing) {
    *doing = "write";
    if (f->fd >= 0 && !write_batch(f) && !want_reopen) return errno;
    if (f->fd >= 0 && !want_reopen) return 0;
    *doing = "open";
    if (!reopen(f)) return errno;
    *doing = "write";
    return write_batch(f) ? 0 : errno;
}

static void *writer(void *arg) {
    struct ledger_file *f = arg;
    pthread_mutex_lock(&f->lock);
    while (wait_for_work(f)) {
        bool want_reopen = f->want_reopen;
        const char *doing;
        f->want_reopen = false;
        if (f->writing.len == 0) take_batch(f);
        f->busy = true;
        f->busy_since_ns = monotonic_ns();
        pthread_mutex_unlock(&f->lock);
        int error = attempt(f, want_reopen, &doing);
        uint64_t n_lines = f->sent ? count_lines(f->writing.data, f->sent) : 0;
        pthread_mutex_lock(&f->lock);
        f->busy = false;
        note_outcome(f, n_lines, doing, error);
    }
    f->ended = true;
    bool orphaned = f->orphaned;
    pthread_cond_broadcast(&f->done);
    pthread_mutex_unlock(&f->lock);
    if (orphaned) release(f);
    return NULL;
}

/* ---- the loop's side ---- */

/* Signals are the loop's; and a write that exceeds a limit must fail, not kill. */
static int start_thread(struct ledger_file *f) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&f->thread, NULL, writer, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct ledger_file *ledger_file_open(const char *path, struct ledger *l, uint64_t from) {
    struct ledger_file *f = calloc(1, sizeof(*f));
    pthread_condattr_t monotonic;
    int error;
    if (!f) abort();
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, &monotonic);
    pthread_cond_init(&f->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    f->next = f->batch_from = f->written = from;
    f->wake_fd = -1;
    if (!(f->path = strdup(path))) abort();
    f->fd = open_for_append(path, &f->is_regular);
    if (f->fd < 0) goto fail;
    f->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (f->wake_fd < 0) goto fail;
    if ((errno = start_thread(f))) goto fail;
    ledger_release_to(l, from);
    return f;
fail:
    error = errno;
    release(f);
    errno = error;
    return NULL;
}

/* Under the lock. True: everything is in the batch. */
static bool fill_batch(struct ledger_file *f, const struct ledger *l, int64_t to_wall_ns) {
    const struct conn_json how = {.to_wall_ns = to_wall_ns};
    if (f->batch.len == 0) f->batch_from = f->next;
    for (; f->next < ledger_next_closed(l); f->next++) {
        if (f->batch.len >= LEDGER_FILE_BATCH) return false;
        conn_json(&f->batch, ledger_closed(l, f->next), &how);
        jo_line(&f->batch);
    }
    return true;
}

bool ledger_file_offer(struct ledger_file *f, struct ledger *l, int64_t to_wall_ns) {
    pthread_mutex_lock(&f->lock);
    bool was_empty = f->batch.len == 0;
    bool all = fill_batch(f, l, to_wall_ns);
    if (was_empty && f->batch.len > 0) pthread_cond_signal(&f->work);
    ledger_release_to(l, f->written);
    /* What is left, or owed, is on the thread's desk: it will have something to tell. */
    bool settled = all && ledger_owed(l) == 0;
    f->want_wake = !settled;
    pthread_mutex_unlock(&f->lock);
    return settled;
}

uint64_t ledger_file_written(struct ledger_file *f) {
    pthread_mutex_lock(&f->lock);
    uint64_t written = f->written;
    pthread_mutex_unlock(&f->lock);
    return written;
}

int ledger_file_fd(const struct ledger_file *f) {
    return f->wake_fd;
}

void ledger_file_woken(struct ledger_file *f) {
    uint64_t count;
    if (read(f->wake_fd, &count, sizeof(count)) < 0) return; /* nothing was on it */
}

bool ledger_file_trouble(struct ledger_file *f, struct ledger_file_trouble *out) {
    pthread_mutex_lock(&f->lock);
    *out = f->trouble;
    if (out->error == 0 && f->busy && monotonic_ns() - f->busy_since_ns >= LEDGER_FILE_STUCK)
        *out = (struct ledger_file_trouble){.error = EINPROGRESS, .doing = "write", .since_ns = f->busy_since_ns};
    pthread_mutex_unlock(&f->lock);
    return out->error != 0;
}

/* A disk that works may be behind for as long as a batch takes, and that is no trouble. */
enum ledger_file_load ledger_file_load(struct ledger_file *f, const struct ledger *l) {
    struct ledger_file_trouble t;
    size_t owed = ledger_owed(l);
    if (owed > LEDGER_FILE_OWED_MAX) return LEDGER_FILE_FULL;
    return owed > 0 && ledger_file_trouble(f, &t) ? LEDGER_FILE_SHED : LEDGER_FILE_FINE;
}

void ledger_file_reopen(struct ledger_file *f) {
    pthread_mutex_lock(&f->lock);
    f->want_reopen = true;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
}

/* Under the lock: hands over and waits until all is written or the time is up. */
static void write_the_rest(struct ledger_file *f, const struct ledger *l, int64_t to_wall_ns, int64_t deadline_ns) {
    const struct timespec deadline = timespec_at(deadline_ns);
    for (bool in_time = true; in_time && !f->ended;) {
        f->stopping = fill_batch(f, l, to_wall_ns);
        pthread_cond_signal(&f->work);
        in_time = pthread_cond_timedwait(&f->done, &f->lock, &deadline) != ETIMEDOUT;
    }
}

uint64_t ledger_file_stop(struct ledger_file **fp, struct ledger *l, int64_t to_wall_ns, int64_t timeout_ns) {
    struct ledger_file *f = *fp;
    *fp = NULL;
    pthread_mutex_lock(&f->lock);
    write_the_rest(f, l, to_wall_ns, monotonic_ns() + timeout_ns);
    f->give_up = true;
    pthread_cond_signal(&f->work);
    while (!f->ended && !f->busy) pthread_cond_wait(&f->done, &f->lock);
    uint64_t missing = ledger_next_closed(l) - f->written;
    pthread_t thread = f->thread;
    f->orphaned = !f->ended;
    bool orphaned = f->orphaned;
    pthread_mutex_unlock(&f->lock);
    ledger_release_to(l, UINT64_MAX);
    if (orphaned) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
        release(f);
    }
    return missing;
}
