/* The numbers of GET /metrics: one row each, by its path in connleak.metrics/1.
 *
 * X(path, text) */

X("version", "The daemon's version.")
X("started_at", "When it started.")
X("now", "When these numbers were taken, all at once.")
X("uptime_s", "Seconds between the two, on a clock that nobody sets.")
X("pool", "The upstream connections that the pool has now. GET /pools has a row for each key.")
X("pool.open", "idle + active + dialing. Tunnels and upgraded connections are not the pool's.")
X("pool.idle", "Kept for a next request.")
X("pool.active", "Carrying a request.")
X("pool.dialing", "Connect or TLS handshake under way.")
X("pool.waiting",
  "Requests that have no connection yet: theirs is being dialed, or pool.max_conns_per_host is reached.")
X("pool.peak_open", "The most that were open at once, since the start or the last POST /reset_peaks.")
X("pool.peak_idle", "The most that were idle at once, since then.")
X("upstream", "Connections from the daemon to origins.")
X("upstream.dials", "Connections begun.")
X("upstream.dial_errors", "Dials that came to nothing: refused, timed out, aborted.")
X("upstream.requests", "Requests sent; one that was sent again on another connection counts on each.")
X("upstream.responses", "Final response heads received.")
X("upstream.reused", "Requests on a connection after its first.")
X("upstream.reuse_ratio", "reused / requests; null before the first request.")
X("upstream.retries", "Requests that failed on a reused connection and were sent again.")
X("upstream.early_body_closes", "Response bodies given up before their end.")
X("upstream.rst_sent_unread",
  "Connections closed while the kernel held bytes that nobody had read. Linux answers such a close with RST.")
X("upstream.unread_bytes", "Bytes unread at those closes (rst_sent_unread).")
X("upstream.rst_received", "Connections that the origin reset.")
X("upstream.closes", "Closed connections by close.reason; reasons that did not occur are left out.")
X("upstream.bytes_in", "Bytes received, over TLS what it carried.")
X("upstream.bytes_out", "Bytes sent.")
X("upstream.requests_per_connection",
  "Requests per closed connection: median, 90th percentile and most. A median of 1 says that connections are not "
  "reused.")
X("upstream.wait_ms", "How long requests waited for a connection, dials included, in milliseconds.")
X("downstream", "Connections from clients to the daemon.")
X("downstream.open", "Connections open now.")
X("downstream.accepted", "Connections accepted.")
X("downstream.requests", "Requests read.")
X("downstream.responses", "Final response heads sent, the daemon's own errors included.")
X("downstream.reused",
  "Requests on a connection after its first: whether the client reuses its connections to the proxy.")
X("downstream.reuse_ratio", "reused / requests; null before the first request.")
X("downstream.early_body_closes", "Response bodies that a client gave up before their end.")
X("downstream.rst_sent_unread", "Connections that the daemon closed with bytes of the client unread.")
X("downstream.unread_bytes", "Bytes unread at those closes (rst_sent_unread).")
X("downstream.rst_received", "Connections that the client reset, which is how a body left unread ends.")
X("downstream.held", "Connections that hold a response nobody reads to its end or closes: body_not_closed says whose.")
X("downstream.rejected",
  "Connections turned away: access.allow_clients does not name the client, proxy.max_clients is reached, or no "
  "descriptor is left. Among accepted, too.")
X("downstream.closes", "Closed connections by close.reason; reasons that did not occur are left out.")
X("downstream.bytes_in", "Bytes received.")
X("downstream.bytes_out", "Bytes sent.")
X("tunnels", "CONNECT tunnels and upgraded connections.")
X("tunnels.open", "Tunnels open now.")
X("tunnels.total", "Tunnels opened since the start.")
X("tunnels.bytes_in", "Bytes from origins.")
X("tunnels.bytes_out", "Bytes to origins.")
X("findings", "Causes that were found: GET /findings.")
X("findings.open", "Findings whose cause is still there.")
X("findings.by_kind", "Findings by kind.")
X("kernel",
  "What the kernel has counted since the daemon started, over all sockets of its network namespace, whoever owned "
  "them; null where /proc/self/net/netstat cannot be read.")
X("kernel.tcp_abort_on_close", "TcpExt TCPAbortOnClose: sockets closed with bytes unread, each an RST.")
X("kernel.tcp_abort_on_data",
  "TcpExt TCPAbortOnData: bytes that arrived after a close, and closes with SO_LINGER 0, each an RST.")
