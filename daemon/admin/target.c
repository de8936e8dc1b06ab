#include "target.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes s in place; false for a broken escape, or one of NUL. */
static bool decode(char *s, bool plus_is_blank) {
    char *out = s;
    for (; *s; s++) {
        if (*s == '%') {
            int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
            if (low < 0 || (high == 0 && low == 0)) return false;
            *out++ = (char)(high << 4 | low);
            s += 2;
        } else {
            *out++ = plus_is_blank && *s == '+' ? ' ' : *s;
        }
    }
    *out = '\0';
    return true;
}

static enum target_error parse_query(struct target *t, char *query) {
    while (query && *query) {
        char *next = strchr(query, '&');
        if (next) *next++ = '\0';
        if (*query) { /* a=1&&b=2 is lawful and means nothing in between */
            if (t->n_params == TARGET_PARAMS_MAX) return TARGET_PARAMS;
            char *value = strchr(query, '=');
            if (value)
                *value++ = '\0';
            else
                value = query + strlen(query);
            if (!decode(query, true) || !decode(value, true)) return TARGET_ESCAPE;
            t->param[t->n_params++] = (struct target_param){query, value};
        }
        query = next;
    }
    return TARGET_OK;
}

enum target_error target_parse(struct target *t, const char *text, size_t len) {
    t->authority = NULL;
    t->path = "/";
    t->n_params = 0;
    if (len >= sizeof t->text - 1) return TARGET_TOO_LONG;
    memcpy(t->text, text, len);
    t->text[len] = '\0';
    if (strlen(t->text) != len) return TARGET_FORM;

    char *path = t->text, *query = strchr(t->text, '?');
    if (query) *query++ = '\0';
    if (strncasecmp(path, "http://", 7) == 0) {
        /* The authority moves to the front, so that it can end before the path's slash. */
        size_t n = strcspn(path + 7, "/");
        memmove(path, path + 7, n);
        t->authority = path;
        path += 7 + n;
        t->text[n] = '\0';
        if (*path == '\0') path = NULL; /* http://host: the root */
    } else if (*path != '/') {
        return TARGET_FORM;
    }
    if (path && !decode(path, false)) return TARGET_ESCAPE;
    if (path) t->path = path;
    return parse_query(t, query);
}

const char *target_error_text(enum target_error e) {
    switch (e) {
    case TARGET_OK:
        return "";
    case TARGET_TOO_LONG:
        return "The request target is longer than 2,046 bytes.";
    case TARGET_FORM:
        return "The request target is neither a path nor an http:// URL.";
    case TARGET_ESCAPE:
        return "The request target has a broken percent escape.";
    case TARGET_PARAMS:
        return "The request target has more than 16 parameters.";
    }
    return "";
}

/* Splits "host", "host:port", "[v6]" or "[v6]:port" into host text; false if it is none of them. */
static bool split_host(const char *text, size_t len, char *host, size_t size) {
    const char *end;
    size_t host_len;
    if (len && text[0] == '[') {
        end = memchr(text, ']', len);
        if (!end) return false;
        host_len = (size_t)(end - text) - 1;
        text++;
        end++;
        len -= host_len + 2;
    } else {
        end = memchr(text, ':', len);
        host_len = end ? (size_t)(end - text) : len;
        end = text + host_len;
        len -= host_len;
    }
    if (host_len == 0 || host_len >= size || memchr(text, '\0', host_len)) return false;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (len == 0) return true;
    if (*end != ':' || len > 6) return false;
    for (size_t i = 1; i < len; i++)
        if (end[i] < '0' || end[i] > '9') return false;
    return true;
}

bool host_is_own(const char *host, size_t len, const struct endpoint *local) {
    static const uint8_t loopback6[16] = {[15] = 1};
    char name[256];
    uint8_t addr[16] = {0};
    if (!split_host(host, len, name, sizeof name)) return false;
    if (host[0] == '[')
        return inet_pton(AF_INET6, name, addr) == 1 &&
               (memcmp(addr, loopback6, 16) == 0 || (local->family == ADDR_V6 && memcmp(addr, local->addr, 16) == 0));
    if (inet_pton(AF_INET, name, addr) == 1)
        return addr[0] == 127 || (local->family == ADDR_V4 && memcmp(addr, local->addr, 4) == 0);
    size_t n = strlen(name);
    if (name[n - 1] == '.') name[n - 1] = '\0';
    return strcasecmp(name, "localhost") == 0;
}

bool origin_is_own(const char *origin, size_t origin_len, const char *host, size_t host_len) {
    return origin_len == 7 + host_len && strncasecmp(origin, "http://", 7) == 0 &&
           strncasecmp(origin + 7, host, host_len) == 0;
}

/* One media range of an Accept field, in thousandths. */
struct range {
    const char *type;
    size_t len;
    int q;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* The next comma-separated element without surrounding blanks; commas in quoted parameters do not count. */
static bool next_element(const char **s, const char *end, char separator, const char **item, size_t *len) {
    if (*s >= end) return false;
    const char *p = *s;
    bool quoted = false;
    for (; p < end && (quoted || *p != separator); p++) {
        if (*p == '\\' && quoted && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    const char *from = *s, *to = p;
    while (from < to && is_blank(*from)) from++;
    while (to > from && is_blank(to[-1])) to--;
    *item = from;
    *len = (size_t)(to - from);
    *s = p < end ? p + 1 : end;
    return true;
}

/* "0.35" to 350; what is not a weight is 1000. */
static int weight(const char *s, size_t len) {
    if (len == 0 || (s[0] != '0' && s[0] != '1')) return 1000;
    int q = (s[0] - '0') * 1000, unit = 100;
    if (len > 1 && s[1] != '.') return 1000;
    for (size_t i = 2; i < len && unit; i++, unit /= 10) {
        if (s[i] < '0' || s[i] > '9') return 1000;
        q += (s[i] - '0') * unit;
    }
    return q > 1000 ? 1000 : q;
}

static struct range parse_range(const char *item, size_t len) {
    const char *s = item, *end = item + len, *part;
    size_t n;
    struct range r = {item, 0, 1000};
    if (next_element(&s, end, ';', &part, &n)) r = (struct range){part, n, 1000};
    while (next_element(&s, end, ';', &part, &n))
        if (n > 2 && (part[0] == 'q' || part[0] == 'Q') && part[1] == '=') r.q = weight(part + 2, n - 2);
    return r;
}

/* How well a range fits a type: 3 exactly, 2 by type/ *, 1 by * / *, 0 not. */
static int fit(const struct range *r, const char *type) {
    size_t major = strcspn(type, "/") + 1;
    if (r->len == strlen(type) && strncasecmp(r->type, type, r->len) == 0) return 3;
    if (r->len == major + 1 && strncasecmp(r->type, type, major) == 0 && r->type[major] == '*') return 2;
    return r->len == 3 && memcmp(r->type, "*/*", 3) == 0 ? 1 : 0;
}

/* The weight that the best fitting range gives a type; 0 where none fits. */
static int quality(const char *accept, size_t len, const char *type) {
    const char *s = accept, *item;
    size_t n;
    int q = 0, best = 0;
    while (next_element(&s, accept + len, ',', &item, &n)) {
        struct range r = parse_range(item, n);
        int f = fit(&r, type);
        if (f > best || (f == best && f > 0 && r.q > q)) {
            best = f;
            q = r.q;
        }
    }
    return q;
}

enum accept_form accept_form(const char *accept, size_t len) {
    int plain = quality(accept, len, "text/plain"), open = quality(accept, len, "application/openmetrics-text");
    int json = quality(accept, len, "application/json");
    if (json >= plain && json >= open) return ACCEPT_JSON;
    return plain >= open ? ACCEPT_TEXT : ACCEPT_OPENMETRICS;
}
