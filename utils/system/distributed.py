"""Ranks and what they exchange; one process is a world of size 1, on the same path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import paddle

HEARTBEAT_SECONDS = 5.0
"""How often a rank that keeps the others waiting tells them that it is there."""


def _paddle() -> Any:
    """Paddle, which connects ranks; a process that has not imported it is alone."""
    return sys.modules.get("paddle")


def rank() -> int:
    """This process's place in the world, from 0."""
    return _paddle().distributed.get_rank() if _paddle() else 0


def world_size() -> int:
    """How many processes run together."""
    return _paddle().distributed.get_world_size() if _paddle() else 1


def is_main_process() -> bool:
    """Whether this process is the one that speaks and writes."""
    return rank() == 0


def barrier() -> None:
    """Waits until every rank is here."""
    if world_size() > 1:
        _paddle().distributed.barrier()


def synchronized(network: paddle.nn.Layer) -> paddle.nn.Layer:
    """A network whose weights are now rank 0's; on GPUs its backward gives means over ranks."""
    if world_size() == 1:
        return network
    if _paddle().device.get_device() != "cpu":
        return _paddle().DataParallel(network)
    for value in network.state_dict().values():
        _paddle().distributed.broadcast(value, 0)
    return network


def average_gradients(network: paddle.nn.Layer) -> None:
    """Sets a synchronized network's gradients to their means over ranks, where backward has not.

    On a CPU `DataParallel` would abort the process where another rank is lost.
    """
    if world_size() == 1 or isinstance(network, _paddle().DataParallel):
        return
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad.set_value(total(parameter.grad) / world_size())


def average_statistics(network: paddle.nn.Layer) -> None:
    """Sets running statistics, such as a batch norm's, to their means over ranks.

    Gradients do not keep them equal. After each step, so that all ranks evaluate one network, and
    what rank 0 saves is what the others go on with.
    """
    for value in network.state_dict().values() if world_size() > 1 else ():
        if value.stop_gradient:
            value.set_value(total(value) / world_size())


def gather(rows: paddle.Tensor) -> paddle.Tensor:
    """The rows of all ranks, rank by rank: [n, …] → [world · n, …], without gradient.

    Every rank has as many, float32, int64 or uint8.
    """
    if world_size() == 1:
        return rows
    parts: list[paddle.Tensor] = []
    _paddle().distributed.all_gather(parts, rows)
    return _paddle().concat(parts)


def total(value: paddle.Tensor) -> paddle.Tensor:
    """The sum over ranks, the same on each of them; a new tensor, without gradient."""
    if world_size() == 1:
        return value
    value = value.clone()
    _paddle().distributed.all_reduce(value)
    return value


def gather_array(array: np.ndarray) -> np.ndarray:
    """`gather` for a NumPy array."""
    return array if world_size() == 1 else gather(_paddle().to_tensor(array)).numpy()


def gather_objects(value: Any) -> list[Any]:
    """A picklable value of every rank, in the order of ranks; known to all."""
    if world_size() == 1:
        return [value]
    values: list[Any] = []
    _paddle().distributed.all_gather_object(values, value)
    return values


def merged(entries: dict[int, str]) -> dict[int, str]:
    """The entries of all ranks, by key; they call it together."""
    everywhere = [item for each in gather_objects(entries) for item in each.items()]
    return dict(sorted(everywhere))


def compute_on_main_process(compute: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What rank 0 alone computes, known to all; the others wait, however long it takes.

    The result can be pickled.
    """
    if world_size() == 1:
        return compute(*arguments, **options)
    if not is_main_process():
        while not gather_objects(None)[0]:
            pass
        return gather_objects(None)[0]
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(compute, *arguments, **options)
        done = False
        while not done:  # gloo gives up on a rank that is silent for 30 seconds
            done = bool(wait([result], timeout=HEARTBEAT_SECONDS).done)
            gather_objects(done)
        return gather_objects(result.result())[0]
