"""connleak sockets: real sockets that are left unread, unclosed and unaccepted, and what is said of them."""

import array
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios

import pytest

from rig.sockets import big_send_buffer
from rig.subject import DAEMON
from rig.wait import until
from test_schemas import faults, schema

CONNLEAK = os.path.join(os.path.dirname(DAEMON), "connleak")
SCHEMA = schema("connleak.sockets-1")

def no_netlink():
    done = subprocess.run([CONNLEAK, "sockets", "--port", "1"], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode == 1 and re.match("connleak sockets: (netlink|this kernel|the kernel)", done.stderr)


pytestmark = pytest.mark.skipif(bool(no_netlink()), reason="the kernel does not answer over netlink here")


def run(*options, code=0, **kwargs):
    done = subprocess.run([CONNLEAK, "sockets", *map(str, options)], capture_output=True, text=True, timeout=120, check=False, **kwargs)
    assert done.returncode == code, (options, done.returncode, done.stdout, done.stderr)
    return done


def ask(*options):
    """The object that --json prints, if it is what its schema says."""
    lines = run(*options, "--json").stdout.splitlines()
    assert len(lines) == 1
    return checked(lines[0])


def checked(line):
    said = json.loads(line)
    assert list(faults(said, SCHEMA, SCHEMA)) == []
    return said


def address(sock, peer=False):
    host, port = (sock.getpeername() if peer else sock.getsockname())[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def row_of(said, sock):
    rows = [r for r in said["sockets"] if r["local"] == address(sock) and r["remote"] == address(sock, peer=True)]
    assert len(rows) == 1, said["sockets"]
    return rows[0]


def ioctl(sock, what):
    value = array.array("i", [0])
    fcntl.ioctl(sock, what, value)
    return value[0]


@pytest.fixture
def pair():
    """pair(): a connection over loopback as (client's end, server's end)."""
    mine = []

    def connect(family=socket.AF_INET, accept=True):
        listener = socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family)
        client = socket.create_connection(listener.getsockname()[:2])
        mine.extend((listener, client))
        if not accept:
            return client, listener
        server, _ = listener.accept()
        mine.append(server)
        return client, server

    yield connect
    for sock in mine:
        sock.close()


# A client of another process: it connects, reads so many bytes, and leaves the rest.
LEAVER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
open("/proc/self/comm", "w").write(sys.argv[3])
left = int(sys.argv[2])
while left:
    left -= len(sock.recv(left))
print("left", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def leaver():
    """leaver(reads): (process, its connection's end here)."""
    running = []

    def start(reads, comm="aaa"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            child = subprocess.Popen([sys.executable, "-c", LEAVER, str(listener.getsockname()[1]), str(reads), comm],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            server, _ = listener.accept()
        running.append((child, server))
        server.sendall(b"x" * 72480)
        assert child.stdout.readline() == "left\n"
        return child, server

    yield start
    for child, server in running:
        child.stdin.close()
        child.wait(120)
        child.stdout.close()
        server.close()


def test_unread_bytes_are_found_with_their_owner(leaver):
    child, server = leaver(4096)
    port = server.getsockname()[1]
    said = until(lambda: (s := ask("--port", port))["sockets"][0]["trouble"] in ("warn", "bad") and s, "a second unread")
    row = said["sockets"][0]  # the worst is first
    assert (row["local"], row["remote"]) == (address(server, peer=True), address(server))
    assert row["recv_q"] == 72480 - 4096
    assert row["bytes_received"] == 72480 and row["bytes_read"] == 4096
    assert (row["pid"], row["comm"], row["waits_for"]) == (child.pid, "aaa", "read")
    assert re.fullmatch(rf"unread for [\d.]+ s, 68,384 bytes after 4,096 that were read, pid {child.pid} aaa", row["verdict"])
    assert row["peer"] == {"pid": os.getpid(), "comm": open("/proc/self/comm", encoding="ascii").read().strip()}
    assert said["totals"]["unread"] == 1 and said["totals"]["unread_bytes"] == 68384 and said["totals"]["connections"] == 2
    assert said["asked"] == {"pid": None, "port": port}


def test_the_table_says_the_same(leaver):
    child, server = leaver(0)
    text = run("--port", server.getsockname()[1]).stdout
    header, first, second, blank, summary = text.splitlines()
    assert header.split() == ["local", "remote", "state", "Recv-Q", "Send-Q", "waits", "for", "verdict"]
    assert first.split()[:6] == [address(server, peer=True), address(server), "ESTABLISHED", "72480", "0", "read"]
    assert re.search(rf"unread for [\d.]+ s, 72,480 bytes, pid {child.pid} aaa$", first)
    assert second.split()[0] == address(server) and f"pid {os.getpid()} " in second
    assert not blank and summary.startswith("2 connections: 1 unread (72,480 bytes), 0 in CLOSE_WAIT, 0 not accepted, 0 whose peer")
    assert "\033" not in text


def test_a_process_s_name_cannot_move_the_cursor(leaver):
    child, server = leaver(0, "a\033[2J\nb\x7f")
    text = run("--port", server.getsockname()[1]).stdout
    assert f"pid {child.pid} a?[2J?b?\n" in text and "\033" not in text
    assert ask("--port", server.getsockname()[1])["sockets"][0]["comm"] == "a?[2J?b?"


def test_pid_selects_what_a_process_has(leaver, pair):
    child, server = leaver(0)
    pair()
    said = ask("--pid", child.pid)
    assert [r["local"] for r in said["sockets"]] == [address(server, peer=True)]
    assert said["sockets"][0]["pid"] == child.pid and said["totals"]["time_wait"] is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_recv_q_is_what_siocinq_says(pair, family):
    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    client, server = pair(family)
    for step in (1, 4096, 65000):
        server.sendall(b"x" * step)
        until(lambda: ioctl(server, termios.TIOCOUTQ) == 0, "the bytes are delivered")
        assert row_of(ask("--port", server.getsockname()[1]), client)["recv_q"] == ioctl(client, termios.FIONREAD)
    client.recv(100)
    assert row_of(ask("--port", server.getsockname()[1]), client)["recv_q"] == ioctl(client, termios.FIONREAD) == 68997
    server.close()
    row = row_of(ask("--port", client.getpeername()[1]), client)
    assert row["state"] == "CLOSE_WAIT" and row["recv_q"] == ioctl(client, termios.FIONREAD) == 68997
    assert row["waits_for"] == "read" and "and the peer has closed" in row["verdict"]


def test_mapped_ipv4_is_ipv4():
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener, \
            socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client:
        server, _ = listener.accept()
        with server:
            locals_ = {r["local"] for r in ask("--port", listener.getsockname()[1])["sockets"]}
            assert locals_ == {address(client), address(client, peer=True)}


def test_close_wait_is_told_and_whether_it_was_noticed(pair):
    client, server = pair()
    port = server.getsockname()[1]
    server.close()
    assert row_of(ask("--port", port), client)["verdict"].endswith(
        f"and nobody has noticed, pid {os.getpid()} " + open("/proc/self/comm", encoding="ascii").read().strip())
    assert client.recv(1) == b""
    row = until(lambda: (r := row_of(ask("--port", port), client))["trouble"] in ("warn", "bad") and r, "a second in CLOSE_WAIT")
    assert re.match(r"CLOSE_WAIT: the peer closed (at least )?[\d.]+ s ago and nobody closes, pid ", row["verdict"])
    assert (row["waits_for"], row["recv_q"]) == ("close", 0)
    client.close()
    assert ask("--port", port)["sockets"] == []


def test_a_peer_that_does_not_read(pair):
    client, server = pair()
    big_send_buffer(server)
    server.setblocking(False)
    sent = 0
    try:
        while True:
            sent += server.send(b"x" * 65536)
    except BlockingIOError:
        pass

    def agreed():
        """Its row, once nothing moves: what is unsent is what was written and has not arrived."""
        said = ask("--port", server.getsockname()[1])
        row = row_of(said, server)
        arrived = ioctl(client, termios.FIONREAD)
        return said["totals"]["peer_not_reading"] == 1 and row["notsent"] == ioctl(server, termios.TIOCOUTQ) == sent - arrived and row
    row = until(agreed, "the window is closed")
    unsent, window = row["notsent"], row["peer_window"]  # a window of 0, or too small for the segment that is next
    assert row["waits_for"] == "peer_read" and window < 65536
    assert f"peer does not read: window {window:,}, {unsent:,} bytes unsent" in row["verdict"]
    assert f"the peer is pid {os.getpid()} " in row["verdict"]


def test_what_nobody_accepts_belongs_to_who_listens(pair):
    client, listener = pair(accept=False)
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    said = ask("--pid", os.getpid(), "--port", listener.getsockname()[1])
    row = next(r for r in said["sockets"] if r["local"] == address(listener))
    assert (row["waits_for"], row["pid"], row["recv_q"], row["inode"]) == ("accept", os.getpid(), 18, 0)
    assert row["verdict"].startswith("not accepted for ") and "18 bytes unread" in row["verdict"]


def test_a_descriptor_that_a_child_has_too(pair):
    client, server = pair()
    client.set_inheritable(True)
    child = subprocess.Popen([sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"], close_fds=False,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        said = ask("--port", server.getsockname()[1])
        assert row_of(said, client)["shared_by"] == 2 and row_of(said, server)["shared_by"] == 1
        assert row_of(ask("--pid", child.pid), client)["pid"] == child.pid
    finally:
        child.communicate()


def test_watch_says_since_when_nothing_is_read(pair):
    client, server = pair()
    port = server.getsockname()[1]
    server.sendall(b"x" * 1000)
    watch = subprocess.Popen([CONNLEAK, "sockets", "--port", str(port), "--watch", "50ms", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        first = row_of(checked(watch.stdout.readline()), client)
        assert first["recv_q"] == 1000

        def unread_for(fact):
            """The first round of which `fact` holds."""
            for line in watch.stdout:
                row = row_of(checked(line), client)
                if fact(row):
                    return row
            raise AssertionError("the watch ended")

        unread_for(lambda r: r["for_ms"] >= 300)
        server.sendall(b"x")  # the kernel's own clock begins anew, ours does not
        row = unread_for(lambda r: r["recv_q"] == 1001)
        assert row["for_ms"] > 250 + row["last_recv_ms"]
        client.recv(500)
        assert unread_for(lambda r: r["recv_q"] == 501)["for_ms"] == 0  # the round that sees it read
        client.recv(501)
        assert unread_for(lambda r: r["recv_q"] == 0)["waits_for"] == "nothing"
    finally:
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
        watch.stdout.close()
        assert watch.wait(120) == 0


def test_the_watch_of_a_process_ends_with_it():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    watch = subprocess.Popen([CONNLEAK, "sockets", "--pid", str(child.pid), "--watch", "20ms", "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch.stdout.readline()
    child.communicate()
    said = watch.communicate(timeout=120)[1]
    assert watch.returncode == 0 and said == f"connleak sockets: process {child.pid} has ended\n"


def test_sockets_of_another_network_namespace():
    """A container's: its loopback is not ours."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("takes root, unshare and ip")
    program = ("import os, socket, subprocess, sys; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True);"
               "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept();"
               "a.sendall(b'x' * 1234); print(os.getpid(), flush=True); sys.stdin.read()")
    child = subprocess.Popen(["unshare", "-n", sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        if not line:
            pytest.skip("no network namespaces here")
        said = ask("--pid", int(line))
        assert sorted(r["recv_q"] for r in said["sockets"]) == [0, 1234]
    finally:
        child.communicate()


def test_owners_that_may_not_be_known_are_null_and_it_is_said(leaver):
    if os.geteuid() != 0:
        pytest.skip("takes root to become somebody else")
    child, server = leaver(0)
    demote = {"user": 65534, "group": 65534, "extra_groups": []}
    port = server.getsockname()[1]
    with open(CONNLEAK, "rb") as program:  # from wherever the build is, which others may not be allowed to reach
        copy = os.memfd_create("connleak")
        os.write(copy, program.read())
    line = [f"/proc/self/fd/{copy}", "sockets", "--port", str(port)]
    try:
        done = subprocess.run([*line, "--json"], capture_output=True, text=True, timeout=120, pass_fds=[copy], check=False, **demote)
        assert done.returncode == 0, done.stderr
        said = checked(done.stdout)
        assert [(r["recv_q"], r["pid"]) for r in said["sockets"]] == [(72480, None), (0, None)]
        assert said["owners"]["unknown"] == 2 and said["owners"]["processes_denied"] > 0
        assert done.stderr == f"connleak sockets: {said['owners']['missing']}\n" and "root" in done.stderr
        done = subprocess.run([*line, "--pid", str(child.pid)], capture_output=True, text=True, timeout=120, pass_fds=[copy], check=False, **demote)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "CAP_SYS_PTRACE" in done.stderr
    finally:
        os.close(copy)


def test_mistakes_are_one_line_that_names_them():
    for options, words in [(["--pid", "x"], "--pid"), (["--port", "0"], "--port"), (["--port", "65536"], "--port"),
                           (["--watch", "soon"], "--watch"), (["--watch", "0"], "--watch"), (["more"], "more"), (["--pid"], "--pid"), (["--nosuch"], "--nosuch"), (["-x"], "-x"),
                           (["--pid", str(2 ** 22 + 1)], str(2 ** 22 + 1))]:
        done = run(*options, code=2)
        assert done.stderr.startswith("connleak sockets: ") and words in done.stderr and done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_reader_that_leaves_is_an_error_and_no_crash(pair):
    pair()
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([CONNLEAK, "sockets"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 1 and os.strerror(errno.ENOSPC) in done.stderr
