#include "workload.h"

#include "idmap.h"
#include "time_sort.h"

#include <stdlib.h>
#include <string.h>

/* ---- texts: one behind the other, each with its NUL; a text's number is where it begins ---- */

struct texts {
    char *bytes;
    uint32_t used, room;
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t n, n_slots;
};

struct workload_store {
    struct texts texts;
    uint32_t *origin_slots; /* row + 1; 0: free */
    uint32_t n_origin_slots;
    uint32_t origins_room, conns_room, exchanges_room;
};

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

static uint32_t *text_slot(const struct texts *t, const char *text, size_t len) {
    uint32_t mask = t->n_slots - 1;
    uint32_t i = (uint32_t)bytes_hash(text, len, 0) & mask;

    for (; t->slots[i]; i = (i + 1) & mask) {
        const char *have = t->bytes + t->slots[i] - 1;
        if (!strncmp(have, text, len) && !have[len]) break;
    }
    return &t->slots[i];
}

static void grow_text_slots(struct texts *t) {
    free(t->slots);
    t->n_slots = t->n_slots ? t->n_slots * 2 : 256;
    t->slots = must_have(calloc(t->n_slots, sizeof *t->slots));
    for (uint32_t at = 0; at < t->used; at += (uint32_t)strlen(t->bytes + at) + 1)
        *text_slot(t, t->bytes + at, strlen(t->bytes + at)) = at + 1;
}

static uint32_t texts_put(struct texts *t, const char *text, size_t len, uint32_t limit) {
    uint32_t *slot;

    if (len > WORKLOAD_TEXT_MAX) len = WORKLOAD_TEXT_MAX;
    len = strnlen(text, len);
    if (t->n >= t->n_slots / 2) grow_text_slots(t);
    slot = text_slot(t, text, len);
    if (*slot) return *slot - 1;
    if (len + 1 > limit - t->used) return WORKLOAD_NO;
    if (t->room - t->used < len + 1) {
        uint64_t room = t->room ? (uint64_t)t->room * 2 : 4096;
        t->room = room > limit ? limit : (uint32_t)room;
        t->bytes = must_have(realloc(t->bytes, t->room));
    }
    memcpy(t->bytes + t->used, text, len);
    t->bytes[t->used + len] = 0;
    *slot = t->used + 1;
    t->used += (uint32_t)len + 1;
    t->n++;
    return *slot - 1;
}

static void texts_free(struct texts *t) {
    free(t->bytes);
    free(t->slots);
    *t = (struct texts){0};
}

uint32_t workload_text(struct workload *w, const char *text, size_t len) {
    return texts_put(&w->store->texts, text, len, w->limits.text_bytes);
}

const char *workload_text_of(const struct workload *w, uint32_t text) {
    return text == WORKLOAD_NO ? "" : w->store->texts.bytes + text;
}

/* ---- the tables ---- */

struct workload *workload_new(const struct workload_limits *limits) {
    struct workload *w = must_have(calloc(1, sizeof *w));

    w->limits = *limits;
    /* One room of 4,096 bytes at least, so that the arithmetic above has no corner. */
    if (w->limits.text_bytes < 4096) w->limits.text_bytes = 4096;
    w->store = must_have(calloc(1, sizeof *w->store));
    return w;
}

void workload_free(struct workload **wp) {
    struct workload *w = *wp;

    if (!w) return;
    texts_free(&w->store->texts);
    free(w->store->origin_slots);
    free(w->store);
    free(w->origins);
    free(w->conns);
    free(w->exchanges);
    free(w);
    *wp = NULL;
}

/* Makes room for one row more. */
static bool make_room(void **rows, uint32_t n, uint32_t *room, uint32_t limit, size_t size) {
    uint64_t want = *room ? (uint64_t)*room * 2 : 64;

    if (n >= limit) return false;
    if (n < *room) return true;
    if (want > limit) want = limit;
    *rows = must_have(realloc(*rows, (size_t)want * size));
    *room = (uint32_t)want;
    return true;
}

struct workload_conn *workload_add_conn(struct workload *w) {
    struct workload_conn *c;

    if (!make_room((void **)&w->conns, w->n_conns, &w->store->conns_room, w->limits.conns, sizeof *c)) return NULL;
    c = &w->conns[w->n_conns++];
    *c = (struct workload_conn){.dial_ns = NO_TIME,
                                .tls_ns = NO_TIME,
                                .closed_ns = NO_TIME,
                                .idle_ns = NO_TIME,
                                .unread_bytes = UNKNOWN_BYTES,
                                .client = WORKLOAD_NO,
                                .server = WORKLOAD_NO,
                                .origin = WORKLOAD_NO};
    return c;
}

struct workload_exchange *workload_add_exchange(struct workload *w) {
    struct workload_exchange *x;

    if (!make_room((void **)&w->exchanges, w->n_exchanges, &w->store->exchanges_room, w->limits.exchanges, sizeof *x))
        return NULL;
    x = &w->exchanges[w->n_exchanges++];
    *x = (struct workload_exchange){.sent_ns = NO_TIME,
                                    .first_ns = NO_TIME,
                                    .done_ns = NO_TIME,
                                    .announced = UNKNOWN_BYTES,
                                    .taken = UNKNOWN_BYTES,
                                    .conn = WORKLOAD_NO,
                                    .origin = WORKLOAD_NO,
                                    .method = WORKLOAD_NO,
                                    .path = WORKLOAD_NO,
                                    .end = END_UNKNOWN};
    return x;
}

/* ---- origins, found by the numbers of their texts ---- */

static uint32_t *origin_slot(const struct workload *w, uint32_t scheme, uint32_t host) {
    const struct workload_store *s = w->store;
    uint64_t id = (uint64_t)scheme << 32 | host;
    uint32_t mask = s->n_origin_slots - 1, i = (uint32_t)bytes_hash(&id, sizeof id, 0) & mask;

    for (; s->origin_slots[i]; i = (i + 1) & mask) {
        const struct workload_origin *o = &w->origins[s->origin_slots[i] - 1];
        if (o->scheme == scheme && o->host == host) break;
    }
    return &s->origin_slots[i];
}

static void index_origins(struct workload *w, uint32_t n_slots) {
    struct workload_store *s = w->store;

    free(s->origin_slots);
    s->n_origin_slots = n_slots;
    s->origin_slots = must_have(calloc(n_slots, sizeof *s->origin_slots));
    for (uint32_t i = 0; i < w->n_origins; i++) *origin_slot(w, w->origins[i].scheme, w->origins[i].host) = i + 1;
}

uint32_t workload_origin(struct workload *w, const char *scheme, const char *host) {
    struct workload_store *s = w->store;
    uint32_t scheme_text = workload_text(w, scheme, strlen(scheme)), host_text = workload_text(w, host, strlen(host));
    uint32_t *slot;

    if (scheme_text == WORKLOAD_NO || host_text == WORKLOAD_NO) return WORKLOAD_NO;
    if (w->n_origins >= s->n_origin_slots / 2) index_origins(w, s->n_origin_slots ? s->n_origin_slots * 2 : 64);
    slot = origin_slot(w, scheme_text, host_text);
    if (*slot) return *slot - 1;
    if (!make_room((void **)&w->origins, w->n_origins, &s->origins_room, w->limits.origins, sizeof *w->origins))
        return WORKLOAD_NO;
    w->origins[w->n_origins] = (struct workload_origin){scheme_text, host_text};
    *slot = ++w->n_origins;
    return w->n_origins - 1;
}

/* ---- order ---- */

static void sort_exchanges(struct workload *w) {
    struct workload_exchange *sorted;
    struct timed *places;
    uint32_t i;

    for (i = 1; i < w->n_exchanges && w->exchanges[i - 1].at_ns <= w->exchanges[i].at_ns;) i++;
    if (i >= w->n_exchanges) return;
    places = must_have(malloc(w->n_exchanges * sizeof *places));
    sorted = must_have(malloc(w->n_exchanges * sizeof *sorted));
    for (i = 0; i < w->n_exchanges; i++) places[i] = (struct timed){w->exchanges[i].at_ns, i};
    time_sort(places, w->n_exchanges);
    for (i = 0; i < w->n_exchanges; i++) sorted[i] = w->exchanges[places[i].what];
    free(places);
    free(w->exchanges);
    w->exchanges = sorted;
    w->store->exchanges_room = w->n_exchanges;
}

static void sort_conns(struct workload *w) {
    struct workload_conn *sorted;
    struct timed *places;
    uint32_t *moved, i;

    for (i = 1; i < w->n_conns && w->conns[i - 1].opened_ns <= w->conns[i].opened_ns;) i++;
    if (i >= w->n_conns) return;
    places = must_have(malloc(w->n_conns * sizeof *places));
    sorted = must_have(malloc(w->n_conns * sizeof *sorted));
    moved = must_have(malloc(w->n_conns * sizeof *moved));
    for (i = 0; i < w->n_conns; i++) places[i] = (struct timed){w->conns[i].opened_ns, i};
    time_sort(places, w->n_conns);
    for (i = 0; i < w->n_conns; i++) {
        sorted[i] = w->conns[places[i].what];
        moved[places[i].what] = i;
    }
    for (i = 0; i < w->n_exchanges; i++)
        if (w->exchanges[i].conn < w->n_conns) w->exchanges[i].conn = moved[w->exchanges[i].conn];
    free(places);
    free(moved);
    free(w->conns);
    w->conns = sorted;
    w->store->conns_room = w->n_conns;
}

void workload_sort(struct workload *w) {
    sort_conns(w);
    sort_exchanges(w);
}

int64_t workload_after(int64_t at_ns, int64_t from_ns) {
    int64_t ns;

    if (__builtin_sub_overflow(at_ns, from_ns, &ns)) ns = at_ns > from_ns ? WORKLOAD_TIME_MAX : 0;
    return ns < 0 ? 0 : ns > WORKLOAD_TIME_MAX ? WORKLOAD_TIME_MAX : ns;
}

void workload_begin(struct workload *w, wall_ns began_ns, wall_ns ended_ns) {
    began_ns -= began_ns % 1000;
    w->began_ns = began_ns;
    w->duration_ns = workload_after(ended_ns, began_ns);
    for (uint32_t i = 0; i < w->n_conns; i++) {
        struct workload_conn *c = &w->conns[i];
        c->opened_ns = workload_after(c->opened_ns, began_ns);
        if (c->closed_ns != NO_TIME) c->closed_ns = workload_after(c->closed_ns, began_ns);
    }
    for (uint32_t i = 0; i < w->n_exchanges; i++)
        w->exchanges[i].at_ns = workload_after(w->exchanges[i].at_ns, began_ns);
    workload_sort(w);
}

/* ---- labels instead of names ---- */

/* One kind of name: which label each text of the old store got. */
struct labels {
    const char *prefix;
    const char *suffix; /* before the port */
    bool keeps_port;
    uint64_t n;
    struct idmap given; /* old text + 1: new text + 1 */
};

static size_t put_number(char *out, uint64_t n) {
    char digits[20];
    size_t len = 0;

    do digits[len++] = (char)('0' + n % 10);
    while (n /= 10);
    for (size_t i = 0; i < len; i++) out[i] = digits[len - 1 - i];
    return len;
}

/* ":80" of "api.example:80", "" where there is none. */
static const char *port_of(const char *host) {
    const char *colon = strrchr(host, ':');

    return colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) && strlen(colon) <= 6 ? colon : "";
}

static uint32_t give_label(struct labels *l, const struct texts *from, struct texts *to, uint32_t text) {
    const char *name;
    char label[64];
    size_t len = 0;
    uint32_t made;
    uintptr_t given;

    if (text == WORKLOAD_NO) return WORKLOAD_NO;
    name = from->bytes + text;
    given = (uintptr_t)idmap_get(&l->given, (uint64_t)text + 1);
    if (given) return (uint32_t)(given - 1);
    for (const char *p = l->prefix; *p;) label[len++] = *p++;
    len += put_number(label + len, ++l->n);
    for (const char *p = l->suffix; *p;) label[len++] = *p++;
    for (const char *p = l->keeps_port ? port_of(name) : ""; *p;) label[len++] = *p++;
    made = texts_put(to, label, len, UINT32_MAX);
    idmap_put(&l->given, (uint64_t)text + 1, (void *)((uintptr_t)made + 1)); /* NOLINT(performance-no-int-to-ptr) */
    return made;
}

static const char *known_method(const char *name) {
    static const char *const known[] = {"GET",     "HEAD",  "POST",   "PUT",      "DELETE", "CONNECT",
                                        "OPTIONS", "TRACE", "PATCH",  "PROPFIND", "MKCOL",  "COPY",
                                        "MOVE",    "LOCK",  "UNLOCK", "SEARCH",   "REPORT", "QUERY"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], name)) return known[i];
    return "OTHER";
}

static uint32_t copy_text(struct texts *to, const char *text) {
    return texts_put(to, text, strlen(text), UINT32_MAX);
}

void workload_anonymise(struct workload *w) {
    struct labels hosts = {.prefix = "host-", .suffix = ".invalid", .keeps_port = true},
                  clients = {.prefix = "client-", .suffix = ""},
                  servers = {.prefix = "server-", .suffix = "", .keeps_port = true},
                  paths = {.prefix = "/path-", .suffix = ""};
    struct texts from = w->store->texts, to = {0};

    for (uint32_t i = 0; i < w->n_origins; i++) {
        struct workload_origin *o = &w->origins[i];
        o->scheme = copy_text(&to, strcmp(from.bytes + o->scheme, "https") ? "http" : "https");
        o->host = give_label(&hosts, &from, &to, o->host);
    }
    for (uint32_t i = 0; i < w->n_conns; i++) {
        struct workload_conn *c = &w->conns[i];
        c->client = give_label(&clients, &from, &to, c->client);
        c->server = give_label(&servers, &from, &to, c->server);
    }
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        struct workload_exchange *x = &w->exchanges[i];
        if (x->method != WORKLOAD_NO) x->method = copy_text(&to, known_method(from.bytes + x->method));
        x->path = give_label(&paths, &from, &to, x->path);
    }
    idmap_clear(&hosts.given);
    idmap_clear(&clients.given);
    idmap_clear(&servers.given);
    idmap_clear(&paths.given);
    texts_free(&from);
    w->store->texts = to;
    if (w->n_origins) index_origins(w, w->store->n_origin_slots);
    w->anonymous = true;
}

/* ---- words ---- */

static const char *const end_names[] = {
#define X(sym, name, text) name,
#include "tbl/workload_ends.h"
#undef X
};

const char *workload_end_name(enum workload_end e) {
    return (unsigned)e < N_WORKLOAD_ENDS ? end_names[e] : "?";
}

bool workload_end_parse(const char *name, size_t len, enum workload_end *out) {
    for (unsigned i = 0; i < N_WORKLOAD_ENDS; i++) {
        if (strlen(end_names[i]) != len || memcmp(end_names[i], name, len) != 0) continue;
        *out = (enum workload_end)i;
        return true;
    }
    return false;
}
