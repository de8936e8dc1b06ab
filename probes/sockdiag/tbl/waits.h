/* What a socket waits for: one row each.
 *
 * X(symbol, name, text)
 *   name  the word in the output of connleak sockets
 *
 * The rows come in the order of the enum. */

X(NOTHING, "nothing", "The socket is idle.")
X(ACCEPT, "accept", "For its program to accept() it.")
X(READ, "read", "For its program to read: bytes lie unread in its receive queue.")
X(CLOSE, "close", "For its program to close it: the peer has (CLOSE_WAIT).")
X(PEER_READ, "peer_read", "For the peer's program to read: its window is closed.")
X(PEER_ACK, "peer_ack", "For the peer's kernel to acknowledge what was sent.")
X(PEER_CONNECT, "peer_connect", "For the peer's kernel to answer the SYN.")
X(PEER_CLOSE, "peer_close", "For the peer to close, too.")
