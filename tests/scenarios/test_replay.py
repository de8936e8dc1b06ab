"""connleak replay: the clients of captures, played against the daemon, do the same again."""

import glob
import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import urllib.request

import pytest

from rig.subject import DAEMON, ROOT
from rig.wait import until
from test_schemas import faults, schema

CONNLEAK = os.path.join(os.path.dirname(DAEMON), "connleak")
SCHEMA = schema("connleak.replay-1")
MORE = os.environ.get("CONNLEAK_CAPTURES", os.path.join(os.path.dirname(ROOT), "shared", "captures"))


def captures():
    """Those of the repository, and of a larger collection where there is one."""
    found = {}
    for folder in (MORE, os.path.join(ROOT, "tests", "captures")):
        for path in glob.glob(os.path.join(folder, "*.pcap*")):
            found[os.path.basename(path)] = path
    return [pytest.param(found[name], id=name.split(".")[0]) for name in sorted(found)]


def replay(subject, path, *options, code=0, timeout=120):
    done = subprocess.run([CONNLEAK, "replay", path, "--proxy", "%s:%d" % subject.address, "--admin", "127.0.0.1:%d" % subject.admin[1], "--json", *options],
                          capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == code or (code is None and done.returncode in (0, 3)), (path, done.returncode, done.stdout, done.stderr)
    said = json.loads(done.stdout)
    assert list(faults(said, SCHEMA, SCHEMA)) == []
    return said


def analyzed(path):
    """The records of a capture, by id."""
    done = subprocess.run([CONNLEAK, "analyze", "--jsonl", path], capture_output=True, text=True, timeout=120, check=False)
    return {r["id"]: r for r in map(json.loads, done.stdout.splitlines())}


# Connections of these that cannot be played, or not whole, and why.
NOT_WHOLE = {
    "connect-curl-tinyproxy-tls": {"tunnel": 1, "opaque": 1},
    "midstart-go-nginx": {"began_before_capture": 1},
    "midstart-inbody-go": {"began_before_capture": 1},
    "refused-go": {"refused": 3},
    "snap96-go-5k-c1": {"bytes_lost": 2},
    "tls-go-closenotify-rst": {"opaque": 5},
    "tls-go-early-70k": {"opaque": 4},
    "tls-go-healthy": {"opaque": 1},
}


@pytest.fixture(scope="module")
def proxy():
    from rig.subject import SUBJECTS
    subject = SUBJECTS["connleakd"]()
    yield subject
    subject.stop()


@pytest.mark.parametrize("path", captures())
def test_every_capture_happens_again(proxy, path):
    name = os.path.basename(path).split(".")[0]
    said = replay(proxy, path, "--speed", "max")
    records = analyzed(path)
    assert said["totals"]["not_all_played"] == NOT_WHOLE.get(name, {})
    assert said["at_origins"]["not_in_capture"] == 0
    assert said["totals"]["connections"] == len(records) == len(said["connections"])
    assert [f for f in said["findings"] if f["differs"]] == []
    for c in said["connections"]:
        record = records[c["id"]]
        if c["gap"]:
            continue
        assert c["verdict"] in ("same", "explained")
        assert c["played"]["requests"] == record["requests"], c
        if not any(d["field"] == "early_close" for d in c["differences"]):
            assert c["played"]["early_close"] == record["evidence"]["early_close"], c
        assert c["daemon"]["requests"] == record["requests"] or any(d["field"] == "daemon.requests" for d in c["differences"]), c
        assert c["trouble"] is None or any(d["cause"] for d in c["differences"]), c


def test_by_the_clock_and_at_pace(proxy):
    """The same at the captured times, three times as fast: what waits for time takes that time."""
    for _ in range(20):
        said = replay(proxy, os.path.join(ROOT, "tests", "captures", "poolwait-go-max2-c8.pcap"), "--speed", "3", "--pace", code=None)
        assert said["totals"]["same"] == 2
        assert said["took_ms"] >= said["captured_ms"] / 3
        assert [f["kind"] for f in said["findings"]] == ["pool_wait"]
        if not said["findings"][0]["differs"]:   # where each request follows the answer before it at once: not on a busy machine
            break
    assert not said["findings"][0]["differs"]


def test_a_leak_stays_open_while_it_is_held(proxy):
    """Connections that the capture leaves open are the daemon's until the replay ends."""
    path = os.path.join(ROOT, "tests", "captures", "leak-go-cl5k-c1.pcap")
    running = subprocess.Popen([CONNLEAK, "replay", path, "--proxy", "%s:%d" % proxy.address, "--speed", "max", "--json", "--hold", "60s"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = json.loads(running.stdout.readline())
    assert said["totals"]["same"] == 6
    assert proxy.get("/metrics")["downstream"]["open"] >= 6
    running.terminate()
    assert running.wait(timeout=120) == 0
    until(lambda: proxy.get("/metrics")["downstream"]["open"] == 0, "the daemon to see them go")


def capture_tool():
    if shutil.which("tcpdump") is None or os.geteuid() != 0:
        return "needs tcpdump and root"
    probe = subprocess.run(["tcpdump", "-i", "lo", "-d", "tcp"], capture_output=True, timeout=120, check=False)
    return None if probe.returncode == 0 else "may not capture here"


# A kind of end each: reused, FIN, RST with bytes unread, FIN and then RST, held open, ended by the origin.
CIRCLE = ["healthy-go-cl100-c1", "early-go-cl3k-c1", "early-go-cl5k-c1", "early-go-trickle-fin-then-rst", "leak-go-cl5k-c1",
          "raw-cl-long-go", "timeout-go-noheaders", "slow-go-zero-window"]


@pytest.mark.skipif(capture_tool() is not None, reason=str(capture_tool()))
@pytest.mark.parametrize("name", CIRCLE)
def test_a_capture_of_the_replay_gives_the_same_ledger_again(proxy, tmp_path, name):
    seen = str(tmp_path / "replay.pcap")
    dump = subprocess.Popen(["tcpdump", "-U", "-i", "lo", "-B", "65536", "-w", seen, "tcp", "port", str(proxy.address[1])],
                            stderr=subprocess.PIPE, text=True)
    assert any("listening" in line for line in iter(dump.stderr.readline, ""))
    player = subprocess.Popen([CONNLEAK, "replay", os.path.join(ROOT, "tests", "captures", f"{name}.pcap"), "--proxy", "%s:%d" % proxy.address,
                               "--speed", "max", "--json", "--hold", "60s"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    first = json.loads(player.stdout.readline())
    # The kernel hands packets over in blocks, the last of them when a marker has come through.
    with socket.create_connection(proxy.address) as marker:
        mark = ("127.0.0.1:%d" % marker.getsockname()[1])
        until(lambda: mark in subprocess.run([CONNLEAK, "analyze", "--jsonl", seen], capture_output=True, text=True, check=False).stdout,
              "the marker in the capture")
        dump.terminate()
        dump.wait(timeout=120)
    player.terminate()
    player.wait(timeout=120)
    second = replay(proxy, seen, "--speed", "max")

    def ledger(said):
        return sorted((c["played"]["requests"], c["played"]["early_close"], c["played"]["close_by"], c["played"]["close_how"])
                      for c in said["connections"] if c["played"] and c["played"]["requests"])
    assert ledger(first) == ledger(second)
    # What is only called so after some time cannot be in a capture of a replay that took none.
    of_time = {"body_not_closed", "transport_per_request", "slow_reader"}

    def kinds(said):
        return {f["kind"] for f in said["findings"] if f["at_clients"]} - of_time
    assert kinds(first) == kinds(second)


@pytest.mark.parametrize("name", ["early-go-cl5k-c1", "srvidle-go-nginx-1s", "hints103-go", "post-100continue-curl-70k", "leak-go-cl5k-c1",
                                  "tls-go-healthy"])
def test_a_workload_without_names_and_content(proxy, tmp_path, name):
    path, work = os.path.join(ROOT, "tests", "captures", f"{name}.pcap"), str(tmp_path / "work.jsonl")
    subprocess.run([CONNLEAK, "analyze", "--export-workload", work, path], check=True, capture_output=True, timeout=120)
    said, of_capture = replay(proxy, work, "--speed", "max"), replay(proxy, path, "--speed", "max")
    assert said["made_up"] and not of_capture["made_up"]

    def ledger(report):
        return [(c["id"], c["verdict"], c["played"] and [c["played"][k] for k in ("requests", "early_close", "close_by", "close_how")])
                for c in report["connections"]]
    assert ledger(said) == ledger(of_capture)
    # Some rules want to know what a client is written with, which a workload does not say.
    assert {f["kind"] for f in said["findings"]} <= {f["kind"] for f in of_capture["findings"]}


def test_a_daemon_s_ledger_with_its_events_is_played_too(daemon, tmp_path):
    """What GET /ledger?events=true gives is enough; records without events do not say what was asked when."""
    first, second = daemon(), daemon()
    replay(first, os.path.join(ROOT, "tests", "captures", "churn-go-cl3k-c8.pcap"), "--speed", "max")
    url = "http://127.0.0.1:%d/ledger?events=true" % first.admin[1]
    lines = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=120).read().decode()
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(lines)
    said = replay(second, ledger, "--speed", "max")
    assert said["totals"]["connections"] == said["totals"]["same"] == 32
    assert sum(c["played"]["requests"] for c in said["connections"]) == 40
    bare = [{k: v for k, v in json.loads(line).items() if k != "events"} for line in lines.splitlines()]
    ledger.write_text("".join(json.dumps(r) + "\n" for r in bare))
    done = subprocess.run([CONNLEAK, "replay", ledger, "--proxy", "%s:%d" % second.address], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "events=true" in done.stderr and len(done.stderr.splitlines()) == 1


def test_findings_that_were_asked_for_are_99(proxy):
    path = os.path.join(ROOT, "tests", "captures", "early-go-cl5k-c1.pcap")
    for kinds, code in (("rst_unread_data", 99), ("any", 99), ("pool_wait", 0), ("pool_wait,early_body_close", 99)):
        replay(proxy, path, "--speed", "max", "--fail-on", kinds, code=code)


def test_another_behaviour_is_3(serve):
    """A proxy that answers 503 to everything: the clients cannot do what they did."""
    from rig.origin import always, answer
    origin = serve(always(answer(b"no", "503 No", fields=("Connection: close",))))
    path = os.path.join(ROOT, "tests", "captures", "healthy-go-cl100-c1.pcap")
    done = subprocess.run([CONNLEAK, "replay", path, "--proxy", "127.0.0.1:%d" % origin.port, "--speed", "max", "--json"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, (done.stdout, done.stderr)
    said = json.loads(done.stdout)
    assert said["totals"]["different"] == 1
    assert [d["field"] for d in said["connections"][0]["differences"]] == ["status"]


def test_live_origins_are_asked_with_safe_methods_alone(proxy, serve):
    """With --origin live it is said first what will be asked; POST only with --unsafe-methods."""
    path = os.path.join(ROOT, "tests", "captures", "post-100continue-curl-70k.pcap")
    done = subprocess.run([CONNLEAK, "replay", path, "--proxy", "%s:%d" % proxy.address, "--origin", "live", "--speed", "max", "--json"],
                          capture_output=True, text=True, timeout=120, check=False)
    said = json.loads(done.stdout)
    assert said["totals"]["not_all_played"] == {"unsafe_method": 1} and said["totals"]["not_played"] == 1
    assert "0 requests go to live origins" in done.stderr and "--unsafe-methods" in done.stderr


# -- captures made by hand

def segment(at, source, target, flags, seq, ack, data=b"", window=65535):
    """A pcap record: raw IPv4 between 10.0.0.1 and 10.0.0.2, ports as given."""
    ends = {1: bytes([10, 0, 0, 1]), 2: bytes([10, 0, 0, 2])}
    tcp = struct.pack("!HHIIBBHHH", source[1], target[1], seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, window, 0, 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, ends[source[0]], ends[target[0]]) + tcp
    return struct.pack("<IIII", 1700000000 + int(at), int(at % 1 * 1e6), len(ip), len(ip)) + ip


SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16


def conversation(*said, client=(1, 40000), server=(2, 80), begins=0.0):
    """[(who, bytes)], 'c' or 's', as segments; ends as the last item says: "fin", "rst" or "open"."""
    out = [struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101)]
    seq, at = {"c": 1000, "s": 9000}, begins

    def say(who, flags, data=b""):
        nonlocal at
        at += 0.001
        a, b = (client, server) if who == "c" else (server, client)
        out.append(segment(at, a, b, flags, seq[who], seq["s" if who == "c" else "c"] if flags & ACK else 0, data))
        seq[who] += len(data) + bool(flags & (SYN | FIN))
    say("c", SYN)
    say("s", SYN | ACK)
    say("c", ACK)
    for item in said[:-1]:
        say(item[0], PSH | ACK, item[1])
        say("s" if item[0] == "c" else "c", ACK)
    if said[-1] != "open":
        say("c", ACK | (FIN if said[-1] == "fin" else RST))
    return b"".join(out)


class Live(http.server.BaseHTTPRequestHandler):
    """Answers five bytes, and keeps its connection."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_GET(self):
        self.seen.append((self.client_address, self.path, self.headers["Host"]))
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


def test_a_live_origin_is_asked_the_captured_requests(proxy, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Live)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = b"127.0.0.1:%d" % server.server_port
    ask = b"GET /%d HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    answer = ("s", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    path = tmp_path / "live.pcap"
    path.write_bytes(conversation(("c", ask % 1), answer, ("c", ask % 2), answer, "fin"))
    try:
        said = replay(proxy, path, "--origin", "live", "--speed", "max")
    finally:
        server.shutdown()
        server.server_close()
    assert said["totals"]["same"] == 1 and said["totals"]["different"] == 0
    assert [(path, name) for _, path, name in Live.seen] == [("/1", host.decode()), ("/2", host.decode())]
    assert len({client for client, _, _ in Live.seen}) == 1  # both on one connection, as they were captured


@pytest.mark.parametrize("end", ["open", "fin", "rst"])
@pytest.mark.parametrize("length", ["4611686018427387904", "18446744073709551615", "9223372036854775807"])
def test_a_body_of_one_byte_announced_as_a_huge_one(proxy, tmp_path, end, length):
    path = tmp_path / "huge.pcap"
    path.write_bytes(conversation(("c", b"GET /huge HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                                  ("s", b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nx" % length.encode()), end))
    said = replay(proxy, str(path), "--speed", "max", code=None)
    assert said["totals"]["bytes_in"] < 1 << 20
    assert said["totals"]["filled_in"] == 0


def test_gaps_of_gigabytes_are_too_large(proxy, tmp_path):
    """Bytes that are missing are filled in, and there is a limit to that."""
    data = conversation(("c", b"GET /gap HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                        ("s", b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\nx"), "open")
    head = len(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n")
    more = b""
    for i in range(1, 4):  # each a hole of 900 MB, and acknowledged
        more += segment(1 + i, (2, 80), (1, 40000), PSH | ACK, 9001 + head + 900000000 * i, 1001, b"y")
        more += segment(1.5 + i, (1, 40000), (2, 80), ACK, 1001 + len(b"GET /gap HTTP/1.1\r\nHost: a.example\r\n\r\n"), 9002 + head + 900000000 * i)
    for i in range(20):
        more += segment(6 + i, (1, 40000), (2, 80), ACK, 1001 + len(b"GET /gap HTTP/1.1\r\nHost: a.example\r\n\r\n"), 9002 + head + 2700000000)
    path = tmp_path / "gap.pcap"
    path.write_bytes(data + more)
    said = replay(proxy, str(path), "--speed", "max", code=None)
    assert said["totals"]["bytes_in"] < 1 << 20
    assert said["totals"]["not_all_played"]


def test_many_origins_have_a_limit(proxy, tmp_path):
    talk = []
    for i in range(1100):
        talk += [("c", b"GET http://h%d.example/ HTTP/1.1\r\nHost: h\r\n\r\n" % i), ("s", b"HTTP/1.1 204 No\r\n\r\n")]
    path = tmp_path / "origins.pcap"
    path.write_bytes(conversation(*talk, "fin"))
    said = replay(proxy, str(path), "--speed", "max", code=None)
    assert len(said["origins"]) == 1024 and said["totals"]["not_all_played"] == {"too_large": 1}
    assert said["connections"][0]["played"]["requests"] == 1024


def test_equal_requests_get_their_own_answers(proxy, tmp_path):
    """Two clients ask for the same at the same time and are answered differently: each gets what it got."""
    one = conversation(("c", b"GET /same HTTP/1.1\r\nHost: a.example\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"), "fin")
    two = conversation(("c", b"GET /same HTTP/1.1\r\nHost: a.example\r\n\r\n"), ("s", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "fin",
                       client=(1, 40001))
    path = tmp_path / "equal.pcap"
    path.write_bytes(one + two[24:])
    for speed in ("max", "1", "50"):
        said = replay(proxy, str(path), "--speed", speed)
        assert said["totals"]["same"] == 2, said


@pytest.mark.parametrize("arguments, words", [
    ([], "FILE"), (["x.pcap"], "--proxy"), (["x.pcap", "--proxy", "nothing"], "HOST:PORT"),
    (["x.pcap", "--proxy", "127.0.0.1:1", "--speed", "0"], "--speed"), (["x.pcap", "--proxy", "127.0.0.1:1", "--origin", "mars"], "stub or live"),
    (["x.pcap", "--proxy", "127.0.0.1:1", "--pace", "--speed", "max"], "--pace"), (["x.pcap", "--proxy", "127.0.0.1:1", "--unsafe-methods"], "live"),
    (["x.pcap", "--proxy", "127.0.0.1:1", "--fail-on", "no_such_kind"], "--fail-on"), (["x.pcap", "y.pcap", "--proxy", "127.0.0.1:1"], "y.pcap"),
    (["x.pcap", "--proxy", "127.0.0.1:1"], "x.pcap"), (["/dev/null", "--proxy", "127.0.0.1:1"], "/dev/null"), (["--nonsense"], "nonsense"),
])
def test_what_is_wrong_is_said(arguments, words):
    done = subprocess.run([CONNLEAK, "replay", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and words in done.stderr and done.stdout == "", (done.stdout, done.stderr)


# -- what goes wrong on the way: one line says so, and the exit code is 1

HEALTHY = os.path.join(ROOT, "tests", "captures", "healthy-go-cl100-c1.pcap")


def failed(done, *words):
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and all(w in said[-1] for w in words), (done.returncode, done.stdout[-2000:], done.stderr)


def test_a_proxy_that_is_not_there():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % sock.getsockname()[1]
        done = subprocess.run([CONNLEAK, "replay", HEALTHY, "--proxy", address], capture_output=True, text=True, timeout=120, check=False)
    failed(done, address, "Connection refused")
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_a_proxy_that_dies_meanwhile(tmp_path):
    """It accepts one connection, reads a request and is gone."""
    one, two = (conversation(("c", b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % i), ("s", b"HTTP/1.1 204 No\r\n\r\n"), "fin",
                             client=(1, 40000 + i), begins=i) for i in range(2))
    path = tmp_path / "two.pcap"
    path.write_bytes(one + two[24:])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]

        def serve_once():
            sock = listener.accept()[0]
            sock.recv(65536)
            listener.close()
            sock.close()
        server = threading.Thread(target=serve_once)
        server.start()
        done = subprocess.run([CONNLEAK, "replay", path, "--proxy", address, "--speed", "max"], capture_output=True, text=True, timeout=120, check=False)
        server.join()
    failed(done, address, "1 of 2 connections", "Connection refused")
    assert "could not be reached" in done.stdout  # and the report says what was played


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(proxy, tmp_path, number):
    """A capture of an hour, of which nobody wants to see the end."""
    path = tmp_path / "hour.pcap"
    path.write_bytes(conversation(("c", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), ("s", b"HTTP/1.1 204 No\r\n\r\n"), "open") +
                     segment(3600, (1, 40000), (2, 80), ACK | FIN, 1040, 9027))
    before = proxy.get("/metrics")["downstream"]["requests"]
    running = subprocess.Popen([CONNLEAK, "replay", path, "--proxy", "%s:%d" % proxy.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: proxy.get("/metrics")["downstream"]["requests"] > before, "the request", timeout=30)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (1, "", "connleak replay: interrupted\n")


@pytest.mark.parametrize("clients, asking", [(32, True), (70, False)])
def test_descriptors_that_run_out(proxy, tmp_path, clients, asking):
    """64 are not enough for 70 clients, nor for 32 whose origins need one each. Nobody waits for ever, and nobody spins."""
    out = b""
    for i in range(clients):
        said = [("c", b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % i), ("s", b"HTTP/1.1 200 OK\r\n\r\nx")] if asking else []
        out += conversation(*said, "open", client=(1, 40000 + i))[24 if i else 0:]
    path = tmp_path / "many.pcap"
    path.write_bytes(out)
    before = os.times()
    done = subprocess.run(["sh", "-c", 'ulimit -n 64; exec "$0" "$@"', CONNLEAK, "replay", path, "--proxy", "%s:%d" % proxy.address, "--speed", "max"],
                          capture_output=True, text=True, timeout=300, check=False)
    failed(done, "no descriptor", "ulimit -n is 64")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < max(1, (after.elapsed - before.elapsed) / 4)


def test_a_full_disk(proxy):
    for options in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([CONNLEAK, "replay", HEALTHY, "--proxy", "%s:%d" % proxy.address, "--speed", "max", *options],
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (1, "connleak replay: stdout: No space left on device\n")


def test_a_fin_and_then_a_reset(proxy, tmp_path):
    """As Java's HttpClient gives up a body. Where the proxy's own FIN comes between the two, the report says so."""
    ask, head = b"GET /fin HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"
    path = tmp_path / "abandoned.pcap"
    path.write_bytes(conversation(("c", ask), ("s", head + b"x" * 1000), ("s", b"x" * 8000), "fin") +
                     segment(0.2, (1, 40000), (2, 80), ACK | RST, 1002 + len(ask), 9001 + len(head) + 9000))
    said = replay(proxy, str(path), "--speed", "max")
    played = said["connections"][0]
    assert said["totals"]["different"] == 0 and {d["cause"] for d in played["differences"]} <= {"fin_first"}, said
    assert (played["played"]["close_by"], played["played"]["close_how"]) == ("local", "fin")
    assert played["played"]["early_close"] in ("rst_after_complete", "fin_after_complete")


def test_the_last_answer_is_waited_for(proxy, tmp_path):
    """The capture ends in the middle of an answer: the client has its first byte, as captured, before the replay is over."""
    path = tmp_path / "end.pcap"
    path.write_bytes(conversation(("c", b"GET /end HTTP/1.1\r\nHost: a.example\r\n\r\n"), ("s", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), "open"))
    for _ in range(8):
        assert replay(proxy, str(path), "--speed", "max")["totals"]["same"] == 1


def test_an_answer_that_comes_before_the_request_is_sent(proxy, tmp_path):
    """A client is told 413 after a part of its body, and sends no more of it."""
    head = b"POST /big HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5000000\r\n\r\n"
    path = tmp_path / "413.pcap"
    path.write_bytes(conversation(("c", head + b"x" * 4000), ("c", b"y" * 4000),
                                  ("s", b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"), "fin"))
    for speed in ("max", "1"):
        said = replay(proxy, str(path), "--speed", speed)
        assert said["totals"]["same"] == 1, said
        assert said["connections"][0]["played"]["answers"] == 1
