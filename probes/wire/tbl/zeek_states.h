/* Zeek's conn_state, in evidence.conn_state: one row a state. "Client" is Zeek's originator, "server" its responder.
 *
 * X(symbol, text) */

X(S0, "The client's SYN was seen, and no answer.")
X(S1, "Established, and not ended: open when the capture ended.")
X(SF, "Established, and ended by the FINs of both.")
X(REJ, "The client's SYN was answered by RST: refused.")
X(S2, "Established; the client sent its FIN, the server none.")
X(S3, "Established; the server sent its FIN, the client none: where such connections pile up, the client never closes "
  "(CLOSE_WAIT).")
X(RSTO, "Established; the client sent RST. After a response, its program left bytes unread, or aborted.")
X(RSTR, "Established; the server sent RST.")
X(RSTOS0, "The client's SYN, then its RST; no answer of the server was seen.")
X(RSTRH, "The server's SYN+ACK, then its RST; the client's SYN was not seen.")
X(SH, "The client's SYN, then its FIN; no SYN+ACK was seen.")
X(SHR, "The server's SYN+ACK, then its FIN; the client's SYN was not seen.")
X(OTH, "No SYN was seen: the capture began in the middle.")
