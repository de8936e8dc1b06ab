"""A scripted origin: a script runs on each connection and writes down what the peer did.

A script is a function of a Conn. It reads requests, sends bytes, waits for gates, and
ends the connection by FIN or RST where it wants to. When it returns, the origin goes on
reading until the peer ends the connection, so that every close is seen: `F` for FIN,
`R` for RST. Where the origin ended it first, the letter is `S` (FIN) or `X` (RST).
"""

import hashlib
import os
import select
import socket
import ssl
import threading
import time

from . import sockets
from .wait import Gate, until


class Gone(Exception):
    """The peer ended the connection; a script that does not care lets it pass."""


class Request:
    def __init__(self, head):
        self.raw = head
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
        self.body = None          # bytes, once read
        self.at = time.monotonic()

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name, default=None):
        found = self.values(name)
        return found[0] if found else default

    def has_token(self, name, token):
        return any(token.lower() == part.strip().lower() for value in self.values(name) for part in value.split(","))

    @property
    def path(self):
        return self.target

    def summary(self):
        """What two subjects must agree on."""
        body = None if self.body is None else (len(self.body), hashlib.sha256(self.body).hexdigest()[:16])
        return (self.method, self.target, body)


class Conn:
    def __init__(self, origin, sock, index, peer):
        self.origin, self.sock, self.index = origin, sock, index
        self.peer_port = peer[1]
        self.plain_sock = sock
        self.requests = []
        self.buffer = b""
        self.bytes_in = 0
        self.peer_end = None      # 'F' or 'R', once seen
        self.own_end = None       # 'S' or 'X', when this side ended it first
        self.opened_at = time.monotonic()
        self.ended_at = None
        self.failure = None
        self.ended = threading.Event()
        self.patience = None      # seconds to wait for bytes before closing; None: for ever
        self._command = None
        self._wake = os.eventfd(0)

    # -- reading

    def command(self, function):
        """Run function(conn) on the connection's own thread, which is waiting for the peer's next bytes."""
        self._command = function
        os.eventfd_write(self._wake, 1)

    def _recv(self):
        if not isinstance(self.sock, ssl.SSLSocket):
            while True:
                ready, _, _ = select.select([self.sock, self._wake], [], [], self.patience)
                if not ready:
                    self.fin()
                    self.patience = None
                    continue
                if self._wake not in ready:
                    break
                os.eventfd_read(self._wake)
                self._command(self)
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            self._end("R")
            raise Gone from None
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                self._end("F" if "EOF" in str(error) else "R")
                raise Gone from None
            raise
        if not data:
            self._end("F")
            raise Gone
        self.bytes_in += len(data)
        return data

    def _end(self, letter):
        if self.peer_end is None:
            self.peer_end = letter
            self.ended_at = time.monotonic()
            self.ended.set()
        elif letter == "R" and self.peer_end == "F":
            self.peer_end = "F>R"

    def read_head(self):
        """The next request's head; counts as a request."""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._recv()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        request = Request(head)
        self.requests.append(request)
        return request

    def read_exactly(self, n):
        while len(self.buffer) < n:
            self.buffer += self._recv()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_line(self):
        while b"\r\n" not in self.buffer:
            self.buffer += self._recv()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_body(self, request):
        if request.has_token("Transfer-Encoding", "chunked"):
            body = b""
            while True:
                size = int(self.read_line().split(b";")[0], 16)
                if size == 0:
                    while self.read_line():
                        pass
                    break
                body += self.read_exactly(size)
                self.read_line()
        else:
            body = self.read_exactly(int(request.value("Content-Length", "0")))
        request.body = body
        return body

    def read_request(self):
        request = self.read_head()
        self.read_body(request)
        return request

    def drain(self, n=None):
        """Read and drop: n bytes, or until the peer ends the connection."""
        left = n
        self.buffer = b""
        while left is None or left > 0:
            got = len(self._recv())
            left = None if left is None else left - got

    # -- writing

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            self._end("R")
            raise Gone from None

    def send_forever(self, data):
        while True:
            self.send(data)

    def wait_read(self):
        """Until the peer's application has read all that was sent."""
        sockets.wait_all_read(self.plain_sock)

    def wait_stuck(self):
        """Until the peer's application has stopped reading with bytes left over."""
        sockets.wait_stuck(self.plain_sock)

    def unread_by_peer(self):
        found = sockets.row(self.peer_port, self.plain_sock.getsockname()[1])
        return found[2] if found else None

    # -- ending

    def fin(self):
        """Say FIN and go on reading."""
        if self.peer_end is None:
            self.own_end = "S"
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def rst(self):
        if self.peer_end is None:
            self.own_end = "X"
        self.peer_end = self.peer_end or "-"
        self.ended.set()
        sockets.reset(self.plain_sock)
        raise Gone

    # -- results

    @property
    def is_open(self):
        return not self.ended.is_set() and self.own_end is None

    def letter(self):
        if self.own_end == "X":
            return "X"
        if not self.ended.is_set():
            return "s" if self.own_end else "-"   # s: we said FIN, the peer has not answered yet
        if self.own_end == "S":
            return "S" if self.peer_end == "F" else "S" + self.peer_end
        return self.peer_end

    def shape(self):
        return f"{len(self.requests)}{self.letter()}"


class Origin:
    """A listener whose connections run `script`. Use it as a context manager or call stop()."""

    def __init__(self, script, backlog=128, tls=None, host="127.0.0.1", family=socket.AF_INET):
        self.script, self.tls = script, tls
        self.conns = []
        self.failed_handshakes = []
        self._lock = threading.Lock()
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, 0))
        self.listener.listen(backlog)
        self.host, self.port = host, self.listener.getsockname()[1]
        self._accepting, self._in_accept = Gate("accept"), False
        self._stopped = False
        self._fillers, self._filler_ports = [], set()
        self._accepting.open()
        self._threads = [threading.Thread(target=self._accept_loop, daemon=True)]
        self._threads[0].start()

    # -- addresses

    @property
    def authority(self):
        return f"{'[' + self.host + ']' if ':' in self.host else self.host}:{self.port}"

    def url(self, path="/", host=None):
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{host + ':' + str(self.port) if host else self.authority}{path}"

    # -- running

    def hold_dials(self):
        """From now on a dial hangs: the listener's queue is full, and the kernel drops its SYNs."""
        with self._lock:
            self._accepting = Gate("accept")
        self.listener.listen(0)
        # The accept() that may be under way takes whoever comes first; then one fills the queue.
        while not sockets.backlog(self.port) or self._in_accept:
            if not sockets.backlog(self.port):
                filler = socket.socket()
                filler.bind((self.host, 0))
                self._filler_ports.add(filler.getsockname()[1])
                filler.connect((self.host, self.port))
                self._fillers.append(filler)
            until(lambda: not self._in_accept, "the accept() under way to end")

    def wait_dialing(self, n=1):
        """Until n dials hang."""
        until(lambda: sockets.states_to(self.port).count(sockets.SYN_SENT) == n,
              lambda: f"{n} dials under way: {sockets.states_to(self.port)}")

    def release_dials(self):
        """Dials that hang succeed when their SYN is sent again: within a second."""
        self.listener.listen(128)
        self._accepting.open()

    def close_listener(self):
        """Later dials are refused."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept_loop(self):
        while not self._stopped:
            try:
                self._accepting.wait(None)
                with self._lock:
                    if not self._accepting.is_open():
                        continue
                    self._in_accept = True
                try:
                    sock, peer = self.listener.accept()
                finally:
                    self._in_accept = False
            except OSError:
                return
            if peer[1] in self._filler_ports:
                sock.close()
                continue
            with self._lock:
                conn = Conn(self, sock, len(self.conns), peer)
                self.conns.append(conn)
            thread = threading.Thread(target=self._run, args=(conn,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, conn):
        try:
            if self.tls:
                try:
                    conn.sock = conn.plain_sock = self.tls.wrap_socket(conn.sock, server_side=True)
                except OSError as error:
                    self.failed_handshakes.append(error)
                    conn._end("R" if isinstance(error, ConnectionResetError) else "F")
                    return
            try:
                self.script(conn)
                conn.drain()
            except Gone:
                pass
        except Exception as error:  # shown by check()
            if not self._stopped:
                conn.failure = error
                conn.own_end = conn.own_end or "S"
                conn.peer_end = conn.peer_end or "?"
                conn.ended.set()
        finally:
            os.close(conn._wake)
            if not self._stopped and conn.own_end != "X":
                try:
                    conn.sock.close()
                except OSError:
                    pass

    def stop(self):
        self._stopped = True
        self.close_listener()
        self._accepting.open()
        for filler in self._fillers:
            filler.close()
        for conn in self.conns:
            for sock in {conn.sock, conn.plain_sock}:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                try:
                    sock.close()
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # -- results

    def shape(self):
        """One word a connection, in the order of their arrival: requests, and how it ended."""
        return [conn.shape() for conn in list(self.conns)]

    def check(self):
        for conn in self.conns:
            if conn.failure:
                raise AssertionError(f"script on connection {conn.index}: {conn.failure!r}") from conn.failure

    def settle(self, *expected, hold=0.03, ordered=True):
        """Wait for the shape `expected`, and see it stay so for a moment. A word may list choices: '1F|1R'."""
        def matches():
            seen = self.shape()
            if len(seen) != len(expected):
                return False
            if ordered:
                return all(one in words.split("|") for one, words in zip(seen, expected))
            return sorted(seen) == sorted(expected)

        def explain():
            return f"the origin saw {self.shape()}, expected {list(expected)}"
        try:
            until(matches, explain)
        finally:
            self.check()
        time.sleep(hold)
        assert matches(), explain() + " to stay so"

    def wait_conns(self, n):
        until(lambda: len(self.conns) >= n, lambda: f"{n} connections at the origin; it saw {self.shape()}")
        return self.conns[n - 1]

    def wait_requests(self, n):
        until(lambda: sum(len(c.requests) for c in list(self.conns)) >= n,
              lambda: f"{n} requests at the origin; it saw {self.shape()}")

    def total_requests(self):
        return sum(len(conn.requests) for conn in self.conns)


# -- answers

def answer(body=b"hello", status="200 OK", fields=(), version="1.1", length=None):
    """A response with Content-Length; length overrides what it announces."""
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/{version} {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def head(*lines):
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunk(data):
    if isinstance(data, str):
        data = data.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*pieces, fields=(), trailer=(), status="200 OK", version="1.1"):
    end = b"0\r\n" + b"".join(line.encode() + b"\r\n" for line in trailer) + b"\r\n"
    return head(f"HTTP/{version} {status}", "Transfer-Encoding: chunked", *fields) + b"".join(map(chunk, pieces)) + end


def always(data):
    """A script: answer every request with the same bytes."""
    def script(conn):
        while True:
            conn.read_request()
            conn.send(data)
    return script


def by_path(**answers):
    """A script: answer by the path's first word: bytes, or a function of (conn, request)."""
    def script(conn):
        while True:
            request = conn.read_request()
            what = answers[request.target.strip("/").split("/")[0].split("?")[0] or "root"]
            if callable(what):
                what(conn, request)
            else:
                conn.send(what)
    return script


def in_turn(*answers):
    """A script: the n-th request of a connection gets the n-th answer, the last one again and again."""
    def script(conn):
        n = 0
        while True:
            request = conn.read_request()
            what = answers[min(n, len(answers) - 1)]
            n += 1
            if callable(what):
                what(conn, request)
            else:
                conn.send(what)
    return script


def connections(*scripts):
    """A script: the n-th connection runs the n-th script, later ones the last."""
    def script(conn):
        scripts[min(conn.index, len(scripts) - 1)](conn)
    return script
