/* Packets of an interface, by libpcap: the only file that includes it is live.c. */
#ifndef CONNLEAK_CAPTURE_LIVE_H
#define CONNLEAK_CAPTURE_LIVE_H

#include "capture/capture.h"

struct live;

struct live *live_open(const char *interface, const char *ports, const char *filter, char error[CAPTURE_TEXT]);
void live_close(struct live **lp);
enum capture_step live_next(struct live *l, struct capture_packet *out);
void live_source(const struct live *l, struct capture_source *out);

#endif
