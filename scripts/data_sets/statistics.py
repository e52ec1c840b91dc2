"""What the labels of a data set's lists amount to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.data_sets.rows import Rows
from utils.metrics.relevance import relevant_share


def describe_labels(labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Labels a picture, pictures a class.

    Args:
        labels: [n, num_class] uint8 of 0 and 1.
        classes: names of the columns; empty: they are numbered from 0.

    Returns:
        Plain JSON values.
    """
    per_picture, per_class = labels.sum(1, dtype=np.int64), labels.sum(0, dtype=np.int64)
    names = list(classes) or [str(column) for column in range(labels.shape[1])]
    return {
        "pictures": len(labels),
        "labels_per_picture": {
            "mean": float(per_picture.mean()),
            "least": int(per_picture.min()),
            "most": int(per_picture.max()),
            "pictures_with_0_1_2_…": np.bincount(per_picture).tolist(),
        },
        "pictures_per_class": dict(zip(names, per_class.tolist())),
        "empty_classes": [name for name, count in zip(names, per_class) if not count],
    }


def describe_pairs(lists: Mapping[str, Rows], database_rows: np.ndarray) -> dict[str, Any]:
    """How many pairs share a label: in training, and between queries and database.

    Args:
        lists: 'train', 'test' and 'database'.
        database_rows: [queries] int64, where each query stands in the database, or -1.

    Returns:
        `similar_training_pairs`, the share of the pairs of different training pictures;
        `chance_map`, the MAP that a random ranking of the database has on average, and
        `chance_map_without_self`, the same where each query is left out of its own ranking;
        `queries_without_relevant`, how many queries no other picture of the database is
        relevant to: their average precision is 0, or comes from themselves.
    """
    train, queries, database = (lists[name].labels for name in ("train", "test", "database"))
    return {
        "similar_training_pairs": relevant_share(train, train, np.arange(len(train))),
        "chance_map": relevant_share(queries, database),
        "chance_map_without_self": relevant_share(queries, database, database_rows),
        "queries_without_relevant": _without_relevant(queries, database, database_rows),
    }


def _without_relevant(queries: np.ndarray, database: np.ndarray, own: np.ndarray) -> int:
    own_labels = np.where((own >= 0)[:, None], database[own], 0)
    others = database.sum(0, dtype=np.int64) - own_labels
    return int((~((queries > 0) & (others > 0)).any(1)).sum())
