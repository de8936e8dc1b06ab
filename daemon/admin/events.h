/* GET /events: connections that open and close, findings that are raised and cleared,
 * as Server-Sent Events, from the moment on in which a listener comes.
 *
 * What happened waits in two rings, one for connections and one for findings, that
 * all listeners share; each has its own place in them. One that lags is overtaken,
 * and told how many events it lost: memory does not depend on who listens how, and
 * a flood of connections pushes no finding out. Without listeners there are no
 * rings, and nobody looks. */
#ifndef CONNLEAK_ADMIN_EVENTS_H
#define CONNLEAK_ADMIN_EVENTS_H

#include "admin.h"
#include "web.h"

struct events;

struct events *events_new(struct event_base *base, const struct admin_env *env); /* borrows env */
void events_free(struct events **ep);                                            /* after the last listener has gone */

/* What a listener wants to hear. */
enum events_class {
    EVENTS_CONNECTIONS = 1,
    EVENTS_FINDINGS = 2,
    EVENTS_ALL = EVENTS_CONNECTIONS | EVENTS_FINDINGS,
};

/* Answers with the stream; false if there are too many listeners: then nothing is answered yet. */
bool events_answer(struct events *e, struct web_conn *c, enum events_class wants);

/* A finding was raised or cleared. */
void events_finding(struct events *e, const struct finding_change *change);

#endif
