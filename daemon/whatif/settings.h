/* What --set and a query may name: keys with lists of values, and every combination
 * of them. Pure. */
#ifndef CONNLEAK_WHATIF_SETTINGS_H
#define CONNLEAK_WHATIF_SETTINGS_H

#include "virtual_driver.h"

enum setting {
    SET_MAX_IDLE_CONNS,
    SET_MAX_IDLE_CONNS_PER_HOST,
    SET_MAX_CONNS_PER_HOST,
    SET_IDLE_CONN_TIMEOUT,
    SET_DISABLE_KEEP_ALIVES,
    SET_PROFILE,
    SET_KEYS,
    N_SETTINGS
};

#define SETTING_VALUES 64  /* of one key */
#define SWEEP_MAX      400 /* combinations */
#define SETTINGS_TEXT  200

struct setting_list {
    uint8_t key; /* enum setting */
    unsigned n;
    int64_t values[SETTING_VALUES];
};

/* The keys in the order in which they were named, each once. */
struct sweep {
    struct setting_list lists[N_SETTINGS];
    unsigned n;
};

const char *setting_name(enum setting key);
/* "max_idle_conns_per_host", or "pool.max_idle_conns_per_host". */
bool setting_parse(const char *name, size_t len, enum setting *out);

/* "KEY=V1,V2,...": false, with a sentence in `error`, where the key or a value is wrong, is
 * there twice, or makes too many combinations. */
bool sweep_add(struct sweep *s, const char *text, char error[SETTINGS_TEXT]);

unsigned sweep_combinations(const struct sweep *s); /* at least 1 */

/* Sets in *conf what the i-th combination says; the last key changes fastest. */
void sweep_apply(const struct sweep *s, unsigned i, struct virtual_conf *conf);
/* The value of the k-th list in the i-th combination. */
int64_t sweep_value(const struct sweep *s, unsigned i, unsigned k);

/* What a configuration has for a key, and a value as text ("90s", "go1.19"): into buf of
 * SETTING_VALUE_TEXT bytes; returns buf. */
#define SETTING_VALUE_TEXT 40
int64_t setting_get(const struct virtual_conf *conf, enum setting key);
void setting_set(struct virtual_conf *conf, enum setting key, int64_t value);
char *setting_text(enum setting key, int64_t value, char buf[SETTING_VALUE_TEXT]);

/* Go's defaults, which are the daemon's. */
struct virtual_conf settings_default(void);

#endif
