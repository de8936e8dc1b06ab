#include "intern.h"

#include <stdlib.h>
#include <string.h>

/* One text of one kind, in the chain of its bucket. Its parts stand one behind
 * the other, a NUL behind each: two texts are equal where these bytes are. */
enum kind { KIND_KEY, KIND_CLIENT, KIND_NAME };

struct entry {
    struct entry *next;
    uint64_t hash;
    uint32_t len;
    enum kind kind;
    union {
        struct life_key key;
        struct life_client client;
    } u;
    char text[];
};

struct intern {
    struct entry **buckets;
    size_t n_buckets, n; /* n_buckets: a power of two */
};

#define LEAST_BUCKETS 16
#define PARTS_MAX     (3 * (INTERN_KEY_MAX + 1))

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

struct intern *intern_new(void) {
    struct intern *t = must(calloc(1, sizeof(*t)));
    t->n_buckets = LEAST_BUCKETS;
    t->buckets = must(calloc(t->n_buckets, sizeof(struct entry *)));
    return t;
}

void intern_free(struct intern **tp) {
    struct intern *t = *tp;
    if (!t) return;
    *tp = NULL;
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct entry *e = t->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(t->buckets);
    free(t);
}

size_t intern_count(const struct intern *t) {
    return t->n;
}

static struct entry **bucket_of(const struct intern *t, uint64_t hash) {
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static void resize(struct intern *t, size_t n_buckets) {
    struct intern old = *t;
    t->n_buckets = n_buckets;
    t->buckets = must(calloc(n_buckets, sizeof(struct entry *)));
    for (size_t i = 0; i < old.n_buckets; i++)
        for (struct entry *e = old.buckets[i], *next; e; e = next) {
            struct entry **bucket = bucket_of(t, e->hash);
            next = e->next;
            e->next = *bucket;
            *bucket = e;
        }
    free(old.buckets);
}

/* Appends one part, cut at max but not within a UTF-8 character, and its NUL. */
static char *put_part(char *end, const char *part, size_t max) {
    size_t len = strnlen(part, max);
    if (len == max)
        for (unsigned i = 0; i < 3 && len > 0 && ((unsigned char)part[len] & 0xc0) == 0x80; i++) len--;
    memcpy(end, part, len);
    end[len] = 0;
    return end + len + 1;
}

static const char *next_part(const char *part) {
    return part + strlen(part) + 1;
}

static struct entry *add(struct intern *t, enum kind kind, const char *text, uint32_t len, uint64_t hash) {
    if (t->n == t->n_buckets) resize(t, t->n_buckets * 2);
    struct entry **bucket = bucket_of(t, hash), *e = must(malloc(sizeof(*e) + len));
    *e = (struct entry){.next = *bucket, .hash = hash, .len = len, .kind = kind};
    memcpy(e->text, text, len);
    *bucket = e;
    t->n++;
    return e;
}

/* The entry with this text, found or made. */
static struct entry *get(struct intern *t, enum kind kind, const char *text, const char *end) {
    uint32_t len = (uint32_t)(end - text);
    uint64_t hash = bytes_hash(text, len, kind);
    for (struct entry *e = *bucket_of(t, hash); e; e = e->next)
        if (e->hash == hash && e->kind == kind && e->len == len && !memcmp(e->text, text, len)) return e;
    return add(t, kind, text, len, hash);
}

static void drop(struct intern *t, struct entry *e) {
    struct entry **at = bucket_of(t, e->hash);
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    free(e);
    t->n--;
    if (t->n_buckets > LEAST_BUCKETS && t->n < t->n_buckets / 8) resize(t, t->n_buckets / 2);
}

/* The entry that a pointer given out lies in; only its owner writes through it. */
static struct entry *entry_of(const void *given) {
    return (struct entry *)(void *)((char *)(uintptr_t)given - offsetof(struct entry, u));
}

const struct life_key *intern_key(struct intern *t, const char *scheme, const char *addr, const char *proxy) {
    char text[PARTS_MAX], *end = put_part(text, scheme, INTERN_KEY_MAX);
    end = put_part(end, addr, INTERN_KEY_MAX);
    end = put_part(end, proxy, INTERN_KEY_MAX);
    struct entry *e = get(t, KIND_KEY, text, end);
    struct life_key *key = &e->u.key;
    key->scheme = e->text;
    key->addr = next_part(key->scheme);
    key->proxy = next_part(key->addr);
    key->refs++;
    return key;
}

/* seen: the part of its text that makes this client another than the one without. */
static struct life_client *get_client(struct intern *t, const char *tag, const char *user_agent, const char *comm,
                                      const void *seen, size_t seen_len) {
    char text[PARTS_MAX], *end = put_part(text, tag, INTERN_CLIENT_MAX);
    end = put_part(end, user_agent, INTERN_CLIENT_MAX);
    if (seen_len) {
        end = put_part(end, comm, INTERN_COMM_MAX);
        memcpy(end, seen, seen_len);
        end += seen_len;
    }
    struct entry *e = get(t, KIND_CLIENT, text, end);
    struct life_client *client = &e->u.client;
    client->tag = e->text;
    client->user_agent = next_part(client->tag);
    client->refs++;
    return client;
}

const struct life_client *intern_client(struct intern *t, const char *tag, const char *user_agent) {
    return get_client(t, tag, user_agent, "", NULL, 0);
}

const struct life_client *intern_client_seen(struct intern *t, const struct life_client *c, uint32_t pid,
                                             const char *comm, uint64_t recv_q) {
    const uint64_t seen[2] = {pid, recv_q};
    bool any = pid || (comm && *comm) || recv_q != UNKNOWN_BYTES;
    struct life_client *client = get_client(t, c->tag, c->user_agent, comm ? comm : "", seen, any ? sizeof(seen) : 0);
    if (!any) return client;
    client->pid = pid;
    client->comm = comm && *comm ? next_part(client->user_agent) : NULL;
    client->probed = recv_q != UNKNOWN_BYTES;
    client->recv_q = client->probed ? recv_q : 0;
    return client;
}

const char *intern_name(struct intern *t, const char *name) {
    char text[PARTS_MAX];
    return get(t, KIND_NAME, text, put_part(text, name, INTERN_CLIENT_MAX))->text;
}

void intern_drop_key(struct intern *t, const struct life_key *key) {
    if (!key) return;
    struct entry *e = entry_of(key);
    if (--e->u.key.refs == 0) drop(t, e);
}

void intern_drop_client(struct intern *t, const struct life_client *client) {
    if (!client) return;
    struct entry *e = entry_of(client);
    if (--e->u.client.refs == 0) drop(t, e);
}
