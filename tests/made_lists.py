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
        rows = read_list(folder / f"{split}.txt", num_class)
        found[split] = {p: tuple(np.flatnonzero(row)) for p, row in zip(rows.pictures, rows.labels)}
        assert len(found[split]) == len(rows.pictures)
    return found


def sizes(lists: dict) -> dict[str, int]:
    """List → rows."""
    return {split: len(rows) for split, rows in lists.items()}
