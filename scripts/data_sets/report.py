"""What a sub-command says at its end: the lists it wrote, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.data_sets.overlaps import PAIRS, Overlaps, find_overlaps
from scripts.data_sets.rows import Rows
from scripts.data_sets.statistics import describe_labels
from scripts.data_sets.writing import ROOT, command_line, data_set_name, picture_folder
from utils.datasets.info import SPLITS, read_card

NAMES = {"train": "training pictures", "test": "queries", "database": "database pictures"}
IMAGENET_WEIGHTS = ROOT / "models" / "AlexNet_pretrained.pdparams"


def tell_lists(lists: Mapping[str, Rows], classes: Sequence[str]) -> list[str]:
    """A data set's lists in a few lines: rows, labels, and what they have in common."""
    return tell_rows(lists, classes) + tell_overlaps(find_overlaps(lists), lists)


def tell_rows(lists: Mapping[str, Rows], classes: Sequence[str]) -> list[str]:
    """Rows and labels of the lists, a line each."""
    lines = []
    for split in SPLITS:
        found = describe_labels(lists[split].labels, classes)
        mean = found["labels_per_picture"]["mean"]
        none = int((lists[split].labels.sum(1) == 0).sum())
        lines.append(
            f"{split:<9}{found['pictures']:>8,} {NAMES[split]}, {mean:.2f} labels each"
            + (f", {none:,} without any" if none else "")
            + (f"; empty classes: {some(found['empty_classes'])}" if found["empty_classes"] else "")
        )
    return lines


def tell_overlaps(overlaps: Overlaps, lists: Mapping[str, Rows]) -> list[str]:
    """What the lists have in common, in sentences."""
    lines = []
    for pair in PAIRS:
        first, second = pair
        shared, rows = overlaps.shared(*pair), len(lists[first])
        verb = "stand in the database" if second == "database" else "are trained on"
        how_many = "none" if not shared else f"all {rows:,}" if shared == rows else f"{shared:,}"
        follows = ", so each of them finds itself" if pair == PAIRS[0] and shared else ""
        of = "of the" if shared in (0, rows) else f"of the {rows:,}"
        lines.append(f"{how_many} {of} {NAMES[first]} {verb}{follows}")
    return lines


def some(names: Sequence[str], between: str = ", ", most: int = 5) -> str:
    """The first of many names, and how many there are."""
    rest = f" … ({len(names):,} in all)" if len(names) > most else ""
    return between.join(names[:most]) + rest


def next_steps(folder: Path, pictures: Path | None = None) -> list[str]:
    """The commands that check a data set and train on it.

    Args:
        folder: where its card and lists are.
        pictures: where its pictures are, if that is known.
    """
    words = ["--dataset", data_set_name(folder)]
    if (
        pictures
        and pictures.resolve() != picture_folder(read_card(str(folder.resolve()))).resolve()
    ):
        words += ["--data-path", str(pictures)]
    weights = [] if IMAGENET_WEIGHTS.is_file() else ["--backbone-weights", "none"]
    train = command_line("main_single_gpu.py", "--bit", "64", *words, *weights)
    lines = [
        f"written to {folder}; next:",
        f"  {command_line('scripts/check_data.py', *words)}",
        f"  {train}",
    ]
    if weights:
        lines.append(
            "  (from random weights, since models/AlexNet_pretrained.pdparams is not there; "
            "with ImageNet weights it learns much better: see README)"
        )
    return lines
