"""Peers that end, stall or say too much at a moment that is awkward, and what must not come of it: a crash, bytes
that belong to somebody else, a descriptor or a request that stays. Most of it is worth most with CONNLEAKD=build/san/connleakd."""

import socket

import pytest

from rig import sockets
from rig.client import Client, fetch
from rig.origin import always, answer, by_path, chunked, connections, head
from rig.wait import Gate, until

FIVE = answer(b"hello")
HINTS = head("HTTP/1.1 103 Early Hints", "Link: </style.css>")


def piecewise(*pieces):
    """A script: answer every request with these pieces, each sent when the one before it has been read."""
    def script(conn):
        while True:
            conn.read_request()
            for piece in pieces:
                conn.send(piece)
                conn.wait_read()
    return script


@pytest.mark.parametrize("cut", [1, 9, 17, 25, 37])
def test_body_bytes_behind_a_head_that_came_in_pieces(daemon, serve, cut):
    whole = answer(bytes(range(256)) * 8)
    origin = serve(piecewise(whole[:cut], whole[cut:]))
    proxy = daemon()
    client = proxy.client()
    for _ in range(3):
        assert client.ask(origin.url()).response().body == bytes(range(256)) * 8
    origin.settle("3-")


def test_interim_heads_of_a_failed_exchange_reach_nobody_else(daemon, serve):
    origin = serve(by_path(many=HINTS * 6 + FIVE, plain=FIVE))
    proxy = daemon()
    assert fetch(proxy.address, origin.url("/many")).status == 502
    response = fetch(proxy.address, origin.url("/plain"))
    assert (response.status, response.interim, response.body) == (200, [], b"hello")


def test_many_max_forwards_fields(daemon, serve):
    """Only one goes on; a thousand times the first's number once did not fit where the head was written."""
    origin = serve(always(FIVE))
    proxy = daemon()
    client = proxy.client().ask(origin.url(), "OPTIONS", ["Max-Forwards: 99999999"] + ["Max-Forwards:1"] * 860)
    assert client.response().body == b"hello"
    assert origin.conns[0].requests[0].values("Max-Forwards") == ["99999998"]


def test_what_follows_a_request_survives_a_write_that_fails(daemon, serve):
    """The rest of the upload and the next request come in one read; the origin answered and reset meanwhile. The
    answer is read at that moment, and must not take the place of the client's bytes."""
    def early(conn):
        conn.read_head()
        gate.wait()
        conn.sock.sendall(answer(b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n" * 20, status="413 No"))
        conn.rst()
    gate = Gate()
    origin = serve(connections(early, always(FIVE)))
    proxy = daemon()
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 1000"))
    origin.wait_requests(1)
    proxy.signal(19)  # what comes next, comes at once
    gate.open()
    until(lambda: origin.conns[0].ended.is_set(), "the origin's reset")
    client.send(b"x" * 1000 + head(f"GET {origin.url('/b')} HTTP/1.1", f"Host: {origin.authority}"))
    proxy.signal(18)
    first = client.response()
    assert first.status in (413, 502)
    if first.value("Connection") != "close":
        assert client.response().body == b"hello"
    seen = [request.target for conn in origin.conns for request in conn.requests]
    assert seen in (["/a"], ["/a", "/b"]), seen


def test_a_second_answer_while_the_upload_is_unfinished(daemon, serve):
    """The answer is complete, the request is not: what comes behind it belongs to no request."""
    def early(conn):
        conn.read_head()
        conn.send(FIVE)
        got.wait()
        conn.send(answer(b"WRONG"))
    got = Gate()
    origin = serve(connections(early, always(answer(b"right"))))
    proxy = daemon()
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 10") + b"12345")
    assert client.response().body == b"hello"
    got.open()
    origin.conns[0].wait_read()
    client.send(b"67890")
    assert client.ask(origin.url("/b")).response().body == b"right"


def test_bytes_behind_an_answer_that_overtook_its_request(daemon, serve):
    """They came with it, and the request was finished within the 50 ms after it: the connection is not kept."""
    def early(conn):
        conn.read_head()
        conn.send(FIVE + b"surplus")
        conn.read_exactly(10)
    origin = serve(connections(early, always(FIVE)))
    proxy = daemon()
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 10") + b"12345")
    assert client.response().body == b"hello"
    client.send(b"67890")
    assert client.ask(origin.url("/b")).response().body == b"hello"
    until(lambda: "unsolicited_response" in proxy.get("/metrics")["upstream"]["closes"] or
          "upload_unfinished" in proxy.get("/metrics")["upstream"]["closes"],
          lambda: proxy.get("/metrics")["upstream"]["closes"])
    assert len(origin.conns) == 2


def test_an_upload_that_breaks_after_a_complete_answer(daemon, serve):
    """An HTTP/1.0 client has its answer whole; that the origin then resets is no reason to reset the client."""
    def early(conn):
        conn.read_head()
        conn.send(chunked(b"whole"))
        conn.wait_read()
        conn.rst()
    origin = serve(early)
    proxy = daemon()
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.0", f"Host: {origin.authority}", "Content-Length: 100000") + b"1")
    client.read_head()
    until(lambda: origin.conns[0].ended.is_set(), "the origin's reset")
    try:
        for _ in range(20):
            client.send(b"x" * 1000)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert client.read_exactly(5) == b"whole"


def test_a_client_that_leaves_during_a_pipelined_request_is_noticed(daemon, serve):
    origin = serve(by_path(fast=FIVE, slow=lambda conn, _: conn.drain()))
    proxy = daemon()
    client = proxy.client()
    client.ask(origin.url("/fast/1"))
    one = head(f"GET {origin.url('/fast/2')} HTTP/1.1", f"Host: {origin.authority}")
    two = head(f"GET {origin.url('/slow')} HTTP/1.1", f"Host: {origin.authority}")
    client.response()
    client.send(one + two)
    assert client.response().body == b"hello"
    origin.wait_requests(3)
    client.rst()
    origin.settle("3F")
