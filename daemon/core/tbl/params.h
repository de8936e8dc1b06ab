/* Every parameter of the daemon: one row each, in the order of the sample file.
 *
 * X(section, key, TYPE, default, min, max, unit, flags, refused, text)
 *   section, key  the name in the file and in --set, and the member of struct conf
 *   TYPE          enum param_type without its P_
 *   default       as it would stand in the file
 *   min, max      bounds: of a number; in nanoseconds; in bytes; of a list's length
 *   unit          what a value counts or names; the words of an ENUM, with | between them
 *   flags         enum param_flag without its PF_: LIVE or RESTART, and others
 *   refused       "" where the parameter works; else why nothing but the default is
 *                 accepted, to follow on "section.key = value: "
 *   text          one sentence for the file, the manual and --help
 *
 * The word none, or nothing, is the empty string and the empty list. Every
 * duration: 0 is no limit. */

/* pool: upstream connections, with the names and meanings of Go's http.Transport */
X(pool, max_idle_conns, INT, "100", -1, 1000000, "connections", LIVE, "",
  "Idle connections kept in all; 0 is no limit, -1 keeps none (Go: MaxIdleConns).")
X(pool, max_idle_conns_per_host, INT, "2", -1, 1000000, "connections", LIVE, "",
  "Idle connections kept per pool key; 0 means 2, -1 keeps none (Go: MaxIdleConnsPerHost).")
X(pool, max_conns_per_host, INT, "0", 0, 1000000, "connections", LIVE, "",
  "Connections per pool key, dials included, beyond which requests wait; 0 is no limit (Go: MaxConnsPerHost).")
X(pool, idle_conn_timeout, DURATION, "90s", 0, DAYS(365), "duration", LIVE, "",
  "How long a connection may be idle before it is closed (Go: IdleConnTimeout).")
X(pool, dial_timeout, DURATION, "30s", 0, DAYS(1), "duration", LIVE, "",
  "How long resolving a name and connecting may take, over all its addresses (Go: Dialer.Timeout).")
X(pool, dial_keep_alive, DURATION, "30s", 0, DAYS(1), "duration", LIVE, "",
  "Interval of TCP keep-alive probes on upstream connections, in whole seconds; 0 sends none (Go: Dialer.KeepAlive).")
X(pool, tls_handshake_timeout, DURATION, "10s", 0, DAYS(1), "duration", LIVE, "",
  "How long a TLS handshake may take (Go: TLSHandshakeTimeout).")
X(pool, response_header_timeout, DURATION, "0", 0, DAYS(1), "duration", LIVE, "",
  "How long to wait for a response head after the request is written (Go: ResponseHeaderTimeout).")
X(pool, expect_continue_timeout, DURATION, "1s", 0, DAYS(1), "duration", LIVE, "",
  "How long the body of a request with Expect: 100-continue waits for the 100; 0 sends it at once (Go: ExpectContinueTimeout).")
X(pool, max_response_header_bytes, SIZE, "10m", 64, MIB(256), "bytes", LIVE, "",
  "The largest response head that is accepted (Go: MaxResponseHeaderBytes).")
X(pool, disable_keep_alives, BOOL, "false", 0, 1, "", LIVE, "",
  "Use each connection for one request only, and ask for that with Connection: close (Go: DisableKeepAlives).")
X(pool, force_attempt_http2, BOOL, "false", 0, 1, "", RESTART,
  "HTTP/2 to origins is not in this version; connections speak HTTP/1.1",
  "Offer HTTP/2 to origins (Go: ForceAttemptHTTP2).")
X(pool, profile, ENUM, "go1.19", 0, 0, "go1.19|go1.27", RESTART, "",
  "Which documented transport to be: go1.19 gives a closed body up at once, go1.27 first drains up to 256 KiB or 50 ms of it if its Content-Length is not larger.")
X(pool, read_buffer_size, SIZE, "4k", 512, MIB(1), "bytes", RESTART, "",
  "The buffer that heads and small bodies are read into; it decides how much is left unread at an early close (Go: ReadBufferSize).")
X(pool, write_buffer_size, SIZE, "4k", 512, MIB(1), "bytes", RESTART,
  "the daemon writes requests straight to the socket and has no write buffer whose size could matter",
  "Go's WriteBufferSize, listed so that a Transport's settings can be copied whole.")
X(pool, copy_buffer_size, SIZE, "32k", 1024, MIB(16), "bytes", RESTART, "",
  "How much of a body may be held that its client has not taken yet (the copy buffer of Go's ReverseProxy).")
X(pool, proxy, STRING, "none", 0, 0, "URL", RESTART | SECRET,
  "going through another proxy is not in this version; origins are dialed directly",
  "The proxy to reach origins through (Go: Proxy).")
X(pool, no_proxy, STRING, "none", 0, 0, "hosts", RESTART,
  "going through another proxy is not in this version; origins are dialed directly",
  "Hosts to reach directly in spite of pool.proxy (Go: NO_PROXY).")

/* proxy: the side that clients see */
X(proxy, listen, LISTEN, "127.0.0.1:3128", 1, 16, "host:port, [v6]:port or unix:PATH", RESTART, "",
  "Where clients connect, comma separated; port 0 asks for a free one.")
X(proxy, mode, ENUM, "forward", 0, 0, "forward|reverse|transparent", RESTART, "",
  "forward: the client names the origin; reverse: every request goes to proxy.upstream; transparent is not in this version.")
X(proxy, upstream, STRING, "none", 0, 0, "http:// or https:// URL", RESTART, "",
  "The origin of reverse mode: scheme, host and port, without a path.")
X(proxy, pairing, ENUM, "pool", 0, 0, "pool|mirror", RESTART,
  "mirroring client connections is not in this version; use pool",
  "pool: requests share pooled upstream connections; mirror: one upstream connection for one client connection.")
X(proxy, max_clients, INT, "10000", 1, 1000000, "connections", LIVE, "",
  "Client connections at a time; one more is answered 503 and closed.")
X(proxy, header_timeout, DURATION, "10s", 0, DAYS(1), "duration", LIVE, "",
  "How long a request head may take from its first byte to its last.")
X(proxy, client_idle_timeout, DURATION, "180s", 0, DAYS(365), "duration", LIVE, "",
  "How long a client connection may be idle between requests before it is closed; one that takes nothing of a response is left alone, as by Go, since it is what is looked for.")
X(proxy, max_request_header_bytes, SIZE, "64k", 1024, MIB(16), "bytes", LIVE, "",
  "The largest request head that is accepted; a larger one is answered 431.")
X(proxy, via, BOOL, "on", 0, 1, "", LIVE, "",
  "Add a Via field to requests and responses (RFC 9110, 7.6.3); without it a loop of proxies is found only at the daemon's own addresses.")
X(proxy, drain_quiet, DURATION, "1s", 0, DAYS(1), "duration", LIVE, "",
  "After SIGTERM: leave when no request has run for this long.")
X(proxy, drain_timeout, DURATION, "30s", 0, DAYS(1), "duration", LIVE, "",
  "After SIGTERM: leave at the latest after this long, whatever still runs.")

/* access: who may use the proxy, and for what */
X(access, allow_clients, CLIENTS, "loopback", 0, 256, "loopback, all, addresses or CIDR networks", LIVE, "",
  "Clients that are served; others get 403. Unix sockets are guarded by their file's permissions instead.")
X(access, allow_destinations, DESTINATIONS, "all", 0, 1024, "host, *.suffix, address or CIDR network, each with :port or without", LIVE, "",
  "Origins that may be reached.")
X(access, deny_destinations, DESTINATIONS, "none", 0, 1024, "host, *.suffix, address or CIDR network, each with :port or without", LIVE, "",
  "Origins that may not be reached, even if they are allowed above.")
X(access, password_file, STRING, "none", 0, 0, "file", LIVE, "",
  "Users that must identify themselves (Basic), one user:hash a line, the hash as crypt(5) has it; others get 407.")

/* tls */
X(tls, intercept, BOOL, "off", 0, 1, "", RESTART, "interception of TLS is not in this version; CONNECT makes a tunnel",
  "Open CONNECT tunnels with certificates made on the spot.")
X(tls, ca_cert, STRING, "none", 0, 0, "file", RESTART, "interception of TLS is not in this version; CONNECT makes a tunnel",
  "The certificate authority for tls.intercept.")
X(tls, ca_key, STRING, "none", 0, 0, "file", RESTART | SECRET, "interception of TLS is not in this version; CONNECT makes a tunnel",
  "Its private key.")
X(tls, upstream_ca, STRING, "none", 0, 0, "file or folder", RESTART, "",
  "Authorities that origins' certificates are checked against, instead of the system's.")
X(tls, min_version, ENUM, "1.2", 0, 0, "1.2|1.3", RESTART, "", "The oldest TLS version to speak with origins.")
X(tls, keylog_file, STRING, "none", 0, 0, "file", RESTART, "",
  "Where session keys are appended in the NSS key log format, for Wireshark; anybody who can read it can read the traffic.")

/* admin */
X(admin, listen, LISTEN, "127.0.0.1:9128", 0, 16, "host:port, [v6]:port or unix:PATH", RESTART, "",
  "Where metrics and records are served, comma separated; none serves them nowhere.")

/* ledger */
X(ledger, keep, INT, "65536", 1, 16777216, "records", LIVE, "", "Records of closed connections that are held in memory.")
X(ledger, keep_requests, INT, "65536", 0, 16777216, "requests", RESTART, "",
  "The newest requests whose times are held in memory, 48 bytes each, for GET /whatif; 0 holds none.")
X(ledger, file, STRING, "none", 0, 0, "file", RESTART, "",
  "Where the record of every closed connection is appended as a line of JSON; made with mode 0600, reopened on SIGUSR1.")

/* findings */
X(findings, leak_after, DURATION, "30s", 0, DAYS(1), "duration", LIVE, "",
  "How long a response may stay unread before its connection counts as leaked; 0 looks for no such leaks.")
X(findings, slow_after, DURATION, "10s", 0, DAYS(1), "duration", LIVE, "",
  "How long unsent bytes may stay put before their client counts as slow; 0 calls none slow.")
X(findings, window, DURATION, "5m", SEC(1), DAYS(1), "duration", LIVE, "",
  "The time over which findings compare and count; one whose cause has not shown itself for so long is resolved.")

/* probe */
X(probe, sockets, ENUM, "auto", 0, 0, "auto|on|off", RESTART, "",
  "Ask the kernel what lies unread in the sockets of suspected clients on this machine (sock_diag), and whose they are; auto: where that is possible.")
X(probe, kernel, ENUM, "auto", 0, 0, "auto|on|off", RESTART, "the kernel probe of the daemon is not in this version; connleak resets is one",
  "Watch the RSTs that the kernel sends, and why.")

/* log: the operator's log on stderr */
X(log, level, ENUM, "info", 0, 0, "error|warn|info|debug", LIVE, "", "The least important lines that are written.")
X(log, format, ENUM, "text", 0, 0, "text|json", LIVE, "", "One line an event, as text or as JSON.")
