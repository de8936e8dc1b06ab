"""What the daemon found, as its admin endpoint tells it: /findings, /events, /metrics, /pools; and that looking
for causes wakes nobody who sleeps."""

import base64
import json
import re
import signal
import socket
import threading
import time

import pytest

from rig import schema
from rig.client import Client
from rig.origin import always, answer
from rig.wait import DEADLINE, until

GO = "User-Agent: Go-http-client/1.1"
QUICK = {"findings.leak_after": "500ms", "findings.slow_after": "500ms"}


def leak(daemon, url, times=5, fields=(GO,)):
    """Clients that read the head and no more, each with a connection of its own; theirs to close."""
    held = []
    for _ in range(times):
        client = daemon.client(rcvbuf=4096)
        client.ask(url, fields=fields).read_head()
        held.append(client)
        time.sleep(0.02)   # apart, as requests that one program makes one after the other
    return held


def findings(daemon, **query):
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return daemon.get(f"/findings?{text}" if text else "/findings")["findings"]


def kinds(daemon, **query):
    return {finding["kind"] for finding in findings(daemon, **query)}


class Listener:
    """A reader of GET /events; `heard` is a list of (event, data)."""

    def __init__(self, daemon, query="", rcvbuf=None):
        self.client = Client(daemon.admin, rcvbuf=rcvbuf)
        self.client.method = "GET"
        self.client.send(f"GET /events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.head = self.client.read_head()
        self.heard, self.beats = [], 0
        self.thread = threading.Thread(target=self._read, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def _read(self):
        text = b""
        self.client.sock.settimeout(None)
        try:
            while True:
                size = int(self.client._line(), 16)
                while len(self.client.buffer) < size + 2:
                    self.client.buffer += self.client._recv()
                text += self.client.buffer[:size]
                self.client.buffer = self.client.buffer[size + 2:]
                while b"\n\n" in text:
                    block, text = text.split(b"\n\n", 1)
                    self._event(block.decode("utf-8"))
        except Exception:  # its end: the test's own, or the daemon's
            return

    def _event(self, block):
        if block.startswith(":"):
            self.beats += 1
            return
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(lines) == {"event", "data"}, block
        self.heard.append((lines["event"], json.loads(lines["data"])))

    def of(self, *events):
        return [data for event, data in list(self.heard) if event in events]


@pytest.fixture
def listen():
    listeners = []

    def listen_to(daemon, query="", **kwargs):
        listeners.append(Listener(daemon, query, **kwargs).start())
        return listeners[-1]

    yield listen_to
    for listener in listeners:
        listener.client.close()


def test_a_leak_is_found_told_and_over_when_it_is_over(daemon, serve, listen):
    origin = serve(always(answer(b"x" * 70_000)))
    proxy = daemon(settings=QUICK)
    listener = listen(proxy, "?only=findings")
    assert findings(proxy) == [] and proxy.get("/metrics")["findings"] == {"open": 0, "by_kind": {}}
    held = leak(proxy, origin.url("/items"))
    until(lambda: "body_not_closed" in kinds(proxy, state="open"), lambda: findings(proxy))

    rule = schema.load("connleak.finding-1.json")
    for finding in findings(proxy):
        schema.check(finding, rule)
    found = findings(proxy, kind="body_not_closed")[0]
    assert found["side"] == "downstream" and found["subject"]["client"]["stack"] == "go"
    assert found["by_status"]["2xx"] == found["count"] and found["resolved_at"] is None
    assert found["evidence"]["held"] >= 3 and "resp.Body.Close()" in found["advice"]
    known = {record["id"] for record in proxy.get("/connections?side=downstream")["connections"]}
    assert found["connections"] and set(found["connections"]) <= known
    metrics = proxy.get("/metrics")
    schema.check(metrics, schema.load("connleak.metrics-1.json"))
    assert metrics["findings"]["by_kind"]["body_not_closed"] == 1 and metrics["downstream"]["held"] >= 3
    until(lambda: [f for f in listener.of("finding_raised") if f["kind"] == "body_not_closed"], lambda: listener.heard)
    assert re.search(rf"warn {found['id']}: raised: body_not_closed, \w+, downstream 127\.0\.0\.1", proxy.log())

    for client in held:
        client.close()
    until(lambda: "body_not_closed" in kinds(proxy, state="resolved"), lambda: findings(proxy))
    assert "body_not_closed" not in kinds(proxy, state="open")
    cleared = until(lambda: [f for f in listener.of("finding_cleared") if f["kind"] == "body_not_closed"], lambda: listener.heard)
    assert cleared[0]["id"] == found["id"] and cleared[0]["resolved_at"]
    schema.check(cleared[0], rule)
    assert proxy.get("/metrics")["downstream"]["held"] == 0
    assert not listener.of("connection_opened", "connection_closed")


def test_open_ones_come_first_and_tags_tell_clients_apart(daemon, serve):
    origin = serve(always(answer(b"x" * 70_000)))
    proxy = daemon(settings=QUICK)
    for tag in ("checkout", "billing"):
        credentials = base64.b64encode(f"{tag}:".encode()).decode()
        held = leak(proxy, origin.url("/"), fields=(GO, f"Proxy-Authorization: Basic {credentials}"))
        until(lambda: "body_not_closed" in kinds(proxy, tag=tag), lambda: findings(proxy))
        if tag == "checkout":
            for client in held:
                client.close()
            until(lambda: "body_not_closed" not in kinds(proxy, tag="checkout", state="open"), lambda: findings(proxy))
    assert {f["subject"]["client"]["tag"] for f in findings(proxy)} == {"checkout", "billing"}
    assert {f["subject"]["client"]["tag"] for f in findings(proxy, tag="billing")} == {"billing"}
    resolved = [f["resolved_at"] is not None for f in findings(proxy)]
    assert resolved == sorted(resolved) and len(set(resolved)) == 2
    first = proxy.get("/findings?limit=1")
    rest = proxy.get(f"/findings?limit=1000&after={first['next']}")
    assert [f["id"] for f in first["findings"] + rest["findings"]] == [f["id"] for f in findings(proxy)]
    for client in held:
        client.close()


def test_events_tell_every_connection_once(daemon, serve, listen):
    origin = serve(always(answer(b"hello")))
    proxy = daemon()
    quiet = proxy.client()           # there before anybody listens
    until(lambda: proxy.get("/metrics")["downstream"]["open"] == 1, lambda: proxy.get("/metrics"))
    listener = listen(proxy)
    assert listener.head.value("Content-Type") == "text/event-stream"
    for _ in range(300):
        assert proxy.fetch(origin.url("/")).status == 200
    quiet.close()
    until(lambda: len(listener.of("connection_closed")) == 301, lambda: len(listener.of("connection_closed")))
    opened = [e["id"] for e in listener.of("connection_opened")]
    closed = [e["id"] for e in listener.of("connection_closed")]
    records = {r["id"]: r for r in proxy.ledger()}
    assert len(opened) == len(set(opened)) and len(closed) == len(set(closed))
    assert set(opened) == records.keys() - {"d-1"}
    assert set(closed) == {i for i, r in records.items() if r["state"] == "closed"}
    for event in listener.of("connection_closed"):
        record = records[event["id"]]
        assert event["at"] == record["closed_at"] and event["reason"] == record["close"]["reason"]
        assert event["requests"] == record["requests"] and event["remote"] == record["remote"]
    times = [data["at"] for _, data in listener.heard]
    assert times == sorted(times)
    assert not listener.of("lost")


def test_a_listener_that_stops_reading_costs_the_others_nothing(daemon, serve, listen):
    origin = serve(always(answer(b"hello")))
    proxy = daemon(settings={"ledger.keep": "1000"})
    deaf = Listener(proxy, rcvbuf=4096)      # never read
    other = listen(proxy, "?only=connections")
    with proxy.client() as client:
        assert client.ask(origin.url("/")).response().status == 200
        before = proxy.rss()
        for _ in range(3000):
            proxy.client().close()
        assert client.ask(origin.url("/")).response().status == 200
    until(lambda: len(other.of("connection_closed")) + sum(e["connections"] for e in other.of("lost")) >= 3001,
          lambda: len(other.of("connection_closed")))
    assert proxy.rss() - before < 12 << 20
    deaf.client.close()


def test_listeners_are_limited_and_leave_room_for_others(daemon):
    proxy = daemon()
    listeners = [Listener(proxy) for _ in range(16)]
    refused = Client(proxy.admin)
    refused.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert refused.response("GET").status == 503
    assert proxy.get("/healthz") == {"status": "ok"}
    for listener in listeners:
        listener.client.close()
    def served():
        with Client(proxy.admin) as client:
            client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return client.read_head().status == 200
    until(served, "room for a new listener")
    refused.close()


def test_pools_have_what_was_learned_of_an_origin(daemon, serve):
    def close_when_idle(conn):
        conn.read_request()
        conn.send(answer(b"hello"))
        until(lambda: proxy.get("/metrics")["pool"]["idle"] == 1, "an idle connection")
        time.sleep(0.2)
        conn.fin()
    origin = serve(close_when_idle)
    proxy = daemon()
    for closes in range(1, 4):
        assert proxy.fetch(origin.url("/")).status == 200
        until(lambda: proxy.get("/metrics")["upstream"]["closes"].get("server_closed_idle", 0) >= closes,
              lambda: proxy.get("/metrics")["upstream"]["closes"])
    learned = proxy.get("/pools")["pools"][0]["learned"]
    assert 190 <= learned["idle_timeout_ms"] < 20_000
    assert learned["idle_timeout_observations"] == 3 and learned["peak_active"] == 1


def test_findings_can_be_tuned_while_it_runs(daemon, serve, tmp_path):
    path = tmp_path / "connleakd.conf"
    path.write_text("[findings]\nleak_after = 1h\n")
    origin = serve(always(answer(b"x" * 70_000)))
    proxy = daemon(argv=["-c", str(path)])
    held = leak(proxy, origin.url("/"))
    path.write_text("[findings]\nleak_after = 300ms\n")
    time.sleep(1)
    assert findings(proxy, kind="body_not_closed") == []
    proxy.signal(signal.SIGHUP)
    until(lambda: "findings.leak_after: 1h -> 300ms" in proxy.log(), proxy.log)
    held += leak(proxy, origin.url("/"), times=1)
    until(lambda: findings(proxy, kind="body_not_closed"), lambda: findings(proxy))
    assert proxy.get("/config")["findings"]["leak_after"] == "300ms"
    for client in held:
        client.close()


def wakeups(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])


def wakeups_in(daemon, seconds):
    before = wakeups(daemon)
    time.sleep(seconds)
    return wakeups(daemon) - before


def test_nobody_is_woken_where_nothing_happens(daemon, serve):
    """Neither by rules that wait for something, nor by a look at what is told to nobody."""
    origin = serve(always(answer(b"hello")))
    proxy = daemon(settings={**QUICK, "proxy.client_idle_timeout": "1h"})
    until(lambda: wakeups_in(proxy, 1.5) == 0, "sleep, before anything has happened")
    with proxy.client() as client:
        assert client.ask(origin.url("/")).response().status == 200
        until(lambda: wakeups_in(proxy, 1.5) == 0, "sleep, with a client that is idle")
    until(lambda: wakeups_in(proxy, 1.5) == 0, "sleep, with a connection to the origin that is idle")


def test_findings_off(daemon, serve):
    origin = serve(always(answer(b"x" * 70_000)))
    proxy = daemon(settings={"findings.leak_after": "0", "findings.slow_after": "0"})
    held = leak(proxy, origin.url("/"))
    time.sleep(1.5)
    assert not kinds(proxy) & {"body_not_closed", "slow_reader"}
    for client in held:
        client.close()


def test_nobody_speaks_sse_to_a_foreign_page(daemon):
    proxy = daemon()
    with Client(proxy.admin) as client:
        client.send("GET /events HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert client.response("GET").status == 403
    with socket.create_connection(proxy.admin) as raw:   # HTTP/1.0: until the end of the connection
        raw.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        raw.settimeout(DEADLINE)
        data = b""
        while b": connleakd" not in data:
            data += raw.recv(4096)
        assert b"Transfer-Encoding" not in data
