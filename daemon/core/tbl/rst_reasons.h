/* Why a kernel sent an RST, in its own words (enum sk_rst_reason, include/net/rstreason.h): one row
 * a reason that can be explained. Which number means which reason is the running kernel's to say;
 * a reason that is not listed here is shown by its name alone.
 *
 * X(name, cause, text)
 *   cause  what a record's evidence.rst_cause is, by this proof: a suffix of RST_BY_
 *   text   what it means to the program at this end */

X("TCP_ABORT_ON_CLOSE", UNREAD_AT_CLOSE,
  "closed with bytes unread: a body given up early, or the end of a leak")
X("TCP_ABORT_ON_DATA", DATA_AFTER_CLOSE, "data came after close(): the peer was still sending")
X("TCP_TIMEWAIT_SOCKET", DATA_AFTER_CLOSE, "data came after close(), when only TIME_WAIT was left")
X("TCP_STATE", ABORT, "aborted on purpose (SO_LINGER 0, ss -K), or never accepted by a listener that closed")
X("TCP_ABORT_ON_LINGER", ABORT, "the peer did not close in time (TCP_LINGER2)")
X("TCP_ABORT_ON_MEMORY", ABORT, "the kernel has too little memory for TCP, or too many orphans")
X("TCP_KEEPALIVE_TIMEOUT", ABORT, "keep-alive probes were not answered")
X("TCP_DISCONNECT_WITH_DATA", ABORT, "disconnected with bytes not sent yet")
X("NO_SOCKET", REFUSED, "nobody listens on that port, or the connection is long gone")
X("INVALID_SYN", NONE, "a SYN in the middle of a connection")
X("TCP_INVALID_ACK_SEQUENCE", NONE, "the peer acknowledged what cannot be")
X("TCP_ACK_UNSENT_DATA", NONE, "the peer acknowledged what was never sent")
X("TCP_TOO_OLD_ACK", NONE, "a very old segment")
X("TCP_OLD_ACK", NONE, "an old segment")
X("TCP_RFC7323_PAWS", NONE, "a segment whose timestamp is too old")
X("TCP_FLAGS", NONE, "a segment with flags that cannot be")
X("NOT_SPECIFIED", NONE, "the kernel does not say why")
