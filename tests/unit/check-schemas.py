#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The schemas themselves: right, complete, described, and able to refuse.

A document of each kind is made from its schema; then every single member is taken away, given a wrong type, and a foreign one
is added: each of these must be refused (the foreign one only strictly).
"""

import copy
import pathlib

from jsonschema import Draft202012Validator

import validate
from proc import SOURCE
from tap import check, main

FIXTURES = pathlib.Path(SOURCE, "tests", "fixtures", "support")
SCHEMAS = validate.load_schemas()
DOCUMENTS = [n for n in SCHEMAS if n != "memcgprof.common"]


def follow(reference, home):
    file, _, pointer = reference.partition("#")
    schema = SCHEMAS[file[: -len(validate.SUFFIX)]] if file else home
    root = schema
    for part in filter(None, pointer.split("/")):
        schema = schema[part]
    return schema, root


def sample(schema, home):
    """A value that the schema takes."""
    if "$ref" in schema:
        target, home = follow(schema["$ref"], home)
        return sample(target, home)
    if "const" in schema:
        return schema["const"]
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if kind == "object":
        members = {k: sample(v, home) for k, v in schema.get("properties", {}).items()}
        return members or {"cause": 0}
    if kind == "array":
        return [sample(schema["items"], home)]
    return {"string": "1", "integer": 0, "number": 0.5, "boolean": True}[kind]


def members(value, path=()):
    """Paths of all members of all objects within."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield path + (key,)
            yield from members(inner, path + (key,))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from members(inner, path + (i,))


def holder(document, path):
    for step in path[:-1]:
        document = document[step]
    return document


def well_formed():
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        check(schema["$id"] == f"https://memcgprof.org/schemas/{name}.schema.json", f"{name}: its $id is {schema['$id']}")


def described(schema, path, wrong):
    if isinstance(schema, dict):
        for key, inner in (schema.get("properties") or {}).items() if isinstance(schema.get("properties"), dict) else ():
            if "description" not in inner and "$ref" not in inner:
                wrong.append(f"{path}/{key}")
        for key, inner in schema.items():
            described(inner, f"{path}/{key}", wrong)


def all_described():
    wrong = []
    for name, schema in SCHEMAS.items():
        described(schema, name, wrong)
        wrong += [f"{name}: {k} in $defs" for k, v in schema.get("$defs", {}).items() if "description" not in v]
    check(not wrong, "no description: " + ", ".join(wrong))


def accepts(name):
    found = validate.errors(sample(SCHEMAS[name], SCHEMAS[name]))
    check(not found, "; ".join(found))


def refuses_missing(name):
    whole = sample(SCHEMAS[name], SCHEMAS[name])
    for path in members(whole):
        if {"filter", "lost"} & set(path[:-1]) or path[-1] in ("nodes", "record"):
            continue  # these come and go
        document = copy.deepcopy(whole)
        del holder(document, path)[path[-1]]
        check(validate.errors(document), f"taken although {'/'.join(map(str, path))} is missing")


def refuses_wrong(name):
    whole = sample(SCHEMAS[name], SCHEMAS[name])
    for path in members(whole):
        document = copy.deepcopy(whole)
        holder(document, path)[path[-1]] = [[{"wrong": 1}]]
        check(validate.errors(document), f"taken although {'/'.join(map(str, path))} is a list of lists")


def refuses_foreign(name):
    whole = sample(SCHEMAS[name], SCHEMAS[name])
    for path in [()] + [p for p in members(whole) if isinstance(holder(whole, p)[p[-1]], dict) and p[-1] != "lost"]:
        document = copy.deepcopy(whole)
        place = holder(document, path)[path[-1]] if path else document
        place["foreign"] = 1
        check(validate.errors(document), f"strictly taken although {'/'.join(map(str, path)) or 'the document'} has a foreign member")
        check(not validate.errors(document, strict=False), f"loosely refused for a foreign member in {'/'.join(map(str, path))}")


def refuses_bad_account():
    document = sample(SCHEMAS["memcgprof.summary"], SCHEMAS["memcgprof.summary"])
    document["reconcile"]["growth_bytes"] = 1
    check(validate.errors(document), "taken although growth is not explained")
    document = sample(SCHEMAS["memcgprof.summary"], SCHEMAS["memcgprof.summary"])
    document["totals"]["blind_bytes"] = 1
    check(validate.errors(document), "taken although allocated is not explained")
    document = sample(SCHEMAS["memcgprof.summary"], SCHEMAS["memcgprof.summary"])
    document["sites"][0]["nodes"][0]["bytes"] = 1
    check(validate.errors(document), "taken although a row's allocated is not explained")


def fixtures_hold():
    """What the engine said of itself on other kernels than this one (the runs of tests/vm/matrix, cgroup v2)."""
    found = sorted(FIXTURES.glob("*.json"))
    check(len(found) >= 3, f"only {found}")
    for path in found:
        document = validate.validated(path.read_text(encoding="utf-8"))
        check(path.stem.split("-")[0] == ".".join(document["kernel"]["release"].split(".")[:2]), f"{path} is of {document['kernel']['release']}")
        items = {item["name"]: item for item in document["items"]}
        for name in ("object_check", "late_charges", "fentry_holes", "memcg_state_tracepoints", "nodes"):
            check(items[name]["reason"], f"{path}: {name} has no reason")


def refuses_text():
    for text in ("", "{", '{"format": "memcgprof.nothing"}', "[]", "null", '{"format":"memcgprof.list","format":"memcgprof.list"}', '{"a": NaN}'):
        try:
            validate.validated(text)
        except (validate.Invalid, ValueError):
            continue
        check(False, f"taken: {text}")


def tests(tap):
    check(len(DOCUMENTS) >= 4, f"only {DOCUMENTS} found")
    tap.case("schemas are JSON Schema 2020-12 with their ids", well_formed)
    tap.case("every member is described", all_described)
    for name in DOCUMENTS:
        tap.case(f"{name} takes a complete document", accepts, name)
        tap.case(f"{name} refuses a missing member", refuses_missing, name)
        tap.case(f"{name} refuses a wrong type", refuses_wrong, name)
        tap.case(f"{name} refuses a foreign member strictly, ignores it loosely", refuses_foreign, name)
    tap.case("an account that does not balance is refused", refuses_bad_account)
    tap.case("recorded support documents of other kernels are valid", fixtures_hold)
    tap.case("what is no document is refused", refuses_text)


main(tests)
