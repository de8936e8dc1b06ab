"""`make install`: what lands where, that nothing edited is overwritten, and how the programs are built."""

import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ["connleakd", "connleak"]
UNITS = ["connleakd.service", "connleakd.socket", "connleakd-admin.socket"]


def make(*arguments):
    """make as a user calls it: without the variables of the make that runs the tests."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CI", "SAN", "DESTDIR", "PREFIX")}
    done = subprocess.run(["make", "-C", ROOT, *arguments], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(path, name), folder)
                  for path, _, names in os.walk(folder) for name in names)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("install")
    make("install", f"DESTDIR={folder}", "PREFIX=/usr")
    return str(folder)


def test_what_is_installed_where(installed):
    expected = [f"usr/bin/{p}" for p in PROGRAMS]
    expected += [f"usr/lib/systemd/system/{u}" for u in UNITS]
    expected += ["usr/share/man/man1/connleak.1", "usr/share/man/man5/connleakd.conf.5", "usr/share/man/man7/connleak.7",
                 "usr/share/man/man8/connleakd.8", "etc/connleak/connleakd.conf"]
    expected += [f"usr/share/connleak/schema/{s}" for s in os.listdir(os.path.join(ROOT, "daemon/record/schema"))]
    found = files_below(installed)
    assert sorted(expected) == found
    for name in found:
        mode = os.stat(os.path.join(installed, name)).st_mode & 0o7777
        assert mode == (0o755 if "/bin/" in name else 0o644), name


def test_the_default_prefix_keeps_to_usr_local(tmp_path):
    make("install", f"DESTDIR={tmp_path}")
    assert all(f.startswith("usr/local/") for f in files_below(tmp_path))
    service = (tmp_path / "usr/local/lib/systemd/system/connleakd.service").read_text()
    assert "ExecStart=/usr/local/bin/connleakd -c /usr/local/etc/connleak/connleakd.conf\n" in service
    make("uninstall", f"DESTDIR={tmp_path}")
    assert files_below(tmp_path) == ["usr/local/etc/connleak/connleakd.conf"]


def test_an_edited_configuration_is_kept(tmp_path):
    make("install", f"DESTDIR={tmp_path}")
    conf = tmp_path / "usr/local/etc/connleak/connleakd.conf"
    conf.write_text("[log]\nlevel = debug\n")
    said = make("install", f"DESTDIR={tmp_path}")
    assert conf.read_text() == "[log]\nlevel = debug\n"
    assert "is kept" in said
    with open(os.path.join(ROOT, "conf/connleakd.conf"), encoding="utf-8") as ours:
        assert (tmp_path / "usr/local/etc/connleak/connleakd.conf.new").read_text() == ours.read()


def test_what_is_installed_runs(installed):
    daemon = os.path.join(installed, "usr/bin/connleakd")
    conf = os.path.join(installed, "etc/connleak/connleakd.conf")
    checked = subprocess.run([daemon, "-c", conf, "--check-config"], capture_output=True, text=True, timeout=120)
    assert (checked.returncode, checked.stderr) == (0, "")
    version = subprocess.run([daemon, "--version"], capture_output=True, text=True, timeout=120).stdout
    assert re.fullmatch(r"connleakd \d+\.\d+\.\d+\n", version)


def readelf(option, program):
    return subprocess.run(["readelf", "-W", option, program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_are_hardened(installed, name):
    program = os.path.join(installed, "usr/bin", name)
    assert re.search(r"Type:\s+DYN", readelf("-h", program)), "position independent"
    segments = readelf("-l", program)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK\s.*\sRW\s", segments), "the stack is not executable"
    assert not re.search(r"LOAD\s.*\sRWE\s", segments)
    dynamic = readelf("-d", program)
    assert "BIND_NOW" in dynamic and re.search(r"FLAGS_1\).*NOW.*PIE", dynamic)
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    symbols = readelf("--dyn-syms", program)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__(mem|str|v?snprintf|v?fprintf)\w*_chk", symbols), "_FORTIFY_SOURCE"
