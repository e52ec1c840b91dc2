"""Which pictures are queries, which are trained on, which are the database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.system.errors import UserError

PROTOCOLS = ("paper", "released-like")


def draw_split(
    pictures: int, queries: int, train: int, protocol: str, seed: int
) -> dict[str, np.ndarray]:
    """Draws the lists of a data set of many labels (HashNet, section 4.1).

    Args:
        pictures: n, all pictures there are.
        queries: how many of them are queries.
        train: how many are trained on; no query is.
        protocol: 'paper': the database is all but the queries and holds the training pictures;
            'released-like': it is all but the training pictures and holds the queries, as in the
            lists released with HashNet's code.
        seed: of the draw.

    Returns:
        Rows of 'train', 'test' and 'database', rising.

    Raises:
        UserError: there are too few pictures.
    """
    if queries + train > pictures:
        raise UserError(
            f"{queries} queries and {train} training pictures are asked for, {pictures} pictures "
            "have labels; --queries and --train ask for other numbers"
        )
    order = np.random.default_rng(seed).permutation(pictures)
    test, chosen = np.sort(order[:queries]), np.sort(order[queries : queries + train])
    left_out = test if protocol == "paper" else chosen
    database = np.setdiff1d(np.arange(pictures), left_out)
    return {"train": chosen, "test": test, "database": database}


def draw_stratified(
    classes: Sequence[int], queries: float, train: float, seed: int
) -> dict[str, np.ndarray]:
    """Draws the lists of pictures with one class each: the same share of every class.

    Args:
        classes: [n], the class of each picture.
        queries: share of a class's pictures that are queries; at least one picture of a class
            that has two, none of a class that has one.
        train: share of the others that is trained on; at least one.
        seed: of the draw.

    Returns:
        Rows of 'train', 'test' and 'database', rising; the database is all but the queries.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {"train": [], "test": [], "database": []}
    for label in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(np.asarray(classes) == label))
        asked = min(max(round(queries * len(rows)), 1), len(rows) - 1)
        test, rest = rows[:asked], rows[asked:]
        found["test"].append(test)
        found["database"].append(rest)
        found["train"].append(rest[: max(round(train * len(rest)), 1)])
    return {name: np.sort(np.concatenate(parts)) for name, parts in found.items()}
