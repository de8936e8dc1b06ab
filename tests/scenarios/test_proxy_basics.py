"""What a forward proxy owes its clients and origins, on the daemon alone: messages, bodies, tunnels,
timeouts, access, loops, cut bodies, drain, the ledger's file."""

import base64
import contextlib
import crypt
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error

import pytest

from rig import sockets
from rig.client import Background, Client
from rig.origin import Gone, always, answer, by_path, chunk, chunked, head
from rig.subject import free_port
from rig.wait import DEADLINE, TICK, Gate, shortest, until

FIVE = answer(b"hello")
BIG = sockets.MORE_THAN_BUFFERS


def ok(response, body=b"hello", status=200):
    assert (response.status, response.body, response.complete) == (status, body, True), response
    return response


def problem(response, status, error=None):
    """An answer of the proxy itself."""
    assert response.status == status and response.complete, response
    assert response.value("Content-Type") == "application/problem+json", response.fields
    body = json.loads(response.body)
    assert body["status"] == status and body["title"], body
    proxy_status = response.value("Proxy-Status")
    assert proxy_status, response.fields
    if error:
        assert f"error={error}" in proxy_status, proxy_status
    return body


def noise(size, seed=1):
    """Bytes that repeat nowhere near."""
    out, n = bytearray(), 0
    while len(out) < size:
        out += hashlib.sha256(b"%d %d" % (seed, n)).digest()
        n += 1
    return bytes(out[:size])


# -- heads

def test_what_an_origin_sees(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    ok(proxy.fetch(origin.url("/path?query=1"), fields=[
        "User-Agent: tests/1", "Accept: */*", "X-Twice: 1", "x-TWICE: 2", "Cookie: a=b", "Connection: keep-alive, X-Hop",
        "X-Hop: gone", "Keep-Alive: 300", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5", "TE: trailers",
        "Upgrade-Insecure-Requests: 1"]))
    request = origin.conns[0].requests[0]
    assert request.line == "GET /path?query=1 HTTP/1.1"
    assert request.values("Host") == [origin.authority]
    assert [f for f in request.fields if f[0].lower() == "x-twice"] == [("X-Twice", "1"), ("x-TWICE", "2")]
    assert request.value("User-Agent") == "tests/1" and request.value("Cookie") == "a=b"
    assert request.value("Upgrade-Insecure-Requests") == "1"
    for gone in ("X-Hop", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "X-Forwarded-For", "Accept-Encoding"):
        assert not request.values(gone), gone
    assert request.values("TE") in ([], ["trailers"])
    assert not request.has_token("Connection", "X-Hop") and not request.has_token("Connection", "keep-alive")
    assert request.value("Via", "").startswith("1.1 ")


def test_no_user_agent_is_made_up(daemon, serve):
    proxy, origin = daemon(settings={"proxy.via": "off"}), serve(always(FIVE))
    ok(proxy.fetch(origin.url()))
    assert origin.conns[0].requests[0].fields == [("Host", origin.authority)]


def test_host_is_what_the_target_says(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    ok(proxy.client().send(head(f"GET {origin.url('/a')} HTTP/1.1", "Host: elsewhere")).response("GET"))
    assert origin.conns[0].requests[0].values("Host") == [origin.authority]


def test_what_a_client_sees(daemon, serve):
    data = head("HTTP/1.1 299 Odd Reason", "Content-Length: 5", "Set-Cookie: a=1", "Set-Cookie: b=2", "ETag: W/\"x\"",
                "X-Hop: gone", "Connection: X-Hop", "Keep-Alive: timeout=5", "Date: Thu, 01 Jan 1970 00:00:00 GMT") + b"hello"
    proxy, origin = daemon(), serve(always(data))
    response = ok(proxy.fetch(origin.url()), status=299)
    assert response.reason == "Odd Reason" and response.version == "HTTP/1.1"
    assert response.values("Set-Cookie") == ["a=1", "b=2"] and response.value("ETag") == 'W/"x"'
    assert response.values("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"] and response.values("Content-Length") == ["5"]
    assert not response.values("X-Hop") and not response.values("Keep-Alive")
    assert response.value("Via", "").startswith("1.1 ")


def test_via_is_added_to_what_is_there(daemon, serve):
    proxy, origin = daemon(), serve(always(answer(fields=["Via: 1.0 far"])))
    response = ok(proxy.fetch(origin.url(), fields=["Via: 1.1 near"]))
    assert ", ".join(origin.conns[0].requests[0].values("Via")).startswith("1.1 near, 1.1 ")
    assert ", ".join(response.values("Via")).startswith("1.0 far, 1.1 ")


@pytest.mark.parametrize("target", ["absolute", "origin"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_methods_and_targets(daemon, serve, target, method):
    proxy, origin = daemon(), serve(always(FIVE))
    url = origin.url("/x") if target == "absolute" else "/x"
    client = proxy.client()
    client.send(head(f"{method} {url} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 2") + b"ab")
    ok(client.response(method))
    request = origin.conns[0].requests[0]
    assert (request.method, request.target, request.body) == (method, "/x", b"ab")


# -- bodies

SIZES = [0, 1, 1024, 65536, 10 << 20]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["content-length", "chunked", "until-eof"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_bodies_down(daemon, serve, size, framing, version):
    body = noise(size)

    def script(conn):
        conn.read_request()
        if framing == "content-length":
            conn.send(answer(body))
        elif framing == "chunked":
            conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
            for at in range(0, size, 50_001):
                conn.send(chunk(body[at:at + 50_001]))
            conn.send("0\r\n\r\n")
        else:
            conn.send(head("HTTP/1.1 200 OK") + body)
            conn.fin()
    proxy, origin = daemon(), serve(script)
    response = proxy.fetch(origin.url(), version=version)
    assert response.complete and response.status == 200
    assert response.digest() == (size, hashlib.sha256(body).hexdigest()[:16])
    expected = {"content-length": "content-length", "chunked": "chunked", "until-eof": "chunked"}[framing]
    if version == "1.0" and expected == "chunked":
        expected = "until-eof"
    assert response.framing == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_bodies_up(daemon, serve, size, framing):
    body = noise(size, seed=2)
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    if framing == "chunked":
        wire = b"".join(chunk(body[at:at + 40_001]) for at in range(0, size, 40_001)) + b"0\r\n\r\n"
        field = "Transfer-Encoding: chunked"
    else:
        wire, field = body, f"Content-Length: {size}"
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", field))
    writer = Background(client.send, wire)
    ok(client.response("POST"))
    writer.result()
    request = origin.conns[0].requests[0]
    assert request.body == body
    assert request.values("Transfer-Encoding") == (["chunked"] if framing == "chunked" else [])
    assert request.values("Content-Length") == ([] if framing == "chunked" else [str(size)])


def test_both_ways_at_once(daemon, serve):
    """An origin that echoes while it reads: neither direction may wait for the other's end."""
    size = 4 << 20

    def script(conn):
        request = conn.read_head()
        conn.send(head("HTTP/1.1 200 OK", f"Content-Length: {size}"))
        left = size
        while left:
            piece = conn.read_exactly(min(65536, left))
            conn.send(piece)
            left -= len(piece)
        request.body = b""
    proxy, origin = daemon(), serve(script)
    body = noise(size, seed=3)
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", f"Content-Length: {size}"))
    writer = Background(client.send, body)
    ok(client.response("POST"), body)
    writer.result()
    origin.settle("1-")


def test_byte_by_byte(daemon, serve):
    """Every cut of a request and of a response is as good as another."""
    def script(conn):
        while True:
            conn.read_request()
            for byte in chunked("hello", "world", trailer=["X: y"]):
                conn.send(bytes([byte]))
                conn.wait_read()
    proxy, origin = daemon(), serve(script)
    client = proxy.client()
    wire = head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked") \
        + chunk("abc") + chunk("defghijklmnopq") + b"0\r\nX-T: v\r\n\r\n"
    for byte in wire:
        client.send(bytes([byte]))
        sockets.wait_all_read(client.sock)
    response = ok(client.response("POST"), b"helloworld")
    assert response.trailer == ["X: y"]
    assert origin.conns[0].requests[0].body == b"abcdefghijklmnopq"


# -- clients' connections

def test_keep_alive_and_close(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    for _ in range(3):
        response = ok(client.ask(origin.url()).response())
        assert not any("close" in value.lower() for value in response.values("Connection"))
    response = ok(client.ask(origin.url(), fields=["Connection: close"]).response())
    assert any("close" in value.lower() for value in response.values("Connection"))
    assert client.wait_end() == "F"
    origin.settle("4-")


def test_http10_clients(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    ok(client.ask(origin.url(), version="1.0").response())
    assert client.wait_end() == "F"
    client = proxy.client()
    for _ in range(2):
        response = ok(client.ask(origin.url(), version="1.0", fields=["Connection: keep-alive"]).response())
        if not any("keep-alive" in value.lower() for value in response.values("Connection")):
            assert client.wait_end() == "F"
            break
    assert origin.conns[0].requests[0].version == "HTTP/1.1"


def test_pipelined_requests_are_answered_in_order(daemon, serve):
    gate = Gate()

    def slow(conn, request):
        gate.wait()
        conn.send(answer(request.target))

    def fast(conn, request):
        conn.send(answer(request.target))
    proxy, origin = daemon(), serve(by_path(slow=slow, fast=fast))
    client = proxy.client()
    targets = ["/slow/0", "/fast/1", "/fast/2", "/slow/3", "/fast/4"]
    client.send(b"".join(head(f"GET {origin.url(t)} HTTP/1.1", f"Host: {origin.authority}") for t in targets))
    origin.wait_requests(1)
    gate.open()
    for target in targets:
        ok(client.response("GET"), target.encode())


def test_pipelined_request_behind_a_body(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send(head(f"POST {origin.url('/1')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 3") + b"abc"
                + head(f"POST {origin.url('/2')} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked")
                + chunk("def") + b"0\r\n\r\n"
                + head(f"GET {origin.url('/3')} HTTP/1.1", f"Host: {origin.authority}"))
    for _ in range(3):
        ok(client.response("GET"))
    assert [(r.target, r.body) for r in origin.conns[0].requests] == [("/1", b"abc"), ("/2", b"def"), ("/3", b"")]


def test_a_client_that_pipelines_and_half_closes_its_side_late(daemon, serve):
    """Half-closing after the last answer is fine; nothing is lost."""
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    for _ in range(2):
        ok(client.ask(origin.url()).response())
    client.half_close()
    assert client.wait_end() == "F"
    origin.settle("2-")


def test_client_idle_timeout(daemon, serve):
    def run():
        begun = time.monotonic()
        used, silent = proxy.client(), proxy.client()
        ok(used.ask(origin.url()).response())
        assert silent.wait_end() == "F" and used.wait_end() == "F"
        took = time.monotonic() - begun
        assert took >= 0.5 - TICK
        return took
    proxy, origin = daemon(settings={"proxy.client_idle_timeout": "500ms"}), serve(always(FIVE))
    shortest(run, below=2)
    assert len(origin.conns) == 1 and origin.conns[0].is_open


def test_a_client_that_takes_nothing_is_left_alone(daemon, serve):
    """R168: what it does is what the tool looks for; cutting it would hide the leak."""
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", f"Content-Length: {BIG}"))
        conn.send_forever(b"x" * 65536)
    proxy, origin = daemon(settings={"proxy.client_idle_timeout": "500ms"}), serve(script)
    client = proxy.client(rcvbuf=4096)
    client.ask(origin.url())
    client.read_head()
    time.sleep(1)
    assert proxy.get("/metrics")["downstream"]["open"] == 1


def test_an_idle_timeout_does_not_cut_a_slow_origin(daemon, serve):
    def script(conn):
        conn.read_request()
        time.sleep(1)
        conn.send(FIVE)
    proxy, origin = daemon(settings={"proxy.client_idle_timeout": "500ms"}), serve(script)
    ok(proxy.fetch(origin.url()))


# -- expectations, interim answers

def test_expect_100_continue(daemon, serve):
    def script(conn):
        request = conn.read_head()
        assert request.has_token("Expect", "100-continue")
        conn.send(head("HTTP/1.1 100 Continue"))
        conn.read_body(request)
        conn.send(FIVE)
    proxy, origin = daemon(settings={"pool.expect_continue_timeout": "10s"}), serve(script)
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 3", "Expect: 100-continue"))
    first = client.read_head()
    assert first.status == 100
    client.send("abc")
    ok(client.response("POST"))
    assert origin.conns[0].requests[0].body == b"abc"


def test_interim_answers_never_reach_http10_clients(daemon, serve):
    hints = head("HTTP/1.1 103 Early Hints", "Link: </a>")
    proxy, origin = daemon(), serve(always(hints + FIVE))
    response = ok(proxy.fetch(origin.url(), version="1.0"))
    assert response.interim == []
    response = ok(proxy.fetch(origin.url()))
    assert response.interim in ([], [103])


# -- tunnels and upgrades

def connect(proxy, authority, extra=b""):
    client = proxy.client()
    client.send(head(f"CONNECT {authority} HTTP/1.1", f"Host: {authority}") + extra)
    client.method = "CONNECT"
    return client


def echo(conn):
    while True:
        conn.send(conn.read_line() + b"\r\n")


def test_connect(daemon, serve):
    proxy, origin = daemon(), serve(echo)
    client = connect(proxy, origin.authority, b"early\r\n")
    response = client.response()
    assert response.status == 200 and not response.values("Content-Length") and not response.values("Transfer-Encoding")
    assert client.read_exactly(7) == b"early\r\n"
    client.send("later\r\n")
    assert client.read_exactly(7) == b"later\r\n"
    client.close()
    origin.settle("0F")


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_connect_ends_with_the_server(daemon, serve, end):
    def script(conn):
        conn.read_line()
        getattr(conn, end)()
    proxy, origin = daemon(), serve(script)
    client = connect(proxy, origin.authority)
    assert client.response().status == 200
    client.send("x\r\n")
    assert client.wait_end() == ("F" if end == "fin" else "R")


def test_half_closed_tunnel(daemon, serve):
    """A FIN in one direction leaves the other open: what is asked for by it still comes."""
    body = noise(1 << 20, seed=4)

    def script(conn):
        try:
            conn.drain()
        except Gone:
            conn.sock.sendall(body)
            conn.sock.shutdown(socket.SHUT_WR)
    proxy, origin = daemon(), serve(script)
    client = connect(proxy, origin.authority)
    assert client.response().status == 200
    client.send("request")
    client.half_close()
    got = b""
    while len(got) < len(body):
        got += client.read_exactly(min(65536, len(body) - len(got)))
    assert got == body and client.wait_end() == "F"


@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_closed_tunnel_ends_by_a_reset(daemon, serve, first):
    """Who sent a FIN may still break: the other end, which is silent, would never tell."""
    passed_on, reset = Gate("the FIN"), Gate("the reset")

    def script(conn):
        if first == "origin":
            conn.sock.shutdown(socket.SHUT_WR)
            reset.wait()
            conn.rst()
        with contextlib.suppress(Gone):
            conn.drain()
        passed_on.open()
        reset.wait()
    proxy, origin = daemon(), serve(script)
    client = connect(proxy, origin.authority)
    assert client.response().status == 200
    if first == "client":
        client.half_close()
        passed_on.wait()
        client.rst()
    else:
        assert client.wait_end() == "F"
        reset.open()
    until(lambda: proxy.get("/metrics")["tunnels"]["open"] == 0, "the tunnel's end")
    reset.open()


def test_large_tunnel_both_ways(daemon, serve):
    body = noise(3 << 20, seed=5)

    def script(conn):
        conn.send(conn.read_exactly(len(body)))
    proxy, origin = daemon(), serve(script)
    client = connect(proxy, origin.authority)
    assert client.response().status == 200
    writer = Background(client.send, body)
    assert client.read_exactly(len(body)) == body
    writer.result()


def test_connect_refused(daemon):
    proxy = daemon()
    problem(connect(proxy, f"127.0.0.1:{free_port()}").response(), 502, "connection_refused")


def test_many_tunnels_leave_nothing_behind(daemon, serve):
    proxy, origin = daemon(), serve(echo)

    def tunnels(n):
        clients = [connect(proxy, origin.authority) for _ in range(n)]
        for client in clients:
            assert client.response().status == 200
            client.send("x\r\n")
            assert client.read_exactly(3) == b"x\r\n"
        for client in clients:
            client.rst()
        until(lambda: proxy.get("/metrics")["downstream"]["open"] == 0, "all tunnels to end")
    tunnels(10)
    before = proxy.fds()    # what is kept at hand for later tunnels included
    for _ in range(3):
        tunnels(10)
    until(lambda: proxy.fds() <= before, lambda: f"{before} descriptors again; {proxy.fds()}")


def test_websocket_relay(daemon, serve):
    def script(conn):
        request = conn.read_request()
        assert request.has_token("Connection", "upgrade") and request.value("Upgrade") == "websocket"
        assert request.value("Sec-WebSocket-Key") == "x"
        conn.send(head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: y"))
        while True:
            conn.send(conn._recv())
    proxy, origin = daemon(), serve(script)
    client = proxy.client()
    client.ask(origin.url(), fields=["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"])
    response = client.response()
    assert response.status == 101 and response.value("Upgrade") == "websocket" and response.value("Sec-WebSocket-Accept") == "y"
    assert "upgrade" in response.value("Connection").lower()
    frames = noise(300_000, seed=6)
    writer = Background(client.send, frames)
    assert client.read_exactly(len(frames)) == frames
    writer.result()
    client.close()
    origin.settle("1F|1R")


# -- errors of the proxy, and what they are called

def test_refused_dial(daemon):
    problem(daemon().fetch(f"http://127.0.0.1:{free_port()}/"), 502, "connection_refused")


def test_unknown_name(daemon):
    response = daemon().fetch("http://no-such-host.invalid/")
    problem(response, 502, "dns_error")


def test_dial_timeout(daemon, serve):
    proxy, origin = daemon(dial_timeout="200ms"), serve(always(FIVE))
    origin.hold_dials()
    begun = time.monotonic()
    problem(proxy.fetch(origin.url()), 504, "connection_timeout")
    assert 0.2 - TICK <= time.monotonic() - begun < 20   # 30 s is the default
    origin.wait_dialing(0)


def test_response_header_timeout(daemon, serve):
    proxy, origin = daemon(response_header_timeout="100ms"), serve(lambda conn: conn.read_request())
    problem(proxy.fetch(origin.url()), 504, "http_response_timeout")
    origin.settle("1F")


def test_malformed_answer(daemon, serve):
    proxy, origin = daemon(), serve(always(b"garbage\r\n\r\n"))
    problem(proxy.fetch(origin.url()), 502, "http_protocol_error")
    origin.settle("1F")


def test_closed_instead_of_an_answer(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.fin()
    proxy, origin = daemon(), serve(script)
    problem(proxy.fetch(origin.url()), 502, "connection_terminated")
    origin.settle("1S")


def test_an_error_keeps_the_clients_connection_where_it_can(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    problem(client.ask(f"http://127.0.0.1:{free_port()}/").response(), 502)
    ok(client.ask(origin.url()).response())


def test_an_error_answers_HEAD_without_a_body(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    response = client.ask(f"http://127.0.0.1:{free_port()}/", "HEAD").response("HEAD")
    assert response.status == 502 and response.complete
    ok(client.ask(origin.url(), "GET").response("GET"))


# -- cut bodies

ORIGIN_TO_KILL = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
conn, _ = listener.accept()
conn.recv(65536)
conn.sendall(sys.argv[1].encode().decode("unicode_escape").encode("latin-1"))
time.sleep(60)
"""

PARTS = {
    "content-length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"c" * 5000,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + b"c" * 5000,
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"c" * 5000 + b"\r\n",
    "before the last crlf": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"c" * 5000 + b"\r\n0\r\n",
}


def looks_complete(client, version, method="GET"):
    """Would a careful client take this response for whole? (response, verdict)"""
    response = client.response(method)
    if response.framing == "until-eof":
        return response, response.ended_by == "F"
    return response, response.complete


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", PARTS)
def test_an_origin_killed_in_mid_body(daemon, framing, version):
    proxy = daemon()
    with subprocess.Popen([sys.executable, "-c", ORIGIN_TO_KILL, PARTS[framing].decode("latin-1").encode("unicode_escape").decode()],
                          stdout=subprocess.PIPE) as process:
        try:
            port = int(process.stdout.readline())
            client = proxy.client().ask(f"http://127.0.0.1:{port}/", version=version)
            client.buffer += client._recv()
            while client.buffer.count(b"c") < 5000:
                client.buffer += client._recv()
            process.send_signal(signal.SIGKILL)
            response, complete = looks_complete(client, version)
            assert response.status == 200 and not complete, response
        finally:
            process.kill()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", [*PARTS, "until-eof"])
def test_a_reset_in_mid_body(daemon, serve, framing, version):
    def script(conn):
        conn.read_request()
        conn.send(PARTS.get(framing, b"HTTP/1.1 200 OK\r\n\r\n" + b"c" * 5000))
        gate.wait()
        conn.rst()
    gate = Gate()
    proxy, origin = daemon(), serve(script)
    client = proxy.client().ask(origin.url(), version=version)
    while client.buffer.count(b"c") < 5000:
        client.buffer += client._recv()
    gate.open()
    response, complete = looks_complete(client, version)
    assert response.status == 200 and not complete, response
    origin.settle("1X")


def test_until_eof_that_ends_well(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        conn.fin()
    proxy, origin = daemon(), serve(script)
    assert ok(proxy.fetch(origin.url())).framing == "chunked"
    response = ok(proxy.fetch(origin.url(), version="1.0"))
    assert response.framing == "until-eof" and response.ended_by == "F"


# -- back-pressure

def test_slow_clients_slow_their_origins(daemon, serve):
    """Ten clients that stop reading: their origins block, and the daemon holds what it may and no more."""
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", f"Content-Length: {1 << 40}"))
        conn.send_forever(b"x" * 65536)
    proxy, origin = daemon(), serve(script)
    before = proxy.rss()
    clients = []
    for n in range(10):
        client = proxy.client(rcvbuf=4096)
        client.ask(origin.url())
        client.read_head()
        clients.append(client)
    for conn in origin.conns:
        conn.wait_stuck()
    assert proxy.rss() - before < 10 * 200_000
    # Of each body the daemon has read at most what its client's socket took, a copy buffer and a read buffer.
    records = [r for r in proxy.ledger() if r["state"] != "closed"]
    up = {r["local"].rsplit(":", 1)[1]: r for r in records if r["side"] == "upstream"}
    down = [r for r in records if r["side"] == "downstream"]
    assert len(up) == 10 and len(down) == 10
    read, taken = (sorted(r[field] for r in rows) for rows, field in ((up.values(), "bytes_in"), (down, "bytes_out")))
    assert sum(read) - sum(taken) <= 10 * (32768 + 4096 + 500), (read, taken)
    for client in clients:
        client.close()
    origin.settle(*["1R"] * 10)


def test_slow_origin_slows_its_client(daemon, serve):
    proxy, origin = daemon(), serve(lambda conn: (conn.read_head(), Gate().wait()))
    client = proxy.client()
    client.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", f"Content-Length: {1 << 40}"))
    before = proxy.rss()
    client.sock.settimeout(0.3)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 200 << 20:
            sent += client.sock.send(b"u" * 65536)
    assert proxy.rss() - before < 1 << 20
    client.close()


# -- access

def test_denied_destinations(daemon, serve):
    proxy, origin = daemon(settings={"access.deny_destinations": "localhost, 127.0.0.1, *.bad.example"}), serve(always(FIVE))
    problem(proxy.fetch(origin.url()), 403)
    problem(proxy.fetch(origin.url(host="localhost")), 403)
    problem(proxy.fetch("http://www.bad.example/"), 403)
    problem(connect(proxy, origin.authority).response(), 403)
    assert not origin.conns


def test_a_denied_address_is_denied_by_any_name(daemon, serve):
    proxy, origin = daemon(settings={"access.deny_destinations": "127.0.0.0/8"}), serve(always(FIVE))
    problem(proxy.fetch(origin.url(host="localhost")), 403)
    assert not origin.conns


def test_allowed_destinations(daemon, serve):
    a, b = serve(always(FIVE)), serve(always(FIVE))
    proxy = daemon(settings={"access.allow_destinations": f"127.0.0.1:{a.port}"})
    ok(proxy.fetch(a.url()))
    problem(proxy.fetch(b.url()), 403)
    assert not b.conns


def test_denied_clients(daemon, serve):
    proxy, origin = daemon(settings={"access.allow_clients": "127.0.0.1"}), serve(always(FIVE))
    ok(proxy.fetch(origin.url()))
    client = proxy.client(source="127.0.0.2")
    problem(client.ask(origin.url()).response(), 403)
    assert origin.total_requests() == 1


def test_passwords(daemon, serve, tmp_path):
    users = tmp_path / "users"
    users.write_text("checkout:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_SHA256, rounds=1000)) + "\n")
    users.chmod(0o600)
    proxy, origin = daemon(settings={"access.password_file": users}), serve(always(FIVE))

    def basic(text):
        return ["Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode()]
    response = proxy.fetch(origin.url())
    problem(response, 407)
    assert response.value("Proxy-Authenticate", "").lower().startswith("basic ")
    for wrong in ("checkout:wrong", "other:secret", "checkout", "", "checkout:secret2"):
        problem(proxy.fetch(origin.url(), fields=basic(wrong)), 407)
    problem(proxy.fetch(origin.url(), fields=["Proxy-Authorization: Bearer x"]), 407)
    problem(connect(proxy, origin.authority).response(), 407)
    assert not origin.conns
    ok(proxy.fetch(origin.url(), fields=basic("checkout:secret")))
    assert not origin.conns[0].requests[0].values("Proxy-Authorization")
    client = proxy.client()
    client.send(head(f"CONNECT {origin.authority} HTTP/1.1", f"Host: {origin.authority}", *basic("checkout:secret")))
    assert client.response("CONNECT").status == 200


def test_secrets_stay_out_of_the_ledger(daemon, serve):
    proxy, origin = daemon(), serve(always(FIVE))
    ok(proxy.fetch(origin.url("/path?token=sesame"), fields=["Authorization: Bearer sesame", "Cookie: sesame",
                                                             "Proxy-Authorization: Basic " + base64.b64encode(b"tag:sesame").decode()]))
    text = json.dumps(proxy.ledger()) + json.dumps(proxy.get("/connections")) + json.dumps(proxy.get("/pools")) + proxy.log()
    assert "sesame" not in text and base64.b64encode(b"tag:sesame").decode() not in text


# -- reverse mode

def test_reverse_mode(daemon, serve):
    origin = serve(always(FIVE))
    proxy = daemon(settings={"proxy.mode": "reverse", "proxy.upstream": f"http://{origin.authority}"})
    client = proxy.client()
    ok(client.send(head("GET /path?x=1 HTTP/1.1", "Host: public.example")).response("GET"))
    ok(client.send(head("POST /p HTTP/1.1", "Host: public.example", "Content-Length: 2") + b"ab").response("POST"))
    origin.settle("2-")
    assert [r.target for r in origin.conns[0].requests] == ["/path?x=1", "/p"]
    assert origin.conns[0].requests[0].values("Host") in (["public.example"], [origin.authority])
    refused = connect(proxy, origin.authority).response()
    assert 400 <= refused.status < 600
    assert origin.total_requests() == 2


# -- roads that lead back

def bounded(proxy, before):
    until(lambda: proxy.fds() <= before + 2, lambda: f"{before} descriptors again; {proxy.fds()}")
    ledger = proxy.ledger()
    assert len([r for r in ledger if r["side"] == "upstream"]) <= 4, len(ledger)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "[::ffff:127.0.0.1]", "LOCALHOST", "localhost."])
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
@pytest.mark.parametrize("via", ["on", "off"])
def test_the_way_back_to_itself(daemon, host, method, via):
    proxy = daemon(settings={"proxy.via": via})
    before = proxy.fds()
    authority = f"{host}:{proxy.address[1]}"
    client = proxy.client()
    if method == "GET":
        response = client.ask(f"http://{authority}/").response()
    else:
        client.send(head(f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"))
        response = client.response("CONNECT")
    if host == "127.1" and response.status in (400, 502):
        return   # such spellings of an address need not be understood
    if host in ("localhost.", "[::ffff:127.0.0.1]") and response.status == 502:
        return   # a resolver's and a kernel's business: here they lead nowhere
    problem(response, 508)
    client.close()
    bounded(proxy, before)


def test_the_way_back_through_the_admin_endpoint_is_no_way(daemon):
    """The admin endpoint is not an origin for strangers: a proxied request to it is refused."""
    proxy = daemon()
    response = proxy.fetch(f"http://127.0.0.1:{proxy.admin[1]}/metrics")
    assert response.status in (403, 508), response


def test_a_daemon_that_listens_everywhere(daemon):
    proxy = daemon(settings={"proxy.listen": "0.0.0.0:0"})
    before = proxy.fds()
    for host in ("127.0.0.1", "127.0.0.2", "localhost"):
        problem(proxy.fetch(f"http://{host}:{proxy.address[1]}/"), 508)
    bounded(proxy, before)


def test_a_circle_of_two_daemons(daemon, serve):
    a_port, b_port = free_port(), free_port()
    a = daemon(settings={"proxy.listen": f"127.0.0.1:{a_port}", "proxy.mode": "reverse",
                         "proxy.upstream": f"http://127.0.0.1:{b_port}"})
    b = daemon(settings={"proxy.listen": f"127.0.0.1:{b_port}", "proxy.mode": "reverse",
                         "proxy.upstream": f"http://127.0.0.1:{a_port}"})
    before = a.fds(), b.fds()
    client = a.client()
    response = client.send(head("GET / HTTP/1.1", "Host: circle")).response("GET")
    problem(response, 508)
    client.close()
    for proxy, n in zip((a, b), before):
        until(lambda: proxy.fds() <= n + 3, lambda: f"{n} descriptors again; {proxy.fds()}")


# -- stop, reload, ledger

def wait_exit(proxy, timeout=DEADLINE):
    try:
        return proxy.process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise AssertionError("the daemon still runs:\n" + proxy.log()) from None


@pytest.fixture
def ending(start):
    """A daemon whose end is the test's own business."""
    from rig.subject import Connleakd
    made = []

    def make(**kwargs):
        proxy = Connleakd(**kwargs)
        made.append(proxy)
        return proxy
    yield make
    for proxy in made:
        if proxy.alive():
            proxy.process.kill()
        proxy.process.wait()
        assert "Sanitizer" not in proxy.log() and "runtime error:" not in proxy.log(), proxy.log()


def ready(proxy):
    try:
        proxy.get("/readyz")
        return True
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(ending, serve, number):
    """While draining, work goes on, new work included, until there was none for proxy.drain_quiet."""
    gate = Gate()

    def slow(conn, _request):
        gate.wait()
        conn.send(FIVE)
    proxy = ending(settings={"proxy.drain_quiet": "300ms", "proxy.drain_timeout": "1h"})
    origin = serve(by_path(slow=slow, fast=FIVE))
    running = proxy.client().ask(origin.url("/slow"))
    origin.wait_requests(1)
    assert ready(proxy)
    proxy.signal(number)
    until(lambda: not ready(proxy), "/readyz to turn 503")
    time.sleep(0.4)                                   # longer than drain_quiet: but a request runs
    response = ok(proxy.fetch(origin.url("/fast")))   # on a new connection
    assert not any("close" in value.lower() for value in response.values("Connection"))
    assert proxy.alive()
    begun = time.monotonic()
    gate.open()
    ok(running.response())
    assert wait_exit(proxy) == 0
    assert time.monotonic() - begun >= 0.3 - TICK
    origin.settle("1F", "1F", ordered=False)


def test_drain_timeout(ending, serve):
    proxy = ending(settings={"proxy.drain_quiet": "100ms", "proxy.drain_timeout": "400ms"})
    origin = serve(lambda conn: conn.read_request())
    client = proxy.client().ask(origin.url())
    origin.wait_requests(1)
    begun = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert wait_exit(proxy) == 0
    assert 0.4 - TICK <= time.monotonic() - begun < 20   # 30 s is the default
    assert not client.response().complete or client.response().status >= 500
    origin.settle("1F")


def test_second_sigterm_ends_at_once_and_loses_no_record(ending, serve, tmp_path):
    path = tmp_path / "ledger.jsonl"
    proxy = ending(settings={"proxy.drain_quiet": "1h", "proxy.drain_timeout": "1h", "ledger.file": path})
    origin = serve(by_path(fast=FIVE, never=lambda conn, _request: conn.drain()))
    ok(proxy.fetch(origin.url("/fast")))
    client = proxy.client().ask(origin.url("/never"))
    origin.wait_requests(2)
    proxy.signal(signal.SIGTERM)
    until(lambda: not ready(proxy), "/readyz to turn 503")
    proxy.signal(signal.SIGTERM)
    assert wait_exit(proxy) == 0
    client.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(r["requests"] for r in records if r["side"] == "upstream") == 2
    assert all(r["state"] == "closed" for r in records)


def test_ledger_file(ending, serve, tmp_path):
    """Every connection once, both sides, in valid lines, for nobody else's eyes."""
    path = tmp_path / "ledger.jsonl"
    old = os.umask(0)
    try:
        proxy = ending(settings={"ledger.file": path, "ledger.keep": "5", "proxy.drain_quiet": "10ms"})
    finally:
        os.umask(old)
    origin = serve(always(answer(fields=["Connection: close"])))
    for _ in range(50):
        ok(proxy.fetch(origin.url()))
    until(lambda: path.exists() and path.read_text().count("\n") >= 90, "records to be written while it runs")
    proxy.signal(signal.SIGTERM)
    assert wait_exit(proxy) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert text.endswith("\n")
    records = [json.loads(line) for line in text.splitlines()]
    assert len({r["id"] for r in records}) == len(records) == 100
    assert all(r["schema"] == "connleak.conn/1" and r["state"] == "closed" for r in records)
    up = [r for r in records if r["side"] == "upstream"]
    assert {r["local"].rsplit(":", 1)[1] for r in up} == {str(c.peer_port) for c in origin.conns}
    assert all(r["requests"] == 1 and r["close"]["reason"] == "response_close" and r["close"]["how"] == "fin" for r in up)


def test_ledger_file_reopened(ending, serve, tmp_path):
    path, moved = tmp_path / "ledger.jsonl", tmp_path / "ledger.1"
    proxy = ending(settings={"ledger.file": path, "proxy.drain_quiet": "10ms"})
    origin = serve(always(answer(fields=["Connection: close"])))
    ok(proxy.fetch(origin.url()))
    until(lambda: path.exists() and path.read_text().count("\n") == 2, "two records")
    path.rename(moved)
    proxy.signal(signal.SIGUSR1)
    until(path.exists, "the file to be opened anew")
    ok(proxy.fetch(origin.url()))
    until(lambda: path.read_text().count("\n") == 2, "two more records")
    proxy.signal(signal.SIGTERM)
    assert wait_exit(proxy) == 0
    assert moved.read_text().count("\n") == 2


def test_sighup(daemon, serve, tmp_path):
    conf = tmp_path / "connleakd.conf"
    conf.write_text("[pool]\nmax_idle_conns_per_host = 1\n")
    proxy = daemon(argv=("-c", str(conf)))
    gate = Gate()

    def script(conn):
        while True:
            conn.read_request()
            gate.wait()
            conn.send(FIVE)
    origin = serve(script)

    def burst(n, seen):
        clients = []
        for i in range(n):
            clients.append(proxy.client().ask(origin.url()))
            origin.wait_requests(seen + i + 1)
        gate.open()
        for client in clients:
            ok(client.response())
    burst(2, 0)
    origin.settle("1-", "1F", ordered=False)
    keeper = proxy.client().ask(origin.url())
    ok(keeper.response())
    conf.write_text("[pool]\nmax_idle_conns_per_host = nonsense\n")
    proxy.signal(signal.SIGHUP)
    until(lambda: "max_idle_conns_per_host" in proxy.log(), "the name of what is wrong")
    conf.write_text("[pool]\nmax_idle_conns_per_host = 5\n")
    proxy.signal(signal.SIGHUP)
    until(lambda: "max_idle_conns_per_host: 1 -> 5" in proxy.log(), proxy.log)
    seen = origin.total_requests()
    gate._event.clear()
    burst(4, seen)
    until(lambda: sum(1 for c in origin.conns if c.is_open) == 4, lambda: f"four idle: {origin.shape()}")
    ok(keeper.ask(origin.url()).response())   # no connection was dropped


def test_several_listeners(daemon, serve, tmp_path):
    path = tmp_path / "proxy.sock"
    proxy = daemon(settings={"proxy.listen": f"127.0.0.1:0, unix:{path}"})
    origin = serve(always(FIVE))
    ok(proxy.fetch(origin.url()))
    client = Client.__new__(Client)
    client.sock, client.buffer = socket.socket(socket.AF_UNIX), b""
    client.sock.settimeout(DEADLINE)
    client.sock.connect(str(path))
    ok(client.ask(origin.url()).response())
    origin.settle("2-")


def test_names_and_ipv6(daemon, serve):
    proxy = daemon()
    origin = serve(always(FIVE))
    ok(proxy.fetch(origin.url(host="localhost")))
    try:
        six = serve(always(FIVE), host="::1", family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")
    ok(proxy.fetch(six.url()))
