"""The proxy under test: connleakd, or Go's ReverseProxy on Go's Transport (tests/tools/goref)."""

import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from .client import Client, fetch
from .wait import DEADLINE, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DAEMON = os.environ.get("CONNLEAKD", os.path.join(ROOT, "build", "connleakd"))

# The vectors speak of a zero-value Transport; what it lacks is what these say.
ZERO_VALUE = {"max_idle_conns": 0, "idle_conn_timeout": "0", "tls_handshake_timeout": "0",
              "expect_continue_timeout": "0"}


def go_available():
    """None, or the reason why the reference cannot be built."""
    return None if shutil.which("go") else "no `go` here to build the reference with (Debian: golang)"


def build_go(name, source=None):
    """Build `source` (tests/tools/NAME/main.go) if it is newer than the program; returns the program's path."""
    source = source or os.path.join(ROOT, "tests", "tools", name, "main.go")
    out = os.path.join(ROOT, "build", name)
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=name) as cache:
            env = dict(os.environ, GO111MODULE="off", GOCACHE=cache, GOPATH=cache, GOFLAGS="", GOPROXY="off")
            made = os.path.join(cache, name)
            subprocess.run(["go", "build", "-o", made, source], env=env, check=True)
            shutil.move(made, out)
    return out


class Subject:
    """A running proxy. `address` is where its clients connect to."""

    name = "?"
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}

    def __init__(self, argv, preexec=None):
        self.argv = argv
        self.err = []
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=self.env, preexec_fn=preexec)
        self._reader = threading.Thread(target=self._read_err, daemon=True)
        self._reader.start()

    def _read_err(self):
        for line in self.process.stderr:
            self.err.append(line.decode("utf-8", "replace").rstrip("\n"))

    def log(self):
        return "\n".join(self.err)

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def close_idle(self):
        self.signal(signal.SIGUSR2)

    def client(self, **kwargs):
        return Client(self.address, **kwargs)

    def fetch(self, url, **kwargs):
        return fetch(self.address, url, **kwargs)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * 4096

    def wait_waiting(self, n):
        """Until n requests wait for a connection. Nothing of Go's shows this but time, and that it has nothing to do."""
        time.sleep(0.03)
        self.wait_idle()

    def wait_idle(self):
        """Until it has nothing to do, several times in a row."""
        idle = 0
        while idle < 3:
            idle = 0 if self.busy() else idle + 1
            time.sleep(0.002)

    def wait_signal(self):
        """Until it has acted on the signals that it got."""
        until(lambda: not self._pending_signals(), "signals to be delivered")
        time.sleep(0.02)
        self.wait_idle()

    def _pending_signals(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return any(int(line.split()[1], 16) for line in status if line.startswith(("SigPnd", "ShdPnd")))

    def busy(self):
        """Does one of its threads run, or wait for a processor?"""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{task}/stat", encoding="ascii") as stat:
                    if stat.read().rsplit(")", 1)[1].split()[0] not in "SIT":
                        return True
            except (FileNotFoundError, ProcessLookupError):
                continue
        return False

    def alive(self):
        return self.process.poll() is None


class GoRef(Subject):
    name = "go"

    def __init__(self, upstream_ca=None, flush_interval=None, verbose=False, **pool):
        argv = [build_go("goref")]
        for key, value in pool.items():
            argv.append(f"-{key}={str(value).lower() if isinstance(value, bool) else value}")
        if upstream_ca:
            argv.append(f"-upstream_ca={upstream_ca}")
        if flush_interval:
            argv.append(f"-flush_interval={flush_interval}")
        if verbose or os.environ.get("CONNLEAK_VERBOSE"):
            argv.append("-v")
        super().__init__(argv)
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Connleakd(Subject):
    name = "connleakd"

    def __init__(self, upstream_ca=None, flush_interval=None, settings=None, preexec=None, argv=(), wait=True, **pool):
        del flush_interval  # the daemon always passes on what it has
        self.settings = {"proxy.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "pool.proxy": "",
                         "proxy.drain_quiet": "1ms", "proxy.drain_timeout": "10ms"}
        self.settings.update({f"pool.{key}": value for key, value in pool.items()})
        if upstream_ca:
            self.settings["tls.upstream_ca"] = upstream_ca
        self.settings.update(settings or {})
        if not self.settings["pool.proxy"]:
            del self.settings["pool.proxy"]  # the environment names none either
        command = [DAEMON, *argv]
        for key, value in self.settings.items():
            if value is not None:
                command += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
        super().__init__(command, preexec)
        self.address = self.admin = None
        if wait:
            self.wait_listening()

    def wait_listening(self):
        """Learn from stderr where it listens: lines that hold `proxy` or `admin` and an address."""
        def fact():
            if self.process.poll() is not None:
                self._reader.join(DEADLINE)
                raise AssertionError(f"connleakd ended with {self.process.returncode}:\n{self.log()}")
            for line in list(self.err):
                found = re.search(r"(?:127\.0\.0\.1|\[::1?\]|0\.0\.0\.0):(\d+)", line)
                if found and "listening" in line:
                    address = ("127.0.0.1", int(found.group(1)))
                    if "admin" in line:
                        self.admin = address
                    else:
                        self.address = self.address or address
            return self.admin and (self.address or "unix:" in self.settings["proxy.listen"])
        until(fact, lambda: f"lines that say where it listens:\n{self.log()}")

    def get(self, path, timeout=120):
        """The JSON answer of the admin endpoint."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.admin[1]}{path}", timeout=timeout) as reply:
            return json.loads(reply.read())

    def wait_signal(self):
        until(lambda: not self._pending_signals(), "signals to be delivered")
        self.get("/healthz")   # its connection is accepted in one round of the loop and answered in a later one

    def wait_waiting(self, n):
        until(lambda: self.get("/metrics")["pool"]["waiting"] == n,
              lambda: f"{n} waiting requests: {self.get('/metrics')['pool']}")

    def ledger(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.admin[1]}/ledger", timeout=120) as reply:
            return [json.loads(line) for line in reply.read().splitlines() if line]

    def wait_exit(self, timeout):
        """Did it end within so many seconds? (Popen.wait() would look only every 50 ms.)"""
        pidfd = os.pidfd_open(self.pid)
        try:
            ready, _, _ = select.select([pidfd], [], [], timeout)
        finally:
            os.close(pidfd)
        return bool(ready) and self.process.wait() is not None

    def stop(self):
        """End it, and fail if it had crashed or says that memory was misused."""
        crashed = self.process.poll()
        if crashed is None:
            # The first SIGTERM drains, and looks every 100 ms whether that is done; the second does not wait.
            self.signal(signal.SIGTERM)
            until(lambda: "draining" in self.log() or not self.alive(), lambda: "an answer to SIGTERM:\n" + self.log())
            self.signal(signal.SIGTERM)
            if not self.wait_exit(DEADLINE):
                self.process.kill()
                self.process.wait()
                raise AssertionError("connleakd does not end on a second SIGTERM:\n" + self.log())
        self._reader.join(DEADLINE)
        text = self.log()
        assert "Sanitizer" not in text and "runtime error:" not in text, text
        assert crashed is None, f"connleakd ended by itself with {crashed}:\n{text}"
        assert self.process.returncode == 0, f"connleakd ended with {self.process.returncode}:\n{text}"


SUBJECTS = {"go": GoRef, "connleakd": Connleakd}


def chosen():
    return os.environ.get("CONNLEAK_SUBJECT", "connleakd")


def free_port(given=set()):   # pylint: disable=dangerous-default-value
    """A port that nobody has, and that the kernel gives to nobody who leaves the choice to it; never the same again."""
    while True:
        port = random.randrange(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port
