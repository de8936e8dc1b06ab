/* JSON text as a tree in which things are looked up by path: for readers of what the
 * daemon answers, who need a few numbers of it.
 *
 *     struct json_in *j = json_in_parse(text, len);
 *     uint64_t n;
 *     if (ji_u64(json_in_root(j), "pool.open", &n)) ...
 *     json_in_free(&j);
 *
 * A path is the names of members with dots between; names that have dots themselves
 * cannot be reached. Values are borrowed from the tree and live as long as it does;
 * every function takes NULL for a value, and finds nothing in it. */
#ifndef CONNLEAK_JSON_IN_H
#define CONNLEAK_JSON_IN_H

#include "record/json_out.h"

struct json_in;
struct json_value; /* an object, array or anything else in a tree */

/* NULL if it is not one JSON object or array. Copies the text. */
struct json_in *json_in_parse(const char *text, size_t len);
void json_in_free(struct json_in **jp);
const struct json_value *json_in_root(const struct json_in *j);

/* NULL if it is not there. */
const struct json_value *ji_get(const struct json_value *v, const char *path);

/* A string; NULL if it is not there or none. */
const char *ji_text(const struct json_value *v, const char *path);

/* A whole number that is not negative; false if it is not there or none. */
bool ji_u64(const struct json_value *v, const char *path, uint64_t *out);

/* An array's length and items; 0 and NULL of anything else. */
size_t ji_length(const struct json_value *v);
const struct json_value *ji_item(const struct json_value *v, size_t i);

/* Writes it out again as it came, members in their order; null for NULL. */
void ji_write(struct json_out *o, const struct json_value *v);

#endif
