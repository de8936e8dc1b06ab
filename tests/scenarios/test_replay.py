"""connleak replay: the clients of captures, played against the daemon, do the same again."""

import glob
import json
import os
import re
import subprocess

import pytest

from rig.subject import DAEMON, ROOT
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


def replay(subject, path, *options, code=0, timeout=60):
    done = subprocess.run([CONNLEAK, "replay", path, "--proxy", "%s:%d" % subject.address, "--admin", "127.0.0.1:%d" % subject.admin[1], "--json", *options],
                          capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == code, (path, done.returncode, done.stdout, done.stderr)
    said = json.loads(done.stdout)
    assert list(faults(said, SCHEMA, SCHEMA)) == []
    return said


def analyzed(path):
    """The records of a capture, by id."""
    done = subprocess.run([CONNLEAK, "analyze", "--jsonl", path], capture_output=True, text=True, timeout=60, check=False)
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
