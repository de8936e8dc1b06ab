"""Captures that lost, doubled or shuffled packets: connleak never crashes or hangs,
and what it could not know before does not become a wrong number. What it knew may
become less where packets are gone, and then without a trace: nothing shows that a
capture lost the last packets of a connection. But it never becomes more than the
truth, and where packets are only doubled or moved, nothing becomes wrong at all.

MUTATIONS=N sets how many changes are tried (default 150), SEED repeats a run."""
import json
import os
import random
import struct
import subprocess

import pytest

from test_captures import CAPTURES, CONNLEAK

N = int(os.environ.get("MUTATIONS", "150"))
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
FIELDS = ("requests", "responses", "reused", "early_closes", "bytes_in", "bytes_out", "unread_bytes")


def captures():
    found = []
    for path in sorted(CAPTURES.glob("*.json")):
        truth = json.loads(path.read_text())
        if truth.get("schema") == "capture-truth/1" and truth["file"].endswith(".pcap"):
            found.append((path.parent / truth["file"], truth))
    return found


def split(data):
    """The header and the records of a pcap file; a cut last record is left out."""
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    records, at = [], 24
    while at + 16 <= len(data):
        size = 16 + struct.unpack_from(order + "I", data, at + 8)[0]
        if at + size > len(data):
            break
        records.append(data[at:at + size])
        at += size
    return data[:24], records


def remove(rng, records):
    share = rng.choice((0.005, 0.02, 0.1, 0.5))
    kept = [r for r in records if rng.random() >= share]
    return kept if len(kept) < len(records) else records[:-1]


def remove_one(rng, records):
    at = rng.randrange(len(records))
    return records[:at] + records[at + 1:]


def double(rng, records):
    share = rng.choice((0.02, 0.3, 1))
    return [copy for r in records for copy in ([r, r] if rng.random() < share else [r])]


def shuffle(rng, records):
    """Packets change places with near ones; the times stay where they were."""
    reach = rng.choice((1, 3, 6))
    keyed = sorted((i + rng.uniform(0, reach), r) for i, r in enumerate(records))
    return [old[:8] + new[8:] for old, (_, new) in zip(records, keyed)]


def begin_late(rng, records):
    return records[rng.randrange(len(records)):]


def end_early(rng, records):
    return records[:rng.randrange(len(records)) + 1]


def snap(rng, records):
    size = rng.choice((54, 60, 66, 80, 120, 400))
    cut = []
    for r in records:
        head = bytearray(r[:16])
        head[8:12] = struct.pack("<I", min(size, len(r) - 16))
        cut.append(bytes(head) + r[16:16 + size])
    return cut


CHANGES = (remove, remove_one, double, shuffle, begin_late, end_early, snap)


def analyze(data):
    run = subprocess.run([CONNLEAK, "analyze", "--jsonl", "-"], input=data, capture_output=True, timeout=120)
    assert run.returncode in (0, 2), (run.returncode, run.stderr[-2000:])
    records = {}
    for line in run.stdout.splitlines():
        r = json.loads(line)
        records.setdefault((r["local"], r["remote"]), []).append(r)
    return records


def true_fields(t):
    sock, known = t.get("client_socket") or {}, {}
    for field in ("requests", "responses", "reused"):
        if t[field] is not None:
            known[field] = t[field]
    if t["early_close"] is not None:
        known["early_closes"] = int(t["early_close"])
    if t["established"] and sock.get("received") is not None:
        known.update(bytes_in=sock["received"], bytes_out=sock["sent"])
    if sock.get("unread_at_close") is not None:
        known["unread_bytes"] = sock["unread_at_close"]
    return known


def wrong_fields(before, after, truth):
    """(what was null and is wrong now, what was right and is wrong now)."""
    from_null, from_right = [], []
    for t in truth["connections"]:
        ends = (t["client"], t["server"])
        if len(before.get(ends, [])) != 1 or len(after.get(ends, [])) != 1:
            continue  # the same ends more than once: which one is which cannot be said
        was, now = before[ends][0], after[ends][0]
        for field, value in true_fields(t).items():
            if now[field] is None or now[field] == value:
                continue
            (from_null if was[field] is None else from_right).append((ends[0], field, value, was[field], now[field]))
    return from_null, from_right


def test_changed_captures(capsys):
    with capsys.disabled():
        print(f"\nnote: SEED={SEED} MUTATIONS={N}")
    found = [(p, t, split(p.read_bytes())) for p, t in captures()]
    found = [f for f in found if len(f[2][1]) > 1]
    baseline, bad, lost = {}, [], 0
    for i in range(N):
        rng = random.Random(SEED * 1000003 + i)
        path, truth, (header, records) = rng.choice(found)
        if path not in baseline:
            baseline[path] = analyze(header + b"".join(records))
        changes = rng.sample(CHANGES, rng.choice((1, 1, 2)))
        changed = records
        for change in changes:
            changed = change(rng, changed) or changed
        after = analyze(header + b"".join(changed))
        from_null, from_right = wrong_fields(baseline[path], after, truth)
        what = "+".join(c.__name__ for c in changes)
        lost += len(from_right)
        nothing_gone = set(changes) <= {double, shuffle}
        bad += [(i, path.name, what, *w) for w in from_right if nothing_gone or w[4] > w[2]]
        if os.environ.get("SHOW_WRONG"):
            for w in from_right:
                print("RIGHT->WRONG", i, path.name, what, *w)
        if end_early not in changes:  # what a shorter capture says is true of what it saw
            bad += [(i, path.name, what, *w) for w in from_null]
    print(f"{lost} fields were right before and are not after")
    assert not bad, f"SEED={SEED}\n" + "\n".join(map(str, bad))
