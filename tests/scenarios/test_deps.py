"""tests/tools/deps with stand-ins for dpkg-query, apt-get, sudo and id: it asks for what is
missing, for nothing else, and for nothing at all when nothing is."""

import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTALLED = "installed gcc \ninstalled pkgconf pkg-config (= 1.8.1), other\nconfig-files oldpackage \n"


@pytest.fixture
def deps(tmp_path):
    """deps(*arguments, ...): (exit code, what was said, the calls that were made)."""
    tools = tmp_path / "bin"
    tools.mkdir()
    calls = tmp_path / "calls"
    for real in ("sh", "sed", "tr", "sort", "grep", "cat", "chmod", "rm", "tee", "env"):
        os.symlink(next(p for p in (f"/bin/{real}", f"/usr/bin/{real}") if os.path.exists(p)), tools / real)

    def tool(name, body):
        (tools / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {calls}\n{body}\n')
        (tools / name).chmod(0o755)

    def run(*arguments, dpkg=True, uid=0, sudo=True, apt="exit 0", modules=()):
        if dpkg:
            tool("dpkg-query", f"cat <<'EOF'\n{INSTALLED}EOF")
        tool("pkg-config", "case ' " + " ".join(modules) + ' \' in *" $2 "*) exit 0;; *) exit 1;; esac')
        tool("id", f"echo {uid}")
        tool("apt-get", apt)
        if sudo:
            tool("sudo", 'exec "$@"')
        env = {"PATH": str(tools), "POLICY_RC": str(tmp_path / "policy-rc.d")}
        done = subprocess.run([os.path.join(ROOT, "tests/tools/deps"), *arguments], env=env, capture_output=True, text=True, timeout=120)
        made = calls.read_text().splitlines() if calls.exists() else []
        assert not (tmp_path / "policy-rc.d").exists(), "what keeps services from starting is taken away again"
        return done.returncode, done.stdout + done.stderr, [c for c in made if not c.startswith(("dpkg-query", "pkg-config", "id"))]

    return run


def test_nothing_is_missing(deps):
    assert deps("gcc", "pkg-config", "--", "openssl", uid=1000, sudo=False) == (0, "", [])


def test_only_what_is_missing_is_installed(deps):
    code, said, calls = deps("gcc", "libevent-dev", "pkg-config", "oldpackage")
    assert code == 0
    assert calls == ["apt-get install -y -qq --no-install-recommends libevent-dev oldpackage"]
    assert "deps: missing: libevent-dev oldpackage" in said
    assert "apt-get install --no-install-recommends libevent-dev oldpackage" in said


def test_by_sudo_for_others_than_root(deps):
    _, said, calls = deps("libevent-dev", uid=1000)
    assert any(c.startswith("sudo env DEBIAN_FRONTEND=noninteractive apt-get install") for c in calls)
    assert "deps: sudo apt-get install" in said


def test_neither_root_nor_sudo(deps):
    code, said, calls = deps("libevent-dev", uid=1000, sudo=False)
    assert (code, calls) == (2, [])
    assert "run as root: apt-get install --no-install-recommends libevent-dev" in said


def test_old_lists_are_fetched_anew_once(deps, tmp_path):
    fails_once = f'case "$1" in update) : > {tmp_path}/updated;; esac; [ -e {tmp_path}/updated ]'
    code, _, calls = deps("libevent-dev", apt=fails_once)
    assert code == 0
    assert [c.split()[1] for c in calls] == ["install", "update", "install"]


def test_what_cannot_be_installed_is_a_failure(deps):
    code, _, calls = deps("libevent-dev", apt='[ "$1" = update ]')
    assert code != 0
    assert [c.split()[1] for c in calls] == ["install", "update", "install"]


def test_other_distributions_are_told_what_is_needed(deps):
    code, said, calls = deps("gcc", "--", "openssl", "jansson", dpkg=False, modules=["openssl"])
    assert (code, calls) == (2, [])
    assert "does not find: jansson" in said and "llhttp" in said
    assert deps("gcc", "--", "openssl", dpkg=False, modules=["openssl"])[0] == 0
