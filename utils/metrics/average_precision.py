"""Average precision of one query's ranking: in a given order, and over all orders of its ties."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np


def mean_of(values: Iterable[float], count: int) -> float:
    """The mean, rounded once: the same in whatever order the queries come."""
    return math.fsum(values) / count


def precision_at_relevant_ranks(relevant: np.ndarray) -> np.ndarray:
    """(relevant up to r) / r, float64, for every rank r, from 1, of a relevant row in 0/1 [K].

    `relevant` are the first K rows of a ranking.
    """
    ranks = np.flatnonzero(relevant != 0) + 1
    return np.arange(1, ranks.size + 1) / ranks


def average_precision(precisions: np.ndarray) -> float:
    """AP@K = (1 / T) Σ_{r ≤ K, row r relevant} (relevant up to r) / r, and 0 where T = 0.

    `precisions` are those of `precision_at_relevant_ranks`, T of them.
    """
    return float(precisions.mean()) if precisions.size else 0.0


def tie_averaged_average_precision(rows: np.ndarray, relevant: np.ndarray, topk: int) -> float:
    """The expectation of AP@K when rows of equal distance stand in random order.

    Groups of ties before rank K are whole. In one of n rows, m relevant, after N rows with M
    relevant, the row at N + i is relevant with probability m / n and then has
    (i - 1)(m - 1) / (n - 1) relevant ones before it in the group on average, so it adds on average

        m / n · Σ_{i=1..n} (M + 1 + (i - 1)(m - 1) / (n - 1)) / (N + i)

    (McSherry and Najork: Computing Information Retrieval Performance Measures Efficiently in the
    Presence of Tied Scores, ECIR 2008). Of the group that rank K cuts, c rows are seen, x of them
    relevant; x is hypergeometric and decides T as well, so the ratio is averaged over x:

        E[AP@K] = Σ_x P(x) · (A + S(x)) / (M + x),

    A being the sum over the whole groups and S(x) the formula above with c and x for n and m.

    Of each distance, nearest first, `rows` and `relevant` say how many rows it has and how many of
    them are relevant, int [g]; a K beyond all rows counts as all. Exact up to rounding.
    """
    relevant, rows = relevant[rows > 0], rows[rows > 0]
    topk = min(topk, int(rows.sum()))
    if topk == 0:
        return 0.0
    starts = np.cumsum(rows) - rows
    starts = starts[starts < topk]
    rows, relevant = rows[: starts.size], relevant[: starts.size]
    seen = np.minimum(rows, topk - starts)
    relevant_before = np.cumsum(relevant) - relevant

    # Σ 1 / (N + i) and Σ (i - 1) / (N + i) over the seen ranks N + i of each group. Summed as they
    # stand: the closed form by harmonic numbers would cancel digits.
    ranks = np.arange(1, topk + 1)
    in_group = ranks - 1 - np.repeat(starts, seen)
    reciprocals = np.add.reduceat(1 / ranks, starts)
    weighted = np.add.reduceat(in_group / ranks, starts)

    def expected_sum(group, m, n):
        pairs = (m - 1) / np.maximum(n - 1, 1)
        first = (relevant_before[group] + 1) * reciprocals[group]
        return m / n * (first + pairs * weighted[group])

    whole = slice(0, -1)
    before_cut = expected_sum(whole, relevant[whole], rows[whole]).sum()
    x, probability = hypergeometric(int(rows[-1]), int(relevant[-1]), int(seen[-1]))
    total = relevant_before[-1] + x
    expected = before_cut + expected_sum(-1, x, int(seen[-1]))
    return float(np.sum(probability * expected / np.maximum(total, 1)))


def hypergeometric(n: int, m: int, c: int) -> tuple[np.ndarray, np.ndarray]:
    """How many of c rows drawn without replacement from n, of which m are relevant, are relevant.

    P(x) = C(m, x) C(n - m, c - x) / C(n, c), by the ratio P(x + 1) / P(x) outward from the mode:
    no factorial overflows, no logarithm loses digits. Returns the possible x, int64 ascending,
    and their probabilities, float64, of sum 1.
    """
    x = np.arange(max(0, c - (n - m)), min(m, c) + 1)
    below = x[:-1]
    ratio = (m - below) * (c - below) / ((below + 1) * (n - m - c + below + 1))
    mode = min(max((c + 1) * (m + 1) // (n + 2) - x[0], 0), x.size - 1)
    downward = np.cumprod(1 / ratio[:mode][::-1])[::-1]
    upward = np.cumprod(ratio[mode:])
    weights = np.concatenate([downward, [1.0], upward])
    return x, weights / weights.sum()
