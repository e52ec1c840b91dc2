"""Ground truth: a database image is relevant if it shares a label (HashNet, section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from utils.codes import check_same_bit
from utils.codes.hamming import HammingScanner, as_words, query_groups
from utils.system.errors import UserError

# A multiple of 8: each block of rows fills whole bytes of the bitmaps.
BLOCK_ROWS = 65_536


class ClassBitmaps:
    """The database rows that carry each class, one bit a row.

    The relevant rows of a query are then the OR of a few bitmaps: for 80 classes and a query with
    3 labels, 3 / 80 of the bits that a product of label matrices would touch.
    """

    def __init__(self, labels: np.ndarray) -> None:
        check_labels(labels, "database labels")
        self.rows, n_class = labels.shape
        self._bitmaps = np.empty((n_class, -(-self.rows // 8)), np.uint8)
        for start in range(0, self.rows, BLOCK_ROWS):
            packed = np.packbits(labels[start : start + BLOCK_ROWS] != 0, axis=0)
            self._bitmaps[:, start // 8 : start // 8 + len(packed)] = packed.T

    def sharing(self, query_labels: np.ndarray) -> np.ndarray:
        """uint8 [n]: 1 for a database row that shares a class with a query's labels [n_class]."""
        classes = np.flatnonzero(query_labels)
        shared = np.bitwise_or.reduce(self._bitmaps[classes], axis=0)
        return np.unpackbits(shared, count=self.rows)


def check_labels(labels: np.ndarray, name: str) -> None:
    """Raises a `UserError`, which calls the array `name`, unless it is [n, n_class] of 0 and 1."""
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


def labels_digest(query_labels: np.ndarray, database_labels: np.ndarray) -> str:
    """SHA-256 of 0/1 labels [n_q, n_class] and [n, n_class], the same whatever their types are."""
    digest = hashlib.sha256()
    for labels in map(np.asarray, (query_labels, database_labels)):
        digest.update(repr(labels.shape).encode())
        for start in range(0, len(labels), BLOCK_ROWS):
            digest.update(np.packbits(labels[start : start + BLOCK_ROWS] != 0))
    return digest.hexdigest()


def relevant_share(
    query_labels: np.ndarray, database_labels: np.ndarray, exclude: np.ndarray | None = None
) -> float:
    """Mean share of relevant database rows over the queries: the chance level of MAP.

    Labels are 0/1, [n_q, n_class] and [n, n_class]; `exclude`, int [n_q], names for each query a
    database row that does not count, or -1.
    """
    check_labels(query_labels, "query labels")
    database = ClassBitmaps(database_labels)
    shares = []
    for query, labels in enumerate(query_labels):
        relevant = database.sharing(labels)
        if exclude is not None and exclude[query] >= 0:
            relevant = np.delete(relevant, exclude[query])
        shares.append(np.count_nonzero(relevant) / max(relevant.size, 1))
    return float(np.mean(shares))


class RetrievalTask:
    """Packed codes and 0/1 labels, checked, in the forms that make searching them fast.

    Nothing in it changes after construction, so threads share it. The arguments are those of
    `utils.metrics.mean_average_precision`.

    Attributes:
        bit: code length.
        queries: number of queries.
        rows: number of database rows.
        topk: K, clipped to the database.
    """

    def __init__(
        self,
        query_codes: np.ndarray,
        query_labels: np.ndarray,
        database_codes: np.ndarray,
        database_labels: np.ndarray,
        topk: int | None,
        exclude: np.ndarray | None,
        bit: int | None = None,
    ) -> None:
        query_labels, database_labels = np.asarray(query_labels), np.asarray(database_labels)
        self.bit = check_same_bit(query_codes, database_codes, bit)
        check_labels(query_labels, "query labels")
        _check_rows("query", query_codes, query_labels)
        _check_rows("database", database_codes, database_labels)
        self._relevance = ClassBitmaps(database_labels)
        if query_labels.shape[1] != database_labels.shape[1]:
            raise UserError(
                f"query labels have {query_labels.shape[1]} classes, database labels "
                f"{database_labels.shape[1]}: both lists must be of the same data set"
            )
        self.queries, self.rows = len(query_codes), len(database_codes)
        self.topk = self.rows if topk in (None, -1) else min(topk, self.rows)
        if self.topk < 1:
            raise UserError(f"top K = {topk}: must be 1 or more, or -1 for the whole database")
        self._exclude = _check_exclude(exclude, self.queries, self.rows)
        self._query_labels = query_labels
        self._query_words = as_words(query_codes)
        self._database_words = as_words(database_codes)

    def rankings(self, block: range) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Ranks the database for each query of a block.

        Yields the query; its Hamming distances, [n], which the next one may overwrite (see
        `HammingScanner.distances`); `relevant`, [n]; and the same of the rows ranked, [depth].
        """
        scanner = HammingScanner(self._database_words, self.bit)
        for group in query_groups(block):
            queries = slice(group.start, group.stop)
            distances = scanner.distances(self._query_words[:, queries], self._exclude[queries])
            nearest = scanner.nearest_rows(list(map(self.depth, group)))
            for query, of_query, rows in zip(group, distances, nearest):
                relevant = self.relevant(query)
                yield query, of_query, relevant, relevant.take(rows)

    def relevant(self, query: int) -> np.ndarray:
        """uint8 [n]: 1 where the database row shares a label with the query.

        The row that is left out is marked like any other: its distance keeps it from being ranked.
        """
        return self._relevance.sharing(self._query_labels[query])

    def leaves_out_a_row(self, query: int) -> bool:
        """Whether a database row is left out of the query's ranking."""
        return bool(self._exclude[query] >= 0)

    def depth(self, query: int) -> int:
        """The number of rows ranked for a query: K, or fewer where the database ends before."""
        return min(self.topk, self.rows - self.leaves_out_a_row(query))


def _check_rows(side: str, codes: np.ndarray, labels: np.ndarray) -> None:
    if len(codes) == 0:
        raise UserError(f"there are no {side} codes: nothing can be retrieved")
    if labels.ndim > 0 and len(codes) != len(labels):
        raise UserError(
            f"{len(codes)} {side} codes, but {len(labels)} rows of {side} labels: "
            "the codes are of another list"
        )


def _check_exclude(exclude: np.ndarray | None, queries: int, rows: int) -> np.ndarray:
    if exclude is None:
        return np.full(queries, -1)
    exclude = np.asarray(exclude)
    if exclude.shape != (queries,) or exclude.dtype.kind not in "iu":
        raise UserError(
            f"rows to leave out: {exclude.dtype} array of shape {exclude.shape}; "
            f"expected one integer for each of the {queries} queries"
        )
    wrong = np.flatnonzero((exclude < -1) | (exclude >= rows))
    if wrong.size:
        raise UserError(
            f"rows to leave out: {exclude[wrong[0]]} for query {wrong[0]}; "
            f"expected a database row from 0 to {rows - 1}, or -1"
        )
    return exclude
