/* What other programs say about connections, and where to read on: one row a message.
 *
 * X(who, message, see, text)
 *   who      whose words they are
 *   message  the part that does not change; matched without regard to case as a part of what was pasted
 *   see      words of this program, with a blank between them; "" where there is none
 *   text     what has happened
 *
 * Messages that are a close reason's stand in close_reasons.h. */

X("Go", "Unsolicited response received on idle HTTP channel", "unsolicited_response",
  "The server sent bytes on an idle connection, which Go then closed. What came stands behind 'starting with'.")
X("Go", "http: putIdleConn: connection is in bad state", "",
  "A connection came back to the pool when it had been closed already.")
X("Go", "http: putIdleConn: CloseIdleConnections was called", "close_idle_conns",
  "The request ended after CloseIdleConnections had been called, so its connection was not kept.")
X("Go", "net/http: request canceled while waiting for connection", "pool_wait body_not_closed",
  "The deadline passed before the request had a connection: MaxConnsPerHost is reached, by connections in use or by "
  "bodies that nobody closed, or the dial takes too long.")
X("Go", "Client.Timeout exceeded while awaiting headers", "request_timeout pool_wait",
  "Client.Timeout passed before the response head came. It counts the wait for a connection and the dial, too.")
X("Go", "Client.Timeout or context cancellation while reading body", "early_body_close slow_reader",
  "The deadline passed while the body was being read: the rest is lost and the connection closed.")
X("Go", "context deadline exceeded", "request_timeout pool_wait",
  "The request's deadline passed, wherever it was: waiting for a connection, for the head, or in the body.")
X("Go", "context canceled", "canceled request_timeout",
  "The request's context was canceled: by the program, or because the client it was working for left.")
X("Go", "http: read on closed response body", "early_close", "The program read a body that it had closed before.")
X("Go", "net/http: TLS handshake timeout", "dial_failures tls_error",
  "The TLS handshake took longer than TLSHandshakeTimeout.")
X("Go", "unexpected EOF", "truncated_response server_closed",
  "The connection ended in the middle of a message: before Content-Length or the last chunk.")
X("Go", "EOF", "stale_reuse_race server_closes_idle server_closed",
  "The server closed the connection before a byte of the answer came. On a connection that was reused it is mostly "
  "the race with the server's idle timeout; Go sends GETs again by itself, other requests not.")
X("Go", "use of closed network connection", "",
  "The program, or the transport for it, closed a connection that another goroutine still used.")
X("Go", "transport connection broken", "malformed_response",
  "What came was not a valid response; the rest of the message says why.")
X("Go", "malformed HTTP response", "malformed_response unsolicited_response",
  "What came did not begin like a response: another protocol, or the end of a body that was longer than announced.")
X("Go", "net/http: too many 1xx informational responses", "malformed_response",
  "More than five 1xx responses came before the final one.")
X("Go", "server response headers exceeded", "max_response_header_bytes",
  "The response head was longer than MaxResponseHeaderBytes.")
X("Go", "server gave HTTP response to HTTPS client", "tls_error", "The port speaks plain HTTP; the URL says https.")
X("Go", "certificate signed by unknown authority", "tls_error upstream_ca",
  "No authority that is trusted here has signed the server's certificate.")
X("Go", "proxyconnect tcp", "dial_failures",
  "The proxy itself, or its CONNECT, failed; the rest of the message says how.")

X("libc", "connection reset by peer", "read_error server_resets_idle rst_unread_data",
  "A RST came (ECONNRESET). Who sends one: a kernel whose program closed a socket with bytes unread, or is gone; a "
  "firewall or balancer that had forgotten the connection.")
X("libc", "broken pipe", "write_error early_error_response",
  "Something was written to a connection that the other end had closed (EPIPE).")
X("libc", "connection refused", "connection_refused", "Nobody listens at that address and port (ECONNREFUSED).")
X("libc", "connection timed out", "dial_failures",
  "No answer came (ETIMEDOUT): a route, a firewall that drops, or a server whose queue is full.")
X("libc", "i/o timeout", "dial_failures request_timeout", "A dial or a read took longer than its deadline.")
X("libc", "no such host", "dial_failures", "The name was not found.")
X("libc", "Name or service not known", "dial_failures", "The name was not found.")
X("libc", "Temporary failure in name resolution", "dial_failures", "The resolver did not answer.")
X("libc", "too many open files", "body_not_closed transport_per_request",
  "The process has as many descriptors as it may (EMFILE): mostly connections that leak. Raising the limit only "
  "puts it off.")
X("libc", "cannot assign requested address", "dial_storm idle_cap_churn early_body_close",
  "There is no local port left for a new connection (EADDRNOTAVAIL): too many dials, whose ports wait in TIME_WAIT.")

X("Python", "Connection pool is full, discarding connection", "idle_cap_churn",
  "urllib3, and requests with it: more requests ran at a time than pool_maxsize keeps connections.")
X("Python", "Remote end closed connection without response", "stale_reuse_race server_closes_idle",
  "The server closed the connection before a byte of the answer came; on a reused one it is mostly the race with "
  "its idle timeout.")
X("Python", "Connection aborted", "stale_reuse_race server_closes_idle",
  "requests: the connection ended before an answer came; what stands behind it says how.")
X("Python", "Server disconnected", "stale_reuse_race server_closes_idle",
  "aiohttp and httpx: the server closed the connection before a byte of the answer came.")
X("Python", "Unclosed connection", "body_not_closed",
  "aiohttp: a response was dropped that was neither read to its end nor released.")
X("Python", "Unclosed client session", "transport_per_request",
  "aiohttp: a ClientSession was dropped without close(); one for the whole program is enough.")
X("Python", "unclosed <socket", "body_not_closed transport_per_request",
  "ResourceWarning: a socket was left to garbage collection.")
X("Python", "PoolTimeout", "pool_wait body_not_closed",
  "httpx: no connection was free in time: all of max_connections are in use, or streams were not closed.")
X("Python", "IncompleteRead", "truncated_response", "The connection ended before the body was complete.")
X("Python", "peer closed connection without sending complete message body", "truncated_response",
  "httpx: the connection ended before the body was complete.")
X("Python", "Response payload is not completed", "truncated_response",
  "aiohttp: the connection ended before the body was complete.")

X("Java", "Timeout waiting for connection from pool", "pool_wait body_not_closed",
  "Apache HttpClient: every connection of the pool is in use, or was never given back: a response that nobody "
  "closed.")
X("Java", "failed to respond", "stale_reuse_race server_closes_idle",
  "Apache HttpClient, NoHttpResponseException: the server closed the connection before a byte of the answer came.")
X("Java", "was leaked. Did you forget to close a response body", "body_not_closed",
  "OkHttp: a response was collected that nobody had closed.")
X("Java", "unexpected end of stream", "stale_reuse_race truncated_response",
  "OkHttp: the connection ended before an answer, or in the middle of one.")
X("Java", "header parser received no bytes", "stale_reuse_race server_closes_idle",
  "java.net.http: the server closed the connection before a byte of the answer came.")
X("Java", "Premature EOF", "truncated_response", "The connection ended before the body was complete.")
X("Java", "Premature end of", "truncated_response",
  "Apache HttpClient: the connection ended before the body was complete.")
X("Java", "Not all bytes were read from the S3ObjectInputStream", "early_body_close",
  "AWS SDK: a body was closed before its end, so its connection was aborted. Right for a large rest, wasteful for a "
  "small one.")

X("Node", "socket hang up", "stale_reuse_race server_closes_idle",
  "The server closed the connection before the answer was complete; on a reused one it is mostly the race with its "
  "idle timeout (another Node server's is 5 s).")
X("Node", "other side closed", "stale_reuse_race server_closes_idle",
  "undici and fetch, UND_ERR_SOCKET: the server closed the connection.")
X("Node", "Headers Timeout Error", "request_timeout",
  "undici and fetch, UND_ERR_HEADERS_TIMEOUT: no response head came in time.")
X("Node", "Body Timeout Error", "truncated_response",
  "undici and fetch, UND_ERR_BODY_TIMEOUT: the body stopped coming.")
X("Node", "ECONNRESET", "read_error stale_reuse_race server_resets_idle",
  "A RST came, or the connection ended before the answer.")
X("Node", "ECONNREFUSED", "connection_refused", "Nobody listens at that address and port.")
X("Node", "ETIMEDOUT", "dial_failures", "No answer came in time.")
X("Node", "ENOTFOUND", "dial_failures", "The name was not found.")
X("Node", "EPIPE", "write_error early_error_response",
  "Something was written to a connection that the other end had closed.")
X("Node", "EMFILE", "body_not_closed transport_per_request",
  "The process has as many descriptors as it may: mostly connections that leak.")
X("Node", "EADDRNOTAVAIL", "dial_storm idle_cap_churn", "There is no local port left for a new connection.")

X(".NET", "The response ended prematurely", "stale_reuse_race truncated_response",
  "The server closed the connection before the answer was complete.")
X(".NET", "Unable to read data from the transport connection", "read_error truncated_response",
  "The connection broke; the rest of the message says how.")

X("curl", "Empty reply from server", "server_closed early_error_response",
  "Exit code 52: the server closed the connection without an answer.")
X("curl", "transfer closed with", "truncated_response",
  "Exit code 18: the connection ended before the body was complete.")
X("curl", "Failed writing body", "early_body_close",
  "Exit code 23: what curl writes to was closed (curl | head), so it gave the body up.")
X("curl", "Failure writing output to destination", "early_body_close",
  "Exit code 23: what curl writes to was closed (curl | head), so it gave the body up.")
X("curl", "Operation timed out after", "request_timeout early_body_close", "Exit code 28: --max-time passed.")

X("nginx", "upstream prematurely closed connection", "stale_reuse_race truncated_response",
  "The server behind nginx closed before its answer was complete; on a kept connection it is mostly the race with "
  "its idle timeout.")
X("nginx", "client prematurely closed connection", "request_timeout early_body_close",
  "The client left before it had the whole answer (status 499).")

X("Envoy", "upstream_reset_before_response_started", "stale_reuse_race server_resets_idle",
  "The server ended the connection before a byte of the answer came (flags UC, UR).")
X("Envoy", "upstream connect error or disconnect/reset before headers", "stale_reuse_race connection_refused",
  "The server could not be reached, or ended the connection before a byte of the answer came.")

X("Linux", "TCPAbortOnClose", "rst_unread_data early_body_close",
  "In nstat and netstat -s: connections that were closed with bytes unread, each with a RST; GET /metrics has it as "
  "kernel.tcp_abort_on_close.")
X("Linux", "TCPAbortOnData", "rst_unread_data",
  "In nstat and netstat -s: RSTs because bytes came for a socket closed already, or because of SO_LINGER 0; GET "
  "/metrics has it as kernel.tcp_abort_on_data.")
X("Linux", "Recv-Q", "body_not_closed slow_reader",
  "In ss: bytes that the kernel has received and the program has not read. On a connection of a client, above 0 and "
  "not falling, a body that nobody reads.")
X("Linux", "CLOSE_WAIT", "body_not_closed",
  "The peer's FIN has come, and this end's program has not closed: where such sockets pile up, it never will (in "
  "ss: CLOSE-WAIT).")
X("Linux", "CLOSE-WAIT", "body_not_closed",
  "The peer's FIN has come, and this end's program has not closed: where such sockets pile up, it never will.")
X("Linux", "TIME_WAIT", "dial_storm idle_cap_churn early_body_close",
  "This end closed first, with FIN; the kernel keeps its local port for 60 s. Many of them are many dials (in ss: "
  "TIME-WAIT).")
X("Linux", "TIME-WAIT", "dial_storm idle_cap_churn early_body_close",
  "This end closed first, with FIN; the kernel keeps its local port for 60 s. Many of them are many dials.")
