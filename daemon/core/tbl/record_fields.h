/* The fields of a record: one row each, by its path in connleak.conn/1.
 *
 * X(path, text) */

X("id",
  "u- upstream, d- downstream, c- the connecting end in a capture; numbers only grow within one run of the "
  "observer, and the log and the admin endpoint use the same.")
X("observer", "Who saw it: daemon, capture or kernel.")
X("side",
  "upstream: from the daemon to an origin. downstream: from a client to the daemon. client: in a capture, as the "
  "end that connected sees it.")
X("local", "This end's address and port, or unix for a Unix socket.")
X("remote", "The peer's address and port.")
X("key", "The pool key: what makes connections interchangeable.")
X("key.scheme", "http or https: the scheme of the requests.")
X("key.host", "host:port; null where a proxy takes plain HTTP for every host.")
X("key.proxy", "The URL of the proxy in between; null: direct.")
X("protocol", "What was seen to be spoken; null for the inside of a tunnel.")
X("opaque",
  "It became a tunnel (CONNECT) or was upgraded: nothing is known of what passes after that but the number of "
  "bytes.")
X("tls", "What TLS was agreed on; null: plain.")
X("tls.version", "Such as TLSv1.3.")
X("tls.cipher",
  "By OpenSSL's name; null: none was agreed on, or it has no name here (evidence.tls.cipher_id has its number).")
X("tls.close_notify",
  "The peer announced the end of its data. In a capture: what came last before the server's FIN was an alert; null "
  "where TLS 1.3 hides it, or where bytes are missing.")
X("state", "Where the life of the connection stands.")
X("opened_at", "When its dial began, or it was accepted; null: it was there before the observer.")
X("closed_at", "null: it is open, or its end was not seen; state tells which.")
X("duration_ms", "From opened_at to closed_at; while it is open, until the record was written.")
X("dial_ms", "From opened_at until TCP stood; null: it never did, or was not dialed.")
X("tls_ms", "From then until the TLS handshake was done.")
X("idle_ms", "Time between requests, all spells together, the one under way included.")
X("requests", "Requests begun on it.")
X("reused", "Requests after its first.")
X("responses", "Final response heads.")
X("early_closes", "Response bodies given up before their end was seen.")
X("retries", "Requests that failed here and were sent again on another connection.")
X("bytes_in", "Received by this end; with TLS, of the plain text.")
X("bytes_out", "Sent by this end.")
X("last_body", "The body of the last response; null: there was none, or it is not known.")
X("last_body.announced", "Content-Length; null: it was not announced.")
X("last_body.read", "Body bytes that were read.")
X("last_body.framing", "How its end is known.")
X("unread_bytes", "Bytes that the kernel had received and this end had not read when it closed; null while it is open.")
X("rst_sent",
  "This end sent an RST: its kernel does so when bytes are unread at close (unread_bytes), and the daemon does so "
  "on purpose to show that a body is incomplete. After the peer's FIN too: then close.by is remote, and this is "
  "true all the same.")
X("rst_received", "The peer sent an RST.")
X("close", "How it ended.")
X("close.by", "Whose FIN or RST came first; none: it is open, or never stood.")
X("close.how", "By FIN or by RST, which of the two came first; none: it is open, or no end was seen.")
X("close.reason", "Why: what only the end that closed it can claim.")
X("close.phase", "How far the exchange under way was.")
X("close.go_error", "The message that Go's Transport has for the reason, for searching.")
X("client", "Who was at the other end of a downstream connection.")
X("client.tag", "The user name in its proxy URL.")
X("client.user_agent", "Of its last request, at most 256 bytes.")
X("client.pid", "Its process, where the socket probe had reason to look and was allowed to know; null: not known.")
X("client.comm", "The name of that process.")
X("client.recv_q",
  "Bytes that lay unread in its receive queue when the socket probe last looked, since its last request; null: not known.")
X("events", "What happened, in order: the first 8, and the newest of the others. In GET /connections/ID only.")
X("events_dropped", "Events in the middle that are no longer held.")
X("evidence",
  "What this observer alone can show, and guesses, by names that say so. Empty from the daemon; a capture's fields "
  "stand below, those of the kernel in connleak(1).")
