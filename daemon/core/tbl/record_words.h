/* The words of a record that have no table of their own: one row each.
 *
 * X(field, word, text)
 *   field  of connleak.conn/1 */

X("observer", "daemon", "connleakd wrote the record: it is one end of the connection.")
X("observer", "capture", "connleak analyze read it from packets.")
X("observer", "kernel", "The kernel's tracepoints told it.")
X("side", "upstream", "From the daemon to an origin; the daemon is the local end.")
X("side", "downstream", "From a client to the daemon; the daemon is the local end.")
X("side", "client", "In a capture, and from the kernel: written from the end that connected, which is the local one.")
X("close.by", "local", "The local end's FIN or RST came first.")
X("close.by", "remote", "The remote end's FIN or RST came first.")
X("close.how", "fin", "By FIN: the end had nothing unread, and all that it had sent is still delivered.")
X("close.how", "rst",
  "By RST: bytes were unread at the close (unread_bytes), the program aborted, or the host no longer knew the "
  "connection.")
X("last_body.framing", "content-length", "The response announced its length.")
X("last_body.framing", "chunked", "The response came in chunks, the last of which is empty.")
X("last_body.framing", "until-eof", "The response had no length: it lasted until the connection's end.")
