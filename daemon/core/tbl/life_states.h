/* Where a connection's life stands: one row a state.
 *
 * X(symbol, name, text)
 *
 * The rows come in the order of the enum. What an observer that cannot look
 * inside sees is OPEN or CLOSED. */

X(DIALING, "dialing", "TCP connect or TLS handshake under way.")
X(OPEN, "open", "It stands; whether it is in use cannot be told, since no request was seen on it yet.")
X(ACTIVE, "active", "It carries a request.")
X(IDLE, "idle", "It is between requests: in the pool, or waiting for the client.")
X(OPAQUE, "opaque", "It is a tunnel, or was upgraded: nothing but the number of bytes is known of what passes.")
X(CLOSED, "closed", "It ended; close says how, why and when in an exchange.")
