"""Restricted unpickler for untrusted weights files (compare `torch.load(weights_only=True)`).

A pickle is a program, and Python's unpickler calls whatever it names. Here only the instructions
that files of arrays have are followed, and what they call is replaced by functions of this module.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

MAX_INSTRUCTIONS = 500_000
MAX_REPEATED = 1 << 26
"""Of a pickle, at most (a batch of CIFAR-10 has 30,000), and bytes that stand in it once more."""


class RefusedPickle(Exception):
    """The pickle asks for something that a file of arrays has no use for."""

    def __str__(self) -> str:
        return f"refused: it {super().__str__()}"


class _Dtype:
    """A dtype: first its name, then its byte order."""

    def __init__(self, name: str):
        if not re.fullmatch(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|\?)", name):
            raise RefusedPickle(f"holds an array of Python objects or the like: {name[:40]}")
        self.value = np.dtype(name)

    def build(self, _version: Any, order: Any, *fields: Any) -> _Dtype:
        if fields[:3] != (None, None, None):
            raise RefusedPickle("holds an array of a dtype with fields")
        self.value = self.value.newbyteorder(order)
        return self


class _Array:
    """An array as `numpy.ndarray` pickles itself: first empty, then its state."""

    def build(self, _version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> Any:
        return _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    content = content.encode("latin1") if isinstance(content, str) else content
    array = np.frombuffer(content, dtype.value).reshape(shape, order=order)
    if array.shape != shape:  # such as (-1, 2)
        raise RefusedPickle("holds an array of no shape")
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle("encodes text otherwise than as latin1")
    return text.encode("latin1")


_CALLED = {
    "builtins.tuple": lambda items: items,  # a tensor's name and content
    "builtins.bytes": lambda: b"",
    "collections.OrderedDict": lambda: {},
    "_codecs.encode": _encode,
    "numpy.ndarray": "ndarray",
    "numpy.dtype": lambda name, *_: _Dtype(name),
    "numpy.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.multiarray.scalar": lambda dtype, content: _array(content, dtype, (1,), "C")[0],
    "numpy.numeric._frombuffer": _array,
}
_CONSTANT = r"BININT[12]?|LONG[14]|BINFLOAT|(SHORT_)?BIN(STRING|UNICODE|BYTES)8?|BYTEARRAY8"
_NEW = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_NEW |= {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
_IN_ONE_PLACE = (list, tuple, dict, bytearray, np.ndarray, _Array)
"""So that what is read is a tree, no larger than the file."""
_TAKES = {"TUPLE": None, "APPENDS": None, "SETITEMS": None, "TUPLE1": 1, "APPEND": 1, "TUPLE3": 3}
_TAKES |= {"TUPLE2": 2, "SETITEM": 2, "STACK_GLOBAL": 2, "REDUCE": 2, "BUILD": 2}
"""How many values an instruction takes off the stack; None: all since the last mark."""


def load_plain(
    content: bytes | BinaryIO,
    called: dict[str, Any] | None = None,
    load_outside: Callable[[Any], Any] | None = None,
) -> Any:
    """Reads a pickle of arrays, numbers, text, bytes, dicts, lists and tuples, of protocol 2 to 5.

    Time and memory are linear in its size. Text of Python 2 is read as latin1. A file is read to
    the pickle's end. By name, `called` says what else stands for what the pickle calls;
    `load_outside` takes the id of what a file keeps outside of its pickle, and returns that.

    Raises:
        RefusedPickle: it asks for anything else; nothing of it was called.
        Exception: it is damaged.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    repeated, known = 0, {**_CALLED, **(called or {})}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name, taken = opcode.name, []
        if count == MAX_INSTRUCTIONS:
            raise RefusedPickle(f"has more than {MAX_INSTRUCTIONS:,} instructions")
        if name in _TAKES:
            start = len(stack) - _TAKES[name] if _TAKES[name] else marks.pop()
            taken, stack[start:] = stack[start:], []
        if re.fullmatch(_CONSTANT, name):
            stack.append(argument)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name == "MARK":
            marks.append(len(stack))
        elif "TUPLE" in name:
            stack.append(tuple(taken))
        elif "APPEND" in name:
            stack[-1].extend(taken)
        elif "SETITEM" in name:
            if not all(isinstance(key, str) for key in taken[::2]):  # hashing others may never end
                raise RefusedPickle("has a name that is no text")
            stack[-1].update(zip(taken[::2], taken[1::2]))
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            value = memo[argument]
            repeated += len(value) if isinstance(value, (str, bytes)) else 0
            if isinstance(value, _IN_ONE_PLACE) or repeated > MAX_REPEATED:
                raise RefusedPickle("has a list, an array or long text in many places")
            stack.append(value)
        elif "GLOBAL" in name:
            stack.append(_replacement(argument or " ".join(taken), known))
        elif name == "BINPERSID" and load_outside:
            stack.append(load_outside(stack.pop()))
        elif name == "REDUCE":
            stack.append(taken[0](*taken[1]))
        elif name == "BUILD":
            is_dict = isinstance(taken[0], dict)  # what it carries beside its items is no weight
            stack.append(taken[0] if is_dict else taken[0].build(*taken[1]))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise RefusedPickle(f"has {name} as no file of arrays has it")
    (value,) = stack
    return value


def _replacement(name: str, called: dict[str, Any]) -> Any:
    name = name.replace(" ", ".")
    # Python 2 and NumPy 1 and 2 call their modules differently.
    known = re.sub(r"^numpy\._?core\.", "numpy.", name).replace("__builtin__", "builtins")
    if known not in called:
        raise RefusedPickle(f"asks for {name}, which may do harm; arrays need it not")
    return called[known]
