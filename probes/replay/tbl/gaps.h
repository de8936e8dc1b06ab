/* Why a connection is not played, or not whole: one row a cause.
 *
 * X(symbol, name, text)
 *
 * The rows come in the order of the enum. */

X(WHOLE, "whole", "played whole")
X(REFUSED, "refused", "the connection was refused or never answered: there is no request to play")
X(OPAQUE, "opaque", "TLS, HTTP/2 or not HTTP: its requests cannot be seen")
X(TUNNEL, "tunnel", "a CONNECT tunnel or an upgraded connection")
X(HTTPS, "https", "asks the proxy for https://, and the stub origin has no certificate")
X(BEGAN_BEFORE, "began_before_capture", "the capture begins later than the connection")
X(BYTES_LOST, "bytes_lost", "the capture lacks bytes of a head")
X(MALFORMED, "malformed", "a request that a proxy refuses")
X(TOO_LARGE, "too_large", "larger than the limits of replay")
X(UNSAFE, "unsafe_method", "a method that may change something at a live origin")
