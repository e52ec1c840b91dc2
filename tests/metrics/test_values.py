"""MAP of real values, ranked by inner product: by hand, against brute force, and in pieces."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import oracle_retrieval as oracle
import pytest

from utils.metrics import mean_average_precision_of_values as map_of_values
from utils.system.errors import UserError


def brute_force(queries, query_labels, database, labels, topk, exclude) -> float:
    """Sorted by (-product, row) in whole fractions; no code of the project's."""
    exact = [[Fraction(float(value)) for value in row] for row in database]
    scores = []
    for query, (values, of_query) in enumerate(zip(queries, query_labels)):
        values = [Fraction(float(value)) for value in values]
        keys = [(-sum(q * d for q, d in zip(values, row)), n) for n, row in enumerate(exact)]
        rows = [n for _, n in sorted(keys) if n != exclude[query]]
        relevant = oracle.relevance(of_query, labels)
        ranked = [relevant[n] for n in rows]
        scores.append(oracle.average_precision(ranked, topk or len(database)))
    return float(sum(scores) / len(scores))


@pytest.mark.parametrize("topk", [None, 1, 7, 40, 99])
@pytest.mark.parametrize("levels", [1, 4, 1 << 20])  # from nothing but ties to hardly any
def test_the_value_is_that_of_brute_force(levels, topk):
    rng = np.random.default_rng(levels)
    for bit in (1, 3, 24):
        values = rng.integers(-levels, levels + 1, (60, bit)).astype(np.float32) / levels
        queries, database = values[:20], values[20:]
        labels = (rng.random((60, 4)) < 0.25).astype(np.uint8)
        exclude = rng.integers(-1, 40, 20)
        data = (queries, labels[:20], database, labels[20:])
        found = map_of_values(*data, topk, exclude=exclude, threads=2)
        assert found == pytest.approx(brute_force(*data, topk, exclude), rel=1e-12)
        assert map_of_values(*data, topk) == pytest.approx(
            brute_force(*data, topk, [-1] * 20), rel=1e-12
        )


def test_a_ranking_by_hand():
    database = np.array([[0.5, 0], [1, 0], [0.5, 9], [-1, 0]], np.float32)
    relevant = np.array([[1], [0], [1], [1]])
    data = (np.array([[2.0, 0]]), np.array([[1]]), database, relevant)
    # Products 1, 2, 1, -2: rows 1, 0, 2, 3, of which all but the first are relevant.
    assert map_of_values(*data) == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert map_of_values(*data, 2) == 1 / 2
    assert map_of_values(*data, exclude=[1]) == 1
    alone = (*data[:2], database[:1], relevant[:1])
    assert map_of_values(*alone, exclude=np.array([0])) == 0, "nothing is left to be ranked"


def test_equal_rows_stand_in_database_order_whatever_a_machine_adds_in():
    rng = np.random.default_rng(3)
    row = np.tanh(rng.normal(size=(1, 61)))
    database, queries = np.repeat(row, 501, axis=0), np.tanh(rng.normal(size=(37, 61)))
    labels = np.zeros((501, 1), int)
    labels[[0, 500]] = 1  # the first in order, and the last
    found = map_of_values(queries, np.ones((37, 1)), database, labels)
    assert found == pytest.approx((1 + 2 / 501) / 2, rel=1e-12)


def test_memory_grows_with_the_database_alone():
    rng = np.random.default_rng(4)
    database, labels = rng.normal(size=(20_000, 16)).astype(np.float32), np.ones((20_000, 1))
    peaks = []
    for queries in (64, 640):
        of_queries = rng.normal(size=(queries, 16)).astype(np.float32), np.ones((queries, 1))
        tracemalloc.start()
        map_of_values(*of_queries, database, labels, 100, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 640 * 20_000 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": [[np.nan, 1]]}, "a query value is infinite or no number"),
        ({"database": [[np.inf, 1], [1, 1]]}, "a database value is infinite"),
        ({"queries": [[1, 2, 3]]}, "query values have 3 bits, others 2"),
        ({"queries": [1, 2]}, r"query: int64 array of shape \(2,\)"),
        ({"database": [[1, 2]]}, "1 database codes, but 2 rows of database labels"),
        ({"topk": 0}, "top K = 0"),
    ],
)
def test_what_cannot_be_ranked_is_told(change, message):
    given = {"queries": [[1, 2]], "database": [[1, 2], [3, 4]], "topk": 1, **change}
    with pytest.raises(UserError, match=message):
        map_of_values(given["queries"], [[1]], given["database"], [[1], [1]], given["topk"])
