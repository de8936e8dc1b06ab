/* Who may use the proxy, and for what: decisions over struct conf, nothing else.
 *
 * Deny goes before allow. */
#ifndef CONNLEAK_ACCESS_H
#define CONNLEAK_ACCESS_H

#include "conf.h"

/* access.allow_clients. A Unix socket's peers are always welcome: its file's
 * permissions are their gate. */
bool access_client_ok(const struct conf *c, const struct endpoint *client);

/* access.allow_destinations and deny_destinations, asked twice: with `resolved`
 * NULL before the name is looked up, which refuses what the name or literal
 * address alone decides, and again for each address that is to be dialed.
 * Only when the second says yes may a byte go there: a name may resolve to
 * a denied network. `host` is without brackets. */
bool access_destination_ok(const struct conf *c, const char *host, uint16_t port, const struct endpoint *resolved);

/* The users of access.password_file. */
struct passwords;

/* Reads user:hash lines; # begins a comment. NULL with `err` filled if the file
 * cannot be read, a line is not of that form, or a hash is of a kind that
 * crypt(3) does not know. */
struct passwords *passwords_load(const char *path, char err[CONF_ERROR_MAX]);
void passwords_free(struct passwords **pp);

/* Is this a user with this password? Hashes are slow on purpose (milliseconds):
 * the answers for the last pairs asked are kept, so that a keep-alive client
 * pays once. */
bool passwords_ok(struct passwords *p, const char *user, const char *password);

#endif
