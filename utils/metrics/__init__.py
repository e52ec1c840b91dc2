"""Retrieval metrics of binary codes (HashNet, section 4): packed codes and labels in, numbers out.

A query ranks the database by (Hamming distance, database row). A database row is relevant when it
shares a label with the query. A query without relevant rows counts 0 in every mean.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.codes.hamming import map_blocks
from utils.metrics.average_precision import (
    average_precision,
    mean_of,
    precision_at_relevant_ranks,
    tie_averaged_average_precision,
)
from utils.metrics.continuous import mean_average_precision_of_values
from utils.metrics.curves import count_by_distance, curve_cutoffs, query_curves, rank_cutoffs
from utils.metrics.relevance import RetrievalTask, labels_digest

LOOKUP_RADIUS = 2
HIT_RANKS = (1, 5, 10)
_CURVES = {"at_n": "n", "by_radius": "radius", "by_rank": "n"}
"""The curves, and what their points are called in JSON."""


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall, means over the queries, at each point of `at` (an N or a radius)."""

    at: tuple[int, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class RetrievalMetrics:
    """Everything the paper's section on evaluation reports, for one set of codes.

    Attributes:
        bit: code length; queries and database: how many there are.
        topk: K of the MAP values, clipped to the database.
        map: MAP@K, ties in database order; see `mean_average_precision`.
        map_tie_averaged: its expectation over random orders of equal distances; see
            `utils.metrics.average_precision.tie_averaged_average_precision`.
        map_min_k_relevant: the sum of precisions at relevant ranks r <= K over min(K, relevant
            rows in the database), as other work defines MAP@K; ties in database order.
        average_precision: of each of these three MAPs, by its name, the value of every query.
        hit_rate_at: share of queries with a relevant row among the first k, for k = 1, 5 and 10 up
            to K; ties in database order. PaddleClas calls it Recall@k (and leaves out queries
            without relevant rows); the recall of `at_n` is another value, also at 1.
        chance: relevant share of the database, mean over queries: what random codes would score.
        precision_within_radius_2: P@H<=2, relevant share of the rows within Hamming distance 2
            (HashNet, section 4); a query with no row there counts 0.
        recall_within_radius_2: share of a query's relevant rows that lie within distance 2.
        queries_with_empty_ball: queries with no row within distance 2.
        queries_without_relevant: queries that share a label with no row.
        queries_leaving_out_a_row: queries that leave a row out of their own ranking.
        at_n: P@N and recall@N (HashNet, section 4): relevant rows among the first N over N,
            and over all relevant rows; ties in database order, N up to K.
        by_radius: precision and recall of the ball of each Hamming radius 0 … bit (hash lookup);
            an empty ball has precision 0.
        by_rank: the precision-recall curve of the ranking (HashNet, section 4): mean
            precision against mean recall of the first N rows, N from 1 to the whole database, as
            expectations over random orders of equal distances.
        labels_sha256: whose labels; see `utils.metrics.relevance.labels_digest`.
    """

    bit: int
    queries: int
    database: int
    topk: int
    map: float
    map_tie_averaged: float
    map_min_k_relevant: float
    average_precision: dict[str, tuple[float, ...]]
    hit_rate_at: dict[int, float]
    chance: float
    precision_within_radius_2: float
    recall_within_radius_2: float
    queries_with_empty_ball: int
    queries_without_relevant: int
    queries_leaving_out_a_row: int
    at_n: PrecisionRecall
    by_radius: PrecisionRecall
    by_rank: PrecisionRecall
    labels_sha256: str

    def as_dict(self) -> dict:
        """What is written as JSON: numbers, curves by column, average precisions in 9 digits."""
        values = dataclasses.asdict(self)
        for name, column in self.average_precision.items():
            values["average_precision"][name] = [round(value, 9) for value in column]
        for name, first in _CURVES.items():
            values[name] = {first: values[name].pop("at"), **values[name]}
        return values

    def summary(self) -> list[str]:
        """The numbers in a few lines, for the console and logs."""
        queries, empty = self.queries, self.queries_with_empty_ball
        ball = f"{self.precision_within_radius_2:.4f} ({empty} of {queries} balls are empty)"
        hits = ", ".join(f"@{k}: {rate:.4f}" for k, rate in self.hit_rate_at.items())
        found = zip(self.at_n.at, self.at_n.recall)
        recall = ", ".join(f"@{n}: {r:.4f}" for n, r in found if n in (1, self.topk))
        lines = [
            f"MAP@{self.topk}: {self.map:.4f} (ties averaged: {self.map_tie_averaged:.4f}), "
            f"chance: {self.chance:.4f}",
            f"P@H<=2: {f'all {queries} balls are empty' if empty == queries else ball}",
            f"Hit rate {hits} (PaddleClas calls it Recall)",
            f"Recall {recall} (share of all relevant images that is found)",
        ]
        if none := self.queries_without_relevant:
            lines.append(f"{none} queries share a label with no database image; they count 0")
        return lines


def mean_average_precision(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    database_codes: np.ndarray,
    database_labels: np.ndarray,
    topk: int | None = None,
    *,
    exclude: np.ndarray | None = None,
    threads: int | None = None,
) -> float:
    """MAP@K, ties in database order: the mean of `average_precision` over the queries.

    (HashNet, section 4.1; the definition of the authors' released code.)

    Args:
        query_codes: packed codes, uint8 [n_q, bit / 8].
        query_labels: 0/1 [n_q, n_class].
        database_codes: packed codes, uint8 [n, bit / 8].
        database_labels: 0/1 [n, n_class].
        topk: K; None or -1: the whole database, and so is any K beyond it.
        exclude: int [n_q], for each query the database row to leave out of its ranking, or -1.
        threads: how many work at a time; None: all processors. The value does not depend on it.

    Returns:
        MAP@K, from 0 to 1.

    Raises:
        UserError: codes and labels of different numbers of rows, codes of different lengths,
            labels of different classes or other than 0/1, no rows, or K below 1.
    """
    task = RetrievalTask(query_codes, query_labels, database_codes, database_labels, topk, exclude)

    def score(block: range) -> list[float]:
        rankings = task.rankings(block)
        return [average_precision(precision_at_relevant_ranks(ranked)) for *_, ranked in rankings]

    blocks = map_blocks(score, task.queries, threads)
    return mean_of(itertools.chain.from_iterable(blocks), task.queries)


def evaluate_retrieval(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    database_codes: np.ndarray,
    database_labels: np.ndarray,
    topk: int | None = None,
    *,
    exclude: np.ndarray | None = None,
    cutoffs: Sequence[int] | None = None,
    threads: int | None = None,
    bit: int | None = None,
) -> RetrievalMetrics:
    """Every metric and curve of `RetrievalMetrics` in one pass over the database.

    Args:
        query_codes: like all others as for `mean_average_precision`.
        cutoffs: the N of P@N and recall@N, each from 1 to K; None: the paper's 100, 200 … 1000
            and 50 more up to K.
        bit: the code length, where it is no multiple of 8.

    Returns:
        The metrics; `.map` is exactly `mean_average_precision` of the same arguments.

    Raises:
        UserError: as `mean_average_precision`; or a cutoff outside 1 … K.
    """
    both = (query_codes, query_labels, database_codes, database_labels)
    task = RetrievalTask(*both, topk, exclude, bit)
    cutoffs = curve_cutoffs(task.topk, cutoffs)
    points = (cutoffs, np.arange(task.bit + 1), rank_cutoffs(task.rows))

    def score(block: range) -> tuple[list[dict[str, Any]], np.ndarray]:
        scores, curves = [], 0.0
        for query, distances, relevant, ranked in task.rankings(block):
            counts = count_by_distance(distances, relevant, task.bit)
            scores.append(_score(task, query, ranked, *counts))
            curves = curves + query_curves(points, ranked, *counts)
        return scores, curves

    scores, curves = [], 0.0
    for block_scores, block_curves in map_blocks(score, task.queries, threads):
        scores += block_scores
        curves = curves + block_curves
    ends = np.cumsum(list(map(np.size, points)))[:-1]
    precision, recall = (np.split(values, ends) for values in curves / task.queries)
    curves_by_name = {
        name: PrecisionRecall(*(tuple(values.tolist()) for values in of_curve))
        for name, *of_curve in zip(_CURVES, points, precision, recall)
    }
    columns = {name: tuple(each[name] for each in scores) for name in scores[0]}
    hits = zip(HIT_RANKS, zip(*columns.pop("hit_rate_at")))
    values = {
        name: sum(column) if name.startswith("queries_") else mean_of(column, task.queries)
        for name, column in columns.items()
    }
    return RetrievalMetrics(
        bit=task.bit,
        queries=task.queries,
        database=task.rows,
        topk=task.topk,
        average_precision={n: column for n, column in columns.items() if n.startswith("map")},
        hit_rate_at={k: mean_of(column, task.queries) for k, column in hits},
        labels_sha256=labels_digest(query_labels, database_labels),
        **curves_by_name,
        **values,
    )


def _score(
    task: RetrievalTask,
    query: int,
    ranked: np.ndarray,
    rows_at: np.ndarray,
    relevant_at: np.ndarray,
) -> dict[str, Any]:
    """One query's share in each mean and count of `RetrievalMetrics`."""
    precisions = precision_at_relevant_ranks(ranked)
    n_rows, n_relevant = int(rows_at.sum()), int(relevant_at.sum())
    ball = slice(LOOKUP_RADIUS + 1)
    in_ball, relevant_in_ball = int(rows_at[ball].sum()), int(relevant_at[ball].sum())
    return {
        "map": average_precision(precisions),
        "map_tie_averaged": tie_averaged_average_precision(rows_at, relevant_at, len(ranked)),
        "map_min_k_relevant": _share(float(precisions.sum()), min(task.topk, n_relevant)),
        "hit_rate_at": [float(ranked[:k].any()) for k in HIT_RANKS if k <= task.topk],
        "chance": _share(n_relevant, n_rows),
        "precision_within_radius_2": _share(relevant_in_ball, in_ball),
        "recall_within_radius_2": _share(relevant_in_ball, n_relevant),
        "queries_with_empty_ball": int(in_ball == 0),
        "queries_without_relevant": int(n_relevant == 0),
        "queries_leaving_out_a_row": int(task.leaves_out_a_row(query)),
    }


def _share(part: float, whole: int) -> float:
    """part / whole, and 0 of nothing."""
    return part / whole if whole else 0.0
