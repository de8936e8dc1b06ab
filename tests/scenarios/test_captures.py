"""Captures whose truth is known: what `connleak analyze` says of each connection,
field by field, against what the clients, servers and kernels logged.

A field may be null only where the wire cannot tell; which fields those are, and
when, is written down here. A number that is not null must be right.

The full set lies beside the repository on the machines of its authors; a
representative part of it is in tests/captures. The output says which was used.
"""
import json
import os
import pathlib
import re
import subprocess

import pytest

from test_schemas import check

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))
CONNLEAK = BUILD / "connleak"

# The whole set where it is found (CAPTURES=DIR names another place), else the part that is here.
PLACES = [ROOT.parent / "shared" / "captures", ROOT.parent.parent / "shared" / "captures", ROOT / "tests" / "captures"]
CAPTURES = pathlib.Path(os.environ["CAPTURES"]) if "CAPTURES" in os.environ else next(d for d in PLACES if d.is_dir())

compared = {}  # field -> [equal, null]


def analyze(path, *args, expect=(0, 2)):
    run = subprocess.run([CONNLEAK, "analyze", "--jsonl", "--exchanges", *args, path], capture_output=True, text=True, timeout=120)
    assert run.returncode in expect, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()], run


class Checker:
    """Collects differences of one capture."""

    def __init__(self):
        self.wrong = []

    def same(self, where, field, got, want, may_be_null=False):
        tally = compared.setdefault(field, [0, 0])
        if got is None and may_be_null:
            tally[1] += 1
            return
        tally[0] += 1
        if got != want:
            self.wrong.append(f"{where}: {field} is {got!r}, not {want!r}")

    def near(self, where, field, got, want, within, may_be_null=False):
        tally = compared.setdefault(field, [0, 0])
        if got is None and may_be_null:
            tally[1] += 1
            return
        tally[0] += 1
        if got is None or abs(got - want) > within:
            self.wrong.append(f"{where}: {field} is {got!r}, not {want!r} (+- {within})")


def seconds(text):
    import datetime
    when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    whole = int(when.replace(microsecond=0).timestamp())
    return whole + when.microsecond / 1e6


CAUSES = {"TCP_ABORT_ON_CLOSE": "unread_at_close", "TCP_ABORT_ON_DATA": "data_after_close",
          "TCP_TIMEWAIT_SOCKET": "data_after_close", "NO_SOCKET": "data_after_close", "TCP_STATE": None}


def check_connection(c, where, rec, truth, edited):
    ev, close = rec["evidence"], truth["close"]
    incomplete = set(ev["incomplete"] or [])
    opaque = "opaque" in incomplete
    hidden = bool(incomplete - {"open_at_end_of_capture", "bytes_not_captured"})
    cut_off = bool(edited) and hidden
    whole = truth.get("start_in_capture", True)

    if truth["requests"] is not None:
        c.same(where, "requests", rec["requests"], truth["requests"], hidden)
        c.same(where, "reused", rec["reused"], truth["reused"], hidden)
        c.same(where, "responses", rec["responses"], truth["responses"], hidden)
    if whole:
        c.near(where, "opened_at", seconds(rec["opened_at"]), truth["opened"], 0.002)
    c.same(where, "established", ev.get("established", False), truth["established"] and whole)
    by = {"client": "local", "server": "remote", "none": "none"}[close["initiator"]]
    c.same(where, "close.by", rec["close"]["by"], by, cut_off)
    c.same(where, "close.how", rec["close"]["how"], close["kind"].lower(), cut_off)
    if close["initiator"] != "none" and close["initiator"] == "client":
        c.near(where, "closed_at", seconds(rec["closed_at"]), close["at"], 0.003)
    resets = {t["side"] for t in close.get("then", []) if t["what"] == "RST"}
    if close["kind"] == "RST":
        resets.add(close["initiator"])
    c.same(where, "rst_sent", rec["rst_sent"], "client" in resets)
    c.same(where, "rst_received", rec["rst_received"], "server" in resets)

    # Whether a body was given up can be seen while some of it is outstanding, and not after.
    if truth["early_close"] is not None:
        c.same(where, "early_closes", rec["early_closes"], int(truth["early_close"]),
               hidden or ev["early_close"] in ("fin_after_complete", "rst_after_complete", "no_response", "open"))
    reasons = [close.get("reason")] + [t.get("reason") for t in close.get("then", []) if t["side"] == "client"]
    reasons = [r for r in reasons if r]
    if reasons and "client" in resets:
        c.same(where, "rst_cause", ev["rst_cause"], CAUSES[reasons[0]],
               opaque or ev["early_close"] in ("rst_after_complete", "unknown"))

    sock = truth.get("client_socket") or {}
    if sock.get("received") is not None and whole and truth["established"]:
        c.same(where, "bytes_in", rec["bytes_in"], sock["received"], cut_off)
        c.same(where, "bytes_out", rec["bytes_out"], sock["sent"], cut_off)
    if sock.get("unread_at_close") is not None:
        c.same(where, "unread_bytes", rec["unread_bytes"], sock["unread_at_close"], close["kind"] == "RST" or hidden)
        if sock["unread_at_close"] and "unread_if_read_4096" in ev and sock["read"] == 4096:
            c.same(where, "unread_if_read_4096", ev["unread_if_read_4096"], sock["unread_at_close"])

    excess = sum(x.get("excess") or 0 for x in truth["exchanges"]) + (truth.get("unsolicited_bytes") or 0)
    if not hidden:
        c.same(where, "excess_bytes", ev.get("excess_bytes", 0), excess)
        check_exchanges(c, where, rec, truth)


def check_exchanges(c, where, rec, truth):
    ev = rec["evidence"]
    mine, theirs = ev.get("exchanges", []), [x for x in truth["exchanges"] if x.get("in_capture", "whole") != "none"]
    if truth.get("tunnelled_requests") or len(theirs) != rec["requests"]:
        return
    # The first and the newest are kept.
    if len(mine) < len(theirs):
        theirs = theirs[:2] + theirs[-(len(mine) - 2):]
    for m, t in zip(mine, theirs):
        at = f"{where} exchange {t['id']}"
        c.same(at, "exchange.method", m["method"], t["method"])
        if t.get("status") is not None:
            c.same(at, "exchange.status", m["status"], t["status"], t["outcome"] != "complete")
        if m["status"] is None:
            continue
        if t.get("framing") and t["method"] != "HEAD":
            c.same(at, "exchange.framing", m.get("framing"), t["framing"])
        if t.get("framing") == "content-length" or t.get("announced") is not None:
            c.same(at, "exchange.announced", m.get("announced"), t["announced"])
        if t["outcome"] == "complete":
            c.same(at, "exchange.complete", m["complete"], True)
            if t.get("announced") is not None and t["method"] != "HEAD":
                c.same(at, "exchange.body", m.get("body"), t["announced"])


def truth_files():
    return sorted(p for p in CAPTURES.glob("*.json") if json.loads(p.read_text()).get("schema") == "capture-truth/1")


@pytest.mark.parametrize("path", truth_files(), ids=lambda p: p.stem)
def test_capture(path):
    truth = json.loads(path.read_text())
    records, run = analyze(path.parent / truth["file"])
    records.sort(key=lambda r: int(r["id"][2:]))
    c = Checker()
    by_tuple = {}
    for r in records:
        by_tuple.setdefault((r["local"], r["remote"]), []).append(r)
    c.same(path.stem, "connections", len(records), len([t for t in truth["connections"]]))
    for t in truth["connections"]:
        found = by_tuple.get((t["client"], t["server"])) or []
        if not found:
            c.wrong.append(f"connection {t['id']} {t['client']} is missing")
            continue
        check_connection(c, f"connection {t['id']}", found.pop(0), t, truth["capture"].get("edits"))
    assert not c.wrong, "\n" + "\n".join(c.wrong)
    assert ("killed" in truth["story"]) == (run.returncode == 2), run.stderr


def paths(value, at="evidence"):
    """Each path in a record's evidence; what stands in both ends' objects is told of the client's."""
    for key, below in value.items():
        path = f"{at}.{key}"
        yield path.replace("evidence.remote.", "evidence.local.")
        for inner in below if isinstance(below, list) else [below]:
            if isinstance(inner, dict):
                yield from paths(inner, path)


def test_every_field_of_the_evidence_is_told_of_in_the_manual():
    table = (ROOT / "probes/wire/tbl/evidence_fields.h").read_text()
    told, seen = set(re.findall(r'^X\("([\w.]+)"', table, re.M)), set()
    for path in sorted(CAPTURES.glob("*.pcap*")):
        for record in analyze(path)[0]:
            seen.update(paths(record["evidence"]))
    assert seen <= told, seen - told
    written = set(re.findall(r'(?:JO_KEY\(o|PUT_\w+\(o), "(\w+)"', (ROOT / "probes/capture/evidence_json.c").read_text()))
    assert written == {path.rsplit(".", 1)[1] for path in told}


PUBLIC = CAPTURES / "public" / "expected.json"


def public_captures():
    return json.loads(PUBLIC.read_text())["captures"] if PUBLIC.exists() else []


@pytest.mark.parametrize("capture", public_captures(), ids=lambda c: c["file"] if isinstance(c, dict) else "none")
def test_public(capture):
    records, _ = analyze(PUBLIC.parent / capture["file"])
    c = Checker()
    exchanges = []
    for want in capture["connections"]:
        where = want["client"]
        found = [r for r in records if r["local"] == want["client"] and r["remote"] == want["server"]]
        assert len(found) == 1, [r["local"] for r in records]
        rec = found[0]
        ev = rec["evidence"]
        simple = {"client_bytes": ev["local"]["bytes"], "server_bytes": ev["remote"]["bytes"],
                  "conn_state": ev["conn_state"], "history": ev["history"], "missed_bytes": ev["local"].get("gap_bytes", 0) + ev["remote"].get("gap_bytes", 0),
                  "client_packets": ev["local"]["packets"], "server_packets": ev["remote"]["packets"],
                  "requests": rec["requests"], "reused": rec["reused"]}
        for field, got in simple.items():
            if want.get(field) is not None:
                c.same(where, "public." + field, got, want[field])
        if "first_fin" in want:
            first = {None: "none", "client": "local", "server": "remote"}[want["first_fin"]]
            c.same(where, "public.first_fin", rec["close"]["by"], first)
        if "reset_by" in want:
            c.same(where, "public.reset_by", rec["rst_sent"], want["reset_by"] == "client")
        for side, end in (("client", "local"), ("server", "remote")):
            if want.get(side + "_retransmits"):
                c.same(where, "public.retransmits", ev[end].get("retransmits", 0) + ev[end].get("duplicates", 0) > 0, True)
        exchanges += ev.get("exchanges", [])
    for want, got in zip(capture.get("http") or [], exchanges):
        c.same(capture["file"], "public.method", got["method"], want["method"])
        c.same(capture["file"], "public.status", got["status"], want["status"])
        if want.get("response_body_len") is not None and not want.get("decoded"):
            c.same(capture["file"], "public.body", got.get("body"), want["response_body_len"])
    if len(capture.get("http") or []) > 0 and capture["connections"][0].get("requests"):
        c.same(capture["file"], "public.exchanges", len(exchanges), len(capture["http"]))
    assert not c.wrong, "\n" + "\n".join(c.wrong)


def test_zz_how_many_fields_were_compared(capsys):
    equal, null = (sum(t[i] for t in compared.values()) for i in (0, 1))
    with capsys.disabled():
        print(f"\nnote: captures of {CAPTURES}: {len(truth_files())} and {len(public_captures())} public; "
              f"{equal} fields equal, {null} null where the wire cannot tell")
        print("  " + ", ".join(f"{f} {t[0]}+{t[1]}" for f, t in sorted(compared.items())))
    assert equal > 500


def manual_fields():
    """The fields of --filter as connleak(1) lists them."""
    page = (ROOT / "probes" / "connleak.1").read_text().split(".Sh FILTER EXPRESSIONS")[1].split(".Sh ")[0]
    return [line[4:] for line in page.splitlines() if line.startswith(".It ")]


def test_every_field_of_a_filter_is_in_the_manual_and_in_the_help():
    run = subprocess.run([CONNLEAK, "analyze", "--help"], capture_output=True, text=True)
    listed = run.stdout.split("Its fields:")[1].replace("\n", " ").replace(",", " ").split()
    assert run.returncode == 0 and listed == manual_fields()


FILTERS = [  # of tuple-reuse-raw: early close by RST; FIN from the server; two requests, open
    ("rst_sent", [1]), ("not rst_sent", [2, 3]), ("requests > 1", [3]), ("requests >= 1 and by = remote", [2]),
    ("how = rst or how = none", [1, 3]), ("(rst_sent or requests = 2) and server = 127.0.0.1:8080", [1, 3]),
    ("client = 45000 and server = :8080", [1, 2, 3]), ("client = 127.0.0.2", []), ("bytes_in > 1k", [1]),
    ("unread_bytes = null", [1, 3]), ("unread_bytes != null", [2]), ("unread_bytes > 0", []), ("NOT(state=closed)", [3]),
    ("conn_state = \"rsto\"", [1]), ("history ~ f and not history ~ R", [2]), ("early_close ~ complete", [1, 2]),
]


@pytest.mark.parametrize("text,want", FILTERS)
def test_filter(text, want):
    records, _ = analyze(CAPTURES / "tuple-reuse-raw.pcap", "--filter", text)
    assert sorted(int(r["id"][2:]) for r in records) == want


@pytest.mark.parametrize("text", ["", "foo", "requests >", "requests > x", "(rst_sent", "rst_sent)", "rst_sent and", "by < local",
                                  "requests ~ 1", "requests > null", "server = 1.2.3.4.5", "host = \"a", "not " * 70 + "rst_sent",
                                  " and ".join(["rst_sent"] * 200)])
def test_a_filter_that_is_wrong_is_refused_with_its_place(text):
    run = subprocess.run([CONNLEAK, "analyze", "--filter", text, CAPTURES / "tuple-reuse-raw.pcap"], capture_output=True, text=True)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.count("\n") == 1
    assert "character" in run.stderr and "expected" in run.stderr


def test_json_is_one_object_that_adds_up():
    run = subprocess.run([CONNLEAK, "analyze", "--json", CAPTURES / "refused-go.pcap", CAPTURES / "304-curl-nginx.pcap"],
                         capture_output=True, text=True)
    doc = json.loads(run.stdout)
    check(doc, "connleak.analysis-1")
    for record in doc["connections"]:
        check(record, "connleak.conn-1")
    assert run.returncode == 0 and list(doc)[:2] == ["schema", "connections"]
    assert [c["faults"] for c in doc["captures"]] == [[], []] and doc["captures"][0]["link_type"] == "EN10MB"
    assert doc["packets"]["all"] == sum(c["packets"] for c in doc["captures"])
    assert doc["totals"]["connections"] == len(doc["connections"]) == 5
    assert doc["totals"]["requests"] == sum(r["requests"] for r in doc["connections"])
    assert doc["totals"]["refused"] == 3


def test_stdin_while_it_is_still_written():
    """What has come is analysed before the rest is there: records of ended connections appear."""
    data = (CAPTURES / "early-go-cl3k-c1.pcap").read_bytes()
    late = bytearray(data[24:])  # the same packets, an hour later, so that what was is over
    at = 0
    while at < len(late):
        late[at:at + 4] = (int.from_bytes(late[at:at + 4], "little") + 3600).to_bytes(4, "little")
        at += 16 + int.from_bytes(late[at + 8:at + 12], "little")
    run = subprocess.Popen([CONNLEAK, "analyze", "--jsonl", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    run.stdin.write(data)
    run.stdin.write(late)
    run.stdin.close()
    assert len(run.stdout.read().splitlines()) == 12 and run.wait(120) == 0


def test_the_table_has_no_colour_where_it_is_not_wanted():
    run = subprocess.run([CONNLEAK, "analyze", CAPTURES / "tuple-reuse-raw.pcap"], capture_output=True, text=True)
    assert "\033" not in run.stdout and "127.0.0.1:8080" in run.stdout and run.stderr == ""


@pytest.mark.parametrize("args,expected", [
    ([], "FILE"), (["/nonexistent.pcap"], "/nonexistent.pcap: No such file"), (["--frobnicate", "x"], "--frobnicate"),
    (["--filter"], "--filter"), (["--interface", "lo", "x.pcap"], "not both"), ([__file__], "expected a pcap or pcapng"),
])
def test_wrong_use_is_one_line_and_exit_2(args, expected):
    run = subprocess.run([CONNLEAK, "analyze", *args], capture_output=True, text=True)
    assert run.returncode == 2 and run.stdout == "" and run.stderr.count("\n") == 1 and expected in run.stderr
