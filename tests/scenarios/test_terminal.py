"""What reaches a terminal, and what does not: control characters that peers and files chose, colours, messages of
programs that were started without the descriptors for them."""

import json
import os
import shutil
import subprocess

import pytest

from rig import pcaps
from rig.subject import DAEMON
from rig.terminal import on_a_terminal
from rig.wait import until
from test_captures import CONNLEAK, ROOT

LEAK = ROOT / "tests" / "captures" / "article-rst.pcap"
AGENT = b"Go-http-client/1.1"
HOSTILE = "Go-http\u009b31mlt/1.1".encode()  # U+009B begins what ESC [ begins
assert len(HOSTILE) == len(AGENT)


def connleak(*argv, code=0, **kwargs):
    done = subprocess.run([CONNLEAK, *map(str, argv)], capture_output=True, timeout=120, check=False, **kwargs)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def obeyed(text):
    """What a terminal would not show but do."""
    return [c for c in text.decode("utf-8", "surrogateescape") if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) >= 0xdc80)]


@pytest.fixture
def hostile(tmp_path):
    """A capture whose client calls itself something that colours terminals."""
    packets = pcaps.load(LEAK)
    for p in packets:
        p.data = p.data.replace(AGENT, HOSTILE)
    path = tmp_path / "hostile.pcap"
    path.write_bytes(pcaps.pcap(packets))
    return path


@pytest.mark.parametrize("form", ["--table", "--json", "--jsonl"])
def test_names_that_clients_chose_are_shown_and_not_obeyed(hostile, form):
    out = connleak("analyze", form, hostile).stdout
    assert b"31m" in out and not obeyed(out)


def test_names_in_workloads_are_shown_and_not_obeyed(tmp_path):
    path = tmp_path / "workload"
    connleak("analyze", "--export-workload", path, ROOT / "tests" / "captures" / "churn-go-cl3k-c8.pcap")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line.get("type") == "origin"]
    for line in lines:
        if line.get("type") == "origin":
            line["host"] = "\u001b[31m\u009b31m.invalid:80"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    out = connleak("whatif", path).stdout
    assert b"?[31m?31m.invalid:80" in out and not obeyed(out)


RECORD = b'{"schema":"connleak.conn/1","id":"%s","observer":"daemon","side":"upstream","state":"closed"}\n'


@pytest.mark.parametrize("lines", [RECORD % b"u-1" + b"\x1b[31m\n", RECORD % b"u-1" + b"\xc2\x9b31m\n", RECORD % b"u-1" + RECORD % b"\x7f\xc2\x9b",
                                   b'{"schema":"connleak.workload/1"}\n{"type":"\xc2\x9b\x7f"}\n', b'{"schema":"connleak.workload/1"}\n\x1b[31m\n'])
def test_faults_of_files_are_told_and_not_obeyed(lines, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(lines)
    for argv in (("whatif", path), ("crosscheck", "--pcap", LEAK, "--ledger", path)):
        done = subprocess.run([CONNLEAK, *map(str, argv)], capture_output=True, timeout=120, check=False)
        assert not obeyed(done.stderr), done
        if b"workload" not in lines or argv[0] == "whatif":
            assert done.returncode == 2 and b"line 2: " in done.stderr, done


def shown(argv, **env):
    text, code = on_a_terminal(argv, **env)
    assert code == 0, text
    return text


@pytest.mark.parametrize("argv", [("analyze", str(LEAK)), ("whatif", str(LEAK)), ("explain", "early_close")])
def test_colours_are_for_terminals_that_want_them(argv):
    argv = (str(CONNLEAK),) + argv
    assert b"\033[" in shown(argv)
    assert b"\033[" in shown(argv, NO_COLOR="")  # https://no-color.org: "when present and not an empty string"
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert b"\033[3" not in shown(argv, **env) and b"\033[1" not in shown(argv, **env)
    assert b"\033[" not in connleak(*argv[1:]).stdout


# -- closed descriptors

def fd_of(pid, fd):
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None


def closed(argv):
    """Started without stdin, stdout and stderr."""
    return subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *map(str, argv)])


def test_a_log_without_a_stderr_gets_into_no_socket(tmp_path):
    proxy, admin = tmp_path / "proxy", tmp_path / "admin"
    daemon = closed([DAEMON, "--set", f"proxy.listen=unix:{proxy}", "--set", f"admin.listen=unix:{admin}", "--set", "log.level=debug",
                     "--set", "proxy.drain_quiet=0"])
    try:
        until(lambda: proxy.exists() and admin.exists(), "both sockets")
        assert [fd_of(daemon.pid, fd) for fd in range(3)] == ["/dev/null"] * 3
        daemon.terminate()
        assert daemon.wait(120) == 0
    finally:
        daemon.kill()
        daemon.wait()


@pytest.mark.skipif(not shutil.which("sh"), reason="no sh")
def test_messages_without_a_stderr_get_into_no_file(tmp_path):
    """Its stdout is closed as well: that it could not write is the exit code."""
    workload = tmp_path / "workload"
    run = closed([CONNLEAK, "analyze", "--jsonl", "--export-workload", workload, LEAK])
    assert run.wait(120) == 1
    lines = workload.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines][0]["schema"] == "connleak.workload/1"
