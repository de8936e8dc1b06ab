"""What `connleak analyze` finds in captures, against what is known to be wrong in them.

A truth file says what must be reported, and on which connections; what may be reported
beside it or in its place; and what would be a false alarm. Nothing else may be.
"""
import json
import resource
import signal
import subprocess

import pytest

from test_captures import CAPTURES, CONNLEAK, ROOT
from test_schemas import check

TRUTHS = sorted(p for p in CAPTURES.glob("*.json") if "expect" in json.loads(p.read_text()))

# Said besides, in a capture that is about something else, and true of it.
ALSO_TRUE = {
    "proxy-go-tinyproxy": {"server_disables_keepalive"},  # tinyproxy ends each connection after its response, and does not say so
}


def analyze(path, *args, expect=(0, 2)):
    run = subprocess.run([CONNLEAK, "analyze", *args, path], capture_output=True, text=True, timeout=120)
    assert run.returncode in expect, run.stderr
    return run.stdout


def findings(path):
    return json.loads(analyze(path, "--json"))["findings"]


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda p: p.stem)
def test_findings_of_a_capture(truth):
    known = json.loads(truth.read_text())
    expect = known["expect"]
    got = findings(CAPTURES / known["file"])
    kinds = {f["kind"] for f in got}
    for f in got:
        check(f, "connleak.finding-1")
    assert {f["id"] for f in expect["findings"]} <= kinds
    assert not kinds & set(expect["must_not"])
    allowed = {f["id"] for f in expect["findings"]} | set(expect["also_acceptable"]) | ALSO_TRUE.get(truth.stem, set())
    assert {f["kind"] for f in got if f["severity"] != "info"} <= allowed


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda p: p.stem)
def test_on_how_many_connections(truth):
    known = json.loads(truth.read_text())
    wanted = {f["id"]: len(f["connections"]) for f in known["expect"]["findings"] if "connections" in f}
    if not wanted:
        return
    counts = {}
    for f in findings(CAPTURES / known["file"]):
        counts[f["kind"]] = counts.get(f["kind"], 0) + f["count"]
        assert len(f["connections"]) == len(set(f["connections"]))
    assert {kind: counts.get(kind) for kind in wanted} == wanted


ARTICLE = next(p for p in [CAPTURES / "article-rst.pcap", ROOT / "tests/captures/article-rst.pcap"] if p.exists())


def test_the_articles_capture_begins_with_its_diagnosis():
    text = " ".join(analyze(ARTICLE).split())
    assert text.startswith("early_body_close warning, confirmed")
    for words in ("24,164 bytes received", "20,068 of them unread if the client read 4,096", "1 request", "not reused",
                  "io.Copy(io.Discard"):
        assert words in text, words
    early = findings(ARTICLE)[0]
    assert early["kind"] == "early_body_close" and early["confidence"] == "confirmed"
    assert early["evidence"]["received_bytes"] == 24164 and early["evidence"]["unread_if_read_4096"] == 20068
    assert early["subject"]["client"]["stack"] == "go"
    assert early["evidence"]["rst_packet"] == 16


def one(name, kind):
    finding, = [f for f in findings(next((ROOT / "tests/captures").glob(name + ".pcap"))) if f["kind"] == kind]
    return finding


def test_a_cut_response_says_how_far_it_came_and_whose_it_is():
    cut = one("raw-cl-long-go", "truncated_response")
    assert cut["evidence"]["body_read"] == 3000 and cut["evidence"]["body_announced"] == 5000
    assert cut["by_status"] == {"2xx": 3} and cut["by_method"] == {"GET": 3}
    host, = cut["by_host"]
    assert cut["subject"]["key"] == host and cut["by_host"][host] == 3
    assert cut["subject"]["client"]["address"] == "127.0.0.1"


def test_a_connection_without_a_request_belongs_to_its_server():
    refused = one("refused-go", "connection_refused")
    assert refused["subject"]["key"] == "127.0.0.1:8099" and refused["subject"]["client"]["address"] == "127.0.0.1"


def test_a_small_body_closed_by_fin_is_one_finding_with_its_numbers():
    kinds = {f["kind"] for f in findings(next((ROOT / "tests/captures").glob("early-go-cl3k-c1.pcap")))}
    assert kinds == {"early_body_close"}
    early = one("early-go-cl3k-c1", "early_body_close")
    assert early["evidence"]["received_bytes"] == 3176 and early["evidence"]["requests"] == 1


def test_fail_on_names_kinds():
    analyze(ARTICLE, "--jsonl", "--fail-on", "any", expect=[99])
    analyze(ARTICLE, "--fail-on", "idle_cap_churn,early_body_close", expect=[99])
    analyze(ARTICLE, "--fail-on", "idle_cap_churn", expect=[0])
    run = subprocess.run([CONNLEAK, "analyze", "--fail-on", "leaks", ARTICLE], capture_output=True, text=True)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1 and "explain" in run.stderr


def test_no_room_for_the_rows_is_named():
    """Rows wait in a temporary file for the findings above them; its failure is not blamed on stdout."""
    def no_large_files():  # with SIGXFSZ ignored, a write beyond the limit fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    paths = sorted(str(p) for p in (ROOT / "tests/captures").glob("*.pcap"))
    run = subprocess.run([CONNLEAK, "analyze", *paths], capture_output=True, text=True, timeout=120, preexec_fn=no_large_files,
                         restore_signals=False)
    assert run.returncode == 1 and "temporary file" in run.stderr and "File too large" in run.stderr


def test_rows_stand_below_the_findings_and_are_all_there():
    path = next(p for p in (ROOT / "tests/captures").glob("churn-go-cl3k-c8.pcap"))
    text = analyze(path)
    assert text.index("idle_cap_churn") < text.index("c-1 ") < text.index("closes")
    assert sum(line.startswith("c-") for line in text.splitlines()) == 32
