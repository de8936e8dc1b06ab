#include "conf_values.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

void *conf_alloc(void *old, size_t n, size_t size) {
    void *p = reallocarray(old, n, size);
    if (!p) abort();
    return p;
}

char *conf_strdup(const char *s, size_t len) {
    char *p = conf_alloc(NULL, len + 1, 1);
    memcpy(p, s, len);
    p[len] = 0;
    return p;
}

bool conf_fail(char err[CONF_ERROR_MAX], const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, CONF_ERROR_MAX, fmt, ap);
    va_end(ap);
    for (char *p = err; *p; p++) /* one line, whatever was in the text */
        if ((unsigned char)*p < ' ' || *p == 0x7f) *p = '?';
    return false;
}

/* --- numbers --- */

bool value_bool(const char *text, bool *out) {
    static const char *const yes[] = {"true", "on", "yes", "1"}, *const no[] = {"false", "off", "no", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (!strcasecmp(text, yes[i])) return *out = true, true;
        if (!strcasecmp(text, no[i])) return *out = false, true;
    }
    return false;
}

bool value_int(const char *text, int64_t *out) {
    const char *digits = text + (*text == '-');
    if (!isdigit((unsigned char)*digits)) return false;
    errno = 0;
    char *end;
    long long v = strtoll(text, &end, 10);
    if (*end || errno) return false;
    *out = v;
    return true;
}

bool value_size(const char *text, uint64_t *out_bytes) {
    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno) return false;
    static const char units[] = "kmg";
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (unit) {
        end++;
        if (tolower((unsigned char)end[0]) == 'i' && tolower((unsigned char)end[1]) == 'b') end++;
        if (__builtin_mul_overflow(v, 1ull << (10 * (unit - units + 1)), &v)) return false;
    }
    if (tolower((unsigned char)*end) == 'b') end++;
    if (*end) return false;
    *out_bytes = v;
    return true;
}

char *duration_text(int64_t ns, char buf[VALUE_TEXT_MAX]) {
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"h", SEC(3600)}, {"m", SEC(60)}, {"s", SEC(1)}, {"ms", MSEC(1)}, {"us", USEC(1)}, {"ns", 1}};
    char *p = buf;
    *p++ = '0';
    *p = 0;
    if (ns > 0) p = buf;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units) && ns > 0; i++) {
        if (ns < units[i].ns) continue;
        p += snprintf(p, VALUE_TEXT_MAX - (size_t)(p - buf), "%lld%s", (long long)(ns / units[i].ns), units[i].name);
        ns %= units[i].ns;
    }
    return buf;
}

char *size_text(uint64_t bytes, char buf[VALUE_TEXT_MAX]) {
    const char *unit = "";
    for (const char *u = "k\0m\0g"; bytes && bytes % 1024 == 0 && *unit != 'g'; u += 2) {
        bytes /= 1024;
        unit = u;
    }
    snprintf(buf, VALUE_TEXT_MAX, "%llu%s", (unsigned long long)bytes, unit);
    return buf;
}

/* --- addresses --- */

bool value_port(const char *text, bool may_be_zero, uint16_t *out) {
    int64_t v;
    if (!isdigit((unsigned char)*text) || !value_int(text, &v) || v > 65535 || (v == 0 && !may_be_zero)) return false;
    *out = (uint16_t)v;
    return true;
}

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void unmap(struct endpoint *e) {
    if (e->family != ADDR_V6 || memcmp(e->addr, v4_mapped, sizeof(v4_mapped)) != 0) return;
    memmove(e->addr, e->addr + 12, 4);
    memset(e->addr + 4, 0, 12);
    e->family = ADDR_V4;
}

bool value_address(const char *text, struct endpoint *out) {
    struct endpoint e = {0};
    if (inet_pton(AF_INET, text, e.addr) == 1)
        e.family = ADDR_V4;
    else if (inet_pton(AF_INET6, text, e.addr) == 1)
        e.family = ADDR_V6;
    else
        return false;
    unmap(&e);
    *out = e;
    return true;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits) {
    if (memcmp(a, b, bits / 8) != 0) return false;
    return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

bool net_matches(const struct conf_net *net, const struct endpoint *addr) {
    if (net->addr.family == ADDR_NONE) return true;
    struct endpoint a = *addr;
    unmap(&a);
    return a.family == net->addr.family && bits_equal(a.addr, net->addr.addr, net->bits);
}

/* Are all bits after the first `bits` zero? */
static bool host_bits_zero(const struct endpoint *e, unsigned bits) {
    for (unsigned i = bits; i < sizeof(e->addr) * 8; i++)
        if (e->addr[i / 8] & (0x80 >> i % 8)) return false;
    return true;
}

bool value_net(const char *text, struct conf_net *out) {
    struct conf_net net = {0};
    if (!strcasecmp(text, "all")) return *out = net, true;
    const char *slash = strchr(text, '/');
    char host[INET6_ADDRSTRLEN];
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof(host)) return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (!value_address(host, &net.addr)) return false;
    bool mapped = net.addr.family == ADDR_V4 && strchr(host, ':');
    int64_t max = net.addr.family == ADDR_V4 ? 32 : 128, bits = max;
    if (slash && (!isdigit((unsigned char)slash[1]) || !value_int(slash + 1, &bits))) return false;
    if (slash && mapped) bits -= 96; /* ::ffff:10.0.0.0/104 */
    if (bits < 0 || bits > max || !host_bits_zero(&net.addr, (unsigned)bits)) return false;
    net.bits = (uint8_t)bits;
    *out = net;
    return true;
}

bool is_host_name(const char *text) {
    size_t label = 0, len = strlen(text);
    if (len && text[len - 1] == '.') len--;
    if (!len || len > 253) return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (ch == '.' ? label == 0 : !(isalnum(ch) || ch == '-' || ch == '_') || ++label > 63) return false;
        if (ch == '.') label = 0;
    }
    return label > 0;
}

/* Splits "host:port", "[v6]:port", and without `need_port` also "host", "[v6]", "v6"
 * into `host` (without brackets) and `port` (NULL if there is none). */
static bool split_host_port(const char *text, bool need_port, char host[256], const char **port) {
    const char *end, *colon;
    *port = NULL;
    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end || (end[1] && end[1] != ':')) return false;
        colon = end[1] ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        if (colon && strchr(colon + 1, ':')) { /* IPv6 without brackets: then it has no port */
            if (need_port) return false;
            colon = NULL;
        }
        end = colon ? colon : text + strlen(text);
    }
    if (end == text || end - text > 255 || (need_port && !colon)) return false;
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = 0;
    if (colon) *port = colon + 1;
    return true;
}

bool value_listen(const char *text, struct conf_listen *out) {
    struct conf_listen l = {0};
    if (!strncmp(text, "unix:", 5)) {
        size_t len = strlen(text + 5);
        if (!len || len >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) return false;
        l.path = conf_strdup(text + 5, len);
        l.addr.family = ADDR_UNIX;
    } else {
        char host[256];
        const char *port;
        uint16_t number;
        if (!split_host_port(text, true, host, &port) || !value_port(port, true, &number)) return false;
        if (!value_address(strcasecmp(host, "localhost") ? host : "127.0.0.1", &l.addr)) return false;
        l.addr.port = number;
    }
    l.text = conf_strdup(text, strlen(text));
    *out = l;
    return true;
}

/* The colon before the port: behind the prefix, behind the bracket, or the only one. */
static const char *dest_colon(const char *text) {
    const char *slash = strchr(text, '/'), *bracket = strchr(text, ']'), *first = strchr(text, ':');
    if (slash) return strchr(slash, ':');
    if (bracket) return strchr(bracket, ':');
    return first && !strchr(first + 1, ':') ? first : NULL;
}

/* "10.0.0.0/8:80", "[2001:db8::]/32:443", "[::1]:80", "::1" */
static bool dest_net(const char *text, struct conf_dest *out) {
    char plain[128];
    const char *colon = dest_colon(text);
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len >= sizeof(plain)) return false;
    memcpy(plain, text, len);
    plain[len] = 0;
    if (*plain == '[') { /* what is in the brackets, and the prefix behind them */
        char *end = strchr(plain, ']');
        if (!end || (end[1] && end[1] != '/')) return false;
        memmove(end, end + 1, strlen(end));
        memmove(plain, plain + 1, strlen(plain));
    }
    struct conf_dest d = {.kind = DEST_NET};
    if (!strcasecmp(plain, "all") || !value_net(plain, &d.net)) return false;
    if (colon && !value_port(colon + 1, false, &d.port)) return false;
    *out = d;
    return true;
}

bool value_dest(const char *text, struct conf_dest *out) {
    if (dest_net(text, out)) return true;
    struct conf_dest d = {0};
    char host[256];
    const char *port;
    if (!split_host_port(text, false, host, &port) || *text == '[') return false;
    if (port && !value_port(port, false, &d.port)) return false;
    for (char *p = host; *p; p++) *p = (char)tolower((unsigned char)*p);
    size_t len = strlen(host);
    bool all = !strcmp(host, "*") || !strcmp(host, "all");
    if (host[len - 1] == '.') host[--len] = 0;
    if (all) {
        d.kind = DEST_ALL;
    } else if (host[0] == '*' && host[1] == '.' && is_host_name(host + 2)) {
        d.kind = DEST_SUFFIX;
        d.name = conf_strdup(host + 1, len - 1);
    } else if (is_host_name(host) && strspn(host, "0123456789.") != len) { /* 10.0.0 is a mistyped address */
        d.kind = DEST_HOST;
        d.name = conf_strdup(host, len);
    } else {
        return false;
    }
    *out = d;
    return true;
}

bool value_origin(const char *text, bool *tls, char **host, uint16_t *port) {
    bool is_tls = !strncasecmp(text, "https://", 8);
    if (!is_tls && strncasecmp(text, "http://", 7) != 0) return false;
    const char *authority = text + (is_tls ? 8 : 7);
    size_t len = strlen(authority);
    if (len && authority[len - 1] == '/') len--;
    char copy[320], name[256];
    const char *port_text;
    uint16_t number = is_tls ? 443 : 80;
    struct endpoint literal;
    if (len >= sizeof(copy)) return false;
    memcpy(copy, authority, len);
    copy[len] = 0;
    bool has_brackets = copy[0] == '[';
    if (!split_host_port(copy, false, name, &port_text)) return false;
    if (port_text && !value_port(port_text, false, &number)) return false;
    bool is_v6 = strchr(name, ':') != NULL;
    if (is_v6 != has_brackets) return false; /* RFC 3986: an IPv6 literal stands in brackets */
    if (is_v6 ? !value_address(name, &literal) : !is_host_name(name)) return false;
    *tls = is_tls;
    *host = conf_strdup(name, strlen(name));
    *port = number;
    return true;
}

/* --- owners --- */

void listens_free(struct conf_listens *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->item[i].text);
        free(l->item[i].path);
    }
    free(l->item);
    *l = (struct conf_listens){0};
}

void nets_free(struct conf_nets *l) {
    free(l->item);
    free(l->text);
    *l = (struct conf_nets){0};
}

void dests_free(struct conf_dests *l) {
    for (size_t i = 0; i < l->n; i++) free(l->item[i].name);
    free(l->item);
    free(l->text);
    *l = (struct conf_dests){0};
}
