"""Making lists in a test: the command in this process, and what it has written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.prepare_data import parse_arguments
from utils.datasets.info import SPLITS
from utils.datasets.lists import read_list


def prepare(*words) -> None:
    """Runs `prepare_data.py` in this process."""
    arguments = parse_arguments([str(word) for word in words])
    arguments.run(arguments)


def lists_of(folder: Path, num_class: int = 80) -> dict[str, dict[str, tuple]]:
    """List → {path: the columns of its labels}."""
    found = {}
    for split in SPLITS:
        images = read_list(folder / f"{split}.txt", num_class)
        columns = [tuple(np.flatnonzero(row)) for row in images.labels]
        found[split] = dict(zip(images.paths, columns))
        assert len(found[split]) == len(images)
    return found


def sizes(lists: dict) -> dict[str, int]:
    """List → images."""
    return {split: len(images) for split, images in lists.items()}
