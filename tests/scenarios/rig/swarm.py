"""Many clients at once on one thread."""

import errno
import selectors
import socket
import time


class One:
    def __init__(self, number, address, left):
        self.number, self.left, self.got, self.out = number, left, bytearray(), b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(address)


def run(address, request, check, clients, each, timeout=120):
    """`clients` keep-alive connections with `each` requests one after the other. check(bytes so far) says None while
    a response is not whole, else whether it is right. Returns (right answers, list of what went wrong)."""
    selector = selectors.DefaultSelector()
    right, wrong = 0, []
    end = time.monotonic() + timeout
    for number in range(clients):
        one = One(number, address, each)
        one.out = request
        selector.register(one.sock, selectors.EVENT_WRITE, one)

    def finish(one, problem=None):
        if problem:
            wrong.append(f"client {one.number}, {one.left} requests left: {problem}")
        selector.unregister(one.sock)
        one.sock.close()
    while selector.get_map():
        assert time.monotonic() < end, f"{len(selector.get_map())} clients are not done after {timeout} s"
        for key, events in selector.select(1):
            one = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    one.out = one.out[one.sock.send(one.out):]
                    if not one.out:
                        selector.modify(one.sock, selectors.EVENT_READ, one)
                    continue
                data = one.sock.recv(262144)
            except BlockingIOError:
                continue
            except OSError as error:
                finish(one, errno.errorcode.get(error.errno, error))
                continue
            if not data:
                finish(one, f"the proxy closed after {bytes(one.got[:200])!r}")
                continue
            one.got += data
            verdict = check(one.got)
            if verdict is None:
                continue
            if not verdict:
                finish(one, bytes(one.got[:300]))
                continue
            right += 1
            one.got.clear()
            one.left -= 1
            if one.left:
                one.out = request
                selector.modify(one.sock, selectors.EVENT_WRITE, one)
            else:
                finish(one)
    selector.close()
    return right, wrong


def body_check(body):
    """For responses 200 with that body."""
    def check(got):
        at = got.find(b"\r\n\r\n")
        if at < 0 or len(got) < at + 4 + len(body):
            return None if at < 0 or got.startswith(b"HTTP/1.1 200 ") else False
        return got.startswith(b"HTTP/1.1 200 ") and got[at + 4:] == body
    return check
