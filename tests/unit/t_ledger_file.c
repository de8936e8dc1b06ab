/* ledger_file.h: every record in the file once and whole, whatever the disk does. */
#include "record/conn_read.h"
#include "record/ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

#define PATIENCE SEC(60) /* a deadline for what takes milliseconds */

static char dir[] = "/tmp/connleak-ledger-XXXXXX";
static char path[256];
static struct ledger *l;
static uint64_t n_ids;

static int64_t clock_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return SEC(ts.tv_sec) + ts.tv_nsec;
}

/* Lets the thread of the file work until the condition holds. */
#define WAIT_UNTIL(cond)                                                                                               \
    do {                                                                                                               \
        int64_t until = clock_now() + PATIENCE;                                                                        \
        while (!(cond) && clock_now() < until) poll(NULL, 0, 1);                                                       \
        CHECK(cond);                                                                                                   \
    } while (0)

static void begin(const char *name) {
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    l = ledger_new(OBSERVER_DAEMON, 4);
    n_ids = 0;
}

static void close_some(unsigned n) {
    while (n-- > 0) {
        n_ids++;
        struct lifecycle *life = ledger_open(l, SIDE_UPSTREAM, n_ids, SEC(n_ids));
        ledger_apply(l, life, &(struct conn_event){.at_ns = SEC(n_ids), .kind = EV_DIALING});
        ledger_apply(l, life, &(struct conn_event){.at_ns = SEC(n_ids), .kind = EV_DIALED});
        ledger_apply(l, life, &(struct conn_event){.at_ns = SEC(n_ids), .kind = EV_ENDED, .code = REASON_IDLE_TIMEOUT});
    }
}

/* Reads the file: its records must be whole and count up from *next. */
static void check_file(const char *name, uint64_t *next) {
    FILE *f = fopen(name, "r");
    CHECK(f != NULL);
    if (!f) return;
    struct conn_reader *r = conn_reader_new();
    char *line = NULL;
    size_t room = 0;
    for (ssize_t len; (len = getline(&line, &room, f)) > 0;) {
        struct conn_record rec;
        CHECK_EQ(line[len - 1], '\n');
        enum conn_read result = conn_read(r, line, (size_t)len, &rec);
        if (result == CONN_READ_ERROR) tap_fail(__FILE__, __LINE__, "%s", conn_reader_error(r));
        if (result != CONN_READ_OK) continue;
        CHECK_EQ(rec.life.id, *next);
        *next = rec.life.id + 1;
        conn_record_clear(&rec);
    }
    free(line);
    conn_reader_free(&r);
    fclose(f);
}

static void put_file(const char *text) {
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static char *file_text(void) {
    static char text[4096];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    return text;
}

TEST(every_closed_record_is_written_and_then_released) {
    begin("plain");
    struct stat st;
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK(f != NULL);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    close_some(100);
    CHECK_EQ(ledger_first_closed(l), 1); /* nothing was lost though 4 are kept */
    CHECK_EQ(ledger_owed(l), 96);
    ledger_file_offer(f, l, SEC(1767323045));
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_FINE);
    WAIT_UNTIL(ledger_file_written(f) == 101);
    CHECK(ledger_file_offer(f, l, 0));
    CHECK_EQ(ledger_first_closed(l), 97);
    CHECK_EQ(ledger_owed(l), 0);
    close_some(10);
    CHECK_EQ(ledger_file_stop(&f, l, SEC(1767323045), PATIENCE), 0);
    CHECK(f == NULL);
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 111);
    ledger_free(&l);
}

TEST(a_file_that_is_there_is_appended_to) {
    begin("again");
    for (uint64_t round = 0; round < 3; round++) {
        struct ledger_file *f = ledger_file_open(path, l, ledger_next_closed(l));
        close_some(5);
        CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    }
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 16);
    ledger_free(&l);
}

TEST(a_torn_last_record_is_removed) {
    begin("torn");
    put_file("{\"schema\":\"x\"}\n{\"schema\":\"connleak.conn/1\",\"id\":\"u-9\",\"obs");
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK_STR(file_text(), "{\"schema\":\"x\"}\n");
    close_some(1);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 2);
    put_file("{\"sch"); /* the whole file is one */
    f = ledger_file_open(path, l, 2);
    CHECK_STR(file_text(), "");
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    ledger_free(&l);
}

TEST(a_text_of_others_is_left_and_gets_its_newline) {
    begin("others");
    put_file("precious notes\nwithout an end");
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK_STR(file_text(), "precious notes\nwithout an end\n");
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    static char huge[10 + 65536 + 1]; /* a line so long that what is looked at begins like a record by chance */
    memset(huge, 'x', sizeof(huge) - 1);
    memcpy(huge + 10, "{\"schema\":\"connleak.conn/1\"", 27);
    put_file(huge);
    f = ledger_file_open(path, l, 1);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    struct stat st;
    CHECK(stat(path, &st) == 0 && st.st_size == sizeof(huge)); /* and a newline */
    put_file("{\"schema\":\"connleak.conn/2\"}");
    f = ledger_file_open(path, l, 1);
    CHECK_STR(file_text(), "{\"schema\":\"connleak.conn/2\"}\n");
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    ledger_free(&l);
}

TEST(a_file_that_cannot_be_opened_says_why) {
    begin("no/such/folder");
    errno = 0;
    CHECK(ledger_file_open(path, l, 1) == NULL);
    CHECK_EQ(errno, ENOENT);
    close_some(10);
    CHECK_EQ(ledger_owed(l), 0); /* nobody is owed anything */
    ledger_free(&l);
}

TEST(rotation_loses_nothing_and_tears_nothing) {
    char old[300];
    begin("rotated");
    snprintf(old, sizeof(old), "%s.1", path);
    struct ledger_file *f = ledger_file_open(path, l, 1);
    close_some(20);
    ledger_file_offer(f, l, 0);
    CHECK_EQ(rename(path, old), 0);
    ledger_file_reopen(f);
    WAIT_UNTIL(access(path, F_OK) == 0);
    WAIT_UNTIL(ledger_file_written(f) == 21);
    CHECK_EQ(unlink(path), 0);
    ledger_file_reopen(f); /* with nothing to write */
    WAIT_UNTIL(access(path, F_OK) == 0);
    CHECK_EQ(ledger_file_written(f), 21);
    close_some(20);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    uint64_t next = 1;
    check_file(old, &next);
    CHECK_EQ(next, 21);
    check_file(path, &next);
    CHECK_EQ(next, 41);
    ledger_free(&l);
}

TEST(a_folder_that_is_gone_at_rotation_is_waited_for) {
    char folder[64];
    struct ledger_file_trouble t;
    begin("folder/ledger");
    snprintf(folder, sizeof(folder), "%s/folder", dir);
    CHECK_EQ(mkdir(folder, 0700), 0);
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK(!ledger_file_trouble(f, &t));
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(folder), 0);
    ledger_file_reopen(f);
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    CHECK_EQ(t.error, ENOENT);
    CHECK_STR(t.doing, "open");
    CHECK(t.since_ns > 0 && t.since_ns <= clock_now());
    close_some(20);
    ledger_file_offer(f, l, 0);
    CHECK_EQ(ledger_owed(l), 16);
    CHECK_EQ(mkdir(folder, 0700), 0);
    WAIT_UNTIL(ledger_file_written(f) == 21);
    CHECK(!ledger_file_trouble(f, &t));
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 21);
    ledger_free(&l);
}

/* The loop as it should be: offers, and waits on the descriptor where it must. */
static bool offer_and_wait(struct ledger_file *f) {
    if (ledger_file_offer(f, l, 0)) return true;
    struct pollfd p = {.fd = ledger_file_fd(f), .events = POLLIN};
    CHECK_EQ(poll(&p, 1, (int)(PATIENCE / MSEC(1))), 1);
    ledger_file_woken(f);
    CHECK_EQ(poll(&p, 1, 0), 0); /* once */
    return false;
}

TEST(the_loop_is_woken_until_nothing_is_left_and_not_after) {
    begin("woken");
    struct ledger_file *f = ledger_file_open(path, l, 1);
    close_some(10000); /* several batches */
    unsigned wakes = 0;
    while (!offer_and_wait(f) && wakes < 10000) wakes++;
    CHECK(wakes >= 5);
    CHECK_EQ(ledger_file_written(f), 10001);
    CHECK_EQ(ledger_owed(l), 0);
    close_some(3); /* within what is kept: nobody waits */
    CHECK(ledger_file_offer(f, l, 0));
    WAIT_UNTIL(ledger_file_written(f) == 10004);
    struct pollfd p = {.fd = ledger_file_fd(f), .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 10004);
    ledger_free(&l);
}

/* ---- a full disk ---- */

/* Fills the disk through the file, checks that no line is torn and nothing is
 * released, makes room, and checks that all of it arrives. */
static void fill_and_recover(int full_error, void (*make_room)(void)) {
    struct ledger_file_trouble t;
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK(f != NULL);
    if (!f) return;
    int64_t give_up = clock_now() + PATIENCE;
    while (!ledger_file_trouble(f, &t) && clock_now() < give_up) {
        close_some(50);
        ledger_file_offer(f, l, 0);
        WAIT_UNTIL(ledger_file_written(f) == ledger_next_closed(l) || ledger_file_trouble(f, &t));
    }
    CHECK_EQ(t.error, full_error);
    CHECK_STR(t.doing, "write");
    uint64_t next = 1;
    check_file(path, &next); /* whole lines only */
    CHECK_EQ(ledger_file_written(f), next);
    ledger_file_woken(f); /* of the attempt that failed */
    close_some(10);
    CHECK(!ledger_file_offer(f, l, 0));
    CHECK_EQ(ledger_first_closed(l), next); /* what is not written stays */
    CHECK(ledger_owed(l) > 0);
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_SHED);
    struct pollfd p = {.fd = ledger_file_fd(f), .events = POLLIN};
    CHECK_EQ(poll(&p, 1, (int)(PATIENCE / MSEC(1))), 1);
    ledger_file_woken(f);
    CHECK(ledger_file_trouble(f, &t));
    uint64_t attempts = t.attempts;
    WAIT_UNTIL(ledger_file_trouble(f, &t) && t.attempts > attempts + 1); /* it tries, and says since when it fails */
    CHECK_EQ(poll(&p, 1, 0), 0);                                         /* it wakes once, however often it tries */
    next = 1;
    check_file(path, &next);

    make_room();
    while (!offer_and_wait(f)) {}
    CHECK(!ledger_file_trouble(f, &t));
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_FINE);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    next = 1;
    check_file(path, &next);
    CHECK_EQ(next, n_ids + 1);
    CHECK_EQ(ledger_owed(l), 0);
}

static void set_file_limit(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void lift_file_limit(void) {
    set_file_limit(RLIM_INFINITY);
}

/* SIGXFSZ keeps its default, death: the thread must never let it come so far. */
TEST(a_file_size_limit_is_survived) {
    begin("limited");
    set_file_limit(100000); /* in the middle of a line */
    fill_and_recover(EFBIG, lift_file_limit);
    lift_file_limit();
    ledger_free(&l);
}

static char ballast[300];
static void remove_ballast(void) {
    unlink(ballast);
}

/* Takes all but some pages of the file system. */
static bool put_ballast(void) {
    static const char block[65536] = {0};
    int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) return false;
    for (size_t left = 192 << 10; left > 0; left -= sizeof(block))
        if (write(fd, block, sizeof(block)) != sizeof(block)) break;
    close(fd);
    return true;
}

TEST(a_full_disk_is_survived) {
    char disk[64];
    snprintf(disk, sizeof(disk), "%s/disk", dir);
    mkdir(disk, 0700);
    if (mount("tmpfs", disk, "tmpfs", 0, "size=256k")) SKIP("no right to mount a small file system");
    begin("disk/ledger");
    snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
    CHECK(put_ballast());
    fill_and_recover(ENOSPC, remove_ballast);
    umount2(disk, MNT_DETACH);
    rmdir(disk);
    ledger_free(&l);
}

TEST(what_a_full_disk_keeps_from_being_written_is_counted_at_the_end) {
    struct ledger_file_trouble t;
    begin("never");
    struct ledger_file *f = ledger_file_open(path, l, 1);
    set_file_limit(5000);
    close_some(50);
    ledger_file_offer(f, l, 0);
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    uint64_t written = ledger_file_written(f);
    CHECK(written > 1 && written < 51);
    int64_t start = clock_now();
    CHECK_EQ(ledger_file_stop(&f, l, 0, MSEC(50)), 51 - written);
    CHECK(clock_now() - start < SEC(10));
    lift_file_limit();
    CHECK_EQ(ledger_owed(l), 0); /* and nobody is owed any more */
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, written);
    ledger_free(&l);
}

TEST(a_full_disk_is_left_behind_at_rotation) {
    struct ledger_file_trouble t;
    char old[300];
    begin("moved");
    snprintf(old, sizeof(old), "%s.1", path);
    struct ledger_file *f = ledger_file_open(path, l, 1);
    set_file_limit(5000);
    close_some(50);
    ledger_file_offer(f, l, 0);
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    CHECK_EQ(rename(path, old), 0);
    lift_file_limit();
    ledger_file_reopen(f);
    WAIT_UNTIL(ledger_file_written(f) == 51);
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    uint64_t next = 1;
    check_file(old, &next);
    check_file(path, &next);
    CHECK_EQ(next, 51);
    ledger_free(&l);
}

/* ---- what cannot be cut, and what blocks ---- */

/* An append-only file (chattr +a) cannot be cut. False: not on this file system, or not with these rights. */
static bool set_append_only(const char *name, bool on) {
    int flags = 0, fd = open(name, O_RDONLY | O_CREAT, 0600);
    bool done = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    if (fd >= 0) close(fd);
    return done;
}

static off_t size_of(const char *name) {
    struct stat st;
    return stat(name, &st) == 0 ? st.st_size : -1;
}

TEST(a_line_that_cannot_be_cut_is_continued_at_its_byte) {
    struct ledger_file_trouble t;
    begin("uncut");
    if (!set_append_only(path, true)) SKIP("no append-only files here");
    struct ledger_file *f = ledger_file_open(path, l, 1);
    set_file_limit(5000);
    close_some(50);
    ledger_file_offer(f, l, 0);
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    CHECK_EQ(size_of(path), 5000); /* torn */
    lift_file_limit();
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    CHECK(set_append_only(path, false));
    uint64_t next = 1;
    check_file(path, &next);
    CHECK_EQ(next, 51);
    ledger_free(&l);
}

TEST(a_line_that_cannot_be_cut_is_written_as_a_whole_to_the_next_file) {
    struct ledger_file_trouble t;
    char first[300], second[300];
    begin("link");
    snprintf(first, sizeof(first), "%s.first", path);
    snprintf(second, sizeof(second), "%s.second", path);
    if (!set_append_only(first, true)) SKIP("no append-only files here");
    CHECK_EQ(symlink(first, path), 0);
    struct ledger_file *f = ledger_file_open(path, l, 1);
    set_file_limit(5000);
    close_some(50);
    ledger_file_offer(f, l, 0);
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    uint64_t next = ledger_file_written(f);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(symlink(second, path), 0);
    ledger_file_reopen(f); /* the first file is full still */
    WAIT_UNTIL(ledger_file_written(f) > next);
    lift_file_limit();
    CHECK_EQ(ledger_file_stop(&f, l, 0, PATIENCE), 0);
    CHECK_EQ(size_of(first), 5000);
    CHECK(set_append_only(first, false));
    check_file(second, &next);
    CHECK_EQ(next, 51);
    ledger_free(&l);
}

TEST(a_pipe_gets_every_byte_in_order_and_a_reader_that_stops_blocks_nobody) {
    begin("pipe");
    CHECK_EQ(mkfifo(path, 0600), 0);
    struct ledger_file *f = ledger_file_open(path, l, 1);
    CHECK(f != NULL);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    close_some(500); /* more than a pipe holds */
    ledger_file_offer(f, l, 0);
    char copied[300];
    snprintf(copied, sizeof(copied), "%s.copy", path);
    int out = open(copied, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    static char buf[4096];
    int64_t give_up = clock_now() + PATIENCE;
    while (clock_now() < give_up) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n > 0) CHECK_EQ(write(out, buf, (size_t)n), n);
        if (n <= 0 && ledger_file_written(f) == 501) break;
    }
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;) CHECK_EQ(write(out, buf, (size_t)n), n);
    close(out);
    uint64_t next = 1;
    check_file(copied, &next);
    CHECK_EQ(next, 501);

    struct ledger_file_trouble t;
    CHECK(!ledger_file_trouble(f, &t));
    close_some(500);
    ledger_file_offer(f, l, 0);                         /* nobody reads now: the thread hangs in write */
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_FINE); /* which may be the disk's pace */
    WAIT_UNTIL(ledger_file_trouble(f, &t));
    CHECK_EQ(t.error, EINPROGRESS);
    CHECK(t.since_ns > 0 && t.since_ns <= clock_now() - LEDGER_FILE_STUCK);
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_SHED);
    close_some(LEDGER_FILE_OWED_MAX);
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_FULL);
    ledger_file_offer(f, l, 0);
    CHECK_EQ(ledger_file_load(f, l), LEDGER_FILE_FULL);
    int64_t start = clock_now();
    CHECK(ledger_file_stop(&f, l, 0, MSEC(50)) > 0);
    CHECK(clock_now() - start < SEC(10));
    while (read(fd, buf, sizeof(buf)) > 0) {} /* lets it out, so that it can free */
    close(fd);
    ledger_free(&l);
}

int main(void) {
    if (!mkdtemp(dir)) return 1;
    int failed = tap_run();
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) || failed;
}
