/* What can happen to a connection: one row a kind of event.
 *
 * X(symbol, name, listed, text)
 *   listed  1: stands in a record's list of events; 0: only folded into its numbers
 *   text    what happened, and what `value` holds; UNKNOWN_BYTES where it has none. `code` is the
 *           status or the enum close_reason
 *
 * The end is EV_ENDED because libevent has a macro EV_CLOSED, which would win. */

X(DIALING, "dialing", 1, "A dial began.")
X(ACCEPTED, "accepted", 1, "The listener took the connection.")
X(DIALED, "dialed", 1, "The TCP connection stands.")
X(TLS_DONE, "tls_done", 1, "The TLS handshake is complete.")
X(GOT_CONN, "got_conn", 1, "A request was given this connection; value: nanoseconds that it had waited for one.")
X(REQUEST, "request", 1, "A request began on it.")
X(WROTE_REQUEST, "wrote_request", 1, "The request is wholly written; value: body bytes.")
X(FIRST_BYTE, "first_byte", 1, "The first byte of the answer.")
X(INTERIM, "interim", 1, "A 1xx response, with its status.")
X(RESPONSE, "response", 1, "A final response head, with its status; value: body bytes that it announced, if it did.")
X(BODY_EOF, "body_eof", 1, "The body's end was seen; value: body bytes.")
X(EARLY_CLOSE, "early_close", 1, "A body was given up before its end; value: body bytes until then.")
X(PUT_IDLE, "put_idle", 1, "It became idle.")
X(RETRIED, "retried", 1, "Its request failed here and is sent again on another connection.")
X(UPGRADED, "upgraded", 1, "101 Switching Protocols: opaque from here on.")
X(TUNNEL, "tunnel", 1, "CONNECT was answered: opaque from here on.")
X(CLOSE_NOTIFY, "close_notify", 1, "The peer's TLS close_notify.")
X(FIN_SENT, "fin_sent", 1, "Our FIN is out; what the peer sends is still read.")
X(RST_SENT, "rst_sent", 1, "We end it with a RST on purpose: nothing else would show that a body is incomplete.")
X(FIN_RECEIVED, "fin_received", 1, "The peer's FIN was seen.")
X(RST_RECEIVED, "rst_received", 1, "The peer's RST was seen.")
X(ENDED, "closed", 1, "The end, with its reason; value: bytes left unread.")
X(BYTES_IN, "bytes_in", 0, "Bytes received; value: how many.")
X(BYTES_OUT, "bytes_out", 0, "Bytes sent; value: how many.")
X(BODY_READ, "body_read", 0, "Bytes of the response's body passed; value: how many.")
