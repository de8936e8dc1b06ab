"""The admin endpoint of a live daemon: its numbers against the ledger's records, against
what the origin saw, and against the kernel; its readers, the slow and the hostile."""

import collections
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from rig import schema
from rig.client import Background, Client
from rig.wait import DEADLINE, TICK, Gate, until

LARGE = 30_000_000  # more than all socket buffers on the way can hold


def serve_all(conn):
    """An origin that answers /N with N bytes, for as long as it is asked."""
    while True:
        request = conn.read_request()
        size = int(request.path.strip("/") or 0)
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
        for at in range(0, size, 65536):
            conn.send(b"x" * min(65536, size - at))


def admin_client(daemon, **kwargs):
    return Client(daemon.admin, **kwargs)


def admin_ask(daemon, target, method="GET", fields=(), host="localhost", client=None, version="1.1"):
    """One request to the admin endpoint as it stands; the rig's Response."""
    client = client or admin_client(daemon)
    hosts = [f"Host: {host}"] if host else []
    client.method = method
    client.send("\r\n".join([f"{method} {target} HTTP/{version}", *hosts, *fields]) + "\r\n\r\n")
    return client.response()


def leave_early(daemon, url):
    """A client that reads a head and 1,000 bytes, and leaves when the rest is held up on the way to it: an
    RST of its own, and one of the daemon's, whose socket has bytes by then that it may not read ahead."""
    with daemon.client() as client:
        client.ask(url).read_head()
        client.read_exactly(1000)
        client.sock.recv(1, socket.MSG_PEEK)
        seen = []
        def stands_still():
            rows = daemon.get("/connections?side=upstream&state=active")["connections"]
            seen.append(sum(row["bytes_in"] for row in rows))
            return len(seen) > 10 and len(set(seen[-10:])) == 1
        until(stands_still, lambda: str(seen[-3:]))


def settled(daemon):
    """The metrics once no client is connected and no request is under way."""
    def quiet():
        metrics = daemon.get("/metrics")
        return metrics if metrics["downstream"]["open"] == 0 and metrics["pool"]["active"] == 0 else None
    return until(quiet, lambda: daemon.get("/metrics"))


def sums_of(records):
    """What /metrics must say, computed from nothing but records."""
    closed = [r for r in records if r["state"] == "closed"]

    def total(field):
        return sum(r[field] or 0 for r in records)

    return {
        "requests": total("requests"), "responses": total("responses"), "reused": total("reused"),
        "early_body_closes": total("early_closes"), "rst_sent_unread": sum(r["rst_sent"] is True for r in closed),
        "unread_bytes": sum(r["unread_bytes"] for r in closed if r["rst_sent"]), "rst_received": total("rst_received"),
        "bytes_in": total("bytes_in"), "bytes_out": total("bytes_out"),
        "closes": dict(collections.Counter(r["close"]["reason"] for r in closed)),
    }


def agree(metrics, records):
    """Every number of /metrics is the one that the records add up to."""
    for side, begun in (("upstream", "dials"), ("downstream", "accepted")):
        here = [r for r in records if r["side"] == side]
        said = metrics[side]
        for name, value in sums_of(here).items():
            assert said[name] == value, f"{side}.{name}"
        assert said[begun] == len(here)
        assert said["reuse_ratio"] == (round(said["reused"] / said["requests"], 4) if said["requests"] else None)
    up = [r for r in records if r["side"] == "upstream"]
    assert metrics["upstream"]["retries"] == sum(r["retries"] for r in up)
    assert metrics["upstream"]["dial_errors"] == sum(r["dial_ms"] is None and r["state"] == "closed" for r in up)
    states = collections.Counter(r["state"] for r in up)
    for name in ("idle", "active", "dialing"):
        assert metrics["pool"][name] == states[name], name


def traffic(daemon, origin, healthy=30, early=5):
    with daemon.client() as client:
        for i in range(healthy):
            assert client.ask(origin.url(f"/{i}")).response().status == 200
    for _ in range(early):
        leave_early(daemon, origin.url(f"/{LARGE}"))


def test_metrics_are_what_records_and_origin_say(daemon, serve):
    origin, dead = serve(serve_all), serve(serve_all)
    dead.close_listener()
    proxy = daemon()
    traffic(proxy, origin)
    assert proxy.fetch(dead.url("/1")).status == 502
    assert proxy.fetch(origin.url("/1"), version="1.0").status == 200
    metrics = settled(proxy)
    schema.check(metrics, schema.load("connleak.metrics-1.json"))
    agree(metrics, proxy.ledger())
    up, down = metrics["upstream"], metrics["downstream"]
    assert up["requests"] == sum(len(conn.requests) for conn in origin.conns) == 36
    assert up["dials"] == len(origin.conns) + 1 and up["dial_errors"] == 1
    assert up["early_body_closes"] == down["early_body_closes"] == 5
    assert up["closes"] == {"early_close": 5, "dial_error": 1}
    assert down["accepted"] == 8 and down["requests"] == 37 and down["reused"] == 29
    assert metrics["findings"]["open"] == sum(metrics["findings"]["by_kind"].values()) and down["held"] == 0


def test_metrics_before_any_traffic(daemon):
    metrics = daemon().get("/metrics")
    schema.check(metrics, schema.load("connleak.metrics-1.json"))
    assert metrics["upstream"]["reuse_ratio"] is None
    assert metrics["upstream"]["wait_ms"] == {"p50": None, "p99": None, "max": None}
    assert metrics["upstream"]["closes"] == {}


def echo_four(conn):
    conn.send(conn.read_exactly(4))


def open_tunnel(client, origin):
    client.method = "CONNECT"
    client.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n")
    assert client.response().status == 200
    client.send("ping")
    assert client.read_exactly(4) == b"ping"


def test_records_are_what_their_schema_says(daemon, serve):
    record_schema = schema.load("connleak.conn-1.json")
    origin, proxy = serve(serve_all), daemon()
    with proxy.client() as open_one:
        assert open_one.ask(origin.url("/5")).response().status == 200
        traffic(proxy, origin, healthy=3, early=2)
        with proxy.client() as client:
            open_tunnel(client, serve(echo_four))
            records = proxy.ledger()
        assert {record["state"] for record in records} >= {"closed", "idle", "opaque"}
        for record in records:
            schema.check(record, record_schema)
            schema.check(proxy.get(f"/connections/{record['id']}"), record_schema)


def test_tunnels(daemon, serve):
    origin, proxy = serve(echo_four), daemon()
    with proxy.client() as client:
        open_tunnel(client, origin)
        tunnels = proxy.get("/metrics")["tunnels"]
        assert (tunnels["open"], tunnels["total"], tunnels["bytes_out"]) == (1, 1, 4)
        assert len(proxy.get("/connections?state=opaque")["connections"]) == 2
    metrics = settled(proxy)
    assert (metrics["tunnels"]["open"], metrics["tunnels"]["total"]) == (0, 1)
    agree(metrics, proxy.ledger())


def test_bytes_that_came_through_tunnels(daemon, serve):
    origin, proxy = serve(echo_four), daemon()
    with proxy.client() as client:
        open_tunnel(client, origin)
    assert settled(proxy)["tunnels"]["bytes_in"] == 4


def test_pools_and_limits(daemon, serve):
    gate = Gate()

    def hold(conn):
        while True:
            conn.read_request()
            gate.wait()
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    origin, proxy = serve(hold), daemon(max_conns_per_host=2, max_idle_conns_per_host=5)
    asked = [Background(proxy.fetch, origin.url()) for _ in range(5)]
    proxy.wait_waiting(3)
    row, = proxy.get("/pools")["pools"]
    assert row["key"] == {"scheme": "http", "host": origin.authority, "proxy": None}
    assert (row["open"], row["active"], row["idle"], row["dialing"], row["waiting"]) == (2, 2, 0, 0, 3)
    assert row["limits"] == {"max_idle_conns_per_host": 5, "max_conns_per_host": 2}
    assert row["oldest_wait_ms"] > 0
    gate.open()
    assert all(a.result().status == 200 for a in asked)
    settled(proxy)
    row, = proxy.get("/pools")["pools"]
    assert (row["idle"], row["waiting"], row["oldest_wait_ms"]) == (2, 0, None)
    assert (row["dials"], row["gets"], row["reuses"], row["reuse_ratio"]) == (2, 5, 3, 0.6)
    metrics = proxy.get("/metrics")
    assert metrics["pool"]["peak_open"] == 2 and metrics["pool"]["idle"] == 2
    assert metrics["upstream"]["wait_ms"]["max"] > 0


def test_more_pools_than_one_slice(daemon, serve):
    """Each has one row, in order of creation."""
    proxy = daemon(max_idle_conns=0)
    origin = serve(serve_all, host="0.0.0.0")
    hosts = [f"127.0.{i // 250}.{1 + i % 250}" for i in range(300)]
    with proxy.client() as client:
        for host in hosts:
            assert client.ask(origin.url("/1", host=host)).response().status == 200
    rows = proxy.get("/pools")["pools"]
    assert [row["key"]["host"] for row in rows] == [f"{host}:{origin.port}" for host in hosts]
    assert proxy.get("/metrics")["pool"]["idle"] == 300


def test_one_connection_and_its_events(daemon, serve):
    origin, proxy = serve(serve_all), daemon()
    traffic(proxy, origin, healthy=2, early=1)
    settled(proxy)
    record, = proxy.get("/connections?side=upstream")["connections"]
    assert "events" not in record
    full = proxy.get(f"/connections/{record['id']}")
    events = [event["event"] for event in full.pop("events")]
    assert {key: full[key] for key in record} == record
    exchange = ["got_conn", "request", "wrote_request", "first_byte", "response", "body_eof", "put_idle"]
    assert [e for e in events if e in exchange] == exchange * 2 + exchange[:5]
    assert events[:2] == ["dialing", "dialed"] and events[-2:] == ["early_close", "closed"]


def test_connections_page_by_page(daemon, serve):
    origin, proxy = serve(serve_all), daemon(disable_keep_alives=True)
    with proxy.client() as client:
        for _ in range(25):
            client.ask(origin.url("/1")).response()
        ids, after = [], ""
        while after is not None:
            page = proxy.get(f"/connections?side=upstream&limit=4{after and '&after=' + after}")
            ids += [r["id"] for r in page["connections"]]
            after = page["next"]
    assert ids == [f"u-{n}" for n in range(25, 0, -1)]
    assert len(proxy.get(f"/connections?key={origin.authority}&limit=1000")["connections"]) == 25
    assert len(proxy.get("/connections?reason=keepalives_disabled&limit=1000")["connections"]) == 25


def test_config_has_the_addresses_that_were_bound(daemon, tmp_path):
    proxy = daemon(settings={"admin.listen": f"127.0.0.1:0,unix:{tmp_path}/admin.sock", "pool.idle_conn_timeout": "75s"})
    config = proxy.get("/config")
    assert config["proxy"]["listen"] == f"127.0.0.1:{proxy.address[1]}"
    assert f"127.0.0.1:{proxy.admin[1]}" in config["admin"]["listen"]
    assert config["pool"]["idle_conn_timeout"] == "1m15s" and config["pool"]["max_idle_conns_per_host"] == 2
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(f"{tmp_path}/admin.sock")
        sock.sendall(b"GET /config HTTP/1.0\r\nHost: whatever\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1]) == config


def test_ready_until_it_drains(daemon, serve):
    gate = Gate()

    def hold(conn):
        conn.read_request()
        gate.wait()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    origin = serve(hold)
    proxy = daemon(settings={"proxy.drain_timeout": "20s"})
    assert admin_ask(proxy, "/readyz").status == admin_ask(proxy, "/healthz").status == 200
    asked = Background(proxy.fetch, origin.url())
    until(lambda: origin.conns and origin.conns[0].requests, "the request at the origin")
    proxy.signal(signal.SIGTERM)
    until(lambda: admin_ask(proxy, "/readyz").status == 503, "503 from /readyz")
    assert admin_ask(proxy, "/healthz").status == 200
    assert proxy.get("/metrics")["pool"]["active"] == 1
    gate.open()
    assert asked.result().status == 200
    proxy.process.wait(120)
    proxy.stop = lambda: None
    assert proxy.process.returncode == 0


def test_the_two_posts(daemon, serve):
    origin, proxy = serve(serve_all), daemon()
    traffic(proxy, origin, healthy=3, early=0)
    settled(proxy)
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        for path in ("/close_idle", "/reset_peaks"):
            answer = admin_ask(proxy, path, method)
            assert answer.status == 405 and answer.value("Allow") == "POST"
    assert proxy.get("/metrics")["pool"]["idle"] == 1
    assert admin_ask(proxy, "/close_idle", "POST", host="evil.example").status == 403
    assert admin_ask(proxy, "/close_idle", "POST", ["Origin: http://evil.example"]).status == 403
    assert proxy.get("/metrics")["pool"]["idle"] == 1
    assert json.loads(admin_ask(proxy, "/close_idle", "POST").body) == {"closed": 1}
    until(lambda: origin.conns[0].letter() == "F", "the FIN at the origin")
    metrics = proxy.get("/metrics")
    assert metrics["upstream"]["closes"] == {"close_idle_conns": 1}
    assert metrics["pool"]["peak_idle"] == 1
    assert json.loads(admin_ask(proxy, "/reset_peaks", "POST").body) == {"peak_open": 0, "peak_idle": 0}
    assert proxy.get("/metrics")["pool"]["peak_idle"] == 0


def test_what_is_refused(daemon):
    proxy = daemon()
    for target, method, fields, host, status in (
            ("/", "GET", [], "localhost", 404),
            ("/findings?state=closed", "GET", [], "localhost", 400),
            ("/events?only=x", "GET", [], "localhost", 400),
            ("/metrics", "POST", [], "localhost", 405),
            ("/metrics", "BREW", [], "localhost", 405),
            ("/metrics?format=xml", "GET", [], "localhost", 400),
            ("/metrics?pretty=1", "GET", [], "localhost", 400),
            ("/connections?limit=x", "GET", [], "localhost", 400),
            ("/metrics", "GET", [], "evil.example", 403),
            ("/metrics", "GET", [], "127.0.0.1.evil.example", 403),
            ("http://evil.example/metrics", "GET", [], "localhost", 403),
            ("/metrics", "GET", ["Host: localhost"], "localhost", 400),
            ("/metrics", "GET", [], None, 400),
            ("/metrics", "GET", ["X: " + "y" * 20000], "localhost", 431),
            ("/" + "m" * 3000, "GET", [], "localhost", 414),
            ("/close_idle", "POST", ["Content-Length: 1000000"], "localhost", 413)):
        answer = admin_ask(proxy, target, method, fields, host)
        assert answer.status == status, (target, method, answer)
        assert answer.value("Content-Type") == "application/problem+json"
        assert answer.value("Cache-Control") == "no-store"
        assert json.loads(answer.body)["status"] == status


def many_records(proxy, origin, n):
    """n closed upstream records, quickly: one client, a dial a request."""
    with proxy.client() as client:
        for _ in range(n):
            client.ask(origin.url("/1"))
            assert client.response().status == 200
    settled(proxy)


def is_sanitized(daemon):
    with open(f"/proc/{daemon.pid}/maps", encoding="ascii") as maps:
        return "libasan" in maps.read()


def test_slow_readers_of_the_ledger_keep_nobody_waiting(daemon, serve):
    origin, proxy = serve(serve_all), daemon(disable_keep_alives=True)
    many_records(proxy, origin, 5000)
    assert len(proxy.ledger()) == 5001
    before = proxy.rss()
    readers = [admin_client(proxy, rcvbuf=4096) for _ in range(30)]
    for i, reader in enumerate(readers):
        target = "/connections?limit=1000" if i % 3 == 0 else "/ledger"
        reader.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader.read_exactly(100)
    with proxy.client() as client:  # traffic goes on beside them
        for _ in range(300):
            assert client.ask(origin.url("/100")).response().complete
    if not is_sanitized(proxy):  # whose freed memory is kept
        assert proxy.rss() - before < 12 << 20
    assert len(proxy.ledger()) >= 5300
    for reader in readers[10:]:
        reader.rst()
    lines = None
    for reader in readers[:10]:  # and those that take their time get all of it
        reader.buffer = b""
        text = b""
        while not text.endswith(b"\r\n0\r\n\r\n"):
            text += reader._recv()
        lines = text.count(b'"schema":"connleak.conn/1"')
        assert lines >= 900
        reader.close()
    assert proxy.get("/metrics")["upstream"]["dials"] == 5300


def test_a_whole_ledger_each_once_under_traffic(daemon, serve):
    origin, proxy = serve(serve_all), daemon()
    many_records(proxy, origin, 10)
    stop = Gate()

    def keep_going():
        n = 0
        while not stop.is_open():
            proxy.fetch(origin.url("/10"))
            n += 1
        return n
    workers = [Background(keep_going) for _ in range(4)]
    for _ in range(20):
        ids = [record["id"] for record in proxy.ledger()]
        assert len(ids) == len(set(ids))
    stop.open()
    served = sum(worker.result() for worker in workers)
    agree(settled(proxy), proxy.ledger())
    assert proxy.get("/metrics")["downstream"]["accepted"] == served + 1


def test_hostile_crowds(daemon, serve):
    """Thousands of connections that ask nothing, or slowly: the next who asks is answered."""
    origin, proxy = serve(serve_all), daemon()
    descriptors = proxy.fds()
    crowd = []
    for i in range(1000):
        sock = socket.create_connection(proxy.admin)
        if i % 2:
            sock.send(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        crowd.append(sock)
        if i % 100 == 0:
            assert admin_ask(proxy, "/healthz").status == 200
            assert proxy.fetch(origin.url("/1")).status == 200
    assert proxy.get("/metrics")["upstream"]["requests"] == 10
    assert proxy.fds() < descriptors + 100
    for sock in crowd:
        sock.close()
    until(lambda: proxy.fds() <= descriptors + 2, lambda: f"{proxy.fds()} descriptors, {descriptors} at first")


def test_a_head_that_trickles_is_cut(daemon):
    """A byte now and then renews no deadline: the head as a whole has five seconds."""
    proxy = daemon()
    begin = time.monotonic()
    with admin_client(proxy) as client:
        client.sock.settimeout(0.25)
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        while True:
            try:
                client.send("x")
                if client.sock.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                assert time.monotonic() - begin < 30
        assert client.response().status == 408
    assert time.monotonic() - begin >= 5 - TICK


def test_no_descriptor_left_and_still_an_answer(daemon, serve):
    """Clients have taken every descriptor; whoever wants to know why can still look."""
    import resource

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    proxy = daemon(preexec=few)
    crowd = [socket.create_connection(proxy.address) for _ in range(200)]
    until(lambda: proxy.get("/metrics")["downstream"]["open"] > 0, "clients")
    for _ in range(5):
        assert proxy.get("/metrics")["downstream"]["accepted"] > 0
    for sock in crowd:
        sock.close()
    settled(proxy)


NETNS = "CONNLEAK_TEST_NETNS"


def alone(request):
    """True inside a network namespace of the test's own; outside, runs it in one and returns False."""
    if os.environ.get(NETNS):
        return True
    inside = f"ip link set lo up && exec {sys.executable} -m pytest -q -p no:cacheprovider '{request.node.nodeid}'"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("no network namespace can be made here")
    done = subprocess.run(["unshare", "-n", "sh", "-c", inside], env=dict(os.environ, **{NETNS: "1"}), check=False,
                          cwd=request.config.rootpath, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return False


def test_kernel_counters_beside_the_ledger(daemon, serve, request):
    """Where the daemon is alone with its client and its origin, TCPAbortOnClose is the number of
    connections closed with bytes unread: not one more, and none of the admin endpoint's own."""
    if not alone(request):
        return
    origin, proxy = serve(serve_all), daemon()
    for size in (10, LARGE, 100, LARGE, LARGE):
        if size == LARGE:
            leave_early(proxy, origin.url(f"/{size}"))
        else:
            assert proxy.fetch(origin.url(f"/{size}")).complete
    metrics = settled(proxy)
    for target in ("/nope", "/metrics", "/ledger"):  # the endpoint's own connections, rude ones too
        admin_ask(proxy, target)
    admin_ask(proxy, "/metrics", fields=["X: " + "y" * 60000])
    with admin_client(proxy) as client:
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + "more" * 5000)
        client.response()
    after = settled(proxy)
    clients = 3  # those that left early had bytes unread, too: each is one RST of its own
    assert metrics["upstream"]["early_body_closes"] == 3
    assert metrics["upstream"]["rst_sent_unread"] > 0
    assert metrics["kernel"]["tcp_abort_on_close"] == metrics["upstream"]["rst_sent_unread"] + clients
    assert after["kernel"]["tcp_abort_on_close"] == metrics["kernel"]["tcp_abort_on_close"]
    assert after["downstream"]["rst_sent_unread"] == 0


def test_the_address_that_was_asked_is_its_own(daemon, request):
    """A listener on all addresses answers to each of them by its number, and to no name."""
    if not alone(request):
        return
    for address in ("10.9.8.7/32", "fd00::7/128"):
        subprocess.run(["ip", "addr", "add", address, "dev", "lo", "nodad"], check=True)
    proxy = daemon(settings={"admin.listen": "[::]:0"}, wait=False)
    line = until(lambda: [line for line in proxy.err if "admin: listening" in line], proxy.log)[0]
    port = int(line.rsplit(":", 1)[1])

    def status(at, host):
        with socket.create_connection((at, port), timeout=DEADLINE) as sock:
            sock.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return int(sock.recv(4096).split()[1])
    assert status("10.9.8.7", "10.9.8.7") == status("10.9.8.7", "10.9.8.7:1234") == 200
    assert status("fd00::7", "[fd00::7]") == status("fd00::7", "[fd00:0:0::7]:99") == 200
    assert status("10.9.8.7", "localhost") == 200
    assert status("10.9.8.7", "10.9.8.6") == status("fd00::7", "[fd00::8]") == status("10.9.8.7", "evil.example") == 403
    assert status("10.9.8.7", "[fd00::7]") == status("fd00::7", "10.9.8.7") == 403


def test_the_proxy_is_no_way_to_the_endpoint(daemon):
    """Whoever may use the proxy from afar must not reach through it what listens on loopback."""
    proxy = daemon()
    for host in ("127.0.0.1", "localhost"):
        assert proxy.fetch(f"http://{host}:{proxy.admin[1]}/metrics").status == 508
        with proxy.client() as client:
            client.method = "CONNECT"
            client.send(f"CONNECT {host}:{proxy.admin[1]} HTTP/1.1\r\nHost: {host}:{proxy.admin[1]}\r\n\r\n")
            assert client.response().status == 508
