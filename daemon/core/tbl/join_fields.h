/* What a ledger and a capture are compared in: one row a field of connleak.conn/1.
 *
 * X(symbol, name, kind, text)
 *   kind  how its values are written: TIME, COUNT, FLAG, BY, HOW
 *   text  what the capture's value is */

X(OPENED, "opened_at", TIME, "the SYN")
X(CLOSED, "closed_at", TIME, "the end's own FIN or RST; the peer's RST where it sent neither")
X(REQUESTS, "requests", COUNT, "requests begun")
X(REUSED, "reused", COUNT, "requests after the first")
X(BYTES_IN, "bytes_in", COUNT, "bytes that the end acknowledged, less those that its record says it left unread")
X(BYTES_OUT, "bytes_out", COUNT, "bytes that the end sent")
X(EARLY_CLOSES, "early_closes", COUNT, "response bodies given up before their end")
X(RST_SENT, "rst_sent", FLAG, "an RST of the end")
X(RST_RECEIVED, "rst_received", FLAG, "an RST of the peer")
X(CLOSE_BY, "close.by", BY, "whose FIN or RST came first")
X(CLOSE_HOW, "close.how", HOW, "which of the two it was")
X(UNREAD, "unread_bytes", COUNT, "bytes that the end acknowledged, less those that its record says it read")
