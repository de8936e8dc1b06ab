#include "access.h"
#include "conf_values.h"

#include <crypt.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- networks and names --- */

bool access_client_ok(const struct conf *c, const struct endpoint *client) {
    if (client->family == ADDR_UNIX) return true;
    for (size_t i = 0; i < c->access.allow_clients.n; i++)
        if (net_matches(&c->access.allow_clients.item[i], client)) return true;
    return false;
}

/* What is known about a destination. */
struct dest_facts {
    char name[256];              /* lower case, without a trailing dot */
    const struct endpoint *addr; /* NULL while it is not resolved */
    uint16_t port;
};

enum match { MATCH_NO, MATCH_YES, MATCH_WHEN_RESOLVED };

static enum match dest_match(const struct conf_dest *d, const struct dest_facts *f) {
    if (d->port && d->port != f->port) return MATCH_NO;
    const char *name = d->name ? d->name : "";
    size_t len = strlen(f->name), suffix = strlen(name);
    switch (d->kind) {
    case DEST_ALL:
        return MATCH_YES;
    case DEST_HOST:
        return strcmp(name, f->name) ? MATCH_NO : MATCH_YES;
    case DEST_SUFFIX:
        return len > suffix && !strcmp(f->name + len - suffix, name) ? MATCH_YES : MATCH_NO;
    case DEST_NET:
        break;
    }
    if (!f->addr) return MATCH_WHEN_RESOLVED;
    return net_matches(&d->net, f->addr) ? MATCH_YES : MATCH_NO;
}

/* The best match of a list: yes before later before no. */
static enum match dests_match(const struct conf_dests *l, const struct dest_facts *f) {
    enum match best = MATCH_NO;
    for (size_t i = 0; i < l->n; i++) {
        enum match m = dest_match(&l->item[i], f);
        if (m == MATCH_YES) return m;
        if (m == MATCH_WHEN_RESOLVED) best = m;
    }
    return best;
}

bool access_destination_ok(const struct conf *c, const char *host, uint16_t port, const struct endpoint *resolved) {
    const struct conf_dests *allow = &c->access.allow_destinations;
    if (!c->access.deny_destinations.n && allow->n == 1 && allow->item[0].kind == DEST_ALL && !allow->item[0].port)
        return true; /* the defaults, asked for every request */
    struct dest_facts f = {.addr = resolved, .port = port};
    struct endpoint literal;
    size_t len = strlen(host);
    if (len && host[len - 1] == '.') len--;
    if (len >= sizeof(f.name)) return false; /* no such name can be resolved */
    for (size_t i = 0; i < len; i++) f.name[i] = (char)tolower((unsigned char)host[i]);
    if (!resolved && value_address(f.name, &literal)) f.addr = &literal;
    if (dests_match(&c->access.deny_destinations, &f) == MATCH_YES) return false;
    return dests_match(&c->access.allow_destinations, &f) != MATCH_NO;
}

/* --- users --- */

#define MAX_USERS      4096
#define MAX_CREDENTIAL 512 /* bytes of a user name, and of a password */
#define CACHE_SLOTS    256

struct user {
    char *name, *hash;
};

/* An answer given before; pair is "user\0password". */
struct answer {
    char *pair;
    size_t len;
    bool ok;
};

struct passwords {
    struct user *user;
    size_t n;
    struct answer cache[CACHE_SLOTS];
};

/* A hash that crypt(3) can check: "$id$..." or 13 characters of the old DES kind.
 * Without the length, any plain password would pass for a DES salt. */
static bool is_hash(const char *text) {
    if (strpbrk(text, " \t")) return false;
    if (*text != '$')
        return strlen(text) == 13 &&
               text[strspn(text, "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] == 0;
    int check = crypt_checksalt(text);
    return strlen(text) > 20 &&
           (check == CRYPT_SALT_OK || check == CRYPT_SALT_METHOD_LEGACY || check == CRYPT_SALT_TOO_CHEAP);
}

static const char *hash_of(const struct passwords *p, const char *name) {
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->user[i].name, name)) return p->user[i].hash;
    return NULL;
}

/* One line of the file, without its newline; false with `err` filled. */
static bool add_user(struct passwords *p, char *line, const char *path, unsigned number, char err[CONF_ERROR_MAX]) {
    char *hash = strchr(line, ':');
    if (!hash || hash == line) return conf_fail(err, "%.280s:%u: expected user:hash", path, number);
    *hash++ = 0;
    if (!is_hash(hash))
        return conf_fail(
            err,
            "%.280s:%u: what follows the colon is no hash that crypt(3) knows; make one with 'openssl passwd -6' "
            "or 'htpasswd -nB USER'",
            path, number);
    if (hash_of(p, line)) return conf_fail(err, "%.280s:%u: user %.60s is there twice", path, number, line);
    if (p->n == MAX_USERS) return conf_fail(err, "%.280s:%u: more than %d users", path, number, MAX_USERS);
    p->user = conf_alloc(p->user, p->n + 1, sizeof(*p->user));
    p->user[p->n++] = (struct user){conf_strdup(line, strlen(line)), conf_strdup(hash, strlen(hash))};
    return true;
}

struct passwords *passwords_load(const char *path, char err[CONF_ERROR_MAX]) {
    FILE *f = fopen(path, "re");
    if (!f) {
        conf_fail(err, "access.password_file: %.280s: %s", path, strerror(errno));
        return NULL;
    }
    struct passwords *p = conf_alloc(NULL, 1, sizeof(*p));
    memset(p, 0, sizeof(*p));
    char line[MAX_CREDENTIAL + 256];
    bool ok = true;
    errno = 0;
    for (unsigned number = 1; ok && fgets(line, sizeof(line), f); number++) {
        size_t len = strcspn(line, "\r\n");
        if (len + 1 == sizeof(line)) {
            ok = conf_fail(err, "%.280s:%u: longer than %zu characters", path, number, sizeof(line) - 2);
            break;
        }
        line[len] = 0;
        if (len && *line != '#') ok = add_user(p, line, path, number, err);
    }
    if (ok && ferror(f)) ok = conf_fail(err, "%.280s: %s", path, strerror(errno));
    fclose(f);
    explicit_bzero(line, sizeof(line));
    if (!ok) passwords_free(&p);
    return p;
}

static void forget(struct answer *a) {
    if (a->pair) explicit_bzero(a->pair, a->len);
    free(a->pair);
    *a = (struct answer){0};
}

void passwords_free(struct passwords **pp) {
    struct passwords *p = *pp;
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) {
        free(p->user[i].name);
        free(p->user[i].hash);
    }
    for (size_t i = 0; i < CACHE_SLOTS; i++) forget(&p->cache[i]);
    free(p->user);
    free(p);
    *pp = NULL;
}

/* In a time that does not depend on where they differ. */
static bool same_bytes(const char *a, const char *b, size_t len) {
    unsigned char diff = 0;
    for (size_t i = 0; i < len; i++) diff |= (unsigned char)(a[i] ^ b[i]);
    return diff == 0;
}

/* An unknown user costs as much time as a known one, so that names cannot be found out. */
static bool verify(const struct passwords *p, const char *user, const char *password) {
    if (!p->n) return false;
    const char *known = hash_of(p, user), *hash = known ? known : p->user[0].hash;
    struct crypt_data *data = conf_alloc(NULL, 1, sizeof(*data));
    memset(data, 0, sizeof(*data));
    const char *got = crypt_r(password, hash, data);
    bool ok = got && known && strlen(got) == strlen(hash) && same_bytes(got, hash, strlen(hash));
    explicit_bzero(data, sizeof(*data));
    free(data);
    return ok;
}

bool passwords_ok(struct passwords *p, const char *user, const char *password) {
    char pair[2 * MAX_CREDENTIAL + 2];
    size_t n_user = strlen(user) + 1, n_password = strlen(password) + 1, len = n_user + n_password;
    if (n_user > MAX_CREDENTIAL || n_password > MAX_CREDENTIAL) return false;
    memcpy(pair, user, n_user);
    memcpy(pair + n_user, password, n_password);
    struct answer *a = &p->cache[bytes_hash(pair, len, 0) % CACHE_SLOTS];
    if (!a->pair || a->len != len || !same_bytes(a->pair, pair, len)) {
        forget(a);
        *a = (struct answer){conf_strdup(pair, len), len, verify(p, user, password)};
    }
    explicit_bzero(pair, sizeof(pair));
    return a->ok;
}
