"""What can be wrong with a data set, and the findings that its lists and file contents give."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scripts.data_sets import scan
from scripts.data_sets.overlaps import Overlaps
from scripts.data_sets.report import some
from scripts.data_sets.rows import Rows

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


def place(rows: Rows, row: int) -> str:
    """Where a row stands: the list, the line and the picture."""
    return f"{rows.source}, line {rows.lines[row]}: {rows.pictures[row]}"


def find_label_faults(lists: Mapping[str, Rows], overlaps: Overlaps, report: Report) -> None:
    """Adds what the lists alone show: labels, repetitions, queries in other lists."""
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


def find_copies(lists: Mapping[str, Rows], digests: Mapping[str, bytes], report: Report) -> None:
    """Adds files of the same bytes under several names.

    Args:
        lists: 'train', 'test' and 'database'.
        digests: path, normal, → digest of the file's bytes.
        report: gets the findings.
    """
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
        group.sort(key=lambda name: ("test" not in splits[name], "train" not in splits[name]))
        differ = len({labels[name] for name in group}) > 1
        text = some([f"{name} ({', '.join(sorted(splits[name]))})" for name in group], " = ")
        text += "; their labels differ" if differ else ""
        trained = {name for name in group if "train" in splits[name]}
        queried = {name for name in group if "test" in splits[name]}
        leaks = any(name != other for name in queried for other in trained)
        report.findings["query-trained-on" if leaks else "duplicate"].append(text)
