/* How sure a finding is: one row a degree, in the order of the enum.
 *
 * X(symbol, name, text) */

X(SUSPECTED, "suspected", "Something else looks the same to this observer, and is named (ambiguous).")
X(LIKELY, "likely", "What else could look the same is rare.")
X(CONFIRMED, "confirmed", "The evidence proves it.")
