/* Was a response body given up? What lifecycle.early_closes rests on: one row a verdict.
 *
 * X(symbol, name, text)
 *   name  the word in evidence.early_close
 *
 * The rows come in the order of the enum. */

X(NO, "no", "Proven: no body was given up.")
X(IN_BODY, "in_body", "Proven: the client ended the connection before the body was complete.")
X(FIN_AFTER_COMPLETE, "fin_after_complete",
  "Ambiguous: all of a body was delivered, then came the client's FIN. Whether the program had read it cannot be "
  "seen; a body that fits the client's own buffer (4 KiB in Go) is given up like this.")
X(RST_AFTER_COMPLETE, "rst_after_complete",
  "Ambiguous: all of a body was delivered, then came the client's RST: it was given up unread, or abandoned, or the "
  "socket had SO_LINGER 0.")
X(NO_RESPONSE, "no_response",
  "Ambiguous: the client left before the response head; whether a body was to come is not known.")
X(OPEN, "open", "Not yet: no end of the client's is in the capture, and a body was under way or delivered.")
X(UNKNOWN, "unknown", "The capture has no view of the last exchange: a gap, TLS, or not HTTP/1.")
