"""connleak explain: every word of every table, other programs' messages in pasted lines, and what is no word."""

import glob
import json
import os
import re
import subprocess

import pytest

from rig.subject import DAEMON

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONNLEAK = os.path.join(os.path.dirname(DAEMON), "connleak")


def explain(*argv, code=0):
    done = subprocess.run([CONNLEAK, "explain", *argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (argv, done)
    assert bool(done.stdout) == (code == 0), (argv, done)
    return done.stdout if code == 0 else done.stderr


def titles(*argv):
    """The words that are explained."""
    return [line.rsplit(" (", 1)[0] for line in explain(*argv).splitlines() if re.match(r"\S.* \(.*\)$", line)]


def rows(path):
    """The arguments of each row of a table, strings put together and without quotes."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    for row in re.findall(r"^X\((.*?)\)$", text, re.M | re.S):
        args = re.findall(r"""((?:"(?:[^"\\]|\\.)*"\s*)+|'.'|[^,"\s]+)(?:,|\s*$)""", row)
        yield ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', arg)).replace('\\"', '"') if '"' in arg else arg.strip("'") for arg in args]


# Of each table the column of the word, and rows that are no words: the null of an enum, and what is only counted.
TABLES = {
    "daemon/core/tbl/findings.h": 1, "daemon/core/tbl/close_reasons.h": 1, "daemon/core/tbl/close_phases.h": 1,
    "daemon/core/tbl/life_states.h": 1, "daemon/core/tbl/conn_events.h": 1, "daemon/core/tbl/finding_numbers.h": 1,
    "daemon/core/tbl/severities.h": 1, "daemon/core/tbl/confidences.h": 1, "daemon/core/tbl/join_verdicts.h": 1,
    "daemon/core/tbl/join_causes.h": 1, "daemon/core/tbl/join_fields.h": 1, "daemon/core/tbl/workload_ends.h": 1,
    "daemon/core/tbl/stacks.h": 1, "daemon/core/tbl/counters.h": 1, "daemon/core/tbl/record_words.h": 1,
    "daemon/core/tbl/rst_reasons.h": 0, "daemon/core/tbl/record_fields.h": 0, "daemon/core/tbl/metrics.h": 0, "daemon/core/tbl/messages.h": 1,
    "probes/wire/tbl/rst_causes.h": 1, "probes/wire/tbl/early_verdicts.h": 1, "probes/wire/tbl/incomplete.h": 2,
    "probes/sockdiag/tbl/waits.h": 1, "probes/replay/tbl/verdicts.h": 1, "probes/replay/tbl/causes.h": 1,
    "probes/wire/tbl/evidence_fields.h": 0, "probes/replay/tbl/gaps.h": 1, "probes/wire/tbl/zeek_states.h": 0, "probes/wire/tbl/zeek_letters.h": 0,
}
NO_WORDS = {"NONE", "BYTES_IN", "BYTES_OUT", "BODY_READ"}
# Parameters have two names, advice stands under its finding, and ciphers are names and nothing else.
SPECIAL = {"daemon/core/tbl/params.h", "daemon/core/tbl/advice.h", "daemon/core/tbl/tls_ciphers.h"}


def test_every_table_is_looked_at():
    found = {os.path.relpath(path, ROOT) for folder in ("daemon", "probes") for path in glob.glob(f"{ROOT}/{folder}/*/tbl/*.h")}
    assert found == set(TABLES) | SPECIAL


@pytest.mark.parametrize("path", sorted(TABLES))
def test_every_row_of_every_table_is_explained(path):
    column, n = TABLES[path], 0
    for row in rows(path):
        if row[0] in NO_WORDS and path.endswith(("close_reasons.h", "conn_events.h", "causes.h", "close_phases.h")):
            continue
        n += 1
        said = explain("--", row[column])
        text = row[-1] if path != "daemon/core/tbl/close_reasons.h" else row[3]
        if not path.endswith(("findings.h", "counters.h")):
            assert re.sub(r"\s+", " ", text).strip() in re.sub(r"\s+", " ", said), (path, row)
    assert n >= 3


def test_every_parameter_is_explained_by_both_names():
    n = 0
    for row in rows("daemon/core/tbl/params.h"):
        assert f"{row[0]}.{row[1]}" in titles(f"{row[0]}.{row[1]}")
        assert f"{row[0]}.{row[1]}" in titles(row[1])
        n += 1
    assert n > 40


def test_every_finding_has_advice_for_everybody_and_for_go():
    for row in rows("daemon/core/tbl/findings.h"):
        said = explain(row[1])
        assert row[-1].split()[0] in said and "  What to do\n" in said
        one = explain("--client", "go", row[1]).split("\n\n")[0]
        assert one.count("  What to do\n") == 1 and "Go net/http" not in one


def paths(schema, prefix=""):
    for name, part in schema.get("properties", {}).items():
        if name in ("schema", "p50", "p90", "p99", "max"):
            continue
        yield prefix + name
        yield from paths(part, f"{prefix}{name}.")


@pytest.mark.parametrize("schema, table", [("connleak.metrics-1", "metrics"), ("connleak.conn-1", "record_fields")])
def test_every_path_of_the_schemas_is_a_row(schema, table):
    with open(f"{ROOT}/daemon/record/schema/{schema}.json", encoding="utf-8") as file:
        expected = list(paths(json.load(file)))
    assert [row[0] for row in rows(f"daemon/core/tbl/{table}.h")] == expected


# -- pasted lines

@pytest.mark.parametrize("line, words", [
    ('2026/01/02 03:04:05 Get "http://api:8080/x": http: server closed idle connection', ["server_closed_idle"]),
    ("http: putIdleConn: too many idle connections for host", ["too_many_idle_host"]),
    ("HTTP: PUTIDLECONN: TOO MANY IDLE CONNECTIONS", ["too_many_idle"]),
    ("net/http: request canceled", ["canceled"]),
    ("net/http: request canceled while waiting for connection", ["net/http: request canceled while waiting for connection"]),
    ('Unsolicited response received on idle HTTP channel starting with "HTTP/1.1 408"; err=<nil>',
     ["Unsolicited response received on idle HTTP channel"]),
    ("http: persistConn.readLoop exiting", ["request_close", "response_close", "until_eof", "early_close", "upload_unfinished"]),
    ('Post "http://api/": EOF', ["EOF"]),
    ("body: unexpected EOF", ["unexpected EOF"]),
    ("WARNING urllib3.connectionpool: Connection pool is full, discarding connection: api. Connection pool size: 10",
     ["Connection pool is full, discarding connection"]),
    ("A connection to https://api/ was leaked. Did you forget to close a response body?",
     ["was leaked. Did you forget to close a response body"]),
    ("dial tcp 10.0.0.1:80: connect: cannot assign requested address", ["dial_error", "cannot assign requested address"]),
    ("Error: read ECONNRESET at TCP.onStreamRead (node:internal/stream_base_commons:217:20)", ["ECONNRESET"]),
    ('{"by": "local", "how": "rst", "reason": "early_close", "phase": "in_body"}', ["early_close", "early_close", "in_body", "in_body"]),
    ("TcpExtTCPAbortOnClose           10                 0.0", ["TCPAbortOnClose"]),
    ("too many idle connections", ["too_many_idle", "too_many_idle_host"]),
])
def test_messages_are_found_in_pasted_lines(line, words):
    assert titles(line) == words
    assert titles(*line.split()) == words  # as it comes without quotes


def test_short_messages_are_words_of_their_own():
    assert "EOF" not in titles("body_eof")
    assert explain("thereof", code=2)


def test_zeeks_history_is_read_letter_by_letter():
    said = explain("ShADadfR").splitlines()[1:]
    assert [line.split()[:2] for line in said] == [["S", "client:"], ["h", "server:"], ["A", "client:"], ["D", "client:"], ["a", "server:"],
                                                   ["d", "server:"], ["f", "server:"], ["R", "client:"]]
    assert titles("rsto") == ["RSTO"]


# -- what is no word

def test_the_nearest_words_are_named():
    assert "early_close" in explain("erly_close", code=2)
    assert "too_many_idle_host" in explain("to_many_idle_host", code=2)
    said = explain("idle_time", code=2)
    assert "idle_timeout" in said and said.count("\n") == 1
    assert "body_not_closed" in explain("leak", code=2)


@pytest.mark.parametrize("argv", [("no such thing at all",), ("",), (" ",), ("x" * 100000,), ("%s%n",), ("a\nb\033[31m",), ("--client", "cobol", "idle"), ("--client",), ("--nosuch",)])
def test_what_is_no_word_is_one_line_and_exit_2(argv):
    said = explain(*argv, code=2)
    assert said.startswith("connleak explain: ") and said.count("\n") == 1 and len(said) < 600


def test_alone_it_lists_every_word():
    listed = explain()
    for path, column in TABLES.items():
        for row in rows(path):
            if row[0] not in NO_WORDS and not path.endswith("counters.h"):
                assert row[column] in listed, (path, row)
    assert "max_idle_conns_per_host" in listed


def test_lines_fit_a_terminal():
    for word in ("early_body_close", "server_closes_idle", "early_close", "rst_sent"):
        assert max(map(len, explain(word).splitlines())) <= 80
    assert max(map(len, explain().splitlines())) <= 80
