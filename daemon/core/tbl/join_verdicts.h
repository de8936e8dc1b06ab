/* What comes out when a connection of a ledger is held against a capture: one row a verdict.
 *
 * X(symbol, name, text) */

X(AGREE, "agree", "Both know the connection, and every field that both can know is the same.")
X(DISAGREE, "disagree", "A field differs, and nothing in the packets excuses it.")
X(ONLY_IN_LEDGER, "only_in_ledger", "The ledger has it, the capture does not.")
X(ONLY_IN_CAPTURE, "only_in_capture", "The capture has it, the ledger does not.")
X(INCOMPLETE, "incomplete", "Nothing differs, but the capture saw a part of the connection only.")
X(EXPLAINED, "explained", "A field differs, for a cause that the packets prove.")
