"""TLS to origins: who is trusted, what is said when not, and how connections end."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from rig import sockets
from rig.client import Background
from rig.origin import Gone, always, answer, connections, head
from rig.subject import free_port
from rig.wait import DEADLINE, TICK, Gate, until

from test_proxy_basics import noise, ok, problem

FIVE = answer(b"hello")


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Certificates:
    """An authority of its own, and certificates by it: good, expired, for another host; and one by itself."""

    def __init__(self, folder):
        self.folder = folder
        openssl("ecparam", "-name", "prime256v1", "-out", "curve.pem", cwd=folder)
        self._ca("ca", "connleak test CA")
        self._ca("other", "another CA")
        self._leaf("good", "localhost", "DNS:localhost,IP:127.0.0.1", "ca")
        self._leaf("wrong", "elsewhere.example", "DNS:elsewhere.example", "ca")
        self._leaf("stranger", "localhost", "DNS:localhost,IP:127.0.0.1", "other")
        self._leaf("expired", "localhost", "DNS:localhost,IP:127.0.0.1", "ca", dates=("200101000000Z", "210101000000Z"))
        self._leaf("future", "localhost", "DNS:localhost,IP:127.0.0.1", "ca", dates=("400101000000Z", "410101000000Z"))
        openssl("req", "-x509", "-newkey", "ec:curve.pem", "-nodes", "-keyout", "self.key", "-out", "self.pem", "-days", "30",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", cwd=folder)

    def _ca(self, name, subject):
        openssl("req", "-x509", "-newkey", "ec:curve.pem", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30",
                "-subj", f"/CN={subject}", "-addext", "keyUsage=critical,keyCertSign", cwd=self.folder)

    def _leaf(self, name, common, san, ca, dates=None):
        openssl("req", "-newkey", "ec:curve.pem", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={common}", cwd=self.folder)
        base = os.path.join(self.folder, f"{name}.d")
        os.mkdir(base)
        for made, text in (("index.txt", ""), ("serial", f"{abs(hash(name)) % 10**8:08d}\n")):
            with open(os.path.join(base, made), "w", encoding="ascii") as out:
                out.write(text)
        with open(os.path.join(base, "ca.cnf"), "w", encoding="ascii") as out:
            out.write(f"""[ca]
default_ca = d
[d]
database = {base}/index.txt
serial = {base}/serial
new_certs_dir = {base}
default_md = sha256
default_days = 30
policy = p
x509_extensions = e
unique_subject = no
[p]
commonName = supplied
[e]
subjectAltName = {san}
basicConstraints = CA:FALSE
""")
        when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else []
        openssl("ca", "-batch", "-notext", "-config", os.path.join(base, "ca.cnf"), "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key",
                "-in", f"{name}.csr", "-out", f"{name}.pem", *when, cwd=self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def context(self, name="good", **versions):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        for key, value in versions.items():
            setattr(context, key, value)
        return context


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return Certificates(str(tmp_path_factory.mktemp("certs")))


def upstream(proxy):
    return [r for r in proxy.ledger() if r["side"] == "upstream"]


def closed_record(proxy, n=0):
    """The n-th upstream record, once its connection is closed."""
    def fact():
        rows = sorted((r for r in upstream(proxy) if r["state"] == "closed"), key=lambda r: int(r["id"].split("-")[1]))
        return rows[n] if len(rows) > n else None
    return until(fact, lambda: f"a closed upstream record: {upstream(proxy)}")


# -- what holds for plain connections holds here: vectors, with both subjects

def test_T141_reuse_and_idle_timeout(start, serve, certs):
    proxy = start(upstream_ca=certs.path("ca.pem"), idle_conn_timeout="500ms")
    for _ in range(20):
        origin, begun = serve(always(FIVE), tls=certs.context()), time.monotonic()
        for _ in range(3):
            ok(proxy.fetch(origin.url(host="localhost")))
        if time.monotonic() - begun < 0.45:   # else the machine was too busy to use it again in time
            break
    origin.settle("3F")


def test_T72_close_notify_on_an_idle_connection(start, serve, certs):
    gate = Gate()

    def script(conn):
        conn.read_request()
        conn.send(FIVE)
        gate.wait()
        conn.sock.settimeout(DEADLINE)
        try:
            conn.own_end = "S"
            conn.sock.unwrap()           # close_notify, and wait for the other one's
        except (OSError, ssl.SSLError):
            pass
    proxy = start(upstream_ca=certs.path("ca.pem"))
    origin = serve(connections(script, always(FIVE)), tls=certs.context())
    ok(proxy.fetch(origin.url(host="localhost")))
    gate.open()
    conn = origin.conns[0]
    sockets.wait_state(conn.peer_port, origin.port, (None, sockets.TIME_WAIT, sockets.FIN_WAIT2, sockets.FIN_WAIT1))
    ok(proxy.fetch(origin.url(host="localhost")))
    assert [len(c.requests) for c in origin.conns] == [1, 1]


def test_T142_handshake_that_never_ends(start, serve, certs):
    proxy = start(upstream_ca=certs.path("ca.pem"), tls_handshake_timeout="100ms")
    origin = serve(lambda conn: None)      # accepts, reads, says nothing
    response = proxy.fetch(f"https://localhost:{origin.port}/")
    assert response.status in (502, 504), response
    origin.settle("0F")


def test_T144_early_close(start, serve, certs):
    """With much unread the kernel resets, as over plain TCP."""
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", f"Content-Length: {1 << 40}"))
        conn.send_forever(b"x" * 65536)
    proxy = start(upstream_ca=certs.path("ca.pem"))
    origin = serve(script, tls=certs.context())
    client = proxy.client(rcvbuf=4096)
    client.ask(origin.url(host="localhost"))
    client.read_head()
    origin.conns[0].wait_stuck()
    client.close()
    origin.settle("1R")


def test_T144_early_close_with_nothing_unread(start, serve, certs):
    proxy = start(upstream_ca=certs.path("ca.pem"))
    origin = serve(always(answer(b"part", length=1000)), tls=certs.context())
    client = proxy.client().ask(origin.url(host="localhost"))
    client.read_head()
    client.read_exactly(4)
    client.close()
    origin.settle("1F")


def test_stale_connections_and_retries(start, serve, certs):
    def stale(conn):
        conn.read_request()
        conn.send(FIVE)
        conn.read_request()
        conn.own_end = "S"
        conn.sock.shutdown(socket.SHUT_RDWR)
    proxy = start(upstream_ca=certs.path("ca.pem"))
    origin = serve(connections(stale, stale, always(FIVE)), tls=certs.context())
    for _ in range(2):
        ok(proxy.fetch(origin.url(host="localhost")))
    assert proxy.fetch(origin.url(host="localhost"), method="POST", body=b"abc").status == 502
    assert [len(c.requests) for c in origin.conns] == [2, 2]


# -- the daemon alone: trust, records, reasons

def test_a_good_chain(daemon, serve, certs):
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(always(FIVE), tls=certs.context())
    for _ in range(3):
        ok(proxy.fetch(origin.url(host="localhost")))
        ok(proxy.fetch(origin.url()))           # by address: another key
    assert sorted(len(c.requests) for c in origin.conns) == [3, 3]
    rows = upstream(proxy)
    assert len(rows) == 2 and all(r["tls"] and r["key"]["scheme"] == "https" for r in rows)
    assert all("TLSv1.3" in json.dumps(r["tls"]) or "1.3" in json.dumps(r["tls"]) for r in rows)
    assert all(r["tls_ms"] > 0 for r in rows)


def test_sni_and_alpn(daemon, serve, certs):
    names = []
    context = certs.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(always(FIVE), tls=context)
    ok(proxy.fetch(origin.url(host="localhost")))
    assert names == ["localhost"]
    assert origin.conns[0].sock.selected_alpn_protocol() == "http/1.1"
    ok(proxy.fetch(origin.url()))
    assert names == ["localhost", None]     # RFC 6066: no address in SNI


def test_session_resumption(daemon, serve, certs):
    resumed = []

    def script(conn):
        conn.read_request()
        resumed.append(conn.sock.session_reused)
        conn.send(answer(fields=["Connection: close"]))
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(script, tls=certs.context())
    for _ in range(3):
        ok(proxy.fetch(origin.url(host="localhost")))
    assert resumed == [False, True, True]


BAD = {
    "expired": ("expired", "localhost", "expired"),
    "not yet valid": ("future", "localhost", "yet"),
    "another host": ("wrong", "localhost", "host"),
    "another address": ("wrong", "127.0.0.1", "IP|host|address"),
    "self-signed": ("self", "localhost", "self"),
    "unknown authority": ("stranger", "localhost", "issuer|authority|self"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_certificates(daemon, serve, certs, case):
    name, host, word = BAD[case]
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(always(FIVE), tls=certs.context(name))
    response = proxy.fetch(origin.url(host=host))
    body = problem(response, 502, "tls_certificate_error")
    assert any(w.lower() in (body.get("detail") or "").lower() for w in word.split("|")), body
    assert origin.total_requests() == 0
    record = closed_record(proxy)
    assert record["close"]["reason"] == "tls_error" and record["requests"] == 0
    assert proxy.get("/metrics")["upstream"]["dial_errors"] >= 1


def test_the_systems_store_does_not_know_us(daemon, serve, certs):
    proxy = daemon()
    origin = serve(always(FIVE), tls=certs.context())
    problem(proxy.fetch(origin.url(host="localhost")), 502, "tls_certificate_error")


def test_old_versions_are_refused(daemon, serve, certs):
    context = certs.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    origin = serve(always(FIVE), tls=context)
    ok(daemon(upstream_ca=certs.path("ca.pem")).fetch(origin.url(host="localhost")))
    proxy = daemon(upstream_ca=certs.path("ca.pem"), settings={"tls.min_version": "1.3"})
    response = proxy.fetch(origin.url(host="localhost"))
    problem(response, 502)
    assert "error=tls_" in response.value("Proxy-Status")


def test_plain_http_where_tls_was_expected(daemon, serve, certs):
    def script(conn):
        conn._recv()
        conn.send(answer(b"no TLS here", status="400 Bad Request"))
    proxy, origin = daemon(upstream_ca=certs.path("ca.pem")), serve(script)
    response = proxy.fetch(f"https://localhost:{origin.port}/")
    problem(response, 502)
    assert "error=tls_" in response.value("Proxy-Status")
    assert closed_record(proxy)["close"]["reason"] == "tls_error"


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_an_end_within_the_handshake(daemon, serve, certs, end):
    def script(conn):
        conn._recv()
        getattr(conn, end)()
    proxy, origin = daemon(upstream_ca=certs.path("ca.pem")), serve(script)
    problem(proxy.fetch(f"https://localhost:{origin.port}/"), 502)
    record = closed_record(proxy)
    assert record["close"]["reason"] in ("tls_error", "dial_error"), record["close"]
    assert record["close"]["phase"] == "dialing", record["close"]
    assert record["rst_received"] is (end == "rst"), record


def test_the_handshakes_timeout(daemon, serve, certs):
    proxy, origin = daemon(upstream_ca=certs.path("ca.pem"), tls_handshake_timeout="150ms"), serve(lambda conn: None)
    begun = time.monotonic()
    problem(proxy.fetch(f"https://localhost:{origin.port}/"), 504)
    assert 0.15 - TICK <= time.monotonic() - begun < 8   # 10 s is the default
    origin.settle("0F")
    assert closed_record(proxy)["close"]["reason"] == "tls_error"


def test_a_client_that_leaves_within_the_handshake(daemon, serve, certs):
    proxy, origin = daemon(upstream_ca=certs.path("ca.pem")), serve(lambda conn: None)
    client = proxy.client().ask(f"https://localhost:{origin.port}/")
    origin.wait_conns(1)
    origin.conns[0].wait_read()
    client.close()
    origin.settle("0F|0R")


def test_close_notify_fin_and_rst_are_told_apart(daemon, serve, certs):
    """Ends of three idle connections, as the origin made them, as the ledger tells them."""
    def script(conn):
        conn.read_request()
        conn.send(FIVE)
        gates[conn.index].wait()
        if conn.index == 0:
            conn.own_end = "S"
            conn.sock.settimeout(DEADLINE)
            try:
                conn.sock.unwrap()
            except (OSError, ssl.SSLError):
                pass
            conn.ended.set()
        elif conn.index == 1:
            conn.own_end = "S"
            socket.socket.shutdown(conn.sock, socket.SHUT_WR)
            conn.drain()
        else:
            conn.own_end = "X"
            conn.ended.set()
            sockets.reset(conn.sock)
            raise Gone
    gates = [Gate(str(n)) for n in range(3)]
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(script, tls=certs.context())
    events = []
    for n in range(3):
        ok(proxy.fetch(origin.url(host="localhost")))
        gates[n].open()
        record = closed_record(proxy, n)
        assert record["close"]["reason"] in ("server_closed_idle", "read_error"), record["close"]
        # close_notify leaves the first FIN to us; the other ends are the origin's own.
        assert record["close"]["by"] == ("local" if n == 0 else "remote"), record["close"]
        assert record["rst_received"] is (n == 2), record
        assert record["tls"]["close_notify"] is (n == 0), record
        events.append(json.dumps(proxy.get(f"/connections/{record['id']}")["events"]))
    for n, word in enumerate(("close_notify", "fin_received", "rst_received")):
        assert [word in told for told in events] == [i == n for i in range(3)], (word, events)


@pytest.mark.parametrize("framing", ["content-length", "until-eof"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_body_cut_without_close_notify(daemon, serve, certs, framing, version):
    """A FIN without close_notify may be anybody's: an until-EOF body that ends so is cut, not complete."""
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK", *(["Content-Length: 100"] if framing == "content-length" else [])) + b"hello")
        conn.own_end = "S"
        socket.socket.shutdown(conn.sock, socket.SHUT_WR)
        conn.drain()
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(script, tls=certs.context())
    client = proxy.client().ask(origin.url(host="localhost"), version=version)
    response = client.response()
    assert response.status == 200, response
    if response.framing == "until-eof":
        assert response.ended_by == "R", response
    else:
        assert not response.complete, response


def test_until_eof_with_close_notify(daemon, serve, certs):
    def script(conn):
        conn.read_request()
        conn.send(head("HTTP/1.1 200 OK") + b"hello")
        conn.own_end = "S"
        conn.sock.settimeout(DEADLINE)
        try:
            conn.sock.unwrap()
        except (OSError, ssl.SSLError):
            pass
        conn.ended.set()
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(script, tls=certs.context())
    ok(proxy.fetch(origin.url(host="localhost")))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 5 << 20])
def test_bodies(daemon, serve, certs, version, size):
    context = certs.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    body = noise(size, seed=7)
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    origin = serve(always(answer(body)), tls=context)
    client = proxy.client()
    client.send(head(f"POST https://localhost:{origin.port}/ HTTP/1.1", f"Host: localhost:{origin.port}", f"Content-Length: {size}"))
    writer = Background(client.send, body)
    ok(client.response("POST"), body)
    writer.result()
    assert origin.conns[0].requests[0].body == body


def test_reverse_mode_to_a_tls_origin(daemon, serve, certs):
    origin = serve(always(FIVE), tls=certs.context())
    proxy = daemon(upstream_ca=certs.path("ca.pem"), settings={"proxy.mode": "reverse",
                                                               "proxy.upstream": f"https://localhost:{origin.port}"})
    client = proxy.client()
    for _ in range(2):
        ok(client.send(head("GET /x HTTP/1.1", "Host: public")).response("GET"))
    assert [len(c.requests) for c in origin.conns] == [2]


def test_keylog_file(daemon, serve, certs, tmp_path):
    path = tmp_path / "keys"
    proxy = daemon(upstream_ca=certs.path("ca.pem"), settings={"tls.keylog_file": path})
    origin = serve(always(FIVE), tls=certs.context())
    ok(proxy.fetch(origin.url(host="localhost")))
    assert "TRAFFIC_SECRET_0" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


# -- other people's servers

@pytest.fixture
def s_server(certs):
    started = []

    def start_server(*args):
        port = free_port()
        process = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-quiet", *args], cwd=certs.folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)

        def up():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False
        until(up, "openssl s_server to listen")
        return port
    yield start_server
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
@pytest.mark.parametrize("name,status", [("good", 200), ("expired", 502), ("wrong", 502), ("self", 502), ("stranger", 502)])
def test_openssl_s_server(daemon, certs, s_server, name, status):
    port = s_server("-cert", f"{name}.pem", "-key", f"{name}.key")
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    response = proxy.fetch(f"https://localhost:{port}/")
    assert response.status == status and response.complete, response
    if status == 502:
        problem(response, 502, "tls_certificate_error")


def test_openssl_s_server_wants_a_client_certificate(daemon, certs, s_server):
    port = s_server("-cert", "good.pem", "-key", "good.key", "-Verify", "1", "-verify_return_error")
    proxy = daemon(upstream_ca=certs.path("ca.pem"))
    response = proxy.fetch(f"https://localhost:{port}/")
    assert response.status == 502 and response.value("Proxy-Status"), response


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here")
def test_nginx_with_tls(daemon, certs, tmp_path):
    """Reuse until keepalive_requests, early closes, and an end by nginx's keepalive_timeout."""
    from rig.nginx import Nginx
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "small").write_bytes(b"s" * 1000)
    (tmp_path / "www" / "big").write_bytes(b"b" * (16 << 20))
    with Nginx(tmp_path, tls=(certs.path("good.pem"), certs.path("good.key")), keepalive_requests=50) as nginx:
        proxy = daemon(upstream_ca=certs.path("ca.pem"))
        for _ in range(100):
            assert proxy.fetch(nginx.url("/small")).body == b"s" * 1000
        metrics = proxy.get("/metrics")["upstream"]
        assert (metrics["dials"], metrics["requests"], metrics["reused"]) == (2, 100, 98), metrics
        for _ in range(3):
            client = proxy.client(rcvbuf=4096)
            client.ask(nginx.url("/big"))
            client.read_head()
            client.read_exactly(1000)
            client.close()
        until(lambda: proxy.get("/metrics")["upstream"]["early_body_closes"] == 3, "three early closes")
        rows = [r for r in upstream(proxy) if r["close"]["reason"] == "early_close"]
        assert len(rows) == 3 and all(r["early_closes"] == 1 and r["tls"] for r in rows), rows


class Trickle:
    """Between proxy and origin: what the origin sends goes on in pieces of `size` bytes, each when the one before is read."""

    def __init__(self, origin, size):
        self.origin, self.size = origin, size
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.create_connection(("127.0.0.1", self.origin.port))
            threading.Thread(target=self._pump, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, self.size), daemon=True).start()

    @staticmethod
    def _pump(source, sink, size):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                for at in range(0, len(data), size or len(data)):
                    sink.sendall(data[at:at + (size or len(data))])
                    if size:
                        sockets.wait_all_read(sink)
        except (OSError, AssertionError):
            sink.close()

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("size", [3, 1000])
def test_records_that_come_in_parts(daemon, serve, certs, size):
    """The beginning of a record is nothing to be read yet; once it was taken for that, over and over."""
    body = noise(9000 if size > 100 else 40)
    origin = serve(always(answer(body)), tls=certs.context())
    trickle = Trickle(origin, size)
    try:
        proxy = daemon(upstream_ca=certs.path("ca.pem"), tls_handshake_timeout="1h")
        for _ in range(2):
            assert proxy.fetch(f"https://localhost:{trickle.port}/").body == body
        assert len(origin.conns) == 1
    finally:
        trickle.close()


@pytest.mark.parametrize("copy_buffer_size", ["1k", "32k"])
def test_a_switch_and_what_follows_it_in_one_record(daemon, serve, certs, copy_buffer_size):
    """No event tells of bytes that are decrypted already: neither a full read buffer nor a few rounds may strand them."""
    rest = noise(15000)

    def script(conn):
        conn.read_head()
        conn.send(head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: foo") + rest)
    origin = serve(script, tls=certs.context())
    proxy = daemon(upstream_ca=certs.path("ca.pem"), copy_buffer_size=copy_buffer_size)
    client = proxy.client().ask(origin.url(host="localhost"), fields=["Connection: Upgrade", "Upgrade: foo"])
    assert client.read_head().status == 101
    assert client.read_exactly(len(rest)) == rest
