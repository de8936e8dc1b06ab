/* --filter: which connections are shown. The language is described in connleak(1);
 * its fields are the rows of a table in filter.c.
 *
 *     rst_sent and requests > 1 and server = 10.0.0.1:80
 *
 * A field that is null is neither true nor equal to, above or below anything; only
 * "= null" and "!= null" ask for it. */
#ifndef CONNLEAK_CAPTURE_FILTER_H
#define CONNLEAK_CAPTURE_FILTER_H

#include "wire/wire.h"

#define FILTER_TEXT 256

struct filter;

/* NULL with one line in `error` that says where in the text and what was expected. */
struct filter *filter_new(const char *text, char error[FILTER_TEXT]);
void filter_free(struct filter **fp);
bool filter_matches(const struct filter *f, const struct wire_record *r);

/* The names of all fields, one call each; NULL after the last. */
const char *filter_field(size_t i, const char **text);

#endif
