"""connleak crosscheck: a ledger held against packets. Truth agrees, a lie is found, a live daemon is proved."""

import contextlib
import copy
import datetime
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from rig.origin import always, answer
from test_capture_input import may_capture
from test_captures import CAPTURES
from test_schemas import faults

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
CONNLEAK = os.environ.get("CONNLEAK", os.path.join(BUILD, "connleak"))
DAEMON = os.environ.get("CONNLEAKD", os.path.join(BUILD, "connleakd"))


def crosscheck(*args, stdin=None):
    """(exit code, stdout, stderr) of one run."""
    done = subprocess.run([CONNLEAK, "crosscheck", *map(str, args)], input=stdin, capture_output=True, timeout=120,
                          check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def crosscheck_json(*args):
    code, out, err = crosscheck(*args, "--json")
    assert out, err
    return code, as_promised(json.loads(out))


with open(os.path.join(ROOT, "daemon/record/schema/connleak.crosscheck-1.json"), encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)


def as_promised(result):
    """The result, if it is what its schema says."""
    assert not list(faults(result, SCHEMA, SCHEMA))[:5]
    assert sum(result["verdicts"].values()) == result["compared"]
    return result


def test_the_schema_knows_every_word_of_the_tables():
    def names(table):
        with open(os.path.join(ROOT, "daemon/core/tbl", table + ".h"), encoding="utf-8") as f:
            return re.findall(r'^X\(\w+, "([\w.]+)"', f.read(), re.MULTILINE)
    assert list(SCHEMA["properties"]["verdicts"]["properties"]) == names("join_verdicts")
    assert list(SCHEMA["properties"]["fields"]["properties"]) == names("join_fields")
    assert ["none", *SCHEMA["properties"]["explained"]["properties"]] == names("join_causes")


# --- A capture made by hand: thousands of connections of every kind ------------------------------


SYN, ACK, FIN, RST, PSH = 0x02, 0x10, 0x01, 0x04, 0x08


class Pcap:
    """Packets of TCP conversations, raw IP, in the order of time."""

    def __init__(self):
        self.packets = []

    def add(self, at, src, dst, flags, seq, ack, payload=b"", window=512):
        tcp = struct.pack("!HHIIBBHHH", src[1], dst[1], seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, window, 0, 0)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), len(self.packets) & 0xffff, 0x4000, 64, 6, 0,
                         socket.inet_aton(src[0]), socket.inet_aton(dst[0]))
        self.packets.append((at, ip + tcp + payload))

    def write(self, path):
        self.packets.sort(key=lambda packet: packet[0])
        with open(path, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 262144, 101))
            for at, data in self.packets:
                out.write(struct.pack("<IIII", at // 10**9, at % 10**9, len(data), len(data)))
                out.write(data)


class Conversation:
    """One connection: client and server take turns, every segment is acknowledged with the next."""

    def __init__(self, pcap, at, client, server):
        self.pcap, self.at, self.client, self.server = pcap, at, client, server
        self.seq = {client: at * 7 & 0xffffffff, server: at * 13 & 0xffffffff}
        self.send(client, SYN, ack=False)
        self.send(server, SYN | ACK)
        self.send(client, ACK)

    def other(self, end):
        return self.server if end == self.client else self.client

    def send(self, end, flags, payload=b"", ack=True, known=None):
        self.at += 20_000
        peer = self.other(end)
        self.pcap.add(self.at, end, peer, flags, self.seq[end], (known if known is not None else self.seq[peer]) if ack else 0,
                      payload)
        self.seq[end] += len(payload) + (1 if flags & (SYN | FIN) else 0)

    def request(self, pause=1_000_000):
        self.at += pause
        self.send(self.client, PSH | ACK, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")

    def response(self, length, sent=None):
        self.send(self.server, PSH | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        left = length if sent is None else sent
        while left:
            size = min(left, 1400)
            self.send(self.server, ACK, b"x" * size)
            left -= size
        self.send(self.client, ACK)

    def fins(self, first):
        self.at += 1_000_000
        self.send(first, FIN | ACK)
        self.send(self.other(first), FIN | ACK)
        self.send(first, ACK)

    def reset(self, end):
        self.at += 30_000_000  # nothing else happens at that instant: no doubt is left
        self.send(end, RST | ACK)


KINDS = ["healthy", "early", "server_fin", "server_rst", "open"]
START = 1_767_323_045 * 10**9


def make_capture(path, n):
    """n connections, KINDS in turn, some at a time; a tenth of them on a 4-tuple that was used before."""
    pcap = Pcap()
    for i in range(n):
        again = i - (n - n // 10)
        reused = again >= 0 and KINDS[again % len(KINDS)] != "open"
        client = ("10.0.0.1", 20000 + (again if reused else i))
        server = ("10.0.0.2", 80)
        c = Conversation(pcap, START + i * 3_000_000, client, server)
        kind = KINDS[i % len(KINDS)]
        for _ in range(1 + i % 4 if kind != "early" else i % 2):
            c.request()
            c.response(100 + i % 900)
        if kind == "healthy":
            c.fins(client)
        elif kind == "early":
            c.request()
            c.response(100_000, sent=8_000 + i % 50)
            c.reset(client)
        elif kind == "server_fin":
            c.fins(server)
        elif kind == "server_rst":
            c.reset(server)
    pcap.write(path)


def connleak_records(path):
    done = subprocess.run([CONNLEAK, "analyze", "--jsonl", path], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def kind_of(record):
    if record["state"] != "closed":
        return "open"
    if record["close"]["how"] == "rst":
        return "early" if record["close"]["by"] == "local" else "server_rst"
    return "healthy" if record["close"]["by"] == "local" else "server_fin"


def time_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


def as_upstream(record):
    """The capture's record as the daemon on its client's end would have written it."""
    r = copy.deepcopy(record)
    r.update(observer="daemon", side="upstream", id="u-" + record["id"][2:], evidence={}, unread_bytes=0)
    if kind_of(record) == "early":
        r["unread_bytes"] = 3904
        r["bytes_in"] -= r["unread_bytes"]
    if r["state"] != "closed":
        r["unread_bytes"] = None
        # Written soon after its last packet, while the capture went on: it cannot have grown since.
        r["duration_ms"] = (time_of(record["evidence"]["last_at"]) - time_of(r["opened_at"])).total_seconds() * 1000 + 300
    return r


def as_downstream(record):
    """The same from the server's end."""
    r = as_upstream(record)
    swap = {"local": "remote", "remote": "local", "none": "none"}
    r.update(side="downstream", id="d-" + record["id"][2:], local=record["remote"], remote=record["local"],
             bytes_in=record["bytes_out"], bytes_out=record["bytes_in"], rst_sent=record["rst_received"],
             rst_received=record["rst_sent"], unread_bytes=0)
    r["close"] = dict(r["close"], by=swap[r["close"]["by"]])
    if r["state"] != "closed":
        r["unread_bytes"] = None
    return r


def write_ledger(path, records):
    with open(path, "w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record) + "\n")
    return path


N = 3000
LINES = {}  # view -> the true ledger's lines


def lines_of(view, records):
    if view not in LINES:
        LINES[view] = [json.dumps(view(r)) + "\n" for r in records]
    return list(LINES[view])


@pytest.fixture(scope="module")
def made():
    """(pcap path, records of the analyser, a folder)"""
    LINES.clear()
    folder = tempfile.mkdtemp(prefix="crosscheck")
    path = os.path.join(folder, "made.pcap")
    make_capture(path, N)
    yield path, connleak_records(path), folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("view", [as_upstream, as_downstream])
def test_the_truth_agrees_from_either_end(made, view):
    pcap, records, folder = made
    ledger = write_ledger(os.path.join(folder, "true.jsonl"), map(view, records))
    code, result = crosscheck_json("--pcap", pcap, "--ledger", ledger)
    assert code == 0 and result["agree"], result["summary"]
    assert result["summary"] == f"{N:,} connections: {N:,} agree, 0 disagree, 0 packets lost in capture"
    assert result["connections"] == []
    assert all(f["different"] == f["explained"] == 0 for f in result["fields"].values())
    for name, field in result["fields"].items():  # nothing passes because it was never looked at
        # An open connection has no end yet; whether a delivered body was read, the wire does not always tell.
        known = N * (4 if name in ("closed_at", "close.by", "close.how", "unread_bytes") else 5) // len(KINDS)
        if name == "early_closes":
            known = sum(r["early_closes"] is not None for r in records)
            assert known >= 2 * N // len(KINDS)
        assert field["compared"] == known, (name, field)
    code, out, _ = crosscheck("--pcap", pcap, "--ledger", ledger)
    assert code == 0
    assert out.splitlines()[-1] == result["summary"]


def shifted(text, ms):
    return (time_of(text) + datetime.timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lie_about(record, field):
    """Alters one field of the record, as little as can be told."""
    if field in ("opened_at", "closed_at"):
        record[field] = shifted(record[field], 300)
    elif field in ("rst_sent", "rst_received"):
        record[field] = not record[field]
    elif field == "close.by":
        record["close"]["by"] = "remote" if record["close"]["by"] == "local" else "local"
    elif field == "close.how":
        record["close"]["how"] = "fin" if record["close"]["how"] == "rst" else "rst"
    else:
        record[field] += 1


FIELDS = ["opened_at", "closed_at", "requests", "reused", "bytes_in", "bytes_out", "early_closes", "rst_sent",
          "rst_received", "close.by", "close.how", "unread_bytes"]


@pytest.mark.parametrize("view", [as_upstream, as_downstream])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", FIELDS)
def test_one_lie_among_thousands_is_named(made, view, kind, field):
    pcap, records, folder = made
    which = [i for i, r in enumerate(records) if kind_of(r) == kind][len(records) // 10]
    record = view(records[which])
    if kind == "open" and field in ("closed_at", "close.by", "close.how", "unread_bytes"):
        pytest.skip("an open connection has none")
    if field == "early_closes" and records[which]["early_closes"] is None:
        pytest.skip("the wire does not tell whether a body that was delivered was read")
    lie_about(record, field)
    lines = lines_of(view, records)
    lines[which] = json.dumps(record) + "\n"
    path = os.path.join(folder, "lie.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(lines)
    code, result = crosscheck_json("--pcap", pcap, "--ledger", path)
    assert code == 3, (field, kind, result["summary"])
    assert [c["id"] for c in result["connections"]] == [record["id"]]
    told = {f["field"]: f for f in result["connections"][0]["fields"] if f["cause"] is None}
    assert field in told
    # One equation ties bytes_in and unread_bytes together where an RST ended the connection; all else stands alone.
    assert set(told) == {field} or set(told) == {"bytes_in", "unread_bytes"}
    first, last = records[which]["evidence"]["first_packet"], records[which]["evidence"]["last_packet"]
    assert first <= told[field]["packet"] <= last
    assert told[field]["ledger"] != told[field]["capture"]
    code, out, _ = crosscheck("--pcap", pcap, "--ledger", path)
    assert code == 3
    assert re.search(rf"^disagree +{record['id']} ", out) and f"packet {told[field]['packet']:,}" in out
    assert f"{N:,} connections: {N - 1:,} agree, 1 disagree" in out


def test_a_record_that_is_missing_and_one_that_is_made_up_are_named(made):
    pcap, records, folder = made
    ledger = [as_upstream(r) for r in records]
    gone = ledger.pop(1234)
    code, result = crosscheck_json("--pcap", pcap, "--ledger", write_ledger(os.path.join(folder, "gone.jsonl"), ledger))
    assert code == 3 and result["verdicts"]["only_in_capture"] == 1
    assert result["connections"][0]["capture_id"] == "c-" + gone["id"][2:]

    ledger = [as_upstream(r) for r in records]
    extra = copy.deepcopy(ledger[1234])
    extra.update(id="u-999999", local="10.0.0.1:9999")
    ledger.append(extra)
    code, result = crosscheck_json("--pcap", pcap, "--ledger", write_ledger(os.path.join(folder, "extra.jsonl"), ledger))
    assert code == 3 and result["verdicts"]["only_in_ledger"] == 1
    assert result["connections"][0]["id"] == "u-999999"


def test_what_the_other_side_does_not_cover_is_told_and_not_held_against_it(made):
    pcap, records, folder = made
    ledger = [as_upstream(r) for r in records]
    stranger = copy.deepcopy(ledger[7])  # to an address that the capture has nothing of
    stranger.update(id="u-999999", remote="10.9.9.9:443")
    unix = copy.deepcopy(as_downstream(records[8]))
    unix.update(id="d-999998", local="unix", remote="unix")
    path = write_ledger(os.path.join(folder, "stranger.jsonl"), ledger + [stranger, unix])
    code, result = crosscheck_json("--pcap", pcap, "--ledger", path)
    assert code == 0, result["summary"]
    assert result["not_compared"]["only_in_ledger"]["endpoints"] == [{"at": "10.9.9.9:443", "connections": 1}]
    assert result["ledger"]["without_addresses"] == 1
    # A ledger of half the time: what ended before or after it is not its business.
    half = [as_upstream(r) for r in records if r["state"] == "closed"][N // 4:N // 2]
    code, result = crosscheck_json("--pcap", pcap, "--ledger", write_ledger(os.path.join(folder, "half.jsonl"), half))
    assert result["verdicts"]["agree"] == len(half)
    assert result["not_compared"]["only_in_capture"]["time"] > N // 3


def test_clocks_that_differ_by_hours_are_brought_together(made):
    pcap, records, folder = made
    ledger = [as_upstream(r) for r in records]
    for record in ledger:
        for field in ("opened_at", "closed_at"):
            if record[field]:
                record[field] = shifted(record[field], 7_200_123)
    code, result = crosscheck_json("--pcap", pcap, "--ledger", write_ledger(os.path.join(folder, "late.jsonl"), ledger))
    assert code == 0, result["summary"]
    assert abs(result["clock"]["offset_ms"] - 7_200_123) < 0.01
    assert result["verdicts"]["agree"] == N


def test_a_capture_that_lost_packets_is_incomplete_and_not_contradicted(made):
    """Every packet of some connections' middles is taken out: nothing may turn into a disagreement."""
    pcap, records, folder = made
    with open(pcap, "rb") as f:
        data = f.read()
    out, at, number = [data[:24]], 24, 0
    while at < len(data):
        size = 16 + struct.unpack_from("<I", data, at + 8)[0]
        number += 1
        payload = size - 16 - 40
        if not (payload > 500 and number % 11 == 0):
            out.append(data[at:at + size])
        at += size
    lossy = os.path.join(folder, "lossy.pcap")
    with open(lossy, "wb") as f:
        f.write(b"".join(out))
    ledger = write_ledger(os.path.join(folder, "true2.jsonl"), map(as_upstream, records))
    code, result = crosscheck_json("--pcap", lossy, "--ledger", ledger)
    assert code == 0, result["summary"]
    assert result["packets_lost"] > 100
    assert result["verdicts"]["agree"] + result["verdicts"]["incomplete"] == N


def pcapng(path, pcap, gone=lambda data: False, dropped=None):
    """A pcap of raw IP as pcapng, without the packets that are `gone`, and with the counters of who captured it."""
    def block(kind, body):
        size = struct.pack("<I", 12 + len(body))
        return struct.pack("<I", kind) + size + body + size
    with open(pcap, "rb") as f:
        data = f.read()
    out = [block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1)),
           block(1, struct.pack("<HHIHHB3xHH", 101, 0, 0, 9, 1, 9, 0, 0))]
    at, left_out = 24, 0
    while at < len(data):
        s, ns, size, length = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16:at + 16 + size]
        at += 16 + size
        if gone(packet):
            left_out += 1
            continue
        ticks = s * 10**9 + ns
        out.append(block(6, struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xffffffff, size, length) + packet + b"\0" * (-size % 4)))
    if dropped is not None:  # isb_ifrecv, isb_ifdrop
        out.append(block(5, struct.pack("<III", 0, 0, 0) + struct.pack("<HHQHHQHH", 4, 8, 10**6, 5, 8, dropped, 0, 0)))
    with open(path, "wb") as f:
        f.write(b"".join(out))
    return left_out


@pytest.mark.parametrize("dropped", [None, 0, 3, 10**4])
def test_connections_that_are_wholly_missing_count_unless_the_capture_says_that_it_lost_packets(made, dropped):
    pcap, records, folder = made
    ports = {int(r["local"].rsplit(":", 1)[1]): r for r in records[1000:1030]}
    path = os.path.join(folder, "dropped.pcapng")
    assert pcapng(path, pcap, lambda data: not ports.keys().isdisjoint(struct.unpack_from("!HH", data, 20)), dropped) > 100
    ledger = write_ledger(os.path.join(folder, "true4.jsonl"), map(as_upstream, records))
    gone = [r for r in records if int(r["local"].rsplit(":", 1)[1]) in ports]
    code, result = crosscheck_json("--pcap", path, "--ledger", ledger)
    _, out, _ = crosscheck("--pcap", path, "--ledger", ledger)
    summary = f"{N:,} connections: {N - len(gone):,} agree, 0 disagree"
    verdict, why = ("incomplete", ["lost_packets"]) if dropped else ("only_in_ledger", None)
    assert result["verdicts"][verdict] == len(gone) == N - result["verdicts"]["agree"]
    assert sorted(c["id"] for c in result["connections"]) == sorted("u-" + r["id"][2:] for r in gone)
    assert all((c["verdict"], c["incomplete"], c["capture_id"]) == (verdict, why, None) for c in result["connections"])
    assert result["captures"][0]["dropped"] == dropped and result["packets_lost"] == (dropped or 0)
    if dropped:
        assert code == 0 and result["incomplete"] == {"lost_packets": len(gone)}
        assert out.splitlines()[-1] == f"{summary}, {len(gone)} incomplete, {dropped:,} packets lost in capture"
        assert f"{len(gone)} are not in the capture, which lost packets" in out
    else:
        assert code == 3 and result["incomplete"] == {}
        assert out.splitlines()[-1] == f"{summary}, {len(gone)} only in ledger, 0 packets lost in capture"


def test_packets_that_were_lost_do_not_hide_a_lie(made):
    """Nothing is missing of the connection that is lied about: that the capture lost packets is no excuse."""
    pcap, records, folder = made
    path = os.path.join(folder, "dropped2.pcapng")
    pcapng(path, pcap, dropped=3)
    code, result = crosscheck_json("--pcap", path, "--ledger", write_ledger(os.path.join(folder, "t5.jsonl"), map(as_upstream, records)))
    assert code == 0 and result["summary"] == f"{N:,} connections: {N:,} agree, 0 disagree, 3 packets lost in capture"
    for field in ("requests", "bytes_in", "bytes_out", "opened_at"):
        ledger = [as_upstream(r) for r in records]
        lie_about(ledger[5], field)
        code, result = crosscheck_json("--pcap", path, "--ledger", write_ledger(os.path.join(folder, "t6.jsonl"), ledger))
        assert (code, result["verdicts"]["disagree"], result["connections"][0]["id"]) == (3, 1, ledger[5]["id"]), (field, result["summary"])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_capture_that_has_every_packet_twice_agrees_all_the_same(made, batch):
    """Both sides of a loopback or of a veth, as -i any has them: one by one, or some and then the same again."""
    pcap, records, folder = made
    with open(pcap, "rb") as f:
        data = f.read()
    packets, at = [], 24
    while at < len(data):
        size = 16 + struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at:at + size])
        at += size
    twice = os.path.join(folder, "twice.pcap")
    with open(twice, "wb") as f:
        f.write(data[:24] + b"".join(b"".join(2 * packets[i:i + batch]) for i in range(0, len(packets), batch)))
    code, result = crosscheck_json("--pcap", twice, "--ledger", write_ledger(os.path.join(folder, "t7.jsonl"), map(as_upstream, records)))
    assert code == 0 and result["summary"] == f"{N:,} connections: {N:,} agree, 0 disagree, 0 packets lost in capture"
    assert result["captures"][0]["packets"] == 2 * len(packets)


def test_a_capture_that_is_cut_off_says_where_and_ends_with_2(made):
    pcap, records, folder = made
    with open(pcap, "rb") as f:
        data = f.read()
    cut = os.path.join(folder, "cut.pcap")
    with open(cut, "wb") as f:
        f.write(data[:len(data) // 2 + 3])
    ledger = write_ledger(os.path.join(folder, "true3.jsonl"), map(as_upstream, records))
    code, out, err = crosscheck("--pcap", cut, "--ledger", ledger)
    assert code == 2 and "cut.pcap" in err, err
    assert ", 0 disagree" in out.splitlines()[-1], out


def test_a_ledger_that_is_still_being_written(made):
    pcap, records, folder = made
    path = write_ledger(os.path.join(folder, "torn.jsonl"), map(as_upstream, records))
    with open(path, "r+", encoding="utf-8") as f:
        text = f.read()
        f.seek(len(text) - 40)
        f.truncate()
    code, result = crosscheck_json("--pcap", pcap, "--ledger", path)
    assert result["ledger"]["cut"] is True
    assert result["verdicts"]["agree"] == N - 1


# --- Real captures, and what the kernel knew of the sockets in them -----------------------------------


def truth_files():
    return [os.path.join(CAPTURES, name) for name in sorted(os.listdir(CAPTURES)) if name.endswith(".json")]


def capture_of(truth_file):
    names = (truth_file[:-5] + end for end in (".pcap", ".pcapng", ".pcap.gz"))
    return next((name for name in names if os.path.exists(name)), None)


def at(seconds):
    whole = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(seconds % 1 * 1e6):06d}Z"


def as_the_kernel_saw(number, c):
    """A record of the client's socket from a truth file: reads, unread bytes and closes are the kernel's."""
    kernel, close = c.get("client_socket") or {}, c["close"]
    closed = close["initiator"] in ("client", "server") and close["kind"] in ("FIN", "RST")
    own = closed and close["initiator"] == "client"
    record = dict.fromkeys(("key", "protocol", "tls", "closed_at", "duration_ms", "dial_ms", "tls_ms", "idle_ms", "retries",
                            "bytes_in", "bytes_out", "unread_bytes", "early_closes", "rst_sent", "rst_received",
                            "last_body", "client"))
    record.update(schema="connleak.conn/1", id=f"u-{number}", observer="kernel", side="upstream", opaque=False, evidence={},
                  local=c["client"], remote=c["server"], state="closed" if closed else "open",
                  opened_at=at(c["opened"]) if c["opened"] else None,
                  requests=c["requests"], reused=c["reused"], responses=c["responses"],
                  close=dict.fromkeys(("reason", "phase", "go_error"), None) | {"by": "none", "how": "none"})
    if closed:
        record.update(bytes_in=kernel.get("read"), bytes_out=kernel.get("sent"), unread_bytes=kernel.get("unread_at_close"))
        record["early_closes"] = None if c["early_close"] is None else int(c["early_close"])
        record["close"].update(by="local" if own else "remote", how=close["kind"].lower())
    if own and close.get("at"):
        record["closed_at"] = at(close["at"])
    return record


def test_the_kernels_own_account_of_real_sockets_agrees_with_their_captures():
    """The rules of the comparison against a third witness: nothing may disagree, and nothing be left unlooked at."""
    compared, agree, total, told = {}, 0, 0, []
    with tempfile.TemporaryDirectory(prefix="crosscheck") as folder:
        for truth_file in truth_files():
            with open(truth_file, encoding="utf-8") as f:
                truth = json.load(f)
            pcap = capture_of(truth_file)
            if not pcap or "connections" not in truth:
                continue
            records = [as_the_kernel_saw(i + 1, c) for i, c in enumerate(truth["connections"])]
            ledger = write_ledger(os.path.join(folder, "truth.jsonl"), records)
            _, result = crosscheck_json("--pcap", pcap, "--ledger", ledger)
            if not result["agree"]:
                told.append((os.path.basename(pcap), result["summary"], result["connections"][0]))
            total += result["compared"]
            agree += result["verdicts"]["agree"]
            for name, field in result["fields"].items():
                compared[name] = compared.get(name, 0) + field["compared"]
    assert not told, told[:3]
    assert total > 100 and agree > total * 0.95
    assert all(compared[f] > 50 for f in ("requests", "bytes_in", "bytes_out", "unread_bytes", "close.by", "closed_at")), compared


# --- Usage and input -----------------------------------------------------------------------------


@pytest.mark.parametrize("args, says", [
    ([], "--pcap"),
    (["--pcap", "x"], "--ledger"),
    (["--ledger", "x"], "--pcap"),
    (["--pcap", "x", "--interface", "lo", "--ledger", "y"], "one of --pcap"),
    (["--pcap", "x", "--ledger", "y", "--admin", "z:1"], "one of --ledger"),
    (["--pcap", "x", "--ledger", "y", "--duration", "5s"], "--duration goes with --interface"),
    (["--interface", "lo", "--ledger", "y", "--duration", "soon"], '"soon"'),
    (["--pcap", "x", "--ledger", "y", "--slack", "-1s"], '"-1s"'),
    (["--pcap", "/nonexistent.pcap", "--ledger", "/dev/null"], "/nonexistent.pcap"),
    (["--no-such-option"], "unknown option --no-such-option"), (["--slack"], "--slack takes a value"),
])
def test_usage_errors_end_with_2_and_say_what_was_expected(args, says):
    code, out, err = crosscheck(*args)
    assert code == 2 and out == "" and says in err and err.count("\n") == 1


def test_a_ledger_with_a_bad_line_names_file_and_line(made):
    pcap, records, folder = made
    path = os.path.join(folder, "bad.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        out.write(json.dumps(as_upstream(records[0])) + "\n")
        out.write(json.dumps(dict(as_upstream(records[1]), requests="many")) + "\n")
    code, out, err = crosscheck("--pcap", pcap, "--ledger", path)
    assert code == 2 and out == "" and "bad.jsonl" in err and "line 2" in err and "requests" in err
    code, out, err = crosscheck("--pcap", pcap, "--ledger", os.path.join(folder, "nowhere.jsonl"))
    assert code == 2 and "nowhere.jsonl" in err


def test_the_manual_page_knows_every_verdict_and_every_cause():
    with open(os.path.join(ROOT, "probes", "connleak.1"), encoding="utf-8") as f:
        page = f.read()
    for table in ("join_verdicts", "join_causes"):
        with open(os.path.join(ROOT, "daemon", "core", "tbl", table + ".h"), encoding="utf-8") as f:
            names = re.findall(r'^X\(\w+, "(\w+)"', f.read(), re.MULTILINE)
        assert len(names) > 5
        for name in names:
            assert name == "none" or re.search(rf"^\.It .*\b{name}\b", page, re.MULTILINE), name


# --- The ledger of a running daemon, over HTTP ---------------------------------------------------


class FakeAdmin:
    """Answers one GET with bytes made for it, in pieces of `piece` bytes."""

    def __init__(self, answer, piece=70000):
        self.answer, self.piece, self.request = answer, piece, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            conn, _ = self.listener.accept()
            with conn:
                while b"\r\n\r\n" not in self.request:
                    self.request += conn.recv(4096)
                for at in range(0, len(self.answer), self.piece):
                    conn.sendall(self.answer[at:at + self.piece])

    def stop(self):
        self.listener.close()
        self.thread.join(60)


def chunked(body, size):
    out = b""
    for at in range(0, len(body), size):
        out += b"%x\r\n%s\r\n" % (len(body[at:at + size]), body[at:at + size])
    return out + b"0\r\n\r\n"


def fetched(made, answer, piece=70000):
    admin = FakeAdmin(answer, piece)
    try:
        code, out, err = crosscheck("--pcap", made[0], "--admin", admin.address)
    finally:
        admin.stop()
    return code, out, err, admin


def ledger_body(made):
    return b"".join(json.dumps(as_upstream(r)).encode() + b"\n" for r in made[1])


@pytest.mark.parametrize("framing", ["chunked", "odd chunks", "length", "until-eof", "interim"])
def test_the_ledger_comes_over_http_however_it_is_framed(made, framing):
    body = ledger_body(made)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    answers = {
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 65536),
        "odd chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 977),
        "length": head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "until-eof": head + b"\r\n" + body,
        "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
    }
    code, out, err, admin = fetched(made, answers[framing], 70000 if framing != "odd chunks" else 1009)
    assert code == 0, (out, err)
    assert out.splitlines()[-1].startswith(f"{N:,} connections: {N:,} agree, 0 disagree")
    assert admin.request.startswith(b"GET /ledger HTTP/1.1\r\n") and b"Host: " + admin.address.encode() in admin.request


@pytest.mark.parametrize("answer, says", [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "truncated|early|ended"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", "truncated|early|ended"),
    (b"", "early|ended"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "."),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "line 1"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1100000\r\n\r\n" + b"x" * 1_100_000, "1 MiB"),
], ids=["forbidden", "cut length", "cut chunk", "nothing", "not http", "not a record", "endless line"])
def test_an_answer_that_is_no_ledger_ends_with_2(made, answer, says):
    code, out, err, _ = fetched(made, answer)
    assert code == 2 and out == "" and re.search(says, err) and len(err.splitlines()) == 1, err


def test_an_admin_endpoint_that_is_not_there_ends_with_2(made):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, out, err = crosscheck("--pcap", made[0], "--admin", f"127.0.0.1:{port}")
    assert code == 2 and out == "" and f"127.0.0.1:{port}" in err


# --- A live daemon, its packets, and the kernel's own count ---------------------------------------


def namespaces_refused():
    """None, or why network namespaces and captures cannot be had here."""
    for tool in ("ip", "tcpdump", "nginx"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"no {tool} here"
    if os.geteuid():
        return "network namespaces and captures need root"
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "network namespaces: " + tried.stderr.decode().strip()


class Net:
    """Three network namespaces in a row: clients (10.77.1.2) - proxy (10.77.1.1, 10.77.2.1) - origins (10.77.2.2)."""

    CLIENTS, PROXY, ORIGINS = "10.77.1.2", "10.77.1.1", "10.77.2.2"

    def __init__(self):
        tag = f"cc{os.getpid()}"
        self.names = {which: f"{tag}{which[0]}" for which in ("clients", "proxy", "origins")}
        self.processes = []
        for name in self.names.values():
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        self.link("clients", "c0", f"{self.CLIENTS}/24", "p0", f"{self.PROXY}/24")
        self.link("origins", "o0", f"{self.ORIGINS}/24", "p1", "10.77.2.1/24")

    def ip(self, *args):
        subprocess.run(["ip", *args], check=True, capture_output=True)

    def link(self, which, here, address, there, proxy_address):
        name, proxy = self.names[which], self.names["proxy"]
        self.ip("-n", name, "link", "add", here, "type", "veth", "peer", "name", there, "netns", proxy)
        for netns, device, addr in ((name, here, address), (proxy, there, proxy_address)):
            self.ip("-n", netns, "addr", "add", addr, "dev", device)
            self.ip("-n", netns, "link", "set", device, "up")

    def run(self, which, *argv, **kwargs):
        return subprocess.run(["ip", "netns", "exec", self.names[which], *argv], check=True, capture_output=True, timeout=300,
                              **kwargs).stdout.decode()

    def start(self, which, *argv, **kwargs):
        process = subprocess.Popen(["ip", "netns", "exec", self.names[which], *argv], **kwargs)
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def eventually(fact, what, timeout=120):
    end = time.monotonic() + timeout
    while not fact():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def abort_counters(net):
    """TcpExt TCPAbortOnClose and TCPAbortOnData of the proxy's namespace."""
    lines = [line.split() for line in net.run("proxy", "cat", "/proc/net/netstat").splitlines() if line.startswith("TcpExt:")]
    names = dict(zip(lines[0], lines[1]))
    return int(names["TCPAbortOnClose"]), int(names["TCPAbortOnData"])


ODD_ORIGIN = r"""
import socketserver, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        served = 0
        while True:
            line = self.rfile.readline()
            if not line: return
            path = line.split()[1].decode()
            while self.rfile.readline() not in (b"\r\n", b""): pass
            served += 1
            if path.startswith("/chunked"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for i in range(20): self.wfile.write(b"3e8\r\n" + b"y" * 1000 + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
            elif path.startswith("/close"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 500\r\n\r\n" + b"z" * 500)
                return
            elif path.startswith("/eof"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"e" * 5000)
                return
            elif path.startswith("/trickle"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
                try:
                    for i in range(20):
                        self.wfile.write(b"t" * 1000)
                        time.sleep(0.005)
                except OSError:
                    return
            elif path.startswith("/truncated"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"t" * 100)
                return
            else:
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")
            if served % 7 == 0: return
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512
Server(("10.77.2.2", 8081), Handler).serve_forever()
"""

LOAD = r"""
import random, socket, sys, threading
proxy, count, threads, odd = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "odd"
PLAIN = [("10.77.2.2:8080", "/small"), ("10.77.2.2:8080", "/mid")]
ODD = PLAIN + [("10.77.2.2:8081", p) for p in ("/chunked", "/close", "/eof", "/none", "/truncated")]
failed = []

def head(s, buf):
    while b"\r\n\r\n" not in buf:
        data = s.recv(65536)
        if not data: raise EOFError
        buf += data
    return buf.split(b"\r\n\r\n", 1)

def whole(s, buf):
    h, rest = head(s, buf)
    low = h.lower()
    if b"content-length:" in low:
        left = int(low.split(b"content-length:")[1].split(b"\r\n")[0]) - len(rest)
        while left > 0:
            data = s.recv(65536)
            if not data: raise EOFError
            left -= len(data)
        return b"connection: close" not in low
    if b"chunked" in low:
        while not rest.endswith(b"0\r\n\r\n"):
            data = s.recv(65536)
            if not data: raise EOFError
            rest += data
        return b"connection: close" not in low
    while s.recv(65536): pass
    return False

def work(k):
    rnd = random.Random(k)
    s = None
    for i in range(count // threads):
        early = i % 10 == 9
        host, path = rnd.choice(ODD if odd else PLAIN)
        if early:
            host, path = rnd.choice([("10.77.2.2:8080", "/big"), ("10.77.2.2:8080", "/mid")] + ([("10.77.2.2:8081", "/trickle")] if odd else []))
        try:
            s = s or socket.create_connection(proxy)
            s.sendall(f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            if early:
                head(s, b"")
                s.close()
                s = None
            elif not whole(s, b""):
                s.close()
                s = None
        except (EOFError, ConnectionError) as e:
            if path != "/truncated": failed.append((i, path, repr(e)))
            if s: s.close()
            s = None
    if s: s.close()

workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
[w.start() for w in workers]
[w.join() for w in workers]
print(failed)
"""


class Live:
    """A daemon between clients and origins, with tcpdump on all its interfaces."""

    def __init__(self, net, folder):
        self.net, self.folder = net, folder
        www = os.path.join(folder, "www")
        os.mkdir(www)
        for name, size in (("small", 1000), ("mid", 30000), ("big", 1_000_000)):
            with open(os.path.join(www, name), "wb") as f:
                f.write(b"b" * size)
        os.chmod(folder, 0o755)
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
                    "events { worker_connections 2048; }\n"
                    f"http {{ access_log off; keepalive_requests 1000; server {{ listen 10.77.2.2:8080 backlog=1024; root {www}; }} }}\n")
        net.start("origins", "nginx", "-c", conf)
        net.start("origins", sys.executable, "-c", ODD_ORIGIN)
        eventually(lambda: self.answers("10.77.2.2", 8080, "proxy") and self.answers("10.77.2.2", 8081, "proxy"), "origins")
        self.pcap, self.ledger = os.path.join(folder, "all.pcap"), os.path.join(folder, "ledger.jsonl")
        self.before = abort_counters(net)
        self.daemon = net.start("proxy", DAEMON, "--set", "proxy.listen=10.77.1.1:3128", "--set", "admin.listen=127.0.0.1:9128",
                                "--set", "access.allow_clients=10.77.0.0/16", "--set", f"ledger.file={self.ledger}",
                                "--set", "proxy.drain_quiet=10ms", stderr=open(os.path.join(folder, "daemon.log"), "wb"))
        # Before others, where that is allowed: what it misses cannot be compared.
        self.tcpdump = net.start("proxy", "nice", "-n", "-10", "tcpdump", "-i", "any", "-B", "131072", "-w", self.pcap, "tcp", "and", "not", "port", "9128",
                                 stderr=open(os.path.join(folder, "tcpdump.log"), "wb"))
        eventually(lambda: b"listening on" in self.read("tcpdump.log"), lambda: self.read("tcpdump.log"))
        eventually(lambda: self.answers("10.77.1.1", 3128, "clients"), lambda: self.read("daemon.log"))

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as f:
            return f.read()

    def answers(self, host, port, which):
        probe = f"import socket; socket.create_connection(('{host}', {port}), 1).close()"
        with contextlib.suppress(subprocess.CalledProcessError):
            self.net.run(which, sys.executable, "-c", probe)
            return True
        return False

    def get(self, path):
        return self.net.run("proxy", "curl", "-sf", f"http://127.0.0.1:9128{path}")

    def load(self, count, threads, odd):
        return self.net.run("clients", sys.executable, "-c", LOAD, "10.77.1.1", "3128", str(count), str(threads), "odd" if odd else "plain")

    def quiet(self):
        """Waits until the daemon has no client left and nothing under way."""
        def settled():
            metrics = json.loads(self.get("/metrics"))
            return metrics["downstream"]["open"] == 0 and metrics["pool"]["active"] == metrics["pool"]["dialing"] == 0
        eventually(settled, lambda: self.get("/metrics"))

    def stop_capture(self):
        """Ends it when all that passed until now is in the file: the kernel hands packets over in blocks."""
        self.answers("10.77.1.1", 7, "clients")  # nobody listens there; the last packets of the capture

        def written():
            self.tcpdump.send_signal(signal.SIGUSR2)  # write out what you have
            return subprocess.run(["tcpdump", "-nr", self.pcap, "-c", "1", "tcp[tcpflags] & tcp-rst != 0 and src port 7"],
                                  capture_output=True, check=False).stdout
        eventually(written, "the marker in the capture")
        self.tcpdump.terminate()
        self.tcpdump.wait(120)
        log = self.read("tcpdump.log").decode()
        assert "0 packets dropped by kernel" in log, log

    def crosscheck(self, *args):
        done = subprocess.run(["ip", "netns", "exec", self.net.names["proxy"], CONNLEAK, "crosscheck", "--pcap", self.pcap, *args],
                              capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def live():
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
    # In memory where there is room: tcpdump must not wait for a disk while the kernel's buffer fills.
    in_memory = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2 << 30
    try:
        net = Net()
    except subprocess.CalledProcessError as e:
        pytest.skip(f"network namespaces: {' '.join(e.cmd)}: {e.stderr.decode().strip()}")
    folder = tempfile.mkdtemp(prefix="crosscheck", dir="/dev/shm" if in_memory else None)
    try:
        yield Live(net, folder)
    finally:
        net.stop()
        if os.environ.get("CONNLEAK_KEEP"):
            print("kept", folder)
        else:
            shutil.rmtree(folder)


@pytest.mark.parametrize("odd", [False, True], ids=["nginx", "odd origins too"])
def test_ten_thousand_requests_with_a_tenth_closed_early_agree_with_their_packets(live, odd):
    assert live.load(10_000, 8, odd).strip() == "[]"
    live.quiet()
    upstream = json.loads(live.get("/metrics"))["upstream"]
    kernel = [after - before for after, before in zip(abort_counters(live.net), live.before)]
    live.stop_capture()
    code, out, err = live.crosscheck("--admin", "127.0.0.1:9128", "--json")
    assert code in (0, 3), err
    result = as_promised(json.loads(out))
    shown = live.crosscheck("--admin", "127.0.0.1:9128")[1]
    assert result["verdicts"]["disagree"] == result["verdicts"]["only_in_ledger"] == result["verdicts"]["only_in_capture"] == 0, shown
    assert code == 0
    # A connection may be "explained" only for what the packets prove; all else agrees.
    assert set(result["explained"]) <= {"data_after_close", "discarded_by_rst", "simultaneous_close", "rst_after_close",
                                        "arrived_at_close"}, shown
    assert result["verdicts"]["incomplete"] == 0, shown
    assert result["compared"] == result["ledger"]["records"] > 1000
    # Three witnesses of the same resets: the ledger, the packets, the kernel.
    resets = result["resets"]["upstream"]
    late = result["explained"].get("arrived_at_close", 0)  # bytes that came between the last look and close()
    assert upstream["rst_sent_unread"] == resets["ledger"] > 100
    assert resets["capture"] == kernel[0], (resets, kernel, shown)
    assert resets["ledger"] <= resets["capture"] <= resets["ledger"] + late, (resets, shown)
    assert upstream["unread_bytes"] == resets["ledger_unread_bytes"]
    if not late:
        assert resets["ledger_unread_bytes"] == resets["capture_unread_bytes"]
    # The ledger's file says the same as the admin endpoint.
    live.daemon.terminate()
    live.daemon.wait(120)
    code, out, err = live.crosscheck("--ledger", live.ledger)
    assert code == 0, out + err


def test_a_live_capture_agrees_with_a_live_ledger(live):
    watch = subprocess.Popen(["ip", "netns", "exec", live.net.names["proxy"], CONNLEAK, "crosscheck", "--interface", "any",
                              "--admin", "127.0.0.1:9128", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"capturing on any" in watch.stderr.readline()
        assert live.load(1000, 4, False).strip() == "[]"
        live.quiet()
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=120)
    finally:
        watch.kill()
    result = as_promised(json.loads(out))
    assert result["captures"][0]["dropped"] == 0, err
    assert result["packets_lost_counted"] is True
    assert watch.returncode == 0, result["summary"]
    verdicts = result["verdicts"]
    assert verdicts["agree"] > 200 and verdicts["agree"] + verdicts["explained"] == result["compared"], result["summary"]
    # Our own look at the admin endpoint is on `lo`, and no part of the ledger.
    assert "127.0.0.1:9128" in [e["at"] for e in result["not_compared"]["only_in_capture"]["endpoints"]]


def test_a_live_capture_is_not_begun_without_a_ledger():
    code, out, err = crosscheck("--interface", "lo", "--admin", "127.0.0.1:1", "--duration", "60s")
    assert code == 2 and out == "" and "127.0.0.1:1" in err
    code, out, err = crosscheck("--interface", "lo", "--ledger", "/nonexistent/ledger", "--duration", "60s")
    assert code == 2 and "/nonexistent/ledger" in err


@pytest.mark.skipif(not may_capture(), reason="capturing on lo needs root")
def test_a_live_capture_of_the_origins_ports_ends_when_its_time_is_over(daemon, serve):
    origin = serve(always(answer(b"x" * 3000)))
    for duration in (1.5, 3, 6, 12, 24, 48):
        subject = daemon()
        watch = subprocess.Popen([CONNLEAK, "crosscheck", "--interface", "lo", "--port", f"{origin.port},1", "--duration", f"{duration}s",
                                  "--admin", "127.0.0.1:%d" % subject.admin[1], "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert watch.stderr.readline() == b"connleak crosscheck: capturing on lo\n"
        began = time.monotonic()
        for _ in range(5):
            assert subject.fetch(origin.url("/")).status == 200
        in_time = time.monotonic() - began < duration / 2
        out, err = watch.communicate(timeout=120)
        if in_time:   # else the machine was too busy to ask all that while it listened
            break
    result = as_promised(json.loads(out))
    assert watch.returncode == 0, (result["summary"], err)
    assert result["verdicts"]["agree"] == result["compared"] == 1 and result["fields"]["requests"]["compared"] == 1
    # The clients' side was not asked for.
    assert result["not_compared"]["only_in_ledger"]["endpoints"] == [{"at": "127.0.0.1:%d" % subject.address[1], "connections": 5}]
