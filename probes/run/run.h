/* `connleak run`: wraps a command with a daemon of its own, and reports at its end. */
#ifndef CONNLEAK_RUN_H
#define CONNLEAK_RUN_H

int run_main(int argc, char **argv);

#endif
