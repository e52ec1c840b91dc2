"""Paddle's state files (.pdparams, .pdopt, .pdstates): whole when written, strict when read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from utils.system.errors import UserError, first_line
from utils.system.files import replacing
from utils.system.pickles import RefusedPickle, load_plain

_CUT_UP = "UnpackBigParamInfor@@"
_INTERNAL_NAMES = "StructuredToParameterName@@"


def with_ending(prefix: str | os.PathLike, ending: str) -> Path:
    """`output/weights_64` → `output/weights_64.pdparams`; a path that ends so stays as it is."""
    text = os.fspath(prefix)
    return Path(text if text.endswith(ending) else text + ending)


def write_state(path: Path, state: dict[str, Any], alone: bool = False) -> None:
    """Writes a state dict in Paddle's format; see `utils.system.files.replacing`."""
    with replacing(path, alone) as temporary:
        paddle.save(state, str(temporary))


def read_state(path: Path, expected: str) -> dict[str, Any]:
    """Reads a state dict; its tensors come as NumPy arrays.

    Args:
        path: the file.
        expected: what it should hold, for the message, such as 'trained weights'.

    Raises:
        UserError: the file is missing, is not a state dict, or asks for anything else than one
            needs (`utils.system.pickles`); then nothing of it was run.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; expected a file of {expected}")
    try:
        with path.open("rb") as file:
            state = load_plain(file)
        if isinstance(state, dict):
            return _as_paddle_means(state)
    except RefusedPickle as error:
        raise UserError(f"{path}: refused: the file {error}") from error
    except Exception as error:  # what a broken pickle raises is not limited to a few kinds
        raise UserError(f"{path}: not a file of {expected}: {first_line(error)}") from error
    raise UserError(f"{path}: expected {expected}, found {type(state).__name__}")


def _as_paddle_means(state: dict[str, Any]) -> dict[str, Any]:
    """What `paddle.save` has written a state dict as → the state dict, its tensors as arrays."""
    for name, whole in state.pop(_CUT_UP, {}).items():
        slices = [state.pop(part) for part in whole["slices"]]
        state[name] = np.concatenate(slices).reshape(whole["OriginShape"])
    state.pop(_INTERNAL_NAMES, None)
    return {name: _without_names(value) for name, value in state.items()}


def _without_names(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        return value[1]  # a tensor: its internal name and its content
    if isinstance(value, dict):
        return {name: _without_names(part) for name, part in value.items()}
    return [_without_names(part) for part in value] if isinstance(value, list) else value


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
