/* The socket probe inside the daemon: looks at the sockets of connections that the rules
 * suspect, and at no other.
 *
 * Of each it asks the kernel twice, with one request a socket: the client's end, where that
 * is a socket of this network namespace (how much has its program left unread?), and our own
 * (what is unsent, does the window let it out?). The answer goes to the rules (FACT_SOCKET)
 * and into the connection's record (client.pid, comm, recv_q). A round a second at most, of
 * bounded work; none at all while nothing is suspected and no client does anything that could
 * make it so. Whose a client's socket is, is looked for in /proc in small steps. */
#ifndef CONNLEAK_PROBE_H
#define CONNLEAK_PROBE_H

#include "io/server.h"

struct probe;

#define PROBE_TEXT 160

/* Borrows the server, whose findings and ledger must be there. NULL with a line in err where the
 * kernel does not answer over netlink. */
struct probe *probe_new(struct server *s, char err[PROBE_TEXT]);
void probe_free(struct probe **pp);

#endif
