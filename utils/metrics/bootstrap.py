"""Whether two sets of codes differ, or the queries happened to suit one of them."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 18
"""Queries drawn at a time."""


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of mean(second) - mean(first): percentile bootstrap over queries.

    Both values of a query are drawn together, since a query may be hard for both (Efron and
    Tibshirani: An Introduction to the Bootstrap, 1993). Both are float64 [n_q], a value of each
    query, of which NaN stays out of the mean; n_q queries are drawn `draws` times.
    """
    rng, both = np.random.default_rng(seed), np.stack([first, second])
    values, counts = np.nan_to_num(both), ~np.isnan(both)
    differences: list[float] = []
    while len(differences) < draws:
        rows = min(max(_BLOCK // len(first), 1), draws - len(differences))
        drawn = rng.integers(len(first), size=(rows, len(first)))
        means = [v[drawn].sum(1) / np.maximum(n[drawn].sum(1), 1) for v, n in zip(values, counts)]
        differences += (means[1] - means[0]).tolist()
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)
