/* What can be wrong: one row a kind of finding (design section 7).
 *
 * X(symbol, name, severity, summary, text)
 *   severity  what it is raised with unless the rule knows better
 *   summary   the sentence, with {numbers} of tbl/finding_numbers.h; a part in [ ] is left out
 *             where a number in it is not known
 *   text      what it means, for people who never met it */

X(EARLY_BODY_CLOSE, "early_body_close", WARNING,
  "{count} response bodies were given up before their end[; the last: RST after {received_bytes} bytes received"
  ", {unread_bytes} of them unread][, {unread_if_read_4096} of them unread if the client read 4,096]"
  "[; {requests} requests on it]: the connection could not be reused",
  "A response body was closed before its end was seen. Its connection cannot carry another request and is thrown away; "
  "where bytes lay unread in the kernel, close() became a RST.")
X(RST_UNREAD_DATA, "rst_unread_data", WARNING,
  "{count} connections were reset because bytes lay unread when they were closed[: {unread_bytes} bytes in all]"
  "[; the last after {received_bytes} bytes received][, {unread_if_read_4096} of them unread if 4,096 were read]",
  "close() on a socket whose received bytes were not read makes the kernel send RST instead of FIN, whether the program gave "
  "up a response or simply ended.")
X(BODY_NOT_CLOSED, "body_not_closed", WARNING,
  "{held} connections are held: a response was delivered and neither read to its end nor closed[, the oldest for "
  "{oldest_held_ms} ms], while the same client opened {opens_since} new ones[; {recv_q} bytes unread in its receive queues]",
  "Nobody read the response body to its end, and nobody closed it. The connection is neither free nor gone: it leaks, with its "
  "memory and descriptor, until the process ends.")
X(IDLE_CAP_CHURN, "idle_cap_churn", WARNING,
  "{count} good connections were closed because the limit of idle ones was full, and {redials} were dialed again; "
  "[a limit of {sufficient} would have been enough]",
  "More requests run at a time than the pool may keep idle connections: after each burst the surplus is closed, and the next "
  "burst dials again.")
X(TRANSPORT_PER_REQUEST, "transport_per_request", WARNING,
  "{connections} connections carried one request each, though nothing forbade reuse[; {open} of them are still open]",
  "Each request makes a client, session or transport of its own, whose pool nobody else uses: its connection is never found "
  "again.")
X(KEEPALIVES_DISABLED, "keepalives_disabled", WARNING,
  "{count} of {requests} requests asked for Connection: close: every one needs a new connection",
  "The client itself forbids reuse.")
X(SERVER_DISABLES_KEEPALIVE, "server_disables_keepalive", WARNING,
  "{count} of {responses} responses said Connection: close: every request needs a new connection",
  "The server, or a balancer before it, forbids reuse.")
X(SERVER_LIMITS_REQUESTS, "server_limits_requests", INFO,
  "the server closes each connection after {nth} responses; seen on {count} connections",
  "The server allows so many requests a connection and says Connection: close on the last.")
X(HTTP10_NO_KEEPALIVE, "http10_no_keepalive", WARNING,
  "{count} exchanges were HTTP/1.0 without keep-alive: every one needs a new connection",
  "HTTP/1.0 ends the connection after a response unless both sides say Connection: keep-alive.")
X(SERVER_CLOSES_IDLE, "server_closes_idle", INFO,
  "the server closed {count} idle connections, as learned after {idle_timeout_ms} ms idle; {redials} were dialed again",
  "The server's keep-alive timeout is shorter than the client's pauses: connections are gone when they are wanted, and a request "
  "sent in that instant fails.")
X(SERVER_RESETS_IDLE, "server_resets_idle", WARNING,
  "the server reset {count} idle connections, as learned after {idle_timeout_ms} ms idle; {redials} were dialed again",
  "The server, a firewall or a balancer between ends idle connections with RST.")
X(STALE_REUSE_RACE, "stale_reuse_race", WARNING,
  "{count} requests were sent on connections that the server was just closing: {retried} were sent again, {failed} failed",
  "An idle connection was reused in the very moment in which the server gave it up.")
X(SLOW_READER, "slow_reader", WARNING,
  "{count} times a client did not take what was sent to it, for {blocked_ms} ms at the longest",
  "The client does not read: its window is zero, and bytes pile up on the sender's side.")
X(POOL_WAIT, "pool_wait", WARNING,
  "{count} requests waited for a connection[, {wait_max_ms} ms at the longest]: {open} connections were all in use"
  "[; {sufficient} would have been enough]",
  "MaxConnsPerHost, or the size of a client's pool, is lower than the number of requests that run at a time.")
X(REQUEST_TIMEOUT, "request_timeout", WARNING,
  "{count} requests were given up before the response head came[, after {waited_ms} ms]",
  "The client left before the server answered: a timeout, a cancelled context, or a program that ended.")
X(TRUNCATED_RESPONSE, "truncated_response", WARNING,
  "{count} responses were cut: the server ended the connection before the body was complete[; the last after {body_read} of "
  "{body_announced} bytes]",
  "The server crashed, was restarted, or announced more than it sent.")
X(EXCESS_RESPONSE_BYTES, "excess_response_bytes", WARNING,
  "{count} responses were followed by bytes beyond their announced end[, {excess_bytes} in all]",
  "The server sends more than its Content-Length says; the connection cannot be reused, and its bytes could be taken for the next "
  "answer.")
X(UNSOLICITED_RESPONSE, "unsolicited_response", WARNING,
  "{count} times the server sent bytes on an idle connection, which nobody had asked for[: {excess_bytes} bytes]",
  "A 408 before an idle close, or an answer twice.")
X(EARLY_ERROR_RESPONSE, "early_error_response", WARNING,
  "{count} times the server answered and closed before it had read the request",
  "A server that refuses a body (401, 413) and closes at once: what it had not read makes its kernel send RST, which can destroy "
  "the very answer.")
X(CONNECTION_REFUSED, "connection_refused", WARNING, "{count} connections were refused",
  "Nobody listens at that address and port, or a firewall says so.")
X(DIAL_FAILURES, "dial_failures", WARNING,
  "{count} dials failed[: {unresolved} names not found][, {timed_out} timed out][, {tls_failed} TLS handshakes failed]",
  "Connections could not be established.")
X(DIAL_STORM, "dial_storm", CRITICAL,
  "{dials_per_s} dials per second: with 60 s of TIME_WAIT {time_wait} local ports will be in use, of {port_range}"
  "[; they are used up in {ports_left_s} s]",
  "Connections are opened faster than the kernel gives their local ports back.")
X(TUNNEL_CHURN, "tunnel_churn", WARNING,
  "{count} CONNECT tunnels to one host carried {mean_bytes} bytes on average and were opened again and again",
  "Each tunnel costs a TCP and a TLS handshake; many short ones are TLS connections that the client does not reuse.")
