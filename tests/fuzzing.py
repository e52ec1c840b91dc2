"""What the fuzzing tests share: how many cases, and what may come of one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from utils.system.errors import UserError, one_line


def cases(count: int) -> settings:
    """Settings for `count` cases, the same at every run; HASHNET_FUZZ_EXAMPLES asks for others."""
    wanted = os.environ.get("HASHNET_FUZZ_EXAMPLES")
    return settings(
        max_examples=int(wanted or count),
        derandomize=wanted is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def only_user_errors(parse: Callable[[], Any], named: Path | str) -> bool:
    """Parses; the one error that may come is a `UserError` that names the file.

    Returns:
        Whether it was taken.
    """
    try:
        parse()
    except UserError as error:
        assert str(named) in str(error)
        assert len(one_line(str(error)).splitlines()) == 1
        return False
    return True


def mutated(content: bytes, seed: int) -> bytes:
    """Some bytes changed, cut out, doubled, or the end cut off; as `seed` has it."""
    rng = random.Random(seed)
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 2, 4, 30))
        piece = changed[place : place + length]
        changed[place : place + length] = rng.choice(
            (
                rng.randbytes(len(piece)),
                b"",
                piece * 2,
                bytes(len(piece)),
                b"\xff" * len(piece),
                bytes(byte ^ (1 << rng.randrange(8)) for byte in piece),
            )
        )
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)
