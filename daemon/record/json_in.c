#include "record/json_in.h"

#include <jansson.h>
#include <stdlib.h>

#define NAME_MAX_LEN 128

struct json_in {
    json_t *root;
};

/* A struct json_value is a json_t, by another name outside of this file. */
static const struct json_value *as_value(const json_t *j) {
    return (const struct json_value *)(const void *)j;
}
static const json_t *as_json(const struct json_value *v) {
    return (const json_t *)(const void *)v;
}

struct json_in *json_in_parse(const char *text, size_t len) {
    json_t *root = json_loadb(text, len, 0, NULL);
    if (!root) return NULL;
    struct json_in *j = calloc(1, sizeof *j);
    if (!j) abort();
    j->root = root;
    return j;
}

void json_in_free(struct json_in **jp) {
    struct json_in *j = *jp;
    *jp = NULL;
    if (!j) return;
    json_decref(j->root);
    free(j);
}

const struct json_value *json_in_root(const struct json_in *j) {
    return as_value(j->root);
}

const struct json_value *ji_get(const struct json_value *v, const char *path) {
    const json_t *j = as_json(v);
    while (j && *path) {
        char name[NAME_MAX_LEN];
        size_t n = strcspn(path, ".");
        if (n >= sizeof name) return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        j = json_object_get(j, name);
        path += n + (path[n] == '.');
    }
    return as_value(j);
}

const char *ji_text(const struct json_value *v, const char *path) {
    return json_string_value(as_json(ji_get(v, path)));
}

bool ji_u64(const struct json_value *v, const char *path, uint64_t *out) {
    const json_t *j = as_json(ji_get(v, path));
    if (!json_is_integer(j) || json_integer_value(j) < 0) return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

size_t ji_length(const struct json_value *v) {
    return json_array_size(as_json(v));
}

const struct json_value *ji_item(const struct json_value *v, size_t i) {
    return as_value(json_array_get(as_json(v), i));
}

void ji_write(struct json_out *o, const struct json_value *v) {
    char *text = v ? json_dumps(as_json(v), JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (v && !text) abort();
    if (text)
        jo_raw(o, text, strlen(text));
    else
        jo_null(o);
    free(text);
}
