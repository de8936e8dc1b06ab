/* Listening sockets: opened from the configuration or passed in by systemd, and
 * what happens when descriptors run out. */
#ifndef CONNLEAK_LISTENER_H
#define CONNLEAK_LISTENER_H

#include "server.h"

/* Opens one; -1 with err filled (one line that names the address and the reason).
 * A Unix socket's path is replaced if nobody listens there any more. */
int listener_open(const struct conf_listen *where, char *err, size_t err_size);

struct listener;

/* Accepts clients from fd for the server, which it then belongs to. `unlink_path`:
 * of a Unix socket that we made, NULL otherwise; copied. */
struct listener *listener_new(struct server *s, int fd, const char *unlink_path);
void listener_free(struct listener **lp);

/* "127.0.0.1:3128" or "unix:/run/x" of a listening socket. */
void listener_text(int fd, char *buf, size_t size);

/* How many clients the descriptor limit allows: each may need one more toward its
 * origin, and some are ours. Raises the soft limit to the hard one first. */
unsigned listener_max_clients(const struct conf *conf);

#endif
