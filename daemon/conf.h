/* The daemon's configuration: read from a file and from --set, checked, compared.
 *
 * The rows of core/tbl/params.h are the parameters; struct conf has a member for
 * each, under its own name. Nothing here opens a socket or resolves a name, and
 * only conf_load_file opens a file. */
#ifndef CONNLEAK_CONF_H
#define CONNLEAK_CONF_H

#include "core/ident.h"
#include "core/pool.h"
#include "log/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One place to listen at. */
struct conf_listen {
    char *text;           /* as it was given, without blanks */
    char *path;           /* of a Unix socket; NULL for TCP */
    struct endpoint addr; /* TCP: a numeric address, or localhost (127.0.0.1); port 0 asks for a free one */
};
struct conf_listens {
    struct conf_listen *item;
    size_t n;
};

/* An address or a network. IPv4 networks match IPv4-mapped IPv6 addresses too. */
struct conf_net {
    struct endpoint addr; /* host bits are zero; family ADDR_NONE matches every address */
    uint8_t bits;         /* length of the prefix */
};
struct conf_nets {
    struct conf_net *item;
    size_t n;
    char *text; /* as given, items joined with ", "; NULL when empty */
};

enum dest_kind {
    DEST_ALL,    /* the word all, or * */
    DEST_HOST,   /* a name, compared without case and without a trailing dot */
    DEST_SUFFIX, /* *.example: every name that ends in .example, and not example itself */
    DEST_NET,    /* an address or a network */
};
struct conf_dest {
    enum dest_kind kind;
    char *name;          /* DEST_HOST; DEST_SUFFIX: with its leading dot; lower case */
    struct conf_net net; /* DEST_NET */
    uint16_t port;       /* 0: any */
};
struct conf_dests {
    struct conf_dest *item;
    size_t n;
    char *text;
};

/* In the order of the words in params.h. */
enum proxy_mode { MODE_FORWARD, MODE_REVERSE, MODE_TRANSPARENT };
enum proxy_pairing { PAIRING_POOL, PAIRING_MIRROR };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum probe_switch { PROBE_AUTO, PROBE_ON, PROBE_OFF };

/* Durations are nanoseconds, 0 for none. Strings are NULL when empty, and owned. */
struct conf {
    struct {
        int max_idle_conns, max_idle_conns_per_host, max_conns_per_host;
        int64_t idle_conn_timeout, dial_timeout, dial_keep_alive, tls_handshake_timeout, response_header_timeout,
            expect_continue_timeout;
        uint32_t max_response_header_bytes;
        bool disable_keep_alives, force_attempt_http2;
        int profile; /* enum pool_profile */
        uint32_t read_buffer_size, write_buffer_size, copy_buffer_size;
        char *proxy, *no_proxy;
    } pool;
    struct {
        struct conf_listens listen;
        int mode;       /* enum proxy_mode */
        char *upstream; /* as given; set exactly in reverse mode, and then taken apart below */
        int pairing;    /* enum proxy_pairing */
        int max_clients;
        int64_t header_timeout, client_idle_timeout;
        uint32_t max_request_header_bytes;
        bool via;
        int64_t drain_quiet, drain_timeout;
        bool upstream_tls;        /* https */
        char *upstream_host;      /* without brackets; NULL but in reverse mode */
        uint16_t upstream_port;   /* the scheme's default where the URL has none */
        char *upstream_authority; /* host:port, IPv6 in brackets: Go's addr in the pool key */
    } proxy;
    struct {
        struct conf_nets allow_clients;
        struct conf_dests allow_destinations, deny_destinations;
        char *password_file;
    } access;
    struct {
        bool intercept;
        char *ca_cert, *ca_key, *upstream_ca;
        int min_version; /* enum tls_version */
        char *keylog_file;
    } tls;
    struct {
        struct conf_listens listen;
    } admin;
    struct {
        int keep, keep_requests;
        char *file;
    } ledger;
    struct {
        int64_t leak_after, slow_after, window;
    } findings;
    struct {
        int sockets, kernel; /* enum probe_switch */
    } probe;
    struct {
        int level;  /* enum log_level */
        int format; /* enum log_format */
    } log;
    char **where; /* conf.c's own: see conf_where */
};

enum param_type { P_BOOL, P_INT, P_DURATION, P_SIZE, P_STRING, P_ENUM, P_LISTEN, P_CLIENTS, P_DESTINATIONS };

enum param_flag {
    PF_LIVE = 1,    /* SIGHUP applies it */
    PF_RESTART = 2, /* it takes a restart */
    PF_SECRET = 4,  /* left out of GET /config */
};

struct param {
    const char *section, *key;
    enum param_type type;
    unsigned flags; /* enum param_flag, or-ed */
    const char *dflt, *unit, *refused, *text;
    int64_t min, max;
    size_t offset; /* in struct conf */
};

/* All parameters in the order of params.h. */
extern const struct param conf_params[];
extern const size_t n_conf_params;

/* The built-in defaults; aborts without memory. */
struct conf *conf_default(void);
void conf_free(struct conf **cp);

/* One line without a newline: the file and line or the --set text, what is wrong,
 * what was expected. */
#define CONF_ERROR_MAX 512

/* Both change `c` and return true, or leave it half changed and return false with
 * `err` filled: throw `c` away then. Values are checked one by one; call
 * conf_check when all are set. `set` is SECTION.KEY=VALUE. */
bool conf_load_file(struct conf *c, const char *path, char err[CONF_ERROR_MAX]);
bool conf_set(struct conf *c, const char *set, char err[CONF_ERROR_MAX]);

/* Do the values go together? Fills proxy.upstream_*. */
bool conf_check(struct conf *c, char err[CONF_ERROR_MAX]);

/* All of the above: the defaults, then the file if `path` is not NULL, then the
 * sets in order, then conf_check. NULL with `err` filled on any error. For the
 * start and for SIGHUP alike. */
struct conf *conf_build(const char *path, const char *const *sets, size_t n_sets, char err[CONF_ERROR_MAX]);

/* The value as it would stand in the file, in its shortest form ("1m30s", "64k",
 * "none"); malloc'd, the caller's. */
char *conf_value_text(const struct conf *c, const struct param *p);

/* Where it was set: "FILE:LINE", "--set", or "default". */
const char *conf_where(const struct conf *c, const struct param *p);

/* The row of "section.key"; NULL if there is none. */
const struct param *conf_param(const char *name);

/* All parameters with their defaults and what they are for, at most 80 columns wide: what --parameters prints. */
void conf_help(FILE *out);

/* What is lawful but most likely not meant: a line each, for the log at start and after SIGHUP. */
typedef void conf_warning_fn(void *arg, const char *line);
void conf_warnings(const struct conf *c, conf_warning_fn *fn, void *arg);

/* SIGHUP: calls `fn` for each parameter that differs, then moves those that are
 * LIVE from `*next` to `c`, whose address stays, and frees `*next`. `applied` is
 * false for RESTART parameters, which keep their old value. Pointers into lists
 * and strings of `c` that changed are no longer good afterwards. */
typedef void conf_changed_fn(void *arg, const struct param *p, bool applied, const char *was, const char *now);
void conf_reload(struct conf *c, struct conf **next, conf_changed_fn *fn, void *arg);

/* The pool's share of it. */
void conf_pool(const struct conf *c, struct pool_conf *out);

#endif
