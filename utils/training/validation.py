"""Validation: MAP@K of the network as it is, on a data set's queries and database."""

from __future__ import annotations

import numpy as np

from utils.datasets import Split, own_rows
from utils.inference.encoder import Encoder, Watch, left_out_of
from utils.metrics import mean_average_precision
from utils.metrics.relevance import relevant_share
from utils.system import distributed


class Validation:
    """Scores a network again and again on the same queries and database.

    Args:
        encoder: encodes with the network that is trained.
        queries: n_q queries.
        database: n database pictures.
        topk: K of MAP@K; -1: all.
        exclude: [n_q] int64, the database row each query leaves out, or None.
        watch: what the batches go through, so that it may break off between two of them.

    Attributes:
        left_out: of each split, what was wrong with the pictures that the newest score leaves out.
    """

    def __init__(
        self,
        encoder: Encoder,
        queries: Split,
        database: Split,
        topk: int,
        exclude: np.ndarray | None,
        watch: Watch = iter,
    ):
        self._encoder, self._watch = encoder, watch
        self._queries, self._database = queries, database
        self._topk, self._exclude = topk, exclude
        self.left_out: dict[str, list[str]] = {}

    def chance(self) -> float:
        """The MAP of a random order: the mean share of relevant database pictures."""
        return relevant_share(self._queries.labels, self._database.labels, self._exclude)

    def map(self) -> float:
        """MAP@K, the same on every rank; all ranks call it together."""
        with self._encoder:
            queries = self._encoder.encode(self._queries, self._watch)
            database = self._encoder.encode(self._database, self._watch)
        self.left_out = left_out_of(queries, database)
        exclude = self._exclude
        if self.left_out and exclude is not None:
            exclude = own_rows(queries.split, database.split)
        return distributed.first_computes(
            lambda: mean_average_precision(
                queries.codes,
                queries.split.labels,
                database.codes,
                database.split.labels,
                self._topk,
                exclude=exclude,
            )
        )
