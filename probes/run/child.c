#define _GNU_SOURCE /* pipe2 */
#include "child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DAEMON      "connleakd"
#define SAID_MOST   4096  /* of its log, the end is kept */
#define STOP_MS     12000 /* it may take 10 s to write its last records */
#define FIRST_FD    3     /* where systemd's protocol puts sockets: sd_listen_fds(3) */
#define EXEC_FAILED 127

static bool failed(char error[CHILD_TEXT], const char *doing, const char *why) {
    snprintf(error, CHILD_TEXT, "%.300s: %.150s", doing, why);
    return false;
}

/* ---- starting ---- */

/* The signal mask and dispositions that a program expects to begin with. */
static void like_new(const sigset_t *mask) {
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* Dies when its parent does, which may have died already. */
static void die_with(pid_t parent, int sig) {
    prctl(PR_SET_PDEATHSIG, sig);
    if (getppid() != parent) _exit(EXEC_FAILED);
}

/* Waits for exec to succeed, which closes the pipe, or to fail, which writes errno into it. */
static int exec_result(int fd) {
    int err = 0;
    ssize_t n;
    do n = read(fd, &err, sizeof err);
    while (n < 0 && errno == EINTR);
    close(fd);
    return n == (ssize_t)sizeof err ? err : 0;
}

static void __attribute__((noreturn)) say_exec_failed(int fd) {
    int err = errno;
    if (write(fd, &err, sizeof err) < 0) _exit(EXEC_FAILED);
    _exit(EXEC_FAILED);
}

bool command_start(char *const *argv, const sigset_t *mask, pid_t *pid) {
    int result[2];
    pid_t parent = getpid();
    if (pipe2(result, O_CLOEXEC) != 0) return false;
    *pid = fork();
    if (*pid == 0) {
        die_with(parent, SIGTERM);
        like_new(mask);
        execvp(argv[0], argv);
        say_exec_failed(result[1]);
    }
    int err = errno;
    close(result[1]);
    if (*pid < 0) {
        close(result[0]);
        errno = err;
        return false;
    }
    err = exec_result(result[0]);
    if (!err) return true;
    waitpid(*pid, NULL, 0);
    *pid = 0;
    errno = err;
    return false;
}

int status_code(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A listening socket on a free port of loopback, and its name. */
static int listen_somewhere(char name[32]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        close(fd);
        return -1;
    }
    snprintf(name, 32, "127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

/* The daemon that came with this program, so that the two are of one version; "" if there is none. */
static void find_beside(char path[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof DAEMON);
    if (n < 0) n = 0;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash) strcpy(slash + 1, DAEMON);
    if (!slash || access(path, X_OK) != 0) path[0] = '\0';
}

/* In the child: the sockets become descriptors 3 and 4, as systemd passes them. */
static bool pass_sockets(int proxy, int admin) {
    char pid[16];
    /* Out of the way first: either may have one of the two numbers. */
    int high_proxy = fcntl(proxy, F_DUPFD_CLOEXEC, FIRST_FD + 2),
        high_admin = fcntl(admin, F_DUPFD_CLOEXEC, FIRST_FD + 2);
    if (high_proxy < 0 || high_admin < 0) return false;
    if (dup2(high_proxy, FIRST_FD) < 0 || dup2(high_admin, FIRST_FD + 1) < 0) return false;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", "2", 1) == 0 &&
           setenv("LISTEN_FDNAMES", "proxy:admin", 1) == 0;
}

/* What is meant for others: the proxies of the environment, which it would only warn of, and a service manager's. */
static void clean_environment(void) {
    static const char *const names[] = {"http_proxy",   "HTTP_PROXY",    "https_proxy",   "HTTPS_PROXY",
                                        "all_proxy",    "ALL_PROXY",     "NOTIFY_SOCKET", "WATCHDOG_USEC",
                                        "WATCHDOG_PID", "JOURNAL_STREAM"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}

struct plan {
    const char *beside;
    char *const *sets;
    size_t n_sets;
    int proxy, admin, log, result; /* descriptors */
    pid_t parent;
};

/* In a session of its own: Ctrl-C is for the command, whose last connections are to be seen. */
static void become_daemon(const struct plan *p) {
    sigset_t none;
    size_t n = 0;
    char **argv = calloc(2 * p->n_sets + 2, sizeof *argv);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), result = fcntl(p->result, F_DUPFD_CLOEXEC, FIRST_FD + 2);
    if (!argv || null < 0 || result < 0) say_exec_failed(p->result);
    argv[n++] = (char *)(uintptr_t)DAEMON;
    for (size_t i = 0; i < p->n_sets; i++) {
        argv[n++] = (char *)(uintptr_t) "--set";
        argv[n++] = p->sets[i];
    }
    sigemptyset(&none);
    setsid();
    die_with(p->parent, SIGKILL);
    like_new(&none);
    dup2(null, 0);
    dup2(null, 1);
    dup2(p->log, 2);
    clean_environment();
    if (!pass_sockets(p->proxy, p->admin)) say_exec_failed(result);
    if (*p->beside)
        execv(p->beside, argv);
    else
        execvp(DAEMON, argv);
    say_exec_failed(result);
}

bool daemon_start(struct wrapped_daemon *d, char *const *sets, size_t n_sets, char error[CHILD_TEXT]) {
    char beside[PATH_MAX];
    int log[2], result[2];
    struct plan plan = {.beside = beside, .sets = sets, .n_sets = n_sets, .parent = getpid()};
    *d = (struct wrapped_daemon){.log = -1};
    find_beside(beside);
    plan.proxy = listen_somewhere(d->proxy);
    plan.admin = listen_somewhere(d->admin);
    if (plan.proxy < 0 || plan.admin < 0) return failed(error, "a socket on 127.0.0.1", strerror(errno));
    if (pipe2(log, O_CLOEXEC) != 0 || pipe2(result, O_CLOEXEC) != 0) return failed(error, "pipe", strerror(errno));
    plan.log = log[1];
    plan.result = result[1];
    d->pid = fork();
    if (d->pid == 0) become_daemon(&plan);
    int err = errno;
    close(log[1]);
    close(result[1]);
    close(plan.proxy);
    close(plan.admin);
    d->log = log[0];
    fcntl(d->log, F_SETFL, O_NONBLOCK);
    if (d->pid < 0) {
        d->pid = 0;
        close(result[0]);
        return failed(error, "fork", strerror(err));
    }
    err = exec_result(result[0]);
    if (!err) return true;
    waitpid(d->pid, NULL, 0);
    d->pid = 0;
    return failed(error, *beside ? beside : DAEMON ", which is neither beside connleak nor in PATH", strerror(err));
}

/* ---- while it runs ---- */

void daemon_read_log(struct wrapped_daemon *d) {
    char buf[4096];
    while (d->log >= 0) {
        ssize_t n = read(d->log, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return;
        if (n == 0) {
            close(d->log);
            d->log = -1;
            return;
        }
        jo_put(&d->said, buf, (size_t)n);
        if (d->said.len <= SAID_MOST) continue;
        memmove(d->said.data, d->said.data + d->said.len - SAID_MOST, SAID_MOST);
        d->said.len = SAID_MOST;
    }
}

/* ---- its end ---- */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool has_ended(struct wrapped_daemon *d) {
    if (d->pid && waitpid(d->pid, &d->status, WNOHANG) == d->pid) d->pid = 0;
    return d->pid == 0;
}

void daemon_stop(struct wrapped_daemon *d) {
    /* The first signal drains, for which nobody has to wait now; the second ends it. It must have taken the first. */
    for (int64_t begun = now_ms(), signalled = 0; !has_ended(d) && now_ms() - begun < STOP_MS;) {
        if (now_ms() - signalled >= 50) {
            kill(d->pid, SIGTERM);
            signalled = now_ms();
        }
        daemon_read_log(d);
        poll(NULL, 0, 5);
    }
    if (!has_ended(d)) {
        kill(d->pid, SIGKILL);
        waitpid(d->pid, &d->status, 0);
        d->pid = 0;
    }
    daemon_read_log(d);
    if (d->log >= 0) close(d->log);
    d->log = -1;
    json_out_free(&d->said);
}
