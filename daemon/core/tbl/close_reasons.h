/* Why a connection ended: one row a reason.
 *
 * X(symbol, name, go_error, text, advice)
 *   name      the word in JSON, metrics and manuals
 *   go_error  the message that Go's Transport has for it (R87-R96), or how each of its
 *             messages begins; "" where it has none, or several that share no beginning
 *   text      one sentence for people
 *   advice    what to do about it, "" where that is not a question
 *
 * The rows come in the order of the enum; the first is no reason at all. */

X(NONE, "none", "", "The connection is open, or nobody saw it end.",
  "")
X(IDLE_TIMEOUT, "idle_timeout", "http: idle connection timeout",
  "It was idle for longer than pool.idle_conn_timeout.",
  "Nothing, if it was reused before. Where connections end so after one request, the limit is shorter than the "
  "pause between requests: raise it.")
X(TOO_MANY_IDLE, "too_many_idle", "http: putIdleConn: too many idle connections",
  "It was idle for longest when pool.max_idle_conns was exceeded.",
  "Where such hosts are soon dialed again, raise MaxIdleConns.")
X(TOO_MANY_IDLE_HOST, "too_many_idle_host", "http: putIdleConn: too many idle connections for host",
  "It came back when pool.max_idle_conns_per_host connections of its key were idle already.",
  "Raise MaxIdleConnsPerHost (2 unless set) to the number of requests that run at a time; else each burst dials "
  "again.")
X(KEEPALIVES_DISABLED, "keepalives_disabled", "http: putIdleConn: keep alives disabled",
  "pool.disable_keep_alives is set, or the limit of idle connections per host is negative.",
  "Unset DisableKeepAlives, unless every request should have a connection of its own.")
X(REQUEST_CLOSE, "request_close", "http: persistConn.readLoop exiting", "The request asked for Connection: close.",
  "Look in the client for Request.Close, a field Connection: close, or HTTP/1.0.")
X(RESPONSE_CLOSE, "response_close", "http: persistConn.readLoop exiting",
  "The response said Connection: close, or was HTTP/1.0 without keep-alive.",
  "Ask the server's side: keep-alive switched off, a limit of requests per connection, HTTP/1.0, or a balancer in "
  "between.")
X(UNTIL_EOF, "until_eof", "http: persistConn.readLoop exiting",
  "The response had no length: its body ended with the connection.",
  "Let the server send Content-Length or chunked.")
X(EARLY_CLOSE, "early_close", "http: persistConn.readLoop exiting",
  "A response body was given up before its end was seen.",
  "Read the body to its end before closing it, on errors too; in Go io.Copy(io.Discard, resp.Body). To give up is "
  "right where the rest costs more than a new connection.")
X(CANCELED, "canceled", "net/http: request canceled",
  "The request was given up before its response head came, or while its connection was being dialed.",
  "Look at the client's timeouts and contexts, and at how long the server takes.")
X(SERVER_CLOSED_IDLE, "server_closed_idle", "http: server closed idle connection",
  "The server closed the connection while it was idle.",
  "Keep IdleConnTimeout below the server's keep-alive timeout; a request sent in that instant fails, or must be "
  "sent again.")
X(SERVER_CLOSED, "server_closed", "net/http: Transport failed to read from server: EOF",
  "The server closed the connection before the response was complete.",
  "Look in the server's log for a crash, a restart or a limit.")
X(UNSOLICITED_RESPONSE, "unsolicited_response", "readLoopPeekFailLocked: <nil>",
  "The server sent bytes that no request had asked for.",
  "Look at the server: it answered twice, sent more than its Content-Length, or a 408 on an idle connection.")
X(RESPONSE_HEADER_TIMEOUT, "response_header_timeout", "net/http: timeout awaiting response headers",
  "No response head came within pool.response_header_timeout after the request was written.",
  "Find out why the server is slow, or raise the limit.")
X(MALFORMED_RESPONSE, "malformed_response", "net/http: HTTP/1.x transport connection broken: malformed HTTP response",
  "What the server sent was not a valid HTTP/1 response.",
  "Look at the bytes in a capture; often the port speaks another protocol, such as TLS or HTTP/2.")
X(READ_ERROR, "read_error", "read: connection reset by peer", "Reading from the connection failed.",
  "Where rst_received is true, ask who sent the RST: a server that crashed, or a firewall or balancer whose timeout "
  "had passed.")
X(WRITE_ERROR, "write_error", "write: broken pipe", "Writing the request, or reading its body from the client, failed.",
  "See whether the server closed before it had read the request, or the client broke off its body; bytes_out tells "
  "how far it came.")
X(UPLOAD_UNFINISHED, "upload_unfinished", "http: persistConn.readLoop exiting",
  "The response ended 50 ms before the request was written (R48).",
  "Look at the status: servers that refuse a body (401, 413) answer before they have read it.")
X(DIAL_ERROR, "dial_error", "dial tcp", "The connection could not be established.",
  "Proxy-Status in the 502 or 504 names the cause: no such name, refused, unreachable, timed out.")
X(TLS_ERROR, "tls_error", "", "The TLS handshake or a TLS record failed.",
  "Proxy-Status in the 502 says what is wrong with the handshake or the certificate; tls.upstream_ca names "
  "authorities of one's own.")
X(CLOSE_IDLE_CONNS, "close_idle_conns", "http: CloseIdleConnections called",
  "An operator asked for idle connections to be closed.",
  "Nothing; it was SIGUSR2 or POST /close_idle.")
X(UPGRADED, "upgraded", "http: persistConn.closed: caller owns conn", "It was handed over by 101 Switching Protocols.",
  "Nothing; what is spoken after the upgrade decides when it ends.")
X(TUNNEL, "tunnel", "", "It was a CONNECT tunnel, and one of its ends closed.",
  "Nothing, if it carried much. Many short tunnels to one host are TLS connections that the client does not reuse.")
X(CLIENT_CLOSED, "client_closed", "", "The client closed the connection.",
  "Nothing, if it was idle. In the phase in_body it is the client that gave up a response.")
X(CLIENT_TIMEOUT, "client_timeout", "",
  "It was idle for longer than proxy.client_idle_timeout, or sent no whole request head within proxy.header_timeout.",
  "Nothing, if it was idle. A request head that took too long was answered 408: see why the client is slow.")
X(BAD_REQUEST, "bad_request", "", "The client sent what was refused, and the connection cannot be used further.",
  "The answer says what is wrong with the request; mend the client.")
X(SHUTDOWN, "shutdown", "", "The daemon was stopping.",
  "Nothing.")
