"""Ranks and the world; one process is a world of size 1, on the same path."""

from __future__ import annotations

import paddle.distributed as dist


def rank() -> int:
    """This process's place in the world, from 0."""
    return dist.get_rank()


def world_size() -> int:
    """How many processes run together."""
    return dist.get_world_size()


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return rank() == 0
