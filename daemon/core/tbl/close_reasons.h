/* Why a connection ended: one row a reason.
 *
 * X(symbol, name, go_error, text)
 *   name      the word in JSON, metrics and manuals
 *   go_error  the message that Go's Transport has for it (R87-R96), "" where it has none
 *   text      one sentence for people
 *
 * The rows come in the order of the enum; the first is no reason at all. */

X(NONE, "none", "", "The connection is open, or nobody saw it end.")
X(IDLE_TIMEOUT, "idle_timeout", "http: idle connection timeout",
  "It was idle for longer than pool.idle_conn_timeout.")
X(TOO_MANY_IDLE, "too_many_idle", "http: putIdleConn: too many idle connections",
  "It was idle for longest when pool.max_idle_conns was exceeded.")
X(TOO_MANY_IDLE_HOST, "too_many_idle_host", "http: putIdleConn: too many idle connections for host",
  "It came back when pool.max_idle_conns_per_host connections of its key were idle already.")
X(KEEPALIVES_DISABLED, "keepalives_disabled", "http: putIdleConn: keep alives disabled",
  "pool.disable_keep_alives is set, or the limit of idle connections per host is negative.")
X(REQUEST_CLOSE, "request_close", "http: persistConn.readLoop exiting", "The request asked for Connection: close.")
X(RESPONSE_CLOSE, "response_close", "http: persistConn.readLoop exiting",
  "The response said Connection: close, or was HTTP/1.0 without keep-alive.")
X(UNTIL_EOF, "until_eof", "http: persistConn.readLoop exiting",
  "The response had no length: its body ended with the connection.")
X(EARLY_CLOSE, "early_close", "http: persistConn.readLoop exiting",
  "A response body was given up before its end was seen.")
X(CANCELED, "canceled", "net/http: request canceled",
  "The request was given up before its response head came, or while its connection was being dialed.")
X(SERVER_CLOSED_IDLE, "server_closed_idle", "http: server closed idle connection",
  "The server closed the connection while it was idle.")
X(SERVER_CLOSED, "server_closed", "net/http: Transport failed to read from server: EOF",
  "The server closed the connection before the response was complete.")
X(UNSOLICITED_RESPONSE, "unsolicited_response", "readLoopPeekFailLocked: <nil>",
  "The server sent bytes that no request had asked for.")
X(RESPONSE_HEADER_TIMEOUT, "response_header_timeout", "net/http: timeout awaiting response headers",
  "No response head came within pool.response_header_timeout after the request was written.")
X(MALFORMED_RESPONSE, "malformed_response", "net/http: HTTP/1.x transport connection broken: malformed HTTP response",
  "What the server sent was not a valid HTTP/1 response.")
X(READ_ERROR, "read_error", "read: connection reset by peer", "Reading from the connection failed.")
X(WRITE_ERROR, "write_error", "write: broken pipe", "Writing the request, or reading its body from the client, failed.")
X(UPLOAD_UNFINISHED, "upload_unfinished", "http: persistConn.readLoop exiting",
  "The response ended 50 ms before the request was written (R48).")
X(DIAL_ERROR, "dial_error", "dial tcp: connect: connection refused", "The connection could not be established.")
X(TLS_ERROR, "tls_error", "remote error: tls: handshake failure", "The TLS handshake or a TLS record failed.")
X(CLOSE_IDLE_CONNS, "close_idle_conns", "http: CloseIdleConnections called",
  "An operator asked for idle connections to be closed.")
X(UPGRADED, "upgraded", "http: persistConn.closed: caller owns conn", "It was handed over by 101 Switching Protocols.")
X(TUNNEL, "tunnel", "", "It was a CONNECT tunnel, and one of its ends closed.")
X(CLIENT_CLOSED, "client_closed", "", "The client closed the connection.")
X(CLIENT_TIMEOUT, "client_timeout", "", "The client sent no request, or no end of its head, for too long.")
X(BAD_REQUEST, "bad_request", "", "The client sent what was refused, and the connection cannot be used further.")
X(SHUTDOWN, "shutdown", "", "The daemon was stopping.")
