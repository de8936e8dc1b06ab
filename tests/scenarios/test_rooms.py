"""The rooms: the pure ones call nothing that does I/O or reads a clock, and no room includes from
one above or beside it."""

import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# All that daemon/core and probes/wire may ask of libc: memory, strings, and how to die.
PURE = set("""
    malloc calloc realloc reallocarray aligned_alloc free abort
    memcpy memmove memset memcmp memchr memrchr memmem mempcpy
    strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strchrnul strstr strspn strcspn strpbrk strcpy strdup strndup
    bsearch qsort
    __assert_fail __stack_chk_fail __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc _GLOBAL_OFFSET_TABLE_
    strtol strtoll strtoul strtoull __isoc99_strtoull
    floor ceil sqrt log exp pow ldexp frexp lround llround
""".split())


# llhttp comes as C sources; its debug function prints, and nothing here calls it.
FOREIGN = {"llhttp.o", "http.o", "api.o"}


def symbols(archive, option):
    """{member: symbols}"""
    listed = subprocess.run(["nm", option, os.path.join(ROOT, "build", archive)], capture_output=True, text=True, check=True).stdout
    members, member = {}, None
    for words in (line.split() for line in listed.splitlines()):
        if len(words) == 1 and words[0].endswith(":"):
            member = members.setdefault(words[0][:-1], set())
        elif words:
            member.add(words[-1])
    return members


def undefined(*archives):
    """What our objects in these archives need and none of them has."""
    need, have = set(), set()
    for archive in archives:
        for member, names in symbols(archive, "-u").items():
            need |= names if member not in FOREIGN else set()
        for names in symbols(archive, "--defined-only").values():
            have |= names
    return {re.sub(r"^__(\w+)_chk$", r"\1", name) for name in need - have}


@pytest.mark.parametrize("archives", [["libcore.a"], ["libwire.a", "libcore.a"], ["libwhatif.a", "libcore.a"]], ids=lambda a: a[0])
def test_pure_rooms_do_no_io_and_read_no_clock(archives):
    assert undefined(*archives) - PURE == set()


def test_what_is_to_be_replayed_and_when_is_pure_too():
    """The files of replay that its tests and its fuzz target link."""
    files = [os.path.join(ROOT, "build", "probes", name + ".o")
             for name in ("replay/plan", "replay/schedule", "replay/witness", "replay/from_workload", "capture/facts")]

    def listed(option):
        out = subprocess.run(["nm", option, *files], capture_output=True, text=True, check=True).stdout
        return {re.sub(r"^__(\w+)_chk$", r"\1", line.split()[-1]) for line in out.splitlines() if line and not line.endswith(":")}
    rooms = {name for archive in ("libwire.a", "libcore.a", "librecord.a") for names in symbols(archive, "--defined-only").values() for name in names}
    assert listed("-u") - listed("--defined-only") - rooms - PURE == set()


# What each room may include from, itself apart; and system headers that belong to one room alone.
CORE = {"daemon/core", "daemon/core/tbl"}
BELOW = {
    "daemon/core": CORE,
    "daemon/core/tbl": set(),
    "daemon/whatif": CORE,
    "daemon/log": CORE,
    "daemon/record": CORE | {"daemon/whatif"},
    "daemon/io": CORE | {"daemon/log", "daemon/record", "daemon"},
    "daemon/admin": CORE | {"daemon/whatif", "daemon/log", "daemon/record", "daemon/io", "daemon"},
    "daemon": CORE | {"daemon/log", "daemon/record", "daemon/io", "daemon/admin", "probes/sockdiag"},
    "probes/wire": CORE | {"probes/wire/tbl"},
    "probes/wire/tbl": set(),
    "probes/capture": CORE | {"probes/wire", "daemon/record"},
    "probes/crosscheck": CORE | {"probes/wire", "probes/capture", "daemon/record"},
    "probes/whatif": CORE | {"daemon/whatif", "daemon/record", "probes/wire", "probes/capture"},
    "probes/explain": CORE | {"probes/wire/tbl", "probes/sockdiag/tbl", "probes/replay/tbl"},
    "probes/sockdiag": CORE | {"probes/sockdiag/tbl", "daemon/record"},
    "probes/sockdiag/tbl": set(),
    "probes/replay/tbl": set(),
    "probes/replay": CORE | {"probes/replay/tbl", "probes/whatif", "probes/wire", "probes/capture", "probes/crosscheck", "daemon/record"},
    "probes/run": CORE | {"probes/crosscheck", "daemon/record"},
    "probes/trace": CORE | {"daemon/record"},
    "probes": CORE | {"probes/wire", "probes/capture", "probes/crosscheck", "probes/replay", "probes/run", "daemon/record"},
}
ONLY_IN = {
    r"event2?/|event\.h": {"daemon/io", "daemon/admin", "daemon", "probes/replay"},
    r"openssl/": {"daemon/io"},
    r"tracefs\.h|event-parse\.h|kbuffer\.h": {"probes/trace"},
    r"pcap(/|\.h)": {"probes/capture"},
    r"jansson\.h": {"daemon/record", "daemon/admin"},
    r"llhttp\.h": {"daemon/core"},
    r"ini\.h|crypt\.h": {"daemon"},
    r"systemd/": {"daemon", "daemon/io"},
    r"sys/socket\.h|netinet/|unistd\.h|fcntl\.h|time\.h|sys/time\.h|stdio\.h": {
        room for room in BELOW if room not in ("daemon/core", "daemon/whatif", "probes/wire")},
}


def sources():
    for top in ("daemon", "probes"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith((".c", ".h")):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8") as source:
                        yield os.path.relpath(path, ROOT), source.read()


def resolve(path, header):
    """The room that a quoted header comes from; None if it is not ours."""
    for base in (os.path.dirname(path), "daemon", "probes"):
        if os.path.exists(os.path.join(ROOT, base, header)):
            return os.path.dirname(os.path.normpath(os.path.join(base, header)))
    return None


# Where every tool declares its entry.
ENTRIES = {"probes/commands.h"}


def test_arrows_go_down_only():
    wrong = []
    for path, text in sources():
        room = os.path.dirname(path)
        for header in re.findall(r'^#\s*include\s+"([^"]+)"', text, re.M):
            origin = resolve(path, header)
            if origin is None:
                wrong.append(f"{path} includes {header}, which is not there")
            elif f"{origin}/{os.path.basename(header)}" in ENTRIES:
                continue
            elif origin != room and origin not in BELOW.get(room, set()):
                wrong.append(f"{path} includes {header} of {origin}")
    assert not wrong, "\n".join(wrong)


def test_system_headers_stay_in_their_rooms():
    wrong = []
    for path, text in sources():
        for header in re.findall(r"^#\s*include\s+<([^>]+)>", text, re.M):
            for pattern, rooms in ONLY_IN.items():
                if re.match(f"(?:{pattern})", header) and os.path.dirname(path) not in rooms:
                    wrong.append(f"{path} includes <{header}>")
    assert not wrong, "\n".join(wrong)


def test_a_source_includes_its_own_header_first():
    wrong = []
    for path, text in sources():
        own = os.path.splitext(os.path.basename(path))[0] + ".h"
        includes = re.findall(r'^#\s*include\s+[<"]([^>"]+)[>"]', text, re.M)
        if path.endswith(".c") and os.path.exists(os.path.join(ROOT, os.path.dirname(path), own)) and includes[0] not in (own, f"{os.path.basename(os.path.dirname(path))}/{own}"):
            wrong.append(f"{path} includes {includes[0]} first")
    assert not wrong, "\n".join(wrong)


def test_no_path_of_a_developer_s_machine():
    tracked = subprocess.run(["git", "-C", ROOT, "grep", "-nIE", r"/(home|Users)/[a-z]+/|(^|[^a-zA-Z0-9_.])/work/", "--", ":!*/test_rooms.py"],
                             capture_output=True, text=True, check=False)
    if tracked.returncode > 1:
        pytest.skip("no git repository here")
    assert tracked.stdout == ""
