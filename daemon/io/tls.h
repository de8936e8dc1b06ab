/* TLS toward origins: one context, verification always on, sessions resumed. */
#ifndef CONNLEAK_TLS_H
#define CONNLEAK_TLS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

struct tls_client;

/* upstream_ca: a file or folder of authorities, NULL for the system's;
 * min_tls13: refuse TLS 1.2; keylog_file: NULL for none, created 0600. On
 * failure NULL, and err says what is wrong with what. */
struct tls_client *tls_client_new(const char *upstream_ca, bool min_tls13, const char *keylog_file, char *err,
                                  size_t err_size);
void tls_client_free(struct tls_client **tp);

/* A client session on a connected socket: SNI and verification for `host` (a
 * name, or a numeric address without brackets), ALPN http/1.1, the last session
 * with `addr` resumed. The SSL is the caller's; NULL without memory. */
SSL *tls_connect(struct tls_client *t, int fd, const char *host, const char *addr);

/* What became of a handshake that failed. */
enum tls_failure {
    TLS_CERTIFICATE, /* we refused the origin's certificate */
    TLS_ALERT,       /* the origin refused us */
    TLS_EOF,         /* the origin closed or reset in the handshake */
    TLS_PROTOCOL,    /* anything else */
};

/* Explains the failed handshake of ssl: one sentence into text. `error` is the
 * errno of the failing call, 0 if the stream ended. */
enum tls_failure tls_explain(SSL *ssl, int error, char *text, size_t size);

#endif
