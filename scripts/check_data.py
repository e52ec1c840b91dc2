"""Checks a data set before a training does: its lists, labels and every image in them.

Says how many images, labels and classes there are, what the lists have in common, how many
training pairs are similar and what MAP a random ranking has; and finds missing, empty, truncated
and undecodable files, lines with a wrong number of labels, images without a label, images that
are listed twice or with contradictory labels, queries that are trained on, and files of the same
bytes. What passes, training accepts: both decode alike.

Exit status: 0 nothing is wrong; 1 something is; 2 the check could not be done.

examples:
  python scripts/check_data.py --dataset coco --labels-only   (the lists alone)
  python scripts/check_data.py --dataset coco                 (every image)

Mend or replace what it names, until the status is 0; the report, a JSON file, holds all places.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.prepare import scan, summary
from scripts.prepare.draws import image_list, whole_number
from utils.config.parser import Parser
from utils.datasets import open_splits
from utils.datasets.info import SPLITS, DatasetInfo, read_dataset_info
from utils.datasets.lists import ImageList, positions, read_list
from utils.metrics.relevance import relevant_share
from utils.system.errors import UserError, run_command, tell
from utils.system.files import check_writable, leaves_folder, write_text

PROBLEMS = {
    scan.MISSING: "the file is not there",
    scan.NOT_AN_IMAGE: "the file is empty, or no image that Pillow knows",
    scan.TRUNCATED: "the file ends too early",
    scan.DAMAGED: "the file cannot be decoded",
    "bad-line": "a line is no path with the right number of labels",
    "outside": "a path leads out of the image folder",
    "no-label": "an image without a label is similar to none",
    "repeated": "an image stands in a list twice",
    "contradiction": "an image has different labels in different places",
    "query-trained-on": "a query, or a file of the same bytes, is a training image",
    "nothing-to-learn": "all pairs of training images are similar, or none is",
    "partly-inside": "some queries stand in the database, others do not",
}
"""Kinds of findings that make a data set wrong."""
NOTES = {
    "duplicate": "files of the same bytes under several names",
    "ending": "a file's ending promises another format",
}
"""Kinds of findings that a training does not mind."""
SHOWN, KEPT = 5, 10_000
"""Places of a kind of finding on the console and in the report file."""


class Entry(NamedTuple):
    """Where an image stands: the list's name, its file and line and the path, the labels there."""

    split: str
    place: str
    labels: bytes


Lists = dict[str, ImageList]
# Keys of these are normal paths: `./a.jpg` is `a.jpg`.
Entries, Files = dict[str, list[Entry]], dict[str, scan.Scanned]


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    name = "a folder of data/ with a dataset.yaml, or the path of such a folder"
    add("--dataset", required=True, help=name)
    add("--data-path", type=Path, help="folder of the images (default: dataset.yaml names it)")
    add("--list-path", type=Path, help="folder of the lists (default: beside dataset.yaml)")
    add("--labels-only", action="store_true", help="check the lists, open no image")
    kinds = "findings that shall not count as wrong, such as no-label for NUS-WIDE's released lists"
    kinds += f"; kinds: {', '.join(PROBLEMS)}"
    add("--accept", nargs="+", choices=PROBLEMS, default=[], metavar="KIND", help=kinds)
    scan.add_workers_flag(parser)
    seed = "of CIFAR-10's splits (default: %(default)s)"
    add("--seed", type=whole_number(0), default=2000, help=seed)
    add("--report", type=Path, help="the report file (default: output/check_NAME.json)")
    return parser.parse_args(words)


def main() -> int:
    """Checks, reports, and returns 1 where something is wrong."""
    arguments = parse_arguments()
    info = read_dataset_info(arguments.dataset)
    file = arguments.report or Path("output", f"check_{info.name}.json")
    check_writable(file.parent, [file], "--report")
    report = check_dataset(
        info,
        arguments.data_path or info.image_folder,
        arguments.list_path or info.folder,
        arguments.workers,
        arguments.labels_only,
        arguments.seed,
    )
    found, accepted = report["findings"], arguments.accept
    wrong = [kind for kind in PROBLEMS if kind in found and kind not in accepted]
    findings = {
        kind: {"count": len(places), "wrong": kind in wrong, "places": places[:KEPT]}
        for kind, places in found.items()
    }
    content = {**report, "accepted": accepted, "findings": findings, "ok": not wrong}
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    for line in as_lines(report, wrong):
        tell(line)
    tell(f"{'wrong: ' + ', '.join(wrong) if wrong else 'nothing is wrong'}; report: {file}")
    return 1 if wrong else 0


def check_dataset(
    info: DatasetInfo, folder: Path, list_folder: Path, workers: int, labels_only: bool, seed: int
) -> dict[str, Any]:
    """Checks the lists and the images (for CIFAR-10, the archive) of a data set.

    Returns counts and shares, and `findings`: kind → places; all plain JSON values. Raises a
    `UserError` where a list, the archive, the image folder or every image is missing.
    """
    if info.kind == "cifar10":
        lists, files = _open_cifar10(info, folder, seed)
    else:
        if "train" not in info.lists:
            raise UserError(
                f"{info.name}: has no train list: there is nothing to check for training"
            )
        paths = {split: list_folder / info.lists[split] for split in SPLITS}
        lists = {s: read_list(paths[s], info.num_class, skip_faults=True) for s in SPLITS}
        files = {} if labels_only else _scan(lists, folder, workers)
    entries: Entries = {}
    for split, images in lists.items():
        for line, path, labels in zip(images.lines, images.paths, images.labels):
            entry = Entry(split, f"{images.source}, line {line}: {path}", labels.tobytes())
            entries.setdefault(os.path.normpath(path), []).append(entry)
    findings: dict[str, list[str]] = {}
    for kind, place in (*_faults(lists, files, entries), *_copies(files, entries)):
        findings.setdefault(kind, []).append(place)
    pairs = describe_pairs(lists)
    if pairs["similar_training_pairs"] in (0, 1):
        findings["nothing-to-learn"] = [lists["train"].source]
    return {
        "dataset": info.name,
        "pictures": str(folder),
        "lists": {
            split: {"list": images.source, "list_sha256": images.sha256, "rows": len(images)}
            for split, images in lists.items()
            if images.sha256
        },
        "pictures_opened": sum(bool(file.digest) for file in files.values()),
        **summary.describe(lists, info.classes),
        "pairs": pairs,
        "findings": findings,
    }


def _open_cifar10(info: DatasetInfo, folder: Path, seed: int) -> tuple[Lists, Files]:
    lists, files = {}, {}
    for split in open_splits(info, SPLITS, str(folder), seed=seed):
        names = split.images.names
        lists[split.name] = image_list(split.origin["list"], names, split.labels)
        for index, name in enumerate(names):
            files[name] = scan.Scanned(split.images.key(index).encode(), "PNG")
    return lists, files


def _scan(lists: Lists, folder: Path, workers: int) -> Files:
    """Opens each image once, in whatever lists it stands."""
    if not folder.is_dir():
        raise UserError(f"{folder}: the image folder is missing; --data-path names it")
    paths = [path for images in lists.values() for path in images.paths]
    names = list(dict.fromkeys(map(os.path.normpath, paths)))
    files = scan.scan_files([os.path.join(folder, name) for name in names], workers)
    if all(file.fault == scan.MISSING for file in files):
        raise UserError(
            f"{folder}: none of the {len(files):,} images of the lists is there, such as "
            f"{names[0]}; --data-path names their folder"
        )
    return dict(zip(names, files))


def _faults(lists: Lists, files: Files, entries: Entries) -> Iterator[tuple[str, str]]:
    """Kinds and places of what is wrong with lines, images and files, each for itself."""
    for images in lists.values():
        yield from (("bad-line", fault) for fault in images.faults)
    inside, queries = 0, len(lists["test"])
    for name, stands in entries.items():
        splits = [entry.split for entry in stands]
        for number, (split, place, labels) in enumerate(stands):
            if not any(labels):
                yield "no-label", place
            if split in splits[:number]:
                yield "repeated", place
            if labels != stands[0].labels:
                yield "contradiction", f"{stands[0].place} and {place}"
            if split == "test" and "train" in splits:
                yield "query-trained-on", place
            inside += split == "test" and "database" in splits
        if file := files.get(name):
            place = stands[0].place
            if leaves_folder(name):
                yield "outside", place
            if file.fault:
                yield file.fault, f"{place}: {file.message}"
            elif not scan.ending_fits(name, file.form):
                yield "ending", f"{place} is {file.form}"
    if 0 < inside < queries:
        yield "partly-inside", f"{inside:,} of {queries:,} queries stand in the database"


def _copies(files: Files, entries: Entries) -> Iterator[tuple[str, str]]:
    """Files of the same bytes under several names."""
    groups: dict[bytes, list[str]] = defaultdict(list)
    for name, file in files.items():
        groups[file.digest].append(name)
    for digest, group in groups.items():
        if not digest or len(group) < 2:
            continue
        splits = {name: sorted({entry.split for entry in entries[name]}) for name in group}
        group.sort(key=lambda name: ("test" not in splits[name], "train" not in splits[name]))
        text = summary.some([f"{name} ({', '.join(splits[name])})" for name in group], " = ")
        if len({entries[name][0].labels for name in group}) > 1:
            text += "; their labels differ"
        queried = [name for name in group if "test" in splits[name]]
        trained = [name for name in group if "train" in splits[name]]
        leaks = any(name != other for name in queried for other in trained)
        yield "query-trained-on" if leaks else "duplicate", text


def describe_pairs(lists: Lists) -> dict[str, Any]:
    """How many pairs of different training images, and of queries and database, share a label.

    `chance_map` is the MAP that a random ranking of the database has on average; where no other
    image of the database is relevant to a query, its average precision is 0 or of its own making.
    """
    train, queries, database = (lists[split].labels for split in SPLITS)
    own = positions(lists["test"].paths, lists["database"].paths)
    own_labels = np.where((own >= 0)[:, None], database[own], 0)
    others = database.sum(0, dtype=np.int64) - own_labels
    relevant = ((queries > 0) & (others > 0)).any(1)
    return {
        "similar_training_pairs": relevant_share(train, train, np.arange(len(train))),
        "chance_map": relevant_share(queries, database),
        "chance_map_without_self": relevant_share(queries, database, own),
        "queries_without_relevant": int((~relevant).sum()),
    }


def as_lines(report: Mapping[str, Any], wrong: Sequence[str]) -> list[str]:
    """What a check has found, for people: numbers first, then what is `wrong`, then notes."""
    pairs, findings = report["pairs"], report["findings"]
    lines = [
        *summary.as_lines(report),
        f"similar pairs among training images: {pairs['similar_training_pairs']:.4f}",
        f"MAP of a random ranking: {pairs['chance_map']:.4f}",
    ]
    if report["overlaps"]["test in database"]:
        lines[-1] += f", with --exclude-self {pairs['chance_map_without_self']:.4f}"
    if lonely := pairs["queries_without_relevant"]:
        lines.append(f"{lonely:,} queries share a label with no other image of the database")
    meanings = {**PROBLEMS, **NOTES}
    for kind in [*wrong, *(kind for kind in meanings if kind in findings and kind not in wrong)]:
        title, places = "WRONG" if kind in wrong else "note", findings[kind]
        lines.append(f"{title}: {kind} ({meanings[kind]}): {len(places):,}")
        lines += [f"  {place}" for place in places[:SHOWN]]
        if len(places) > SHOWN:
            lines.append(f"  … {len(places) - SHOWN:,} more in the report")
    return lines


if __name__ == "__main__":
    sys.exit(run_command(main))
