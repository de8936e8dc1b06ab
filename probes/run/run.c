/* One loop: the command's end, signals that are meant for it, and what the daemon logs. */
#define _GNU_SOURCE /* memrchr */
#include "run.h"

#include "child.h"
#include "commands.h"
#include "crosscheck/fetch.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETS_MAX 64

/* What a command's run is too short for otherwise; the user's own come after it. */
#define LEAK_AFTER "findings.leak_after=1s"

/* How long the rules wait for what explains a close: findings of the command's last connections come within it. */
#define AFTERMATH_MS 1700

struct options {
    char *sets[SETS_MAX];
    size_t n_sets;
    struct fail_on fail_on;
    const char *json;      /* what the report goes to, as messages name it; NULL: it is text */
    const char *json_file; /* NULL: standard output */
    int json_fd;
    char **command;
    bool reverse;
};

static void help(FILE *to) {
    fputs("Usage: connleak run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
          "\n"
          "Runs COMMAND with a connleakd of its own as its proxy, and says at its end, on\n"
          "stderr, which connections leaked and what to change.\n"
          "\n"
          "  --fail-on KIND,... exit 99 if there was such a finding (connleak explain lists\n"
          "                     them); any: warning or worse\n"
          "  --json[=FILE]      write the report as JSON, not to stderr as text: to FILE or\n"
          "                     to stdout; then COMMAND's stdout goes to stderr\n"
          "  --set SECTION.KEY=VALUE  set a parameter of the daemon, see connleakd.conf(5)\n"
          "  -h, --help         say this\n"
          "\n"
          "COMMAND gets http_proxy, https_proxy and all_proxy, small and large, an empty\n"
          "NO_PROXY, and CONNLEAK_PROXY with the proxy's host and port. Go programs never\n"
          "use a proxy for localhost and loopback: give the server another name, or:\n"
          "    connleak run --set proxy.mode=reverse \\\n"
          "        --set proxy.upstream=http://127.0.0.1:8080 \\\n"
          "        -- sh -c 'BASE_URL=http://$CONNLEAK_PROXY exec ./tests'\n"
          "\n"
          "Exit code: COMMAND's, 128 + the signal that ended it, 99 for --fail-on, 126\n"
          "or 127 where it cannot be run or found, 2 usage or configuration, 1 failed.\n",
          to);
}

static int usage(const char *what, const char *about) {
    fprintf(stderr, "connleak run: %s%s; see connleak run --help\n", what, about);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct options *o) {
    enum { OPT_FAIL_ON = 256, OPT_JSON, OPT_SET, OPT_HELP };
    static const struct option longs[] = {{"fail-on", required_argument, NULL, OPT_FAIL_ON},
                                          {"json", optional_argument, NULL, OPT_JSON},
                                          {"set", required_argument, NULL, OPT_SET},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
    o->sets[o->n_sets++] = (char *)(uintptr_t)LEAK_AFTER;
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "+:h", longs, NULL)) != -1;) {
        switch (c) {
        case OPT_FAIL_ON:
            if (!fail_on_parse(&o->fail_on, optarg))
                return usage("--fail-on: expected any, or kinds of findings with commas between, found ", optarg);
            break;
        case OPT_JSON:
            o->json_file = optarg;
            o->json = optarg ? optarg : "standard output";
            break;
        case OPT_SET:
            if (!strncmp(optarg, "proxy.listen=", 13) || !strncmp(optarg, "admin.listen=", 13))
                return usage("its daemon listens on free ports of 127.0.0.1, which cannot be set: ", optarg);
            if (o->n_sets == SETS_MAX) return usage("too many --set", "");
            if (!strncmp(optarg, "proxy.mode=", 11)) o->reverse = strcmp(optarg + 11, "reverse") == 0;
            o->sets[o->n_sets++] = optarg;
            break;
        case 'h':
        case OPT_HELP:
            help(stdout);
            return EXIT_FINE;
        case ':':
            return usage(argv[optind - 1], " takes a value");
        default:
            return usage("unknown option ", argv[optind - 1]);
        }
    }
    o->command = argv + optind;
    return *o->command ? -1 : usage("a COMMAND is needed", "");
}

/* --- the environment ------------------------------------------------------ */

static void set(const char *name, const char *value) {
    if (setenv(name, value, 1) != 0) abort();
}

static void set_environment(const struct options *o, const char *proxy) {
    static const char *const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                        "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};
    char url[64];
    snprintf(url, sizeof url, "http://%s", proxy);
    set("CONNLEAK_PROXY", proxy);
    if (o->reverse) return; /* it would forward to its upstream whatever is asked for */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) set(names[i], url);
    set("no_proxy", "");
    set("NO_PROXY", "");
    setenv("NODE_USE_ENV_PROXY", "1", 0); /* Node.js 24 looks at the others when this is set */
}

/* --- while the command runs ------------------------------------------------ */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What is passed on to the command, and SIGCHLD. */
static void signals_to_watch(sigset_t *set_) {
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
    sigemptyset(set_);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(set_, numbers[i]);
}

/* A terminal sends its signals to the whole foreground group, the command included: those are not passed on. */
static void take_signals(int fd, pid_t command) {
    struct signalfd_siginfo s;
    while (read(fd, &s, sizeof s) == (ssize_t)sizeof s)
        if (s.ssi_signo != SIGCHLD && command && s.ssi_code != SI_KERNEL) kill(command, (int)s.ssi_signo);
}

/* Until the command has ended; returns its status. */
static int wait_for(pid_t command, int signals, struct wrapped_daemon *d) {
    int status;
    for (;;) {
        struct pollfd p[2] = {{.fd = signals, .events = POLLIN}, {.fd = d->log, .events = POLLIN}};
        pid_t ended = waitpid(command, &status, WNOHANG);
        if (ended == command) break;
        if (poll(p, 2, -1) < 0 && errno != EINTR) abort();
        take_signals(signals, command);
        daemon_read_log(d);
    }
    take_signals(signals, 0); /* such as the Ctrl-C that ended it */
    return status;
}

/* --- the daemon's ends ----------------------------------------------------- */

/* Its last line says why. */
static void say_log(struct wrapped_daemon *d) {
    const char *text = d->said.data;
    size_t len = d->said.len;
    while (len && text[len - 1] == '\n') len--;
    const char *line = len ? memrchr(text, '\n', len) : NULL;
    line = line ? line + 1 : text;
    if (len) fprintf(stderr, "%.*s\n", (int)(text + len - line), line);
}

static bool nothing(void *arg, const char *line, size_t len) {
    (void)arg, (void)line, (void)len;
    return true;
}

/* It answers, or it has ended with a line that says why. */
static int check_started(struct wrapped_daemon *d) {
    char error[FETCH_TEXT];
    if (fetch_lines(d->admin, "/readyz", nothing, NULL, error)) return -1;
    for (int i = 0; i < 200 && d->log >= 0; i++) { /* its last words, until its end closes the pipe */
        poll(&(struct pollfd){.fd = d->log, .events = POLLIN}, 1, 10);
        daemon_read_log(d);
    }
    if (d->said.len)
        say_log(d);
    else
        fprintf(stderr, "connleak run: connleakd: %s\n", error);
    daemon_stop(d);
    return WIFEXITED(d->status) && WEXITSTATUS(d->status) == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

/* Waits for what the rules make of the last connections, if there were any. */
static struct report *look(struct wrapped_daemon *d, char error[REPORT_TEXT]) {
    struct report *r = run_report_fetch(d->admin, error);
    if (!r || !run_report_saw_traffic(r)) return r;
    run_report_free(&r);
    poll(NULL, 0, AFTERMATH_MS);
    return run_report_fetch(d->admin, error);
}

/* --- the end ---------------------------------------------------------------- */

static bool write_all(int fd, const char *text, size_t len) {
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Standard output is the report's alone: what the command says there goes to standard error. */
static int keep_stdout(void) {
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    return fd >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) == STDOUT_FILENO ? fd : -1;
}

/* Before the command runs, which may take long: will there be a report? */
static bool open_json(struct options *o) {
    if (!o->json) return true;
    o->json_fd = o->json_file ? open(o->json_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : keep_stdout();
    if (o->json_fd < 0) fprintf(stderr, "connleak run: %s: %s\n", o->json, strerror(errno));
    return o->json_fd >= 0;
}

static bool write_json(const struct options *o, const struct json_out *out) {
    bool fine = write_all(o->json_fd, out->data, out->len);
    fine = close(o->json_fd) == 0 && fine;
    if (!fine) fprintf(stderr, "connleak run: %s: %s\n", o->json, strerror(errno));
    return fine;
}

static int conclude(const struct options *o, struct wrapped_daemon *d, const struct outcome *c) {
    char error[REPORT_TEXT];
    struct json_out out = {0};
    struct report *r = look(d, error);
    if (!r) {
        fprintf(stderr, "connleak run: the daemon cannot be asked: %s\n", error);
        daemon_read_log(d);
        say_log(d);
        daemon_stop(d);
        return EXIT_FAILED;
    }
    daemon_stop(d);
    uint32_t failed = run_report_failed(r, &o->fail_on);
    int code = failed ? EXIT_FINDING : c->code;
    if (o->json) {
        run_report_json(&out, r, c, failed, code);
        if (!write_json(o, &out)) code = EXIT_FAILED;
    } else {
        run_report_text(&out, r, c, failed, takes_color(STDERR_FILENO));
        write_all(STDERR_FILENO, out.data, out.len);
    }
    json_out_free(&out);
    run_report_free(&r);
    return code;
}

int run_main(int argc, char **argv) {
    struct options o = {.json = NULL};
    struct wrapped_daemon d;
    char error[CHILD_TEXT];
    sigset_t watched, before;
    pid_t command;
    int code = parse(argc, argv, &o);
    if (code >= 0) return code;
    if (!open_json(&o)) return EXIT_FAILED;
    if (!daemon_start(&d, o.sets, o.n_sets, error)) {
        fprintf(stderr, "connleak run: %s\n", error);
        return EXIT_FAILED;
    }
    code = check_started(&d);
    if (code >= 0) return code;

    signals_to_watch(&watched);
    sigprocmask(SIG_BLOCK, &watched, &before);
    int signals = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals < 0) abort();
    set_environment(&o, d.proxy);
    int64_t begun = now_ms();
    if (!command_start(o.command, &before, &command)) {
        code = errno == ENOENT ? 127 : 126;
        fprintf(stderr, "connleak run: %s: %s\n", o.command[0], strerror(errno));
        daemon_stop(&d);
        return code;
    }
    int status = wait_for(command, signals, &d);
    struct outcome c = {.argv = o.command,
                        .code = status_code(status),
                        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                        .ms = (uint64_t)(now_ms() - begun),
                        .reverse = o.reverse};
    sigprocmask(SIG_SETMASK, &before, NULL); /* from here on a Ctrl-C ends the wait, and the daemon with it */
    close(signals);
    return conclude(&o, &d, &c);
}
