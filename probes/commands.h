/* The commands of `connleak`: each takes its own arguments, argv[0] being its name,
 * and returns the program's exit code. */
#ifndef CONNLEAK_COMMANDS_H
#define CONNLEAK_COMMANDS_H

#include <stdbool.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DISAGREED = 3, EXIT_FINDING = 99 };

int analyze_main(int argc, char **argv);
int resets_main(int argc, char **argv);
int sockets_main(int argc, char **argv);
int whatif_main(int argc, char **argv);
int explain_main(int argc, char **argv);

/* It is a terminal that takes escape sequences, and NO_COLOR is not set to anything (https://no-color.org). */
bool takes_color(int fd);

#endif
