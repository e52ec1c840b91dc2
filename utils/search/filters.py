"""Filters of a search, such as `label = 'cat' AND year >= 2020`: one language for every store.

    filter      comparison | filter AND filter | filter OR filter | ( filter )
    comparison  NAME = | != | < | <= | > | >= VALUE,  NAME [NOT] IN (VALUE, …),  NAME LIKE 'text%'
    NAME        label, path, id, or a name of the metadata
    VALUE       'text' (a quote in it twice), a number, true or false

`label = 'cat'` holds where cat is one of an image's labels, `!=` where it is none. Labels and paths
are compared with text, ids with whole numbers. A comparison with metadata that an image does not
have, or has of another type, does not hold; != does. All that a filter can do is compare: a store
is given nothing but what was understood here.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Union

from utils.system.errors import UserError, short_repr

MAX_FILTER = 10_000
"""Characters of a filter, at most."""
_VALUE = r"(?:'(?:[^'\ud800-\udfff]|'')*'|-?\d{1,18}(?:\.\d{1,18})?\b|(?:true|false)\b)"
_PART = re.compile(
    rf"\s*(?:([^\W\d]\w*)\s*(?:(==?|!=|<>|<=|<|>=|>)\s*({_VALUE})|\b(LIKE)\s*('(?:[^'%\ud800-\udfff]|'')*%')"
    rf"|\b(NOT\s+IN|IN)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\))|([()]|AND\b|OR\b))",
    re.IGNORECASE,
)
_OWN = {"label": str, "path": str, "id": int}
"""What an image has beside its metadata, and the type of each."""
_SIGNS = {"==": "=", "<>": "!=", "IN": "=", "NOT": "!="}


class Comparison(NamedTuple):
    """`sign` is one of = != < <= > >=, and of the first two where `name` is 'label'."""

    name: str
    sign: str
    value: str | int | float | bool


Parts = list[Union[str, Comparison]]


def parse_filter(text: str) -> Parts:
    """A filter as comparisons, and between them 'AND', 'OR', '(' and ')'.

    Raises a `UserError` that says from where on the text is no filter.
    """
    parts, shape, place = [], "", 0
    while len(text) <= MAX_FILTER and (found := _PART.match(text, place)):
        *compared, word = found.groups()
        new = [word.upper()] if word else _comparisons(*filter(None, compared))
        if not all(map(_makes_sense, new)):
            break
        parts += new
        shape, place = shape + (word[0].upper() if word else "c"), found.end()
    while (shorter := re.sub(r"\(c\)|c[AO]c", "c", shape)) != shape:
        shape = shorter
    rest = text[place:].strip()
    if rest or shape != "c":
        where = f"not understood at {short_repr(rest)}" if rest else "not a whole one"
        example = "label = 'cat' AND year >= 2020"
        raise UserError(f"filter {short_repr(text)}: {where}; expected such as {example}")
    return parts


def _makes_sense(part: str | Comparison) -> bool:
    """Whether what is compared has the value's type, as far as is known; labels have no order."""
    if isinstance(part, str):
        return True
    has_order = part.name != "label" or part.sign in ("=", "!=")
    return has_order and type(part.value) is _OWN.get(part.name, type(part.value))


def _comparisons(name: str, sign: str, values: str) -> Parts:
    """LIKE and IN are other words for several comparisons."""
    found = list(map(_value, re.findall(_VALUE, values, re.IGNORECASE)))
    if sign.upper() == "LIKE":
        begin = found[0][:-1]
        end = begin + chr(0x10FFFF)  # the last of all characters
        return ["(", Comparison(name, ">=", begin), "AND", Comparison(name, "<", end), ")"]
    sign = _SIGNS.get(sign.upper().split()[0], sign)
    word = "AND" if sign == "!=" else "OR"
    return _joined([Comparison(name, sign, value) for value in found], word)


def _joined(comparisons: list[Comparison], word: str) -> Parts:
    """Comparisons and the word between them, by halves: a store's tree of them is not too deep."""
    half = len(comparisons) // 2
    if not half:
        return ["(", *comparisons, ")"]
    return ["(", *_joined(comparisons[:half], word), word, *_joined(comparisons[half:], word), ")"]


def _value(token: str) -> str | int | float | bool:
    if token[0] == "'":
        return token[1:-1].replace("''", "'")
    if token[0] in "tTfF":
        return token.lower() == "true"
    return float(token) if "." in token else int(token)
