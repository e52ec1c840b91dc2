"""Writes files as `paddle.save` of Paddle 2.2.2 did on Python 3.7, byte for byte.

The published weights were written so: protocol 4, and NumPy's modules under the names of
NumPy 1. A dict of tensors becomes a dict of arrays with a table of the tensors' internal names;
in anything else each tensor becomes a tuple of its name and its array.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

INTERNAL_NAMES = {
    **{f"features.{place}": f"conv2d_{number}" for number, place in enumerate((0, 3, 6, 8, 10))},
    # The published network makes AlexNet's three layers and two that it fills with their weights.
    **{"classifier_plus.1": "linear_0", "classifier_plus.4": "linear_1"},
    "classifier_plus.6": "linear_5",
}
SUFFIXES = {"weight": "w_0", "bias": "b_0"}


class Tensor:
    """A tensor, as Paddle 2.2.2 reduced one."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self.array = name, array

    def __reduce__(self):
        return tuple, ((self.name, self.array),)


def internal_name(name: str) -> str:
    """`classifier_plus.6.weight` → `linear_5.w_0`: the published network's internal names."""
    layer, _, kind = name.rpartition(".")
    return f"{INTERNAL_NAMES[layer]}.{SUFFIXES[kind]}"


def published_weights(arrays: dict) -> dict:
    """The state dict of the published network with these arrays, by structured name."""
    return {name: Tensor(internal_name(name), array) for name, array in arrays.items()}


def published_momentum(arrays: dict, epochs: int) -> dict:
    """The state of its optimizer; the arrays are velocities, by a parameter's structured name."""
    state = {}
    for name, array in arrays.items():
        # Two strings, as Paddle had: pickle writes one string that stands twice only once.
        key, its_name = (f"{internal_name(name)}_velocity_0" for _ in range(2))
        state[key] = Tensor(its_name, array)
    return {**state, "LR_Scheduler": {"last_epoch": epochs, "last_lr": 0.002}}


def save(state: dict, path: Path, protocol: int = 4) -> None:
    """What `paddle.save(state, path)` wrote."""
    if not any(_holds_tensors(value) for value in state.values()):
        table = {key: value.name for key, value in state.items() if isinstance(value, Tensor)}
        arrays = {key: getattr(value, "array", value) for key, value in state.items()}
        state = {**arrays, "StructuredToParameterName@@": table}
    with _numpy_1(), path.open("wb") as file:
        pickle.dump(state, file, protocol)


def _holds_tensors(value: object) -> bool:
    # Paddle 2.2.2 takes no number or text for a part of a state dict either.
    if isinstance(value, dict):
        return any(isinstance(part, Tensor) for part in value.values())
    return not isinstance(value, Tensor)


@contextlib.contextmanager
def _numpy_1() -> Iterator[None]:
    """Inside the block arrays are pickled with NumPy 1's names, which NumPy 2 understands."""
    reconstruct = np.zeros(0).__reduce__()[0]
    here = reconstruct.__module__
    reconstruct.__module__ = "numpy.core.multiarray"
    try:
        yield
    finally:
        reconstruct.__module__ = here
