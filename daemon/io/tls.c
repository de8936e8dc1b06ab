#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sessions to resume, by address: a small table in which a newcomer replaces
 * whoever sits in its place. A lost session costs a full handshake. */
#define SESSIONS 256

struct tls_client {
    SSL_CTX *ctx;
    int keylog_fd;
    struct {
        char *addr;
        SSL_SESSION *session;
    } sessions[SESSIONS];
};

static int ex_addr = -1; /* ex_data of an SSL: the address that its session belongs to */

static unsigned slot(const char *addr) {
    uint32_t h = 2166136261u;
    for (; *addr; addr++) h = (h ^ (unsigned char)*addr) * 16777619u;
    return h % SESSIONS;
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *addr = SSL_get_ex_data(ssl, ex_addr);
    if (!addr || !SSL_SESSION_is_resumable(session)) return 0;
    unsigned i = slot(addr);
    char *copy = strdup(addr);
    if (!copy) return 0;
    free(t->sessions[i].addr);
    SSL_SESSION_free(t->sessions[i].session);
    t->sessions[i].addr = copy;
    t->sessions[i].session = session;
    return 1; /* the reference is ours now */
}

static void log_key(const SSL *ssl, const char *line) {
    struct tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    char out[512];
    int n = snprintf(out, sizeof out, "%s\n", line);
    if (n > 0 && (size_t)n < sizeof out &&
        write(t->keylog_fd, out, (size_t)n) != n) { /* best effort: a debugging aid */
    }
}

static void free_addr(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp) {
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    free(ptr);
}

static bool load_authorities(SSL_CTX *ctx, const char *path, char *err, size_t err_size) {
    if (!path) {
        if (SSL_CTX_set_default_verify_paths(ctx)) return true;
        snprintf(err, err_size, "the system's certificate store cannot be used");
        return false;
    }
    struct stat st;
    if (stat(path, &st) != 0) {
        snprintf(err, err_size, "tls.upstream_ca: %s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode) ? SSL_CTX_load_verify_dir(ctx, path) : SSL_CTX_load_verify_file(ctx, path)) return true;
    snprintf(err, err_size, "tls.upstream_ca: %s: no certificate could be read from it (PEM is expected)", path);
    return false;
}

struct tls_client *tls_client_new(const char *upstream_ca, bool min_tls13, const char *keylog_file, char *err,
                                  size_t err_size) {
    struct tls_client *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->keylog_fd = -1;
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx) abort();
    if (ex_addr < 0) ex_addr = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_addr);
    SSL_CTX_set_app_data(t->ctx, t);
    SSL_CTX_set_min_proto_version(t->ctx, min_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(t->ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION); /* as in Go; a write never has to wait for reading */
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, keep_session);
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof alpn - 1);
    if (!load_authorities(t->ctx, upstream_ca, err, err_size)) goto fail;
    if (keylog_file) {
        t->keylog_fd = open(keylog_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (t->keylog_fd < 0) {
            snprintf(err, err_size, "tls.keylog_file: %s: %s", keylog_file, strerror(errno));
            goto fail;
        }
        SSL_CTX_set_keylog_callback(t->ctx, log_key);
    }
    return t;
fail:
    tls_client_free(&t);
    return NULL;
}

void tls_client_free(struct tls_client **tp) {
    struct tls_client *t = *tp;
    *tp = NULL;
    if (!t) return;
    for (size_t i = 0; i < SESSIONS; i++) {
        free(t->sessions[i].addr);
        SSL_SESSION_free(t->sessions[i].session);
    }
    SSL_CTX_free(t->ctx);
    if (t->keylog_fd >= 0) close(t->keylog_fd);
    free(t);
}

SSL *tls_connect(struct tls_client *t, int fd, const char *host, const char *addr) {
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl) return NULL;
    char *owner = strdup(addr);
    if (!owner || !SSL_set_fd(ssl, fd) || !SSL_set_ex_data(ssl, ex_addr, owner)) goto fail;
    owner = NULL; /* the SSL frees it */
    unsigned char ip[16];
    bool numeric = inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1;
    if (numeric) {
        if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host)) goto fail;
    } else {
        /* A trailing dot is part of the pool key (R4) but of no certificate. */
        char name[256];
        size_t n = strlen(host);
        if (n && host[n - 1] == '.') n--;
        if (!n || n >= sizeof name) goto fail;
        memcpy(name, host, n);
        name[n] = 0;
        if (!SSL_set_tlsext_host_name(ssl, name) || !SSL_set1_host(ssl, name)) goto fail;
    }
    unsigned i = slot(addr);
    if (t->sessions[i].addr && strcmp(t->sessions[i].addr, addr) == 0) SSL_set_session(ssl, t->sessions[i].session);
    SSL_set_connect_state(ssl);
    return ssl;
fail:
    free(owner);
    SSL_free(ssl);
    return NULL;
}

enum tls_failure tls_explain(SSL *ssl, int error, char *text, size_t size) {
    long verify = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    if (verify != X509_V_OK) {
        snprintf(text, size, "the certificate was refused: %s", X509_verify_cert_error_string(verify));
        return TLS_CERTIFICATE;
    }
    int reason = ERR_GET_REASON(code);
    if (code && reason > SSL_AD_REASON_OFFSET && ERR_GET_LIB(code) == ERR_LIB_SSL) {
        snprintf(text, size, "the origin sent an alert: %s", ERR_reason_error_string(code));
        return TLS_ALERT;
    }
    if (!code || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        snprintf(text, size, "the origin %s in the handshake",
                 error == ECONNRESET ? "reset the connection" : "closed the connection");
        return TLS_EOF;
    }
    const char *what = ERR_reason_error_string(code);
    snprintf(text, size, "%s", what ? what : "protocol error");
    return TLS_PROTOCOL;
}
