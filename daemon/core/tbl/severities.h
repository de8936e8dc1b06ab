/* How bad a finding is: one row a degree, in the order of the enum.
 *
 * X(symbol, name, text) */

X(INFO, "info", "Worth knowing; nothing is broken, or it is right so, or the observer itself causes it.")
X(WARNING, "warning", "Connections, or requests, are lost for a reason that can be mended.")
X(CRITICAL, "critical", "It will stop the program: descriptors, ports or the pool run out.")
