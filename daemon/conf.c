#include "conf.h"
#include "conf_values.h"
#include "core/duration.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAYS(n) ((int64_t)(n)*24 * SEC(3600))
#define MIB(n)  ((int64_t)(n) << 20)
#define LIVE    PF_LIVE
#define RESTART PF_RESTART
#define SECRET  PF_SECRET

const struct param conf_params[] = {
#define X(sec, k, ty, def, lo, hi, un, fl, ref, tx)                                                                    \
    {.section = #sec,                                                                                                  \
     .key = #k,                                                                                                        \
     .type = P_##ty,                                                                                                   \
     .flags = fl,                                                                                                      \
     .dflt = def,                                                                                                      \
     .unit = un,                                                                                                       \
     .refused = ref,                                                                                                   \
     .text = tx,                                                                                                       \
     .min = lo,                                                                                                        \
     .max = hi,                                                                                                        \
     .offset = offsetof(struct conf, sec.k)},
#include "core/tbl/params.h"
#undef X
};
#define N_PARAMS (sizeof(conf_params) / sizeof(*conf_params))
const size_t n_conf_params = N_PARAMS;

static const size_t type_size[] = {
    [P_BOOL] = sizeof(bool),
    [P_INT] = sizeof(int),
    [P_DURATION] = sizeof(int64_t),
    [P_SIZE] = sizeof(uint32_t),
    [P_STRING] = sizeof(char *),
    [P_ENUM] = sizeof(int),
    [P_LISTEN] = sizeof(struct conf_listens),
    [P_CLIENTS] = sizeof(struct conf_nets),
    [P_DESTINATIONS] = sizeof(struct conf_dests),
};

static size_t row(const struct param *p) {
    return (size_t)(p - conf_params);
}
static void *member(struct conf *c, const struct param *p) {
    return (char *)c + p->offset;
}
static const void *const_member(const struct conf *c, const struct param *p) {
    return (const char *)c + p->offset;
}

/* --- values into members --- */

static bool is_none(const char *text) {
    return !*text || !strcasecmp(text, "none");
}

static int enum_word(const char *words, const char *text) {
    size_t len = strlen(text);
    for (int i = 0; *words; i++) {
        size_t n = strcspn(words, "|");
        if (n == len && !strncasecmp(words, text, n)) return i;
        words += n + (words[n] == '|');
    }
    return -1;
}

static void nets_add(struct conf_nets *l, const struct conf_net *net) {
    l->item = conf_alloc(l->item, l->n + 1, sizeof(*l->item));
    l->item[l->n++] = *net;
}

/* One item of a list, appended to the member; false if it is not one. */
static bool add_item(void *m, enum param_type type, const char *text) {
    if (is_none(text)) return false; /* "none" stands alone */
    if (type == P_LISTEN) {
        struct conf_listens *l = m;
        struct conf_listen item;
        if (!value_listen(text, &item)) return false;
        l->item = conf_alloc(l->item, l->n + 1, sizeof(*l->item));
        l->item[l->n++] = item;
        return true;
    }
    if (type == P_DESTINATIONS) {
        struct conf_dests *l = m;
        struct conf_dest item;
        if (!value_dest(text, &item)) return false;
        l->item = conf_alloc(l->item, l->n + 1, sizeof(*l->item));
        l->item[l->n++] = item;
        return true;
    }
    struct conf_net net;
    if (!strcasecmp(text, "loopback")) {
        value_net("127.0.0.0/8", &net);
        nets_add(m, &net);
        text = "::1";
    }
    if (!value_net(text, &net)) return false;
    nets_add(m, &net);
    return true;
}

static void join_text(char **all, const char *item) {
    size_t old = *all ? strlen(*all) + 2 : 0, len = strlen(item);
    *all = conf_alloc(*all, old + len + 1, 1);
    if (old) memcpy(*all + old - 2, ", ", 2);
    memcpy(*all + old, item, len + 1);
}

static size_t list_length(const void *m, enum param_type type) {
    if (type == P_LISTEN) return ((const struct conf_listens *)m)->n;
    return type == P_CLIENTS ? ((const struct conf_nets *)m)->n : ((const struct conf_dests *)m)->n;
}

static void list_free(void *m, enum param_type type) {
    if (type == P_LISTEN)
        listens_free(m);
    else if (type == P_CLIENTS)
        nets_free(m);
    else
        dests_free(m);
}

/* `bad` gets the item that is wrong, or the whole text. */
static bool set_list(void *m, const struct param *p, const char *text, bool append, char **bad) {
    if (!append) list_free(m, p->type);
    char **all = p->type == P_CLIENTS        ? &((struct conf_nets *)m)->text
                 : p->type == P_DESTINATIONS ? &((struct conf_dests *)m)->text
                                             : NULL;
    if (!is_none(text) || append) {
        char *copy = conf_strdup(text, strlen(text)), *rest = copy;
        for (char *item; (item = strsep(&rest, ", \t"));) {
            if (!*item) continue;
            if (!add_item(m, p->type, item)) {
                *bad = conf_strdup(item, strlen(item));
                free(copy);
                return false;
            }
            if (all) join_text(all, item);
        }
        free(copy);
    }
    size_t n = list_length(m, p->type);
    if ((int64_t)n >= p->min && (int64_t)n <= p->max) return true;
    *bad = conf_strdup(text, strlen(text));
    return false;
}

static bool set_number(void *m, const struct param *p, const char *text) {
    int64_t v = 0;
    uint64_t size = 0;
    bool ok = p->type == P_INT        ? value_int(text, &v)
              : p->type == P_DURATION ? duration_parse(text, &v)
                                      : value_size(text, &size);
    if (p->type == P_SIZE) v = size > INT64_MAX ? INT64_MAX : (int64_t)size;
    if (!ok || v < p->min || v > p->max) return false;
    if (p->type == P_INT)
        *(int *)m = (int)v;
    else if (p->type == P_DURATION)
        *(int64_t *)m = v;
    else
        *(uint32_t *)m = (uint32_t)v;
    return true;
}

/* False: the value is not one; `bad` is the part that is wrong, malloc'd. */
static bool set_member(struct conf *c, const struct param *p, const char *text, bool append, char **bad) {
    void *m = member(c, p);
    bool ok = true;
    switch (p->type) {
    case P_BOOL:
        ok = value_bool(text, m);
        break;
    case P_INT:
    case P_DURATION:
    case P_SIZE:
        ok = set_number(m, p, text);
        break;
    case P_ENUM: {
        int word = enum_word(p->unit, text);
        ok = word >= 0;
        if (ok) *(int *)m = word;
        break;
    }
    case P_STRING: {
        char **s = m;
        free(*s);
        *s = is_none(text) ? NULL : conf_strdup(text, strlen(text));
        break;
    }
    case P_LISTEN:
    case P_CLIENTS:
    case P_DESTINATIONS:
        return set_list(m, p, text, append, bad);
    }
    if (!ok) *bad = conf_strdup(text, strlen(text));
    return ok;
}

/* --- what was expected --- */

static void expected(const struct param *p, char *buf, size_t size) {
    char lo[VALUE_TEXT_MAX], hi[VALUE_TEXT_MAX];
    switch (p->type) {
    case P_BOOL:
        snprintf(buf, size, "on or off");
        break;
    case P_INT:
        snprintf(buf, size, "a number from %lld to %lld", (long long)p->min, (long long)p->max);
        break;
    case P_DURATION:
        snprintf(buf, size, "a duration from %s to %s, such as 250ms or 1m30s", duration_text(p->min, lo),
                 duration_text(p->max, hi));
        break;
    case P_SIZE:
        snprintf(buf, size, "a size from %s to %s, such as 4096 or 64k", size_text((uint64_t)p->min, lo),
                 size_text((uint64_t)p->max, hi));
        break;
    case P_STRING:
        snprintf(buf, size, "%s", p->unit);
        break;
    case P_ENUM: {
        size_t n = (size_t)snprintf(buf, size, "one of ");
        for (const char *w = p->unit; *w && n + 2 < size; w++) {
            if (*w == '|')
                buf[n++] = ',', buf[n++] = ' ';
            else
                buf[n++] = *w;
        }
        buf[n < size ? n : size - 1] = 0;
        break;
    }
    case P_LISTEN:
        snprintf(buf, size, "%lld to %lld of address:port, [v6]:port, localhost:port or unix:PATH", (long long)p->min,
                 (long long)p->max);
        break;
    case P_CLIENTS:
    case P_DESTINATIONS:
        snprintf(buf, size, "none, or at most %lld of: %s", (long long)p->max, p->unit);
        break;
    }
}

/* Why a well-formed value is not accepted; NULL if it is. */
static const char *why_refused(const struct conf *c, const struct param *p) {
    if (member((struct conf *)c, p) == &c->proxy.mode)
        return c->proxy.mode == MODE_TRANSPARENT ? "transparent mode is not in this version; use forward or reverse"
                                                 : NULL;
    if (!*p->refused) return NULL;
    struct conf *d = conf_default();
    char *is = conf_value_text(c, p), *dflt = conf_value_text(d, p);
    bool differs = strcmp(is, dflt) != 0;
    free(is);
    free(dflt);
    conf_free(&d);
    return differs ? p->refused : NULL;
}

/* --- did you mean --- */

/* Levenshtein's distance, or `limit` if it is that or more. */
static unsigned distance(const char *a, const char *b, unsigned limit) {
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    unsigned d[MAX + 1];
    if (n >= MAX || m >= MAX) return limit;
    for (size_t j = 0; j <= m; j++) d[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = d[0];
        d[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (d[j] + 1 < best) best = d[j] + 1;
            if (d[j - 1] + 1 < best) best = d[j - 1] + 1;
            diagonal = d[j];
            d[j] = best;
        }
    }
    return d[m] < limit ? d[m] : limit;
}

static void param_name(const struct param *p, char *buf, size_t size) {
    snprintf(buf, size, "%s.%s", p->section, p->key);
}

/* The nearest parameter: the same key elsewhere, a longer form, or a few slips away. */
static const struct param *nearest(const char *section, const char *key) {
    char given[128], name[64];
    snprintf(given, sizeof(given), "%s.%s", section, key);
    const struct param *best = NULL;
    unsigned best_d = 4;
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) {
        if (!strcmp(p->key, key)) return p;
        param_name(p, name, sizeof(name));
        unsigned d = distance(given, name, best_d);
        if (d < best_d) best = p, best_d = d;
    }
    for (const struct param *p = conf_params; !best && *key && p < conf_params + N_PARAMS; p++)
        if (!strcmp(p->section, section) && strstr(p->key, key)) best = p;
    return best;
}

static bool has_section(const char *section) {
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++)
        if (!strcmp(p->section, section)) return true;
    return false;
}

static bool fail_unknown(const char *where, const char *section, const char *key, char err[CONF_ERROR_MAX]) {
    const struct param *p = nearest(section, key);
    if (p)
        return conf_fail(err, "%s: no parameter %.60s.%.60s; did you mean %s.%s?", where, section, key, p->section,
                         p->key);
    if (has_section(section))
        return conf_fail(err, "%s: section [%.60s] has no parameter %.60s; see connleakd.conf(5)", where, section, key);
    return conf_fail(err,
                     "%s: no section [%.60s]; expected pool, proxy, access, tls, admin, ledger, findings, probe or log",
                     where, section);
}

const struct param *conf_param(const char *name) {
    char text[64];
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) {
        param_name(p, text, sizeof(text));
        if (!strcmp(text, name)) return p;
    }
    return NULL;
}

static const struct param *find(const char *section, const char *key) {
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++)
        if (!strcmp(p->section, section) && !strcmp(p->key, key)) return p;
    return NULL;
}

/* --- setting --- */

static void set_where(struct conf *c, const struct param *p, const char *where) {
    free(c->where[row(p)]);
    c->where[row(p)] = where ? conf_strdup(where, strlen(where)) : NULL;
}

/* `place` begins the error, its colon included; `where` is kept for later ones. */
static bool set_value(struct conf *c, const struct param *p, const char *text, bool append, const char *place,
                      const char *where, char err[CONF_ERROR_MAX]) {
    char *bad = NULL;
    if (!set_member(c, p, text, append, &bad)) {
        char want[200];
        expected(p, want, sizeof(want));
        conf_fail(err, "%s%s.%s: bad value \"%.100s\"; expected %s", place, p->section, p->key, bad, want);
        free(bad);
        return false;
    }
    const char *why = why_refused(c, p);
    if (why) return conf_fail(err, "%s%s.%s = %.100s: %s", place, p->section, p->key, text, why);
    set_where(c, p, where);
    return true;
}

bool conf_set(struct conf *c, const char *set, char err[CONF_ERROR_MAX]) {
    char place[160], section[64], key[64];
    snprintf(place, sizeof(place), "--set %.120s", set);
    const char *dot = strchr(set, '.'), *eq = strchr(set, '=');
    if (!dot || !eq || dot > eq || dot == set || eq == dot + 1)
        return conf_fail(err, "%s: expected SECTION.KEY=VALUE, such as pool.max_idle_conns=10", place);
    snprintf(section, sizeof(section), "%.*s", (int)(dot - set < 63 ? dot - set : 63), set);
    snprintf(key, sizeof(key), "%.*s", (int)(eq - dot - 1 < 63 ? eq - dot - 1 : 63), dot + 1);
    const struct param *p = find(section, key);
    if (!p) return fail_unknown(place, section, key, err);
    return set_value(c, p, eq + 1, false, "--set ", "--set", err);
}

/* --- the file --- */

struct file_reader {
    struct conf *c;
    const char *path;
    FILE *f;
    char *err;
    int line;
    bool indented;        /* the line begins with a blank: it goes on with the value before */
    bool failed;          /* at `line`, with err filled: read no further */
    int set_at[N_PARAMS]; /* the line where it was set in this file */
};

/* inih would pass over what stands behind "[section]" on its line. */
static bool section_line_ok(const char *line) {
    line += strspn(line, " \t");
    const char *end = *line == '[' ? strchr(line, ']') : NULL;
    if (!end) return true;
    end += 1 + strspn(end + 1, " \t\r\n");
    return !*end || *end == ';' || *end == '#';
}

/* inih calls this for each line and the handler right after it, so the number of
 * lines read so far is the handler's line. */
static char *read_line(char *buf, int size, void *arg) {
    struct file_reader *r = arg;
    int n = 0, ch = 0;
    if (r->failed) return NULL;
    while (n + 1 < size && ch != '\n' && (ch = getc(r->f)) != EOF) buf[n++] = (char)ch;
    buf[n] = 0;
    if (!n) return NULL;
    r->line++;
    r->indented = *buf == ' ' || *buf == '\t';
    r->failed = true;
    if (memchr(buf, 0, (size_t)n)) {
        conf_fail(r->err, "%s:%d: a NUL byte; expected text", r->path, r->line);
    } else if (ch != '\n' && ch != EOF) {
        conf_fail(r->err,
                  "%s:%d: longer than %d characters; a list goes on in the next line if that begins with a blank",
                  r->path, r->line, size - 2);
    } else if (!section_line_ok(buf)) {
        conf_fail(r->err, "%s:%d: something stands behind the ] of a [section]", r->path, r->line);
    } else {
        r->failed = false;
        return buf;
    }
    return NULL;
}

static int file_value(void *arg, const char *section, const char *key, const char *value) {
    struct file_reader *r = arg;
    if (r->failed) return 0;
    char where[300], place[304];
    snprintf(where, sizeof(where), "%.280s:%d", r->path, r->line);
    snprintf(place, sizeof(place), "%s: ", where);
    const struct param *p = find(section, key);
    if (!*section)
        conf_fail(r->err, "%s: %.60s stands before the first [section]", where, key);
    else if (!p)
        fail_unknown(where, section, key, r->err);
    else if (r->indented && r->set_at[row(p)] && p->type < P_LISTEN)
        conf_fail(r->err, "%s: begins with a blank, so it would go on with %s.%s, which is not a list", where, section,
                  key);
    else if (!r->indented && r->set_at[row(p)])
        conf_fail(r->err, "%s: %s.%s is set twice, first in line %d", where, section, key, r->set_at[row(p)]);
    else if (set_value(r->c, p, value, r->set_at[row(p)] != 0, place, where, r->err)) {
        if (!r->set_at[row(p)]) r->set_at[row(p)] = r->line;
        return 1;
    }
    r->failed = true;
    return 0;
}

bool conf_load_file(struct conf *c, const char *path, char err[CONF_ERROR_MAX]) {
    struct file_reader r = {.c = c, .path = path, .err = err, .f = fopen(path, "re")};
    if (!r.f) return conf_fail(err, "%.280s: %s", path, strerror(errno));
    errno = 0;
    int bad_line = ini_parse_stream(read_line, &r, file_value, &r);
    int read_errno = ferror(r.f) ? errno : 0;
    fclose(r.f);
    if (read_errno) return conf_fail(err, "%.280s: %s", path, strerror(read_errno));
    if (bad_line < 0) abort(); /* out of memory */
    if (bad_line && (!r.failed || bad_line < r.line))
        return conf_fail(err, "%.280s:%d: expected [section], key = value, or a comment", path, bad_line);
    return !r.failed;
}

/* --- the whole --- */

struct conf *conf_default(void) {
    struct conf *c = conf_alloc(NULL, 1, sizeof(*c));
    memset(c, 0, sizeof(*c));
    c->where = conf_alloc(NULL, N_PARAMS, sizeof(*c->where));
    memset(c->where, 0, N_PARAMS * sizeof(*c->where));
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) {
        char *bad = NULL;
        if (!set_member(c, p, p->dflt, false, &bad)) abort(); /* the table is wrong: t_conf would say where */
    }
    return c;
}

void conf_free(struct conf **cp) {
    struct conf *c = *cp;
    if (!c) return;
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) {
        if (p->type == P_STRING)
            free(*(char **)member(c, p));
        else if (p->type >= P_LISTEN)
            list_free(member(c, p), p->type);
        free(c->where[row(p)]);
    }
    free(c->proxy.upstream_host);
    free(c->proxy.upstream_authority);
    free(c->where);
    free(c);
    *cp = NULL;
}

const char *conf_where(const struct conf *c, const struct param *p) {
    const char *where = c->where[row(p)];
    return where ? where : "default";
}

struct conf *conf_build(const char *path, const char *const *sets, size_t n_sets, char err[CONF_ERROR_MAX]) {
    struct conf *c = conf_default();
    if (path && !conf_load_file(c, path, err)) goto fail;
    for (size_t i = 0; i < n_sets; i++)
        if (!conf_set(c, sets[i], err)) goto fail;
    if (!conf_check(c, err)) goto fail;
    return c;
fail:
    conf_free(&c);
    return NULL;
}

/* --- reading it back --- */

static char *listens_text(const struct conf_listens *l) {
    char *all = NULL;
    for (size_t i = 0; i < l->n; i++) join_text(&all, l->item[i].text);
    return all ? all : conf_strdup("none", 4);
}

static char *enum_text(const char *words, int i) {
    while (i-- > 0) words += strcspn(words, "|") + 1;
    return conf_strdup(words, strcspn(words, "|"));
}

char *conf_value_text(const struct conf *c, const struct param *p) {
    const void *m = const_member(c, p);
    char buf[VALUE_TEXT_MAX];
    const char *text = NULL;
    switch (p->type) {
    case P_BOOL:
        text = *(const bool *)m ? "true" : "false";
        break;
    case P_INT:
        snprintf(buf, sizeof(buf), "%d", *(const int *)m);
        text = buf;
        break;
    case P_DURATION:
        text = duration_text(*(const int64_t *)m, buf);
        break;
    case P_SIZE:
        text = size_text(*(const uint32_t *)m, buf);
        break;
    case P_STRING:
        text = *(char *const *)m;
        break;
    case P_ENUM:
        return enum_text(p->unit, *(const int *)m);
    case P_LISTEN:
        return listens_text(m);
    case P_CLIENTS:
        text = ((const struct conf_nets *)m)->text;
        break;
    case P_DESTINATIONS:
        text = ((const struct conf_dests *)m)->text;
        break;
    }
    if (!text) text = "none";
    return conf_strdup(text, strlen(text));
}

void conf_pool(const struct conf *c, struct pool_conf *out) {
    *out = (struct pool_conf){
        .max_idle_conns = c->pool.max_idle_conns,
        .max_idle_conns_per_host = c->pool.max_idle_conns_per_host,
        .max_conns_per_host = c->pool.max_conns_per_host,
        .idle_conn_timeout = c->pool.idle_conn_timeout,
        .disable_keep_alives = c->pool.disable_keep_alives,
        .profile = (enum pool_profile)c->pool.profile,
    };
}

/* One parameter: its name and its default, and its sentence below. */
static void help_row(FILE *out, const struct param *p) {
    enum { TEXT_AT = 4, WIDTH = 80 };
    int column = 0;
    char line[600];
    fprintf(out, "%s.%s=%s\n", p->section, p->key, p->dflt);
    snprintf(line, sizeof(line), "%s%s", p->text, *p->refused ? " Not in this version." : "");
    const char *text = line;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column + 1 + word > WIDTH) column = (fputc('\n', out), 0);
        int pad = column == 0 ? TEXT_AT : 1;
        column += fprintf(out, "%*s%.*s", pad, "", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void conf_help(FILE *out) {
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) help_row(out, p);
}

/* --- SIGHUP --- */

static void swap_bytes(void *a, void *b, size_t size) {
    unsigned char tmp[sizeof(struct conf_dests)];
    memcpy(tmp, a, size);
    memcpy(a, b, size);
    memcpy(b, tmp, size);
}
_Static_assert(sizeof(struct conf_dests) >= sizeof(struct conf_listens) &&
                   sizeof(struct conf_dests) >= sizeof(struct conf_nets),
               "swap_bytes holds the largest member");

void conf_reload(struct conf *c, struct conf **next, conf_changed_fn *fn, void *arg) {
    for (const struct param *p = conf_params; p < conf_params + N_PARAMS; p++) {
        bool applied = p->flags & PF_LIVE;
        char *was = conf_value_text(c, p), *now = conf_value_text(*next, p);
        if (strcmp(was, now) != 0 && fn) fn(arg, p, applied, was, now);
        free(was);
        free(now);
        if (!applied) continue;
        swap_bytes(member(c, p), member(*next, p), type_size[p->type]);
        swap_bytes(&c->where[row(p)], &(*next)->where[row(p)], sizeof(*c->where));
    }
    conf_free(next);
}
