"""Retrieval metrics by brute force: an oracle that shares no code with the project.

It follows the definitions with plain loops over signs, sorted tuples and exact fractions, and is
therefore slow: for small cases only. Labels and signs are arrays or lists of rows.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np


def distances(query_signs, database_signs) -> list[int]:
    """Positions in which one row of signs differs from each row of the database."""
    return [int(sum(q != d for q, d in zip(query_signs, row))) for row in database_signs]


def relevance(query_labels, database_labels) -> list[int]:
    """1 for each row that shares a label with the query."""
    return [int(any(q and d for q, d in zip(query_labels, row))) for row in database_labels]


def average_precision(ranked: list[int], k: int, denominator: int | None = None) -> Fraction:
    """AP@K of a ranking's relevance: over the relevant within K, or over `denominator`."""
    total = Fraction(0)
    hits = 0
    for rank, relevant in enumerate(ranked[:k], 1):
        if relevant:
            hits += 1
            total += Fraction(hits, rank)
    denominator = hits if denominator is None else denominator
    return total / denominator if denominator else Fraction(0)


def tie_averaged(dist: list[int], relevant: list[int], k: int) -> Fraction:
    """The mean of AP@K over all orders that are sorted by distance, each enumerated."""
    groups = [
        [r for d, r in zip(dist, relevant) if d == distance] for distance in sorted(set(dist))
    ]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    values = [average_precision(list(itertools.chain(*order)), k) for order in orders]
    return sum(values, Fraction(0)) / len(values) if values else Fraction(0)


def tie_averaged_by_subsets(dist: list[int], relevant: list[int], k: int) -> float:
    """As `tie_averaged`, for groups too large to enumerate: E over ranks, given the cut's draw.

    Written rank by rank from the law of total expectation, with binomials of whole numbers.
    """
    groups = [
        (sum(d == distance for d in dist), sum(r for d, r in zip(dist, relevant) if d == distance))
        for distance in sorted(set(dist))
    ]
    rank, hits_before, total = 0, 0, Fraction(0)

    def group_sum(size: int, marked: int) -> Fraction:
        value = Fraction(0)
        for place in range(size):
            others = Fraction(place * (marked - 1), size - 1) if size > 1 else Fraction(0)
            value += Fraction(marked, size) * (hits_before + 1 + others) / (rank + place + 1)
        return value

    for size, marked in groups:
        if rank + size <= k:
            total += group_sum(size, marked)
            rank, hits_before = rank + size, hits_before + marked
            continue
        seen = k - rank
        if seen == 0:
            break
        expected = Fraction(0)
        for drawn in range(min(seen, marked) + 1):
            ways = math.comb(marked, drawn) * math.comb(size - marked, seen - drawn)
            if ways and hits_before + drawn:
                chance = Fraction(ways, math.comb(size, seen))
                expected += chance * (total + group_sum(seen, drawn)) / (hits_before + drawn)
        return float(expected)
    return float(total / hits_before) if hits_before else 0.0


def evaluate(query_signs, query_labels, database_signs, database_labels, k, exclude=None) -> dict:
    """Every metric, query by query, then the mean; a row to leave out is removed from the lists.

    Curves cover every N up to K, every radius, and every N up to the whole database.
    """
    n, bit = len(database_signs), len(query_signs[0])
    k = n if k in (None, -1) else min(k, n)
    rows = []
    for number, (signs, labels) in enumerate(zip(query_signs, query_labels)):
        out = -1 if exclude is None else exclude[number]
        kept = [row for row in range(n) if row != out]
        dist = distances(signs, [database_signs[row] for row in kept])
        relevant = relevance(labels, [database_labels[row] for row in kept])
        rows.append(_evaluate_query(dist, relevant, k, bit, n))
    return {key: np.mean([np.asarray(row[key], float) for row in rows], axis=0) for key in rows[0]}


def _evaluate_query(dist: list[int], relevant: list[int], k: int, bit: int, n: int) -> dict:
    order = sorted(range(len(dist)), key=lambda row: (dist[row], row))
    ranked = [relevant[row] for row in order]
    total = sum(relevant)
    within = [[r for d, r in zip(dist, relevant) if d <= radius] for radius in range(bit + 1)]
    expected = [_expected_hits(dist, relevant, rank) for rank in range(1, n + 1)]
    return {
        "map": average_precision(ranked, k),
        "map_tie_averaged": tie_averaged_by_subsets(dist, relevant, k),
        "map_min_k_relevant": average_precision(ranked, k, denominator=min(k, total)),
        "hit_rate_at": [any(ranked[:first]) for first in (1, 5, 10) if first <= k],
        "chance": _share(total, len(dist)),
        "precision_within_radius_2": _share(sum(within[2]), len(within[2])),
        "recall_within_radius_2": _share(sum(within[2]), total),
        "empty_balls": not within[2],
        "without_relevant": total == 0,
        "precision_at_n": [sum(ranked[:rank]) / rank for rank in range(1, k + 1)],
        "recall_at_n": [_share(sum(ranked[:rank]), total) for rank in range(1, k + 1)],
        "precision_by_radius": [_share(sum(ball), len(ball)) for ball in within],
        "recall_by_radius": [_share(sum(ball), total) for ball in within],
        "precision_by_rank": [hits / rank for rank, hits in enumerate(expected, 1)],
        "recall_by_rank": [_share(hits, total) for hits in expected],
    }


def _expected_hits(dist: list[int], relevant: list[int], rank: int) -> float:
    """Relevant rows among the first `rank`, when the last distance is filled at random."""
    ordered = sorted(dist)
    last = ordered[min(rank, len(ordered)) - 1] if ordered else 0
    before = [r for d, r in zip(dist, relevant) if d < last]
    level = [r for d, r in zip(dist, relevant) if d == last]
    drawn = min(rank - len(before), len(level))
    return sum(before) + _share(drawn * sum(level), len(level))


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
