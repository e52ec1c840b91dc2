"""Draws which images are queries, which are trained on, which are the database."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from utils.datasets.lists import ImageList
from utils.system.errors import UserError

PROTOCOLS = ("paper", "released-like")


def whole_number(least: int) -> Callable[[str], int]:
    """A flag's type: a whole number of `least` or more."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            expected = f"expected a whole number of {least} or more"
            raise argparse.ArgumentTypeError(f"{expected}, found {text!r}")
        return int(text)

    return parse


def share(text: str) -> float:
    """A flag's type: a number above 0, at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0 and up to 1, found {text!r}")
    return value


def share_or_none(text: str) -> float:
    """A flag's type: a share, or 0."""
    return 0.0 if text in ("0", "0.0") else share(text)


def add_draw_flags(
    parser: argparse.ArgumentParser, kind: Callable[[str], float], queries: float, train: float
) -> None:
    """Adds the seed of a draw and how many images it takes, a `share` or a `whole_number`."""
    add, word = parser.add_argument, "share" if kind is share else "number"
    rest = f"{word} of the others to train on (default: %(default)s)"
    asked = share_or_none if kind is share else kind
    add("--queries", type=asked, default=queries, help=f"{word} of queries (default: %(default)s)")
    add("--train", type=kind, default=train, help=rest)
    add("--seed", type=whole_number(0), default=0, help="of the draw (default: %(default)s)")


def image_list(source: str, paths: Sequence[str], labels: np.ndarray) -> ImageList:
    """A list of images that stand in no file; `source` names it in messages."""
    return ImageList(source, tuple(paths), labels, np.arange(1, len(paths) + 1))


def draw_split(
    images: ImageList, queries: int, train: int, protocol: str, seed: int
) -> dict[str, ImageList]:
    """Draws the lists of a data set of many labels (HashNet, section 4.1).

    No query is trained on. The database is, with the protocol 'paper', all images but the queries,
    with 'released-like', as in the lists released with HashNet's code, all but the training images.
    """
    if queries + train > len(images):
        raise UserError(
            f"{queries} queries and {train} training images are asked for, {len(images)} images "
            "have labels; --queries and --train ask for other numbers"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    test, chosen = order[:queries], order[queries : queries + train]
    rest = order[queries:] if protocol == "paper" else np.setdiff1d(order, chosen)
    return take(images, {"train": chosen, "test": test, "database": rest})


def draw_stratified(
    images: ImageList, queries: float, train: float, seed: int
) -> dict[str, ImageList]:
    """Draws the lists of images with one label each: the same share of every class.

    `queries` is the share of a class that are queries, at least one image, but never its last one;
    the others are the database. Where it is 0, a tenth are queries, and all are the database.
    `train` is the share of all but the queries to train on, at least one image of each class.
    """
    rng = np.random.default_rng(seed)
    classes = images.labels.argmax(1)
    drawn: dict[str, list[np.ndarray]] = {"train": [], "test": [], "database": []}
    for label in np.unique(classes):
        order = rng.permutation(np.flatnonzero(classes == label))
        asked = min(max(round((queries or 0.1) * len(order)), 1), len(order) - 1)
        test, rest = order[:asked], order[asked:]
        drawn["test"].append(test)
        drawn["database"].append(rest if queries else order)
        drawn["train"].append(rest[: max(round(train * len(rest)), 1)])
    return take(images, {name: np.concatenate(parts) for name, parts in drawn.items()})


def take(images: ImageList, drawn: Mapping[str, np.ndarray]) -> dict[str, ImageList]:
    """The drawn images of each list, in the order in which they stand in `images`."""
    return {
        name: image_list(images.source, [images.paths[i] for i in chosen], images.labels[chosen])
        for name, chosen in ((name, np.sort(indices)) for name, indices in drawn.items())
    }
