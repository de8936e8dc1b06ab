"""Real clients, all at once, against one origin: half of them through one daemon, half in one capture."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading

from .subject import ROOT, build_go
from .wait import until

CLIENTS = os.path.join(ROOT, "tests", "scenarios", "clients")
DEBIAN = "/usr/bin/python3"   # whose packages the clients are
CONNLEAK = os.environ.get("CONNLEAK", os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "connleak"))
SIZES = {"100B": 100, "3K": 3 << 10, "5K": 5 << 10, "70K": 70 << 10, "5M": 5 << 20}
FRAMINGS = ("length", "chunked")


class Job:
    """One client in one variant: its requests, twice, through the daemon and straight."""

    def __init__(self, number, client, variant, size, framing, at_once):
        self.client, self.variant, self.size, self.framing, self.at_once = client, variant, size, framing, at_once
        self.tag = f"{client}.{variant}.{size}.{framing}.x{at_once}"
        self.host = f"127.66.{number // 250}.{number % 250 + 1}"   # the origin listens on all of 127/8
        # Within so many ms it begins, and not all at once: gigabytes pass through two processors.
        self.begins = (4000, 20000)
        if size == "5M":
            dials_again = variant in ("idle_cap", "new_client", "process")
            self.rounds, self.pause = ([1] * 4, 1300) if at_once == 1 else ([8, 4 if dials_again else 2], 4000)
            self.begins = (4000, 30000)
            if variant == "keep":   # the buffers of two kernels shall be full before the next connection is opened
                self.begins, self.pause = (0, 1000), self.pause * 4
        else:
            self.rounds, self.pause = ([1] * 8, 400) if at_once == 1 else ([8, 8, 8], 1300)

    def line(self, port, proxy, chance, pace, jobs):
        """Its line of a plan in which everything lasts `pace` times as long, and begins, if that is more than once, in
        such a time that few run at once."""
        begins = self.begins if pace == 1 else (0, 1000 + 500 * jobs)
        return json.dumps({"tag": self.tag, "variant": self.variant, "size": SIZES[self.size], "framing": self.framing,
                           "url": f"http://{self.host}:{port}/{SIZES[self.size]}/{self.framing}",
                           "proxy": proxy and f"http://{self.tag}:@{proxy[0]}:{proxy[1]}", "rounds": self.rounds,
                           "pause": self.pause * pace, "look": 25 * pace, "delay": chance.randrange(*begins)}) + "\n"


def missing(client):
    """None, or why this client cannot run here."""
    if client in ("requests", "httpx", "aiohttp"):
        if subprocess.run([DEBIAN, "-c", f"import {client}"], capture_output=True, check=False).returncode:
            return f"no python3-{client}"
    elif client == "undici":
        if subprocess.run(["node", "-e", "require('undici')"], capture_output=True, env=environment(), check=False).returncode:
            return "no node-undici"
    elif client != "curl" and not shutil.which(client):
        return f"no {client}"
    return None


def environment():
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return dict(env, NODE_PATH="/usr/share/nodejs")   # where Debian's modules are


def program(client):
    if client == "go":
        return [build_go("matrix", os.path.join(CLIENTS, "matrix.go")), "client"]
    if client in ("node", "undici"):
        return ["node", os.path.join(CLIENTS, "matrix.js"), "http" if client == "node" else client]
    if client == "curl":
        return [DEBIAN, os.path.join(CLIENTS, "curl.py")]
    return [DEBIAN, os.path.join(CLIENTS, "matrix.py"), client]


class Process:
    """A client program at work. It ends when its stdin does."""

    def __init__(self, argv, way, tags):
        self.argv, self.way, self.tags, self.done = argv, way, tags, {}
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            self.done[said["tag"]] = said["wrong"]

    def missing(self):
        """The tags of jobs that are not done."""
        return [tag for tag in self.tags if tag not in self.done]

    def plan(self, lines):
        self.process.stdin.write("".join(lines))
        self.process.stdin.flush()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Origin:
    def __init__(self, pace):
        self.process = subprocess.Popen([build_go("matrix", os.path.join(CLIENTS, "matrix.go")), "serve", str(pace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports = [int(port) for port in self.process.stdout.readline().split()]

    def stop(self):
        self.process.kill()
        self.process.wait()


class Capture:
    """tcpdump on loopback, whose packets `connleak analyze` reads as they come: gigabytes, and none of them on disk.
    CONNLEAK_MATRIX_PCAP names a file to keep them in."""

    def __init__(self, port):
        # Before others: what it misses is missed in the findings too. (nice goes on where it may not.)
        first = ["nice", "-n", "-10"]
        self.tcpdump = subprocess.Popen([*first, "tcpdump", "-i", "lo", "-n", "-s", "66000", "-B", "524288", "-Z", "root",
                                         "-w", "-", f"tcp port {port}"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        fcntl.fcntl(self.tcpdump.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)   # not a switch of processes for each packet
        source, keep = self.tcpdump.stdout, os.environ.get("CONNLEAK_MATRIX_PCAP")
        if keep:
            self.tee = subprocess.Popen([*first, "tee", keep], stdin=source, stdout=subprocess.PIPE)
            source = self.tee.stdout
        self.result = tempfile.TemporaryFile()
        self.analyze = subprocess.Popen([*first, CONNLEAK, "analyze", "--json", "-"], stdin=source, stdout=self.result,
                                        stderr=subprocess.PIPE)
        self.tcpdump.stdout.close()   # so that it ends when analyze does
        line = self.tcpdump.stderr.readline()
        while b"listening" not in line:
            assert line, "tcpdump does not start"
            line = self.tcpdump.stderr.readline()

    def stop(self):
        """connleak.analysis/1, of all that was there to capture: once both have had nothing to do for a while."""
        idle = 0
        def nothing_to_do():
            nonlocal idle
            asleep = all(state_of(process.pid) == "S" for process in (self.tcpdump, self.analyze))
            idle = idle + 1 if asleep else 0
            return idle > 15
        until(nothing_to_do, "tcpdump has always more to do", pause=0.02)
        self.tcpdump.send_signal(signal.SIGINT)
        said = self.tcpdump.stderr.read().decode()
        assert self.tcpdump.wait() == 0 and "\n0 packets dropped by kernel" in said, said
        wrong = self.analyze.stderr.read().decode()
        assert self.analyze.wait() == 0, wrong
        self.result.seek(0)
        return json.load(self.result)


def state_of(pid):
    """R: runs, or waits for a processor; S: sleeps."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def cannot_capture():
    """None, or why there will be no capture."""
    if not shutil.which("tcpdump"):
        return "no tcpdump"
    return "capturing on loopback needs root" if os.geteuid() else None


class Outcome:
    def __init__(self):
        self.wrong = {}        # (tag, "daemon" or "capture"): what its client complained of
        self.analysis = None   # connleak.analysis/1
        self.seen = None       # what `look` returned


def run(jobs, daemon, captured, look, pace=1):
    """Runs the jobs both ways at once, or through the daemon alone; `look()` is called when all are done, and what
    is held still is. `pace`: how many times as long everything lasts."""
    origin = Origin(pace)
    capture = Capture(origin.ports[0]) if captured else None
    processes, chance, out = [], random.Random(1), Outcome()
    ways = [("capture", origin.ports[0], None)] * captured + [("daemon", origin.ports[1], daemon.address)]
    try:
        for way, port, proxy in ways:
            for client in dict.fromkeys(job.client for job in jobs):
                process = Process(program(client), way, [job.tag for job in jobs if job.client == client])
                processes.append(process)
                process.plan([job.line(port, proxy, chance, pace, len(jobs)) for job in jobs if job.client == client])
        until(lambda: not any(p.missing() for p in processes), lambda: [(p.argv, p.missing()) for p in processes if p.missing()],
              timeout=200, pause=0.05)
        out.seen = look()
    finally:
        try:
            out.analysis = capture.stop() if capture else None
        finally:
            for process in processes:
                process.stop()
            origin.stop()
    out.wrong = {(tag, p.way): wrong for p in processes for tag, wrong in p.done.items() if wrong}
    return out
