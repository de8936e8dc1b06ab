/* The numbers that are summed up over connections: one row a counter. Each is
 * kept once for upstream and once for downstream, and is nothing but the sum of
 * what the lifecycle records say.
 *
 * X(symbol, name, text) */

X(CONNECTIONS, "connections", "connections begun (upstream: dials)")
X(DIAL_ERRORS, "dial_errors", "dials that failed")
X(REQUESTS, "requests", "requests sent (upstream) or read (downstream)")
X(RESPONSES, "responses", "final response heads")
X(REUSED, "reused", "requests on a connection after its first")
X(RETRIES, "retries", "requests sent again on another connection")
X(EARLY_CLOSES, "early_body_closes", "response bodies given up before their end")
X(RST_SENT, "rst_sent_unread", "connections closed with unread bytes, which the kernel answers with RST")
X(UNREAD_BYTES, "unread_bytes", "bytes unread at those closes")
X(RST_RECEIVED, "rst_received", "connections ended by the peer's RST")
X(BYTES_IN, "bytes_in", "bytes received")
X(BYTES_OUT, "bytes_out", "bytes sent")
X(TUNNELS, "tunnels", "connections that became opaque: CONNECT and Upgrade")
