"""The manual pages and the sample configuration say what the programs do, no less and no more."""

import glob
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from rig.origin import always, answer
from rig.subject import DAEMON, free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONNLEAK = os.path.join(os.path.dirname(DAEMON), "connleak")
PAGES = sorted(os.path.relpath(p, ROOT) for d in ("daemon", "probes", "conf") for p in glob.glob(f"{ROOT}/{d}/*.[1-9]"))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def run(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (argv, done.returncode, done.stdout, done.stderr)
    return done.stdout


# -- form

@pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc here")
@pytest.mark.parametrize("page", PAGES)
def test_mandoc_has_nothing_to_say(page):
    said = subprocess.run(["mandoc", "-Tlint", os.path.join(ROOT, page)], capture_output=True, text=True, timeout=120)
    lines = [line for line in (said.stdout + said.stderr).splitlines()
             if "referenced manual not found" not in line and "mandoc.db" not in line]
    assert not lines, "\n".join(lines)


# -- options

def documented_options(page, start=None):
    """Options that have an item of their own, in the whole page or in the subsection `start`."""
    text = read(page)
    if start:
        text = text[text.index(start) + len(start):]
        text = re.split(r"^\.(?:Ss|Sh) ", text, maxsplit=1, flags=re.M)[0]
    found = set()
    for item in re.findall(r"^\.It (Fl .*)$", text, re.M):
        for name in re.findall(r"Fl (-?[a-z][a-z-]*)", item):
            found.add("-" + name)
    return found


def offered_options(*argv):
    """What --help lists: options at the beginning of a line, an alias beside them too."""
    found = set()
    for line in run(*argv, "--help").splitlines():
        if re.match(r" +-", line):
            found |= set(re.findall(r"(?:^ +|, )(--?[a-z][a-z-]*)", line))
    return found - {"-h", "--help"}


def test_connleakd_8_has_every_option_of_the_daemon():
    assert documented_options("daemon/connleakd.8") - {"-h", "--help"} == offered_options(DAEMON)


def commands():
    """The commands that this version has, from connleak --help."""
    return re.findall(r"^  ([a-z]+) +\S", run(CONNLEAK, "--help"), re.M)


def test_help_fits_a_screen():
    for argv in ([DAEMON], [CONNLEAK], *([CONNLEAK, command] for command in commands())):
        lines = run(*argv, "--help").splitlines()
        assert len(lines) < 25 and max(map(len, lines)) <= 80, argv


def test_connleak_1_has_every_command_with_every_option():
    assert set(re.findall(r"^\.Ss connleak (\w+)$", read("probes/connleak.1"), re.M)) == set(commands())
    for command in commands():
        documented = documented_options("probes/connleak.1", f".Ss connleak {command}\n") - {"-h", "--help"}
        short_forms = {o for o in documented if not o.startswith("--")}
        assert documented - short_forms == {o for o in offered_options(CONNLEAK, command) if o.startswith("--")}, command
        for option in documented:
            # An option that is not one is refused in words that name it.
            soon_over = ["--duration", "1ms"] if command == "resets" else []
            said = subprocess.run([CONNLEAK, command, *soon_over, option], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
            assert "unknown option" not in said.stderr and "unrecognized option" not in said.stderr, (command, option)


def test_an_option_that_is_none_is_refused_in_one_line():
    for argv in ([DAEMON], *([CONNLEAK, command] for command in commands())):
        for option in ("--no-such-option", "--no-such=3"):
            done = subprocess.run([*argv, option], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and option in done.stderr, (argv, done)


def test_what_is_not_in_this_version_is_refused():
    for command in ("replay", "whatif", "sockets", "resets", "run", "top", "explain"):
        if command in commands():
            continue
        said = subprocess.run([CONNLEAK, command], capture_output=True, text=True, timeout=120)
        assert said.returncode == 2 and command in said.stderr and said.stdout == ""
    said = subprocess.run([DAEMON, "--make-ca", "x"], capture_output=True, text=True, timeout=120)
    assert said.returncode == 2 and "not in this version" in said.stderr


# -- the admin endpoint

def test_connleakd_8_has_every_path_of_the_admin_endpoint(daemon):
    documented = set(re.findall(r"^\.It Li ((?:GET|POST) /\S+)$", read("daemon/connleakd.8"), re.M))
    subject = daemon()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(f"http://127.0.0.1:{subject.admin[1]}/nosuch", timeout=120)
    problem = json.loads(refused.value.read())
    assert refused.value.code == 404
    assert {re.sub("/connections/.*", "/connections/ID", path) for path in problem["available"]} == documented


# -- parameters

def tables_text(what):
    return run(os.path.join(os.path.dirname(DAEMON), "tests/tools/tables_text"), what)


def test_the_sample_is_made_from_the_table():
    assert read("conf/connleakd.conf") == tables_text("sample"), "run `make tables`"


@pytest.mark.parametrize("words, page", [("params", "conf/connleakd.conf.5"), ("words", "daemon/connleak.7")])
def test_the_lists_in_the_manual_are_made_from_the_tables(words, page):
    between = re.search(rf'^\.\\" {words} begin\n(.*)^\.\\" {words} end$', read(page), re.M | re.S)
    assert between[1] == tables_text(words), "run `make tables`"


def test_connleak_7_has_every_word_of_the_record_s_schema():
    schema = json.loads(read("daemon/record/schema/connleak.conn-1.json"))["properties"]
    close = schema["close"]["properties"]
    words = {w for part in (schema["state"], close["reason"], close["phase"]) for w in part["enum"] if w}
    documented = set(re.findall(r"^\.It Li (\w+)$", read("daemon/connleak.7"), re.M))
    assert words and words <= documented


def table():
    """Every row of params.h: section.key -> default, in order."""
    rows = re.findall(r'^X\((\w+), (\w+), \w+, "([^"]*)"', read("daemon/core/tbl/params.h"), re.M)
    assert len(rows) > 40
    return {f"{section}.{key}": default for section, key, default in rows}


def test_the_sample_has_every_parameter_with_its_default_in_order():
    section, found = None, {}
    for line in read("conf/connleakd.conf").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, value = line.split(" = ", 1)
            found[f"{section}.{key}"] = value
    assert list(found.items()) == list(table().items())


def test_the_daemon_lists_every_parameter_with_its_default():
    out = run(DAEMON, "--parameters")
    assert dict(re.findall(r"^([a-z_]+\.[a-z_0-9]+)=(\S*)$", out, re.M)) == table()
    assert max(map(len, out.splitlines())) <= 80


def test_get_config_has_every_parameter_but_secrets(daemon):
    config = daemon().get("/config")
    secret = {f"{s}.{k}" for s, k in re.findall(r"^X\((\w+), (\w+), [^\n]*SECRET", read("daemon/core/tbl/params.h"), re.M)}
    shown = [f"{section}.{key}" for section, values in config.items() if isinstance(values, dict) for key in values]
    assert shown == [name for name in table() if name not in secret]
    assert secret


def test_parameters_that_pages_speak_of_are_parameters():
    for page in PAGES:
        for name in re.findall(r"^\.Ic ([a-z]+\.[a-z_0-9]+)", read(page), re.M):
            assert name in table(), (page, name)


# -- examples

def displays(page):
    return re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", read(page), re.M | re.S)


def test_the_configurations_in_the_manual_are_lawful(tmp_path):
    examples = [text for text in displays("conf/connleakd.conf.5") if text.startswith("[")]
    assert len(examples) >= 2
    for example in examples:
        path = tmp_path / "my.conf"
        path.write_text(example)
        run(DAEMON, "-c", str(path), "--check-config")


def test_the_sample_is_the_default(tmp_path, daemon):
    config = daemon().get("/config")
    subject = daemon(argv=("-c", os.path.join(ROOT, "conf/connleakd.conf")))
    from_file = subject.get("/config")
    for both in (config, from_file):
        both["proxy"].pop("listen"), both["admin"].pop("listen")
    assert from_file == config


def test_the_command_lines_of_the_daemon_s_page_are_understood():
    lines = "\n".join(displays("daemon/connleakd.8")).replace("\\e\n", "").splitlines()
    starts = [line for line in lines if line.startswith("$ connleakd")]
    assert len(starts) >= 3
    for line in starts:
        run(DAEMON, *line.replace("&", "").split()[2:], "--check-config")


def test_the_first_example_works_as_typed(tmp_path, serve):
    """The three lines of connleakd(8), with free ports instead of 3128 and 9128, and a host that is here."""
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    origin = serve(always(answer(b"hello")))
    typed = displays("daemon/connleakd.8")[0]
    assert typed.splitlines()[0] == "$ connleakd &"
    proxy, admin = free_port(), free_port()
    lines = [line.removeprefix("$ ") for line in typed.splitlines()]
    lines[0] = f"{DAEMON} --set proxy.listen=127.0.0.1:{proxy} --set admin.listen=127.0.0.1:{admin} --set proxy.drain_quiet=0 &"
    script = "\n".join([lines[0], "daemon=$!", "trap 'kill $daemon; wait $daemon' EXIT",
                        f"until curl -sf --noproxy '*' http://127.0.0.1:{admin}/readyz >/dev/null; do sleep 0.01; done", *lines[1:]])
    script = script.replace(":3128", f":{proxy}").replace(":9128", f":{admin}").replace("http://example.com/", origin.url("/").replace("127.0.0.1", "localhost"))
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120, env=env, cwd=tmp_path)
    assert done.stdout.startswith("HTTP/1.1 200 OK"), done.stdout + done.stderr
    metrics = json.loads(done.stdout[done.stdout.index("{"):])
    assert metrics["schema"] == "connleak.metrics/1" and metrics["upstream"]["requests"] == 1
