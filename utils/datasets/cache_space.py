"""Opens a cache of scaled pictures, and says beforehand how much it will hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from utils.datasets import Split
from utils.datasets.cache import ENTRY, PictureCache
from utils.datasets.images import Pictures
from utils.datasets.transforms import Scaling
from utils.system import distributed
from utils.system.errors import UserError

SAMPLE = 200
"""How many pictures' sizes are looked up for the estimate."""


def open_cache(
    cache_dir: str, scaling: Scaling, splits: Sequence[Split], say: Callable[[str], None]
) -> PictureCache:
    """Opens the cache of a scaling; on rank 0 says what it holds of the splits and what it needs.

    Args:
        cache_dir: folder of all caches.
        scaling: what is kept.
        splits: whose pictures will be read; those that several have count once.
        say: takes a line for the user.

    Raises:
        UserError: the folder cannot be written, or the disk has no room for what is missing.
    """
    cache = PictureCache(Path(cache_dir), str(scaling))
    if not distributed.is_first():
        return cache
    wanted = {s.pictures.name(row): (s.pictures, row) for s in splits for row in range(len(s))}
    missing = [
        (pictures, row)
        for pictures, row in wanted.values()
        if not len(cache) or pictures.key(row) not in cache
    ]
    found = len(wanted) - len(missing)
    there = f"Picture cache: {cache.folder} has {found} of {len(wanted)} pictures"
    if not missing:
        say(there)
        return cache
    need, free = _bytes_for(missing, scaling), shutil.disk_usage(cache.folder).free
    about = "about " if len(missing) > SAMPLE else ""
    say(f"{there}; the others need {about}{_size(need)} ({_size(free)} are free)")
    if need > free:
        raise UserError(
            f"--cache-dir {cache_dir}: {_size(need)} are needed and {_size(free)} are free; "
            "make room, name another folder, or go without"
        )
    return cache


def _bytes_for(missing: Sequence[tuple[Pictures, int]], scaling: Scaling) -> float:
    chosen = np.unique(np.linspace(0, len(missing) - 1, SAMPLE).astype(int))
    sizes = []
    for place in chosen:
        pictures, row = missing[place]
        try:
            width, height = scaling.size(*pictures.size(row))
        except UserError:  # a bad picture is told when it is needed
            continue
        sizes.append(width * height * 3 + ENTRY.size)
    return float(np.mean(sizes)) * len(missing) if sizes else 0.0


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
