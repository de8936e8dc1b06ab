"""The systemd units: that systemd accepts them, how much they expose, and that the daemon
keeps to the system calls and the socket names that they allow."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from rig.client import fetch
from rig.origin import always, answer
from rig.subject import DAEMON

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = ["connleakd.service", "connleakd.socket", "connleakd-admin.socket"]

needs_systemd_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")


@pytest.fixture
def units(tmp_path):
    """The units as installed, with a program and a configuration that are really there."""
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(DAEMON, prefix / "bin/connleakd")
    for unit in UNITS:
        with open(os.path.join(ROOT, "systemd", unit + ".in"), encoding="utf-8") as source:
            text = source.read().replace("@PREFIX@", str(prefix)).replace("@SYSCONFDIR@", str(prefix / "etc"))
        assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", text)
        (tmp_path / unit).write_text(text)
    return tmp_path


@needs_systemd_analyze
def test_systemd_accepts_the_units(units):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *(str(units / u) for u in UNITS)],
                          capture_output=True, text=True, timeout=120)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "connleakd" in line]
    assert not ours, ours


@needs_systemd_analyze
def test_the_exposure_stays_low(units):
    """1.1 on systemd's scale of 10: what is left is the network, which a proxy is for."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=12", "--no-pager",
                           str(units / "connleakd.service")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def allowed_system_calls():
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    sets, name = {}, None
    for line in listed.splitlines():
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif name and line.strip() and not line.strip().startswith("#"):
            sets[name].append(line.strip())

    def expand(name):
        calls = set()
        for item in sets[name]:
            calls |= expand(item) if item.startswith("@") else {item}
        return calls

    return expand("@system-service") - expand("@privileged") - expand("@resources")


@needs_systemd_analyze
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace here")
def test_the_daemon_keeps_to_the_allowed_system_calls(tmp_path, serve):
    trace = tmp_path / "trace"
    origin = serve(always(answer(b"x" * 200000)))
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), "-e", "signal=none", DAEMON,
                               "--set", "proxy.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0",
                               "--set", f"ledger.file={tmp_path}/ledger", "--set", "proxy.drain_quiet=0",
                               "--set", "log.format=json"], stderr=subprocess.PIPE, text=True)
    ports = {}
    for line in strace.stderr:
        if not line.startswith("{"):
            strace.wait(120)
            pytest.skip(f"strace may not trace here: {line.strip()}")
        entry = json.loads(line)
        if "listening on" in entry["message"]:
            ports[entry["id"]] = int(entry["message"].rsplit(":", 1)[1])
        if "is ready" in entry["message"]:
            break
    with open(f"/proc/{strace.pid}/task/{strace.pid}/children", encoding="ascii") as children:
        daemon = int(children.read().split()[0])
    try:
        for _ in range(3):
            assert len(fetch(("127.0.0.1", ports["proxy"]), origin.url("/")).body) == 200000
        for path in ("/metrics", "/config", "/ledger"):
            assert fetch(("127.0.0.1", ports["admin"]), f"http://127.0.0.1:{ports['admin']}{path}").status == 200
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            os.kill(daemon, number)
        strace.stderr.read()
        assert strace.wait(120) == 0
    finally:
        if strace.poll() is None:
            os.kill(daemon, signal.SIGKILL)
            strace.wait(120)
    used = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))
    assert {"accept4", "epoll_wait", "connect", "openat"} <= used
    assert used - allowed_system_calls() == set()
