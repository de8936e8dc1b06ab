/* Why a replayed connection, or a finding of the replay, may differ from the captured one: one row a cause.
 *
 * X(symbol, name, text)
 *   name  NULL: none
 *
 * The rows come in the order of the enum. */

X(NONE, NULL, NULL)
X(PROXY_KEPT, "kept_by_proxy", "the origin ended its connection; the proxy kept that of its client")
X(DATA_AFTER_CLOSE, "data_after_close",
  "the RST answered bytes that came after close(), and no socket is told of it")
X(PROXY_ANSWERED, "answered_by_proxy", "the origin's answer was not whole, and the proxy said so in its place")
X(PROXY_ENDED, "ended_by_proxy", "the origin's answer was not whole, and the proxy ended the connection")
X(LEFT_BEFORE, "answered_after_close",
  "the answer came when its client had left, and no socket is told of it")
X(CLOSE_RACE, "close_race", "an answer with Connection: close: both ends close, and either may be first")
X(FIN_FIRST, "fin_first", "the RST came behind a FIN, at which the proxy had closed already")
X(POOLED, "pooled_by_proxy",
  "an origin counts the requests of each connection, and the proxy's pool spreads them over its own")
X(NOT_SEEN, "not_captured", "the capture does not tell")
X(NOT_PACED, "not_paced", "the origins answered at once; --pace lets them take their time")
X(NOT_PLAYED, "not_played", "its connections could not be played whole")
