"""connleak whatif, GET /whatif and analyze --export-workload: what other limits would have done."""

import gzip
import json
import os
import re
import signal
import subprocess
import time

import pytest

from rig.subject import build_go
from rig.wait import until
from test_schemas import check, faults, schema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONNLEAK = os.environ.get("CONNLEAK", os.path.join(ROOT, "build", "connleak"))
CAPTURES = os.path.join(ROOT, "tests", "captures")


def connleak(*args, code=0, stdin=None):
    done = subprocess.run([CONNLEAK, *args], capture_output=True, timeout=120, input=stdin, check=False)
    assert done.returncode == code, (args, done.returncode, done.stderr.decode(), done.stdout.decode()[:500])
    return done


def whatif(path, *args, **kwargs):
    answer = json.loads(connleak("whatif", path, "--json", *args, **kwargs).stdout)
    check(answer, "connleak.whatif-1")
    return answer


def capture(name):
    return next(os.path.join(CAPTURES, n) for n in os.listdir(CAPTURES) if n.startswith(name + ".pcap"))


# -- captures

# What the model must give back of each capture with Go's defaults: where good connections ended for
# other reasons than limits (a leak, a body of which nobody can see whether it was read) it gives less.
EXACT = {
    "churn-go-cl3k-c8": 32, "early-go-cl5k-c1": 6, "early-go-chunked5k-c8": 16, "healthy-go-cl100-c1": 1,
    "nokeep-go-cl100-c1": 8, "eof-body-go": 3, "srvidle-go-idle300": 5, "srvidle-go-nginx-1s": 3, "http10-ab-keepalive-c2": 2,
    "timeout-go-noheaders": 3, "proxy-go-tinyproxy": 8, "tuple-reuse-raw": 3, "head-go": 1, "midstart-go-nginx": 0,
    "any-sll2-go-v4v6": 2, "healthy-node-chunked5k-pcapng": 1, "idlerst-go-raw": 4, "rst-midbody-server-go": 3,
}


@pytest.mark.parametrize("name", EXACT)
def test_the_model_gives_back_what_a_capture_shows(name):
    w = whatif(capture(name), "--no-advice")
    assert w["observed"]["dials"] == w["base"]["dials"] == EXACT[name]
    assert w["observed"]["requests"] == w["base"]["requests"]
    assert w["observed"]["reused"] == w["base"]["reused"]


def test_churn_ends_with_as_many_idle_connections_as_run_at_a_time():
    w = whatif(capture("churn-go-cl3k-c8"), "--set", "max_idle_conns_per_host=2,7,8,100")
    assert [row["dials"] for row in w["rows"]] == [32, 12, 8, 8]
    assert w["base"]["closes"] == {"too_many_idle_host": 30}
    advice = w["advice"]
    assert advice["settings"]["max_idle_conns_per_host"] == 8 and advice["dials"] == 8 and not advice["is_base"]
    assert advice["origins"][0]["max_idle_conns_per_host"] == 8


def test_a_timeout_is_advised_just_below_the_server_s():
    advice = whatif(capture("srvidle-go-idle300"))["advice"]
    assert advice["settings"]["idle_conn_timeout"] == "270ms"
    assert 299 < advice["origins"][0]["server"]["idle_timeout_ms"] < 310
    assert advice["closes"] == {"idle_timeout": 5}


def test_newer_go_would_have_kept_what_was_given_up():
    rows = whatif(capture("early-go-cl5k-c1"), "--set", "profile=go1.19,go1.27")["rows"]
    assert [row["dials"] for row in rows] == [6, 1]


def test_dials_that_no_limit_explains_are_said_to_be_that():
    w = whatif(capture("tpr-go-cl100-c1"))
    assert w["observed"]["dials"] == 10 and w["base"]["dials"] == 1
    assert any(note.startswith("9 dials are not a matter of these limits") for note in w["notes"])


def test_what_cannot_be_seen_is_named():
    notes = whatif(capture("tls-go-healthy"))["notes"]
    assert any("cannot be looked into" in note for note in notes), notes


def test_keys_of_a_proxy_and_direct_ones_can_be_compared(tmp_path):
    lines = [{"schema": "connleak.workload/1", "observer": "capture", "arrivals": "sent", "began_at": "2026-01-02T03:04:05.000000Z",
              "duration_ms": 60000, "anonymous": True, "origins": 8, "connections": 8, "exchanges": 40}]
    lines += [{"type": "origin", "row": n, "scheme": "http", "host": f"host-{n}.invalid:80"} for n in range(8)]
    lines += [{"type": "connection", "row": n, "id": f"c-{n + 1}", "client": "client-1", "server": f"server-{n}:80", "origin": n,
               "opened_ms": 0, "dial_ms": 1, "opened_known": True, "dialed": True, "requests": 5} for n in range(8)]
    lines += [{"type": "exchange", "connection": n, "origin": n, "at_ms": 1000 * i + n, "done_ms": 20, "status": 200, "end": "complete"}
              for i in range(5) for n in range(8)]
    path = tmp_path / "eight"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    rows = whatif(str(path), "--set", "keys=direct,proxy")["rows"]
    assert [row["dials"] for row in rows] == [8, 32], "eight hosts reuse well directly, and churn through one key"


# -- what is said where something is wrong

@pytest.mark.parametrize("args, words", [
    ([], "a FILE is needed"),
    (["x", "y"], "one FILE"),
    (["x", "--set"], "--set needs a key and its values"),
    (["x", "--set", "color=red"], "--set: no such key: \"color\""),
    (["x", "--set", "max_idle_conns=1,many"], "--set: max_idle_conns: expected a number from -1 to 1000000, found \"many\""),
    (["x", "--base", "max_idle_conns=1,2"], "--base: one value for max_idle_conns"),
    (["x", "--set", "max_idle_conns=" + ",".join(map(str, range(21))), "--set", "max_conns_per_host=" + ",".join(map(str, range(20)))],
     "more than 400 combinations"),
    (["/nowhere/at/all"], "/nowhere/at/all: No such file"),
])
def test_usage_errors_are_one_line(args, words):
    error = connleak("whatif", *args, code=2).stderr.decode()
    assert words in error and error.count("\n") == 1, error


@pytest.mark.parametrize("text, words", [
    (b"", "it is empty"),
    (b"{}\n", "line 1: expected a capture, a workload (connleak.workload/1) or a ledger (connleak.conn/1)"),
    (b"not a capture at all", "expected a pcap or pcapng file"),
    (b'{"schema":"connleak.workload/1","exchanges":4611686018427387904}\n', "the end: expected 4611686018427387904 exchanges"),
    (b'{"schema":"connleak.workload/1"}\n{"type":"exchange","connection":7}\n',
     "line 2: connection: expected the row of a connection that came before, found 7"),
])
def test_input_errors_name_the_file_and_the_place(tmp_path, text, words):
    path = tmp_path / "input"
    path.write_bytes(text)
    error = connleak("whatif", str(path), code=2).stderr.decode()
    assert str(path) in error and words in error and error.count("\n") == 1, error


def test_a_capture_that_is_cut_gives_what_it_has():
    done = connleak("whatif", capture("truncated-file-go-3k"), "--json", code=2)
    assert b"the record is cut" in done.stderr
    assert json.loads(done.stdout)["observed"]["dials"] == 1


# -- workloads

def test_an_exported_workload_is_the_capture_without_its_names(tmp_path):
    out = tmp_path / "w.jsonl"
    for name in ("churn-go-cl3k-c8", "proxy-go-tinyproxy", "srvidle-go-idle300", "any-sll2-go-v4v6", "hints103-go"):
        connleak("analyze", "--jsonl", "--export-workload", str(out), capture(name))
        text = out.read_text(encoding="utf-8")
        assert not re.search(r"127\.0\.0\.1|::1|localhost|User-Agent|Go-http-client", text)
        check_workload(text)
        a, b = whatif(str(out)), whatif(capture(name))
        for member in ("observed", "base", "notes"):
            assert a[member] == b[member], (name, member)


def check_workload(text):
    rules = schema("connleak.workload-1")
    for number, line in enumerate(map(json.loads, text.splitlines())):
        rule = rules["$defs"]["header" if number == 0 else line["type"]]
        found = list(faults(line, rule, rules)) + list(faults(line, rules, rules))
        assert not found, (number, found)


def test_stdin_and_gzip_are_read_too(tmp_path):
    out = tmp_path / "w.jsonl"
    connleak("analyze", "--jsonl", "--export-workload", str(out), capture("churn-go-cl3k-c8"))
    want = whatif(str(out))["base"]
    packed = tmp_path / "w.jsonl.gz"
    packed.write_bytes(gzip.compress(out.read_bytes()))
    assert whatif(str(packed))["base"] == want
    for content in (out.read_bytes(), packed.read_bytes(), open(capture("churn-go-cl3k-c8"), "rb").read()):
        assert json.loads(connleak("whatif", "-", "--json", stdin=content).stdout)["base"]["dials"] == want["dials"]


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    done = connleak("analyze", "--jsonl", "--export-workload", str(tmp_path / "no" / "w"), capture("head-go"), code=1)
    assert done.stderr.endswith(b"/no/w: No such file or directory\n") and not done.stdout, "it is said before the capture is read"


def test_a_capture_s_ledger_is_read_and_its_numbers_called_estimates(tmp_path):
    path = tmp_path / "ledger"
    path.write_bytes(connleak("analyze", "--jsonl", capture("srvidle-go-idle300")).stdout)
    w = whatif(str(path))
    assert w["observed"]["dials"] == w["base"]["dials"] == 5
    assert w["advice"]["settings"]["idle_conn_timeout"] == "270ms"
    assert any("estimates" in note for note in w["notes"])


# -- a daemon that really runs

def manyhosts(daemon, requests, rate=500, origins=20, seed=1, idle="0"):
    """Open-loop load: the same seed asks the same at the same times. What its origins saw."""
    done = subprocess.run([build_go("manyhosts"), "-proxy", "%s:%d" % daemon.address, "-origins", str(origins), "-idle", idle,
                           "-requests", str(requests), "-rate", str(rate), "-seed", str(seed)], capture_output=True, timeout=600, check=True)
    seen = json.loads(done.stdout)
    assert seen["failed"] == 0 and seen["served"] == requests
    return seen


def apart(a, b):
    return abs(a - b) / b


def ask(daemon, query=""):
    answer = daemon.get("/whatif" + query)
    check(answer, "connleak.whatif-1")
    return answer


STALL = 20   # ms; a machine that stands still for longer brings requests in other bunches than its clients sent them


def model_and_reality(proxy, requests, stalled):
    """Its own configuration through the model is what it did; nearly, where the machine stood still for `stalled` ms."""
    real = proxy.get("/metrics")["upstream"]
    w = ask(proxy, "?max_idle_conns_per_host=2,100")
    assert w["observed"]["dials"] == real["dials"] and w["observed"]["requests"] == real["requests"] == requests
    assert w["observed"]["reused"] == real["reused"]
    nearly = 0.02 if stalled <= STALL else 0.1
    assert apart(w["base"]["dials"], real["dials"]) < nearly or abs(w["base"]["dials"] - real["dials"]) < 10, (w["base"], w["observed"])
    assert apart(w["base"]["reused"], real["reused"]) < nearly, (w["base"], w["observed"])
    return w, real["dials"]


def test_the_daemon_knows_what_it_would_have_done(daemon):
    """And what it advises, set for real, is what it promised."""
    for _ in range(3):
        before = daemon()
        stalled = manyhosts(before, 3000)["stalled_ms"]
        w, dials = model_and_reality(before, 3000, stalled)
        assert w["rows"][0]["dials"] == w["base"]["dials"]
        advice = w["advice"]
        assert not advice["is_base"] and advice["dials"] < dials / 2

        after = daemon(**{key: value for key, value in advice["settings"].items() if key != "keys"})
        stalled = max(stalled, manyhosts(after, 3000)["stalled_ms"])
        _, then = model_and_reality(after, 3000, stalled)
        assert then < dials / 2
        # Some hundreds of dials: what 100,000 requests show within 5 % (make bench-whatif), these do within 10. Where the
        # machine stalled, nothing was promised.
        if apart(then, advice["dials"]) < 0.10:
            return
        assert stalled > STALL, (then, advice["dials"], stalled)
    pytest.skip(f"the machine is too busy: it stood still for {stalled} ms; the model was right all the same")


@pytest.mark.parametrize("limit", [0, 3])
def test_clients_that_wait_for_their_answers(daemon, limit):
    """Answers and new requests come in the same round of the daemon's loop then, and which goes first decides who reuses what: the
    model is told in which order the pool was asked."""
    proxy = daemon(max_conns_per_host=limit)
    subprocess.run([build_go("manyhosts"), "-proxy", "%s:%d" % proxy.address, "-origins", "5", "-requests", "3000", "-workers", "30"],
                   capture_output=True, timeout=600, check=True)
    w = ask(proxy)
    assert w["observed"]["requests"] == 3000 and w["observed"]["dials"] >= 15
    assert apart(w["base"]["dials"], w["observed"]["dials"]) < 0.02 or abs(w["base"]["dials"] - w["observed"]["dials"]) < 3, (w["base"], w["observed"])
    assert w["base"]["peak_open"] == w["observed"]["peak_open"]
    assert apart(w["base"]["wait_ms"]["p99"], w["observed"]["wait_ms"]["p99"]) < 0.15


def status_of_whatif(admin):
    return subprocess.run(["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", f"{admin}/whatif"], capture_output=True, check=True).stdout


def test_a_long_what_if_keeps_nobody_waiting(daemon, tmp_path):
    proxy = daemon()
    manyhosts(proxy, 3000, rate=2000)
    admin = "http://127.0.0.1:%d" % proxy.admin[1]
    values = ",".join(map(str, range(1, 65)))
    out, head = tmp_path / "answer", tmp_path / "head"
    slow = subprocess.Popen(["curl", "-s", "-o", str(out), "-D", str(head),
                             f"{admin}/whatif?max_idle_conns_per_host={values}&max_conns_per_host=0,1,2,3,4,5"])
    until(lambda: head.exists() and b"200 OK" in head.read_bytes(), lambda: "the what-if is under way")
    took, seen, begun = [], set(), time.monotonic()
    while slow.poll() is None:
        began = time.monotonic()
        proxy.get("/healthz")
        took.append(time.monotonic() - began)
        if len(took) == 1:
            seen.add(status_of_whatif(admin))
    total = time.monotonic() - begun
    answer = json.loads(out.read_text(encoding="utf-8"))
    check(answer, "connleak.whatif-1")
    assert len(answer["rows"]) == 384
    assert seen == {b"503"}, "a second one beside it is refused"
    # A slow machine takes longer for all of it, and for each part that it does between answers.
    allowed = max(0.25, total / 20)
    assert sorted(took)[len(took) * 9 // 10] < allowed, f"answers took up to {max(took):.3f} s beside a what-if of {total:.1f} s"


def test_a_what_if_whose_reader_leaves_ends(daemon):
    proxy = daemon()
    manyhosts(proxy, 500, rate=2000)
    admin = "http://127.0.0.1:%d" % proxy.admin[1]
    reader = subprocess.Popen(["curl", "-s", f"{admin}/whatif"], stdout=subprocess.DEVNULL)
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    until(lambda: status_of_whatif(admin) == b"200", lambda: "another what-if")


def test_requests_are_held_as_many_as_asked_for(daemon):
    proxy = daemon(settings={"ledger.keep_requests": 100})
    manyhosts(proxy, 300)
    w = ask(proxy)
    assert w["workload"]["exchanges"] == 100
    assert w["observed"]["standing"] + w["observed"]["dials"] > 0
    none = daemon(settings={"ledger.keep_requests": 0})
    assert status_of_whatif("http://127.0.0.1:%d" % none.admin[1]) == b"503"


def test_the_daemon_s_ledger_makes_a_workload(daemon, tmp_path):
    proxy = daemon()
    manyhosts(proxy, 500)
    path = tmp_path / "ledger"
    path.write_text("".join(json.dumps(record) + "\n" for record in proxy.ledger()), encoding="utf-8")
    w = whatif(str(path))
    real = proxy.get("/metrics")["upstream"]
    assert w["workload"]["side"] == "upstream"
    assert w["observed"]["dials"] == real["dials"] and w["observed"]["requests"] == real["requests"]
    assert apart(w["base"]["dials"], real["dials"]) < 0.35, "estimates, as its notes say"


def test_with_their_events_most_requests_of_a_ledger_have_their_times(daemon, tmp_path):
    proxy = daemon()
    manyhosts(proxy, 500)
    path = tmp_path / "ledger"
    subprocess.run(["curl", "-s", "-o", str(path), "http://127.0.0.1:%d/ledger?events=true" % proxy.admin[1]], check=True)
    w, real = whatif(str(path)), proxy.get("/metrics")["upstream"]
    assert w["observed"]["dials"] == real["dials"] and w["observed"]["requests"] == real["requests"]
    assert apart(w["base"]["dials"], real["dials"]) < 0.15
    own = ask(proxy)
    assert w["observed"]["reused"] == own["observed"]["reused"]
