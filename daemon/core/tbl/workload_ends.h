/* How an exchange of a workload ended, as the side that asked saw it: one row a way.
 *
 * X(symbol, name, text)
 *   name  the word in JSON and manuals
 *
 * The rows come in the order of the enum. */

X(COMPLETE, "complete", "The whole answer came, as its framing has it.")
X(GIVEN_UP, "given_up", "The client left in the body: `taken` says how much of it it had, the connection's close how it left.")
X(CANCELED, "canceled", "The client left before the head of the answer.")
X(FAILED, "failed", "The server's side ended it: no answer, or one that was cut short.")
X(OPAQUE, "opaque", "It became a tunnel, or was upgraded: what follows is no exchange.")
X(OPEN, "open", "It was not over when the observation ended.")
X(UNKNOWN, "unknown", "Its end is not in the observation: bytes are missing, or its times were not kept.")
