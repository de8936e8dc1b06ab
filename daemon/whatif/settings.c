#include "settings.h"

#include "core/duration.h"

#include <stdlib.h>
#include <string.h>

/* ---- the keys: bounds are those of core/tbl/params.h ---- */

#define DAYS(n) (SEC(86400) * (n))
#define MIB(n)  ((int64_t)(n) << 20)

enum { LIVE = 0, RESTART = 0, SECRET = 0 };
enum value_type { TYPE_INT, TYPE_DURATION, TYPE_BOOL, TYPE_ENUM, TYPE_SIZE, TYPE_STRING, TYPE_OTHER };
#define TYPE_LISTEN       TYPE_OTHER
#define TYPE_CLIENTS      TYPE_OTHER
#define TYPE_DESTINATIONS TYPE_OTHER

struct parameter {
    const char *section, *key, *def;
    enum value_type type;
    int64_t min, max;
    const char *unit;
};
static const struct parameter parameters[] = {
#define X(section, key, type, def, min, max, unit, flags, refused, text)                                               \
    {#section, #key, def, TYPE_##type, min, max, unit},
#include "core/tbl/params.h"
#undef X
};

/* Those that the pool knows, and one that is not the daemon's. */
static const char *const names[N_SETTINGS] = {
    [SET_MAX_IDLE_CONNS] = "max_idle_conns",
    [SET_MAX_IDLE_CONNS_PER_HOST] = "max_idle_conns_per_host",
    [SET_MAX_CONNS_PER_HOST] = "max_conns_per_host",
    [SET_IDLE_CONN_TIMEOUT] = "idle_conn_timeout",
    [SET_DISABLE_KEEP_ALIVES] = "disable_keep_alives",
    [SET_PROFILE] = "profile",
    [SET_KEYS] = "keys",
};
static const struct parameter keys_parameter = {"", "keys", "as-seen", TYPE_ENUM, 0, 0, "as-seen|direct|proxy"};

static const struct parameter *parameter_of(enum setting key) {
    if (key == SET_KEYS) return &keys_parameter;
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (!strcmp(parameters[i].section, "pool") && !strcmp(parameters[i].key, names[key])) return &parameters[i];
    return NULL;
}

const char *setting_name(enum setting key) {
    return names[key];
}

bool setting_parse(const char *name, size_t len, enum setting *out) {
    if (len > 5 && !memcmp(name, "pool.", 5)) name += 5, len -= 5;
    for (unsigned i = 0; i < N_SETTINGS; i++) {
        if (strlen(names[i]) != len || memcmp(names[i], name, len) != 0) continue;
        *out = (enum setting)i;
        return true;
    }
    return false;
}

/* ---- values from text ---- */

static bool parse_int(const char *text, int64_t *out) {
    bool negative = *text == '-';
    int64_t n = 0;

    if (negative) text++;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > INT64_MAX / 100) return false;
        n = n * 10 + (*text - '0');
    }
    *out = negative ? -n : n;
    return true;
}

/* Which of the words with | between them. */
static bool parse_word(const char *words, const char *text, int64_t *out) {
    size_t len = strlen(text);

    *out = 0;
    for (const char *at = words;; at++, ++*out) {
        size_t word = strcspn(at, "|");
        if (word == len && !memcmp(at, text, len)) return true;
        at += word;
        if (!*at) return false;
    }
}

static bool parse_value(enum setting key, const char *text, int64_t *out) {
    const struct parameter *p = parameter_of(key);

    switch (p->type) {
    case TYPE_INT:
        return parse_int(text, out) && *out >= p->min && *out <= p->max;
    case TYPE_DURATION:
        return duration_parse(text, out) && *out >= p->min && *out <= p->max;
    case TYPE_BOOL:
        *out = !strcmp(text, "true");
        return *out || !strcmp(text, "false");
    case TYPE_ENUM:
        return parse_word(p->unit, text, out);
    case TYPE_SIZE:
    case TYPE_STRING:
    case TYPE_OTHER:
        break;
    }
    return false;
}

/* ---- text from values ---- */

static size_t put_i64(char *out, int64_t n) {
    char digits[20];
    size_t len = 0, at = 0;

    if (n < 0) out[at++] = '-';
    do digits[len++] = (char)('0' + (n < 0 ? -(n % 10) : n % 10));
    while (n /= 10);
    while (len > 0) out[at++] = digits[--len];
    out[at] = 0;
    return at;
}

static void put_duration(char *out, int64_t ns) {
    static const struct {
        int64_t ns;
        const char *unit;
    } units[] = {{SEC(3600), "h"}, {SEC(60), "m"}, {SEC(1), "s"}, {MSEC(1), "ms"}, {USEC(1), "us"}, {1, "ns"}};

    if (ns <= 0) {
        strcpy(out, "0");
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (ns < units[i].ns) continue;
        out += put_i64(out, ns / units[i].ns);
        for (const char *p = units[i].unit; *p;) *out++ = *p++;
        ns %= units[i].ns;
    }
    *out = 0;
}

char *setting_text(enum setting key, int64_t value, char buf[SETTING_VALUE_TEXT]) {
    const struct parameter *p = parameter_of(key);
    const char *word = p->unit;

    switch (p->type) {
    case TYPE_DURATION:
        put_duration(buf, value);
        break;
    case TYPE_BOOL:
        strcpy(buf, value ? "true" : "false");
        break;
    case TYPE_ENUM:
        for (; value > 0; value--) word += strcspn(word, "|") + 1;
        memcpy(buf, word, strcspn(word, "|"));
        buf[strcspn(word, "|")] = 0;
        break;
    case TYPE_INT:
    case TYPE_SIZE:
    case TYPE_STRING:
    case TYPE_OTHER:
        put_i64(buf, value);
        break;
    }
    return buf;
}

/* ---- lists ---- */

static void append(char error[SETTINGS_TEXT], const char *text, size_t len) {
    size_t at = strlen(error);

    if (len > SETTINGS_TEXT - 1 - at) len = SETTINGS_TEXT - 1 - at;
    for (size_t i = 0; i < len; i++) error[at + i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    error[at + len] = 0;
}

static bool refuse(char error[SETTINGS_TEXT], const char *first, const char *what, size_t len, const char *rest) {
    *error = 0;
    append(error, first, strlen(first));
    append(error, what, len < 60 ? len : 60);
    append(error, rest, strlen(rest));
    return false;
}

static bool refuse_value(char error[SETTINGS_TEXT], enum setting key, const char *text, size_t len) {
    const struct parameter *p = parameter_of(key);
    char number[SETTING_VALUE_TEXT];

    refuse(error, names[key], "", 0, ": expected ");
    switch (p->type) {
    case TYPE_ENUM:
        append(error, p->unit, strlen(p->unit));
        break;
    case TYPE_BOOL:
        append(error, "true or false", 13);
        break;
    case TYPE_DURATION:
        append(error, "a duration such as 90s, at most ", 32);
        setting_text(key, p->max, number);
        append(error, number, strlen(number));
        break;
    case TYPE_INT:
    case TYPE_SIZE:
    case TYPE_STRING:
    case TYPE_OTHER:
        append(error, "a number from ", 14);
        append(error, number, put_i64(number, p->min));
        append(error, " to ", 4);
        append(error, number, put_i64(number, p->max));
        break;
    }
    append(error, ", found \"", 9);
    append(error, text, len < 40 ? len : 40);
    append(error, "\"", 1);
    return false;
}

bool sweep_add(struct sweep *s, const char *text, char error[SETTINGS_TEXT]) {
    size_t name = strcspn(text, "=");
    struct setting_list *l = &s->lists[s->n];
    enum setting key;

    if (!text[name]) return refuse(error, "expected KEY=V1,V2,..., found \"", text, name, "\"");
    if (!setting_parse(text, name, &key))
        return refuse(error, "no such key: \"", text, name,
                      "\"; the keys are those limits of pool.* that decide who gets which connection, and keys");
    for (unsigned i = 0; i < s->n; i++)
        if (s->lists[i].key == key) return refuse(error, names[key], "", 0, " is there twice");
    *l = (struct setting_list){.key = (uint8_t)key};
    for (const char *at = text + name;;) {
        size_t len = strcspn(++at, ",");
        char value[32];
        if (l->n == SETTING_VALUES) return refuse(error, names[key], "", 0, ": more than 64 values");
        if (len >= sizeof value) return refuse_value(error, key, at, len);
        memcpy(value, at, len);
        value[len] = 0;
        if (!parse_value(key, value, &l->values[l->n])) return refuse_value(error, key, at, len);
        l->n++;
        at += len;
        if (!*at) break;
    }
    s->n++;
    if (sweep_combinations(s) > SWEEP_MAX) {
        s->n--;
        return refuse(error, names[key], "", 0, ": more than 400 combinations in all");
    }
    return true;
}

unsigned sweep_combinations(const struct sweep *s) {
    unsigned n = 1;

    /* Before a list is taken the product is at most SWEEP_MAX, and a list has at most SETTING_VALUES. */
    for (unsigned i = 0; i < s->n; i++) n *= s->lists[i].n;
    return n;
}

int64_t sweep_value(const struct sweep *s, unsigned i, unsigned k) {
    for (unsigned later = s->n; later-- > k + 1;) i /= s->lists[later].n;
    return s->lists[k].values[i % s->lists[k].n];
}

void sweep_apply(const struct sweep *s, unsigned i, struct virtual_conf *conf) {
    for (unsigned k = 0; k < s->n; k++) setting_set(conf, (enum setting)s->lists[k].key, sweep_value(s, i, k));
}

/* ---- in and out of a configuration ---- */

int64_t setting_get(const struct virtual_conf *conf, enum setting key) {
    const struct pool_conf *p = &conf->pool;

    switch (key) {
    case SET_MAX_IDLE_CONNS:
        return p->max_idle_conns;
    case SET_MAX_IDLE_CONNS_PER_HOST:
        return p->max_idle_conns_per_host;
    case SET_MAX_CONNS_PER_HOST:
        return p->max_conns_per_host;
    case SET_IDLE_CONN_TIMEOUT:
        return p->idle_conn_timeout;
    case SET_DISABLE_KEEP_ALIVES:
        return p->disable_keep_alives;
    case SET_PROFILE:
        return p->profile;
    case SET_KEYS:
        return conf->keys;
    case N_SETTINGS:
        break;
    }
    return 0;
}

void setting_set(struct virtual_conf *conf, enum setting key, int64_t value) {
    struct pool_conf *p = &conf->pool;

    switch (key) {
    case SET_MAX_IDLE_CONNS:
        p->max_idle_conns = (int)value;
        break;
    case SET_MAX_IDLE_CONNS_PER_HOST:
        p->max_idle_conns_per_host = (int)value;
        break;
    case SET_MAX_CONNS_PER_HOST:
        p->max_conns_per_host = (int)value;
        break;
    case SET_IDLE_CONN_TIMEOUT:
        p->idle_conn_timeout = value;
        break;
    case SET_DISABLE_KEEP_ALIVES:
        p->disable_keep_alives = value != 0;
        break;
    case SET_PROFILE:
        p->profile = (enum pool_profile)value;
        break;
    case SET_KEYS:
        conf->keys = (enum virtual_keys)value;
        break;
    case N_SETTINGS:
        break;
    }
}

struct virtual_conf settings_default(void) {
    struct virtual_conf conf = {0};

    for (unsigned i = 0; i < N_SETTINGS; i++) {
        int64_t value = 0;
        if (!parse_value((enum setting)i, parameter_of((enum setting)i)->def, &value)) abort();
        setting_set(&conf, (enum setting)i, value);
    }
    return conf;
}
