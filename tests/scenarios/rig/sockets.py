"""What the kernel says about a TCP socket of this machine (/proc/net/tcp; of one, for it is asked often, sock_diag(7))."""

import errno
import fcntl
import socket
import struct
import termios

from .wait import until

ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LISTEN = "01", "02", "04", "05", "06", "07", "08", "0A"


def _most(name):
    """The largest that the kernel makes a TCP buffer: the last of three numbers."""
    with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as three:
        return int(three.read().split()[2])


# More than all buffers between an origin and a client that does not read can take, however they grow: the proxy's for what it
# receives, and two for what is sent; the client's own stays small.
MORE_THAN_BUFFERS = (_most("tcp_rmem") + 2 * _most("tcp_wmem") + (2 << 20)) >> 20 << 20


def _rows():
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            field = line.split()
            yield field


def row(local_port, remote_port):
    """(state, unsent bytes, unread bytes) of the socket 127.0.0.x:local_port -> :remote_port, or None."""
    want_local, want_remote = f":{local_port:04X}", f":{remote_port:04X}"
    for field in _rows():
        if field[1].endswith(want_local) and field[2].endswith(want_remote):
            unsent, unread = field[4].split(":")
            return field[3], int(unsent, 16), int(unread, 16)
    return None


def unread(local, remote):
    """Unread bytes of the socket with these IPv4 addresses, (host, port) each; None: there is none."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4) as kernel:   # NETLINK_SOCK_DIAG
            ends = struct.pack("!HH", local[1], remote[1]) + b"".join(socket.inet_aton(host) + bytes(12) for host, _ in (local, remote))
            request = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xffffffff) + ends + struct.pack("=III", 0, 0xffffffff, 0xffffffff)
            kernel.send(struct.pack("=IHHII", 16 + len(request), 20, 1, 0, 0) + request)   # SOCK_DIAG_BY_FAMILY, of one socket
            answer = kernel.recv(8192)
    except OSError:   # none of it here
        found = row(local[1], remote[1])
        return found[2] if found else None
    if struct.unpack_from("=H", answer, 4)[0] == 20:   # a listener answers for those that are not there
        return None if answer[17] == int(LISTEN, 16) else struct.unpack_from("=I", answer, 16 + 56)[0]
    error = -struct.unpack_from("=i", answer, 16)[0]
    assert error == errno.ENOENT, errno.errorcode.get(error, error)
    return None


def backlog(port):
    """How many connections wait to be accepted at 127.0.0.x:port, or anywhere at it."""
    return sum(int(field[4].split(":")[1], 16) for field in _rows() if field[1].endswith(f":{port:04X}") and field[3] == LISTEN)


def states_to(remote_port):
    """States of all sockets that connect, or connected, to that port."""
    return [field[3] for field in _rows() if field[2].endswith(f":{remote_port:04X}")]


def wait_state(local_port, remote_port, states):
    """Wait until that socket is in one of states; None among them stands for: it is gone."""
    def fact():
        found = row(local_port, remote_port)
        return (found[0] if found else None) in states
    until(fact, lambda: f"socket {local_port}->{remote_port} in {states}; it is {row(local_port, remote_port)}")


def wait_all_read(sock):
    """Wait until the application at the other end of `sock` has read all that was sent on it."""
    local, peer = sock.getsockname(), sock.getpeername()

    def fact():
        # First nothing unacknowledged here, then nothing unread there.
        if struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]:
            return False
        return not unread(peer, local)
    until(fact, lambda: f"the peer of {sock} reads what it got: {unread(peer, local)}")


def wait_stuck(sock, quiet=0.15):
    """Wait until the queue of `sock` has bytes that do not move for `quiet` seconds."""
    import time

    def outq():
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]

    seen, since = outq(), time.monotonic()

    def fact():
        nonlocal seen, since
        now = outq()
        if now != seen or now == 0:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= quiet
    until(fact, lambda: f"bytes stay put on {sock}: {outq()}")


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def big_send_buffer(sock, size=64 << 20):
    """Let the kernel take `size` bytes at once, so that a sender can be done while its peer does not read."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, 32, size)  # SO_SNDBUFFORCE
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
