"""probe.sockets: what the daemon finds out about the sockets of clients that it suspects."""

import ctypes
import errno
import os
import socket
import subprocess
import sys
import time

import pytest

from rig.origin import always, answer, by_path
from rig.subject import DAEMON
from rig.wait import until

SUSPECT = {"findings.leak_after": "2s", "findings.slow_after": "1s"}

# A client of another process: so many requests one after the other, each on a connection of its own, of whose answer it
# takes some bytes when so many of its body are there; then it holds them all.
HOLDER = """
import socket, sys, time
port, url, n, body, reads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
open("/proc/self/comm", "w").write("holder")
held = []
for i in range(n):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(f"GET {url} HTTP/1.1\\r\\nHost: x\\r\\nUser-Agent: holder/1\\r\\n\\r\\n".encode())
    while len(sock.recv(1 << 17, socket.MSG_PEEK).partition(b"\\r\\n\\r\\n")[2]) < body:
        time.sleep(0.001)
    if reads:
        sock.recv(reads)
    held.append(sock)
    time.sleep(0.03)  # or it would be the race of a pool that dials while a connection becomes free
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """holder(subject, url, n, body, reads): a process that holds connections, until the test's end."""
    running = []

    def start(subject, url, n, body, reads):
        child = subprocess.Popen([sys.executable, "-c", HOLDER, str(subject.address[1]), url, str(n), str(body), str(reads)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in running:
        child.stdin.close()
        child.wait(120)
        child.stdout.close()


def downstream(subject):
    return [c for c in subject.get("/connections?side=downstream&limit=1000")["connections"] if c["state"] != "closed"]


def probed(subject, n):
    """The first n records of which the probe has told something; waits for them."""
    def fact():
        seen = [c for c in downstream(subject) if c["client"] and c["client"]["recv_q"] is not None]
        return len(seen) >= n and seen
    return until(fact, lambda: f"{n} records with a recv_q: {[c['client'] for c in downstream(subject)]}\n{subject.log()}", pause=0.1)


def test_unread_answers_are_in_the_records_of_their_connections(daemon, serve, holder):
    body = b"x" * 20000
    origin = serve(always(answer(body)))
    subject = daemon(settings=SUSPECT)
    child = holder(subject, origin.url("/"), 4, len(body), 4096)
    seen = probed(subject, 3)
    for record in seen:
        assert record["client"]["recv_q"] == record["bytes_out"] - 4096, record
    # The process may be known a round later than the queue.
    until(lambda: all(c["client"]["pid"] == child.pid and c["client"]["comm"] == "holder" for c in probed(subject, 3)), "its pid", pause=0.1)
    findings = until(lambda: [f for f in subject.get("/findings")["findings"] if f["kind"] == "body_not_closed"], "a finding", pause=0.1)
    assert findings[0]["confidence"] == "confirmed"


def test_what_was_seen_stays_in_the_closed_record(daemon, serve, holder):
    origin = serve(always(answer(b"x" * 20000)))
    subject = daemon(settings=SUSPECT)
    child = holder(subject, origin.url("/"), 3, 20000, 0)
    ids = {c["id"] for c in probed(subject, 2)}
    child.stdin.close()
    child.wait(120)

    def closed():
        return [c for c in subject.ledger() if c["id"] in ids and c["state"] == "closed"]
    records = until(lambda: len(closed()) == len(ids) and closed(), "the end of its connections")
    assert all(c["client"]["recv_q"] > 20000 for c in records)


def test_a_stuck_client_is_looked_at_too(daemon, serve, holder):
    """Nothing goes out any more: bytes wait in its queue, and in ours."""
    origin = serve(always(answer(b"x" * (8 << 20))))
    subject = daemon(settings=SUSPECT)
    holder(subject, origin.url("/"), 2, 4096, 4096)
    seen = probed(subject, 1)
    assert seen[0]["state"] == "active" and 30000 < seen[0]["client"]["recv_q"] < seen[0]["bytes_out"]


def wakeups(subject):
    with open(f"/proc/{subject.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("voluntary")).split()[1])


def wait_at_rest(subject):
    def quiet():
        before = wakeups(subject)
        time.sleep(1.5)
        return wakeups(subject) == before
    until(quiet, "a second and a half without a wakeup")


def test_healthy_clients_are_not_looked_at(daemon, serve):
    origin = serve(always(answer(b"x" * 5000)))
    subject = daemon(settings=SUSPECT)
    clients = [subject.client() for _ in range(3)]
    for _ in range(3):
        for client in clients:
            assert client.ask(origin.url("/")).response().complete
    time.sleep(2.5)  # two rounds, in which nothing is to be seen
    assert all(c["client"]["recv_q"] is None and c["client"]["pid"] is None for c in downstream(subject))

    wait_at_rest(subject)  # and in the end there are no rounds any more
    for client in clients:
        client.close()


def test_one_that_gets_stuck_when_the_probe_rests(daemon, serve):
    origin = serve(by_path(small=answer(b"x"), large=answer(b"x" * (8 << 20))))
    subject = daemon(settings=SUSPECT)
    client = subject.client()
    assert client.ask(origin.url("/small")).response().complete
    wait_at_rest(subject)
    client.ask(origin.url("/large"))
    assert probed(subject, 1)[0]["client"]["pid"] in (os.getpid(), None)
    client.close()


def test_off_looks_at_nothing(daemon, serve, holder):
    origin = serve(always(answer(b"x" * 20000)))
    subject = daemon(settings=dict(SUSPECT, **{"probe.sockets": "off"}))
    holder(subject, origin.url("/"), 6, 20000, 0)
    until(lambda: subject.get("/findings")["findings"], "a finding without it", pause=0.1)
    assert all(c["client"]["recv_q"] is None for c in downstream(subject))


# -- where the kernel does not answer

AF_NETLINK = 16


def without_netlink():
    """In the child: socket(AF_NETLINK, ...) fails, as under systemd's RestrictAddressFamilies=."""
    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]

    load, equal, give = 0x20, 0x15, 0x06
    socket_call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
    steps = (Filter * 6)(Filter(load, 0, 0, 0), Filter(equal, 0, 3, socket_call), Filter(load, 0, 0, 16),
                         Filter(equal, 0, 1, AF_NETLINK), Filter(give, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
                         Filter(give, 0, 0, 0x7fff0000))
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(6, steps)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program)):
        os._exit(77)


needs_seccomp = pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="no number of socket() for this machine")


@needs_seccomp
def test_auto_says_once_that_it_is_off(daemon, serve):
    subject = daemon(preexec=without_netlink)
    said = [line for line in subject.err if "probe" in line]
    assert len(said) == 1 and "clients' sockets are not looked at" in said[0] and os.strerror(errno.EAFNOSUPPORT) in said[0]
    origin = serve(always(answer(b"fine")))
    assert subject.fetch(origin.url("/")).body == b"fine"


@needs_seccomp
def test_on_is_an_error_where_it_cannot_be_had():
    done = subprocess.run([DAEMON, "--set", "probe.sockets=on", "--set", "proxy.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"],
                          capture_output=True, text=True, timeout=120, preexec_fn=without_netlink, check=False)
    assert done.returncode == 1 and "probe.sockets = on" in done.stderr and os.strerror(errno.EAFNOSUPPORT) in done.stderr
