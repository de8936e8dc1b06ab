/* connleak whatif: what other limits would have done. */
#include "commands.h"
#include "record/whatif_json.h"
#include "whatif/load.h"
#include "whatif/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    const char *file;
    struct sweep sweep;
    struct virtual_conf base;
    bool json, no_advice;
};

static void help(void) {
    fputs("Usage: connleak whatif FILE [--set KEY=V1,V2,...]... [OPTION]...\n"
          "\n"
          "Runs the requests of FILE through the pool's own code on a virtual clock, once\n"
          "for each combination of the values, and says what it would have done: dials,\n"
          "reuse, connections open and idle, closes, waiting times. Then it advises.\n"
          "FILE is a capture, a workload (connleak analyze --export-workload) or a ledger;\n"
          "- is stdin.\n"
          "\n"
          "  --set KEY=V,...   try these values; several keys: every combination\n"
          "  --base KEY=VALUE  what the pool really ran with, if not Go's default\n"
          "  --no-advice       only the rows that were asked for\n"
          "  --json            one JSON object: connleak.whatif/1\n"
          "\n"
          "KEY is max_idle_conns, max_idle_conns_per_host, max_conns_per_host,\n"
          "idle_conn_timeout, disable_keep_alives, profile (go1.19, go1.27), or keys\n"
          "(direct; proxy: one key for all plain HTTP, as Go has it through a proxy).\n",
          stdout);
}

static int usage(const char *fmt, const char *what) {
    fputs("connleak whatif: ", stderr);
    fprintf(stderr, fmt, what);
    fputs("; connleak whatif --help says more\n", stderr);
    return EXIT_USAGE;
}

static int take_base(struct options *o, const char *text) {
    struct sweep one = {0};
    char error[SETTINGS_TEXT];

    if (!sweep_add(&one, text, error)) return usage("--base: %s", error);
    if (one.lists[0].n > 1)
        return usage("--base: one value for %s, --set takes several", setting_name(one.lists[0].key));
    sweep_apply(&one, 0, &o->base);
    return -1;
}

static int take_set(struct options *o, const char *text) {
    char error[SETTINGS_TEXT];

    return sweep_add(&o->sweep, text, error) ? -1 : usage("--set: %s", error);
}

/* -1: go on. */
static int parse(struct options *o, int argc, char **argv) {
    bool options = true;
    int code = -1;

    o->base = settings_default();
    for (int i = 1; i < argc && code < 0; i++) {
        const char *arg = argv[i];
        if (!options || arg[0] != '-' || !strcmp(arg, "-")) {
            if (o->file) return usage("one FILE, not \"%s\" too", arg);
            o->file = arg;
        } else if (!strcmp(arg, "--")) {
            options = false;
        } else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            help();
            return EXIT_FINE;
        } else if (!strcmp(arg, "--json")) {
            o->json = true;
        } else if (!strcmp(arg, "--no-advice")) {
            o->no_advice = true;
        } else if (!strcmp(arg, "--set") || !strcmp(arg, "--base")) {
            if (++i == argc) return usage("%s needs a key and its values", arg);
            code = arg[2] == 's' ? take_set(o, argv[i]) : take_base(o, argv[i]);
        } else {
            return usage("unknown option %s", arg);
        }
    }
    if (code < 0 && !o->file) return usage("%s", "a FILE is needed");
    return code;
}

static int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SEC(1) + t.tv_nsec;
}

static void run(struct whatif_job *j, bool progress) {
    int64_t told = now_ns();
    bool shown = false;

    while (whatif_job_run(j, 200000)) {
        if (!progress || now_ns() - told < MSEC(250)) continue;
        told = now_ns();
        fprintf(stderr, "\rrunning: %u %% ", whatif_job_done(j) / 10);
        shown = true;
    }
    if (shown) fputs("\r              \r", stderr);
}

static bool write_out(const struct json_out *o) {
    bool fine = fwrite(o->data, 1, o->len, stdout) == o->len && fflush(stdout) == 0;

    if (!fine) fprintf(stderr, "connleak: stdout: %s\n", strerror(errno));
    return fine;
}

int whatif_main(int argc, char **argv) {
    struct options o = {0};
    int code = parse(&o, argc, argv);
    bool progress = isatty(STDERR_FILENO);
    struct json_out out = {0};
    struct whatif_job *j;
    struct workload *w;
    char error[LOAD_TEXT];

    if (code >= 0) return code;
    w = workload_load(o.file, progress, error);
    if (*error) fprintf(stderr, "connleak: %s\n", error);
    if (!w) return EXIT_USAGE;
    j = whatif_job_new(w, &o.base, &o.sweep, !o.no_advice);
    run(j, progress);
    if (o.json)
        whatif_json(&out, j, o.file);
    else
        whatif_report(&out, j, takes_color(STDOUT_FILENO));
    code = !write_out(&out) ? EXIT_FAILED : *error ? EXIT_USAGE : EXIT_FINE;
    json_out_free(&out);
    whatif_job_free(&j);
    return code;
}
