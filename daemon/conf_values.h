/* The values of parameters as text and back: numbers, sizes, addresses,
 * networks, destinations. Pure; each returns false, and leaves *out alone, if the
 * text is not one. */
#ifndef CONNLEAK_CONF_VALUES_H
#define CONNLEAK_CONF_VALUES_H

#include "conf.h"

bool value_bool(const char *text, bool *out); /* true/false, on/off, yes/no, 1/0 */
bool value_int(const char *text, int64_t *out);

/* "4096", "64k", "10m", "1g", with or without a B or iB behind: powers of 1,024. */
bool value_size(const char *text, uint64_t *out_bytes);

/* Their shortest text: "1m30s", "64k". */
#define VALUE_TEXT_MAX 48
char *duration_text(int64_t ns, char buf[VALUE_TEXT_MAX]);
char *size_text(uint64_t bytes, char buf[VALUE_TEXT_MAX]);

/* 1 to 65535, or from 0 with `may_be_zero`. */
bool value_port(const char *text, bool may_be_zero, uint16_t *out);

/* A numeric address without brackets and port; IPv4-mapped IPv6 becomes IPv4. */
bool value_address(const char *text, struct endpoint *out);

/* "10.0.0.0/8", "::1", "all". Host bits must be zero: 10.1.2.3/8 is a mistake. */
bool value_net(const char *text, struct conf_net *out);
bool net_matches(const struct conf_net *net, const struct endpoint *addr);

/* The items own what they point to; free them with the functions below. */
bool value_listen(const char *text, struct conf_listen *out);
bool value_dest(const char *text, struct conf_dest *out);
void listens_free(struct conf_listens *l);
void nets_free(struct conf_nets *l);
void dests_free(struct conf_dests *l);

/* "https://host:port": no userinfo, path, query or fragment. `host`, without
 * brackets, is the caller's to free. */
bool value_origin(const char *text, bool *tls, char **host, uint16_t *port);

/* A name that DNS could hold: letters, digits, - and _ in labels of up to 63. */
bool is_host_name(const char *text);

/* Fills `err` with one line, control characters made ?, and returns false. */
bool conf_fail(char err[CONF_ERROR_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Allocate or abort. */
void *conf_alloc(void *old, size_t n, size_t size);
char *conf_strdup(const char *s, size_t len);

#endif
