"""ledger.file of a daemon that is at work: a full disk, a killed daemon, rotation in the middle of it."""

import json
import resource
import signal
import threading

import pytest

from rig.client import Background
from rig.origin import always, answer
from rig.subject import Connleakd
from rig.wait import until

NO_REUSE = answer(fields=["Connection: close"])


@pytest.fixture
def ending():
    """A daemon whose end is the test's own business."""
    made = []

    def make(**kwargs):
        made.append(Connleakd(**kwargs))
        return made[-1]
    yield make
    for subject in made:
        if subject.alive():
            subject.process.kill()
        subject.process.wait()


def records(*paths):
    """Every line of the files as a record; a torn one fails."""
    lines = "".join(path.read_text() for path in paths)
    assert lines.endswith("\n") or not lines
    return [json.loads(line) for line in lines.splitlines()]


def end(subject):
    subject.signal(signal.SIGTERM)
    assert subject.process.wait(120) == 0, subject.log()


def check_complete(found):
    """Each connection once, none missing: ids of a side count up from 1."""
    for letter in "ud":
        ids = [int(r["id"][2:]) for r in found if r["id"].startswith(letter)]
        assert sorted(ids) == list(range(1, len(ids) + 1))


def set_size_limit(pid, limit):
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))


def test_a_full_disk_sheds_new_work_and_loses_no_record(ending, serve, tmp_path):
    path = tmp_path / "ledger.jsonl"
    subject = ending(settings={"ledger.file": path, "ledger.keep": 20})
    origin = serve(always(NO_REUSE))
    set_size_limit(subject.pid, 20_000)
    served = 0
    while subject.fetch(origin.url()).status == 200:
        served += 1
        assert served < 5000, "no request was ever shed"
    assert subject.fetch(origin.url()).status == 503
    written = records(path)  # whole lines, although the limit lies within one
    assert 10 < len(written) < 2 * served

    def said():
        return [line for line in subject.err if str(path) in line and "File too large" in line]
    until(said, subject.log)
    metrics = subject.get("/metrics")["upstream"]  # it is still there to be asked
    assert metrics["requests"] == served
    assert len(said()) == 1, subject.log()  # once a minute

    set_size_limit(subject.pid, resource.RLIM_INFINITY)
    until(lambda: subject.fetch(origin.url()).status == 200, "work to be taken again")
    until(lambda: [line for line in subject.err if "is written again" in line], subject.log)
    opened = subject.get("/metrics")
    opened = opened["upstream"]["dials"] + opened["downstream"]["accepted"]
    end(subject)
    found = records(path)
    assert len(found) == opened
    check_complete(found)


def test_a_daemon_that_is_killed_leaves_lines_that_can_be_read_and_added_to(ending, serve, tmp_path):
    path = tmp_path / "ledger.jsonl"
    subject = ending(settings={"ledger.file": path})
    origin = serve(always(NO_REUSE))
    for _ in range(100):
        assert subject.fetch(origin.url()).status == 200
    until(lambda: path.stat().st_size > 0, "something to be written")
    subject.process.kill()
    subject.process.wait(120)
    before = records(path)
    with path.open("ab") as file:
        file.write(b'{"schema":"connleak.conn/1","id":"u-7","obs')  # had it been in the middle of a line

    second = ending(settings={"ledger.file": path})
    assert second.fetch(origin.url()).status == 200
    end(second)
    found = records(path)
    assert found[:len(before)] == before
    check_complete(found[len(before):])
    assert len(found) == len(before) + 2


def test_rotation_under_load_loses_and_tears_nothing(ending, serve, tmp_path):
    path = tmp_path / "ledger.jsonl"
    old = [tmp_path / f"ledger.{n}" for n in range(5)]
    subject = ending(settings={"ledger.file": path, "ledger.keep": 10})
    origin = serve(always(NO_REUSE))

    done = threading.Event()

    def load():
        seen = []
        while not done.is_set():
            seen.append(subject.fetch(origin.url()).status)
        return seen
    clients = [Background(load) for _ in range(3)]
    for moved in old:
        until(lambda: path.exists() and path.stat().st_size > 0, "records in the new file")
        path.rename(moved)
        subject.signal(signal.SIGUSR1)
    done.set()
    seen = [status for client in clients for status in client.result()]
    assert set(seen) == {200}
    until(path.exists, "the last file")
    end(subject)
    found = records(*old, path)
    assert len(found) == 2 * len(seen)
    check_complete(found)
