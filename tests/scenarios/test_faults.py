"""Peers that end, stall or say too much at a moment that is awkward, and what must not come of it: a crash, bytes
that belong to somebody else, a descriptor or a request that stays. Most of it is worth most with CONNLEAKD=build/san/connleakd."""

import shutil
import signal
import socket
import subprocess
import time

import pytest

from rig import sockets
from rig.client import fetch
from rig.origin import always, answer, by_path, chunked, connections, head
from rig.subject import DAEMON, Connleakd, free_port
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
        sent.open()
    got, sent = Gate(), Gate()
    origin = serve(connections(early, always(answer(b"right"))))
    proxy = daemon()
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 10") + b"12345")
    assert client.response().body == b"hello"
    got.open()
    sent.wait()
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


# --- every offset ---

SPARE = 6  # pipes that wait for their next use, and the admin connection that is asking


def is_quiet(proxy):
    metrics = proxy.get("/metrics")
    pool = metrics["pool"]
    return (pool["active"] == pool["dialing"] == pool["waiting"] == 0 and metrics["downstream"]["open"] == 0 and
            metrics["tunnels"]["open"] == 0)


def all_given_back(proxy, fds):
    """Nothing runs, nothing is open, and ledger, pool and descriptors say the same."""
    until(lambda: is_quiet(proxy), lambda: f"quiet: {proxy.get('/metrics')}")
    proxy.close_idle()
    until(lambda: proxy.get("/metrics")["pool"]["open"] == 0, "idle connections to close")
    until(lambda: not [r for r in proxy.ledger() if r["state"] != "closed"], "all records to be closed")
    until(lambda: proxy.fds() <= fds + SPARE, lambda: f"{fds} descriptors again; there are {proxy.fds()}")


def cut_client(proxy, data, cut, how):
    """Sends data up to a cut, and leaves."""
    client = proxy.client()
    client.sock.settimeout(0.3 if how == "half" else 5)
    client.send(data[:cut])
    if how == "half":
        client.half_close()
        try:
            while client.sock.recv(65536):
                pass
        except OSError:
            pass
    if how == "rst":
        client.rst()
    else:
        client.close()


EXCHANGES = {
    "get": ["GET {url}plain HTTP/1.1", "Host: {host}"],
    "post": ["POST {url}plain HTTP/1.1", "Host: {host}", "Content-Length: 20"],
    "chunked": ["POST {url}plain HTTP/1.1", "Host: {host}", "Transfer-Encoding: chunked"],
    "expect": ["PUT {url}plain HTTP/1.1", "Host: {host}", "Content-Length: 20", "Expect: 100-continue"],
    "connect": ["CONNECT {host} HTTP/1.1", "Host: {host}"],
}
TAILS = {"get": b"", "post": b"b" * 20, "chunked": b"5\r\nbbbbb\r\nf;x=y\r\n" + b"c" * 15 + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
         "expect": b"b" * 20, "connect": b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"}


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
@pytest.mark.parametrize("name", list(EXCHANGES))
def test_a_client_that_ends_behind_every_byte(daemon, serve, name, how):
    origin = serve(by_path(plain=FIVE))
    proxy = daemon()
    fetch(proxy.address, origin.url("/plain"))
    lines = [line.format(url=origin.url("/"), host=origin.authority) for line in EXCHANGES[name]]
    data = head(*lines) + TAILS[name]
    if name != "connect":
        data += head(f"GET {origin.url('/plain')} HTTP/1.1", f"Host: {origin.authority}")[:50]
    fds = proxy.fds()
    for cut in range(0, len(data) + 1, 3 if how == "half" else 1):
        cut_client(proxy, data, cut, how)
    all_given_back(proxy, fds)
    assert fetch(proxy.address, origin.url("/plain")).body == b"hello"


ANSWERS = {
    "length": HINTS + answer(b"0123456789"),
    "chunked": chunked(b"01234", b"56789", trailer=["X-Sum: 1"]),
    "until-eof": head("HTTP/1.0 200 OK") + b"0123456789",
    "continue": head("HTTP/1.1 100 Continue") + answer(b"0123456789"),
    "switch": head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: foo") + b"0123456789",
}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("name", list(ANSWERS))
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_origin_that_ends_behind_every_byte(daemon, serve, name, how, version):
    """No crash, nothing left open, and what was cut never looks whole."""
    data = ANSWERS[name]

    def script(conn):
        request = conn.read_head()
        if request.value("Content-Length") and name != "continue":
            conn.read_body(request)
        cut = int(request.target.strip("/"))
        conn.send(data[:cut])
        if how == "rst":
            conn.wait_read()
            conn.rst()
        conn.fin()
    origin = serve(script)
    proxy = daemon()
    fds = proxy.fds()
    method, body = ("POST", b"b" * 10) if name == "continue" else ("GET", None)
    fields = ["Expect: 100-continue"] if name == "continue" else []
    if name == "switch":
        fields = ["Connection: Upgrade", "Upgrade: foo"]
    for cut in range(len(data) + 1):
        response = fetch(proxy.address, origin.url(f"/{cut}"), method, fields, body, version)
        whole = cut == len(data)
        if name == "until-eof":
            whole = cut >= data.index(b"\r\n\r\n") + 4 and how == "fin"
        if name == "switch":
            assert response.status in (101, 502)
        elif whole:
            assert response.complete and (name == "until-eof" or response.body == b"0123456789"), (cut, response)
        else:
            assert response.status == 502 or not response.complete, (cut, response)
    all_given_back(proxy, fds)


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "switch"])
def test_an_answer_in_two_pieces_cut_at_every_byte(daemon, serve, name):
    data = ANSWERS[name]

    def script(conn):
        while True:
            request = conn.read_head()
            cut = int(request.target.strip("/"))
            conn.send(data[:cut])
            conn.wait_read()
            conn.send(data[cut:])
            if name == "until-eof":
                conn.fin()
                return
            if request.value("Content-Length"):
                conn.read_body(request)
    origin = serve(script)
    proxy = daemon()
    fds = proxy.fds()
    for cut in range(len(data) + 1):
        for version in ("1.1", "1.0"):
            response = (fetch(proxy.address, origin.url(f"/{cut}"), "POST", ["Expect: 100-continue"], b"b" * 10, version)
                        if name == "continue" else fetch(proxy.address, origin.url(f"/{cut}"), version=version))
            assert response.complete and response.body == b"0123456789", (cut, version, response)
    all_given_back(proxy, fds)


def test_the_rest_of_an_answered_request_may_not_take_for_ever(daemon, serve):
    def early(conn):
        conn.read_head()
        conn.send(FIVE)
    origin = serve(early)
    proxy = daemon(settings={"proxy.client_idle_timeout": "1s"})
    client = proxy.client()
    client.send(head(f"POST {origin.url('/a')} HTTP/1.1", f"Host: {origin.authority}", "Content-Length: 1000") + b"12345")
    assert client.response().body == b"hello"
    assert client.wait_end() == "F"
    until(lambda: is_quiet(proxy), "the client's connection to be gone")


def test_a_client_that_leaves_during_what_it_pipelined_early_is_noticed(daemon, serve):
    """Its second request came while the first was running, which stops the reading; for the second it is read again."""
    gate = Gate()

    def fast(conn, _request):
        gate.wait()
        conn.send(FIVE)
    origin = serve(by_path(fast=fast, slow=lambda conn, _: conn.drain()))
    proxy = daemon()
    client = proxy.client().ask(origin.url("/fast"))
    origin.wait_requests(1)
    client.ask(origin.url("/slow"))
    sockets.wait_all_read(client.sock)
    gate.open()
    assert client.response().body == b"hello"
    origin.wait_requests(2)
    client.rst()
    origin.settle("2F")


def test_new_limits_hold_for_parsers_that_were_in_use(daemon, serve, tmp_path):
    file = tmp_path / "c.conf"
    file.write_text("[proxy]\nmax_request_header_bytes = 64k\n")
    origin = serve(always(FIVE))
    proxy = daemon(argv=["-c", str(file)])
    client = proxy.client().send(f"GET {origin.url()} HTTP/1.1\r\n")
    sockets.wait_all_read(client.sock)
    file.write_text("[proxy]\nmax_request_header_bytes = 2k\n")
    proxy.signal(1)
    until(lambda: "read again" in proxy.log(), proxy.log)
    client.send(f"Host: {origin.authority}\r\n\r\n")
    assert client.response().status == 200
    for _ in range(3):
        assert fetch(proxy.address, origin.url(), fields=["X-Long: " + "x" * 3000]).status == 431


def test_an_endless_chunked_body_is_drained_only_so_far(daemon, serve):
    """Profile go1.27: 256 KiB, however fast the rest would come."""
    def endless(conn):
        conn.read_head()
        conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        conn.send_forever(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    origin = serve(endless)
    proxy = daemon(profile="go1.27")
    client = proxy.client().ask(origin.url())
    client.read_head()
    client.rst()
    until(lambda: origin.conns[0].ended.is_set(), "the daemon to give up")
    record = until(lambda: [r for r in proxy.ledger() if r["side"] == "upstream" and r["state"] == "closed"], "a record")[0]
    assert record["close"]["reason"] == "early_close"
    assert record["last_body"]["read"] < 8 << 20


def test_a_dial_that_a_shutdown_starts_ends_with_it(serve):
    """Profile go1.27: a place that becomes free goes to the next in line, though that one leaves too."""
    origin = serve(by_path(slow=lambda conn, _: conn.drain()))
    proxy = Connleakd(profile="go1.27", max_conns_per_host=1)
    clients = [proxy.client().ask(origin.url("/slow")) for _ in range(3)]
    proxy.wait_waiting(2)
    proxy.signal(15)
    for client in clients:
        client.wait_end()
    until(lambda: not proxy.alive(), "the daemon to end")
    assert proxy.process.returncode == 0, proxy.log()
    assert "Sanitizer" not in proxy.log(), proxy.log()


def test_a_dial_that_is_given_up_when_its_handshake_was_through_says_so(daemon):
    """The kernel had connected and the daemon was not told yet when its client left: what went out was a FIN."""
    proxy = daemon()
    with socket.create_server(("127.0.0.1", 0)) as origin:
        client = proxy.client()
        proxy.signal(signal.SIGSTOP)
        client.send(head(f"GET http://127.0.0.1:{origin.getsockname()[1]}/ HTTP/1.1", "Host: a"))
        client.close()
        proxy.signal(signal.SIGCONT)
        origin.settimeout(60)
        conn, address = origin.accept()
        with conn:
            conn.settimeout(60)
            while conn.recv(65536):
                pass
    record = until(lambda: [r for r in proxy.ledger() if r["side"] == "upstream" and r["state"] == "closed"], "its record")[0]
    assert record["local"] == f"{address[0]}:{address[1]}"
    assert record["close"]["by"] == "local" and record["close"]["how"] == "fin" and record["dial_ms"] is not None, record


@pytest.mark.parametrize("at", range(8))
def test_a_second_signal_at_any_moment_of_the_end(at):
    proxy = Connleakd()
    proxy.signal(15)
    until(lambda: "draining" in proxy.log(), proxy.log)
    time.sleep(0.08 + at * 0.005)  # around the moment at which the drain ends: proxy.drain_timeout is 100 ms here
    if proxy.alive():
        proxy.signal(15)
    until(lambda: not proxy.alive(), "the daemon to end")
    assert proxy.process.returncode == 0, proxy.log()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate here")
def test_a_socket_of_the_wrong_kind_is_refused():
    """Accepting on it would fail for ever."""
    port = free_port()
    process = subprocess.Popen(["systemd-socket-activate", "-d", "-l", f"127.0.0.1:{port}", "--fdname=proxy", DAEMON,
                                "--set", "admin.listen=127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def ended():
        sender.sendto(b"x", ("127.0.0.1", port))
        return process.poll() is not None
    try:
        until(ended, "the daemon to refuse the socket", pause=0.02)
        assert process.returncode == 1
        assert "not a listening stream socket" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
