#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds documents against the schemas in schemas/.

`strict` also refuses members that the schema does not describe: consumers must ignore what they do not know, but our own
tests must not let an undescribed member out. As a command: validate.py [--loose] [FILE...], standard input without one.
"""

import functools
import json
import os
import sys

from jsonschema import Draft202012Validator, RefResolver

SCHEMAS = os.path.join(os.environ.get("MEMCGPROF_SOURCE") or os.path.join(os.path.dirname(__file__), "..", ".."), "schemas")
SUFFIX = ".schema.json"


class Invalid(Exception):
    pass


@functools.lru_cache(maxsize=None)
def load_schemas(directory=SCHEMAS):
    """All schemas by name, e.g. "memcgprof.summary"."""
    schemas = {}
    for file in sorted(os.listdir(directory)):
        if file.endswith(SUFFIX):
            with open(os.path.join(directory, file), encoding="utf-8") as f:
                schemas[file[: -len(SUFFIX)]] = json.load(f)
    return schemas


def closed(schema):
    """The same schema, refusing members that it does not describe."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {k: closed(v) for k, v in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        copy.setdefault("additionalProperties", False)
    return copy


@functools.lru_cache(maxsize=None)
def closed_schemas():
    return {n: closed(s) for n, s in load_schemas().items()}


def no_duplicates(pairs):
    seen = dict(pairs)
    if len(seen) != len(pairs):
        raise Invalid("a member stands twice: " + ", ".join(sorted({k for k, _ in pairs if [p[0] for p in pairs].count(k) > 1})))
    return seen


def refuse_constant(name):
    raise Invalid(f"{name} is not JSON")


def parse(text):
    return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse_constant)


def errors(document, strict=True):
    """Sentences about what is wrong with `document` (parsed); empty when it is right."""
    schemas = load_schemas() if not strict else closed_schemas()
    name = document.get("format") if isinstance(document, dict) else None
    if not isinstance(name, str) or name not in schemas or name == "memcgprof.common":
        return [f"format is {name!r}, which is none of: " + ", ".join(n for n in schemas if n != "memcgprof.common")]
    schema = schemas[name]
    resolver = RefResolver(schema["$id"], schema, store={s["$id"]: s for s in schemas.values()})
    validator = Draft202012Validator(schema, resolver=resolver)
    found = sorted(validator.iter_errors(document), key=lambda e: list(map(str, e.absolute_path)))
    return ["/".join(map(str, e.absolute_path)) + ": " + e.message[:300] for e in found] + identity(document)


def flow(what, figures, live):
    """allocated = live + freed + written off + untracked + blind."""
    parts = [figures.get(k) for k in ("freed_bytes", "untracked_bytes", "blind_bytes", "allocated_bytes")]
    parts.append(figures.get("written_off", figures.get("written_off_bytes")))
    if not all(isinstance(v, int) for v in parts + live):
        return []
    freed, untracked, blind, allocated, written_off = parts
    if allocated == sum(live) + freed + written_off + untracked + blind:
        return []
    return [f"{what}: allocated {allocated} is not live {sum(live)} + freed {freed} + written off {written_off} + untracked "
            f"{untracked} + blind {blind}"]


def flows(document, totals):
    """The events' side, of the totals and of every row and node."""
    found = flow("totals", totals, [(totals.get(k) or {}).get("kernel_bytes") or 0 for k in ("charged", "uncharged")])
    for site in document.get("sites") or ():
        for part in [site, *(site.get("nodes") or ())] if isinstance(site, dict) else ():
            found += flow(site.get("key"), part, [part.get("bytes") or 0]) if isinstance(part, dict) else []
    return found[:10]


def identity(document):
    """What a schema cannot say: the account has to balance (DESIGN: rule 1)."""
    if not isinstance(document, dict):
        return []
    if "summary" in document:
        snapshots = document.get("snapshots")
        return identity(document["summary"]) + [f"snapshot: {e}" for s in (snapshots if isinstance(snapshots, list) else ())
                                                for e in identity(s)]
    totals, account = document.get("totals"), document.get("reconcile")
    if not isinstance(totals, dict) or not isinstance(account, dict):
        return []
    try:
        found = flows(document, totals)
    except (AttributeError, TypeError):
        return []  # of the wrong shape: the schema has said so
    if found:
        return found
    said = [account.get("growth_bytes"), account.get("explained_bytes"), account.get("freed_unmatched"), account.get("unattributed")]
    if not all(isinstance(v, int) for v in said):
        return []
    growth, explained, unmatched, unattributed = said
    if growth != explained - unmatched + unattributed:
        return [f"reconcile: growth {growth} is not explained {explained} - freed_unmatched {unmatched} + unattributed {unattributed}"]
    return []


def validated(text, wanted=None, strict=True):
    """The document in `text`; raises Invalid unless it is right and of format `wanted` (e.g. "memcgprof.summary")."""
    document = parse(text)
    wrong = errors(document, strict)
    if wanted and isinstance(document, dict) and document.get("format") != wanted:
        wrong.append(f"format is {document.get('format')!r}, wanted {wanted!r}")
    if wrong:
        raise Invalid(f"{len(wrong)} faults: " + "; ".join(wrong[:10]))
    return document


def main(arguments):
    strict = "--loose" not in arguments
    status = 0
    for name in [a for a in arguments if a != "--loose"] or ["-"]:
        with (os.fdopen(0, encoding="utf-8") if name == "-" else open(name, encoding="utf-8")) as f:
            try:
                print(f"{name}: {validated(f.read(), strict=strict)['format']}: valid")
            except (Invalid, ValueError) as e:
                print(f"{name}: {e}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
