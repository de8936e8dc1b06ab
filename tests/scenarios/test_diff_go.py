"""Random scenarios against Go's ReverseProxy and against connleakd: their origins must see the same.

A seed makes a scenario: limits of the pool, and steps. Each step is run to its rest before the next
begins, so that a scenario has one outcome; what Go's own races decide (R77, R79, R118, T36) is not
generated. Go runs first; what its origins saw after each step is what connleakd is waited for to show.

  CONNLEAK_SEEDS=500           that many seeds instead of the few of `make test`
  CONNLEAK_SEED=12345          this one alone, with the scenario printed
"""

import os
import random
import sys
import time

import pytest

from rig import sockets
from rig import subject as subjects
from rig.client import Background, Ended
from rig.origin import Origin, chunk, head
from rig.wait import Gate, until

SEEDS = int(os.environ.get("CONNLEAK_SEEDS", "40"))
ONE = os.environ.get("CONNLEAK_SEED")
REST = 0.08      # without a change for so long, Go is at rest (R48 waits 50 ms)
BIG = sockets.MORE_THAN_BUFFERS
LARGE = 1_000_000


class Exchange:
    """What one request asks for, and what the origin does when it arrives for the first, second.. time."""

    def __init__(self, number, origin, method="GET", fields=(), body=None, chunked=False, stages=()):
        self.number, self.origin, self.method, self.fields = number, origin, method, list(fields)
        self.body, self.chunked, self.stages = body, chunked, [list(stage) for stage in stages]
        self.arrivals = 0
        self.go = Gate(f"exchange {number}")

    def __repr__(self):
        def brief(op):
            return tuple(part if not isinstance(part, bytes) or len(part) < 90 else (part[:80], len(part)) for part in op)
        return (f"#{self.number} {self.method} origin {self.origin} {self.fields or ''} "
                f"{'' if self.body is None else str(len(self.body)) + ' bytes'}{' chunked' if self.chunked else ''}: "
                f"{[[brief(op) for op in stage] for stage in self.stages]}")

    def wire(self, world):
        origin = world.origins[self.origin]
        lines = [f"{self.method} {origin.url('/' + str(self.number))} HTTP/1.1", f"Host: {origin.authority}", *self.fields]
        body = b""
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(chunk(self.body[i:i + 7000]) for i in range(0, len(self.body), 7000)) + b"0\r\n\r\n"
        elif self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
            body = self.body
        return head(*lines) + body


class World:
    """One run of a scenario: its subject, its origins, and what they saw."""

    def __init__(self, scenario, which):
        self.exchanges = {e.number: e for e in scenario.exchanges()}
        self.subject = subjects.SUBJECTS[which](**dict(subjects.ZERO_VALUE, **scenario.pool))
        self.origins = [Origin(self.script) for _ in range(2)]
        self.results = {}

    def close(self):
        for origin in self.origins:
            origin.stop()
        self.subject.stop()

    def script(self, conn):
        while True:
            request = conn.read_head()
            exchange = self.exchanges[int(request.target.strip("/"))]
            stage = exchange.stages[min(exchange.arrivals, len(exchange.stages) - 1)]
            exchange.arrivals += 1
            for name, *args in stage:
                self.act(conn, request, exchange, name, *args)

    @staticmethod
    def act(conn, request, exchange, name, *args):
        if name == "body":
            if conn.read_body(request):
                # Go's server closes a request's body when the answer comes, and Transport may just be reading its
                # end: a race (R118) that nothing shows from outside.
                time.sleep(0.015)
        elif name == "read":
            conn.read_exactly(*args)
        elif name == "send":
            conn.send(*args)
        elif name == "big":
            for _ in range(BIG >> 16):
                conn.send(b"x" * 65536)
        elif name == "gate":
            exchange.go.wait()
        elif name == "taken":
            conn.wait_read()
        elif name == "fin":
            conn.fin()
            conn.drain()
        elif name == "rst":
            conn.rst()
        elif name == "stop":
            conn.drain()

    def view(self, origin):
        conns = list(origin.conns)
        return [(conn.shape(), tuple(request.summary() for request in list(conn.requests))) for conn in conns]

    def views(self):
        return [self.view(origin) for origin in self.origins]

    def check(self):
        for origin in self.origins:
            origin.check()

    def arrivals(self):
        return sum(exchange.arrivals for exchange in self.exchanges.values())

    def wait_arrivals(self, n):
        until(lambda: self.arrivals() >= n, lambda: f"{n} requests at the origins; {self.arrivals()} came: {self.views()}")

    def rest(self, pause):
        """Until nothing has changed at the origins for so long."""
        seen, since, begun = None, time.monotonic(), time.monotonic()
        while time.monotonic() - since < pause:
            now = self.views()
            # An end by the origin that is not answered yet is no rest, unless it stays so.
            owed = any(shape.endswith("s") for view in now for shape, _ in view) or self.subject.busy()
            owed = owed and time.monotonic() - begun < 2
            if now != seen or owed:
                seen, since = now, time.monotonic()
            time.sleep(0.004)
        self.check()
        return seen

    def settle(self, expected, step):
        def differs():
            lines = []
            for n, (mine, gos) in enumerate(zip(self.views(), expected)):
                for i in range(max(len(mine), len(gos))):
                    one, other = (v[i] if i < len(v) else None for v in (mine, gos))
                    if one != other:
                        lines.append(f"  origin {n}, connection {i}: Go {other}\n{' ' * 27}connleakd {one}")
            return "\n".join(lines)
        try:
            until(lambda: self.views() == expected, lambda: f"after step {step!r}:\n{differs()}")
            time.sleep(0.01)
            assert self.views() == expected, f"after step {step!r}, a moment later:\n{differs()}"
        finally:
            self.check()

    # -- clients

    def send(self, exchange, **kwargs):
        client = self.subject.client(**kwargs)
        client.method = exchange.method
        wire = exchange.wire(self)
        if any("100-continue" in field for field in exchange.fields):
            at = wire.index(b"\r\n\r\n") + 4
            client.send(wire[:at])
            client.rest = wire[at:]
        elif len(wire) > 60_000:
            Background(self._send_quietly, client, wire)
        else:
            client.send(wire)
        return client

    @staticmethod
    def _send_quietly(client, wire):
        try:
            client.send(wire)
        except OSError:
            pass

    def receive(self, exchange, client):
        """The client reads all that comes; what it can tell about it is noted down."""
        if hasattr(client, "rest"):
            from rig.client import Response
            first = Response()
            try:
                client.read_head(first)
                if first.status == 100:
                    client.send(client.rest)
                    response = client.response(exchange.method)
                else:
                    client._body(first, exchange.method)
                    first.complete, response = True, first
            except (Ended, BrokenPipeError, ConnectionResetError):
                response = first
        else:
            response = client.response(exchange.method)
        whole = response.complete and response.value("X-Origin")
        self.results[exchange.number] = ("whole", response.status, response.digest()) if whole else "failed"
        return response


# -- steps: each runs one or more exchanges to their end

class One:
    """One request, read to its end. An end of the connection by the origin is told when the client is done."""

    def __init__(self, exchange):
        self.exchanges = [exchange]

    def __repr__(self):
        return f"One({self.exchanges[0]})"

    def run(self, world):
        exchange = self.exchanges[0]
        client = world.send(exchange)
        world.receive(exchange, client)
        exchange.go.open()
        client.close()


class Pipelined:
    """Several requests in one segment."""

    def __init__(self, exchanges):
        self.exchanges = exchanges

    def __repr__(self):
        return f"Pipelined({self.exchanges})"

    def run(self, world):
        client = world.subject.client()
        client.send(b"".join(e.wire(world) for e in self.exchanges))
        for exchange in self.exchanges:
            world.receive(exchange, client)
        client.close()


class Leave:
    """The client leaves when the origin stands at its gate, or when it does not get rid of its bytes."""

    def __init__(self, exchange, how, stalled=False):
        self.exchanges, self.how, self.stalled = [exchange], how, stalled

    def __repr__(self):
        return f"Leave({self.exchanges[0]}, {self.how}{', stalled' if self.stalled else ''})"

    def run(self, world):
        exchange = self.exchanges[0]
        before = world.arrivals()
        client = world.send(exchange, **({"rcvbuf": 4096} if self.stalled else {}))
        world.wait_arrivals(before + 1)
        conn = next(c for o in world.origins for c in o.conns
                    if any(r.target == f"/{exchange.number}" for r in c.requests))
        if self.stalled:
            conn.wait_stuck()
        else:
            time.sleep(0.01)   # the answer's part goes out right behind the request's arrival
            conn.wait_read()
        {"close": client.close, "rst": client.rst, "half": client.half_close}[self.how]()
        exchange.go.open()
        self.client = client   # a half-closed one must stay


class StuckUpload:
    """The origin answers while the body is stuck; the client leaves when the origin is rid of the connection."""

    def __init__(self, exchange):
        self.exchanges = [exchange]

    def __repr__(self):
        return f"StuckUpload({self.exchanges[0]})"

    def run(self, world):
        exchange = self.exchanges[0]
        client = world.subject.client()
        origin = world.origins[exchange.origin]
        client.send(head(f"POST {origin.url('/' + str(exchange.number))} HTTP/1.1", f"Host: {origin.authority}",
                         f"Content-Length: {LARGE}") + b"begin")
        until(lambda: any(conn.requests and conn.requests[-1].target == f"/{exchange.number}" and not conn.is_open
                          for conn in origin.conns), "an end of the connection with the stuck upload")
        client.close()


class Burst:
    """Requests that are all under way together, ended one by one; beyond a limit they wait, and some leave."""

    def __init__(self, exchanges, order, leavers, limit):
        self.exchanges, self.order, self.leavers, self.limit = exchanges, order, leavers, limit

    def __repr__(self):
        return f"Burst({self.exchanges}, end in order {self.order}, leavers {self.leavers}, limit {self.limit})"

    def run(self, world):
        room = self.limit or len(self.exchanges)
        clients, waiting = {}, []
        for n, exchange in enumerate(self.exchanges):
            before = world.arrivals()
            clients[n] = world.send(exchange)
            if n < room:
                world.wait_arrivals(before + 1)
            else:
                waiting.append(n)
                sockets.wait_all_read(clients[n].sock)
                world.subject.wait_waiting(len(waiting))
        for n in self.leavers:
            if n in waiting:
                waiting.remove(n)
                clients.pop(n).close()
                world.subject.wait_waiting(len(waiting))
        active = [n for n in clients if n not in waiting]
        for pick in self.order:
            if not active:
                break
            n = active.pop(pick % len(active))
            before = world.arrivals()
            self.exchanges[n].go.open()
            world.receive(self.exchanges[n], clients[n])
            if waiting:
                world.wait_arrivals(before + 1)
                active.append(waiting.pop(0))
        for client in clients.values():
            client.close()


class IdleEvent:
    """The origin does something to an idle connection of its own accord."""

    def __init__(self, origin, pick, what, data=b""):
        self.exchanges, self.origin, self.pick, self.what, self.data = [], origin, pick, what, data

    def __repr__(self):
        return f"IdleEvent(origin {self.origin}, pick {self.pick}, {self.what} {self.data[:40]!r} {len(self.data)} bytes)"

    def run(self, world):
        idle = [conn for conn in world.origins[self.origin].conns if conn.is_open]
        if idle:
            idle[self.pick % len(idle)].command(self.act)

    def act(self, conn):
        if self.data:
            conn.send(self.data)
        if self.what == "fin":
            conn.fin()
        elif self.what == "rst":
            conn.rst()


class CloseIdle:
    exchanges = []

    def __repr__(self):
        return "CloseIdle"

    def run(self, world):
        world.subject.close_idle()
        world.subject.wait_signal()


class Refused:
    """A dial that is refused."""

    exchanges = []

    def __repr__(self):
        return "Refused"

    def run(self, world):
        response = world.subject.fetch(f"http://127.0.0.1:{subjects.free_port()}/")
        assert response.status == 502, response


# -- scenarios

class Scenario:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.number = 0
        self.pool = {}
        self.seed = seed
        r = self.r
        if r.random() < 0.5:
            self.pool["max_idle_conns_per_host"] = r.choice([1, 1, 2, 3, 5, -1])
        if r.random() < 0.4:
            self.pool["max_idle_conns"] = r.choice([1, 2, 3, 4, -1])
        if r.random() < 0.4:
            self.pool["max_conns_per_host"] = r.choice([1, 2, 3])
        if r.random() < 0.06:
            self.pool["disable_keep_alives"] = True
        if r.random() < 0.25:
            self.pool["read_buffer_size"] = r.choice([1024, 2048, 8192, 16384])
        if r.random() < 0.2:
            self.pool["max_response_header_bytes"] = r.choice([1024, 2000, 6000])
        self.pool["expect_continue_timeout"] = r.choice(["100ms", "1h"])
        if r.random() < 0.15:
            self.pool["response_header_timeout"] = "2s"
        kinds = [(self.one, 30), (self.stale, 12), (self.burst, 14), (self.leave, 10), (self.broken, 12), (self.junk, 10),
                 (self.idle_event, 8), (self.pipelined, 4), (self.expect, 5), (self.stuck, 3), (self.close_idle, 3),
                 (self.refused, 1), (self.upgrade, 3), (self.silent, 3), (self.interim, 4)]
        self.steps = [r.choices([k for k, _ in kinds], [w for _, w in kinds])[0]() for _ in range(r.randint(4, 12))]

    def exchanges(self):
        return [exchange for step in self.steps for exchange in step.exchanges]

    def __repr__(self):
        return f"seed {self.seed}, pool {self.pool}\n" + "\n".join(f"  {i}: {step}" for i, step in enumerate(self.steps))

    def exchange(self, stages, **kwargs):
        self.number += 1
        return Exchange(self.number, kwargs.pop("origin", self.r.randrange(2) if self.r.random() < 0.3 else 0),
                        stages=stages, **kwargs)

    # -- parts

    def size(self):
        return self.r.choice([0, 1, 5, 100, 3000, 4000, 4090, 4096, 5000, 8192, 32768, 40_000, 150_000])

    def bytes(self, n):
        return bytes([97 + self.r.randrange(26)]) * n

    def final(self, method, size=None, close=None):
        """(bytes of a response, does it end with the connection)"""
        r = self.r
        fields = ["X-Origin: 1"]
        if r.random() < 0.2:
            fields.append("X-Pad: " + "p" * r.choice([10, 300]))
        if close if close is not None else r.random() < 0.12:
            fields.append(r.choice(["Connection: close", "Connection: foo, Close"]))
        version = "1.1"
        if r.random() < 0.1:
            version = "1.0"
            if r.random() < 0.6:
                fields.append("Connection: keep-alive")
        kind = r.choice(["cl", "cl", "cl", "chunked", "chunked", "eof", "204", "304"])
        body = self.bytes(self.size() if size is None else size)
        if kind == "204":
            return head(f"HTTP/{version} 204 No Content", *fields), False
        if kind == "304":
            extra = r.choice([[], ["Content-Length: 7"], ["Transfer-Encoding: chunked"]])
            return head(f"HTTP/{version} 304 Not Modified", *fields, *extra), False
        status = r.choice(["200 OK", "200 OK", "404 Not Found", "500 Oops", "302 Found"])
        if kind == "eof":
            if method == "HEAD":
                return head(f"HTTP/{version} {status}", *fields), False
            return head(f"HTTP/{version} {status}", *fields) + body, True
        if kind == "chunked" and version == "1.1":
            start = head(f"HTTP/1.1 {status}", "Transfer-Encoding: chunked", *fields)
            trailer = r.choice([b"", b"", b"X-Trailer: 1\r\n"])
            cut = r.randint(0, len(body))
            pieces = b"".join(chunk(p) for p in (body[:cut], body[cut:]) if p)
            return start + (b"" if method == "HEAD" else pieces + b"0\r\n" + trailer + b"\r\n"), False
        start = head(f"HTTP/{version} {status}", f"Content-Length: {len(body)}", *fields)
        return start + (b"" if method == "HEAD" else body), False

    def good_stage(self, method, gate=False, **kwargs):
        data, ends = self.final(method, **kwargs)
        return [("body",)] + ([("gate",)] if gate else []) + [("send", data)] + ([("fin",)] if ends else [])

    def request(self):
        """Method, fields and body of a request."""
        r = self.r
        method = r.choices(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"], [10, 2, 5, 1, 1, 1])[0]
        kwargs = {"method": method}
        if method in ("POST", "PUT"):
            kwargs["body"] = self.bytes(self.size())
            kwargs["chunked"] = r.random() < 0.4
            if r.random() < 0.2:
                kwargs["fields"] = ["Idempotency-Key: k"]
        return kwargs

    # -- steps

    def one(self):
        kwargs = self.request()
        return One(self.exchange([self.good_stage(kwargs["method"])], **kwargs))

    def pipelined(self):
        return Pipelined([self.exchange([self.good_stage("GET")]) for _ in range(self.r.randint(2, 4))])

    def stale(self):
        """The connection ends instead of an answer, once or twice; a retry finds a good one."""
        r = self.r
        kwargs = self.request()
        prefix = r.choice([b"", b"", b"", b"H", b"HTTP/1.1 20", head("HTTP/1.1 103 Early Hints")])
        first = [("body",)] + ([("send", prefix), ("taken",)] if prefix else []) + [(r.choice(["fin", "rst"]),)]
        stages = [first] * r.randint(1, 3) + [self.good_stage(kwargs["method"])]
        return One(self.exchange(stages, **kwargs))

    def burst(self):
        r = self.r
        if "response_header_timeout" in self.pool:   # its gates may stay shut for longer
            return self.one()
        n = r.randint(2, 6)
        origin = r.randrange(2)
        exchanges = [self.exchange([self.good_stage("GET", gate=True)], origin=origin) for _ in range(n)]
        order = [r.randrange(100) for _ in range(n)]
        leavers = [i for i in range(n) if r.random() < 0.15]
        return Burst(exchanges, order, leavers, self.pool.get("max_conns_per_host", 0))

    def leave(self):
        r = self.r
        how = r.choice(["close", "rst"])
        kind = r.choice(["before", "part", "part", "upload", "stalled", "half"])
        if kind == "stalled":
            start = head("HTTP/1.1 200 OK", f"Content-Length: {BIG}")
            return Leave(self.exchange([[("send", start), ("big",)]]), how, stalled=True)
        if kind in ("before", "half") and "response_header_timeout" in self.pool:
            return self.one()
        if kind == "upload":
            exchange = self.exchange([[("read", 5), ("gate",), ("stop",)]], method="POST",
                                     fields=[f"Content-Length: {LARGE}"])
            exchange.wire = lambda world, e=exchange: Exchange.wire(e, world) + b"begin"
            return Leave(exchange, how)
        if kind == "part":
            start = r.choice([head("HTTP/1.1 200 OK", "Content-Length: 99999"), head("HTTP/1.1 200 OK"),
                              head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"ffff\r\n"])
            data = start + self.bytes(r.choice([0, 1, 100, 5000, 20_000]))
            return Leave(self.exchange([[("send", data), ("gate",), ("stop",)]]), how)
        return Leave(self.exchange([[("gate",), ("stop",)]]), "half" if kind == "half" else how)

    def broken(self):
        """An answer that is wrong or cut, with bytes behind it."""
        r = self.r
        kind = r.choice(["cl", "chunked", "head", "framing", "chunk", "cut head", "too long"])
        after = [(r.choice(["fin", "rst", "stop"]),)]
        tail = self.bytes(r.choice([0, 0, 10, 900, 3000, 5000, 9000]))
        if kind == "cl":
            data = head("HTTP/1.1 200 OK", "X-Origin: 1", "Content-Length: 20000") + self.bytes(r.choice([0, 7, 5000]))
            after = [("taken",), (r.choice(["fin", "rst"]),)]
        elif kind == "chunked":
            data = head("HTTP/1.1 200 OK", "X-Origin: 1", "Transfer-Encoding: chunked")
            data += r.choice([b"", b"5", b"5\r\n", b"5\r\nabc", b"5\r\nabcde\r\n", b"5\r\nabcde\r\n0\r\n"])
            after = [("taken",), (r.choice(["fin", "rst"]),)]
        elif kind == "head":
            data = r.choice([b"garbage\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 99 Low\r\n\r\n", b"HTTP/1.1\r\n\r\n",
                             b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", b"HTTP/a.b 200 OK\r\n\r\n",
                             b"\r\nHTTP/1.1 200 OK\r\n\r\n"]) + tail
            after = [("stop",)]
        elif kind == "framing":
            fields = r.choice([["Content-Length: 5", "Content-Length: 6"], ["Content-Length: -1"], ["Content-Length: 1x"],
                               ["Transfer-Encoding: gzip"], ["Transfer-Encoding: chunked, chunked"],
                               ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"]])
            data = head("HTTP/1.1 200 OK", "X-Origin: 1", *fields) + tail
            after = [("stop",)]
        elif kind == "chunk":
            data = head("HTTP/1.1 200 OK", "X-Origin: 1", "Transfer-Encoding: chunked") + chunk(b"good")
            data += r.choice([b"xyz\r\n", b"3\r\nabcdef\r\n", b"-3\r\nabc\r\n", b"11111111111111111\r\n"]) + tail
            after = [("stop",)]
        elif kind == "cut head":
            data = b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Le"
            after = [("taken",), (r.choice(["fin", "rst"]),)]
        else:
            data = head("HTTP/1.1 200 OK", "X-Origin: 1", "Content-Length: 0", "X-Long: " + "l" * 3000)
            after = []
        return One(self.exchange([[("body",), ("send", data)] + after]))

    def junk(self):
        """Bytes behind a complete answer, on a connection that may or may not be kept."""
        r = self.r
        method = r.choice(["GET", "GET", "HEAD"])
        size = r.choice([0, 5, 1000, 3900, 4096, 6000, 9000])
        fields = ["X-Origin: 1"] + (["Connection: close"] if r.random() < 0.4 else [])
        if method == "GET" and r.random() < 0.3:
            data = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields) + chunk(b"c" * (size + 1)) + b"0\r\n\r\n"
        else:
            data = head("HTTP/1.1 200 OK", f"Content-Length: {size}", *fields) + (b"c" * size if method == "GET" else b"")
        data += b"j" * r.choice([1, 10, 500, 2000, 3500, 5000, 20_000])
        return One(self.exchange([[("send", data), ("stop",)]], method=method))

    def idle_event(self):
        r = self.r
        what, data = r.choice([("fin", b""), ("rst", b""), ("", b"x"), ("", b"HTTP/1.1 408 Timeout\r\n\r\n"), ("", b"j" * 9000),
                               ("", head("HTTP/1.1 200 OK", "Content-Length: 0"))])
        return IdleEvent(r.randrange(2) if r.random() < 0.3 else 0, r.randrange(10), what, data)

    def expect(self):
        r = self.r
        kind = r.choice(["100", "417", "silent", "final"])
        if kind == "100":
            stage = [("send", head("HTTP/1.1 100 Continue")), ("body",), ("send", self.final("POST", size=3, close=False)[0])]
            stage[2] = ("send", head("HTTP/1.1 200 OK", "Content-Length: 0", "X-Origin: 1"))
        elif kind == "silent":
            if self.pool["expect_continue_timeout"] == "1h":
                return self.one()
            stage = [("body",), ("send", head("HTTP/1.1 200 OK", "Content-Length: 0", "X-Origin: 1"))]
        else:
            status = "417 Expectation Failed" if kind == "417" else "403 Forbidden"
            stage = [("send", head(f"HTTP/1.1 {status}", "Content-Length: 0", "X-Origin: 1"))]
            # Too large for Go's server to wait for it (test_vectors.py, uploads); it goes only where 100 came.
            return One(self.exchange([stage], method="POST", body=b"b" * LARGE, fields=["Expect: 100-continue"])) \
                if self.pool["expect_continue_timeout"] == "1h" else self.one()
        return One(self.exchange([stage], method="POST", body=b"b" * 3000, fields=["Expect: 100-continue"]))

    def stuck(self):
        status = self.r.choice(["200 OK", "413 Payload Too Large"])
        body = self.bytes(self.r.choice([0, 5, 500]))   # more, and Go would read on when it has passed this on
        fields = self.r.choice([[], ["Connection: close"]])
        data = head(f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields) + body
        return StuckUpload(self.exchange([[("read", 5), ("send", data), ("stop",)]], method="POST"))

    def upgrade(self):
        """Offered and declined, or a 101 that is none."""
        r = self.r
        fields = ["Connection: Upgrade", f"Upgrade: {r.choice(['foo', 'websocket'])}"]
        if r.random() < 0.7:
            return One(self.exchange([self.good_stage("GET")], fields=fields))
        return One(self.exchange([[("send", head("HTTP/1.1 101 Switching Protocols")), ("stop",)]]))

    def silent(self):
        if "response_header_timeout" not in self.pool:
            return self.one()
        return One(self.exchange([[("body",), ("stop",)]]))

    def interim(self):
        r = self.r
        hints = head("HTTP/1.1 103 Early Hints", "Link: </a>") * r.choice([1, 2, 5, 6, 7])
        stage = self.good_stage("GET")
        return One(self.exchange([[stage[0], ("send", hints + stage[1][1]), *stage[2:]]]))

    def close_idle(self):
        return CloseIdle()

    def refused(self):
        return Refused()


def run_go(seed, rest=REST):
    """What the origins saw after each step, and what the clients could tell at the end."""
    scenario = Scenario(seed)
    world = World(scenario, "go")
    try:
        seen = []
        for step in scenario.steps:
            step.run(world)
            seen.append(world.rest(rest))
        return seen, world.results
    finally:
        world.close()


def run_connleakd(seed, expected, results):
    scenario = Scenario(seed)
    world = World(scenario, "connleakd")
    try:
        for step, seen in zip(scenario.steps, expected):
            step.run(world)
            world.settle(seen, step)
        assert world.results == results
    except BaseException:
        print(f"{scenario}\n{world.subject.log()}", file=sys.stderr)
        raise
    finally:
        world.close()


@pytest.mark.skipif(bool(subjects.go_available()), reason=str(subjects.go_available()))
@pytest.mark.parametrize("seed", [int(ONE)] if ONE else range(1, SEEDS + 1))
def test_random_scenario(seed):
    if ONE:
        print(Scenario(seed))
    expected, results = run_go(seed)
    if subjects.chosen() == "go":       # is Go's outcome one and the same, run for run?
        again, results_again = run_go(seed)
        assert again == expected and results_again == results, Scenario(seed)
        return
    try:
        run_connleakd(seed, expected, results)
    except AssertionError:
        # Had Go come to its rest after each step, on a machine as busy as this? Looked at for longer, it may show more.
        later = run_go(seed, rest=10 * REST)
        if later == (expected, results):
            raise
        run_connleakd(seed, *later)
