"""However a capture comes, the records are the same: mapped, streamed, compressed, in another format, in several files,
from an interface. Where it is damaged, the fault is named with packet number and offset."""

import bisect
import gzip
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from rig import pcaps
from rig.origin import always, answer
from test_captures import CAPTURES, CONNLEAK, ROOT

OURS = ROOT / "tests" / "captures"
MAPPED_FROM = 256 << 10  # files of this size are read in place (probes/capture/bytes.c)
WINDOW = 2 << 20         # and looked at through a window of this


def analyze(*args, stdin=None, expect=0):
    run = subprocess.run([CONNLEAK, "analyze", "--jsonl", *args], input=stdin, capture_output=True, timeout=120, check=False)
    assert run.returncode == expect, run.stderr
    return run.stdout


def streamed(data, sizes, expect=0):
    """From stdin, in pieces whose sizes come round and round."""
    run = subprocess.Popen([CONNLEAK, "analyze", "--jsonl", "--exchanges", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)

    def feed():
        at = n = 0
        while at < len(data):
            size = sizes[n % len(sizes)]
            os.write(run.stdin.fileno(), data[at:at + size])
            at, n = at + size, n + 1
        run.stdin.close()
    writer = threading.Thread(target=feed, daemon=True)
    writer.start()
    out = run.stdout.read()
    said = run.stderr.read()
    writer.join()
    assert run.wait(120) == expect, said
    run.stdout.close(), run.stderr.close()
    return out


def captures():
    """Every labelled capture that is here: the whole set where it is found, and the part in the tree."""
    found = {}
    for folder in (CAPTURES, OURS):
        for path in sorted([*folder.glob("*.pcap"), *folder.glob("*.pcapng"), *folder.glob("*.pcap.gz")]):
            found.setdefault(path.name, path)
    return list(found.values())


def plain(path):
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize("path", captures(), ids=lambda p: p.name)
def test_the_records_are_the_same_however_the_capture_comes(path, tmp_path):
    packets = pcaps.load(path)
    data = plain(path)
    cut = 2 if "truncated" in path.name else 0
    want = streamed(data, [1 << 16], expect=cut)
    assert want
    file = tmp_path / "capture"

    def check(how, contents, expect=0):
        file.write_bytes(contents)
        assert analyze("--exchanges", file, expect=expect) == want, how
    check("as it is", data, cut)
    assert streamed(data, [1, 7, 24, 39, 4099, 65521, 3], expect=cut) == want, "in odd pieces"
    check("gzip", gzip.compress(data, 1), cut)
    half = len(data) // 2
    check("gzip of two members", gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1), cut)
    assert streamed(gzip.compress(data, 1), [10007, 1, 555], expect=cut) == want, "gzip in odd pieces"

    for order in "<>":
        check(f"pcap {order} ns", pcaps.pcap(packets, order))
        if all(p.at % 1000 == 0 for p in packets):
            check(f"pcap {order} us", pcaps.pcap(packets, order, nano=False))
    # Long enough to be mapped, whatever the capture's own size: what comes behind it says nothing.
    check("pcap, mapped", pcaps.pcap(packets + pcaps.of_no_interest(packets[-1], MAPPED_FROM)))
    for sections in (1, 2, 5):
        for pad in (0, MAPPED_FROM):
            ng = pcaps.pcapng(packets, sections, pad_to=pad)
            check(f"pcapng of {sections} sections, {len(ng)} bytes", ng)
    assert streamed(ng, [13, 8191]) == want, "pcapng in odd pieces"


# --- Files of several windows -----------------------------------------------------------------------


def long_capture(size, rng):
    """Ethernet captures by lot, each an hour after the one before and between hosts of its own; and which they were."""
    sets = [(p, pcaps.load(p)) for p in captures() if p.parent == OURS or (OURS / p.name).exists()]
    sets = [(p, packets) for p, packets in sets if packets and packets[0].link == pcaps.EN10MB]
    out, order, length, begin = [], [], 0, 1_700_000_000 * pcaps.SECOND
    while length < size:
        path, packets = rng.choice(sets)
        first = min(p.at for p in packets)
        out += [pcaps.of_other_hosts(p, len(order) + 1).moved(begin - first) for p in packets]
        order.append((path, len(packets)))
        length += sum(16 + len(p.data) for p in packets)
        begin += 3600 * pcaps.SECOND
    return out, order


@pytest.fixture(scope="module")
def large():
    return long_capture(3 * WINDOW + 12345, random.Random(7))


NOT_MOVED = ("requests", "responses", "reused", "early_closes", "bytes_in", "bytes_out", "unread_bytes", "rst_sent", "rst_received",
             "close", "last_body", "duration_ms", "idle_ms", "state")


def test_a_long_capture_has_the_records_of_its_parts(large, tmp_path):
    packets, order = large
    file = tmp_path / "large.pcap"
    file.write_bytes(pcaps.pcap(packets))
    whole = [json.loads(line) for line in analyze(file).splitlines()]
    alone, number, following = {}, 0, []
    for path, n_packets in order:
        if path not in alone:
            alone[path] = [json.loads(line) for line in analyze(path, expect=2 if "truncated" in path.name else 0).splitlines()]
        for record in alone[path]:
            following.append((record, number))
        number += n_packets
    assert len(whole) == len(following)
    # Records come when connections end: to compare, those of one capture stand together by their first packet.
    whole.sort(key=lambda r: r["evidence"]["first_packet"])
    following.sort(key=lambda pair: pair[0]["evidence"]["first_packet"] + pair[1])
    for got, (want, before) in zip(whole, following):
        assert got["evidence"]["first_packet"] == want["evidence"]["first_packet"] + before
        open_then = want["state"] != "closed"  # and until when it stayed open is another matter
        for field in NOT_MOVED:
            if not (open_then and field in ("duration_ms", "idle_ms", "state", "close", "rst_sent", "rst_received", "early_closes",
                                            "unread_bytes", "bytes_in", "bytes_out")):
                assert got[field] == want[field], (field, got, want)


@pytest.mark.parametrize("form", ["pcap", "big endian", "pcapng"])
def test_a_long_capture_reads_the_same_mapped_and_streamed(large, form, tmp_path):
    packets = large[0]
    data = {"pcap": lambda: pcaps.pcap(packets), "big endian": lambda: pcaps.pcap(packets, ">"),
            "pcapng": lambda: pcaps.pcapng(packets, 4)}[form]()
    assert len(data) > 3 * WINDOW
    file = tmp_path / "large"
    file.write_bytes(data)
    mapped = analyze("--exchanges", file)
    assert mapped == streamed(data, [65536, 1, 99_991, 4095])
    file.write_bytes(gzip.compress(data, 1))
    assert mapped == analyze("--exchanges", file)


# --- Damage -----------------------------------------------------------------------------------------------


def places_of(data):
    """Where each record or block of a capture begins, whether it has a packet, and the end."""
    places, at, order = [], 0, "<"
    if data[:4] != b"\n\r\r\n":
        at = 24
        while at < len(data):
            places.append((at, True))
            at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    while at < len(data):
        if data[at:at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, size = struct.unpack_from(order + "II", data, at)
        places.append((at, kind == 6))
        at += size
    return places


def fault_of(data, cut, places):
    """(packet number, offset) at which a capture of this length breaks off; None: between two records."""
    whole = [p for p, _ in places if p <= cut]
    if not whole or whole[-1] == cut or cut == len(data):
        return None
    return 1 + sum(has for p, has in places if p < whole[-1]), whole[-1]


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
@pytest.mark.parametrize("size", [MAPPED_FROM + 70_000, WINDOW + 300_000, 20_000], ids=["mapped", "two windows", "read"])
def test_a_capture_cut_anywhere_is_read_up_to_there_and_the_place_is_named(large, form, size, tmp_path):
    rng = random.Random(size)
    packets = large[0]
    n = bisect.bisect(list(itertools.accumulate(16 + len(p.data) for p in packets)), size)
    data = pcaps.pcap(packets[:n]) if form == "pcap" else pcaps.pcapng(packets[:n], 2)
    places = places_of(data)
    reached = WINDOW if size > WINDOW else MAPPED_FROM if size > MAPPED_FROM else 0
    late = [p for p, _ in places if p > reached]
    cuts = set()
    for place in rng.sample(late, 4) + late[-1:]:  # inside headers, at borders, inside packets
        cuts |= {place - 1, place, place + 1, place + 7, place + 8, place + 11, place + 15, place + 16, place + 17, place + 30,
                 place + 70}
    if size > WINDOW:
        cuts |= {WINDOW - 1, WINDOW, WINDOW + 1}
    if size < MAPPED_FROM:
        cuts |= set(range(places[0][0], places[3][0] + 20))
    for cut in sorted(c for c in cuts if c < len(data)):
        if form == "pcapng" and cut < 12:
            continue
        file = tmp_path / "cut"
        file.write_bytes(data[:cut])
        run = subprocess.run([CONNLEAK, "analyze", "--jsonl", file], capture_output=True, text=True, timeout=120, check=False)
        piped = subprocess.run([CONNLEAK, "analyze", "--jsonl", "-"], input=data[:cut], capture_output=True, timeout=120, check=False)
        want = fault_of(data, cut, places)
        if want is None:
            assert (run.returncode, piped.returncode, run.stderr) == (0, 0, ""), (cut, run.stderr)
        else:
            place = f"packet {want[0]} at offset {want[1]}: "
            assert run.returncode == piped.returncode == 2
            assert run.stderr.startswith(f"connleak: {file}: {place}") and run.stderr.count("\n") == 1, (cut, place, run.stderr)
            assert piped.stderr.decode() == run.stderr.replace(str(file), "stdin"), (cut, piped.stderr, run.stderr)
        assert run.stdout == piped.stdout.decode()


def test_damage_in_a_mapped_file_is_named_too(large, tmp_path):
    data = pcaps.pcap(large[0])
    place = places_of(data)[3000][0]
    file = tmp_path / "damaged"
    file.write_bytes(data[:place + 8] + b"\xff\xff\xff\x7f" + data[place + 12:])
    run = subprocess.run([CONNLEAK, "analyze", "--json", file], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2 and f"packet 3001 at offset {place}: a captured length of 2147483647 bytes" in run.stderr
    doc = json.loads(run.stdout)
    assert doc["captures"][0]["packets"] == 3000 and doc["captures"][0]["faults"][0] in run.stderr and doc["connections"]


@pytest.mark.parametrize("damage, says", [
    (lambda size: (-4, struct.pack("<I", size + 4)), "a block whose two lengths differ"),
    (lambda size: (4, struct.pack("<I", size + 2)), "a block length of"),
    (lambda size: (8, struct.pack("<I", 99)), "a packet of interface 99, which was not described"),
    (lambda size: (20, struct.pack("<I", size)), "a captured length of"),
])
def test_damage_in_a_pcapng_block_is_named(large, damage, says, tmp_path):
    data = bytearray(pcaps.pcapng(large[0][:2000], 1))
    places = places_of(data)
    which = [i for i, (_, has) in enumerate(places) if has][1000]
    place, size = places[which][0], places[which + 1][0] - places[which][0]
    at, to = damage(size)
    at = place + (at if at >= 0 else size + at)
    data[at:at + len(to)] = to
    file = tmp_path / "damaged"
    file.write_bytes(data)
    for stdin, path in ((None, file), (bytes(data), "-")):
        run = subprocess.run([CONNLEAK, "analyze", "--jsonl", path], input=stdin, capture_output=True, timeout=120, check=False)
        assert run.returncode == 2 and f"packet 1001 at offset {place}: {says}" in run.stderr.decode() and run.stdout


def test_gzip_that_breaks_off_is_a_fault_with_its_place(large, tmp_path):
    data = pcaps.pcap(large[0][:3000])
    packed = gzip.compress(data, 1)
    for share in (0.3, 0.9, 0.9999):
        file = tmp_path / "cut.pcap.gz"
        file.write_bytes(packed[:int(len(packed) * share)])
        run = subprocess.run([CONNLEAK, "analyze", "--jsonl", file], capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 2 and re.search(r"packet \d+ at offset \d+: gzip data end before their end", run.stderr), run.stderr


# --- Several files ----------------------------------------------------------------------------------------


def test_several_files_are_one_capture_in_order_of_time(large, tmp_path):
    """Packets dealt out to files (as tcpdump -C and -W, or one capture a direction, would do it) give the records of the whole."""
    packets = large[0][:6000]
    whole = tmp_path / "whole"
    whole.write_bytes(pcaps.pcap(packets))
    want = analyze("--exchanges", whole)
    for packets_in_order in (True, False):
        hands = [packets[i::3] for i in range(3)] if not packets_in_order else [packets[:2500], packets[2500:2501], packets[2501:]]
        times = [p.at for p in packets]
        if not packets_in_order and len(set(times)) != len(times):
            # Packets of one instant in different files have no order: they are moved a nanosecond apart.
            packets = [p.moved(i % 900) for i, p in enumerate(packets)]
            packets.sort(key=lambda p: p.at)
            whole.write_bytes(pcaps.pcap(packets))
            want = analyze("--exchanges", whole)
            hands = [packets[i::3] for i in range(3)]
        paths = [tmp_path / f"part{i}" for i in range(3)]
        paths[0].write_bytes(pcaps.pcap(hands[0]))
        paths[1].write_bytes(gzip.compress(pcaps.pcap(hands[1], ">")))
        paths[2].write_bytes(pcaps.pcapng(hands[2], 2))
        assert analyze("--exchanges", paths[2], paths[0], paths[1]) == want


# --- What is told of a capture besides -------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")
@pytest.mark.parametrize("name", ["tuple-reuse-raw.pcap", "any-sll2-go-v4v6.pcap", "vlan-early-go-5k.pcap"])
def test_the_expressions_for_tshark_show_a_connection_s_packets_and_no_other_s(name):
    path = CAPTURES / name
    records = [json.loads(line) for line in analyze(path).splitlines()]
    expressions = subprocess.run([CONNLEAK, "analyze", "--tshark", path], capture_output=True, text=True, check=True).stdout.splitlines()
    shown = []
    for record, expression in zip(records, expressions, strict=True):
        run = subprocess.run(["tshark", "-r", path, "-Y", expression, "-T", "fields", "-e", "frame.number"], capture_output=True, text=True,
                             timeout=120, check=True)
        numbers = [int(n) for n in run.stdout.split()]
        assert len(numbers) == record["evidence"]["local"]["packets"] + record["evidence"]["remote"]["packets"], expression
        assert (numbers[0], numbers[-1]) == (record["evidence"]["first_packet"], record["evidence"]["last_packet"])
        shown += numbers
    assert len(shown) == len(set(shown)) == len(pcaps.load(path))


def test_packets_that_were_dropped_and_fragments_are_told(tmp_path):
    packets = pcaps.load(CAPTURES / "healthy-go-cl100-c1.pcap")
    fragment = bytearray(packets[5].data)
    fragment[20] |= 0x20  # more fragments follow
    packets[5] = pcaps.Packet(packets[5].at, bytes(fragment), packets[5].length, packets[5].link)
    file = tmp_path / "dropped.pcapng"
    file.write_bytes(pcaps.pcapng(packets, 1, dropped=12))
    run = subprocess.run([CONNLEAK, "analyze", "--json", file], capture_output=True, text=True, timeout=120, check=False)
    doc = json.loads(run.stdout)
    assert run.returncode == 0 and doc["captures"][0]["dropped"] == 12 and doc["packets"]["fragments"] == 1
    assert f"{file}: 12 packets were dropped while capturing" in run.stderr
    assert "1 IP fragments (the first is packet 6)" in run.stderr


def test_progress_is_shown_on_a_terminal_and_leaves_nothing_behind(large):
    """Bytes, rate and connections, on stderr, as long as it takes."""
    master, terminal = os.openpty()
    run = subprocess.Popen([CONNLEAK, "analyze", "--jsonl", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    data, said, until = pcaps.pcap(large[0][:3000]), b"", time.monotonic() + 120

    def feed():
        with run.stdin as pipe:
            pipe.write(data)
            while b"MiB/s" not in said and time.monotonic() < until:
                pipe.write(data[24:])
    writer = threading.Thread(target=feed, daemon=True)
    writer.start()
    while True:
        try:
            said += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    writer.join(120)
    os.close(master)
    assert run.wait(120) == 0
    assert re.search(rb"\r\033\[K[0-9.]+ MiB, [0-9]+ MiB/s, [0-9]+ connections", said), said
    assert said.endswith(b"\r\033[K")


# --- While it is still being written, and live ------------------------------------------------------------------


def test_records_come_while_tcpdump_is_still_writing(large):
    """A connection's record is there some seconds of capture time after its end, not at the end of the input."""
    packets = large[0][:3000]
    data = pcaps.pcap(packets)
    run = subprocess.Popen([CONNLEAK, "analyze", "--jsonl", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    got = []
    reader = threading.Thread(target=lambda: got.extend(iter(run.stdout.readline, b"")), daemon=True)
    reader.start()
    run.stdin.write(data)
    until = time.monotonic() + 120
    while not got and time.monotonic() < until:
        time.sleep(0.01)
    early = len(got)
    assert run.poll() is None
    run.stdin.close()
    reader.join(120)
    assert run.wait(120) == 0 and 0 < early <= len(got)
    run.stdout.close()


def may_capture():
    if os.geteuid():
        return False
    probe = subprocess.run([CONNLEAK, "analyze", "--interface", "lo", "--duration", "1ms"], capture_output=True, timeout=120, check=False)
    return probe.returncode == 0


live = pytest.mark.skipif(not may_capture(), reason="capturing on lo needs root")


class Watch:
    """connleak analyze --interface lo, once it is capturing."""

    def __init__(self, *args):
        self.run = subprocess.Popen([CONNLEAK, "analyze", "--interface", "lo", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True)
        self.said = self.run.stderr.readline()

    def end(self, sig=None):
        if sig:
            self.run.send_signal(sig)
        out, err = self.run.communicate(timeout=120)
        return self.run.returncode, out, err


def talk(url_port, requests, early=False):
    """A client of our own on one connection; its port."""
    s = socket.create_connection(("127.0.0.1", url_port), 60)
    with s:
        for _ in range(requests):
            s.sendall(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            got = b""
            while len(got) < (1 if early else 20_000):
                got += s.recv(1 if early else 65536)
        return s.getsockname()[1]


@live
def test_a_live_capture_for_a_duration(serve):
    origin = serve(always(answer(b"x" * 20_000)))
    for duration in (1.5, 3, 6, 12, 24, 48):
        began = time.monotonic()
        watch = Watch("--json", "--port", str(origin.port), "--duration", f"{duration}s")
        listening = time.monotonic()
        assert watch.said == "connleak: capturing on lo\n"
        ports = [talk(origin.port, 3), talk(origin.port, 1, early=True)]
        in_time = time.monotonic() - listening < duration / 2
        code, out, err = watch.end()
        assert code == 0 and err == "" and duration - 0.1 <= time.monotonic() - began < duration + 60
        if in_time:   # else the machine was too busy to say all that while it listened
            break
    doc = json.loads(out)
    records = {int(r["local"].rsplit(":", 1)[1]): r for r in doc["connections"]}
    assert sorted(records) == sorted(ports)
    whole, given_up = (records[p] for p in ports)
    assert (whole["requests"], whole["reused"], whole["close"]["by"], whole["close"]["how"]) == (3, 2, "local", "fin")
    assert (given_up["requests"], given_up["rst_sent"], given_up["close"]["how"]) == (1, True, "rst")
    assert doc["captures"][0]["dropped"] == 0 and doc["captures"][0]["file"] == "lo"


@live
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_capture_and_loses_nothing(serve, sig):
    """What came just before the signal is still in the kernel's block: it is read."""
    origin = serve(always(answer(b"x" * 20_000)))
    watch = Watch("--jsonl", "--capture-filter", f"tcp port {origin.port}")
    assert watch.said == "connleak: capturing on lo until interrupted\n"
    ports = [talk(origin.port, 1) for _ in range(5)]
    code, out, err = watch.end(sig)
    assert code == 0 and err == ""
    records = [json.loads(line) for line in out.splitlines()]
    assert [int(r["local"].rsplit(":", 1)[1]) for r in records] == ports
    assert all(r["state"] == "closed" and r["responses"] == 1 for r in records)


@live
def test_only_the_ports_asked_for_are_captured(serve):
    wanted, other = serve(always(answer(b"x" * 20_000))), serve(always(answer(b"x" * 20_000)))
    watch = Watch("--jsonl", "--port", f"1-2,{wanted.port}")
    ports = [talk(wanted.port, 1)]
    talk(other.port, 1)
    code, out, _ = watch.end(signal.SIGINT)
    assert code == 0 and [int(json.loads(line)["local"].rsplit(":", 1)[1]) for line in out.splitlines()] == ports


@pytest.mark.parametrize("args, says", [
    (["--duration", "5s", "x.pcap"], "--duration is for --interface"),
    (["--port", "80", "x.pcap"], "--port is for --interface"),
    (["--interface", "lo", "--duration", "soon"], '"soon"'),
    (["--interface", "lo", "--duration", "0"], "90s"),
    (["--interface", "lo", "--duration"], "needs a time"),
    (["--interface", "lo", "--port", "80", "--capture-filter", "tcp"], "not both"),
    (["--interface", "nosuchinterface"], "nosuchinterface"),
])
def test_wrong_use_of_a_live_capture(args, says):
    run = subprocess.run([CONNLEAK, "analyze", *args], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.count("\n") == 1 and says in run.stderr


@live
@pytest.mark.parametrize("ports", ["", "0", "80,", "a", "80-", "90-80", "70000", "80;81", ",".join(["60000-60001"] * 100)])
def test_ports_that_are_none_are_refused(ports):
    run = subprocess.run([CONNLEAK, "analyze", "--interface", "lo", "--port", ports], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.count("\n") == 1 and "80,443,8000-8010" in run.stderr
