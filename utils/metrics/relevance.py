"""Who is relevant to whom: two pictures that share a label (HashNet, section 3: s_ij = 1)."""

from __future__ import annotations

import numpy as np

from utils.system.errors import UserError

# A multiple of 8: each block of rows fills whole bytes of the bitmaps.
BLOCK_ROWS = 65_536


class ClassBitmaps:
    """The database rows that carry each class, one bit a row.

    The relevant rows of a query are then the OR of a few bitmaps: for 80 classes and a query with
    3 labels, 3 / 80 of the bits that a product of label matrices would touch.

    Args:
        labels: 0/1 labels [n, n_class] of the database, any real type or bool.

    Raises:
        UserError: not a matrix, or values other than 0 and 1.
    """

    def __init__(self, labels: np.ndarray) -> None:
        check_labels(labels, "database labels")
        self.rows, n_class = labels.shape
        self._bitmaps = np.empty((n_class, -(-self.rows // 8)), np.uint8)
        for start in range(0, self.rows, BLOCK_ROWS):
            packed = np.packbits(labels[start : start + BLOCK_ROWS] != 0, axis=0)
            self._bitmaps[:, start // 8 : start // 8 + len(packed)] = packed.T

    def sharing(self, query_labels: np.ndarray) -> np.ndarray:
        """Marks the database rows that share a class with one query.

        Args:
            query_labels: 0/1 labels [n_class].

        Returns:
            uint8 [n]: 1 where relevant, else 0.
        """
        classes = np.flatnonzero(query_labels)
        shared = np.bitwise_or.reduce(self._bitmaps[classes], axis=0)
        return np.unpackbits(shared, count=self.rows)


def check_labels(labels: np.ndarray, name: str) -> None:
    """Refuses an array that is no 0/1 label matrix.

    Args:
        labels: what should be [n, n_class] of 0 and 1.
        name: how the message calls it.

    Raises:
        UserError: another shape or type, or other values.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "buif":
        raise UserError(
            f"{name}: {labels.dtype} array of shape {labels.shape}; "
            "expected 0/1 labels [n, n_class]"
        )
    for start in range(0, len(labels), BLOCK_ROWS):
        block = labels[start : start + BLOCK_ROWS]
        wrong = block != (block != 0)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise UserError(
                f"{name}: row {start + row}, column {column} holds {block[row, column]}; "
                "expected 0 or 1"
            )


def relevant_share(
    query_labels: np.ndarray, database_labels: np.ndarray, exclude: np.ndarray | None = None
) -> float:
    """Mean share of relevant database rows over the queries: the chance level of MAP.

    Args:
        query_labels: 0/1 labels [n_q, n_class].
        database_labels: 0/1 labels [n, n_class].
        exclude: int [n_q], for each query a database row that does not count, or -1; None: none.

    Raises:
        UserError: one of them is no 0/1 label matrix.
    """
    check_labels(query_labels, "query labels")
    database = ClassBitmaps(database_labels)
    shares = []
    for query, labels in enumerate(query_labels):
        relevant, left_out = database.sharing(labels), -1 if exclude is None else exclude[query]
        counted = len(relevant) - (left_out >= 0)
        own = relevant[left_out] if left_out >= 0 else 0
        shares.append((int(relevant.sum()) - int(own)) / counted if counted else 0.0)
    return float(np.mean(shares))
