"""What clients may not send (design: ambiguous framing is refused, never forwarded, never guessed).

Each bad head gets 400 as application/problem+json, its connection is closed, what was pipelined
behind it is not run, and no origin ever hears of it.
"""

import json
import time

import pytest

from rig.client import Ended
from rig.origin import always, answer, chunk, head
from rig.wait import TICK, until

FIVE = answer(b"hello")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def refused(client, status=400):
    response = client.response("GET")
    assert response.status == status, response
    assert response.value("Content-Type") == "application/problem+json", response.fields
    assert response.value("Proxy-Status"), response.fields
    assert json.loads(response.body)["status"] == status
    assert client.wait_end() in "FR"
    return response


def check_refused(daemon, serve, make, statuses=(400,)):
    """make(authority) -> bytes of a bad request."""
    proxy, origin = daemon(), serve(always(FIVE))
    wire = make(origin.authority)
    client = proxy.client()
    client.send(wire)
    response = client.response("GET")
    assert response.status in statuses, response
    assert response.value("Content-Type") == "application/problem+json"
    assert client.wait_end() in "FR"
    assert proxy.fetch(origin.url("/sane")).body == b"hello"
    assert [r.target for c in origin.conns for r in c.requests] == ["/sane"]


def with_fields(*fields, method="POST", body=b"hello"):
    def make(authority):
        lines = [f"{method} http://{authority}/ HTTP/1.1".encode(), b"Host: " + authority.encode(),
                 *[f if isinstance(f, bytes) else f.encode() for f in fields]]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body + SMUGGLED
    return make


LENGTHS = {
    "length and chunked": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunked and length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "length 0 and chunked": ["Content-Length: 0", "Transfer-Encoding: chunked"],
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "two lengths, far apart": ["Content-Length: 5", "X: y", "content-length: 50"],
    "list of lengths": ["Content-Length: 5, 6"],
    "plus": ["Content-Length: +5"],
    "minus": ["Content-Length: -5"],
    "hexadecimal": ["Content-Length: 0x5"],
    "not a number": ["Content-Length: five"],
    "empty length": ["Content-Length:"],
    "blank within": ["Content-Length: 5 5"],
    "decimal point": ["Content-Length: 5.0"],
    "too large": ["Content-Length: 99999999999999999999"],
    "2^64 + 5": ["Content-Length: 18446744073709551621"],
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths(daemon, serve, name):
    check_refused(daemon, serve, with_fields(*LENGTHS[name]))


CODINGS = {
    "identity": ["Transfer-Encoding: identity"],
    "chunked is not last": ["Transfer-Encoding: chunked, gzip"],
    "gzip before chunked": ["Transfer-Encoding: gzip, chunked"],
    "chunked twice": ["Transfer-Encoding: chunked, chunked"],
    "two fields": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "two fields, the other order": ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
    "nearly chunked": ["Transfer-Encoding: xchunked"],
    "quoted": ['Transfer-Encoding: "chunked"'],
    "vertical tab": [b"Transfer-Encoding: \x0bchunked"],
    "parameter": ["Transfer-Encoding: chunked;q=1"],
    "empty": ["Transfer-Encoding:"],
    "empty member": ["Transfer-Encoding: ,chunked,,"],
}


@pytest.mark.parametrize("name", CODINGS)
def test_transfer_codings(daemon, serve, name):
    check_refused(daemon, serve, with_fields(*CODINGS[name]), statuses=(400, 501))


def test_chunked_in_http10(daemon, serve):
    check_refused(daemon, serve, lambda a: with_fields("Transfer-Encoding: chunked")(a).replace(b"HTTP/1.1", b"HTTP/1.0", 1))


FIELDS = {
    "blank before the colon": [b"Content-Length : 5"],
    "tab before the colon": [b"X-A\t: b"],
    "no colon": [b"X-A"],
    "empty name": [b": b"],
    "blank in a name": [b"X A: b"],
    "parenthesis in a name": [b"X(A): b"],
    "8-bit name": [b"X-\xe9: b"],
    "slash in a name": [b"X/A: b"],
    "NUL in a value": [b"X-A: b\0c"],
    "control in a value": [b"X-A: b\x01c"],
    "DEL in a value": [b"X-A: b\x7fc"],
    "bare CR in a value": [b"X-A: b\rc"],
    "bare CR before a field": [b"X-A: b\rContent-Length: 5"],
    "bare LF between fields": [b"X-A: b\nContent-Length: 5"],
    "CR CR LF": [b"X-A: b\r"],
    "folded value": [b"X-A: b\r\n c"],
    "folded by tab": [b"X-A: b\r\n\tc"],
    "second Host": [b"Host: other"],
    "second Host, the same": None,
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(daemon, serve, name):
    if name == "second Host, the same":
        check_refused(daemon, serve, lambda a: with_fields(f"Host: {a}", method="GET", body=b"")(a))
    else:
        check_refused(daemon, serve, with_fields(*FIELDS[name], method="GET", body=b""))


HEADS = {
    "bare LF everywhere": lambda a: f"GET http://{a}/ HTTP/1.1\nHost: {a}\n\n".encode(),
    "bare LF at the end": lambda a: f"GET http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\n".encode() + SMUGGLED,
    "bare CR as line end": lambda a: f"GET http://{a}/ HTTP/1.1\rHost: {a}\r\r".encode() + b"\n\r\n",
    "space before the first field": lambda a: f"GET http://{a}/ HTTP/1.1\r\n Host: {a}\r\n\r\n".encode(),
    "no Host": lambda a: f"GET http://{a}/ HTTP/1.1\r\n\r\n".encode(),
    "Host is no host": lambda a: f"GET http://{a}/ HTTP/1.1\r\nHost: a b\r\n\r\n".encode(),
    "no version": lambda a: f"GET http://{a}/\r\nHost: {a}\r\n\r\n".encode(),
    "lower-case version": lambda a: f"GET http://{a}/ http/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "version 1.x": lambda a: f"GET http://{a}/ HTTP/1.x\r\nHost: {a}\r\n\r\n".encode(),
    "two blanks": lambda a: f"GET  http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "tab for a blank": lambda a: f"GET\thttp://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "blank in the target": lambda a: f"GET http://{a}/a b HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "NUL in the target": lambda a: f"GET http://{a}/a\0b HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "control in the target": lambda a: f"GET http://{a}/a\x01b HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "bracket in the method": lambda a: f"G[T http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "empty method": lambda a: f" http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "other scheme": lambda a: f"GET ftp://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "user in the target": lambda a: f"GET http://user:pass@{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "empty host": lambda a: f"GET http:/// HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "port out of range": lambda a: f"GET http://127.0.0.1:65536/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "port is no number": lambda a: f"GET http://127.0.0.1:8x/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
    "TLS": lambda a: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 64,
    "binary": lambda a: bytes(range(256)),
    "CONNECT without a port": lambda a: b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "CONNECT in absolute form": lambda a: f"CONNECT http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n".encode(),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(daemon, serve, name):
    check_refused(daemon, serve, HEADS[name])


def test_other_major_version(daemon, serve):
    check_refused(daemon, serve, lambda a: f"GET http://{a}/ HTTP/3.0\r\nHost: {a}\r\n\r\n".encode(), statuses=(400, 505))


CHUNKS = {
    "not hexadecimal": b"zz\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "blank behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "bare LF": b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "data too long": b"5\r\nhello!\r\n0\r\n\r\n",
    "17 digits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "2^64 - 1": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "bad trailer": b"5\r\nhello\r\n0\r\nX A: b\r\n\r\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks(daemon, serve, name):
    """The origin may have seen the head, as bodies stream; it never sees a request that looks complete."""
    finished = []

    def script(conn):
        conn.read_request()
        finished.append(conn.requests[-1].body)
        conn.send(FIVE)
    proxy, origin = daemon(), serve(script)
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked")
                + CHUNKS[name] + SMUGGLED)
    response = client.response("POST")
    assert response.status in (None, 400), response
    assert client.wait_end() in "FR"
    until(lambda: not any(c.is_open and c.requests for c in origin.conns),
          lambda: f"no connection left that carries it: {origin.shape()}")
    assert not finished
    assert sum(len(c.requests) for c in origin.conns) <= 1


def test_a_huge_chunk_extension_is_refused(daemon, serve):
    """Extensions cost the sender nothing and the reader everything."""
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked"))
    with pytest.raises((BrokenPipeError, ConnectionResetError, Ended)):
        client.send(b"5;")
        for _ in range(1000):
            client.send(b"x" * 16384)
        client.wait_end()
        raise Ended("F")
    until(lambda: not any(c.is_open and c.requests for c in origin.conns),
          lambda: f"no connection left that carries it: {origin.shape()}")


def test_a_trailer_that_never_ends(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked")
                + chunk(b"hello") + b"0\r\n")
    with pytest.raises((BrokenPipeError, ConnectionResetError, Ended)):
        for n in range(100_000):
            client.send(b"X-%d: %s\r\n" % (n, b"t" * 1000))
        raise AssertionError("taken")
    assert proxy.rss() < 200 << 20
    until(lambda: not any(c.is_open and c.requests for c in origin.conns),
          lambda: f"no connection left that carries it: {origin.shape()}")


def test_a_head_that_never_ends(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    before = proxy.rss()
    client = proxy.client()
    client.send(f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\n")
    try:
        for n in range(100_000):
            client.send(b"X-%d: %s\r\n" % (n, b"h" * 1000))
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert proxy.rss() - before < 8 << 20
    assert not origin.conns
    assert proxy.fetch(origin.url()).body == b"hello"


@pytest.mark.parametrize("what", ["fields", "one field", "target", "name"])
def test_a_head_too_large_is_431(daemon, serve, what):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    start = f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\n"
    wire = {"fields": start + "".join(f"X-{n}: {'h' * 1000}\r\n" for n in range(66)),
            "one field": start + "X: " + "h" * 66_000,
            "target": f"GET {origin.url('/' + 't' * 66_000)}",
            "name": start + "n" * 66_000}[what]
    client.send(wire)
    refused(client, 431)
    assert not origin.conns


def test_the_limit_of_heads_is_exact_enough(daemon, serve):
    """A head just below the limit passes whole."""
    proxy, origin = daemon(settings={"proxy.max_request_header_bytes": "8k"}), serve(always(FIVE))
    response = proxy.fetch(origin.url(), fields=["X-Long: " + "h" * 7900])
    assert response.body == b"hello"
    assert origin.conns[0].requests[0].value("X-Long") == "h" * 7900
    assert proxy.fetch(origin.url(), fields=["X-Long: " + "h" * 8200]).status == 431
    assert origin.total_requests() == 1


def test_one_byte_at_a_time_is_cut(daemon, serve):
    """proxy.header_timeout counts from the first byte and is not restarted by more of them."""
    proxy, origin = daemon(settings={"proxy.header_timeout": "300ms"}), serve(always(FIVE))
    client = proxy.client()
    begun = time.monotonic()
    wire = f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\nX: {'s' * 1000}\r\n\r\n"
    client.sock.settimeout(0.05)
    answered = b""
    for byte in wire:
        try:
            client.send(bytes([byte]) if isinstance(byte, int) else byte)
            data = client.sock.recv(65536)
            answered += data
            if not data:
                break
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    took = time.monotonic() - begun
    assert 0.3 - TICK <= took < 8, took   # 10 s is the default, and byte by byte it would take 50
    assert answered == b"" or answered.startswith(b"HTTP/1.1 408 "), answered
    assert not origin.conns


def test_a_slow_head_is_no_slower_behind_a_request(daemon, serve):
    proxy, origin = daemon(settings={"proxy.header_timeout": "300ms"}), serve(always(FIVE))
    client = proxy.client().ask(origin.url())
    assert client.response().body == b"hello"
    begun = time.monotonic()
    client.send("GET ")
    client.wait_end()
    assert 0.3 - TICK <= time.monotonic() - begun < 8
    assert origin.total_requests() == 1


# -- odd, and right

ODD = {
    "blanks around a value": (b"X-A:   b  \t", "X-A", "b"),
    "no blank": (b"X-A:b", "X-A", "b"),
    "empty value": (b"X-A:", "X-A", ""),
    "8-bit value": (b"X-A: \xe9\xff", "X-A", "\xe9\xff"),
    "tab within a value": (b"X-A: b\tc", "X-A", "b\tc"),
    "every token character": (b"!#$%&'*+-.^_`|~09azAZ: b", "!#$%&'*+-.^_`|~09azAZ", "b"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_fields_pass(daemon, serve, name):
    line, key, value = ODD[name]
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send(f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\n".encode() + line + b"\r\n\r\n")
    assert client.response("GET").body == b"hello"
    assert origin.conns[0].requests[0].values(key) == [value]


def test_odd_requests_pass(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    for wire in (f"\r\nGET {origin.url('/crlf')} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"BREW {origin.url('/method')} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"GET {origin.url('/' + 'l' * 8000)} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"GET {origin.url()}?a=b&c=%20d%2F HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"GET http://{origin.authority} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"GET HTTP://{origin.authority}/case HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n",
                 f"GET /origin-form HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n"):
        response = proxy.client().send(wire).response("GET")
        assert response.body == b"hello", (wire[:60], response)
    assert [r.target for r in origin.conns[0].requests] == [
        "/crlf", "/method", "/" + "l" * 8000, "/?a=b&c=%20d%2F", "/", "/case", "/origin-form"]
    assert origin.conns[0].requests[1].method == "BREW"


def test_a_hundred_fields_pass_in_order(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    fields = [f"X-Field-{n % 7}: value {n}" for n in range(100)]
    assert proxy.fetch(origin.url(), fields=fields).body == b"hello"
    seen = [f"{key}: {value}" for key, value in origin.conns[0].requests[0].fields if key.startswith("X-Field")]
    assert seen == fields


def test_bad_requests_behind_good_ones(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send(f"GET {origin.url('/1')} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n".encode()
                + with_fields("Content-Length: 5", "Content-Length: 6")(origin.authority))
    assert client.response("GET").body == b"hello"
    refused(client)
    assert [r.target for c in origin.conns for r in c.requests] == ["/1"]
