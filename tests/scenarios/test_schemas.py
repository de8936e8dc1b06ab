"""What connleakd writes is what its JSON schemas say, and the schemas know every word of the tables."""

import json
import os
import re

import pytest

from rig.origin import always, answer
from rig.wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMAS = os.path.join(ROOT, "daemon/record/schema")


def schema(name):
    with open(os.path.join(SCHEMAS, f"{name}.json"), encoding="utf-8") as file:
        return json.load(file)


# -- the part of JSON Schema 2020-12 that the schemas use; any other keyword fails the test

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
SAYS_NOTHING = {"$schema", "$id", "$defs", "title", "description", "examples"}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def same(a, b):
    return a == b and type(a) is type(b)


def faults(value, rule, root, at="$"):
    """Sentences that say what is wrong with the value, none if it is right."""
    for keyword, want in rule.items():
        if keyword in SAYS_NOTHING or keyword == "additionalProperties":
            continue
        if keyword == "$ref":
            target = root
            for part in want.removeprefix("#/").split("/"):
                target = target[part]
            yield from faults(value, target, root, at)
        elif keyword == "anyOf":
            if all(list(faults(value, one, root, at)) for one in want):
                yield f"{at}: {value!r} is none of {want}"
        elif keyword == "type":
            if not any(is_type(value, name) for name in ([want] if isinstance(want, str) else want)):
                yield f"{at}: {value!r} is not of type {want}"
        elif keyword == "const":
            if not same(value, want):
                yield f"{at}: {value!r} is not {want!r}"
        elif keyword == "enum":
            if not any(same(value, one) for one in want):
                yield f"{at}: {value!r} is none of {want}"
        elif keyword == "pattern":
            if isinstance(value, str) and not re.search(want, value):
                yield f"{at}: {value!r} does not match {want}"
        elif keyword == "minimum":
            if is_type(value, "number") and value < want:
                yield f"{at}: {value} is less than {want}"
        elif keyword == "maximum":
            if is_type(value, "number") and value > want:
                yield f"{at}: {value} is more than {want}"
        elif keyword == "maxItems":
            if isinstance(value, list) and len(value) > want:
                yield f"{at}: more than {want} items"
        elif keyword == "items":
            for i, item in enumerate(value if isinstance(value, list) else []):
                yield from faults(item, want, root, f"{at}[{i}]")
        elif keyword == "required":
            for name in want if isinstance(value, dict) else []:
                if name not in value:
                    yield f"{at}.{name} is missing"
        elif keyword in ("properties", "propertyNames"):
            if isinstance(value, dict):
                for name, inner in value.items():
                    if keyword == "propertyNames":
                        yield from faults(name, want, root, f"{at}.{name}")
                    elif name in want:
                        yield from faults(inner, want[name], root, f"{at}.{name}")
        else:
            raise AssertionError(f"{at}: the validator here does not know {keyword}")
    others = rule.get("additionalProperties", True)
    if isinstance(value, dict) and others is not True:
        for name in value.keys() - rule.get("properties", {}).keys():
            if others is False:
                yield f"{at}.{name} is not in the schema"
            else:
                yield from faults(value[name], others, root, f"{at}.{name}")


def check(value, name):
    rule = schema(name)
    found = list(faults(value, rule, rule))
    assert not found, "\n".join(found) + "\n" + json.dumps(value)


def table(name):
    """[(symbol, name, third column)]"""
    with open(os.path.join(ROOT, "daemon/core/tbl", name), encoding="utf-8") as file:
        return re.findall(r'^X\((\w+), "([\w-]+)",\s+("[^"]*"|\w+)', file.read(), re.M)


# -- the tests

def test_the_record_s_schema_has_the_words_of_the_tables():
    properties = schema("connleak.conn-1")["properties"]
    reasons = [name for symbol, name, _ in table("close_reasons.h") if symbol != "NONE"]
    assert len(reasons) > 20
    assert properties["close"]["properties"]["reason"]["enum"] == reasons + [None]
    listed = [name for _, name, is_listed in table("conn_events.h") if is_listed == "1"]
    assert len(listed) > 15
    assert properties["events"]["items"]["properties"]["event"]["enum"] == listed


def test_the_finding_s_schema_has_the_words_of_the_tables():
    rule = schema("connleak.finding-1")
    kinds = [name for _, name, _ in table("findings.h")]
    assert len(kinds) > 20 and rule["$defs"]["kind"]["enum"] == kinds
    evidence = list(rule["properties"]["evidence"]["properties"])
    assert evidence == [name for _, name, _ in table("finding_numbers.h")] + ["cost", "comm", "ambiguous_with"]
    stacks = [name for _, name, _ in table("stacks.h")][1:]
    assert len(stacks) > 10
    assert rule["properties"]["subject"]["properties"]["client"]["properties"]["stack"]["enum"] == stacks + [None]
    assert rule["properties"]["advice_by_stack"]["propertyNames"]["enum"] == stacks


def some_traffic(daemon, serve):
    """Good requests, an early close with bytes unread, and a refused dial."""
    good = serve(always(answer(b"hello")))
    large = serve(always(answer(b"x" * 40_000_000)))
    subject = daemon()
    for _ in range(3):
        assert subject.fetch(good.url("/")).status == 200
    with subject.client() as client:
        client.ask(large.url("/"))
        client.read_head()
        client.rst()
    gone = serve(always(answer(b"")))
    url = gone.url("/")
    gone.stop()
    assert subject.fetch(url).status == 502

    def at_rest():
        metrics = subject.get("/metrics")
        return metrics["upstream"]["early_body_closes"] == 1 and not metrics["downstream"]["open"] + metrics["pool"]["active"]
    until(at_rest, lambda: subject.get("/metrics"))
    return subject


def test_records_and_metrics_are_as_their_schemas_say(daemon, serve):
    subject = some_traffic(daemon, serve)
    check(subject.get("/metrics"), "connleak.metrics-1")
    records = subject.ledger()
    assert {r["state"] for r in records} >= {"closed", "idle"}
    assert {r["side"] for r in records} == {"upstream", "downstream"}
    for record in records:
        check(record, "connleak.conn-1")
        with_events = subject.get(f"/connections/{record['id']}")
        check(with_events, "connleak.conn-1")
        assert with_events["events"][0]["event"] in ("dialing", "accepted")


def test_every_sum_in_the_metrics_is_that_of_the_records(daemon, serve):
    subject = some_traffic(daemon, serve)
    metrics, records = subject.get("/metrics"), subject.ledger()
    for side, opened in (("upstream", "dials"), ("downstream", "accepted")):
        mine = [r for r in records if r["side"] == side]
        sums = {opened: len(mine)}
        for field, name in (("requests", "requests"), ("responses", "responses"), ("reused", "reused"), ("early_closes", "early_body_closes"),
                            ("retries", "retries"), ("rst_received", "rst_received"),
                            ("bytes_in", "bytes_in"), ("bytes_out", "bytes_out")):
            sums[name] = sum(r[field] for r in mine)
        unread = [r["unread_bytes"] for r in mine if r["rst_sent"] and r["unread_bytes"]]
        sums["rst_sent_unread"], sums["unread_bytes"] = len(unread), sum(unread)
        sums["dial_errors"] = sum(r["close"]["reason"] == "dial_error" for r in mine)
        said = metrics[side]
        assert {name: said[name] for name in sums if name in said} == {name: sums[name] for name in sums if name in said}
        assert len(sums.keys() & said.keys()) >= 8
        closes = [r["close"]["reason"] for r in mine if r["state"] == "closed"]
        assert said["closes"] == {reason: closes.count(reason) for reason in set(closes)}


@pytest.mark.parametrize("field, value", [
    ("id", "x-1"), ("observer", "me"), ("state", "gone"), ("opened_at", "2026-01-02 03:04:05"), ("requests", -1), ("requests", 1.5),
    ("rst_sent", 1), ("local", "localhost:80"), ("close", {}), ("key", {"scheme": "http"}), ("evidence", None), ("surprise", 1)])
def test_a_record_that_is_wrong_is_found(daemon, serve, field, value):
    origin = serve(always(answer(b"hello")))
    subject = daemon()
    assert subject.fetch(origin.url("/")).status == 200
    record = dict(subject.ledger()[0], **{field: value})
    rule = schema("connleak.conn-1")
    assert any(f"$.{field}" in fault for fault in faults(record, rule, rule))
