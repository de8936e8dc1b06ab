/* connleak: which command, and help that fits a screen. */
#include "commands.h"

#include "core/ident.h"
#include "crosscheck/crosscheck.h"
#include "replay/replay.h"
#include "run/run.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const struct command {
    const char *name, *text;
    int (*run)(int argc, char **argv); /* NULL: not part of this version */
} commands[] = {
    {"analyze", "what a capture says about connection reuse and leaks", analyze_main},
    {"crosscheck", "compare a capture with the daemon's ledger", crosscheck_main},
    {"replay", "play a capture's clients against a proxy, and compare", replay_main},
    {"whatif", "what other limits would have done, and which to set", whatif_main},
    {"sockets", "what lies unread in which connection, and whose it is", sockets_main},
    {"resets", "RSTs as this host's kernel sends them, with its reason", resets_main},
    {"run", "wrap a command: a daemon of its own, and a report at its end", run_main},
    {"top", "", NULL},
    {"explain", "what a word or a log's message means, and what to do", explain_main},
};

static void help(FILE *to) {
    fputs("Usage: connleak COMMAND [ARGUMENT]...\n"
          "       connleak --help | --version\n"
          "\n"
          "Finds HTTP connections that leak or are not reused.\n"
          "\n",
          to);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].run) fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].text);
    fputs("\n"
          "connleak COMMAND --help says more about each; see also connleak(1).\n"
          "Exit codes: 0 fine; 1 failed while running; 2 usage or input error; 3 a\n"
          "crosscheck disagreed, or a replay differed; 99 a finding that --fail-on names.\n",
          to);
}

bool takes_color(int fd) {
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(fd) && !(no_color && *no_color) && !(terminal && !strcmp(terminal, "dumb"));
}

/* Who starts us with one of them closed would find its messages in the file or socket that is opened next. They fail
 * as before: none can be read from or written to. */
static void keep_standard_descriptors(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) return;
}

int main(int argc, char **argv) {
    uint64_t seed;

    keep_standard_descriptors();
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help(stdout);
        return EXIT_FINE;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        puts("connleak " CONNLEAK_VERSION);
        return EXIT_FINE;
    }
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed) hash_seed(seed);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name)) continue;
        if (commands[i].run) return commands[i].run(argc - 1, argv + 1);
        fprintf(stderr, "connleak: %s is not part of version " CONNLEAK_VERSION "\n", argv[1]);
        return EXIT_USAGE;
    }
    fprintf(stderr, "connleak: %s: no such command; connleak --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
