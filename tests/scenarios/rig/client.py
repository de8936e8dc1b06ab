"""A scripted client: raw sockets to the proxy, responses read as far as a test wants."""

import hashlib
import socket
import threading

from . import sockets
from .wait import DEADLINE



class Response:
    def __init__(self):
        self.status = None        # None: no head came
        self.reason = ""
        self.version = ""
        self.fields = []
        self.body = b""
        self.interim = []         # statuses of 1xx responses before it
        self.complete = False     # the body ended as its framing says
        self.framing = None       # none, content-length, chunked, until-eof
        self.trailer = []
        self.ended_by = None      # F or R, where the connection ended instead
        self.excess = b""         # bytes beyond it

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name, default=None):
        found = self.values(name)
        return found[0] if found else default

    def digest(self):
        return len(self.body), hashlib.sha256(self.body).hexdigest()[:16]

    def __repr__(self):
        return (f"<{self.status} {self.framing} {len(self.body)} bytes "
                f"{'complete' if self.complete else 'cut'} {self.ended_by or ''} {self.body[:200]!r}>")


class Ended(Exception):
    def __init__(self, letter):
        super().__init__(letter)
        self.letter = letter


class Client:
    def __init__(self, address, rcvbuf=None, source=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(DEADLINE)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    @property
    def port(self):
        return self.sock.getsockname()[1]

    # -- sending

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.sock.sendall(data)
        return self

    def ask(self, url, method="GET", fields=(), body=None, version="1.1", host=True):
        """Send one request in absolute form; body bytes go with Content-Length."""
        authority = url.split("//", 1)[1].split("/", 1)[0] if "//" in url else "x"
        lines = [f"{method} {url} HTTP/{version}"]
        if host:
            lines.append(f"Host: {authority}")
        lines += list(fields)
        if body is not None and not any(f.lower().startswith(("content-length", "transfer-encoding")) for f in fields):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        self.method = method
        return self

    # -- reading

    def _recv(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            raise Ended("R") from None
        if not data:
            raise Ended("F")
        return data

    def read_exactly(self, n):
        """Take n bytes, then stop reading."""
        while len(self.buffer) < n:
            try:
                data = self.sock.recv(n - len(self.buffer))
            except ConnectionResetError:
                raise Ended("R") from None
            if not data:
                raise Ended("F")
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self.buffer += self._recv()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_head(self, response=None):
        response = response or Response()
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._recv()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        response.version, response.status = parts[0], int(parts[1])
        response.reason = parts[2] if len(parts) > 2 else ""
        response.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        return response

    def response(self, method=None, raise_cut=False):
        """The next final response, read to its end or to the connection's."""
        method = method or getattr(self, "method", "GET")
        response = Response()
        try:
            while True:
                self.read_head(response)
                if response.status == 101 or response.status >= 200:
                    break
                response.interim.append(response.status)
            self._body(response, method)
            response.complete = True
        except Ended as end:
            response.ended_by = end.letter
            if response.framing == "until-eof" and end.letter == "F":
                response.complete = True
            elif raise_cut:
                raise AssertionError(f"cut: {response}") from None
        return response

    def _body(self, response, method):
        if method == "HEAD" or response.status in (101, 204, 304) or (method == "CONNECT" and response.status == 200):
            response.framing = "none"
        elif any("chunked" in value.lower() for value in response.values("Transfer-Encoding")):
            response.framing = "chunked"
            while True:
                size = int(self._line().split(b";")[0], 16)
                if size == 0:
                    while True:
                        line = self._line()
                        if not line:
                            return
                        response.trailer.append(line.decode("latin-1"))
                self._take(response, size)
                self._line()
        elif response.value("Content-Length") is not None:
            response.framing = "content-length"
            self._take(response, int(response.value("Content-Length")))
        else:
            response.framing = "until-eof"
            pieces = [self.buffer]
            self.buffer = b""
            try:
                while True:
                    pieces.append(self._recv())
            finally:
                response.body = b"".join(pieces)

    def _take(self, response, size):
        pieces, left = [], size
        try:
            while left > 0:
                if not self.buffer:
                    self.buffer = self._recv()
                piece, self.buffer = self.buffer[:left], self.buffer[left:]
                pieces.append(piece)
                left -= len(piece)
        finally:
            response.body += b"".join(pieces)

    def wait_end(self):
        """Read and drop until the proxy ends the connection: 'F' or 'R'."""
        try:
            while True:
                self._recv()
        except Ended as end:
            return end.letter

    # -- leaving

    def close(self):
        self.sock.close()

    def rst(self):
        sockets.reset(self.sock)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fetch(address, url, method="GET", fields=(), body=None, version="1.1", rcvbuf=None):
    """One request on a connection of its own, read to its end."""
    with Client(address, rcvbuf) as client:
        client.ask(url, method, fields, body, version)
        return client.response(method)


class Background:
    """A function on a thread; result() returns its value or raises what it raised."""

    def __init__(self, function, *args, **kwargs):
        def run():
            try:
                self._value = function(*args, **kwargs)
            except BaseException as error:
                self._error = error
        self._value = self._error = None
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def result(self, timeout=DEADLINE * 2):
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "a client on a thread does not end"
        if self._error:
            raise self._error
        return self._value
