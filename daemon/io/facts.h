/* What the rules (core/finding.h) are told by the data path. Each does nothing where
 * server.findings is NULL.
 *
 * Most of it follows from the ledger's events and is told by server_event; what those do
 * not carry (who asks for what, what forbids reuse, how a dial failed) is told here. */
#ifndef CONNLEAK_FACTS_H
#define CONNLEAK_FACTS_H

#include "core/h1.h"
#include "dialer.h"
#include "relay.h"
#include "server.h"

/* A dial begins; key: host:port. */
void facts_dialing(struct server *s, const struct lifecycle *l, const char *key);
void facts_dial_failed(struct server *s, const struct lifecycle *l, enum dial_result result);

/* A request of the client's, whose target is known; the same on the upstream connection that it was given. */
void facts_client_request(struct relay *r, const struct h1_head *head, const uint8_t *bytes);
void facts_upstream_request(struct relay *r);

/* A final response head; no_reuse: the connection ends after it. */
void facts_response(struct server *s, const struct lifecycle *l, uint16_t status, enum body_framing framing,
                    uint64_t announced, bool no_reuse, bool bodyless);

/* The client's socket took nothing more, or took something again. */
void facts_blocked(struct relay *r, bool blocked);

/* After the record is closed; `l` as it stands in the ledger then. */
void facts_closed(struct server *s, const struct lifecycle *l, const struct stream_end *end);

#endif
