"""Checks a data set: what is wrong with its lists and pictures, and what they amount to."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data_sets import scan
from scripts.data_sets.overlaps import PAIRS, Overlaps, find_overlaps
from scripts.data_sets.rows import Rows, read_rows
from scripts.data_sets.statistics import describe_labels, describe_pairs
from utils.cards import SPLITS, Card
from utils.datasets import open_splits
from utils.errors import UserError
from utils.files import sha256_of_file

PROBLEMS = {
    scan.MISSING: "the file is not there",
    scan.NOT_A_PICTURE: "the file is empty, or no picture that Pillow knows",
    scan.TRUNCATED: "the file ends too early",
    scan.DAMAGED: "the file cannot be decoded",
    "bad-line": "a line is no path with the right number of labels",
    "outside": "a path leads out of the picture folder",
    "no-label": "a picture without a label is similar to none",
    "repeated": "a picture stands in a list twice",
    "contradiction": "a picture has different labels in different places",
    "query-trained-on": "a query, or a file of the same bytes, is a training picture",
    "partly-inside": "some queries stand in the database, others do not",
}
"""Kinds of findings that make a data set wrong."""

NOTES = {
    "duplicate": "files of the same bytes under several names",
    "ending": "a file's ending promises another format",
}
"""Kinds of findings that a training does not mind."""


@dataclass
class Report:
    """What a check has found.

    Attributes:
        facts: counts and shares, plain JSON values.
        findings: kind → places, each a line of text.
    """

    facts: dict[str, Any]
    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def wrong(self, accepted: Sequence[str]) -> list[str]:
        """The kinds of findings that make the data set wrong, but those accepted."""
        return [kind for kind in PROBLEMS if kind in self.findings and kind not in accepted]


@dataclass(frozen=True)
class Checked:
    """A data set's lists, what they have in common, and what a check has found."""

    lists: dict[str, Rows]
    overlaps: Overlaps
    report: Report


def check_data_set(
    card: Card, pictures: Path, list_path: Path | None, workers: int, labels_only: bool, seed: int
) -> Checked:
    """Checks the lists and the pictures of a data set.

    Args:
        card: its card.
        pictures: the picture folder (the archive's, for CIFAR-10).
        list_path: folder of the lists; None: the card's.
        workers: processes that read pictures.
        labels_only: open no picture.
        seed: draws CIFAR-10's splits.

    Raises:
        UserError: there is nothing to check: a list, the archive or the picture folder is
            missing, or every picture is.
    """
    report = Report({"dataset": card.name, "pictures": str(pictures), "lists": {}})
    if card.kind == "cifar10":
        lists, digests = _cifar(card, pictures, seed)
    else:
        if not labels_only and not pictures.is_dir():
            raise UserError(f"{pictures}: the picture folder is missing; --data-path names it")
        lists = _read_lists(card, list_path or card.folder, report)
        digests = {} if labels_only else _scan(lists, pictures, workers, report)
    report.facts["pictures_opened"] = len(digests)
    overlaps = find_overlaps(lists)
    _find_label_faults(lists, overlaps, report)
    _find_copies(lists, digests, report)
    report.facts["labels"] = {
        split: describe_labels(rows.labels, card.classes) for split, rows in lists.items()
    }
    report.facts["overlaps"] = {f"{a} in {b}": overlaps.shared(a, b) for a, b in PAIRS}
    report.facts["pairs"] = describe_pairs(lists, overlaps.places["test", "database"])
    return Checked(lists, overlaps, report)


def _read_lists(card: Card, folder: Path, report: Report) -> dict[str, Rows]:
    lists = {}
    for split in SPLITS:
        path = folder / card.lists[split]
        lists[split] = rows = read_rows(path, card.num_class)
        for _, message in rows.faults:
            report.findings["bad-line"].append(message)
        report.facts["lists"][split] = {
            "list": str(path),
            "list_sha256": sha256_of_file(path),
            "rows": len(rows),
        }
    return lists


def place(rows: Rows, row: int) -> str:
    """Where a row stands: the list, the line and the picture."""
    return f"{rows.source}, line {rows.lines[row]}: {rows.pictures[row]}"


def _scan(
    lists: Mapping[str, Rows], folder: Path, workers: int, report: Report
) -> dict[str, bytes]:
    """Opens each picture once, in whatever lists it stands; returns path → digest."""
    first: dict[str, str] = {}
    for rows in lists.values():
        for row, picture in enumerate(rows.pictures):
            name = os.path.normpath(picture)
            if name in first:
                continue
            first[name] = place(rows, row)
            if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
                report.findings["outside"].append(first[name])
    found = scan.scan_files([os.path.join(folder, name) for name in first], workers)
    if all(scanned.fault == scan.MISSING for scanned in found):
        raise UserError(
            f"{folder}: none of the {len(found):,} pictures of the lists is there, such as "
            f"{next(iter(first))}; --data-path names their folder"
        )
    for name, scanned in zip(first, found):
        if scanned.fault:
            report.findings[scanned.fault].append(f"{first[name]}: {scanned.message}")
        elif not scan.ending_fits(name, scanned.form):
            report.findings["ending"].append(f"{first[name]} is {scanned.form}")
    return {name: scanned.digest for name, scanned in zip(first, found) if scanned.digest}


def _cifar(card: Card, folder: Path, seed: int) -> tuple[dict[str, Rows], dict[str, bytes]]:
    lists, digests = {}, {}
    for split in open_splits(card, SPLITS, str(folder), seed=seed):
        names = tuple(split.pictures.name(row) for row in range(len(split)))
        lines = np.arange(1, len(split) + 1)
        lists[split.name] = Rows(split.origin["list"], names, split.labels, lines)
        for row, name in enumerate(names):
            if name not in digests:
                digests[name] = scan.digest_of(split.pictures.open(row).tobytes())
    return lists, digests


def _find_label_faults(lists: Mapping[str, Rows], overlaps: Overlaps, report: Report) -> None:
    for split, rows in lists.items():
        for row in np.flatnonzero(~rows.labels.any(1)):
            report.findings["no-label"].append(place(rows, row))
        for row in overlaps.repeated[split]:
            report.findings["repeated"].append(place(rows, row))
    for first, row, second, other in overlaps.contradictions:
        text = f"{place(lists[first], row)} and {lists[second].source}, line "
        report.findings["contradiction"].append(f"{text}{lists[second].lines[other]}")
    for row in np.flatnonzero(overlaps.places["test", "train"] >= 0):
        report.findings["query-trained-on"].append(place(lists["test"], row))
    inside = overlaps.shared("test", "database")
    if 0 < inside < len(lists["test"]):
        report.findings["partly-inside"].append(
            f"{inside:,} of {len(lists['test']):,} queries stand in the database"
        )


def _find_copies(lists: Mapping[str, Rows], digests: Mapping[str, bytes], report: Report) -> None:
    """Files of the same bytes under several names."""
    names: dict[bytes, list[str]] = defaultdict(list)
    for name, digest in digests.items():
        names[digest].append(name)
    copied = {name for group in names.values() if len(group) > 1 for name in group}
    splits: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, bytes] = {}
    for split, rows in lists.items():
        for row, name in enumerate(map(os.path.normpath, rows.pictures)):
            if name in copied:
                splits[name].add(split)
                labels[name] = rows.labels[row].tobytes()
    for group in names.values():
        if len(group) < 2:
            continue
        differ = len({labels[name] for name in group}) > 1
        text = " = ".join(f"{name} ({', '.join(sorted(splits[name]))})" for name in group)
        text += "; their labels differ" if differ else ""
        trained = {name for name in group if "train" in splits[name]}
        queried = {name for name in group if "test" in splits[name]}
        leaks = any(name != other for name in queried for other in trained)
        report.findings["query-trained-on" if leaks else "duplicate"].append(text)
