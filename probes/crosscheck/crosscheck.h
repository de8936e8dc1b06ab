/* connleak crosscheck: holds a daemon's ledger against a capture. */
#ifndef CONNLEAK_CROSSCHECK_H
#define CONNLEAK_CROSSCHECK_H

/* The whole command, argv[0] being its name. Returns the exit code: 0 no
 * disagreement, 1 it failed while running, 2 usage or input, 3 a disagreement. */
int crosscheck_main(int argc, char **argv);

#endif
