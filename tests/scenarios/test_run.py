"""connleak run: the command runs as it would alone, its leaks are told, and nothing is left behind."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from rig import schema
from rig.origin import always, answer
from rig.subject import DAEMON, ROOT
from rig.terminal import on_a_terminal
from rig.wait import until

CONNLEAK = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "connleak")
PYTHON = sys.executable
NAMES = ("http_proxy", "https_proxy", "all_proxy")


def environment(path=None):
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    if path:
        env["PATH"] = path
    return env


def run(*argv, timeout=120, **kwargs):
    kwargs.setdefault("env", environment())
    return subprocess.run([CONNLEAK, "run", *argv], capture_output=True, text=True, timeout=timeout, check=False, **kwargs)


def start(*argv, **kwargs):
    return subprocess.Popen([CONNLEAK, "run", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **kwargs)


def children(pid):
    """{pid: its command line} of a process's children."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as listed:
            for child in listed.read().split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                        open(f"/proc/{child}/cmdline", encoding="utf-8") as cmdline:   # it may end meanwhile
                    found[int(child)] = cmdline.read().replace("\0", " ")
    return found


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def running(process, name):
    """The pid of a child of that name, once it runs."""
    def find():
        return next((pid for pid, line in children(process.pid).items() if os.path.basename(line.split(" ")[0]) == name), None)
    return until(find, lambda: f"{name} among {children(process.pid)}")


@pytest.fixture
def origin(serve):
    """At an address that Go does not take for loopback."""
    here = serve(always(answer(b"x" * 70_000)), host="0.0.0.0")
    return here


@pytest.fixture(scope="module")
def go_client(tmp_path_factory):
    """A Go program: URL, times, what it does with a body (read, close, hold) and how long it pauses between requests."""
    if not shutil.which("go"):
        pytest.skip("no `go` here to build a client with (Debian: golang)")
    folder = tmp_path_factory.mktemp("client")
    source = folder / "main.go"
    source.write_text(textwrap.dedent("""
        package main

        import (
            "io"
            "net/http"
            "os"
            "strconv"
            "time"
        )

        func main() {
            times, _ := strconv.Atoi(os.Args[2])
            pause, _ := time.ParseDuration(os.Args[4])
            for i := 0; i < times; i++ {
                resp, err := http.Get(os.Args[1])
                if err != nil {
                    panic(err)
                }
                if os.Args[3] == "read" {
                    io.Copy(io.Discard, resp.Body)
                }
                if os.Args[3] != "hold" {
                    resp.Body.Close()
                }
                time.Sleep(pause)
            }
        }
        """))
    program = folder / "client"
    env = dict(os.environ, GO111MODULE="off", GOCACHE=str(folder / "cache"), GOPATH=str(folder), GOFLAGS="", GOPROXY="off")
    subprocess.run(["go", "build", "-o", program, source], env=env, check=True, timeout=240)
    return str(program)


# -- the command is left as it is

@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_command_s(script, code):
    assert run("--", "sh", "-c", script).returncode == code


def test_input_and_output_are_the_command_s(origin):
    done = run("sh", "-c", f"cat; curl -s {origin.url('/')} | wc -c; echo oops >&2; ls /proc/self/fd", input="hello\n")
    assert done.returncode == 0
    fds = done.stdout.split("\n", 2)[2].split()
    assert done.stdout.startswith("hello\n70000\n") and fds == ["0", "1", "2", "3"]   # 3: ls reads the folder
    assert done.stderr.startswith("oops\n")


def test_the_environment_names_the_proxy(origin):
    done = run("env", env=dict(environment(), http_proxy="http://127.0.0.1:1", NO_PROXY="*", HOME="/nonexistent"))
    env = dict(line.split("=", 1) for line in done.stdout.splitlines())
    proxy = env["CONNLEAK_PROXY"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", proxy)
    for name in NAMES:
        assert env[name] == env[name.upper()] == f"http://{proxy}"
    assert env["NO_PROXY"] == env["no_proxy"] == "" and env["HOME"] == "/nonexistent"
    assert not {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} & env.keys()


def test_signals_and_their_masks_are_the_command_s(tmp_path):
    status = run("cat", "/proc/self/status").stdout
    with open("/proc/self/status", encoding="ascii") as own:
        own = own.read()
    for line in ("SigBlk", "SigIgn"):
        here = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        assert re.search(rf"^{line}:.*$", status, re.M)[0] == re.search(rf"^{line}:.*$", here, re.M)[0], own
    del tmp_path


@pytest.mark.parametrize("argv, code, said", [
    (["--", "/nonexistent/x"], 127, "/nonexistent/x: No such file"),
    (["--", "/etc/passwd"], 126, "/etc/passwd: Permission denied"),
    ([], 2, "a COMMAND is needed"),
    (["--fail-on", "leaks", "--", "true"], 2, "--fail-on: expected any, or kinds of findings"),
    (["--fail-on", "", "--", "true"], 2, "--fail-on"),
    (["--set", "pool.nope=1", "--", "true"], 2, "has no parameter nope"),
    (["--set", "proxy.listen=127.0.0.1:1", "--", "true"], 2, "cannot be set: proxy.listen"),
    (["--set", "admin.listen=none", "--", "true"], 2, "cannot be set: admin.listen"),
    (["--nope", "--", "true"], 2, "unknown option --nope"),
    (["--json"], 2, "a COMMAND is needed"),
    (["--json=/nonexistent/report", "--", "sh", "-c", "echo it ran >&2"], 1, "/nonexistent/report: No such file"),
])
def test_what_cannot_be_done_is_said(argv, code, said):
    done = run(*argv)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr
    assert done.stderr.count("\n") == 1


# -- the report

def test_no_traffic_is_said_with_the_way_round():
    done = run("--fail-on", "any", "--", "true")
    assert done.returncode == 0
    words = " ".join(done.stderr.split())
    for said in ("no connection came to the proxy", "Go programs never use a proxy for localhost", "another name", "proxy.mode=reverse",
                 "CONNLEAK_PROXY"):
        assert said in words


def test_a_good_command_has_no_warning(origin, go_client):
    done = run("--fail-on", "any", "--", go_client, origin.url("/"), "20", "read", "10ms")
    assert done.returncode == 0 and "no findings" in done.stderr, done.stderr
    assert re.search(r"^  requests +20 +20$", done.stderr, re.M) and re.search(r"^  reused +19 +19$", done.stderr, re.M)


def test_bodies_that_are_closed_unread_fail_it(origin, go_client):
    done = run("--fail-on", "early_body_close,dial_storm", "--", go_client, origin.url("/"), "10", "close", "20ms")
    words = " ".join(done.stderr.split())
    assert done.returncode == 99, done.stderr
    assert "early_body_close warning" in words and "Go-http-client/1.1" in words
    assert "do: defer resp.Body.Close() is not enough" in words
    assert "exit code 99, because of early_body_close (--fail-on)" in words
    assert run("--fail-on", "dial_storm", "--", go_client, origin.url("/"), "10", "close", "20ms").returncode == 0


def test_what_the_last_connections_were_closed_for_is_waited_for(serve, go_client):
    """Small bodies: a FIN each, which may mean anything until nothing explains it."""
    origin = serve(always(answer(b"x" * 100)), host="0.0.0.0")
    done = run("--fail-on", "any", "--", go_client, origin.url("/"), "6", "close", "20ms")
    assert done.returncode == 99 and "early_body_close" in done.stderr, done.stderr


def test_the_report_alone_is_on_stdout(origin):
    done = run("--json", "--", "sh", "-c", f"curl -s {origin.url('/')} >/dev/null && echo from the command")
    assert (done.returncode, done.stderr) == (0, "from the command\n")
    said = json.loads(done.stdout)
    schema.check(said, schema.load("connleak.run-1.json"))
    assert said["metrics"]["downstream"]["requests"] == 1 and said["command_exit"] == 0


def test_a_full_disk_fails_the_report(origin):
    done = run("--json=/dev/full", "--", "true")
    assert done.returncode == 1 and "/dev/full: No space left on device" in done.stderr


def test_bodies_that_are_never_closed_fail_it(origin, go_client, tmp_path):
    report = tmp_path / "report.json"
    done = run("--fail-on", "any", f"--json={report}", "--", go_client, origin.url("/"), "25", "hold", "100ms")
    assert (done.returncode, done.stdout, done.stderr) == (99, "", "")
    said = json.loads(report.read_text())
    schema.check(said, schema.load("connleak.run-1.json"))
    schema.check(said["metrics"], schema.load("connleak.metrics-1.json"))
    for finding in said["findings"]:
        schema.check(finding, schema.load("connleak.finding-1.json"))
    assert said["command"][0] == go_client and (said["command_exit"], said["command_signal"], said["exit_code"]) == (0, None, 99)
    assert "body_not_closed" in said["failed_on"] and said["saw_traffic"]
    assert "body_not_closed" in [f["kind"] for f in said["findings"]]
    assert said["pools"][0]["gets"] == 25 and said["metrics"]["downstream"]["requests"] == 25


def test_fail_on_goes_before_the_command_s_own_failure(origin, go_client):
    leaky = f"{go_client} {origin.url('/')} 10 close 20ms; exit 3"
    assert run("--fail-on", "any", "--", "sh", "-c", leaky).returncode == 99
    assert run("--", "sh", "-c", leaky).returncode == 3


def test_python_and_curl_are_seen(origin):
    script = "import os, urllib.request as u; [u.urlopen('%s').read() for _ in range(3)]" % origin.url("/")
    done = run("--", "sh", "-c", f"{PYTHON} -c \"{script}\"; curl -s -o /dev/null {origin.url('/')}")
    assert done.returncode == 0 and re.search(r"^  requests +4 +4$", done.stderr, re.M), done.stderr


def test_reverse_mode_is_the_way_round(serve, go_client):
    origin = serve(always(answer(b"x" * 70_000)))
    done = run("--set", "proxy.mode=reverse", "--set", f"proxy.upstream={origin.url('')}", "--fail-on", "early_body_close", "--", "sh", "-c",
               f'test -z "$http_proxy" && exec {go_client} http://$CONNLEAK_PROXY/x 10 close 20ms')
    assert done.returncode == 99, done.stderr
    assert origin.conns[0].requests[0].target == "/x"


def test_what_peers_chose_reaches_no_terminal_as_it_is(origin):
    done = run("--", "sh", "-c", f"for i in 1 2 3 4 5 6; do curl -s -m 2 -A \"$(printf 'evil\\302\\23331mred')\" -o /dev/null {origin.url('/')}; done")
    assert "evil?31mred" in done.stderr and "\u009b" not in done.stderr


def test_colours_are_for_terminals(origin, go_client):
    argv = [CONNLEAK, "run", "--", go_client, origin.url("/"), "10", "close", "20ms"]
    for no_color in (False, True):
        text, _ = on_a_terminal(argv, **{"NO_COLOR": "1"} if no_color else {})
        assert (b"\033[1;33mearly_body_close\033[0m" in text) is not no_color and b"early_body_close" in text


# -- signals, and what is left behind

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(number):
    name = signal.Signals(number).name.removeprefix("SIG")
    process = start("--", "sh", "-c", f'trap "echo got it; exit 5" {name}; echo ready; while :; do sleep 0.05; done')
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (5, "got it\n")


COUNTS_INTERRUPTS = """
import os, select, signal, sys
if sys.argv[1] == "apart":
    os.setpgid(0, 0)
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
seen = 0
while select.select([reader], [], [], 60 if sys.argv[1] == "same" and not seen else 1)[0]:
    seen += len(os.read(reader, 100))
print("got", seen, flush=True)
os._exit(4)
"""


@pytest.mark.parametrize("group, times", [("same", 1), ("apart", 0)])
def test_ctrl_c_is_the_terminal_s_to_send_and_the_report_comes(group, times):
    """A command in a process group of its own does not get it, as it would not without `run`."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(environment())
        os.execv(CONNLEAK, [CONNLEAK, "run", "--", PYTHON, "-c", COUNTS_INTERRUPTS, group])
    text = b""
    end = time.monotonic() + 120
    typed = False
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 1)
        try:
            text += os.read(fd, 4096) if ready else b""
        except OSError:
            break
        if b"ready" in text and not typed:
            os.write(fd, b"\x03")
            typed = True
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 4, text
    assert b"got %d\r\n" % times in text and b"no connection came" in text


def test_the_daemon_ends_with_the_command():
    process = start("--", "sleep", "60")
    command, daemon = running(process, "sleep"), running(process, "connleakd")
    assert os.getsid(daemon) == daemon     # a terminal's signals do not reach it
    os.kill(command, signal.SIGKILL)
    assert process.wait(120) == 137
    assert is_gone(daemon)
    process.communicate()


def test_nothing_is_left_of_a_run_that_is_killed():
    process = start("--", "sleep", "60")
    command, daemon = running(process, "sleep"), running(process, "connleakd")
    process.kill()
    process.wait()
    until(lambda: is_gone(daemon) and is_gone(command), "both to be gone")
    process.stdout.close(), process.stderr.close()


def test_a_daemon_that_dies_is_no_verdict():
    process = start("--fail-on", "any", "--", "sh", "-c", "echo ready; read end", stdin=subprocess.PIPE)
    daemon = running(process, "connleakd")
    assert process.stdout.readline() == "ready\n"
    os.kill(daemon, signal.SIGKILL)
    until(lambda: is_gone(daemon), "its end")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "the daemon cannot be asked" in err


def test_runs_do_not_meet():
    both = [start("--", "sh", "-c", "echo $CONNLEAK_PROXY; read end", stdin=subprocess.PIPE) for _ in range(2)]
    proxies = {process.stdout.readline() for process in both}
    for process in both:
        process.communicate("end\n", timeout=120)
    assert len(proxies) == 2 and all(process.returncode == 0 for process in both)


def test_the_daemon_is_found_in_path_where_it_is_not_beside(tmp_path):
    alone, other = tmp_path / "bin", tmp_path / "sbin"
    alone.mkdir(), other.mkdir()
    shutil.copy(CONNLEAK, alone)
    argv = [str(alone / "connleak"), "run", "--", "true"]
    missing = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=environment("/nonexistent"))
    assert missing.returncode == 1 and "neither beside connleak nor in PATH" in missing.stderr
    os.symlink(DAEMON, other / "connleakd")
    found = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=environment(f"{other}:{os.environ['PATH']}"))
    assert found.returncode == 0 and "no connection came" in found.stderr


def test_a_ledger_is_written_to_its_end(origin, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    done = run("--set", f"ledger.file={ledger}", "--", "curl", "-s", "-o", "/dev/null", origin.url("/"))
    assert done.returncode == 0
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert {r["side"] for r in records} == {"upstream", "downstream"}
