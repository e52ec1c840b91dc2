"""One retrieval task, checked: who asks, what is searched, what is relevant, how deep to look."""

from __future__ import annotations

import numpy as np

from utils.codes import check_same_bit
from utils.codes.hamming import HammingScanner, as_words
from utils.metrics.relevance import ClassBitmaps, check_labels
from utils.system.errors import UserError


class RetrievalTask:
    """Packed codes and 0/1 labels, in the forms that make searching them fast.

    Nothing in it changes after construction, so threads share it; each makes its own scanner.

    Args:
        query_codes: packed codes, uint8 [n_q, bit / 8].
        query_labels: 0/1 [n_q, n_class].
        database_codes: packed codes, uint8 [n, bit / 8].
        database_labels: 0/1 [n, n_class].
        topk: K; None or -1: the whole database, and so is any K beyond it.
        exclude: int [n_q], for each query the database row to leave out of its ranking, or -1.

    Attributes:
        bit: code length.
        queries: number of queries.
        rows: number of database rows.
        topk: K, clipped to the database.

    Raises:
        UserError: the arrays do not fit together, are empty, or hold what they must not.
    """

    def __init__(
        self,
        query_codes: np.ndarray,
        query_labels: np.ndarray,
        database_codes: np.ndarray,
        database_labels: np.ndarray,
        topk: int | None,
        exclude: np.ndarray | None,
    ) -> None:
        query_labels, database_labels = np.asarray(query_labels), np.asarray(database_labels)
        self.bit = check_same_bit(query_codes, database_codes)
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
        self.topk = _check_topk(topk, self.rows)
        self._exclude = _check_exclude(exclude, self.queries, self.rows)
        self._query_labels = query_labels
        self._query_words = as_words(query_codes)
        self._database_words = as_words(database_codes)

    def scanner(self) -> HammingScanner:
        """A new scanner of the database, for one thread."""
        return HammingScanner(self._database_words, self.bit)

    def distances(self, scanner: HammingScanner, group: range) -> np.ndarray:
        """Hamming distances of a few queries to the database: see `HammingScanner.distances`."""
        queries = slice(group.start, group.stop)
        return scanner.distances(self._query_words[:, queries], self._exclude[queries])

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


def _check_topk(topk: int | None, rows: int) -> int:
    if topk is None or topk == -1:
        return rows
    if topk < 1:
        raise UserError(f"top K = {topk}: must be 1 or more, or -1 for the whole database")
    return min(topk, rows)


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
