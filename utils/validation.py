"""Validation: MAP@K of the network as it is, on a data set's queries and database."""

from __future__ import annotations

import numpy as np

from utils import distributed
from utils.datasets import Split
from utils.encoder import Encoder
from utils.metrics import mean_average_precision
from utils.relevance import relevant_share


class Validation:
    """Scores a network again and again on the same queries and database.

    Args:
        encoder: encodes with the network that is trained.
        queries: n_q queries.
        database: n database pictures.
        topk: K of MAP@K; -1: all.
        exclude: [n_q] int64, the database row each query leaves out, or None.
    """

    def __init__(
        self,
        encoder: Encoder,
        queries: Split,
        database: Split,
        topk: int,
        exclude: np.ndarray | None,
    ):
        self._encoder = encoder
        self._queries, self._database = queries, database
        self._topk, self._exclude = topk, exclude

    def chance(self) -> float:
        """The MAP of a random order: the mean share of relevant database pictures."""
        return relevant_share(self._queries.labels, self._database.labels, self._exclude)

    def map(self) -> float:
        """MAP@K, the same on every rank; all ranks call it together."""
        queries = self._encoder.encode(self._queries)
        database = self._encoder.encode(self._database)
        return distributed.first_computes(
            lambda: mean_average_precision(
                queries,
                self._queries.labels,
                database,
                self._database.labels,
                self._topk,
                exclude=self._exclude,
            )
        )
