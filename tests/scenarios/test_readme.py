"""The README is true: what it names exists, what it says is refused is refused, and its tour can be walked as typed."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from rig.subject import DAEMON, free_port
from rig.wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONNLEAK = os.path.join(ROOT, "build", "connleak")
MANUALS = [os.path.relpath(p, ROOT) for d in ("daemon", "probes", "conf") for p in glob.glob(f"{ROOT}/{d}/*.[1-9]")]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


README = read("README.md")


def blocks(kind):
    """Fenced blocks whose info string begins with `kind`: (info, text)."""
    return [(info, text) for info, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", README, re.M | re.S) if info.split(" ")[0] == kind]


PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
CODE = re.findall(r"`([^`\n]+)`", PROSE) + [line for _, text in blocks("") + blocks("sh") for line in text.splitlines()]


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]


def ask(subject, path, **kwargs):
    """(status, body) of the admin endpoint."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://127.0.0.1:{subject.admin[1]}{path}", **kwargs)
    try:
        with opener.open(request, timeout=120) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


# -- names

def headings():
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", README, re.M)}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 3
    for link in links:
        if link.startswith("#"):
            assert link[1:] in headings(), link
        else:
            assert "://" in link or os.path.exists(os.path.join(ROOT, link)), link


def test_paths_that_are_named_exist():
    for name in re.findall(r"\b(?:daemon|probes|conf|systemd|tests)/[\w./-]*[\w/]", " ".join(CODE)):
        assert os.path.exists(os.path.join(ROOT, name)), name


def targets():
    """Targets of the Makefile that do something."""
    return set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))


def test_make_targets_and_variables_exist():
    named = {name for code in CODE for name in re.findall(r"\bmake ([a-z]+)\b", code)}
    assert {"run", "demo", "test", "install"} <= named
    assert named <= targets()
    lines = [code for code in CODE if "make " in code]
    variables = {name for line in lines for name in re.findall(r"\b([A-Z]+(?:_[A-Z]+)*)=", line)}
    variables |= {code for code in CODE if re.fullmatch("[A-Z_]{5,}", code)} - {"CONNECT", "HTTP_PROXY"}
    assert {"ARGS", "PREFIX", "DESTDIR", "FUZZ_TIME"} <= variables
    for name in variables:
        assert re.search(rf"\b{name}\b", read("Makefile")), name


def test_make_help_and_the_readme_name_the_same_targets():
    said = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, timeout=120, check=True).stdout
    helped = set(re.findall(r"\bmake ([a-z]+)", said))
    assert helped <= targets()
    assert helped - {"deps", "run", "clean"} <= {name for code in CODE for name in re.findall(r"\bmake ([a-z]+)\b", code)}


def parameters():
    return {f"{s}.{k}" for s, k in re.findall(r"^X\((\w+), (\w+),", read("daemon/core/tbl/params.h"), re.M)}


def test_parameters_that_are_named_exist():
    sections = {name.split(".")[0] for name in parameters()}
    named = {m for code in CODE for m in re.findall(r"\b(?:%s)\.(?:[a-z_0-9]+|\*)" % "|".join(sections), code)}
    metrics_and_files = {"pool.idle", "access.c"}
    assert len(named) > 15
    for name in named - metrics_and_files:
        if name.endswith(".*"):
            assert any(p.startswith(name[:-1]) for p in parameters()), name
        else:
            assert name in parameters(), name


def test_options_that_are_named_exist():
    offered = " ".join(subprocess.run([*argv, "--help"], capture_output=True, text=True, timeout=120, check=True).stdout
                       for argv in ([DAEMON], [CONNLEAK], [CONNLEAK, "analyze"], [CONNLEAK, "crosscheck"]))
    refused = {"--make-ca"}  # by a message of its own, below
    lines = [c for c in CODE if "curl" not in c and "python3" not in c and "systemctl" not in c]
    named = {m for line in lines for m in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert {"--set", "--pcap", "--admin", "--check-config"} <= named
    assert {o for o in named - refused if not re.search(re.escape(o) + r"\b", offered)} == set()


def test_every_reason_is_in_the_table():
    reasons = set(re.findall(r'^X\(\w+, "(\w+)"', read("daemon/core/tbl/close_reasons.h"), re.M)) - {"none"}
    text = section("Why a connection ended")
    rows = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", text, re.M))))
    below = set(re.findall(r"`(\w+)`", text.split("On the side of the clients:")[1].split(". There")[0]))
    assert rows | below == reasons and not rows & below


def test_the_map_names_every_room():
    listed = re.search(r"```\n(daemon/\n.*?)```", section("The map"), re.S)[1]
    rooms, top = set(), ""
    for line in listed.splitlines():
        if not line.startswith(" "):
            top = line.split()[0]
            rooms |= {w for w in line.split() if w.endswith("/")}
        else:
            rooms |= {top + w for w in line[:20].split() if w.endswith("/") and not line.startswith("    ")}
    there = {f"{d}/" for d in ("daemon", "probes", "conf", "systemd", "tests")}
    for d in ("daemon", "probes", "tests"):
        there |= {f"{d}/{name}/" for name in os.listdir(os.path.join(ROOT, d))
                  if os.path.isdir(os.path.join(ROOT, d, name)) and not name.startswith((".", "__"))}
    assert rooms == there


# -- what it says

def test_the_command_lines_are_understood(tmp_path):
    """Those of the daemon, as --check-config sees them; my.conf is the sample."""
    shutil.copy(os.path.join(ROOT, "conf/connleakd.conf"), tmp_path / "my.conf")
    lines = [line for _, text in blocks("") for line in text.splitlines() if line.startswith("build/connleakd ")]
    lines += ["x " + args for code in CODE for args in re.findall(r'ARGS="([^"]*)"', code)]
    assert len(lines) >= 3
    for line in lines:
        argv = [DAEMON, *line.split()[1:], "--check-config"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), line


REFUSED = section("What this version refuses")


@pytest.mark.parametrize("setting", ["pool.force_attempt_http2=true", "tls.intercept=on", "tls.ca_cert=x", "tls.ca_key=x", "proxy.mode=transparent",
                                     "proxy.pairing=mirror", "pool.proxy=http://127.0.0.1:1", "pool.no_proxy=x",
                                     "probe.kernel=on"])
def test_settings_that_are_refused(setting):
    name = setting.split("=")[0]
    assert setting in REFUSED or name in REFUSED or name.split(".")[0] + ".*" in REFUSED
    done = subprocess.run([DAEMON, "--set", setting, "--check-config"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "not in this version" in done.stderr, done.stderr


def test_commands_that_are_refused():
    commands = re.findall(r"`(?:connleak )?([a-z]+)`", re.search(r"- `connleak [a-z]+`.*", REFUSED)[0])
    assert set(commands) == set(re.findall(r'^    \{"([a-z]+)", "", NULL\}', read("probes/main.c"), re.M))
    for command in commands:
        done = subprocess.run([CONNLEAK, command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and f"{command} is not part of" in done.stderr and done.stdout == "", done.stderr
    done = subprocess.run([DAEMON, "--make-ca", "x"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "not in this version" in done.stderr


def test_paths_that_are_refused(daemon):
    subject = daemon()
    for path in re.findall(r"`GET (/\w*)`", REFUSED):
        status, body = ask(subject, path)
        assert status == 404 and "not in this version" in body, path


def test_queries_and_numbers_that_are_named_exist(daemon):
    subject = daemon()
    queries = {q for code in CODE for q in re.findall(r"(/connections\?[\w=&]+)", code)}
    assert len(queries) >= 3
    for query in queries | {"/metrics", "/pools", "/ledger", "/config", "/healthz", "/readyz"}:
        assert ask(subject, query)[0] == 200, query
    metrics = subject.get("/metrics")
    names = {n for code in CODE for n in re.findall(r"\b(?:upstream|downstream|kernel|tunnels)\.[a-z_]+", code)} - {"upstream.pcap"}
    assert len(names) > 8
    for name in names:
        side, number = name.split(".")
        assert number in metrics[side], name


def test_a_proxy_in_the_daemons_environment_is_warned_of(daemon, monkeypatch):
    from rig.subject import Connleakd
    monkeypatch.setattr(Connleakd, "env", dict(Connleakd.env, HTTP_PROXY="http://127.0.0.1:1"))
    subject = daemon()
    until(lambda: "is ready" in subject.log(), subject.log)
    assert re.search(r"warn .*HTTP_PROXY is set.*not in this version", subject.log())


# -- what the daemon's manual has from tables

def test_connleakd_8_has_every_status_of_the_proxy_s_own():
    sent = set(re.findall(r"\[REPLY_\w+\] = \{(\d+)", read("daemon/io/reply.c")))
    page = read("daemon/connleakd.8")
    assert set(re.findall(r"\b([45]\d\d) [a-zA-Z]", page[page.index("Answers of the proxy's own"):page.index(".Sh ADMIN ENDPOINT")])) == sent


# -- the tour

def capture_refused():
    """None, or why nothing can be captured on the loopback interface."""
    if not shutil.which("tcpdump"):
        return "no tcpdump here"
    tried = subprocess.run(["timeout", "0.2", "tcpdump", "-i", "lo", "-w", "/dev/null", "tcp port 1"], capture_output=True, text=True, timeout=120)
    return None if tried.returncode == 124 or "listening on" in tried.stderr else "capturing is not allowed here: " + tried.stderr.strip().split("\n")[-1]


def value_at(metrics, dotted):
    for key in dotted.split("."):
        metrics = metrics[key]
    return metrics


def test_the_tour(tmp_path, daemon):
    """Every `sh` block in order, in one shell: word for word but for the ports."""
    for needed in ("curl", "python3", "bash"):
        if not shutil.which(needed):
            pytest.skip(f"no {needed} here")
    if sys.version_info < (3, 11):
        pytest.skip("http.server has no --protocol before Python 3.11")
    refused = capture_refused()
    subject = daemon()
    ports = {"3128": subject.address[1], "9128": subject.admin[1], "8000": free_port()}
    os.mkdir(tmp_path / "build")
    os.symlink(CONNLEAK, tmp_path / "build" / "connleak")

    script, titles = "trap 'kill %1' EXIT\n", []
    for info, text in blocks("sh"):
        if "root" in info and refused:
            continue
        titles.append(text)
        script += text + 'echo "=== $?"\n'
    for old, new in ports.items():
        script = re.sub(rf"\b{old}\b", str(new), script)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=subject.env)
    parts = re.split(r"^=== (\d+)\n", done.stdout, flags=re.M)
    said = dict(zip(titles, zip(parts[0::2], map(int, parts[1::2]))))
    assert len(said) == len(titles), done.stdout + done.stderr

    def of(word, n=0):
        found = [said[t] for t in titles if word in t]
        return found[n]

    traffic, code = of("/small; done")
    assert (traffic, code) == ("hello\n" * 10, 0)

    before = json.loads(of("metrics")[0])
    rows = re.findall(r"^\| (`.*?) \| .* \|$", section("Five minutes"), re.M)
    claims = [claim for row in rows for claim in re.findall(r"`([\w.]+)` (?:`(\{\})`|([\d.]+))", row)]
    assert len(claims) >= 8
    for name, empty, number in claims:
        name = name if "." in name else "upstream." + name
        assert value_at(before, name) == ({} if empty else float(number)), name

    after = json.loads(of("--limit-rate")[0])
    up, down = after["upstream"], after["downstream"]
    assert up["early_body_closes"] == up["rst_sent_unread"] == up["closes"]["early_close"] == 3
    assert down["early_body_closes"] == 3 and up["unread_bytes"] > 0 and up["dials"] == 3

    findings, _ = of("/findings")
    shown = next(text for _, text in blocks("") if '"kind": "early_body_close"' in text).splitlines()
    for line in shown:  # as far as its numbers
        assert re.split(r"[\d.]", line.strip(' "'))[0] in findings, (line, findings)

    row, = json.loads(of("/connections?")[0])["connections"]
    assert row["close"]["by"] == "local" and row["close"]["reason"] == "early_close" and row["close"]["go_error"]
    assert row["last_body"]["announced"] == 100_000_000 > row["last_body"]["read"]
    assert "events" in subject.get(f"/connections/{row['id']}")

    if refused:
        pytest.skip(refused)
    checked, code = of("crosscheck")
    assert code == 0, checked
    shown = next(text for _, text in blocks("") if "clock" not in text and re.search(r"^resets ", text))
    for word in re.findall(r"^(\w+) {2,}", shown, re.M):
        assert re.search(rf"^{word} ", checked, re.M), checked
    assert re.search(r"^3 connections: .*\b0 disagree, .*0 packets lost in capture$", checked, re.M), checked
    table, code = of("analyze")
    assert code == 0
    heading = next(text for _, text in blocks("") if text.startswith("id  ")).splitlines()[0]
    assert heading.split() in [line.split() for line in table.splitlines()]
    finding = next(text for _, text in blocks("") if text.startswith("early_body_close")).splitlines()
    assert table.splitlines()[0].split()[:5] == finding[0].split()[:5]
    assert table.splitlines()[1].split()[1:9] == finding[1].split()[1:9]
    if "3 agree" in checked:  # on a machine so busy that tcpdump begins late, it sees less
        assert len(re.findall(r"^c-\d+ .*client RST", table, re.M)) == 3, table


def test_the_story_is_what_make_demo_prints():
    """Its lines, with other numbers. Where nothing may be captured, without the crosscheck's."""
    if not shutil.which("nginx"):
        pytest.skip("no nginx here")
    story = next(text for _, text in blocks("") if "A good client" in text)
    done = subprocess.run([os.path.join(ROOT, "tests/tools/demo"), os.path.join(ROOT, "build")], capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, NO_COLOR="1"))
    assert done.returncode == 0, done.stdout + done.stderr

    def shape(line):
        """Without what differs between runs: numbers, and parts that are there only when they are not zero."""
        line = re.sub(r", \d+ explained|; [\d,]+ more lay unread in the kernel", "", line)
        line = re.sub(r"end: .*", "end:", line)
        return re.sub(r"\d[\d,.]*", "N", line).split()

    printed = [shape(line) for line in done.stdout.splitlines()]
    captured = "skipped:" not in done.stdout
    for line in filter(None, story.splitlines()):
        if not captured and "agree" in line:
            continue
        words = shape(line)
        assert any(p[:len(words)] == words for p in printed), (line, done.stdout)
