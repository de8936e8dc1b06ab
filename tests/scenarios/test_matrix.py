"""Real clients in healthy and in leaking variants: the daemon between them and their origin, and connleak analyze on
a capture of the same clients without a proxy, each name the right cause and nothing else.

All run at once against one origin (rig/matrix.py, clients/). Each combination of client, variant, size, framing and
number at a time has a tag of its own towards the daemon and an address of its own towards the analyser. Expected is
what the client's program did wrong; `alike` is what leaves the same traces there and may be named beside it, each then
naming the other in evidence.ambiguous_with. Of everything else nothing may stand above info.

A client that gets no processor for seconds does what a leaking one does: it neither reads nor closes. So what is wrong
counts when it is wrong again where the machine has time for it: few jobs at a time, and PATIENCE times as long a time for
everything (the table says which these were)."""

import collections
import time

import pytest

from rig import matrix
from rig.subject import Connleakd

LEAK_AFTER = 2.0
NAMED_WITHIN = 5.0   # after it
PATIENCE = 3         # how many times as long all that lasts when it is done again

PYTHON = ["healthy", "keep", "close_unread", "new_client"]
VARIANTS = {
    "go": ["healthy", "keep", "close_unread", "close_half", "new_client", "no_keepalive", "idle_cap"],
    "requests": PYTHON, "httpx": PYTHON, "aiohttp": PYTHON,
    "node": ["healthy", "keep", "close_unread"],
    "undici": ["healthy", "keep", "close_unread"],
    "curl": ["healthy", "process", "no_keepalive", "pipe_head"],
}
SIZES = list(matrix.SIZES)


def combinations():
    for client, variants in VARIANTS.items():
        for variant in variants:
            for size in SIZES:
                for framing in matrix.FRAMINGS:
                    for at_once in (1, 8):
                        if variant == "idle_cap" and at_once == 1:
                            continue   # one at a time never fills it
                        if variant == "pipe_head" and SIZES.index(size) < SIZES.index("70K"):
                            continue   # head takes all of it
                        yield client, variant, size, framing, at_once


JOBS = [matrix.Job(number, *combination) for number, combination in enumerate(combinations())]


class Expected:
    """kind: what must be named, None for nothing; alike: what may be named beside it, at any severity; either: what
    may be named of some of the requests instead; calm: where info will do, for this observer cannot tell it from
    what is no fault of the client."""

    def __init__(self, kind=None, *alike, either=None, calm=False):
        self.kind, self.alike, self.either, self.calm = kind, {*alike, either}, either, calm

    def __str__(self):
        return " or ".join(filter(None, (self.kind or "nothing", self.either))) + (" (info)" if self.calm else "")

    def named(self, found):
        """The findings among these that tell it."""
        return [found[kind] for kind in (self.kind, self.either) if kind in found]


NOTHING = Expected()


def expected(job, observer):
    size = SIZES.index(job.size)
    whole_in_buffer = size <= SIZES.index("5K")
    if job.variant == "healthy":
        return NOTHING
    if job.variant == "no_keepalive":
        return Expected("keepalives_disabled")
    if job.variant == "idle_cap":
        return Expected("idle_cap_churn")
    if job.client == "aiohttp" and job.variant == "close_unread" and job.size in ("5K", "70K"):
        # What has come whole when it is closed was no early close (below). On a busy machine its end may come later.
        return Expected(None, "early_body_close", "rst_unread_data", "transport_per_request")
    if job.client == "aiohttp" and observer == "daemon" and (job.variant == "new_client" or job.size != "5M"):
        # It closes its connection to a proxy after each response: what the program does cannot be seen.
        return Expected("transport_per_request", "early_body_close", calm=True)
    if job.client == "aiohttp" and job.variant in ("keep", "close_unread") and job.size != "5M":
        # It reads up to 128 KiB ahead, and a response that is complete gives its connection back, read or not.
        return NOTHING
    if job.client == "undici" and whole_in_buffer:
        # The same, for bodies below its high-water mark of 64 KiB that came in one piece.
        return Expected(None, *(["early_body_close", "rst_unread_data"] if job.variant == "close_unread" else []))
    if job.variant == "keep":
        return Expected("body_not_closed", "transport_per_request", "slow_reader")
    if job.variant == "new_client" and job.client == "go":
        return Expected("transport_per_request", "body_not_closed")
    if job.variant in ("new_client", "process"):
        # A FIN after a small response is an early close as well; none of megabytes that were all taken.
        return Expected("transport_per_request", *([] if job.size == "5M" else ["early_body_close"]))
    if job.variant == "pipe_head" and job.size == "70K":
        # curl has often taken it all before its write fails; then it is one more process for one request.
        return Expected("transport_per_request", "rst_unread_data", either="early_body_close")
    return Expected("early_body_close", "rst_unread_data", "transport_per_request", "slow_reader")


class Run:
    """What one run gave: findings by tag, of the daemon (its clients' and its own towards the origin) and of the
    analyser, and by whom they are wrong. `pace`: how many times as long everything lasts."""

    def __init__(self, jobs, pace=1):
        self.jobs, self.pace = jobs, pace
        by_host = {job.host: job.tag for job in self.jobs}
        self.requests = {"daemon": collections.Counter(), "capture": collections.Counter()}
        self.found = {way: collections.defaultdict(list) for way in ("daemon", "upstream", "capture")}
        self.daemon = Connleakd(max_idle_conns=0, max_idle_conns_per_host=32,
                                settings={"findings.leak_after": f"{LEAK_AFTER * pace:g}s", "findings.slow_after": f"{10 * pace}s"})
        try:
            self.outcome = matrix.run(self.jobs, self.daemon, not matrix.cannot_capture(), self.look, pace)
        finally:
            self.daemon.stop()
        for finding in self.outcome.seen:
            if finding["side"] == "downstream":
                self.found["daemon"][finding["subject"]["client"]["tag"]].append(finding)
            else:
                self.found["upstream"][by_host[finding["subject"]["key"].split(":")[0]]].append(finding)
        if self.outcome.analysis:
            for finding in self.outcome.analysis["findings"]:
                self.found["capture"][by_host[finding["subject"]["key"].split(":")[0]]].append(finding)
            for record in self.outcome.analysis["connections"]:
                self.requests["capture"][by_host[record["remote"].split(":")[0]]] += record["requests"] or 0

    def all_findings(self):
        """Page by page; the order may change meanwhile, so that one could come twice."""
        findings, after = {}, 0
        while after is not None:
            page = self.daemon.get(f"/findings?limit=1000&after={after}")
            findings.update({finding["id"]: finding for finding in page["findings"]})
            after = page["next"]
        return list(findings.values())

    def look(self):
        """The daemon's findings when all is named that should be, or when it is too late."""
        end = time.monotonic() + (LEAK_AFTER + NAMED_WITHIN) * self.pace
        while True:
            findings = self.all_findings()
            named = {(f["subject"]["client"]["tag"], f["kind"]) for f in findings if f["side"] == "downstream"}
            wanted = {(job.tag, want.kind) for job in self.jobs for want in [expected(job, "daemon")] if want.kind and not want.either}
            if time.monotonic() > end or not wanted - named:
                for record in self.daemon.ledger():
                    if record["side"] == "downstream" and record["client"]:
                        self.requests["daemon"][record["client"]["tag"]] += record["requests"]
                return findings
            time.sleep(0.2)

    def kinds(self, job, way):
        """Kind -> finding, of the open ones and the resolved."""
        return {finding["kind"]: finding for finding in self.found[way][job.tag]}

    def problems(self, job, way):
        """Why what was found is not what was expected, as text."""
        want, found = expected(job, way), self.kinds(job, way)
        named = want.named(found)
        if want.kind and not named:
            return f"{want.kind} is missing: {', '.join(found) or 'nothing'}"
        if want.kind and not numbers_fit(job, named):
            return f"{sum(job.rounds)} requests, but {' '.join(finding['summary'] for finding in named)}"
        for kind, finding in found.items():
            if finding["severity"] == "info" or kind == want.kind and not want.calm:
                continue
            if want.calm or kind not in want.alike:
                return f"{kind}, {finding['severity']}, {finding['confidence']}: {finding['summary']}"
            if {kind, want.kind} <= LOOK_ALIKE & set(found) and not names_the_other(finding, found[want.kind]):
                return f"{kind} and {want.kind} do not name each other"
        return None

    def excess(self, job):
        """Kinds above info of the daemon's own connections that should not be there."""
        want = expected(job, "daemon")
        early = "early_body_close" in {want.kind, *want.alike}
        above = {kind for kind, finding in self.kinds(job, "upstream").items() if finding["severity"] != "info"}
        return above - ({"early_body_close", "rst_unread_data"} if early else set())

    def complaints(self, job):
        """What its clients complained of, and requests that were not counted, by way."""
        ways = ["daemon", *(["capture"] if self.outcome.analysis else [])]
        wrong = {way: self.outcome.wrong[job.tag, way] for way in ways if (job.tag, way) in self.outcome.wrong}
        wrong.update({way: f"{self.requests[way][job.tag]} requests of {sum(job.rounds)}"
                      for way in ways if self.requests[way][job.tag] != sum(job.rounds)})
        return wrong

    def is_right(self, job):
        ways = ["daemon", *(["capture"] if self.outcome.analysis else [])]
        return not self.complaints(job) and not self.excess(job) and not any(self.problems(job, way) for way in ways)


class Matrix:
    """All jobs, and for each the run that counts."""

    def __init__(self):
        self.jobs = [job for job in JOBS if not why_missing(job.client)]
        first = Run(self.jobs)
        self.again = [job for job in self.jobs if not first.is_right(job)]
        second = Run(self.again, PATIENCE) if self.again else None
        self.runs = {job.tag: second if job in self.again else first for job in self.jobs}
        self.captured = first.outcome.analysis is not None

    def of(self, job):
        return self.runs[job.tag]


LOOK_ALIKE = {"early_body_close", "transport_per_request", "body_not_closed"}


def names_the_other(a, b):
    """What is more than suspected has connections of its own that show it."""
    return (not a["confidence"] == b["confidence"] == "suspected"
            or a["kind"] in b["evidence"]["ambiguous_with"] and b["kind"] in a["evidence"]["ambiguous_with"])


def numbers_fit(job, findings):
    """Each request is one occurrence. The last round is not yet known to be held, or has no dial after it; of those
    that fill an idle limit of 2, a connection or two a round is kept."""
    if any(finding["kind"] == "idle_cap_churn" and finding["evidence"]["sufficient"] != 8 for finding in findings):
        return False
    return sum(job.rounds) / 2 <= sum(finding["count"] for finding in findings) <= sum(job.rounds)


def why_missing(client, known={}):   # pylint: disable=dangerous-default-value
    if client not in known:
        known[client] = matrix.missing(client)
    return known[client]


@pytest.fixture(scope="module", name="ran")
def fixture_ran():
    return Matrix()


@pytest.fixture(params=VARIANTS, name="jobs")
def fixture_jobs(request, ran):
    if why_missing(request.param):
        pytest.skip(why_missing(request.param))
    return [job for job in ran.jobs if job.client == request.param]


def all_right(ran, jobs, way):
    wrong = [(job.tag, text) for job in jobs for text in [ran.of(job).problems(job, way)] if text]
    assert not wrong, f"{len(wrong)} of {len(jobs)}:\n" + "\n".join(f"{tag}: {text}" for tag, text in wrong)


def test_the_clients_did_what_they_were_told(ran, jobs):
    assert not {job.tag: wrong for job in jobs for wrong in [ran.of(job).complaints(job)] if wrong}


def test_the_daemon_names_it(ran, jobs):
    all_right(ran, jobs, "daemon")


def test_the_analyser_names_it(ran, jobs):
    if matrix.cannot_capture():
        pytest.skip(matrix.cannot_capture())
    all_right(ran, jobs, "capture")


def test_the_daemons_own_connections_show_no_more_than_early_closes(ran, jobs):
    """What a client gives up, the daemon gives up too; its pool is large enough for all of them."""
    assert not {job.tag: excess for job in jobs for excess in [ran.of(job).excess(job)] if excess}


def table(ran):
    """Rows of client, variant, bodies, what was expected, and how often each observer named what."""
    groups = collections.OrderedDict()
    for job in ran.jobs:
        want = tuple(str(expected(job, way)) for way in ("daemon", "capture"))
        groups.setdefault((job.client, job.variant, want), []).append(job)
    yield "client", "variant", "body", "expected", "daemon", "analyser"
    for (client, variant, want), jobs in groups.items():
        sizes = [size for size in SIZES if any(job.size == size for job in jobs)]
        row = [client, variant, sizes[0] if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}",
               want[0] if want[0] == want[1] else " / ".join(want)]
        for way in ("daemon", "capture"):
            if way == "capture" and not ran.captured:
                row.append("-")
                continue
            named = collections.Counter(kind if finding["severity"] != "info" else f"({kind})"
                                        for job in jobs for kind, finding in ran.of(job).kinds(job, way).items())
            right = sum(ran.of(job).problems(job, way) is None for job in jobs)
            row.append(f"{right}/{len(jobs)} " + (" ".join(f"{kind}:{n}" for kind, n in named.most_common()) or "nothing"))
        yield tuple(row)


def test_table(ran, capsys):
    rows = list(table(ran))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    with capsys.disabled():
        print()
        for row in rows:
            print("note: " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if ran.again:
            print(f"note: done again with patience: {len(ran.again)} of {len(ran.jobs)}: {' '.join(job.tag for job in ran.again)}")
