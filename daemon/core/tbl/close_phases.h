/* How far the exchange under way was when the connection ended: one row a phase.
 *
 * X(symbol, name, text)
 *   name  the word in JSON and manuals, NULL: null
 *   text  where the connection stood, and what an end there means
 *
 * The rows come in the order of the enum. */

X(NONE, NULL, "It is open, or the phase is not known.")
X(DIALING, "dialing", "There was no connection yet: the dial or the TLS handshake failed, or was given up.")
X(IDLE, "idle", "Between exchanges: no request was lost.")
X(IN_REQUEST, "in_request",
  "The request was being sent, or its first byte of answer had not come. Ended by the remote end, it was not answered; ended by the local one, it was given up.")
X(IN_HEADERS, "in_headers", "A part of a response head had come.")
X(IN_BODY, "in_body",
  "The head was complete, the body was not. Ended by the local end it was given up early; ended by the remote one the response is truncated, unless its body lasts until the end of the connection.")
X(AFTER_BODY, "after_body",
  "The last byte of the body had been read, the end of the message had not been seen: a body that was read by its length and closed too soon by one read.")
