"""Precision and recall as curves: at N, by Hamming radius, and along the whole ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.system.errors import UserError

CURVE_POINTS = 50


def curve_cutoffs(topk: int, chosen: Sequence[int] | None = None) -> np.ndarray:
    """The N at which P@N and recall@N are taken: int64, ascending.

    Those chosen, each from 1 to K (else a `UserError`); by default 1, K, the paper's 100, 200 …
    1000 and 50 evenly up to K.
    """
    if chosen is None:
        even = np.arange(1, CURVE_POINTS + 1) * topk // CURVE_POINTS
        cutoffs = np.unique([1, *range(100, 1001, 100), *even])
        return cutoffs[(cutoffs >= 1) & (cutoffs <= topk)]
    cutoffs = np.unique(np.asarray(chosen, np.int64))
    if cutoffs.size == 0 or cutoffs[0] < 1 or cutoffs[-1] > topk:
        raise UserError(f"P@N for N = {list(chosen)}: choose one or more N from 1 to K = {topk}")
    return cutoffs


def rank_cutoffs(rows: int) -> np.ndarray:
    """Ranks along the whole database, int64: close together at the top, even further down."""
    top = np.geomspace(1, rows, CURVE_POINTS).round().astype(np.int64)
    even = np.arange(1, CURVE_POINTS + 1) * rows // CURVE_POINTS
    return np.unique(np.clip(np.concatenate([top, even]), 1, rows))


def count_by_distance(
    distances: np.ndarray, relevant: np.ndarray, bit: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many rows, and how many relevant ones, stand at each distance: int64 [bit + 1] each.

    Of `distances`, uint8 or uint16 [n], those beyond `bit` (excluded rows) are not counted;
    `relevant` is uint8 [n], 0 or 1.
    """
    # Both counts from one key. Sorting it is a counting sort in NumPy, faster than bincount, which
    # widens to 8 bytes and holds the interpreter lock. A distance above 124 doubled needs 16 bits;
    # the mark of an excluded row, doubled, stays above every key.
    dtype = np.uint8 if 2 * bit + 1 < 254 else np.uint16
    key = np.left_shift(distances, 1, dtype=dtype, casting="unsafe")
    key |= relevant
    key.sort(kind="stable")
    edges = np.searchsorted(key, np.arange(2 * bit + 3, dtype=dtype))
    counts = np.diff(edges).reshape(bit + 1, 2)
    return counts.sum(axis=1), counts[:, 1]


def query_curves(
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
    ranked: np.ndarray,
    rows_at: np.ndarray,
    relevant_at: np.ndarray,
) -> np.ndarray:
    """Precision and recall of one query, float64 [2, all points], one curve after the other.

    The `points` are the N of P@N and recall@N, the radii 0 … bit, and the N of the precision-recall
    curve; `ranked` is the 0/1 relevance of the first rows, ties in database order; the last two are
    of `count_by_distance`.
    """
    at_n, _, by_rank = points
    hits_at_n = np.concatenate([[0], np.cumsum(ranked)]).take(np.minimum(at_n, ranked.size))
    rows_within, relevant_within = np.cumsum(rows_at), np.cumsum(relevant_at)
    # In random order, relevant rows come evenly within the rows of one distance.
    filled = np.flatnonzero(rows_at)
    expected_hits = np.interp(
        by_rank,
        np.concatenate([[0], rows_within[filled]]),
        np.concatenate([[0], relevant_within[filled]]),
    )
    hits = np.concatenate([hits_at_n, relevant_within, expected_hits])
    rows = np.concatenate([at_n, np.maximum(rows_within, 1), by_rank])
    return np.stack([hits / rows, hits / max(int(relevant_at.sum()), 1)])
