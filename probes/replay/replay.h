/* `connleak replay`: plays a capture's clients against a proxy. */
#ifndef CONNLEAK_REPLAY_H
#define CONNLEAK_REPLAY_H

int replay_main(int argc, char **argv);

#endif
