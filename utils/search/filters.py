"""Filters of a search, such as `label = 'cat' AND year >= 2020`: one language for every store.

    filter      comparison | filter AND filter | filter OR filter | ( filter )
    comparison  NAME SIGN value | NAME LIKE 'text' | NAME [NOT] IN (value, …)
    NAME        label, path, id, or a name of the metadata
    SIGN        = != < <= > >=
    value       'text' (a quote in it twice), a number, true or false

`label = 'cat'` holds where cat is one of an image's labels, `label != 'cat'` where it is none. A
comparison with metadata that an image does not have, or has of another type, does not hold; != and
NOT IN do. In LIKE, % stands for any text and _ for one character; small and capital letters differ.

A store is given nothing but what was understood here: all that a filter can do is compare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from utils.system.errors import UserError, short_repr

MAX_FILTER = 10_000
"""Characters of a filter, at most."""
_VALUE = r"(?:'(?:[^']|'')*'|-?\d{1,18}(?:\.\d{1,18})?\b|(?:true|false)\b)"
_COMPARISON = re.compile(
    r"\s*([^\W\d]\w*)\s*(?:"
    rf"(==?|!=|<>|<=|<|>=|>|\bLIKE\b)\s*({_VALUE})"
    rf"|\b(NOT\s+IN|IN)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\))",
    re.IGNORECASE,
)
_BEFORE, _AFTER = re.compile(r"\s*(\()"), re.compile(r"\s*(\)|AND\b|OR\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """A name of an image, what it is compared by ('=', 'LIKE', 'NOT IN' …), and with what."""

    name: str
    sign: str
    values: tuple[str | int | float | bool, ...]


def parse_filter(text: str) -> list[str | Comparison]:
    """The comparisons of a filter, and between them 'AND', 'OR', '(' and ')'.

    Raises a `UserError` that says where the text is no filter.
    """
    if len(text) > MAX_FILTER:
        raise UserError(f"a filter of {len(text)} characters: at most {MAX_FILTER} are taken")
    parsed: list[str | Comparison] = []
    place, depth, complete = 0, 0, False
    while place < len(text.rstrip()) or not complete or depth:
        word = (_AFTER if complete else _BEFORE).match(text, place)
        found = word or (None if complete else _COMPARISON.match(text, place))
        if word:
            parsed.append(word[1].upper())
            depth += {"(": 1, ")": -1}.get(word[1], 0)
            complete = word[1] == ")"
        elif found:
            parsed.append(_comparison(text, *found.groups()))
            complete = True
        if found is None or depth < 0:
            where = short_repr(text[place:].strip()) if text[place:].strip() else "its end"
            raise _not_understood(text, f"not understood at {where}")
        place = found.end()
    return parsed


def _comparison(text: str, name: str, sign: str, value: str, among: str, values: str) -> Comparison:
    sign = " ".join((sign or among).upper().split()).replace("<>", "!=").replace("==", "=")
    found = tuple(map(_value, re.findall(_VALUE, value or values, re.IGNORECASE)))
    if sign == "LIKE" and not isinstance(found[0], str):
        raise _not_understood(text, f"{name} LIKE takes a text")
    if sign[0] in "<>" and (name == "label" or isinstance(found[0], bool)):
        raise _not_understood(text, f"{name} {sign} compares what has no order")
    return Comparison(name, sign, found)


def _value(token: str) -> Any:
    if token[0] == "'":
        return token[1:-1].replace("''", "'")
    if token[0] in "tTfF":
        return token.lower() == "true"
    return float(token) if "." in token else int(token)


def _not_understood(text: str, why: str) -> UserError:
    example = "label = 'cat' AND year >= 2020"
    return UserError(f"filter {short_repr(text)}: {why}; expected such as {example}")
