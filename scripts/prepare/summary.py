"""What a data set's lists amount to: their labels, and the images that stand in several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.datasets.info import SPLITS
from utils.datasets.lists import ImageList, positions

PAIRS = (("test", "database"), ("train", "database"), ("test", "train"))
SHOWN = 5
NAMES = {"train": "training images", "test": "queries", "database": "database images"}


def describe(lists: Mapping[str, ImageList], classes: Sequence[str]) -> dict[str, Any]:
    """Counts labels and shared images, as plain JSON; `classes` name the label columns, if any."""
    paths = {split: images.paths for split, images in lists.items()}
    shared = {f"{a} in {b}": (positions(paths[a], paths[b]) >= 0).sum() for a, b in PAIRS}
    return {
        "labels": {split: _describe_labels(lists[split].labels, classes) for split in SPLITS},
        "overlaps": {pair: int(count) for pair, count in shared.items()},
    }


def _describe_labels(labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    per_image, per_class = labels.sum(1, dtype=np.int64), labels.sum(0, dtype=np.int64)
    names = list(classes) or [str(column) for column in range(labels.shape[1])]
    return {
        "pictures": len(labels),
        "labels_per_picture": {
            "mean": float(per_image.mean()),
            "least": int(per_image.min()),
            "most": int(per_image.max()),
            "pictures_with_0_1_2_…": np.bincount(per_image).tolist(),
        },
        "pictures_per_class": dict(zip(names, per_class.tolist())),
        "empty_classes": [name for name, count in zip(names, per_class) if not count],
    }


def as_lines(facts: Mapping[str, Any]) -> list[str]:
    """What `describe` has counted, in six lines for people."""
    lines = []
    for split, found in facts["labels"].items():
        counts, empty = found["labels_per_picture"], found["empty_classes"]
        none = counts["pictures_with_0_1_2_…"][0]
        lines.append(
            f"{split:<9}{found['pictures']:>8,} {NAMES[split]}, {counts['mean']:.2f} labels each"
            + (f", {none:,} without any" if none else "")
            + (f"; empty classes: {some(empty)}" if empty else "")
        )
    for first, second in PAIRS:
        shared = facts["overlaps"][f"{first} in {second}"]
        size = facts["labels"][first]["pictures"]
        how_many = "none" if not shared else f"all {size:,}" if shared == size else f"{shared:,}"
        of = "of the" if shared in (0, size) else f"of the {size:,}"
        verb = "stand in the database" if second == "database" else "are trained on"
        if first == "test" and second == "database" and shared:
            verb += ", so each of them finds itself"
        lines.append(f"{how_many} {of} {NAMES[first]} {verb}")
    return lines


def some(names: Sequence[str], between: str = ", ") -> str:
    """The first of many names, and how many there are."""
    rest = f" … ({len(names):,} in all)" if len(names) > SHOWN else ""
    return between.join(names[:SHOWN]) + rest
