"""The vectors T1-T166 of daemon/core/transport-semantics.md, over real sockets.

An origin's view of a run is a word a connection, in the order of their arrival: how many requests
it carried, and how it ended: F = FIN by the proxy, R = RST by the proxy, S = the origin closed first,
X = the origin reset it, - = open. `settle("2-", "1F")` waits until that is so and stays so.

Vectors that cannot be said through a proxy, which always reads bodies to their end:

  T4, T7, T10, T11, T13        another reader than ReverseProxy: it takes 4 bytes of 5, or none at all, of a body
                               that is there in full. What is left of them is an early close with bytes unread
                               (T12, T15, T24: R) and one with nothing unread (T6, T14, T28: F).
  T9                           closes an empty chunked body unread; a reader sees its end: reused (tested as such)
  T21, T61, T100               garbage collection, calls on a closed body, a Transport per request
  T22                          bytes that stay readable in Go's memory after the cancellation
  T40, T41                     ReverseProxy clears Request.Close and the header (R155): tested as such, once
  T75                          a machine that was suspended
  T96, T97                     a dialer that ignores its context
  T113                         a socket write that fails with nothing written: not to be had from a peer
  T119                         a request body shorter than it says: to a proxy, the client has left (T118, T159)
  T119b                        segments of head and body: not told apart without a capture
  T128, T129                   http.Client's redirects
  T130-T132, T135, T136        upstream proxies: refused in this version
  T137-T140                    Transport's own gzip: a proxy changes no body
  T145-T156                    HTTP/2: refused in this version
"""

import re
import time

import pytest

from rig import books, sockets
from rig.client import Background, Response
from rig.origin import Gone, always, answer, by_path, chunk, chunked, connections, head, in_turn
from rig.wait import DEADLINE, TICK, Gate, shortest, until

FIVE = answer(b"hello")
BIG = sockets.MORE_THAN_BUFFERS
JUNK = b"x" * 65536


@pytest.fixture(autouse=True)
def balanced_books(request, start, serve):
    """After each vector the daemon's ledger tells of its connections what the origins saw."""
    yield
    if "T121" in request.node.name:      # who ends the connection first is the race itself
        return
    if len(start.started) == 1 and start.started[0].name == "connleakd":
        books.balance(start.started[0], serve.origins)


def ok(response, body=b"hello", status=200):
    assert (response.status, response.body, response.complete) == (status, body, True), response
    return response


def not_ok(response):
    """The client can tell that it failed: an error of the proxy, or a body that is cut."""
    assert not response.complete or response.status >= 400, response
    return response


def x(n, proxy, url, **kwargs):
    return [ok(proxy.fetch(url, **kwargs)) for _ in range(n)]


def stalled(proxy, url, **kwargs):
    """A client that reads a response's head and then nothing more."""
    client = proxy.client(rcvbuf=4096)
    client.ask(url, **kwargs)
    client.read_head()
    return client


def big_body(conn, _request):
    """A body that no kernel takes in full."""
    conn.send(head("HTTP/1.1 200 OK", f"Content-Length: {BIG}"))
    for _ in range(BIG // len(JUNK)):
        conn.send(JUNK)


def whole_body_at_once(size):
    """A body that the origin's kernel takes in full, whoever reads it."""
    def run(conn, _request):
        sockets.big_send_buffer(conn.sock)
        conn.send(answer(b"y" * size))
    return run


def endless(conn, _request=None):
    conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
    conn.send_forever(chunk(JUNK))


# -- bodies read to their end, given up, ignored

def test_T1_sequential_requests_share_a_connection(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    x(3, proxy, origin.url())
    origin.settle("3-")


def test_T2_clients_that_never_close(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    clients = [proxy.client() for _ in range(3)]
    for client in clients:
        ok(client.ask(origin.url()).response())
    origin.settle("3-")


def test_T3_clients_that_read_just_the_body_and_leave(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    for _ in range(3):
        client = proxy.client().ask(origin.url())
        client.read_head()
        assert client.read_exactly(5) == b"hello"
        client.rst()
    origin.settle("3-")


def test_T5_chunked_in_one_segment(start, serve):
    proxy, origin = start(), serve(always(chunked("hello")))
    x(3, proxy, origin.url())
    origin.settle("3-")


def test_T6_client_leaves_before_the_last_chunk(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk("hello"))
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.close()
    origin.settle("1F")


def test_T8_the_body_ends_with_its_last_crlf(start, serve):
    gate = Gate()

    def script(conn):
        conn.read_request()
        conn.send(chunked("hello")[:-2])
        gate.wait()
        conn.send("\r\n")
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    origin.conns[0].wait_read()
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.wait_end()
    gate.open()
    client.sock.settimeout(DEADLINE)
    while not client.buffer.endswith(b"\r\n0\r\n\r\n"):
        client.buffer += client._recv()
    origin.settle("1-")


def test_T8_reused_after_the_last_crlf(start, serve):
    def script(conn):
        for _ in range(2):
            conn.read_request()
            conn.send(chunked("hello")[:-2])
            conn.wait_read()
            conn.send("\r\n")
    proxy, origin = start(), serve(script)
    x(2, proxy, origin.url())
    origin.settle("2-")


def test_T9_empty_chunked_body_is_reused_by_a_reader(start, serve):
    proxy, origin = start(), serve(always(chunked()))
    for _ in range(2):
        ok(proxy.fetch(origin.url()), b"")
    origin.settle("2-")


def test_T12_early_close_with_bytes_unread(start, serve):
    proxy, origin = start(), serve(by_path(root=big_body))
    for n in (1, 2):
        client = stalled(proxy, origin.url())
        origin.conns[n - 1].wait_stuck()
        client.close()
        origin.settle(*["1R"] * n)


def test_T14_data_after_the_fin_is_answered_by_reset(start, serve):
    late = []

    def script(conn):
        conn.read_request()
        conn.send(answer(b"z" * 500, length=1000))
        conn.wait_read()
        try:
            conn.drain()
        except Gone:
            pass
        late.append(conn.peer_end)
        for _ in range(2):
            try:
                conn.send(b"z" * 250)
                late.append("taken")
            except Gone:
                late.append("refused")
            until(lambda: sockets.row(conn.sock.getsockname()[1], conn.peer_port) is None, "the RST to arrive")
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    origin.conns[0].wait_read()
    client.close()
    origin.wait_conns(1).ended.wait(DEADLINE)
    until(lambda: len(late) == 3, lambda: f"two late writes: {late}")
    assert late == ["F", "taken", "refused"]
    assert origin.shape() == ["1F>R"]


def test_T15_endless_body_given_up(start, serve):
    proxy, origin = start(), serve(by_path(root=endless))
    client = stalled(proxy, origin.url())
    origin.conns[0].wait_stuck()
    client.rst()
    origin.settle("1R")


def test_T16_a_stalled_body_has_no_timeout(start, serve):
    proxy, origin = start(max_conns_per_host=2, idle_conn_timeout="50ms"), serve(by_path(root=big_body))
    client = stalled(proxy, origin.url())
    origin.conns[0].wait_stuck()
    origin.settle("1-", hold=0.1)
    client.close()
    origin.settle("1R")


def held_until_read(start, serve):
    """A response of which the client has taken the head, that its origin has sent in full and closed."""
    proxy = start(max_conns_per_host=2, idle_conn_timeout="50ms")
    size = BIG

    def script(conn):
        conn.read_request()
        whole_body_at_once(size)(conn, None)
        conn.wait_stuck()
        gate.wait()
        conn.fin()
    gate = Gate()
    origin = serve(script)
    client = stalled(proxy, origin.url())
    conn = origin.conns[0]
    conn.wait_stuck()
    proxy.close_idle()
    gate.open()
    origin.settle("1s", hold=0.1)
    assert sockets.row(conn.peer_port, origin.port)[0] in (sockets.ESTABLISHED, sockets.CLOSE_WAIT)
    return client, origin, size


def test_T17_neither_close_idle_nor_the_servers_fin_ends_a_stalled_body(start, serve):
    client, origin, _ = held_until_read(start, serve)
    assert origin.shape() == ["1s"]
    client.close()


def test_T18_a_late_read_gets_all_of_it(start, serve):
    client, origin, size = held_until_read(start, serve)
    taken = 0
    while taken < size:
        taken += len(client.read_exactly(min(65536, size - taken)))
    origin.settle("1S")
    client.close()


def test_T19_each_stalled_body_holds_a_connection(start, serve):
    proxy, origin = start(), serve(by_path(root=big_body))
    clients = [stalled(proxy, origin.url()) for _ in range(10)]
    origin.settle(*["1-"] * 10)
    for client in clients:
        client.close()
    origin.settle(*["1R"] * 10)


def test_T20_a_client_that_does_not_read_slows_its_origin(start, serve):
    proxy, origin = start(), serve(by_path(root=endless))
    client = stalled(proxy, origin.url())
    conn = origin.conns[0]
    conn.wait_stuck()
    state, _, unread = sockets.row(conn.peer_port, origin.port)
    assert state == sockets.ESTABLISHED and unread > 0
    assert proxy.alive() and conn.shape() == "1-"
    client.close()


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T23_T24_client_gives_up_in_mid_body(start, serve, leave):
    proxy, origin = start(), serve(by_path(root=big_body))
    client = stalled(proxy, origin.url())
    client.read_exactly(1000)
    origin.conns[0].wait_stuck()
    getattr(client, leave)()
    origin.settle("1R")


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T25_client_leaves_after_the_end(start, serve, leave):
    proxy, origin = start(), serve(always(FIVE))
    for _ in range(2):
        client = proxy.client().ask(origin.url())
        ok(client.response())
        getattr(client, leave)()
    origin.settle("2-")


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T26_T158a_client_leaves_before_the_head(start, serve, leave):
    def script(conn):
        conn.read_request()
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    origin.wait_requests(1)
    getattr(client, leave)()
    origin.settle("1F")


@pytest.mark.parametrize("bad", [b"zz\r\n", b"3\r\nabcdef\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
def test_T27_malformed_chunk(start, serve, bad):
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk("hello") + bad))
    not_ok(proxy.fetch(origin.url()))
    origin.settle("1F")


def test_T28_client_leaves_while_the_proxy_waits_for_more(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(answer(b"zz", length=50))
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.close()
    origin.settle("1F")


@pytest.mark.parametrize("fields", [["Content-Length: 123"], ["Transfer-Encoding: chunked"], []])
def test_T29_HEAD(start, serve, fields):
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", *fields)))
    for _ in range(3):
        ok(proxy.fetch(origin.url(), method="HEAD"), b"")
    origin.settle("3-")


@pytest.mark.parametrize("status,data", [
    (204, head("HTTP/1.1 204 No Content")),
    (304, head("HTTP/1.1 304 Not Modified", "Content-Length: 100")),
    (200, head("HTTP/1.1 200 OK", "Content-Length: 0")),
    (204, head("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked")),
])
def test_T30_responses_without_body(start, serve, status, data):
    proxy, origin = start(), serve(always(data))
    for _ in range(3):
        ok(proxy.fetch(origin.url()), b"", status)
    origin.settle("3-")


def test_T31_a_body_after_the_answer_to_HEAD(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    for n in (1, 2):
        ok(proxy.fetch(origin.url(), method="HEAD"), b"")
        origin.settle(*["1F"] * n)


def test_T32_chunked_304_with_a_last_chunk(start, serve):
    data = head("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    proxy, origin = start(), serve(always(data))
    for n in (1, 2):
        ok(proxy.fetch(origin.url()), b"", 304)
        origin.settle(*["1F"] * n)


def test_T33_HEAD_answered_with_a_body_then_GET_at_once(start, serve):
    """A race in Go: the body may be taken for the next answer. Nothing may hang or crash."""
    def script(conn):
        while True:
            request = conn.read_request()
            stale = answer(b"stale")
            conn.send(answer(stale) if request.method == "HEAD" else FIVE)
    proxy, origin = start(), serve(script)
    for _ in range(20):
        client = proxy.client()
        ok(client.ask(origin.url(), "HEAD").response(), b"")
        response = client.ask(origin.url()).response()
        assert response.complete and response.body in (b"hello", b"stale"), response
        client.close()


def test_T34_junk_after_the_body(start, serve):
    proxy, origin = start(), serve(always(FIVE + b"junk"))
    x(1, proxy, origin.url())
    origin.settle("1F")


def test_T35_much_junk_after_the_body(start, serve):
    proxy, origin = start(), serve(always(FIVE + b"j" * 100_000))
    x(1, proxy, origin.url())
    origin.settle("1R")


def test_T36_two_answers_to_each_request(start, serve):
    """A race in Go: mostly the second request gets its own answer on a new connection."""
    def script(conn):
        while True:
            request = conn.read_request()
            conn.send(answer(request.target.encode()) + answer(b"stale"))
    proxy, origin = start(), serve(script)
    for n in range(20):
        client = proxy.client()
        for part in "ab":
            response = client.ask(origin.url(f"/{n}{part}")).response()
            assert response.body in (f"/{n}{part}".encode(), b"stale"), response
        client.close()


# -- who forbids reuse

@pytest.mark.parametrize("value", ["close", "foo, CLOSE"])
def test_T37_T38_response_says_close(start, serve, value):
    proxy, origin = start(), serve(always(answer(fields=[f"Connection: {value}"])))
    x(2, proxy, origin.url())
    origin.settle("1F", "1F")


def test_T39_204_says_close(start, serve):
    proxy, origin = start(), serve(always(head("HTTP/1.1 204 No Content", "Connection: close")))
    for _ in range(2):
        ok(proxy.fetch(origin.url()), b"", 204)
    origin.settle("1F", "1F")


def test_T40_T41_the_clients_close_stays_on_its_side(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    x(2, proxy, origin.url(), fields=["Connection: close"])
    origin.settle("2-")
    assert not any(request.has_token("Connection", "close") for request in origin.conns[0].requests)


def test_T42_keepalives_disabled(start, serve):
    proxy, origin = start(disable_keep_alives=True), serve(always(FIVE))
    x(2, proxy, origin.url())
    origin.settle("1F", "1F")
    assert [c.requests[0].values("Connection") for c in origin.conns] == [["close"]] * 2


def test_T43_negative_limit_of_idle_connections_per_host(start, serve):
    proxy, origin = start(max_idle_conns_per_host=-1), serve(always(FIVE))
    x(2, proxy, origin.url())
    origin.settle("1F", "1F")
    assert not any(c.requests[0].has_token("Connection", "close") for c in origin.conns)


def test_T44_keepalives_disabled_and_an_upgrade(start, serve):
    proxy, origin = start(disable_keep_alives=True), serve(always(FIVE))
    x(1, proxy, origin.url(), fields=["Connection: Upgrade", "Upgrade: foo"])
    origin.settle("1F")
    request = origin.conns[0].requests[0]
    assert request.value("Upgrade") == "foo" and not request.has_token("Connection", "close")


@pytest.mark.parametrize("vector,fields,shape", [
    ("T45", [], ["1F", "1F"]),
    ("T46", ["Connection: keep-alive"], ["2-"]),
    ("T47", ["Connection: keep-alive, close"], ["1F", "1F"]),
])
def test_T45_T46_T47_http10(start, serve, vector, fields, shape):
    proxy, origin = start(), serve(always(answer(version="1.0", fields=fields)))
    x(2, proxy, origin.url())
    origin.settle(*shape)


def until_eof(data):
    def script(conn):
        conn.read_request()
        conn.send(data)
        conn.fin()
    return script


def test_T48_http10_keep_alive_without_length(start, serve):
    proxy, origin = start(), serve(until_eof(head("HTTP/1.0 200 OK", "Connection: keep-alive") + b"hello"))
    x(2, proxy, origin.url())
    origin.settle("1S", "1S")


def test_T49_http10_has_no_chunks(start, serve):
    raw = b"5\r\nhello\r\n0\r\n\r\n"
    proxy, origin = start(), serve(until_eof(head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked") + raw))
    for _ in range(2):
        ok(proxy.fetch(origin.url()), raw)
    origin.settle("1S", "1S")


def test_T50_until_eof(start, serve):
    proxy, origin = start(), serve(until_eof(head("HTTP/1.1 200 OK") + b"hello"))
    x(2, proxy, origin.url())
    origin.settle("1S", "1S")


def test_T51_until_eof_given_up(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK") + b"hello")
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.close()
    origin.settle("1F")


# -- heads and framing

def test_T52_chunked_beats_content_length(start, serve):
    data = chunked("hello", fields=["Content-Length: 99"])
    proxy, origin = start(), serve(always(data))
    for _ in range(2):
        response = ok(proxy.fetch(origin.url()))
        assert response.framing == "chunked" and not response.values("Content-Length")
    origin.settle("2-")


@pytest.mark.parametrize("fields", [["Content-Length: 5", "Content-Length: 6"], ["Content-Length: -5"],
                                    ["Content-Length: five"], ["Content-Length: 5,6"]])
def test_T53_bad_content_length(start, serve, fields):
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", *fields) + b"hello"))
    for _ in range(2):
        ok_status = proxy.fetch(origin.url()).status
        assert ok_status == 502
    origin.settle("1F", "1F")


def test_T53_equal_content_lengths_are_one(start, serve):
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5") + b"hello"))
    for _ in range(2):
        assert ok(proxy.fetch(origin.url())).values("Content-Length") == ["5"]
    origin.settle("2-")


@pytest.mark.parametrize("fields", [["Transfer-Encoding: gzip, chunked"], ["Transfer-Encoding: identity"],
                                    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]])
def test_T54_transfer_encodings_that_are_not_chunked(start, serve, fields):
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", *fields) + b"5\r\nhello\r\n0\r\n\r\n"))
    for _ in range(2):
        assert proxy.fetch(origin.url()).status == 502
    origin.settle("1F", "1F")


def test_T55_trailers(start, serve):
    data = chunked("hello", fields=["Trailer: X-Sum"], trailer=["X-Sum: 42"])
    proxy, origin = start(), serve(always(data))
    for _ in range(2):
        assert ok(proxy.fetch(origin.url())).trailer == ["X-Sum: 42"]
    origin.settle("2-")


def test_T56_a_trailer_beyond_the_read_buffer(start, serve):
    data = chunked("hello", trailer=["X-Long: " + "t" * 5000])
    proxy, origin = start(), serve(always(data))
    not_ok(proxy.fetch(origin.url()))
    origin.settle("1R")


def test_T57_short_content_length(start, serve):
    proxy, origin = start(), serve(until_eof(answer(length=100)))
    for _ in range(2):
        not_ok(proxy.fetch(origin.url()))
    origin.settle("1S", "1S")


def test_T58_short_chunked(start, serve):
    proxy, origin = start(), serve(until_eof(chunked("hello")[:-5]))
    for _ in range(2):
        not_ok(proxy.fetch(origin.url()))
    origin.settle("1S", "1S")


def test_T59_fin_behind_the_body(start, serve):
    proxy, origin = start(), serve(until_eof(FIVE))
    for n in (1, 2):
        x(1, proxy, origin.url())
        origin.settle(*["1S"] * n)


def test_T60_fin_behind_a_chunked_body(start, serve):
    proxy, origin = start(), serve(until_eof(chunked("hello")))
    x(1, proxy, origin.url())
    origin.settle("1S")


@pytest.mark.parametrize("field", ["Keep-Alive: timeout=1, max=1", "Proxy-Connection: close"])
def test_T62_T63_fields_that_say_nothing(start, serve, field):
    proxy, origin = start(), serve(always(answer(fields=[field])))
    for _ in range(2):
        x(1, proxy, origin.url())
        origin.settle(f"{origin.total_requests()}-")
    origin.settle("2-")


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n",
                                  b"HTTP/x.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
def test_T64_malformed_heads(start, serve, data):
    proxy, origin = start(), serve(always(data))
    for _ in range(2):
        assert proxy.fetch(origin.url()).status == 502
    origin.settle("1F", "1F")


def test_T65_101_out_of_the_blue(start, serve):
    proxy, origin = start(), serve(always(head("HTTP/1.1 101 Switching Protocols")))
    for _ in range(2):
        not_ok(proxy.fetch(origin.url()))
    origin.settle("1F", "1F")


def test_T66_head_beyond_its_limit(start, serve):
    data = answer(fields=["X-Long: " + "h" * 10_000])
    proxy, origin = start(max_response_header_bytes=1024), serve(always(data))
    assert proxy.fetch(origin.url()).status == 502
    origin.settle("1R")


def test_T67_the_limit_is_for_the_head_alone(start, serve):
    fields = ["X-Pad: " + "p" * 60]
    body = b"b" * 5000
    proxy, origin = start(max_response_header_bytes=1024), serve(always(answer(body, fields=fields)))
    for _ in range(2):
        ok(proxy.fetch(origin.url()), body)
    origin.settle("2-")


# -- what happens to idle connections

def idle_then(*, send=b"", fin=False, rst=False):
    """Answer one request, wait until it is over at the client, then do that."""
    gate = Gate()

    def script(conn):
        conn.read_request()
        conn.send(FIVE)
        gate.wait()
        if send:
            conn.send(send)
        if fin:
            conn.fin()
        if rst:
            conn.rst()
    return gate, script


@pytest.mark.parametrize("vector,what,shape", [
    ("T68", dict(fin=True), "1S"),
    ("T69", dict(rst=True), "1X"),
    ("T70", dict(send=b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"), "1F"),
    ("T71", dict(send=b"x"), "1F"),
    ("T71", dict(send=FIVE), "1F"),
])
def test_T68_T69_T70_T71_an_idle_connection(start, serve, vector, what, shape):
    gate, script = idle_then(**what)
    proxy, origin = start(), serve(connections(script, always(FIVE)))
    x(1, proxy, origin.url())
    origin.settle("1-")
    conn = origin.conns[0]
    gate.open()
    origin.settle(shape)
    sockets.wait_state(conn.peer_port, origin.port, (None, sockets.TIME_WAIT))
    x(1, proxy, origin.url())
    origin.settle(shape, "1-")


def test_T73_idle_timeout(start, serve):
    def run():
        origin, begun = serve(always(FIVE)), time.monotonic()
        x(1, proxy, origin.url())
        origin.settle("1F")
        took = origin.conns[0].ended_at - begun
        assert took >= 0.1 - TICK
        return took
    proxy = start(idle_conn_timeout="100ms")
    shortest(run, below=0.6)


def test_T74_each_use_begins_the_idle_timeout_anew(start, serve):
    def longest_pause():
        """Sends four requests; the longest time from one to the next, at least."""
        for n in range(4):
            at.append(time.monotonic())
            x(1, proxy, origin.url())
            if n < 3:
                time.sleep(0.25)
        return max(later - earlier for earlier, later in zip(at, at[1:]))
    proxy = start(idle_conn_timeout="600ms")
    for _ in range(20):
        origin, at = serve(always(FIVE)), []
        if longest_pause() < 0.55:   # else the machine was too busy to use it in time
            break
    origin.settle("4F")
    assert origin.conns[0].ended_at - at[0] >= 0.6 + 3 * 0.25 - TICK


def test_T76_an_answer_before_the_request(start, serve):
    """A race in Go: accepted as the answer, or the request fails and is not sent again."""
    def script(conn):
        conn.send(FIVE)
        conn.read_request()
        always(FIVE)(conn)
    proxy, origin = start(), serve(script)
    for _ in range(10):
        response = proxy.fetch(origin.url())
        assert response.status == 502 or ok(response)
    origin.check()


def concurrent(proxy, origin, n, path="/"):
    """n clients whose requests are all at the origin at once."""
    clients = []
    for _ in range(n):
        clients.append(proxy.client().ask(origin.url(path)))
        origin.wait_requests(len(clients))
    return clients


def gated(gate, data=FIVE):
    def script(conn):
        while True:
            conn.read_request()
            gate.wait()
            conn.send(data)
    return script


def test_T77_the_limit_of_idle_connections_per_host(start, serve):
    gate = Gate()
    proxy, origin = start(), serve(gated(gate))
    clients = concurrent(proxy, origin, 5)
    gate.open()
    for client in clients:
        ok(client.response())
    origin.settle("1-", "1-", "1F", "1F", "1F", ordered=False)


def test_T77_limit_of_one(start, serve):
    gate = Gate()
    proxy, origin = start(max_idle_conns_per_host=1), serve(gated(gate))
    clients = concurrent(proxy, origin, 3)
    gate.open()
    for client in clients:
        ok(client.response())
    origin.settle("1-", "1F", "1F", ordered=False)


def test_T78_the_limit_of_all_idle_connections(start, serve):
    proxy, a, b = start(max_idle_conns=1), serve(always(FIVE)), serve(always(FIVE))
    x(1, proxy, a.url())
    a.settle("1-")
    x(1, proxy, b.url())
    a.settle("1F")
    b.settle("1-")


def test_T79_the_longest_idle_goes_first(start, serve):
    gates = [Gate(str(n)) for n in range(3)]

    def script(conn):
        conn.read_request()
        gates[conn.index].wait()
        conn.send(FIVE)
    proxy, origin = start(max_idle_conns=2, max_idle_conns_per_host=5), serve(script)
    clients = concurrent(proxy, origin, 3)
    for n in (1, 2, 0):
        gates[n].open()
        ok(clients[n].response())
    origin.settle("1-", "1F", "1-")


def test_T80_negative_limit_of_idle_connections(start, serve):
    proxy, origin = start(max_idle_conns=-1), serve(always(FIVE))
    x(2, proxy, origin.url())
    origin.settle("1F", "1F")


def two_idle(start, serve, **pool):
    """Two idle connections, c0 idle for longer."""
    gates = [Gate("c0"), Gate("c1")]

    def script(conn):
        conn.read_request()
        gates[conn.index].wait()
        conn.send(FIVE)
        always(FIVE)(conn)
    proxy, origin = start(**pool), serve(script)
    clients = concurrent(proxy, origin, 2)
    for n in (0, 1):
        gates[n].open()
        ok(clients[n].response())
    return proxy, origin


def test_T81_the_last_one_in_is_the_first_one_out(start, serve):
    proxy, origin = two_idle(start, serve)
    x(3, proxy, origin.url())
    origin.settle("1-", "4-")


# -- max_conns_per_host

def queue_up(proxy, origin, n, path="/", after=0):
    """n clients, one after another, behind `after` requests that already wait; the proxy has read each."""
    clients = []
    for _ in range(n):
        client = proxy.client().ask(origin.url(f"{path}{len(clients)}"))
        sockets.wait_all_read(client.sock)
        clients.append(client)
        proxy.wait_waiting(after + len(clients))
    return clients


def test_T82_requests_wait_in_order(start, serve):
    gate = Gate()
    proxy, origin = start(max_conns_per_host=1), serve(gated(gate))
    first = concurrent(proxy, origin, 1)
    rest = queue_up(proxy, origin, 4)
    gate.open()
    for client in first + rest:
        ok(client.response())
    origin.settle("5-")
    assert [r.target for r in origin.conns[0].requests] == ["/", "/0", "/1", "/2", "/3"]


def test_T83_a_freed_connection_serves_the_queue(start, serve):
    slow, fast = Gate("slow"), Gate("fast")
    proxy = start(max_conns_per_host=2)
    origin = serve(lambda conn: gated(slow if conn.index == 0 else fast)(conn))
    first = concurrent(proxy, origin, 2)
    rest = queue_up(proxy, origin, 3)
    fast.open()
    for client in first[1:] + rest:
        ok(client.response())
    origin.settle("1-", "4-")
    assert [r.target for r in origin.conns[1].requests] == ["/", "/0", "/1", "/2"]
    slow.open()
    ok(first[0].response())
    origin.settle("1-", "4-")


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T84_T85_a_leaked_body_blocks_the_host(start, serve, leave):
    proxy, origin = start(max_conns_per_host=1), serve(by_path(big=big_body, five=FIVE))
    leak = stalled(proxy, origin.url("/big"))
    origin.conns[0].wait_stuck()
    second = queue_up(proxy, origin, 1, "/five/")[0]
    getattr(second, leave)()
    proxy.wait_waiting(0)
    origin.settle("1-")
    leak.close()
    origin.settle("1R")
    x(1, proxy, origin.url("/five"))
    origin.settle("1R", "1-")


def test_T86_one_after_another(start, serve):
    together = []

    def script(conn):
        conn.read_request()
        together.append(sum(1 for c in origin.conns if not c.ended.is_set()))
        conn.send(answer(fields=["Connection: close"]))
    proxy, origin = start(max_conns_per_host=1), None
    origin = serve(script)
    clients = [Background(proxy.fetch, origin.url()) for _ in range(3)]
    for client in clients:
        ok(client.result())
    origin.settle("1F", "1F", "1F")
    assert [len(c.requests) for c in origin.conns] == [1, 1, 1]


def test_T87_a_failed_dial_passes_its_permission_on(start, serve):
    proxy, origin = start(max_conns_per_host=1, dial_timeout="1s"), serve(always(FIVE))
    origin.hold_dials()
    first = proxy.client().ask(origin.url())
    origin.wait_dialing(1)
    second = queue_up(proxy, origin, 1)[0] if proxy.name == "go" else proxy.client().ask(origin.url())
    response = first.response()
    assert response.status in (502, 504), response
    assert second.response().status in (502, 504)   # it has dialed: nothing else ends its wait
    origin.settle()


def test_T87_the_next_dial_succeeds(start, serve):
    proxy, origin = start(max_conns_per_host=1, dial_timeout="3500ms"), serve(always(FIVE))
    origin.hold_dials()
    first = proxy.client().ask(origin.url())
    origin.wait_dialing(1)
    second = proxy.client().ask(origin.url())
    sockets.wait_all_read(second.sock)
    assert sockets.states_to(origin.port).count(sockets.SYN_SENT) == 1
    assert first.response().status in (502, 504)
    origin.release_dials()
    ok(second.response())
    origin.settle("1-")


def test_T88_a_waiter_that_leaves_is_passed_over(start, serve):
    gate = Gate()
    proxy, origin = start(max_conns_per_host=1), serve(gated(gate))
    first = concurrent(proxy, origin, 1)[0]
    second, third = queue_up(proxy, origin, 2)
    second.close()
    proxy.wait_waiting(1)
    gate.open()
    ok(first.response())
    ok(third.response())
    origin.settle("2-")
    assert [r.target for r in origin.conns[0].requests] == ["/", "/1"]


def upgrade(client, url, protocol="foo"):
    client.ask(url, fields=["Connection: Upgrade", f"Upgrade: {protocol}"])
    return client


def switching(protocol="foo", extra=b""):
    return head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}") + extra


def test_T89_upgraded_connections_leave_the_pool(start, serve):
    proxy, origin = start(max_conns_per_host=1), serve(lambda conn: (conn.read_request(), conn.send(switching())))
    clients = []
    for n in range(3):
        client = upgrade(proxy.client(), origin.url())
        assert client.response().status == 101
        clients.append(client)
        origin.settle(*["1-"] * (n + 1))
    for client in clients:
        client.close()
    origin.settle("1F", "1F", "1F")


def test_T90_idle_ones_close_and_a_busy_one_ends_after_its_request(start, serve):
    gates = [Gate("c0"), Gate("c1"), Gate("c2")]
    gates[2].open()

    def script(conn):
        while True:
            conn.read_request()
            gates[conn.index].wait()
            conn.send(FIVE)
    proxy, origin = start(), serve(script)
    idle, busy = concurrent(proxy, origin, 2)
    gates[0].open()
    ok(idle.response())
    proxy.close_idle()
    origin.settle("1F", "1-")
    gates[1].open()
    ok(busy.response())
    origin.settle("1F", "1F")
    x(1, proxy, origin.url())
    origin.settle("1F", "1F", "1-")


def test_T91_close_idle_connections_during_a_dial(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    origin.hold_dials()
    client = proxy.client().ask(origin.url())
    origin.wait_dialing(1)
    proxy.close_idle()
    proxy.wait_signal()
    origin.release_dials()
    ok(client.response())
    origin.settle("1F")


def test_T92_close_idle_connections_while_one_waits(start, serve):
    gate = Gate()
    proxy, origin = start(max_conns_per_host=1), serve(gated(gate))
    first = concurrent(proxy, origin, 1)[0]
    second = queue_up(proxy, origin, 1)[0]
    proxy.close_idle()
    proxy.wait_signal()
    gate.open()
    ok(first.response())
    ok(second.response())
    origin.settle("2F")


# -- dials that take long

def late_binding(start, serve, **pool):
    """A busy on c0; B dials and the dial hangs. Then A ends, and B's request goes out on c0."""
    gate_a, gate_b = Gate("a"), Gate("b")
    proxy = start(**pool)

    def wait(gate):
        def run(conn, _request):
            gate.wait()
            conn.send(FIVE)
        return run
    origin = serve(by_path(a=wait(gate_a), b=wait(gate_b), c=FIVE))
    a = proxy.client().ask(origin.url("/a"))
    origin.wait_requests(1)
    origin.hold_dials()
    b = proxy.client().ask(origin.url("/b"))
    origin.wait_dialing(1)
    gate_a.open()
    ok(a.response())
    origin.wait_requests(2)
    origin.settle("2-")
    return proxy, origin, b, gate_b


def test_T93_a_connection_that_comes_free_beats_the_dial(start, serve):
    proxy, origin, b, gate_b = late_binding(start, serve)
    origin.release_dials()
    origin.settle("2-", "0-")
    gate_b.open()
    ok(b.response())
    origin.settle("2-", "0-")
    x(1, proxy, origin.url("/c"))
    origin.settle("3-", "0-")


def test_T94_the_late_dial_fills_the_only_place(start, serve):
    """B still runs on c0 when its own dial is done: c1 becomes idle; then c0 finds no room."""
    proxy, origin, b, gate_b = late_binding(start, serve, max_idle_conns_per_host=1)
    origin.release_dials()
    origin.settle("2-", "0-")
    gate_b.open()
    ok(b.response())
    origin.settle("2F", "0-")
    x(1, proxy, origin.url("/c"))
    origin.settle("2F", "1-")


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T95_client_leaves_during_the_dial(start, serve, leave):
    proxy, origin = start(max_conns_per_host=1), serve(always(FIVE))
    origin.hold_dials()
    client = proxy.client().ask(origin.url())
    origin.wait_dialing(1)
    getattr(client, leave)()
    origin.wait_dialing(0)
    origin.release_dials()
    x(1, proxy, origin.url())
    origin.settle("1-")


def test_T98_the_end_of_the_request_ends_its_own_dial(start, serve):
    """R30: the context of a proxied request ends with it, and its surplus dial does too."""
    _, origin, b, gate_b = late_binding(start, serve)
    gate_b.open()
    ok(b.response())
    origin.wait_dialing(0)
    origin.release_dials()
    origin.settle("2-")


def test_T99_a_failed_dial_fails_its_request(start, serve):
    gate = Gate()
    proxy, origin = start(), serve(gated(gate))
    a = proxy.client().ask(origin.url())
    origin.wait_requests(1)
    origin.close_listener()
    assert proxy.fetch(origin.url()).status == 502
    gate.open()
    ok(a.response())
    origin.settle("1-")
    x(1, proxy, origin.url())
    origin.settle("2-")


def test_T101_who_closes_first_has_the_time_wait(start, serve):
    proxy, origin = start(disable_keep_alives=True), serve(always(FIVE))
    x(1, proxy, origin.url())
    origin.settle("1F")
    sockets.wait_state(origin.conns[0].peer_port, origin.port, (sockets.TIME_WAIT,))
    gate, script = idle_then(fin=True)
    proxy, origin = start(), serve(script)
    x(1, proxy, origin.url())
    gate.open()
    origin.settle("1S")
    sockets.wait_state(origin.conns[0].peer_port, origin.port, (None,))


# -- requests sent on a connection that the server is just closing

def stale(how="fin", data=b"", first=FIVE):
    """The first request of a connection is answered; the second finds the connection ended, with `data` before."""
    def script(conn):
        conn.read_request()
        conn.send(first)
        request = conn.read_head()
        conn.read_body(request)
        if data:
            conn.send(data)
        if how == "rst":
            conn.rst()
        conn.fin()
    return script


@pytest.mark.parametrize("how,shape", [("fin", "2S"), ("rst", "2X")])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_T102_T103_replayable_request_on_a_stale_connection(start, serve, how, shape, method):
    proxy, origin = start(), serve(connections(stale(how), always(answer(b""))))
    x(1, proxy, origin.url())
    response = proxy.fetch(origin.url("/again"), method=method)
    assert response.status == 200 and response.complete, response
    origin.settle(shape, "1-")
    assert origin.conns[1].requests[0].method == method


@pytest.mark.parametrize("how,shape", [("fin", "2S"), ("rst", "2X")])
@pytest.mark.parametrize("method,fields,body", [
    ("POST", [], b"abc"), ("POST", [], b""), ("PUT", [], b"abc"), ("PUT", [], b""), ("DELETE", [], None),
    ("PATCH", [], b"abc"), ("GET", [], b"abc"), ("POST", ["Idempotency-Key: 1"], b"abc"),
])
def test_T104_T105_T106_T107_not_replayable(start, serve, how, shape, method, fields, body):
    proxy, origin = start(), serve(connections(stale(how), always(FIVE)))
    x(1, proxy, origin.url())
    assert proxy.fetch(origin.url("/again"), method=method, fields=fields, body=body).status == 502
    origin.settle(shape)


@pytest.mark.parametrize("key", ["Idempotency-Key", "X-Idempotency-Key"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_T105_an_idempotency_key_makes_it_replayable(start, serve, key, method):
    proxy, origin = start(), serve(connections(stale(), always(FIVE)))
    x(1, proxy, origin.url())
    response = proxy.fetch(origin.url("/again"), method=method, fields=[f"{key}: 1", "Content-Length: 0"])
    ok(response)
    origin.settle("2S", "1-")


def test_T108_one_byte_of_an_answer_forbids_the_retry(start, serve):
    proxy, origin = start(), serve(connections(stale(data=b"HTTP/1.1 2"), always(FIVE)))
    x(1, proxy, origin.url())
    assert proxy.fetch(origin.url("/again")).status == 502
    origin.settle("2S")


def test_T109_an_interim_answer_forbids_the_retry(start, serve):
    proxy, origin = start(), serve(connections(stale(data=head("HTTP/1.1 103 Early Hints")), always(FIVE)))
    x(1, proxy, origin.url())
    assert proxy.fetch(origin.url("/again")).status == 502
    origin.settle("2S")


def test_T110_no_retry_on_a_fresh_connection(start, serve):
    def script(conn):
        conn.read_request()
        conn.fin()
    proxy, origin = start(), serve(script)
    assert proxy.fetch(origin.url()).status == 502
    origin.settle("1S")


def test_T111_through_all_stale_connections(start, serve):
    gate = Gate()

    def script(conn):
        conn.read_request()
        if conn.index < 3:
            gate.wait()
            conn.send(FIVE)
            conn.read_request()
            conn.fin()
        else:
            conn.send(FIVE)
    proxy, origin = start(max_idle_conns_per_host=3), serve(script)
    clients = concurrent(proxy, origin, 3)
    gate.open()
    for client in clients:
        ok(client.response())
    origin.settle("1-", "1-", "1-")
    x(1, proxy, origin.url())
    origin.settle("2S", "2S", "2S", "1-")


def test_T112_a_pooled_connection_that_was_never_used_counts_as_reused(start, serve):
    gate_a, gate_b = Gate("a"), Gate("b")
    proxy = start(max_idle_conns_per_host=1)

    def script(conn):
        if conn.index == 1:       # the surplus dial
            conn.read_request()
            conn.fin()
            return
        while True:
            request = conn.read_request()
            {"/a": gate_a, "/b": gate_b}.get(request.target, opened).wait()
            conn.send(FIVE)
    opened = Gate()
    opened.open()
    origin = serve(script)
    a = proxy.client().ask(origin.url("/a"))
    origin.wait_requests(1)
    origin.hold_dials()
    b = proxy.client().ask(origin.url("/b"))
    origin.wait_dialing(1)
    gate_a.open()
    ok(a.response())
    origin.wait_requests(2)
    origin.release_dials()
    origin.settle("2-", "0-")
    gate_b.open()
    ok(b.response())
    origin.settle("2F", "0-")
    x(1, proxy, origin.url("/c"))
    origin.settle("2F", "1S", "1-")


def test_T114_an_answer_of_408_to_a_request(start, serve):
    late = answer(b"slow", status="408 Request Timeout", fields=["Connection: close"])
    proxy, origin = start(), serve(in_turn(FIVE, late))
    x(1, proxy, origin.url())
    ok(proxy.fetch(origin.url()), b"slow", 408)
    origin.settle("2F")


# -- uploads
#
# Go's server does not pass an answer on while a request body is stuck: it first reads what is left of a
# small one (256 KiB), and waits for the read under way. So with Go the origin alone tells what happened.

LARGE = 1_000_000

def upload_head(url, length, *fields):
    authority = url.split("//")[1].split("/")[0]
    return head(f"POST {url} HTTP/1.1", f"Host: {authority}", f"Content-Length: {length}", *fields)


def early_answer(data):
    """A script: answer when five bytes of the body are there. And when it did so, in a list."""
    def script(conn):
        request = conn.read_head()
        conn.read_exactly(5)
        at = time.monotonic()
        conn.send(data)
        answered.append(at)
        conn.wait_read()
        request.body = conn.read_exactly(LARGE)
        always(FIVE)(conn)
    answered = []
    return answered, script


def stuck_upload(proxy, origin, answered):
    """A client that sends five bytes of its body, and waits until an answer is on its way."""
    client = proxy.client()
    client.send(upload_head(origin.url(), LARGE + 5) + b"begin")
    client.method = "POST"
    until(lambda: answered, "the answer")
    return client


def test_T115_an_answer_while_the_upload_is_stuck(start, serve):
    answered, script = early_answer(FIVE)
    proxy, origin = start(), serve(connections(script, always(FIVE)))
    client = stuck_upload(proxy, origin, answered)
    if proxy.name != "go":
        ok(client.response())
    origin.settle("1F")
    assert origin.conns[0].ended_at - answered[0] >= 0.045
    x(1, proxy, origin.url())
    origin.settle("1F", "1-")


def test_T116_a_bodyless_answer_while_the_upload_is_stuck(start, serve):
    answered, script = early_answer(answer(b""))
    proxy, origin = start(), serve(script)
    client = stuck_upload(proxy, origin, answered)
    if proxy.name != "go":
        ok(client.response(), b"")
    origin.settle("1F")
    assert origin.conns[0].ended_at - answered[0] >= 0.045


def test_T117_an_upload_that_ends_soon_after_the_answer(start, serve):
    proxy = start()
    for _ in range(20):
        answered, script = early_answer(FIVE)
        origin = serve(script)
        client = stuck_upload(proxy, origin, answered)
        client.send(b"e" * LARGE)
        conn = until(lambda: origin.conns and origin.conns[0], "the connection")
        until(lambda: conn.requests[0].body or not conn.is_open, "the rest of the upload, or the end of its time")
        if conn.requests[0].body:
            break
        assert conn.ended_at - answered[0] >= 0.05 - TICK   # too busy a machine for all of it within R48's 50 ms
    origin.settle("1-")
    x(1, proxy, origin.url())
    origin.settle("2-")


@pytest.mark.parametrize("leave", ["close", "rst"])
def test_T118_T159_client_leaves_during_its_upload(start, serve, leave):
    def script(conn):
        conn.read_head()
        conn.read_exactly(5)
    proxy, origin = start(), serve(script)
    client = proxy.client()
    client.send(upload_head(origin.url(), LARGE) + b"begin")
    origin.wait_requests(1)
    origin.conns[0].wait_read()
    getattr(client, leave)()
    origin.settle("1F")


def test_T118_a_malformed_chunk_from_the_client(start, serve):
    def script(conn):
        conn.read_head()
        conn.read_line()
    proxy, origin = start(), serve(script)
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked")
                + b"5\r\nhello\r\n")
    origin.wait_requests(1)
    client.send(b"zz\r\nhello\r\n")
    not_ok(client.response())
    origin.settle("1F")


def test_T120_the_upload_fails_while_its_answer_is_read(start, serve):
    answered, script = early_answer(answer(b"half", length=8))
    proxy, origin = start(), serve(script)
    client = stuck_upload(proxy, origin, answered)
    origin.conns[0].wait_read()
    client.close()
    origin.settle("1F")


def test_T121_early_refusal_of_a_large_upload(start, serve):
    """A race in Go: the answer, or an error; never a hang and never a second request there."""
    def script(conn):
        conn.read_head()
        conn.send(answer(b"no", status="413 Payload Too Large", fields=["Connection: close"]))
        conn.rst()
    proxy, origin = start(), serve(script)
    for n in range(5):
        with proxy.client() as client:
            try:
                client.send(upload_head(origin.url(), 20 << 20))
                for _ in range(320):
                    client.send(JUNK)
                assert client.response().status in (413, 502, None)
            except (BrokenPipeError, ConnectionResetError):
                pass
        assert origin.shape() == ["1X"] * (n + 1)


def expecting(client, url, body=b"abcde", length=None):
    client.send(upload_head(url, length or len(body), "Expect: 100-continue"))
    client.method = "POST"
    return client


def send_when_told(client, body=b"abcde"):
    """Send the body when 100 comes, as clients do; the final response's head may come instead."""
    first = client.read_head(Response())
    if first.status == 100:
        client.send(body)
        return client.response("POST")
    client._body(first, "POST")
    first.complete = True
    return first


def test_T122_100_continue(start, serve):
    def script(conn):
        while True:
            request = conn.read_head()
            assert request.value("Expect") == "100-continue"
            conn.send(head("HTTP/1.1 100 Continue"))
            assert conn.read_body(request) == b"abcde"
            conn.send(FIVE)
    proxy, origin = start(expect_continue_timeout="1h"), serve(script)
    for _ in range(2):
        ok(send_when_told(expecting(proxy.client(), origin.url())))
    origin.settle("2-")


@pytest.mark.parametrize("timeout,least,most", [("150ms", 0.12, 1.0), ("0", 0, 0.12)])
def test_T122_no_100_ever_comes(start, serve, timeout, least, most):
    """From the head to the body. A busy machine may notice either late: some of the times are right."""
    took = []

    def script(conn):
        while True:
            request = conn.read_head()
            begun = time.monotonic()
            conn.read_body(request)
            took.append(time.monotonic() - begun)
            conn.send(FIVE)
    proxy, origin = start(expect_continue_timeout=timeout), serve(script)
    while len([t for t in took if least <= t <= most]) < 2:
        assert len(took) < 20, took
        client = expecting(proxy.client(), origin.url())
        client.send(b"abcde")
        response = client.response("POST")
        ok(response)
    origin.settle(f"{len(took)}-")


def test_T123_417_without_the_body(start, serve):
    def script(conn):
        while True:
            request = conn.read_head()
            conn.send(answer(b"", status="417 Expectation Failed") if request.method == "POST" else FIVE)
    proxy, origin = start(expect_continue_timeout="1h"), serve(script)
    for _ in range(2):
        response = send_when_told(expecting(proxy.client(), origin.url(), length=LARGE))
        assert response.status == 417, response
    origin.settle("2-")
    assert not origin.conns[0].buffer and origin.conns[0].requests[1].method == "POST"


def test_T124a_response_header_timeout(start, serve):
    def run():
        origin, begun = serve(lambda conn: conn.read_request()), time.monotonic()
        response = proxy.fetch(origin.url())
        assert response.status in (502, 504), response
        origin.settle("1F")
        took = origin.conns[0].ended_at - begun
        assert took >= 0.1 - TICK
        return took
    proxy = start(response_header_timeout="100ms")
    shortest(run, below=1)


def test_T124b_it_does_not_cover_the_body(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(answer(b"", length=5))
        time.sleep(0.5)
        conn.send(b"hello")
    proxy = start(response_header_timeout="300ms")
    for _ in range(20):
        origin = serve(script)
        response = proxy.fetch(origin.url())
        if response.status == 200:   # else the machine was too busy for the head
            break
    ok(response)
    origin.settle("1-")


def test_T124c_it_begins_when_the_upload_has_ended(start, serve):
    def script(conn):
        conn.read_body(conn.read_head())
    proxy, origin = start(response_header_timeout="100ms"), serve(script)
    client = proxy.client()
    client.send(upload_head(origin.url(), 10) + b"begin")
    origin.wait_requests(1)
    origin.settle("1-", hold=0.25)
    begun = time.monotonic()
    client.send(b"ended")
    assert client.response("POST").status in (502, 504)
    origin.settle("1F")
    assert origin.conns[0].ended_at - begun >= 0.1 - TICK


HINTS = head("HTTP/1.1 103 Early Hints", "Link: </style.css>")


def test_T125a_five_interim_answers(start, serve):
    proxy, origin = start(), serve(always(HINTS * 5 + FIVE))
    x(2, proxy, origin.url())
    origin.settle("2-")


def test_T125b_six_interim_answers(start, serve):
    proxy, origin = start(), serve(always(HINTS * 6 + FIVE))
    for _ in range(2):
        assert proxy.fetch(origin.url()).status == 502
    origin.settle("1F", "1F")


def test_T125c_interim_answers_do_not_restart_the_timeout(start, serve):
    def script(conn):
        conn.read_request()
        for _ in range(4):
            time.sleep(0.15)
            conn.send(HINTS)

    def run():
        """With a timeout begun anew it would take four pauses and the timeout."""
        origin, begun = serve(script), time.monotonic()
        assert proxy.fetch(origin.url()).status in (502, 504)
        assert origin.conns[0].ended.wait(DEADLINE)
        return origin.conns[0].ended_at - begun
    proxy = start(response_header_timeout="200ms")
    shortest(run, below=0.6)


def test_T126_upgraded_bytes_both_ways(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(switching(extra=b"extra"))
        while True:
            conn.send(conn.read_line() + b"\r\n")
    proxy, origin = start(max_conns_per_host=1), serve(script)
    client = upgrade(proxy.client(), origin.url())
    assert client.response().status == 101
    assert client.read_exactly(5) == b"extra"
    client.send("echo\r\n")
    assert client.read_exactly(6) == b"echo\r\n"
    origin.settle("1-")
    client.close()
    origin.settle("1F")


def test_T127_an_upgraded_connection_has_no_timeout(start, serve):
    script = by_path(up=switching(), five=FIVE)
    proxy = start(idle_conn_timeout="200ms", response_header_timeout="200ms")
    for _ in range(20):
        origin = serve(script)
        client = upgrade(proxy.client(), origin.url("/up"))
        response = client.response()
        if response.status == 101:   # else the machine was too busy for the head
            break
    assert response.status == 101
    proxy.close_idle()
    origin.settle("1-", hold=0.4)
    client.close()


def test_T133_keys_are_exact(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    port = origin.port
    x(1, proxy, f"http://localhost:{port}/")
    ok(proxy.client().send(head(f"GET http://localhost:{port}/ HTTP/1.1", f"Host: localhost:{port}")).response())
    origin.settle("2-")
    x(1, proxy, f"http://LOCALHOST:{port}/")
    origin.settle("2-", "1-")
    x(1, proxy, f"http://127.0.0.1:{port}/")
    origin.settle("2-", "1-", "1-")
    x(1, proxy, f"http://localhost:{port}/")
    origin.settle("3-", "1-", "1-")


def test_T134_websocket_requests_have_a_pool_of_their_own(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    x(1, proxy, origin.url())
    x(1, proxy, origin.url(), fields=["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"])
    x(1, proxy, origin.url(), fields=["Connection: Upgrade", "Upgrade: foo"])
    origin.settle("2-", "1-")


def test_T143_never_pipelined(start, serve):
    gate = Gate()
    proxy, origin = start(), serve(gated(gate))
    clients = concurrent(proxy, origin, 2)
    origin.settle("1-", "1-")
    gate.open()
    for client in clients:
        ok(client.response())
    origin.settle("1-", "1-")


# -- ReverseProxy

def test_T157_clients_that_close_each_time(start, serve):
    proxy, origin = start(), serve(always(FIVE))
    x(3, proxy, origin.url(), fields=["Connection: close"])
    x(1, proxy, origin.url(), version="1.0")
    origin.settle("4-")
    proxy, origin = start(), serve(always(head("HTTP/1.1 200 OK", "Content-Length: 5")))
    for _ in range(2):
        ok(proxy.fetch(origin.url(), method="HEAD"), b"")
    origin.settle("2-")


def test_T158b_client_leaves_in_a_body_that_was_read_so_far(start, serve):
    proxy, origin = start(), serve(always(answer(b"part", length=1000)))
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.read_exactly(4)
    client.close()
    origin.settle("1F")


def test_T158c_client_leaves_a_stream(start, serve):
    proxy, origin = start(), serve(by_path(root=endless))
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.read_exactly(100_000)
    client.close()
    origin.settle("1R|1F|1F>R")


def test_T160_a_half_closed_client_counts_as_gone(start, serve):
    proxy, origin = start(), serve(lambda conn: conn.read_request())
    client = proxy.client().ask(origin.url())
    origin.wait_requests(1)
    client.half_close()
    origin.settle("1F")
    response = client.response()
    assert response.status in (502, None) or not response.complete, response


def test_T161_a_pipelined_request_hides_the_client_leaving(start, serve):
    proxy, origin = start(), serve(lambda conn: conn.read_request())
    client = proxy.client().ask(origin.url("/1"))
    origin.wait_requests(1)
    client.ask(origin.url("/2"))
    time.sleep(0.03)  # Go reads one byte of it and daemons may read none: nothing to wait for
    client.close()
    origin.settle("1-", hold=0.15)


def test_T162_short_body(start, serve):
    proxy, origin = start(), serve(until_eof(answer(length=100)))
    response = not_ok(proxy.fetch(origin.url()))
    assert response.status in (None, 200)
    origin.settle("1S")


def test_T163_longer_short_body(start, serve):
    proxy, origin = start(), serve(until_eof(answer(b"m" * 6000, length=10_000)))
    response = proxy.fetch(origin.url())
    assert (response.status, response.complete, response.value("Content-Length")) == (200, False, "10000"), response
    assert b"m" * 6000 == response.body
    origin.settle("1S")


def test_T164_a_chunked_body_flows(start, serve):
    gate = Gate()

    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk("hello"))
        gate.wait()
        conn.send(chunk("world") + b"0\r\n\r\n")
    proxy, origin = start(), serve(script)
    client = proxy.client().ask(origin.url())
    client.read_head()
    assert client.read_exactly(10) == b"5\r\nhello\r\n"
    gate.open()
    assert re.fullmatch(rb"5\r\nworld\r\n0\r\n\r\n", client.read_exactly(15))
    origin.settle("1-")


def test_T165_stale_connection_behind_the_proxy(start, serve):
    proxy, origin = start(), serve(connections(stale(), stale(), always(FIVE)))
    x(2, proxy, origin.url())
    origin.settle("2S", "1-")
    assert proxy.fetch(origin.url(), method="POST", body=b"abc").status == 502
    origin.settle("2S", "2S")


def test_T166_upgrade_ends_with_the_client(start, serve):
    proxy, origin = start(), serve(lambda conn: (conn.read_request(), conn.send(switching())))
    client = upgrade(proxy.client(), origin.url())
    assert client.response().status == 101
    client.close()
    origin.settle("1F")


def test_T166_upgrade_ends_with_the_server(start, serve):
    def script(conn):
        conn.read_request()
        conn.send(switching())
        conn.read_line()
        conn.fin()
    proxy, origin = start(), serve(script)
    client = upgrade(proxy.client(), origin.url())
    assert client.response().status == 101
    client.send("bye\r\n")
    assert client.wait_end() in "FR"
    origin.settle("1S")


def test_T166_another_protocol_than_asked_for(start, serve):
    proxy, origin = start(), serve(lambda conn: (conn.read_request(), conn.send(switching("bar"))))
    response = upgrade(proxy.client(), origin.url(), "foo").response()
    assert response.status == 502, response
    origin.settle("1-" if proxy.name == "go" else "1F")  # Go forgets to close it: a leak of its own
