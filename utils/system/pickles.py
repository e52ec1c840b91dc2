"""Restricted unpickler for untrusted weights files (compare `torch.load(weights_only=True)`).

A pickle names functions, and reading it calls them. Here names are looked up in a short list of
placeholders, which check what NumPy would be given and become arrays when all is read.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from typing import Any

import numpy as np

MAX_TUPLES = 10_000
_COUNTED = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "INT", "LONG", "LONG1", "LONG4"}
_REFUSED = {"NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
_REFUSED |= {"EMPTY_SET", "FROZENSET", "DUP"}
_SHARED = ("UNICODE", "UNICODE8", "STRING", "BYTES", "BYTES8", "LIST", "DICT", "GLOBAL", "REDUCE")
"""How instructions end whose result may stand in several places; a tuple is of no such."""
MAX_SHARED = 1 << 16
"""Letters or bytes that may stand in several places, at most: each of them may be copied."""


class RefusedPickle(Exception):
    """The pickle asks for something that a file of arrays has no use for."""


class _Dtype:
    """A dtype: first its name, then its byte order."""

    def __init__(self, name: Any, *_options: Any):
        if not re.fullmatch(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|\?)", _text(name)):
            raise RefusedPickle(f"holds an array of Python objects or the like: {_text(name)[:40]}")
        self.value = np.dtype(_text(name))

    def __setstate__(self, state: Any) -> None:
        order, fields = _text(state[1]), state[2:5]
        if order not in tuple("<>|=") or fields != (None, None, None):
            raise RefusedPickle("holds an array of a dtype with fields")
        self.value = self.value.newbyteorder(order) if order in "<>" else self.value


class _Array:
    """An array as `numpy.ndarray` pickles itself: first empty, then its state."""

    value = None

    def __init__(self, *_begun: Any): ...

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, content = state[-4:]
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    content = _encode(content) if isinstance(content, str) else content
    if not isinstance(dtype, _Dtype) or not isinstance(content, (bytes, bytearray)):
        raise RefusedPickle("holds an array without a dtype, or whose content is not bytes")
    is_shape = type(shape) is tuple and len(shape) <= 32
    is_shape = is_shape and all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
    if not is_shape or len(content) != math.prod(shape) * dtype.value.itemsize:
        raise RefusedPickle("holds an array whose content does not fit its shape")
    return np.frombuffer(content, dtype.value).reshape(shape, order=order)


def _text(value: Any) -> str:
    value = value.decode("latin1") if isinstance(value, bytes) else value
    return value if isinstance(value, str) else ""


def _encode(text: str = "", encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle("decodes text otherwise than as latin1")
    return text.encode("latin1")


def _list_of(items: tuple) -> list:
    """What `tuple` is called for: a tensor's name and content; a list is never hashed."""
    if not isinstance(items, tuple):
        raise RefusedPickle("makes a tuple of something else")
    return list(items)


def _empty_dict() -> dict:
    return {}


_ALLOWED = {
    "builtins.tuple": _list_of,
    "builtins.bytes": _encode,
    "collections.OrderedDict": _empty_dict,
    "_codecs.encode": _encode,
    "numpy.ndarray": "ndarray",
    "numpy.dtype": _Dtype,
    "numpy.multiarray._reconstruct": _Array,
    "numpy.multiarray.scalar": lambda dtype, content: _array(content, dtype, (1,), "C")[0],
    "numpy.numeric._frombuffer": _array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Python 2 and NumPy 1 and 2 call their modules differently.
        known = re.sub(r"^numpy\._?core\.", "numpy.", module.replace("__builtin__", "builtins"))
        if f"{known}.{name}" not in _ALLOWED:
            raise RefusedPickle(f"asks for {module}.{name}, which may do harm; arrays need it not")
        return _ALLOWED[f"{known}.{name}"]


def load_plain(content: bytes, encoding: str = "latin1") -> Any:
    """Reads a pickle of arrays, numbers, text, dicts, lists and tuples.

    `encoding` is that of the text of Python 2's pickles; 'bytes' leaves it as bytes. Raises
    `RefusedPickle` where it asks for anything else, of which nothing was called.
    """
    _check_instructions(content)
    return _resolved(_Unpickler(io.BytesIO(content), encoding=encoding).load(), {})


def _check_instructions(content: bytes) -> None:
    """Refuses what would take more time or memory than there are bytes.

    Hashing tuples that are many, or that stand in several places, may never end; the unpickler
    has a place in memory for each number up to the highest that is remembered; and it skips what
    a frame's end cuts in two, so that it would read other instructions than are seen here.
    """
    counted, memo, single, frame = 0, set(), set(), 0
    before, given, begun = "", None, 0
    for opcode, argument, position in pickletools.genops(content):
        name = opcode.name
        counted += name in _COUNTED
        refused = name in _REFUSED or counted > MAX_TUPLES or begun < frame < position
        if name == "MEMOIZE" or "PUT" in name:
            memo.add(place := len(memo) if argument is None else argument)
            refused |= place > len(memo)
            is_long = isinstance(given, (str, bytes)) and len(given) > MAX_SHARED
            single |= set() if before.endswith(_SHARED) and not is_long else {place}
        elif "GET" in name:
            refused |= argument in single
        elif name == "FRAME":
            refused |= position < frame
            frame = position + 9 + argument
        if refused:
            raise RefusedPickle(f"has {name} as no file of arrays has it")
        before, given, begun = name, argument, position


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    """The value with arrays for placeholders; what stands in several places is resolved once."""
    if isinstance(value, (_Array, _Dtype)):
        return value.value
    if isinstance(value, (dict, list, tuple)) and id(value) not in done:
        found = {}
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            found[name] = _resolved(item, done)
        done[id(value)] = found if isinstance(value, dict) else type(value)(found.values())
    return done.get(id(value), value)
