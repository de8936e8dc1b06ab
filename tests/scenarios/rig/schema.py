"""Just enough of JSON Schema (2020-12) for the schemas in daemon/record/schema, and a
failure for every keyword beyond that, so that none is believed to be checked and is not."""

import json
import os
import re

from .subject import ROOT

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
SILENT = {"$schema", "$id", "$defs", "title", "description", "$comment", "examples"}


def load(name):
    with open(os.path.join(ROOT, "daemon", "record", "schema", name), encoding="utf-8") as file:
        return json.load(file)


def is_type(value, name):
    if name in ("integer", "number"):
        return not isinstance(value, bool) and (isinstance(value, int) or (name == "number" and isinstance(value, float)))
    return isinstance(value, TYPES[name])


def check(value, schema, root=None, at="$"):
    """Raise AssertionError that names the place where `value` is not what `schema` says."""
    root = root or schema
    for keyword, arg in schema.items():
        rule = RULES.get(keyword)
        assert rule or keyword in SILENT, f"{at}: this validator does not know {keyword!r}"
        if rule:
            rule(value, arg, schema, root, at)


def _ref(value, arg, schema, root, at):
    target = root
    for part in arg.removeprefix("#/").split("/"):
        target = target[part]
    check(value, target, root, at)


def _type(value, arg, schema, root, at):
    names = arg if isinstance(arg, list) else [arg]
    assert any(is_type(value, name) for name in names), f"{at}: {value!r} is not {arg}"


def _required(value, arg, schema, root, at):
    if isinstance(value, dict):
        assert not set(arg) - set(value), f"{at}: lacks {sorted(set(arg) - set(value))}"


def _properties(value, arg, schema, root, at):
    if isinstance(value, dict):
        for key in set(arg) & set(value):
            check(value[key], arg[key], root, f"{at}.{key}")


def _additional(value, arg, schema, root, at):
    if isinstance(value, dict):
        others = set(value) - set(schema.get("properties", {}))
        assert arg is not False or not others, f"{at}: has {sorted(others)}, which the schema does not know"
        for key in others if isinstance(arg, dict) else ():
            check(value[key], arg, root, f"{at}.{key}")


def _names(value, arg, schema, root, at):
    if isinstance(value, dict):
        for key in value:
            check(key, arg, root, f"{at}: name {key}")


def _items(value, arg, schema, root, at):
    if isinstance(value, list):
        for i, item in enumerate(value):
            check(item, arg, root, f"{at}[{i}]")


def _one_of(value, arg, schema, root, at):
    failures = []
    for option in arg:
        try:
            check(value, option, root, at)
        except AssertionError as error:
            failures.append(str(error))
    assert len(failures) < len(arg), f"{at}: fits none of the alternatives: {failures}"


def _compare(holds, words):
    def rule(value, arg, schema, root, at):
        if is_type(value, "number"):
            assert holds(value, arg), f"{at}: {value} is not {words} {arg}"
    return rule


def _fact(holds):
    def rule(value, arg, schema, root, at):
        assert holds(value, arg), f"{at}: {value!r}, expected {arg!r}"
    return rule


RULES = {
    "$ref": _ref, "type": _type, "required": _required, "properties": _properties,
    "additionalProperties": _additional, "propertyNames": _names, "items": _items, "oneOf": _one_of, "anyOf": _one_of,
    "minimum": _compare(lambda value, least: value >= least, "at least"),
    "maximum": _compare(lambda value, most: value <= most, "at most"),
    "maxItems": _fact(lambda value, most: not isinstance(value, list) or len(value) <= most),
    "const": _fact(lambda value, want: value == want),
    "enum": _fact(lambda value, all_: value in all_),
    "pattern": _fact(lambda value, pattern: not isinstance(value, str) or re.search(pattern, value)),
}
