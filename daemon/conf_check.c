#include "conf.h"
#include "conf_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *where_of(const struct conf *c, const char *name) {
    return conf_where(c, conf_param(name));
}

static bool check_upstream(struct conf *c, char err[CONF_ERROR_MAX]) {
    bool is_reverse = c->proxy.mode == MODE_REVERSE;
    if (is_reverse && !c->proxy.upstream)
        return conf_fail(err, "%s: proxy.mode = reverse needs proxy.upstream, a URL such as http://127.0.0.1:8080",
                         where_of(c, "proxy.mode"));
    if (!is_reverse && c->proxy.upstream)
        return conf_fail(err, "%s: proxy.upstream = %.100s goes with proxy.mode = reverse only",
                         where_of(c, "proxy.upstream"), c->proxy.upstream);
    free(c->proxy.upstream_host);
    free(c->proxy.upstream_authority);
    c->proxy.upstream_host = c->proxy.upstream_authority = NULL;
    if (!is_reverse) return true;
    if (!value_origin(c->proxy.upstream, &c->proxy.upstream_tls, &c->proxy.upstream_host, &c->proxy.upstream_port))
        return conf_fail(
            err,
            "%s: proxy.upstream: bad value \"%.100s\"; expected http://HOST[:PORT] or https://HOST[:PORT] without "
            "user, path or query",
            where_of(c, "proxy.upstream"), c->proxy.upstream);
    char text[300];
    bool is_v6 = strchr(c->proxy.upstream_host, ':') != NULL;
    snprintf(text, sizeof(text), is_v6 ? "[%s]:%u" : "%s:%u", c->proxy.upstream_host, c->proxy.upstream_port);
    c->proxy.upstream_authority = conf_strdup(text, strlen(text));
    return true;
}

/* A port of its own for each, and a path of its own. */
static bool same_place(const struct conf_listen *a, const struct conf_listen *b) {
    if (a->path || b->path) return a->path && b->path && !strcmp(a->path, b->path);
    return a->addr.port && endpoint_equal(&a->addr, &b->addr);
}

static bool check_listen(struct conf *c, char err[CONF_ERROR_MAX]) {
    size_t n_proxy = c->proxy.listen.n, n = n_proxy + c->admin.listen.n;
    for (size_t i = 0; i < n; i++) {
        const struct conf_listen *b = i < n_proxy ? &c->proxy.listen.item[i] : &c->admin.listen.item[i - n_proxy];
        for (size_t j = 0; j < i; j++) {
            const struct conf_listen *a = j < n_proxy ? &c->proxy.listen.item[j] : &c->admin.listen.item[j - n_proxy];
            if (!same_place(a, b)) continue;
            const char *second = i < n_proxy ? "proxy.listen" : "admin.listen";
            return conf_fail(err, "%s: %s: %s is listened at already, by %s", where_of(c, second), second, b->text,
                             j < n_proxy ? "proxy.listen" : "admin.listen");
        }
    }
    return true;
}

bool conf_check(struct conf *c, char err[CONF_ERROR_MAX]) {
    return check_upstream(c, err) && check_listen(c, err);
}

/* --- what is most likely not meant --- */

static bool is_loopback(const struct conf_listen *l) {
    if (l->path) return true;
    return l->addr.family == ADDR_V4 ? l->addr.addr[0] == 127
                                     : !memcmp(l->addr.addr, (uint8_t[16]){[15] = 1}, sizeof(l->addr.addr));
}

static bool serves_beyond_loopback(const struct conf *c) {
    for (size_t i = 0; i < c->access.allow_clients.n; i++) {
        const struct conf_net *net = &c->access.allow_clients.item[i];
        struct conf_listen as_place = {.addr = net->addr};
        if (net->addr.family == ADDR_NONE || !is_loopback(&as_place)) return true;
    }
    return false;
}

static bool serves_everybody(const struct conf *c) {
    for (size_t i = 0; i < c->access.allow_clients.n; i++)
        if (c->access.allow_clients.item[i].addr.family == ADDR_NONE || c->access.allow_clients.item[i].bits == 0)
            return true;
    return false;
}

void conf_warnings(const struct conf *c, conf_warning_fn *fn, void *arg) {
    char line[CONF_ERROR_MAX];
    for (size_t i = 0; i < c->proxy.listen.n; i++) {
        const struct conf_listen *l = &c->proxy.listen.item[i];
        if (is_loopback(l)) continue;
        if (!serves_beyond_loopback(c))
            snprintf(line, sizeof(line),
                     "proxy.listen = %s, but access.allow_clients serves loopback only: others get 403", l->text);
        else if (serves_everybody(c) && !c->access.password_file && c->proxy.mode == MODE_FORWARD)
            snprintf(line, sizeof(line),
                     "proxy.listen = %s with access.allow_clients = all and no access.password_file is an open proxy",
                     l->text);
        else
            continue;
        fn(arg, line);
    }
    for (size_t i = 0; i < c->admin.listen.n; i++)
        if (!is_loopback(&c->admin.listen.item[i])) {
            snprintf(line, sizeof(line), "admin.listen = %s shows traffic's hosts and clients to whoever can connect",
                     c->admin.listen.item[i].text);
            fn(arg, line);
        }
    if (c->tls.keylog_file) {
        snprintf(line, sizeof(line), "tls.keylog_file = %.300s: whoever reads it can read the TLS traffic",
                 c->tls.keylog_file);
        fn(arg, line);
    }
}
