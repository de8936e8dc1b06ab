"""The configuration as its operator meets it: errors at the start, SIGHUP, the log."""

import json
import os
import re
import signal
import subprocess

import pytest

from rig.origin import always, answer
from rig.subject import DAEMON
from rig.wait import until


def start_fails(*argv):
    """Its one line on stderr; nothing is on stdout, and the exit code is 2."""
    done = subprocess.run([DAEMON, *argv], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, ""), (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")


@pytest.fixture
def conf_file(tmp_path):
    """conf_file(text): a file with this text, and the path."""
    path = tmp_path / "connleakd.conf"

    def write(text):
        path.write_text(text)
        return str(path)
    return write


def from_file(daemon, path):
    return daemon(argv=("-c", path))


def said(subject, pattern):
    return until(lambda: next((line for line in list(subject.err) if re.search(pattern, line)), None),
                 lambda: f"{pattern!r} in\n{subject.log()}")


# -- at the start

def test_an_error_is_one_line_that_names_file_line_and_what_was_expected(conf_file):
    path = conf_file("[pool]\n# a comment\nidle_conn_timeout = 90\n")
    line = start_fails("-c", path)
    assert line == (f'connleakd: {path}:3: pool.idle_conn_timeout: bad value "90"; '
                    "expected a duration from 0 to 8760h, such as 250ms or 1m30s")
    assert start_fails("-c", path, "--check-config") == line


def test_other_errors_of_the_start(tmp_path):
    assert start_fails("-c", str(tmp_path / "nothing")).endswith("nothing: No such file or directory")
    assert "did you mean pool.max_idle_conns?" in start_fails("--set", "pool.max_idle=1")
    assert "expected SECTION.KEY=VALUE" in start_fails("--set", "pool")
    assert "unknown option --nosuch" in start_fails("--nosuch")
    assert "unexpected argument stray" in start_fails("stray")
    assert "--set" in start_fails("--set")
    assert "hash" in start_fails("--check-config", "--set", f"access.password_file={__file__}")


def test_an_address_in_use_is_named(daemon):
    first = daemon()
    port = first.address[1]
    done = subprocess.run([DAEMON, "--set", f"proxy.listen=127.0.0.1:{port}", "--set", "admin.listen=none"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert f"127.0.0.1:{port}" in done.stderr and "Address already in use" in done.stderr


# -- SIGHUP

def test_sighup_applies_what_it_can_and_names_what_it_cannot(conf_file, daemon):
    subject = from_file(daemon, conf_file("[pool]\nmax_idle_conns_per_host = 2\n"))
    conf_file("[pool]\nmax_idle_conns_per_host = 7\nread_buffer_size = 8k\n")
    subject.signal(signal.SIGHUP)
    said(subject, r"info conf: pool\.max_idle_conns_per_host: 2 -> 7$")
    said(subject, r"warn conf: pool\.read_buffer_size: 4k -> 8k takes a restart and is not applied")
    said(subject, "configuration read again")
    pool = subject.get("/config")["pool"]
    assert (pool["max_idle_conns_per_host"], pool["read_buffer_size"]) == (7, "4k")


def test_the_command_line_still_wins_after_sighup(conf_file, daemon):
    subject = daemon(argv=("-c", conf_file("[ledger]\nkeep = 5\n")), settings={"ledger.keep": 9})
    conf_file("[ledger]\nkeep = 6\n[log]\nlevel = debug\n")
    subject.signal(signal.SIGHUP)
    said(subject, "configuration read again")
    assert subject.get("/config")["ledger"]["keep"] == 9
    assert subject.get("/config")["log"]["level"] == "debug"


@pytest.mark.parametrize("text, why", [
    ("[pool]\nmax_idle_conns_per_host = 7\nmax_idle_conns = many\n", r":3: pool\.max_idle_conns: bad value"),
    ("[pool]\nmax_idle_conns_per_host = 7\n[proxy]\nmode = reverse\n", r"needs proxy\.upstream"),
    ("[pool]\nmax_idle_conns_per_host = 7\n[access]\npassword_file = /nonexistent\n", r"/nonexistent: No such file"),
])
def test_a_file_with_an_error_changes_nothing(conf_file, daemon, text, why):
    subject = from_file(daemon, conf_file("[pool]\nmax_idle_conns_per_host = 3\n"))
    before = subject.get("/config")
    conf_file(text)
    subject.signal(signal.SIGHUP)
    said(subject, f"error conf: .*{why}.*the configuration stays as it was")
    assert subject.get("/config") == before


def test_sighup_drops_no_connection(conf_file, daemon, serve):
    origin = serve(always(answer(b"hello")))
    subject = from_file(daemon, conf_file("[pool]\nmax_idle_conns = 10\n"))
    with subject.client() as client:
        client.ask(origin.url("/1"))
        assert client.response().body == b"hello"
        conf_file("[pool]\nmax_idle_conns = 11\n")
        subject.signal(signal.SIGHUP)
        said(subject, "configuration read again")
        client.ask(origin.url("/2"))
        assert client.response().body == b"hello"
    assert subject.get("/metrics")["upstream"]["dials"] == 1


def test_access_rules_change_with_sighup(conf_file, daemon, serve):
    origin = serve(always(answer(b"hello")))
    subject = from_file(daemon, conf_file(""))
    assert subject.fetch(origin.url("/")).status == 200
    conf_file("[access]\ndeny_destinations = 127.0.0.0/8\n")
    subject.signal(signal.SIGHUP)
    said(subject, "configuration read again")
    assert subject.fetch(origin.url("/")).status == 403
    # under another name, too
    assert subject.fetch(origin.url("/", host="localhost")).status == 403


def test_users_change_with_sighup(conf_file, tmp_path, daemon, serve):
    origin = serve(always(answer(b"hello")))
    users = tmp_path / "users"
    # "secret" and "other" as openssl passwd -5 has them
    users.write_text("ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n")
    subject = from_file(daemon, conf_file(f"[access]\npassword_file = {users}\n"))

    def status(credentials):
        fields = ["Proxy-Authorization: Basic " + credentials] if credentials else []
        return subject.fetch(origin.url("/"), fields=fields).status

    ann, bob = "YW5uOnNlY3JldA==", "Ym9iOnNlY3JldA=="
    assert [status(None), status(ann), status(bob)] == [407, 200, 407]
    users.write_text("bob:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n")
    subject.signal(signal.SIGHUP)
    said(subject, "configuration read again")
    assert [status(ann), status(bob)] == [407, 200]


# -- the log

def test_the_log_is_json_where_that_is_asked_for(daemon):
    subject = daemon(settings={"log.format": "json", "log.level": "debug"})
    subject.signal(signal.SIGUSR2)
    said(subject, "idle connections")
    entries = [json.loads(line) for line in subject.err]
    assert all(list(e) == ["time", "level", "id", "message"] for e in entries)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["time"]) for e in entries)


def test_nobody_who_reads_stderr_stops_nothing(tmp_path, serve):
    """The pipe of stderr is full from the start; requests are answered all the same."""
    origin = serve(always(answer(b"hello")))
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    sockets = {name: str(tmp_path / name) for name in ("proxy", "admin")}
    daemon = subprocess.Popen([DAEMON, "--set", f"proxy.listen=unix:{sockets['proxy']}", "--set", f"admin.listen=unix:{sockets['admin']}",
                               "--set", "log.level=debug", "--set", "proxy.drain_quiet=0"], stderr=write_end)
    os.close(write_end)
    try:
        until(lambda: all(os.path.exists(path) for path in sockets.values()), "both sockets")
        for _ in range(20):
            daemon.send_signal(signal.SIGUSR2)
            done = subprocess.run(["curl", "-s", "--noproxy", "*", "--unix-socket", sockets["proxy"], "--request-target", origin.url("/"),
                                   "http://proxy/"], capture_output=True, timeout=120)
            assert done.stdout == b"hello", done
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(120) == 0
    finally:
        daemon.kill()
        daemon.wait()
        os.close(read_end)
