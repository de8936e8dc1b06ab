"""Much at once, too much at once, and what is left behind. CONNLEAK_FULL=1 runs the full sizes."""

import os
import random
import resource
import shutil
import socket
import threading
import time

import pytest

from rig import sockets, swarm
from rig.client import Client, Ended, fetch
from rig.nginx import Nginx
from rig.origin import always, answer, by_path, chunk, head
from rig.subject import DAEMON
from rig.wait import DEADLINE, Gate, until

FULL = os.environ.get("CONNLEAK_FULL") == "1"
FIVE = answer(b"hello")


@pytest.fixture(autouse=True)
def many_descriptors():
    """The tests themselves need some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def sanitized():
    with open(DAEMON, "rb") as program:
        return b"__asan_init" in program.read()


def settled_fds(proxy, at_most):
    until(lambda: proxy.fds() <= at_most,
          lambda: f"{at_most} descriptors again; {proxy.fds()}: "
                  f"{sorted(os.readlink(f'/proc/{proxy.pid}/fd/{n}') for n in os.listdir(f'/proc/{proxy.pid}/fd'))}")


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here")
@pytest.mark.parametrize("size", [1000, 30_000])
def test_many_clients_through_nginx(daemon, tmp_path, size):
    """200 clients, 500 requests each: no error, no descriptor left, and a second round needs no more memory."""
    clients, each = 200, 500 if FULL else 25
    body = b"n" * size
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(body)
    with Nginx(tmp_path) as nginx:
        proxy = daemon(max_idle_conns_per_host=100)
        fetch(proxy.address, nginx.url("/file"))
        request = head(f"GET {nginx.url('/file')} HTTP/1.1", f"Host: 127.0.0.1:{nginx.port}")
        rounds = []
        for _ in range(2):
            right, wrong = swarm.run(proxy.address, request, swarm.body_check(body), clients, each)
            assert not wrong and right == clients * each, wrong[:5]
            until(lambda: proxy.get("/metrics")["downstream"]["open"] == 0, "all clients to be gone")
            rounds.append((proxy.rss(), proxy.fds()))
        if not sanitized():      # AddressSanitizer keeps what was freed
            assert rounds[1][0] <= rounds[0][0] * 1.1 + (1 << 20), rounds
        # Dials that nobody waited for any more may still be under way.
        until(lambda: (p := proxy.get("/metrics")["pool"])["open"] == p["idle"], lambda: proxy.get("/metrics")["pool"])
        metrics = proxy.get("/metrics")
        assert metrics["upstream"]["requests"] == metrics["upstream"]["responses"] == 1 + 2 * clients * each
        assert metrics["upstream"]["dial_errors"] == metrics["upstream"]["early_body_closes"] == 0
        assert metrics["pool"]["active"] == metrics["pool"]["dialing"] == metrics["pool"]["waiting"] == 0
        assert metrics["pool"]["open"] == metrics["pool"]["idle"] <= 100
        proxy.close_idle()
        until(lambda: proxy.get("/metrics")["pool"]["open"] == 0, "idle connections to close")
        settled_fds(proxy, rounds[1][1])


def limited(n):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))


def attempts(address, request, n, at_once=500):
    """n connections one after the other, at_once at a time: each sends the request and waits to be answered and closed.
    Returns how many were answered by which status ('' for none)."""
    import selectors
    seen, left = {}, n
    selector = selectors.DefaultSelector()
    while left or selector.get_map():
        while left and len(selector.get_map()) < at_once:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            selector.register(sock, selectors.EVENT_WRITE, bytearray())
            left -= 1
        for key, events in selector.select(5):
            sock, got = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE:
                    sock.send(request)
                    selector.modify(sock, selectors.EVENT_READ, got)
                    continue
                data = sock.recv(65536)
            except OSError:
                data = b""
            got += data
            if not data or b"\r\n\r\n" in got:
                status = bytes(got[9:12]).decode() if got.startswith(b"HTTP/") else ""
                seen[status] = seen.get(status, 0) + 1
                selector.unregister(sock)
                sock.close()
    return seen


def test_twenty_thousand_connections_at_1024_descriptors(daemon, serve):
    gate = Gate()

    def slow(conn, _request):
        gate.wait(120)
        conn.send(FIVE)
    origin = serve(by_path(slow=slow, fast=FIVE))
    proxy = daemon(preexec=limited(1024))
    working = [proxy.client().ask(origin.url("/slow")) for _ in range(50)]
    origin.wait_requests(50)
    keeper = proxy.client()
    assert keeper.ask(origin.url("/fast")).response().body == b"hello"
    # Fill it up with clients that say nothing, until one is turned away.
    idle, refused, begun = [], 0, len(working) + 1
    while len(idle) < 2000 and not refused:
        batch = [proxy.client() for _ in range(100)]
        begun += len(batch)
        until(lambda: sum(proxy.get("/metrics")["downstream"][n] for n in ("accepted", "rejected")) >= begun, "all of them to be seen")
        for client in batch:
            client.sock.setblocking(False)
            try:
                data = client.sock.recv(100)
                refused += 1
                assert data in (b"",) or data.startswith(b"HTTP/1.1 503 "), data
            except BlockingIOError:
                idle.append(client)
            except ConnectionResetError:
                refused += 1
    assert refused and len(idle) < 1024
    begun = time.monotonic()
    seen = attempts(proxy.address, head(f"GET {origin.url('/fast')} HTTP/1.1", f"Host: {origin.authority}"), 20_000)
    took = time.monotonic() - begun
    assert proxy.alive() and sum(seen.values()) == 20_000 and seen.get("503", 0) > 15_000, seen
    assert took < 200, took
    assert proxy.fds() < 1024
    # Those it has are served all the while, on descriptors that they have already.
    assert keeper.ask(origin.url("/fast")).response().body == b"hello"
    gate.open()
    for client in working:
        assert client.response().body == b"hello"
    assert any(word in proxy.log() for word in ("descriptor", "max_clients", "limit")), proxy.log()
    assert len(proxy.err) < 20, proxy.log()[:3000]      # and does not say so 20,000 times
    assert proxy.get("/metrics")["downstream"]["rejected"] >= 15_000
    for client in idle + working + [keeper]:
        client.close()
    until(lambda: proxy.fetch(origin.url("/fast")).body == b"hello", "service again")
    until(lambda: proxy.get("/metrics")["downstream"]["open"] == 0, "all clients to be gone")
    settled_fds(proxy, 80)


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors_at_all(daemon, serve):
    """The limit is taken away while it runs: accept() and socket() fail. It neither spins nor ends, and recovers."""
    proxy, origin = daemon(), serve(always(FIVE))
    keeper = proxy.client()
    assert keeper.ask(origin.url()).response().body == b"hello"
    soft, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    highest = max(int(n) for n in os.listdir(f"/proc/{proxy.pid}/fd"))
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    waiting = []
    for _ in range(20):
        sock = socket.socket()
        sock.settimeout(DEADLINE)
        sock.connect(proxy.address)
        waiting.append(sock)
    used, since = cpu(proxy.pid), time.monotonic()
    time.sleep(0.7)
    assert cpu(proxy.pid) - used < 0.5 * (time.monotonic() - since), "it spins on accept()"
    assert keeper.ask(origin.url()).response().body == b"hello"      # nothing new is needed for this
    assert proxy.alive()
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (soft, hard))
    for sock in waiting:
        sock.close()
    until(lambda: proxy.fetch(origin.url()).body == b"hello", "service again")
    assert "descriptor" in proxy.log() or "files" in proxy.log(), proxy.log()


def test_no_descriptor_for_a_dial(daemon, serve):
    """Where only the dial fails, the client is told."""
    proxy, origin = daemon(), serve(always(FIVE))
    client = proxy.client()
    client.send("GET ")
    sockets.wait_all_read(client.sock)
    time.sleep(0.05)
    soft, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    highest = max(int(n) for n in os.listdir(f"/proc/{proxy.pid}/fd"))
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    client.send(f"{origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n")
    response = client.response("GET")
    assert response.status == 503 and response.value("Proxy-Status"), response
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert client.ask(origin.url()).response().body == b"hello"


def test_max_clients(daemon, serve):
    proxy, origin = daemon(settings={"proxy.max_clients": "3"}), serve(always(FIVE))
    held = [proxy.client() for _ in range(3)]
    for client in held:
        assert client.ask(origin.url()).response().body == b"hello"
    more = proxy.client()
    response = more.response("GET")
    assert response.status == 503 and response.value("Content-Type") == "application/problem+json", response
    assert more.wait_end() in "FR"
    held.pop().close()
    until(lambda: proxy.fetch(origin.url()).status == 200, "a place to be free again")
    assert held[0].ask(origin.url()).response().body == b"hello"


@pytest.mark.parametrize("seed", range(30 if FULL else 3))
def test_chaos(daemon, serve, seed):
    """Clients and an origin that do anything, many at once. Afterwards nothing is left, and the books balance."""
    def script(conn):
        r = random.Random(f"{seed} {conn.index}")
        conn.patience = 1
        while True:
            try:
                request = conn.read_head()
            except (ValueError, IndexError):      # a body that it has not read, or what came through a tunnel
                conn.fin()
                return
            if r.random() < 0.9:
                conn.read_body(request)
            what = r.randrange(16)
            if what == 0:
                conn.rst()
            elif what == 1:
                conn.fin()
                return
            elif what == 2:
                conn.send(b"garbage\r\n\r\n" * r.randint(1, 1000))
                return
            elif what == 3:
                conn.send(head("HTTP/1.1 200 OK", "Content-Length: 100000") + b"c" * r.randrange(100_000))
                conn.rst() if r.random() < 0.5 else conn.fin()
                return
            elif what == 4:
                conn.send(FIVE + b"j" * r.choice([1, 5000, 100_000]))
            elif what == 5:
                conn.send(head("HTTP/1.1 200 OK") + b"e" * r.randrange(200_000))
                conn.fin()
                return
            elif what == 6:
                conn.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
                          + b"".join(chunk(b"k" * r.randint(1, 9000)) for _ in range(20)) + b"0\r\n\r\n")
            elif what == 7:
                conn.send(answer(b"b" * 3_000_000))
            elif what == 8:
                time.sleep(r.random() * 0.1)
                conn.send(FIVE)
            elif what == 9:
                conn.send(head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: foo") + b"up")
            else:
                conn.send(FIVE)

    def client(number):
        r = random.Random(f"{seed} client {number}")
        for _ in range(12):
            try:
                with Client(proxy.address, rcvbuf=r.choice([None, None, 4096])) as c:
                    c.sock.settimeout(0.5)
                    for _ in range(r.randint(1, 3)):
                        kind = r.randrange(10)
                        if kind == 0:
                            c.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\nGET / HTTP/1.1\r\n\r\n")
                        elif kind == 1:
                            c.send(f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\n"[:r.randrange(60)])
                        elif kind == 2:
                            c.ask(origin.url(), "POST", body=b"u" * r.randrange(300_000))
                        elif kind == 3:
                            c.send(head(f"POST {origin.url()} HTTP/1.1", f"Host: {origin.authority}", "Transfer-Encoding: chunked")
                                   + r.choice([b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"zz\r\n", b"5\r\nhello\r\n"]))
                        elif kind == 4:
                            c.ask(origin.url(), fields=["Connection: Upgrade", "Upgrade: foo"])
                        elif kind == 5:
                            c.ask(origin.url())
                            c.ask(origin.url())
                        else:
                            c.ask(origin.url())
                        end = r.randrange(6)
                        if end == 0:
                            return c.rst()
                        if end == 1:
                            break
                        if end == 2:
                            c.half_close()
                        if end == 3:
                            c.read_exactly(r.randint(1, 2000))
                        else:
                            c.response()
            except (OSError, Ended, ValueError, IndexError):
                pass
    origin = serve(script)
    proxy = daemon(max_idle_conns_per_host=5, max_conns_per_host=random.Random(seed).choice([0, 0, 8]),
                   settings={"proxy.header_timeout": "2s"})
    before = proxy.fds()
    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()

    def still_open():
        return [r for r in proxy.ledger() if r["state"] != "closed"]
    until(lambda: proxy.get("/metrics")["downstream"]["open"] == 0, lambda: f"all clients to be gone: {still_open()}")
    until(lambda: (p := proxy.get("/metrics")["pool"])["active"] == p["dialing"] == 0, lambda: f"nothing to be active: {still_open()}")
    pool = proxy.get("/metrics")["pool"]
    assert pool["dialing"] == pool["waiting"] == 0 and pool["open"] == pool["idle"] <= 5, pool
    proxy.close_idle()
    until(lambda: proxy.get("/metrics")["pool"]["open"] == 0, lambda: f"idle ones to close: {proxy.get('/metrics')['pool']}")
    def unended():
        ports = [conn.peer_port for conn in origin.conns if not conn.ended.is_set()]
        return [r for r in proxy.ledger() if r["local"] and int(r["local"].rsplit(":", 1)[1]) in ports]
    until(lambda: all(conn.ended.is_set() for conn in origin.conns), lambda: f"all ends: {origin.shape()}: {unended()}")
    settled_fds(proxy, before + 8)      # pipes kept at hand

    # The books: what the ledger says of each connection is what the origin saw of it.
    rows = {int(r["local"].rsplit(":", 1)[1]): r for r in proxy.ledger() if r["side"] == "upstream" and r["local"]}
    for conn in origin.conns:
        row = rows[conn.peer_port]
        assert row["state"] == "closed"
        if row["close"]["reason"] not in ("tunnel", "upgraded"):
            assert row["requests"] >= len(conn.requests), (row, conn.shape())
        # An RST that unread bytes caused is seen; one seen may also answer bytes that came after the FIN, and
        # an RST by the origin may find the connection closed already.
        if row["rst_sent"] and row["close"]["reason"] not in ("tunnel", "upgraded"):    # these pass resets on
            assert row["unread_bytes"] > 0, row
            assert row["close"]["how"] == "rst" or row["close"]["by"] == "remote", row
            assert conn.own_end or conn.peer_end == "R", (row, conn.shape())
        if row["rst_received"]:
            assert conn.own_end, (row, conn.shape())
