/* Why the first RST of a connection was sent: one row a cause. What a capture can prove, and nothing else; what it only
 * suggests is in rst_cause_likely.
 *
 * X(symbol, name, text)
 *   name  the word in evidence.rst_cause, NULL: null
 *
 * The rows come in the order of the enum. */

X(NONE, NULL, "No RST, or its cause cannot be told.")
X(UNREAD_AT_CLOSE, "unread_at_close",
  "close() with received bytes unread: the kernel sends RST instead of FIN, and what was unread is lost.")
X(DATA_AFTER_CLOSE, "data_after_close",
  "Bytes came for a socket that was closed already: its FIN was out, and its kernel answered them with RST.")
X(REFUSED, "refused", "Nobody listens at that address and port: the answer to a SYN.")
X(ABORT, "abort", "The sender threw the connection away on purpose: SO_LINGER 0, or a timeout.")
