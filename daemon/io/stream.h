/* One connected socket, plain or TLS: bytes, and the ways in which they can end,
 * each as a fact of its own. Everything is non-blocking. */
#ifndef CONNLEAK_STREAM_H
#define CONNLEAK_STREAM_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum io_result {
    IO_OK,           /* some bytes moved */
    IO_AGAIN,        /* none now: wait for readability (or, see tls_wants_write, writability) */
    IO_EOF,          /* the peer's FIN, all bytes before it read */
    IO_CLOSE_NOTIFY, /* TLS: the peer's close_notify; a FIN may follow */
    IO_RESET,        /* the peer's RST */
    IO_ERROR,        /* anything else; see stream_error */
};

struct stream {
    int fd;                             /* -1: none */
    int error;                          /* errno of the last IO_ERROR or IO_RESET */
    SSL *ssl;                           /* NULL: plain; owned */
    uint64_t tls_told_in, tls_told_out; /* of the socket's bytes, by stream_tls_in and _out */
    bool tls_wants_write;               /* a read waits for writability (renegotiation, key update) */
    bool tls_failed;                    /* a fatal TLS error: no close_notify may be sent */
    bool reset;                         /* a RST came: nothing is sent at close */
    bool drained;                       /* its FIN was read, and all before it: nothing is unread, or will be */
    bool shut;                          /* our FIN is out: stream_shut */
    bool reset_at_close;                /* stream_reset_at_close */
};

void stream_init(struct stream *s, int fd);

/* Reads up to len bytes with one system call if plain. */
enum io_result stream_read(struct stream *s, void *buf, size_t len, size_t *got);

/* Writes from up to n pieces with one system call if plain. *put is what the
 * kernel took; IO_OK with *put short of the whole means that it is full now. */
enum io_result stream_write(struct stream *s, const struct iovec *iov, int n, size_t *put);

/* TLS: how many bytes the socket carried since this was last asked, handshake included. */
uint64_t stream_tls_in(struct stream *s);
uint64_t stream_tls_out(struct stream *s);

/* TLS: decrypted bytes that no event will announce. */
bool stream_pending(const struct stream *s);

/* Sends our FIN (after close_notify if TLS); reading goes on. */
void stream_shut(struct stream *s);

/* Makes stream_close send a RST, whatever was read. */
void stream_reset_at_close(struct stream *s);

/* What stream_close found out just before close(2). */
struct stream_end {
    uint64_t unread;   /* bytes in the kernel's receive queue (SIOCINQ): what makes Linux answer with RST */
    bool fin_received; /* the peer's FIN had arrived, read or not */
    bool rst_received;
    uint64_t read_late;       /* bytes read off behind our FIN */
    uint64_t tls_in, tls_out; /* bytes on the wire that stream_tls_in and _out have not told yet */
    bool acked_known;         /* the kernel told the following four */
    uint64_t acked;           /* bytes that the peer's kernel acknowledged, as far as our kernel heard: not by a RST */
    uint64_t unsent;          /* bytes that have not left for the peer yet: its window was shut */
    uint64_t received;        /* bytes that came, read or not, and 1 for a FIN */
    uint32_t sent_ago_ms;     /* since bytes last left for the peer: after the write of them, if its window was shut */
    uint64_t unasked;         /* the caller's to say: bytes that no request had asked for */
    bool unasked_is_response; /* they begin like a response */
    uint64_t untaken;         /* the caller's: bytes of the last body that count as read and that the peer never had */
    bool all_left;            /* the caller's: the last answer was not acknowledged to its end, but had left */
    bool answer_lost;         /* the caller's: not even the head of the last answer reached the peer, who had left */
    bool upload_cut;          /* the caller's too: the answer ended before the request was written */
};

/* close_notify if TLS, then SIOCINQ, TCP_INFO, close. Idempotent. */
void stream_close(struct stream *s, struct stream_end *end);

/* Bytes in the kernel's receive queue now; 0 if the socket does not say. */
uint64_t stream_unread(const struct stream *s);

/* An error in words: errno's, or OpenSSL's. Static or thread-local storage. */
const char *stream_error(const struct stream *s);

#endif
