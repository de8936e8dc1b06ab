#define _GNU_SOURCE /* memmem */
#include "destination.h"

#include <string.h>
#include <strings.h>

static bool parse_port(const uint8_t *p, size_t n, uint16_t *out) {
    unsigned v = 0;
    if (n == 0 || n > 5) return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        v = v * 10 + (p[i] - '0');
    }
    if (v == 0 || v > 65535) return false;
    *out = (uint16_t)v;
    return true;
}

/* Go's addr: host:port, IPv6 in brackets. */
static void put_addr(struct target *out, size_t host_len, bool v6) {
    char *p = out->addr, digits[5];
    size_t n = 0;
    if (v6) *p++ = '[';
    memcpy(p, out->host, host_len);
    p += host_len;
    if (v6) *p++ = ']';
    *p++ = ':';
    for (unsigned v = out->port; v; v /= 10) digits[n++] = (char)('0' + v % 10);
    while (n) *p++ = digits[--n];
    *p = 0;
}

/* host, host:port or [v6]:port; the default port is 0 where there must be one. */
static enum destination_error parse_authority(const uint8_t *p, size_t n, uint16_t default_port, struct target *out) {
    if (memchr(p, '@', n)) return TARGET_USERINFO;
    size_t host_len;
    const uint8_t *host = p, *rest;
    bool v6 = n && p[0] == '[';
    if (v6) {
        const uint8_t *end = memchr(p, ']', n);
        if (!end) return TARGET_HOST;
        host = p + 1;
        host_len = (size_t)(end - host);
        rest = end + 1;
        for (size_t i = 0; i < host_len; i++)
            if (!strchr("0123456789abcdefABCDEF:.", host[i]) || !host[i]) return TARGET_HOST;
    } else {
        host_len = h1_host_len(p, n);
        rest = p + host_len;
    }
    if (host_len == 0 || host_len > HOST_MAX) return TARGET_HOST;
    size_t rest_len = n - (size_t)(rest - p);
    out->port = default_port;
    if (rest_len && rest[0] != ':') return TARGET_HOST;
    /* "host:" with an empty port means the default (RFC 3986, 3.2.3). */
    if (rest_len > 1 && !parse_port(rest + 1, rest_len - 1, &out->port)) return TARGET_PORT;
    if (!out->port) return TARGET_PORT;
    memcpy(out->host, host, host_len);
    out->host[host_len] = 0;
    put_addr(out, host_len, v6);
    return TARGET_OK;
}

/* Only what may stand in a path or query; a fragment never goes over the wire. */
static bool is_path(const uint8_t *p, size_t n) {
    return !memchr(p, '#', n);
}

static enum destination_error parse_absolute(const struct h1_head *head, const uint8_t *bytes, struct target *out) {
    const uint8_t *t = bytes + head->target.off;
    size_t n = head->target.len, scheme = 0;
    if (n > 7 && strncasecmp((const char *)t, "http://", 7) == 0)
        scheme = 7;
    else if (n > 8 && strncasecmp((const char *)t, "https://", 8) == 0)
        scheme = 8;
    else
        return memmem(t, n, "://", 3) ? TARGET_SCHEME : TARGET_FORM;
    out->tls = scheme == 8;
    size_t end = scheme;
    while (end < n && t[end] != '/' && t[end] != '?' && t[end] != '#') end++;
    if (!is_path(t + end, n - end)) return TARGET_FORM;
    out->authority = (struct h1_span){head->target.off + (uint32_t)scheme, (uint32_t)(end - scheme)};
    out->path = (struct h1_span){head->target.off + (uint32_t)end, (uint32_t)(n - end)};
    return parse_authority(t + scheme, end - scheme, out->tls ? 443 : 80, out);
}

enum destination_error destination_parse_path(const struct h1_head *head, const uint8_t *bytes, struct target *out) {
    const uint8_t *t = bytes + head->target.off;
    size_t n = head->target.len;
    if (!n) return TARGET_FORM;
    out->authority = head->host;
    if (t[0] == '/' || (n == 1 && t[0] == '*')) {
        out->path = head->target;
        return is_path(t, n) ? TARGET_OK : TARGET_FORM;
    }
    struct target absolute;
    enum destination_error e = parse_absolute(head, bytes, &absolute);
    if (e != TARGET_OK) return e;
    out->path = absolute.path;
    out->authority = absolute.authority;
    return TARGET_OK;
}

enum destination_error destination_parse(const struct h1_head *head, const uint8_t *bytes, struct target *out) {
    const uint8_t *t = bytes + head->target.off;
    size_t n = head->target.len;
    out->tls = false;
    out->port = 0;
    out->authority = out->path = (struct h1_span){0};
    if (head->is_connect) {
        out->authority = head->target;
        return parse_authority(t, n, 0, out);
    }
    if (!n || (t[0] != '/' && !(n == 1 && t[0] == '*'))) return parse_absolute(head, bytes, out);
    if (!is_path(t, n)) return TARGET_FORM;
    if (!head->has_host || !head->host.len) return TARGET_NO_HOST;
    out->authority = head->host;
    out->path = head->target;
    return parse_authority(bytes + head->host.off, head->host.len, 80, out);
}

const char *destination_error_text(enum destination_error e) {
    switch (e) {
    case TARGET_OK:
        return "fine";
    case TARGET_NO_HOST:
        return "the request names no host: neither its target nor a Host field does";
    case TARGET_SCHEME:
        return "only http:// and https:// targets can be served";
    case TARGET_USERINFO:
        return "the target has user information before its host; send an Authorization field instead";
    case TARGET_HOST:
        return "the target's host is not a valid name or address";
    case TARGET_PORT:
        return "the target's port is missing or not a number from 1 to 65535";
    case TARGET_FORM:
        return "the request target is none of the forms of RFC 9112, section 3.2";
    }
    return "?";
}
