/* Why a ledger and a capture may differ without either being wrong: one row a cause.
 * Each is granted only where the packets prove it.
 *
 * X(symbol, name, text) */

X(NONE, "none", "No known cause: the two disagree.")
X(DATA_AFTER_CLOSE, "data_after_close",
  "The end had closed with FIN; bytes came later, and its kernel answered them with RST.")
X(ARRIVED_AT_CLOSE, "arrived_at_close",
  "Bytes, or an RST behind a FIN, arrived between the end's last look at its socket and its close().")
X(SIMULTANEOUS_CLOSE, "simultaneous_close",
  "The peer's FIN or RST had arrived, or was on its way, when the end closed by a decision of its own.")
X(RST_AFTER_CLOSE, "rst_after_close", "The peer's RST came when the end had closed its socket already.")
X(DISCARDED_BY_RST, "discarded_by_rst",
  "An RST ended the connection while the end was sending: bytes, or the FIN behind them, never left its kernel.")
X(FIN_BEHIND_DATA, "fin_behind_data",
  "The end had closed; its kernel still had bytes to deliver before the FIN.")
X(PIPELINED_BEHIND_CLOSE, "pipelined_behind_close",
  "The client had sent more requests before it had its answers; the end closed and never began them.")
X(BEFORE_CAPTURE, "before_capture", "The connection is older than the capture.")
X(AFTER_CAPTURE, "after_capture", "The connection went on after the capture's end: its last bytes were in flight.")
X(AFTER_LEDGER, "after_ledger", "The connection went on after its record was written.")
X(LOST_PACKETS, "lost_packets", "The capture lost packets, as its own counters say.")
