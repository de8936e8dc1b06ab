#include "answers.h"
#include "conf.h"

#include <stdlib.h>
#include <string.h>

/* A list or a text that is empty is the word none in the file, and null here. */
static bool may_be_none(enum param_type type) {
    return type == P_STRING || type == P_LISTEN || type == P_CLIENTS || type == P_DESTINATIONS;
}

static const char *bound(const struct admin_env *env, const struct param *p) {
    if (p->type != P_LISTEN) return NULL;
    return strcmp(p->section, "proxy") == 0 ? env->proxy_listen : env->admin_listen;
}

static void write_value(struct json_out *o, const struct admin_env *env, const struct param *p) {
    const char *at = (const char *)env->conf + p->offset, *listening = bound(env, p);
    char *text;
    switch (p->type) {
    case P_BOOL:
        jo_bool(o, *(const bool *)at);
        return;
    case P_INT:
        jo_i64(o, *(const int *)(const void *)at);
        return;
    case P_DURATION:
    case P_SIZE:
    case P_STRING:
    case P_ENUM:
    case P_LISTEN:
    case P_CLIENTS:
    case P_DESTINATIONS:
        break;
    }
    text = listening ? NULL : conf_value_text(env->conf, p);
    if (text && may_be_none(p->type) && strcmp(text, "none") == 0)
        jo_null(o);
    else
        jo_str(o, listening ? listening : text);
    free(text);
}

void config_write(struct json_out *o, const struct admin_env *env) {
    const char *section = "";
    jo_object(o);
    JO_KEY(o, "schema"), jo_str(o, "connleak.config/1");
    for (size_t i = 0; i < n_conf_params; i++) {
        const struct param *p = &conf_params[i];
        if (p->flags & PF_SECRET) continue;
        if (strcmp(p->section, section) != 0) {
            if (*section) jo_object_end(o);
            section = p->section;
            jo_key(o, section);
            jo_object(o);
        }
        jo_key(o, p->key);
        write_value(o, env, p);
    }
    if (*section) jo_object_end(o);
    jo_object_end(o);
    jo_line(o);
}
