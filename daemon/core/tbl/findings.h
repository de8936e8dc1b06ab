/* What can be wrong: one row a kind of finding (design section 7).
 *
 * X(symbol, name, severity, summary, text)
 *   severity  what it is raised with unless the rule knows better
 *   summary   the sentence with its numbers, see below
 *   text      what it means, for people who never met it
 *
 * A summary is read by finding_summary():
 *   {name}           a number of tbl/finding_numbers.h with a comma between thousands; {count} is finding.count
 *   {name:time}      milliseconds (of names that end in _s: seconds) as "34 s" or "6 h 12 min"
 *   {name|one|many}  the first word if the number is 1, else the second; {sure|...}: 1 is more than suspected
 *   [part]           left out where a number in it is not known, or is 0; parts may stand in parts
 *   [part|other]     the first whose numbers are known
 * Outside of [ ] only {count} and {sure} may stand: every observer knows them. */

X(EARLY_BODY_CLOSE, "early_body_close", WARNING,
  "{sure||Perhaps }{count} response {count|body was|bodies were} given up before {count|its|their} end[, "
  "{count|with|the last with} a RST after {received_bytes} {received_bytes|byte|bytes} received, "
  "{unread_if_read_4096} of them unread if the client read 4,096|, {count|with|the last with} {received_bytes} "
  "{received_bytes|byte|bytes} received][; {unread_bytes} {unread_bytes|byte|bytes} lay unread at {count|the "
  "close|those closes}][; {requests} {requests|request|requests} on {count|its|the last} connection{requests|, not "
  "reused|}][; {redials} new {redials|connection|connections} followed][; {justified} {justified|was|were} given up "
  "rightly, with more left than a new connection costs][; {waited_for_more} while waiting for "
  "more]",
  "A response body was closed before its end was seen. Its connection cannot carry another request and is thrown "
  "away; where bytes lay unread in the kernel, close() became a RST.")
X(RST_UNREAD_DATA, "rst_unread_data", WARNING,
  "{sure||Perhaps }{count} {count|connection was|connections were} reset because bytes lay unread when {count|it "
  "was|they were} closed[: {unread_bytes} {unread_bytes|byte|bytes} in all][{count|, after|; the last after} "
  "{received_bytes} {received_bytes|byte|bytes} received[, {unread_if_read_4096} of them unread if the client read "
  "4,096]]",
  "close() on a socket whose received bytes were not read makes the kernel send RST instead of FIN, whether the "
  "program gave up a response or simply ended.")
X(BODY_NOT_CLOSED, "body_not_closed", WARNING,
  "{sure||Perhaps }{count} {count|response was|responses were} neither read to {count|its|their} end nor closed[; "
  "{held} {held|connection is|connections are} held now[, the oldest for {oldest_held_ms:time}]][, while the same "
  "client opened {opens_since} new {opens_since|one|ones}][; {recv_q} bytes lie unread in its receive queues][; "
  "{send_q} bytes wait on the sender's side]",
  "Nobody read the response body to its end, and nobody closed it. The connection is neither free nor gone: it "
  "leaks, with its memory and descriptor, until the process ends.")
X(IDLE_CAP_CHURN, "idle_cap_churn", WARNING,
  "{count} good {count|connection was|connections were} closed because the limit of idle ones was full[, and "
  "{redials} {redials|was|were} dialed again][; a limit of {sufficient} would have been enough][; without the "
  "proxy, {direct_dials} {direct_dials|dial|dials} would have been enough]",
  "More requests run at a time than the pool may keep idle connections: after each burst the surplus is closed, and "
  "the next burst dials again.")
X(TRANSPORT_PER_REQUEST, "transport_per_request", WARNING,
  "{count} {count|connection|connections} carried one request each, though nothing forbade reuse[; {open} "
  "{open|is|are} open now]",
  "Each request makes a client, session or transport of its own, whose pool nobody else uses: its connection is "
  "never found again.")
X(KEEPALIVES_DISABLED, "keepalives_disabled", WARNING,
  "{count}[ of {requests}] {count|request|requests} asked for Connection: close, so that each needs a connection of "
  "its own",
  "The client itself forbids reuse.")
X(SERVER_DISABLES_KEEPALIVE, "server_disables_keepalive", WARNING,
  "{count}[ of {responses}] {count|response|responses} said Connection: close, or the server closed at once after "
  "{count|it|them}: the next request needs a new connection",
  "The server, or a balancer before it, forbids reuse.")
X(SERVER_LIMITS_REQUESTS, "server_limits_requests", INFO,
  "The server closed {count} {count|connection|connections}[ after {nth} {nth|response|responses} each]",
  "The server allows so many requests a connection and says Connection: close on the last.")
X(HTTP10_NO_KEEPALIVE, "http10_no_keepalive", WARNING,
  "{count} {count|exchange was|exchanges were} HTTP/1.0 without keep-alive, so that each needs a connection of its "
  "own",
  "HTTP/1.0 ends the connection after a response unless both sides say Connection: keep-alive.")
X(SERVER_CLOSES_IDLE, "server_closes_idle", INFO,
  "The server closed {count} idle {count|connection|connections}[, after {idle_timeout_ms:time} idle (the median of "
  "{observations})][; {redials} {redials|was|were} dialed again]",
  "The server's keep-alive timeout is shorter than the client's pauses: connections are gone when they are wanted, "
  "and a request sent in that instant fails.")
X(SERVER_RESETS_IDLE, "server_resets_idle", WARNING,
  "The server's side reset {count} idle {count|connection|connections}[, after {idle_timeout_ms:time} idle (the "
  "median of {observations})][; {redials} {redials|was|were} dialed again]",
  "The server, a firewall or a balancer between ends idle connections with RST.")
X(STALE_REUSE_RACE, "stale_reuse_race", WARNING,
  "{count} {count|request was|requests were} sent on {count|a connection|connections} that the server was just "
  "closing[; {retried} {retried|was|were} sent again][; {failed} failed]",
  "An idle connection was reused in the very moment in which the server gave it up.")
X(SLOW_READER, "slow_reader", WARNING,
  "The client did not take what was sent to it, {count} {count|time|times}[, for {blocked_ms:time} at the "
  "longest][; {send_q} bytes wait on the sender's side]",
  "The client does not read: its window is zero, and bytes pile up on the sender's side.")
X(POOL_WAIT, "pool_wait", WARNING,
  "{sure||Perhaps }{count} {count|request|requests} waited for a connection[, {wait_max_ms:time} at the longest][, "
  "while all {open} were in use][: {prompt} followed at once on the response before][; {sufficient} would have been "
  "enough]",
  "MaxConnsPerHost, or the size of a client's pool, is lower than the number of requests that run at a time.")
X(REQUEST_TIMEOUT, "request_timeout", WARNING,
  "{count} {count|request was|requests were} given up before the response head came[, the last after "
  "{waited_ms:time}]",
  "The client left before the server answered: a timeout, a cancelled context, or a program that ended.")
X(TRUNCATED_RESPONSE, "truncated_response", WARNING,
  "{count} {count|response was|responses were} cut: the server ended the connection before the body was complete[; "
  "the last after {body_read} of {body_announced} bytes|; the last after {body_read} bytes]",
  "The server crashed, was restarted, or announced more than it sent.")
X(EXCESS_RESPONSE_BYTES, "excess_response_bytes", WARNING,
  "{count} {count|response was|responses were} followed by bytes beyond {count|its|their} announced end[, "
  "{excess_bytes} in all]",
  "The server sends more than its Content-Length says; the connection cannot be reused, and its bytes could be "
  "taken for the next answer.")
X(UNSOLICITED_RESPONSE, "unsolicited_response", WARNING,
  "{count} {count|time|times} the server sent bytes on an idle connection, which nobody had asked for[, "
  "{excess_bytes} {excess_bytes|byte|bytes} in all]",
  "A 408 before an idle close, or an answer twice.")
X(EARLY_ERROR_RESPONSE, "early_error_response", WARNING,
  "{count} {count|time|times} the server answered and closed before it had read the request",
  "A server that refuses a body (401, 413) and closes at once: what it had not read makes its kernel send RST, "
  "which can destroy the very answer.")
X(CONNECTION_REFUSED, "connection_refused", WARNING,
  "{count} {count|connection was|connections were} refused",
  "Nobody listens at that address and port, or a firewall says so.")
X(DIAL_FAILURES, "dial_failures", WARNING,
  "{count} {count|dial|dials} failed[, {unresolved} because the name was not found][, {timed_out} by timeout][, "
  "{tls_failed} in the TLS handshake]",
  "Connections could not be established.")
X(DIAL_STORM, "dial_storm", CRITICAL,
  "[{dials_per_s} dials per second|Dials come too fast][: with 60 s of TIME_WAIT, {time_wait} of {port_range} local "
  "ports will be in use][; all are used up in {ports_left_s:time}]",
  "Connections are opened faster than the kernel gives their local ports back.")
X(TUNNEL_CHURN, "tunnel_churn", WARNING,
  "{count} CONNECT {count|tunnel was|tunnels were} opened one after the other[, with {mean_bytes} "
  "{mean_bytes|byte|bytes} each on average]",
  "Each tunnel costs a TCP and a TLS handshake; many short ones are TLS connections that the client does not reuse.")
