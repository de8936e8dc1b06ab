/* What comes out when a replayed connection is held against the captured one: one row a verdict.
 *
 * X(symbol, name, text)
 *
 * The rows come in the order of the enum. */

X(SAME, "same", "Every field is the same.")
X(EXPLAINED, "explained", "A field differs where a proxy in between has to.")
X(DIFFERENT, "different", "A field differs, and nothing explains it.")
X(PARTIAL, "partial", "The capture shows a part of the connection; what was played went well.")
X(NOT_PLAYED, "not_played", "There is nothing that could be played.")
