#include "stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* for tcpi_bytes_acked, which <netinet/tcp.h> lacks */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_init(struct stream *s, int fd) {
    *s = (struct stream){.fd = fd};
}

static enum io_result failed(struct stream *s, int error) {
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) return IO_AGAIN;
    s->error = error;
    if (error != ECONNRESET) return IO_ERROR;
    s->reset = true;
    return IO_RESET;
}

static enum io_result tls_failed(struct stream *s, int ret, int error) {
    switch (SSL_get_error(s->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->tls_wants_write = true;
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_CLOSE_NOTIFY;
    case SSL_ERROR_SYSCALL:
        s->tls_failed = true;
        return error ? failed(s, error) : IO_EOF;
    default:
        s->tls_failed = true;
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return IO_EOF;
        s->error = EPROTO;
        return IO_ERROR;
    }
}

enum io_result stream_read(struct stream *s, void *buf, size_t len, size_t *got) {
    *got = 0;
    if (s->ssl) {
        ERR_clear_error();
        errno = 0;
        s->tls_wants_write = false;
        int ret = SSL_read_ex(s->ssl, buf, len, got);
        return ret > 0 ? IO_OK : tls_failed(s, ret, errno);
    }
    ssize_t n = recv(s->fd, buf, len, 0);
    if (n < 0) return failed(s, errno);
    if (n == 0) s->drained = true;
    *got = (size_t)n;
    return n == 0 ? IO_EOF : IO_OK;
}

static enum io_result tls_write(struct stream *s, const struct iovec *iov, int n, size_t *put) {
    for (int i = 0; i < n; i++) {
        for (size_t off = 0; off < iov[i].iov_len;) {
            size_t done = 0;
            ERR_clear_error();
            errno = 0;
            int ret = SSL_write_ex(s->ssl, (const char *)iov[i].iov_base + off, iov[i].iov_len - off, &done);
            if (ret <= 0) return *put ? IO_OK : tls_failed(s, ret, errno);
            off += done;
            *put += done;
        }
    }
    return IO_OK;
}

enum io_result stream_write(struct stream *s, const struct iovec *iov, int n, size_t *put) {
    *put = 0;
    if (s->ssl) return tls_write(s, iov, n, put);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    ssize_t sent = n == 1 ? send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : sendmsg(s->fd, &m, MSG_NOSIGNAL);
    if (sent < 0) return failed(s, errno);
    *put = (size_t)sent;
    return IO_OK;
}

static uint64_t growth(uint64_t total, uint64_t *told) {
    uint64_t n = total - *told;
    *told = total;
    return n;
}

uint64_t stream_tls_in(struct stream *s) {
    return growth(BIO_number_read(SSL_get_rbio(s->ssl)), &s->tls_told_in);
}
uint64_t stream_tls_out(struct stream *s) {
    return growth(BIO_number_written(SSL_get_wbio(s->ssl)), &s->tls_told_out);
}

/* Not SSL_has_pending: that also counts the beginning of a record whose rest is still to
 * come, which an event will announce. Whole records are not read ahead. */
bool stream_pending(const struct stream *s) {
    return s->ssl && SSL_pending(s->ssl) > 0;
}

uint64_t stream_unread(const struct stream *s) {
    int n = 0;
    if (s->fd < 0 || s->drained || ioctl(s->fd, SIOCINQ, &n) != 0 || n < 0) return 0;
    return (uint64_t)n;
}

/* tcpi_state, as the kernel counts (RFC 9293's names). */
enum { STATE_TIME_WAIT = 6, STATE_CLOSE = 7, STATE_CLOSE_WAIT = 8, STATE_LAST_ACK = 9, STATE_CLOSING = 11 };

/* TCP_CLOSE before close(): a RST came, which leaves an error (tcp_reset() in the
 * kernel). After our own shutdown, no error means that both FINs are through. */
static void closed_state(const struct stream *s, struct stream_end *end) {
    int error = s->error;
    socklen_t len = sizeof error;
    if (!error && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = 0;
    if (error == ETIMEDOUT || (s->shut && error != ECONNRESET && error != EPIPE)) return;
    end->rst_received = true;
}

/* The kernel's view of who ended it so far. A peer's FIN may lie behind unread
 * bytes, and after a RST close() sends nothing, whatever is unread. */
static void peer_end(const struct stream *s, struct stream_end *end) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) return;
    end->acked = info.tcpi_bytes_acked;
    end->acked_known = len >= offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof info.tcpi_notsent_bytes;
    end->unsent = info.tcpi_notsent_bytes;
    end->received = info.tcpi_bytes_received;
    end->sent_ago_ms = info.tcpi_last_data_sent;
    switch (info.tcpi_state) {
    case STATE_CLOSE: /* both FINs are through, or a RST came, or the kernel gave up waiting */
        closed_state(s, end);
        break;
    case STATE_CLOSE_WAIT:
    case STATE_LAST_ACK:
    case STATE_CLOSING:
    case STATE_TIME_WAIT:
        end->fin_received = !s->shut;
        break;
    default:
        break;
    }
}

void stream_shut(struct stream *s) {
    if (s->ssl && !s->tls_failed) SSL_shutdown(s->ssl);
    if (shutdown(s->fd, SHUT_WR) == 0) s->shut = true;
}

void stream_reset_at_close(struct stream *s) {
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    s->tls_failed = true; /* no close_notify: the end is meant to look abrupt */
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    s->reset_at_close = true;
}

void stream_close(struct stream *s, struct stream_end *end) {
    *end = (struct stream_end){0};
    if (s->fd < 0) return;
    if (s->ssl) {
        ERR_clear_error();
        if (!s->tls_failed && SSL_is_init_finished(s->ssl)) SSL_shutdown(s->ssl);
        end->tls_in = stream_tls_in(s);
        end->tls_out = stream_tls_out(s);
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    peer_end(s, end);
    if (s->reset) end->rst_received = true;
    end->unread = stream_unread(s);
    /* Nothing unread: our FIN goes now, after which the kernel takes no more data.
     * What slipped in before it is read off, so that close() sends nothing else:
     * the count decided FIN, and FIN it is. */
    if (!end->unread && !end->fin_received && !end->rst_received && !s->shut && !s->reset_at_close &&
        shutdown(s->fd, SHUT_RDWR) == 0) {
        char late[4096];
        for (ssize_t n; (n = recv(s->fd, late, sizeof late, MSG_DONTWAIT)) > 0;) end->read_late += (uint64_t)n;
    }
    close(s->fd);
    s->fd = -1;
}

const char *stream_error(const struct stream *s) {
    if (s->tls_failed && s->error == EPROTO) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        return reason ? reason : "TLS protocol error";
    }
    return strerror(s->error);
}
