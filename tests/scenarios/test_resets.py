"""connleak resets: what a real kernel says of real sockets, who it was, and what stays behind (nothing)."""

import contextlib
import datetime
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from rig.client import Client
from rig.origin import Origin, answer, by_path
from rig.subject import DAEMON, Connleakd
from rig.wait import until
from test_schemas import faults, schema

CONNLEAK = os.path.join(os.path.dirname(DAEMON), "connleak")
TRACING = "/sys/kernel/tracing"

# Where no tracefs is mounted, each run gets one in a mount namespace of its own: the machine stays as it is.
MOUNTED = os.path.exists(f"{TRACING}/instances")
OWN_MOUNTS = ["unshare", "-m", "--propagation", "private", "sh", "-c"]
MOUNT = f"[ -e {TRACING}/instances ] || mount -t tracefs nodev {TRACING} || exit 77"


def command(*options, before="true"):
    """The command line; `before`: what to do in its mount namespace first."""
    if MOUNTED and before == "true":
        return [CONNLEAK, "resets", *options]
    return [*OWN_MOUNTS, f'{MOUNT}; {before} || exit 78; exec "$0" "$@"', CONNLEAK, "resets", *options]


def why_not():
    if os.geteuid():
        return "tracing takes root"
    for argv in ([*OWN_MOUNTS, "true"], command("--duration", "1ms")):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            return f"no tracing here: {done.stderr.strip() or done.returncode}"
    return None


WHY_NOT = why_not()
traced = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def instances():
    """Instances of the command that the kernel has now, whichever mount shows them."""
    done = subprocess.run([*OWN_MOUNTS, f"{MOUNT}; ls {TRACING}/instances"], capture_output=True, text=True, timeout=120, check=False)
    return {name for name in done.stdout.split() if name.startswith("connleak-")}


class Watch:
    """A running `connleak resets` that is already tracing."""

    def __init__(self, *options, before="true"):
        self.process = subprocess.Popen(command(*options, before=before), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.notes = []
        while not self.notes or "watching" not in self.notes[-1]:
            line = self.process.stderr.readline()
            assert line, self.notes
            self.notes.append(line.strip())
        self.pid = self.process.pid

    def end(self, number=signal.SIGINT, code=0):
        """What it printed, once the signal has ended it."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == code, (self.process.returncode, err)
        return out


@pytest.fixture
def watch():
    started = []

    def start(*options, **kwargs):
        started.append(Watch(*options, **kwargs))
        return started[-1]

    yield start
    for w in started:
        if w.process.poll() is None:
            w.process.kill()
        w.process.communicate()


def connect(family=socket.AF_INET):
    """(client, server) over loopback."""
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listener.listen(1)
        client = socket.socket(family)
        client.connect(listener.getsockname())
        return client, listener.accept()[0]


def arrived(sock):
    """Waits until there is something to read, or an end."""
    assert select.select([sock], [], [], 10)[0]


def unread(sock, n):
    """Waits until n bytes lie in its queue."""
    def queued():
        count = bytearray(4)
        fcntl.ioctl(sock, termios.FIONREAD, count)
        return struct.unpack("i", count)[0]
    until(lambda: queued() >= n, "the bytes have arrived")


def name(sock):
    address = sock.getsockname()
    return f"[{address[0]}]:{address[1]}" if sock.family == socket.AF_INET6 else f"{address[0]}:{address[1]}"


def rst_of(sock):
    """Waits for an RST; what was sent before it is read away."""
    with contextlib.suppress(ConnectionError):
        while True:
            arrived(sock)
            if not sock.recv(65536):
                time.sleep(0.005)
                sock.send(b"?")


# ---- each RST by its reason --------------------------------------------------------------------


def unread_at_close(family=socket.AF_INET):
    client, server = connect(family)
    server.send(b"x" * 100)
    unread(client, 100)
    names = name(client), name(server)
    client.close()
    rst_of(server)
    server.close()
    return names


def unread_after_fin():
    client, server = connect()
    names = name(client), name(server)
    server.send(b"abc")
    server.close()
    unread(client, 3)
    client.close()
    return names


def data_after_close():
    client, server = connect()
    names = name(client), name(server)
    client.close()
    arrived(server)
    rst_of(server)
    server.close()
    return names


def on_purpose():
    client, server = connect()
    names = name(client), name(server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    rst_of(server)
    server.close()
    return names


def in_peace():
    client, server = connect()
    names = name(client), name(server)
    client.close()
    arrived(server)
    server.close()
    return names


def refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with socket.socket() as client:
            client.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                client.connect(("127.0.0.1", port))
            return name(client), f"127.0.0.1:{port}"


def said(out, names):
    """The object's RSTs between these two, in either direction."""
    result = json.loads(out)
    assert not list(faults(result, schema("connleak.resets-1"), schema("connleak.resets-1")))[:5]
    totals = result["totals"]
    assert totals["sent"] + totals["received"] == len(result["resets"])
    assert sum(totals["by_reason"].values()) + totals["without_reason"] == totals["sent"]
    return [r for r in result["resets"] if {r["from"], r["to"]} == set(names)]


@traced
def test_closed_with_bytes_unread(watch):
    w = watch("--json")
    if not_known := [n for n in w.notes if "gives no reason" in n]:
        pytest.skip(not_known[0])
    for family in (socket.AF_INET, socket.AF_INET6):
        names = unread_at_close(family)
        after_fin = unread_after_fin()
    out = w.end()
    (r,) = said(out, names)
    assert (r["from"], r["to"]) == names
    assert r["direction"] == "sent"
    assert r["reason"] == "TCP_ABORT_ON_CLOSE"
    assert r["rst_cause"] == "unread_at_close"
    assert "bytes unread" in r["meaning"]
    assert r["state"] == "TCP_ESTABLISHED"
    assert r["pid"] == os.getpid()
    assert r["owner"]["pid"] == os.getpid()
    with open("/proc/self/comm", encoding="utf-8") as comm:
        assert r["comm"] == comm.read().strip()
    (r,) = said(out, after_fin)
    assert (r["reason"], r["state"]) == ("TCP_ABORT_ON_CLOSE", "TCP_CLOSE_WAIT")


@traced
def test_data_after_close_has_no_process_but_an_owner(watch):
    w = watch("--json")
    names = data_after_close()
    r = said(w.end(), names)[0]
    if r["reason"] is None:
        pytest.skip("this kernel gives no reason")
    assert r["reason"] in ("TCP_TIMEWAIT_SOCKET", "TCP_ABORT_ON_DATA")
    assert r["rst_cause"] == "data_after_close"
    assert (r["pid"], r["comm"]) == (None, None)
    assert r["owner"]["pid"] == os.getpid()


@traced
def test_the_table_says_it_as_it_happens(watch):
    w = watch()
    names = unread_at_close()
    first = [w.process.stdout.readline() for _ in range(2)]
    while f"{names[0]} -> {names[1]}" not in first[-1]:
        first.append(w.process.stdout.readline())
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", first[-1])
    assert f" {os.getpid()} " in first[-1]
    assert " ESTABLISHED " in first[-1]
    assert "\033" not in first[-1]
    out = w.end(signal.SIGTERM)
    assert re.search(r"^ +\d+  TCP_ABORT_ON_CLOSE +closed with bytes unread", out, re.M)
    assert re.search(r"^\d+ RSTs? sent and \d+ received from other hosts in \d+\.\d s$", out, re.M)


@traced
def test_duration_ends_it():
    began = time.monotonic()
    done = subprocess.run(command("--duration", "300ms", "--json"), capture_output=True, text=True, timeout=120, check=True)
    assert time.monotonic() - began >= 0.3
    assert 300 <= json.loads(done.stdout)["duration_ms"] < 60_000


# ---- lives -------------------------------------------------------------------------------------


def lives(out):
    rule = schema("connleak.conn-1")
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        assert not list(faults(record, rule, rule))[:5]
    return {(r["local"], r["remote"]): r for r in records}


@traced
def test_lives_of_connections(watch):
    w = watch("--jsonl")
    made = {make.__name__: make() for make in (unread_at_close, unread_after_fin, data_after_close, on_purpose, in_peace, refused)}
    out = lives(w.end())
    found = {what: out[names] for what, names in made.items()}
    for r in found.values():
        assert (r["observer"], r["side"], r["state"]) == ("kernel", "client", "closed")
        assert r["opened_at"] <= r["closed_at"]
        assert r["requests"] is r["bytes_in"] is r["unread_bytes"] is r["close"]["reason"] is None
        assert r["evidence"]["incomplete"] is None
        assert r["evidence"]["local"]["pid"] == os.getpid()
    how = {what: (r["close"]["by"], r["close"]["how"], r["rst_sent"], r["rst_received"], r["evidence"]["rst_cause"])
           for what, r in found.items()}
    if not found["unread_at_close"]["evidence"]["rst_reason"]:
        pytest.skip("this kernel gives no reason")
    assert how == {"unread_at_close": ("local", "rst", True, False, "unread_at_close"),
                   "unread_after_fin": ("remote", "fin", True, False, "unread_at_close"),
                   "data_after_close": ("local", "fin", True, False, "data_after_close"),
                   "on_purpose": ("local", "rst", True, False, "abort"),
                   "in_peace": ("local", "fin", False, False, None),
                   "refused": ("remote", "rst", False, True, "refused")}
    assert found["refused"]["dial_ms"] is None
    assert found["in_peace"]["dial_ms"] >= 0


@traced
def test_a_connection_that_was_there_before_and_one_that_stays(watch):
    client, server = connect()
    w = watch("--jsonl")
    old = name(client), name(server)
    client.close()
    arrived(server)
    server.close()
    client, server = connect()
    stays = name(client), name(server)
    out = lives(w.end())
    client.close()
    server.close()
    r = out.get(old) or out[old[::-1]]
    assert r["evidence"]["incomplete"] == ["began_before_trace"]
    assert r["evidence"]["roles_by"] == "assumed"
    assert (r["opened_at"], r["dial_ms"], r["state"]) == (None, None, "closed")
    assert r["close"]["by"] == ("local" if old in out else "remote")
    r = out[stays]
    assert (r["state"], r["closed_at"], r["close"]["by"]) == ("open", None, "none")
    assert r["evidence"]["incomplete"] == ["open_at_end_of_trace"]


@traced
def test_one_record_a_connection_under_load(watch):
    w = watch("--jsonl")
    made = [in_peace() if i % 3 else unread_at_close() for i in range(300)]
    out = w.end()
    found = lives(out)
    assert len(out.splitlines()) == len(found) >= len(set(made))
    for i, names in enumerate(made):
        assert found[names]["rst_sent"] == (i % 3 == 0), found[names]


# ---- a ledger held against it ------------------------------------------------------------------


def crosscheck(records, ledger, folder, *options):
    """(exit code, what crosscheck --json prints, if it is what its schema says)."""
    paths = [folder / "kernel.jsonl", folder / "ledger.jsonl"]
    for path, lines in zip(paths, (records, ledger)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run([CONNLEAK, "crosscheck", "--kernel", paths[0], "--ledger", paths[1], "--json", *options],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    result, rule = json.loads(done.stdout), schema("connleak.crosscheck-1")
    assert not list(faults(result, rule, rule))[:5]
    assert result["witness"] == "kernel" and result["captures"] == []
    return done.returncode, result


@pytest.fixture(scope="module")
def lived():
    """(what the kernel saw, the daemon's ledger) of connections of many kinds."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    big = answer(b"x" * 1_000_000, length=10**10)
    script = by_path(small=answer(b"hello"), big=lambda conn, request: conn.send_forever(big), bye=answer(b"bye", fields=["Connection: close"]),
                     rst=lambda conn, request: (conn.send(answer(b"half", length=1000)), conn.rst()))
    watch = Watch("--jsonl")
    subject = Connleakd(max_idle_conns_per_host=1)
    with Origin(script) as origin:
        for path in ["small"] * 5 + ["bye", "rst"] * 3:
            with contextlib.suppress(OSError, Exception):
                subject.fetch(origin.url(f"/{path}"))
        with socket.create_connection(("127.0.0.1", origin.port)) as other:  # another program's
            other.send(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
            arrived(other)
        for _ in range(5):
            client = Client(subject.address)
            client.ask(origin.url("/big"))
            client.read_exactly(1000)
            client.sock.close()
        both = [Client(subject.address) for _ in range(3)]
        for client in both:  # three at a time, one may stay idle
            client.ask(origin.url("/small"))
        for client in both:
            client.read_exactly(10)
            client.sock.close()
        until(lambda: all(r["state"] in ("closed", "idle") for r in subject.ledger()) and
              sum(r["early_closes"] or 0 for r in subject.ledger() if r["side"] == "upstream") >= 5,
              lambda: f"the daemon is done: {subject.ledger()}")
        ledger = subject.ledger()
        subject.stop()
    records = [json.loads(line) for line in watch.end().splitlines()]
    return records, ledger


@traced
def test_a_ledger_agrees_with_the_kernel(lived, tmp_path):
    records, ledger = lived
    code, result = crosscheck(records, ledger, tmp_path)
    assert code == 0, (result["summary"], result["connections"])
    assert result["compared"] == len(ledger)
    assert result["verdicts"]["agree"] + result["verdicts"]["explained"] + result["verdicts"]["incomplete"] == len(ledger)
    assert result["resets"]["upstream"]["ledger"] >= 2
    assert result["resets"]["upstream"]["capture"] == result["resets"]["upstream"]["ledger"]
    assert result["not_compared"]["only_in_capture"]["another_program"] >= 1
    compared = {name for name, n in result["fields"].items() if n["compared"]}
    assert compared == {"opened_at", "closed_at", "rst_sent", "rst_received", "close.by", "close.how"}


def lies(record):
    """Copies of a record with one field changed, and that field's name."""
    def copy():
        return json.loads(json.dumps(record))
    for field in ("rst_sent", "rst_received"):
        lie = copy()
        lie[field] = not lie[field]
        yield field, lie
    lie = copy()
    lie["close"]["by"] = "remote" if lie["close"]["by"] == "local" else "local"
    yield "close.by", lie
    lie = copy()
    lie["close"]["how"] = "fin" if lie["close"]["how"] == "rst" else "rst"
    yield "close.how", lie
    for field in ("opened_at", "closed_at"):
        lie = copy()
        at = datetime.datetime.strptime(lie[field], "%Y-%m-%dT%H:%M:%S.%fZ") + datetime.timedelta(milliseconds=-700 if field == "opened_at" else 700)
        lie[field] = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        yield field, lie


@traced
def test_each_lie_is_named_with_the_event_that_shows_it(lived, tmp_path):
    records, ledger = lived
    _, honest = crosscheck(records, ledger, tmp_path)
    doubtful = {c["id"] for c in honest["connections"]}
    kinds = {}
    for r in ledger:
        if r["side"] == "upstream" and r["state"] == "closed" and r["id"] not in doubtful:
            kinds.setdefault((r["close"]["by"], r["close"]["how"]), r)
    assert {("local", "rst"), ("local", "fin"), ("remote", "rst")} <= set(kinds)
    for record in kinds.values():
        for field, lie in lies(record):
            code, result = crosscheck(records, [lie if r["id"] == lie["id"] else r for r in ledger], tmp_path)
            assert code == 3, (field, record)
            (wrong,) = [c for c in result["connections"] if c["verdict"] == "disagree"]
            assert wrong["id"] == record["id"]
            told = {f["field"]: f for f in wrong["fields"] if f["cause"] is None}
            assert set(told) == {field}
            assert told[field]["packet"] > 0
            assert told[field]["ledger"] != told[field]["capture"]


@traced
def test_a_record_that_one_side_lacks(lived, tmp_path):
    records, ledger = lived
    gone = next(r for r in ledger if r["side"] == "upstream" and (r["close"]["by"], r["close"]["how"]) == ("local", "rst"))
    code, result = crosscheck(records, [r for r in ledger if r is not gone], tmp_path)
    assert (code, result["verdicts"]["only_in_capture"]) == (3, 1), (gone, result["not_compared"])
    flow = {gone["local"], gone["remote"]}
    rest = [r for r in records if {r["local"], r["remote"]} != flow]
    code, result = crosscheck(rest, ledger, tmp_path, "--slack", "1ms")  # all this took less than a second
    assert (code, result["verdicts"]["only_in_ledger"]) == (3, 1), result["not_compared"]


@traced
def test_what_the_kernel_cannot_tell_is_not_held_against_the_ledger(lived, tmp_path):
    records, ledger = lived
    mute = [dict(r, rst_sent=None, rst_received=None) for r in records]
    code, result = crosscheck(mute, [dict(r, rst_sent=False, rst_received=False) for r in ledger], tmp_path)
    assert (code, result["fields"]["rst_sent"]["compared"], result["fields"]["rst_received"]["compared"]) == (0, 0, 0)
    assert result["fields"]["close.by"]["compared"]
    code, result = crosscheck([dict(r, close=dict(r["close"], by=None, how=None)) for r in records], ledger, tmp_path)
    assert (code, result["fields"]["close.by"]["compared"]) == (0, 0)


@traced
def test_who_had_connected_is_the_ledger_s_to_say_where_the_kernel_guesses(lived, tmp_path):
    records, ledger = lived

    def turned(r):
        evidence = dict(r["evidence"], roles_by="assumed", local=r["evidence"]["remote"], remote=r["evidence"]["local"])
        by = {"local": "remote", "remote": "local"}.get(r["close"]["by"], r["close"]["by"])
        return dict(r, local=r["remote"], remote=r["local"], rst_sent=r["rst_received"], rst_received=r["rst_sent"], evidence=evidence,
                    close=dict(r["close"], by=by))
    code, result = crosscheck([turned(r) for r in records], ledger, tmp_path)
    assert code == 0, (result["summary"], result["connections"])
    assert result["compared"] == len(ledger)


@pytest.mark.parametrize("line, expected", [
    ('{"schema":"connleak.conn/1","id":"c-1","observer":"capture","side":"client","state":"open"}',
     'line 1: observer: expected "kernel": what connleak resets --jsonl prints'),
    ('{"schema":"connleak.conn/1","id":"c-1","observer":"kernel","side":"client","state":"open","evidence":{"local":1}}',
     "line 1: evidence.local: expected an object"),
    ('{"schema":"connleak.conn/1","id":"c-1","observer":"kernel","side":"client","state":"open"}',
     "line 1: evidence: expected what the kernel showed, found nothing"),
    ("no JSON", "line 1: column 2: not JSON: "),
])
def test_records_that_are_no_kernel_s(tmp_path, line, expected):
    (tmp_path / "k").write_text(line + "\n")
    (tmp_path / "l").write_text("")
    done = subprocess.run([CONNLEAK, "crosscheck", "--kernel", tmp_path / "k", "--ledger", tmp_path / "l"], capture_output=True, text=True,
                          timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"connleak crosscheck: {tmp_path}/k: {expected}")


# ---- nothing stays behind ----------------------------------------------------------------------


@traced
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL, signal.SIGSEGV])
def test_the_instance_goes_however_it_ends(watch, number):
    before = instances()
    w = watch()
    (mine,) = {i for i in instances() - before if i.split("-")[1] == str(w.pid)}
    w.process.send_signal(number)
    w.process.communicate(timeout=120)
    assert (w.process.returncode != 0) == (number in (signal.SIGKILL, signal.SIGSEGV))
    until(lambda: mine not in instances(), "its instance is gone")


@traced
def test_an_instance_whose_guard_was_killed_too_goes_with_the_next(watch):
    w = watch()
    mine = {i for i in instances() if i.split("-")[1] == str(w.pid)}
    with open(f"/proc/{w.pid}/task/{w.pid}/children", encoding="utf-8") as children:
        (guard,) = map(int, children.read().split())
    os.kill(guard, signal.SIGKILL)
    w.process.kill()
    w.process.communicate(timeout=120)
    assert mine <= instances()
    watch("--duration", "1ms")
    assert not mine & instances()


@traced
def test_a_reader_that_leaves_ends_it(watch):
    w = watch("--jsonl")
    w.process.stdout.close()
    in_peace()
    assert w.process.wait(timeout=120) == 1
    assert "stdout: Broken pipe" in w.process.stderr.read()
    assert not {i for i in instances() if i.split("-")[1] == str(w.pid)}


# ---- what is missing is said in one line -------------------------------------------------------


def refusal(*options, before="true", **kwargs):
    done = subprocess.run(command(*options, before=before), capture_output=True, text=True, timeout=120, check=False, **kwargs)
    assert (done.returncode, done.stdout) == (2, ""), done
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("connleak resets: "), lines
    return lines[0]


@traced
def test_no_tracefs():
    line = refusal(before="umount -l /sys/kernel/tracing; umount -l /sys/kernel/debug 2>/dev/null; true")
    assert "no tracefs at /sys/kernel/tracing" in line
    assert "mount -t tracefs nodev /sys/kernel/tracing" in line


@traced
def test_no_rights(tmp_path):
    program = shutil.copy(CONNLEAK, tmp_path)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() == "root" and str(folder) != "/" and str(folder) != "/tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([*OWN_MOUNTS, f'{MOUNT}; exec setpriv --reuid 65534 --clear-groups "$0" resets', program],
                          capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr == f"connleak resets: {TRACING}/instances: Permission denied; tracing needs root\n"


@traced
def test_no_tracepoint():
    line = refusal(before=f"mount -t tmpfs nodev {TRACING}/events/tcp")
    assert "no tracepoint tcp:tcp_send_reset" in line
    assert "Linux 4.16" in line


def with_format(tmp_path, change):
    """A kernel whose tracepoint has another format: the file in tracefs, covered by ours."""
    done = subprocess.run([*OWN_MOUNTS, f"{MOUNT}; cat {TRACING}/events/tcp/tcp_send_reset/format"], capture_output=True, text=True,
                          timeout=120, check=True)
    other = tmp_path / "format"
    other.write_text(change(done.stdout))
    return f"mount --bind {other} {TRACING}/events/tcp/tcp_send_reset/format"


def without_reason(text):
    text = re.sub(r"\tfield:enum sk_rst_reason.*\n", "", text)
    return re.sub(r" reason=%s(\".*), __print_symbolic\(REC->reason,.*\)$", r"\1", text, flags=re.M)


@traced
def test_a_kernel_without_reasons_is_told_so_and_works(watch, tmp_path):
    w = watch("--json", before=with_format(tmp_path, without_reason))
    assert w.notes[0] == "connleak resets: this kernel gives no reason for its RSTs; Linux 6.12 and newer do"
    names = unread_at_close()
    out = w.end()
    (r,) = said(out, names)
    assert (r["reason"], r["rst_cause"], r["meaning"]) == (None, None, "this kernel gives no reason")
    assert json.loads(out)["reasons_known"] is False


@traced
def test_reasons_have_the_kernel_s_own_names(watch, tmp_path):
    w = watch("--json", before=with_format(tmp_path, lambda text: text.replace('"TCP_ABORT_ON_CLOSE"', '"ANOTHER_NAME"')))
    if w.notes[0] != "connleak resets: watching until interrupted":
        pytest.skip(w.notes[0])
    names = unread_at_close()
    (r,) = said(w.end(), names)
    assert (r["reason"], r["rst_cause"], r["meaning"]) == ("ANOTHER_NAME", None, None)


@traced
def test_a_format_that_is_not_known(tmp_path):
    line = refusal(before=with_format(tmp_path, lambda text: text.replace("skaddr", "address")))
    assert "tracepoint tcp:tcp_send_reset has no field skaddr" in line


@pytest.mark.parametrize("options, expected", [
    (["--duration", "soon"], '--duration: expected a time such as 90s or 5m, found "soon"'),
    (["--duration", "0"], '--duration: expected a time such as 90s or 5m, found "0"'),
    (["--json", "--jsonl"], "expected one of --json and --jsonl"),
    (["lo"], 'unexpected argument "lo"'),
])
def test_wrong_options(options, expected):
    done = subprocess.run([CONNLEAK, "resets", *options], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"connleak resets: {expected}\n")
