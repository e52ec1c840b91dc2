"""Paddle's state files (.pdparams, .pdopt, .pdstates): whole when written, strict when read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from utils.errors import UserError, first_line
from utils.files import replacing


def with_ending(prefix: str | os.PathLike, ending: str) -> Path:
    """`output/weights_64` → `output/weights_64.pdparams`; a path that ends so stays as it is."""
    text = os.fspath(prefix)
    return Path(text if text.endswith(ending) else text + ending)


def write_state(path: Path, state: dict[str, Any], alone: bool = False) -> None:
    """Writes a state dict in Paddle's format; see `utils.files.replacing`."""
    with replacing(path, alone) as temporary:
        paddle.save(state, str(temporary))


def read_state(path: Path, expected: str) -> dict[str, Any]:
    """Reads a state dict; its tensors come as NumPy arrays.

    Args:
        path: the file.
        expected: what it should hold, for the message, such as 'trained weights'.

    Raises:
        UserError: the file is missing, or is not a state dict.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; expected a file of {expected}")
    try:
        state = paddle.load(str(path), return_numpy=True)
    except Exception as error:  # what a broken pickle raises is not limited to a few kinds
        raise UserError(f"{path}: not a file of {expected}: {first_line(error)}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: expected {expected}, found {type(state).__name__}")
    return state


def assign_strictly(
    layer: paddle.nn.Layer, state: dict[str, Any], source: str, partial: tuple[str, ...] = ()
) -> None:
    """Sets all parameters of a layer; a missing or surplus name or another shape is an error.

    Args:
        layer: what is to be set; untouched if an error is found.
        state: name → array.
        source: where the arrays come from, for the message.
        partial: beginnings of the names that `state` leaves alone.

    Raises:
        UserError: names or shapes differ.
    """
    parameters = {n: p for n, p in layer.state_dict().items() if not n.startswith(partial)}
    missing = sorted(parameters.keys() - state.keys())
    surplus = sorted(state.keys() - parameters.keys())
    if missing or surplus:
        found = [f"missing: {', '.join(missing)}"] if missing else []
        found += [f"unknown: {', '.join(map(str, surplus))}"] if surplus else []
        raise UserError(f"{source}: not weights of this network; {'; '.join(found)}")
    for name, parameter in parameters.items():
        shape, wanted = list(np.shape(state[name])), list(parameter.shape)
        if shape != wanted:
            raise UserError(f"{source}: {name} is {shape}, the network's is {wanted}")
    for name, parameter in parameters.items():
        parameter.set_value(np.asarray(state[name]).astype(np.float32))
