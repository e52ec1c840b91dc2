"""What the fuzzing tests share: how many cases, and what may come of one."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
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


MAX_SECONDS, MAX_MEGABYTES = 10, 500
"""What one case may take, beside what the process had before."""


@contextlib.contextmanager
def within_limits() -> Iterator[None]:
    """Fails where the block takes too long or, on Linux, too much memory at a time."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")  # what is peak from now on
    began, before = time.monotonic(), _megabytes("VmRSS")
    try:
        yield
    finally:
        assert time.monotonic() - began < MAX_SECONDS
        assert _megabytes("VmHWM") - before < MAX_MEGABYTES


def _megabytes(name: str) -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def only_user_errors(parse: Callable[[], Any], named: Path | str) -> bool:
    """Parses within limits; the one error that may come is a `UserError` that names the file.

    Returns:
        Whether it was taken.
    """
    try:
        with within_limits():
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
