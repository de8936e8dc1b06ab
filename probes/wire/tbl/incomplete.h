/* Why something cannot be known from a capture: one row a cause, a bit each.
 *
 * X(symbol, bit, name, text)
 *   name  the word in evidence.incomplete */

X(START, 0, "began_before_capture", "The capture began later than the connection.")
X(END, 1, "end_not_captured", "The same addresses and ports began a new connection, and no end of this one was seen.")
X(GAP_IN, 2, "gap_in_responses", "Bytes of the server are missing that HTTP framing could not bridge.")
X(GAP_OUT, 3, "gap_in_requests", "Bytes of the client are missing that HTTP framing could not bridge.")
X(SNAPLEN, 4, "snap_length", "Packets were cut by the capture's snap length; capture whole packets (tcpdump -s 0).")
X(ONE_WAY, 5, "one_way", "Only one direction is in the capture.")
X(OPAQUE, 6, "opaque", "TLS, HTTP/2, or not HTTP: messages are not visible.")
X(LIMIT, 7, "limit", "A limit of this program on held bytes or on a head's size was reached.")
X(CAPTURE_ENDED, 8, "open_at_end_of_capture", "The connection was open when the capture ended.")
X(BAD_HTTP, 9, "bad_http", "A message breaks HTTP's framing rules.")
X(LOSS, 10, "bytes_not_captured", "Bytes are missing, but nothing that matters to the messages.")
