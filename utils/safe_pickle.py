"""Pickles of strangers: only arrays, numbers, text and plain containers come out.

A pickle names functions, and reading it calls them; so weights files that are pickles
(`.pdparams`, `.pdopt`, `.pdstates`, CIFAR-10's archive) can do anything with the reader's rights.
Here every name that is asked for is looked up in a short list, and refused before anything is
called where it is not there. The functions of the list that could do harm with odd arguments have
stand-ins here that take no others than arrays need.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

FORBIDDEN = "asks for {}, which a file of arrays has no use for: it may be made to do harm"


class RefusedPickle(Exception):
    """The pickle asks for something that is not on the list, or holds objects of Python."""


class _StandIn:
    """A function for the unpickler alone; without attributes that a pickle could change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedPickle("sets an attribute of a function")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _empty_array(kind: type, shape: tuple, code: Any) -> np.ndarray:
    # What NumPy's own pickles begin with; the content follows as the array's state.
    if kind is not np.ndarray or shape != (0,):
        raise RefusedPickle("begins an array as NumPy does not")
    return np.ndarray((0,), np.int8)


def _array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(buffer, _plain_dtype(dtype)).reshape(shape, order=order)


def _number(dtype: Any, content: bytes) -> np.generic:
    return np.frombuffer(content, _plain_dtype(dtype), count=1)[0]


def _plain_dtype(dtype: Any) -> np.dtype:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise RefusedPickle("holds Python objects in an array")
    return dtype


def _bytes_of_text(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle(f"decodes {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""  # what old pickles call `bytes` for


_ALLOWED: dict[tuple[str, str], Any] = {
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (tuple, list, dict, set, frozenset)
    },
    ("builtins", "bytes"): _StandIn(_no_bytes),
    ("__builtin__", "bytes"): _StandIn(_no_bytes),
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _StandIn(_bytes_of_text),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # NumPy 1 and NumPy 2 call their inner packages differently.
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (
            ("_reconstruct", _StandIn(_empty_array)),
            ("scalar", _StandIn(_number)),
        )
    },
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): _StandIn(_array_of_buffer)
        for core in ("core", "_core")
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Looks a name up in the list alone; nothing is imported."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedPickle(FORBIDDEN.format(f"{module}.{name}")) from None

    def persistent_load(self, _identity: Any) -> Any:
        """No file of arrays refers to anything outside."""
        raise RefusedPickle(FORBIDDEN.format("something outside the file"))


def load_plain(file: BinaryIO, encoding: str = "latin1") -> Any:
    """Reads a pickle of arrays, numbers, text and plain containers.

    Args:
        file: open, at the pickle's beginning.
        encoding: of the text of Python 2's pickles; 'bytes' leaves it as bytes.

    Raises:
        RefusedPickle: it asks for, or holds, anything else. Nothing of it was called.
        Exception: it is damaged; the kinds are many.
    """
    content = _Unpickler(file, encoding=encoding).load()
    _check_content(content)
    return content


def _check_content(content: Any) -> None:
    waiting, seen = [content], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            _plain_dtype(item.dtype)
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting += item
        elif not isinstance(item, (str, bytes, int, float, complex, np.generic, type(None))):
            raise RefusedPickle(FORBIDDEN.format(f"an object of {type(item).__name__}"))
