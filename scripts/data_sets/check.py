"""Checks a data set: what is wrong with its lists and pictures, and what they amount to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.data_sets import scan
from scripts.data_sets.findings import Report, find_copies, find_label_faults, place
from scripts.data_sets.overlaps import PAIRS, Overlaps, find_overlaps
from scripts.data_sets.rows import Rows, read_rows
from scripts.data_sets.statistics import describe_labels, describe_pairs
from utils.datasets import open_splits
from utils.datasets.info import SPLITS, Card
from utils.system.errors import UserError
from utils.system.files import sha256_of_file


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
    find_label_faults(lists, overlaps, report)
    find_copies(lists, digests, report)
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
                content = split.pictures.open(row).tobytes()
                digests[name] = hashlib.sha256(content).digest()
    return lists, digests
