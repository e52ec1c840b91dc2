"""Pickles of strangers: only arrays, numbers, text and plain containers come out.

A pickle names functions, and reading it calls them; so weights files that are pickles
(`.pdparams`, `.pdopt`, `.pdstates`, CIFAR-10's archive) can do anything with the reader's rights.
Here every name that is asked for is looked up in a short list, and refused before anything is
called where it is not there. What stands in the list are functions of this file, which take no
other arguments than states need.

Nor does a pickle reach NumPy or Python where they trust it: an array's or dtype's inside is set
only once and only after it was checked (NumPy's own `__setstate__` crashes on some), and only
numbers and text are hashed (a tuple in a tuple in a tuple … would overflow the stack). For that
the reader is Python's own in Python, which lets single instructions be replaced; there are few of
them in a file of arrays.
"""

from __future__ import annotations

import collections
import math
import pickle
import re
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np

FORBIDDEN = "asks for {}, which a file of arrays has no use for: it may be made to do harm"
_NDARRAY = object()
"""What `numpy.ndarray` is to a pickle: a word, nothing to call."""
_KEYS = (str, bytes, int, float, bool, complex, type(None))
_DTYPE = re.compile(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|\?)")


class RefusedPickle(Exception):
    """The pickle asks for something that is not on the list, or holds objects of Python."""


class _Dtype:
    """A dtype of numbers or text, as a pickle makes it: first its name, then its byte order."""

    def __init__(self, name: Any, _align: Any = False, _copy: Any = False):
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if isinstance(name, str) and name.startswith("O"):
            raise RefusedPickle("holds Python objects in an array")
        if not (isinstance(name, str) and _DTYPE.fullmatch(name)):
            raise RefusedPickle(f"has an array of the dtype {str(name)[:40]!r}")
        self.dtype = np.dtype(name)

    def set_state(self, state: Any) -> None:
        """Takes the byte order; the rest is as the name says, or of dtypes that are refused."""
        _, order, *fields = state[:5]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
            raise RefusedPickle("has an array of a dtype with fields")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


def _dtype_of(dtype: Any) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise RefusedPickle("has an array without a dtype")
    return dtype.dtype


def _array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(_bytes_of(buffer), _dtype_of(dtype)).reshape(shape, order=order)


def _number(dtype: Any, content: Any) -> np.generic:
    return np.frombuffer(_bytes_of(content), _dtype_of(dtype), count=1)[0]


def _bytes_of(content: Any) -> bytes | bytearray:
    # Python 2's bytes come as text of that encoding.
    content = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(content, (bytes, bytearray)):
        raise RefusedPickle("has an array whose content is not bytes")
    return content


def _bytes_of_text(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle(f"decodes {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""  # what old pickles call `bytes` for


def _tuple(items: Any = ()) -> tuple:
    if not isinstance(items, (list, tuple)):
        raise RefusedPickle(f"makes a tuple of an object of {type(items).__name__}")
    return tuple(items)


def _set(items: Any = ()) -> set:
    return set(map(_key, items))


def _frozenset(items: Any = ()) -> frozenset:
    return frozenset(map(_key, items))


def _ordered_dict(items: Any = ()) -> collections.OrderedDict:
    return collections.OrderedDict((_key(name), value) for name, value in items)


def _key(key: Any) -> Any:
    if type(key) not in _KEYS:
        raise RefusedPickle(f"has an object of {type(key).__name__} as a name or in a set")
    return key


_ALLOWED: dict[tuple[str, str], Any] = {
    **{
        (module, name): function
        for module in ("builtins", "__builtin__")
        for name, function in (
            ("tuple", _tuple),  # of a tensor's name and content, in Paddle's states
            ("set", _set),
            ("frozenset", _frozenset),
            ("bytes", _no_bytes),
        )
    },
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _bytes_of_text,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    # NumPy 1 and NumPy 2 call their inner packages differently; `_reconstruct` is the reader's.
    **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_of_buffer for core in ("core", "_core")},
}
_RECONSTRUCT = [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]

_OF_CLASSES = (
    *(pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.OBJ, pickle.INST),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
)
"""Instructions that make objects of classes."""


class _Unpickler(pickle._Unpickler):
    def __init__(self, file: BinaryIO, encoding: str):
        super().__init__(file, encoding=encoding)
        self._begun: dict[int, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Looks a name up in the list alone; nothing is imported."""
        if (module, name) in _RECONSTRUCT:
            return self._begin_array
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedPickle(FORBIDDEN.format(f"{module}.{name}")) from None

    def persistent_load(self, _identity: Any) -> NoReturn:
        """No file of arrays refers to anything outside."""
        raise RefusedPickle(FORBIDDEN.format("something outside the file"))

    def _begin_array(self, kind: Any, shape: Any, _code: Any) -> np.ndarray:
        # What NumPy's own pickles begin with; the content follows as the array's state.
        if kind is not _NDARRAY or shape != (0,):
            raise RefusedPickle("begins an array as NumPy does not")
        array = np.ndarray((0,), np.int8)
        self._begun[id(array)] = array
        return array

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is _Dtype:
            target.set_state(state)
        elif self._begun.pop(id(target), None) is target:
            _fill(target, state)
        else:
            raise RefusedPickle(f"sets the inside of an object of {type(target).__name__}")

    def _set_item(self) -> None:
        value = self.stack.pop()
        self._set_pairs([self.stack.pop(), value])

    def _set_items(self) -> None:
        self._set_pairs(self.pop_mark())

    def _make_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set_pairs(items)

    def _set_pairs(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, collections.OrderedDict):
            raise RefusedPickle(f"sets items of an object of {type(target).__name__}")
        for name, value in zip(items[::2], items[1::2]):
            target[_key(name)] = value

    def _add_items(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise RefusedPickle(f"adds to an object of {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(_key, items))

    def _make_frozenset(self) -> None:
        self.stack.append(_frozenset(self.pop_mark()))

    def _refuse(self) -> NoReturn:
        raise RefusedPickle(FORBIDDEN.format("an object of a class"))

    dispatch: ClassVar[dict] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _make_dict,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _make_frozenset,
        **dict.fromkeys([code[0] for code in _OF_CLASSES], _refuse),
    }


def _fill(array: np.ndarray, state: Any) -> None:
    """Sets an empty array's content: shape, dtype, whether in Fortran's order, bytes."""
    shape, dtype, fortran, content = state[-4:]
    dtype, content = _dtype_of(dtype), _bytes_of(content)
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedPickle("has an array whose shape is none")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise RefusedPickle("has an array whose content does not fit its shape")
    array.__setstate__((1, shape, dtype, bool(fortran), bytes(content)))


def load_plain(file: BinaryIO, encoding: str = "latin1") -> Any:
    """Reads a pickle of arrays, numbers, text and plain containers.

    Args:
        file: open, at the pickle's beginning.
        encoding: of the text of Python 2's pickles; 'bytes' leaves it as bytes.

    Raises:
        RefusedPickle: it asks for, or holds, anything else. Nothing of it was called.
        Exception: it is damaged; the kinds are many.
    """
    content = _Unpickler(file, encoding).load()
    _check_content(content)
    return content


def _check_content(content: Any) -> None:
    waiting, seen = [content], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
        elif not isinstance(item, (*_KEYS, set, frozenset, np.ndarray, np.generic)):
            raise RefusedPickle(FORBIDDEN.format(f"an object of {type(item).__name__}"))
