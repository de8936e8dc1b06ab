/* Texts that many lives share, each held once: keys, clients, names.
 *
 * A table counts the references to what it gave out, and forgets a text with its
 * last one. Texts are looked up by content under the process's hash seed, since
 * peers choose them. */
#ifndef CONNLEAK_INTERN_H
#define CONNLEAK_INTERN_H

#include "lifecycle.h"

struct intern;

struct intern *intern_new(void);
/* Frees what is still referenced, too. */
void intern_free(struct intern **tp);

/* How many different texts are held. */
size_t intern_count(const struct intern *t);

/* Each takes a reference for the caller. Parts of a key longer than
 * INTERN_KEY_MAX bytes and parts of a client longer than INTERN_CLIENT_MAX are
 * cut: a host name has at most 253 bytes, a User-Agent is the peer's to choose. */
#define INTERN_KEY_MAX    512
#define INTERN_CLIENT_MAX 256
#define INTERN_COMM_MAX   64
const struct life_key *intern_key(struct intern *t, const char *scheme, const char *addr, const char *proxy);
const struct life_client *intern_client(struct intern *t, const char *tag, const char *user_agent);
/* The same tag and User-Agent with what was seen of one connection's client: pid 0 and comm NULL are not
 * known, recv_q may be UNKNOWN_BYTES. With nothing known it is the client without. `c` keeps its reference. */
const struct life_client *intern_client_seen(struct intern *t, const struct life_client *c, uint32_t pid,
                                             const char *comm, uint64_t recv_q);
const char *intern_name(struct intern *t, const char *name); /* cut at INTERN_CLIENT_MAX; held as long as the table */

/* Each gives a reference back; NULL is none. */
void intern_drop_key(struct intern *t, const struct life_key *key);
void intern_drop_client(struct intern *t, const struct life_client *client);

#endif
