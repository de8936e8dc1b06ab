/* The letters of Zeek's history, in evidence.history: one row each. A capital letter is the client's (Zeek's
 * originator), a small one the server's; each stands where its kind of packet came first.
 *
 * X(letter, written, text)
 *   written  1: connleak writes it; 0: Zeek alone does */

X('s', 1, "SYN without ACK")
X('h', 1, "SYN+ACK")
X('a', 1, "an ACK without payload")
X('d', 1, "payload")
X('f', 1, "FIN")
X('r', 1, "RST")
X('g', 1, "a gap: bytes that the capture does not have")
X('t', 1, "payload sent again; again at the 10th, 100th, ... time")
X('w', 1, "a window of 0: its program does not read; again at the 10th, 100th, ... time")
X('c', 0, "a bad checksum")
X('i', 0, "flags that contradict each other, such as FIN with RST")
X('q', 0, "flags that do not belong together, such as SYN with FIN")
X('x', 0, "Zeek stopped looking at the connection")
X('^', 0, "Zeek exchanged client and server")
