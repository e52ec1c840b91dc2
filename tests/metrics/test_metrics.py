"""Retrieval metrics against cases worked by hand, against a brute-force oracle, and by property."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import oracle_retrieval as oracle
import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utils.codes import pack_codes, unpack_codes
from utils.metrics import RetrievalMetrics, evaluate_retrieval, mean_average_precision
from utils.metrics.average_precision import (
    tie_averaged_average_precision,
)
from utils.metrics.bootstrap import paired_bootstrap
from utils.metrics.curves import curve_cutoffs, rank_cutoffs
from utils.metrics.relevance import labels_digest, relevant_share
from utils.system.errors import UserError

# A database whose rows lie at distances 0, 1, 1, 2, 3 from the query 00000000.
HAND_DATABASE = np.array([[0], [1], [2], [3], [7]], np.uint8)
HAND_QUERY = np.zeros((1, 1), np.uint8)


def marked(*relevant: int) -> np.ndarray:
    """Database labels of two classes: class 0, the query's, where `relevant`."""
    return np.array([[r, 1 - r] for r in relevant], np.uint8)


def by_hand(*relevant: int, topk=None, rows=slice(None)) -> RetrievalMetrics:
    """The metrics of the hand query, the rows marked that are relevant."""
    return evaluate_retrieval(HAND_QUERY, marked(1), HAND_DATABASE[rows], marked(*relevant), topk)


def draw(seed: int, queries: int, rows: int, bit: int, n_class: int = 5, density: float = 0.25):
    """Random packed codes and labels: query codes, query labels, database codes and labels."""
    rng = np.random.default_rng(seed)
    return (
        pack_codes(rng.standard_normal((queries, bit))),
        (rng.random((queries, n_class)) < density).astype(np.uint8),
        pack_codes(rng.standard_normal((rows, bit))),
        (rng.random((rows, n_class)) < density).astype(np.uint8),
    )


def assert_equals_oracle(data: tuple, topk: int | None, exclude=None) -> None:
    query_codes, query_labels, database_codes, database_labels = data
    expected = oracle.evaluate(
        unpack_codes(query_codes).tolist(),
        query_labels.tolist(),
        unpack_codes(database_codes).tolist(),
        database_labels.tolist(),
        topk,
        exclude,
    )
    n = len(database_codes)
    k = n if topk in (None, -1) else min(topk, n)
    found = evaluate_retrieval(*data, topk, exclude=exclude, cutoffs=range(1, k + 1))
    queries = len(query_codes)
    assert found.queries_with_empty_ball == round(expected.pop("empty_balls") * queries)
    assert found.queries_without_relevant == round(expected.pop("without_relevant") * queries)
    for name in ("precision", "recall"):
        at_rank = np.array(found.by_rank.at) - 1
        pairs = (
            (getattr(found.at_n, name), expected.pop(f"{name}_at_n")),
            (getattr(found.by_radius, name), expected.pop(f"{name}_by_radius")),
            (getattr(found.by_rank, name), expected.pop(f"{name}_by_rank")[at_rank]),
        )
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    hits = dict(zip((1, 5, 10), expected.pop("hit_rate_at")))
    assert found.hit_rate_at == pytest.approx(hits, abs=1e-12)
    for name, value in expected.items():
        assert abs(getattr(found, name) - value) <= 1e-12, name
    assert mean_average_precision(*data, topk, exclude=exclude) == found.map
    chance = relevant_share(query_labels, database_labels, exclude)
    assert chance == pytest.approx(found.chance, abs=1e-12)


def test_average_precision_by_hand():
    # Relevant at ranks 1, 3 and 4: precisions 1/1, 2/3 and 3/4.
    assert by_hand(1, 0, 1, 1, 0).map == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, abs=1e-15)
    # Within K = 3: ranks 1 and 3; the third relevant row is not retrieved and does not count.
    found = by_hand(1, 0, 1, 1, 0, topk=3)
    assert found.map == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)
    assert found.map_min_k_relevant == pytest.approx((1 + 2 / 3) / 3, abs=1e-15)


def test_tie_averaged_by_hand():
    # Distances 0, {1, 1}, 2, 3; relevant are row 0 and the second of the tie. In the database's
    # order they rank 1 and 3, in the other order 1 and 2.
    found = by_hand(1, 0, 1, 0, 0)
    assert found.map == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)
    assert found.map_tie_averaged == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2, abs=1e-15)
    # K = 1 in a tie of two, one of them relevant: AP is 1 or 0. Nothing relevant is seen half of
    # the time, and counts 0 then.
    found = by_hand(0, 1, topk=1, rows=slice(1, 3))
    assert found.map == 0
    assert found.map_tie_averaged == pytest.approx(0.5, abs=1e-15)


def test_hit_rate_and_recall_are_two_values_also_at_1():
    found = by_hand(1, 0, 1, 1, 0)
    assert found.hit_rate_at == {1: 1, 5: 1} and found.at_n.recall[0] == pytest.approx(1 / 3)
    assert by_hand(0, 1, 0, 0, 0).hit_rate_at == {1: 0, 5: 1}
    first, second = found.summary()[-2:]
    assert first == "Hit rate @1: 1.0000, @5: 1.0000 (PaddleClas calls it Recall)"
    assert second.startswith("Recall @1: 0.3333, @5: 1.0000")


def test_average_precisions_are_those_of_the_queries_alone():
    query_codes, query_labels, *database = data = draw(17, queries=70, rows=90, bit=16)
    together = evaluate_retrieval(*data, 20)
    for name, values in together.average_precision.items():
        assert len(values) == 70 and np.mean(values) == pytest.approx(getattr(together, name))
        assert together.as_dict()["average_precision"][name] == pytest.approx(values, abs=1e-9)
        for row in (0, 63, 64, 69):
            alone = slice(row, row + 1)
            found = evaluate_retrieval(query_codes[alone], query_labels[alone], *database, 20)
            assert getattr(found, name) == values[row]


def test_the_digest_tells_labels_and_lists_apart_but_not_types():
    _, queries, _, database = draw(18, queries=9, rows=20, bit=8)
    digest = labels_digest(queries, database)
    assert labels_digest(queries.astype(float), database.astype(bool)) == digest
    changed = database.copy()
    changed[7, 2] ^= 1
    for other in ((queries, changed), (database, queries), (queries[:-1], database)):
        assert labels_digest(*other) != digest


def test_the_bootstrap_interval_holds_the_difference_in_95_of_100_cases():
    rng, inside = np.random.default_rng(16), 0
    for _ in range(1000):  # queries of all kinds of difficulty, the second codes .02 better
        difficulty = rng.beta(2, 3, 100)
        first, second = (difficulty + rng.normal(mean, 0.1, 100) for mean in (0, 0.02))
        low, high = paired_bootstrap(first, second, draws=1000)
        inside += low <= 0.02 <= high
    assert 930 <= inside <= 970
    again = paired_bootstrap(first, second, draws=1000)
    assert again == (low, high) != paired_bootstrap(first, second, draws=1000, seed=1)


def test_a_query_that_is_left_out_is_in_no_mean():
    first, second = np.array([0.5, np.nan, 0.5]), np.array([0.75, 0.75, np.nan])
    assert paired_bootstrap(first[:1], second[:1]) == (0.25, 0.25)
    low, high = paired_bootstrap(first, second)
    assert (low, high) == (-0.5, 0.75), "in some draws the one has no value left, or the other"


def test_curves_and_radius_by_hand():
    found = by_hand(1, 0, 1, 0, 1)
    assert found.at_n.at == (1, 2, 3, 4, 5)
    assert found.at_n.precision == pytest.approx((1, 1 / 2, 2 / 3, 2 / 4, 3 / 5))
    assert found.at_n.recall == pytest.approx((1 / 3, 1 / 3, 2 / 3, 2 / 3, 1))
    assert found.by_radius.at == tuple(range(9))
    assert found.by_radius.precision[:5] == pytest.approx((1, 2 / 3, 2 / 4, 3 / 5, 3 / 5))
    assert found.by_rank.precision == pytest.approx((1, 1.5 / 2, 2 / 3, 2 / 4, 3 / 5))
    assert found.precision_within_radius_2 == pytest.approx(2 / 4)
    assert found.recall_within_radius_2 == pytest.approx(2 / 3)
    assert found.chance == pytest.approx(3 / 5)


def test_an_empty_ball_and_a_query_without_relevant_rows_count_zero():
    queries = np.array([[0], [255], [0]], np.uint8)  # the second lies 5 bits or more from all rows
    labels = np.array([[1, 0], [1, 0], [0, 0]], np.uint8)
    found = evaluate_retrieval(queries, labels, HAND_DATABASE, marked(1, 1, 1, 1, 1))
    assert found.queries_with_empty_ball == found.queries_without_relevant == 1
    assert found.summary()[1] == "P@H<=2: 0.3333 (1 of 3 balls are empty)"
    assert "1 queries share a label with no database image" in found.summary()[-1]
    assert found.precision_within_radius_2 == pytest.approx(1 / 3)
    assert found.map == found.map_tie_averaged == pytest.approx(2 / 3)
    found = evaluate_retrieval(
        HAND_QUERY, marked(1), HAND_QUERY, marked(1), exclude=np.array([0], np.int32)
    )
    assert (found.map, found.map_tie_averaged, found.chance) == (0, 0, 0), "its only row left out"
    assert found.queries_without_relevant == found.queries_with_empty_ball == 1
    assert found.summary()[1] == "P@H<=2: all 1 balls are empty"


@pytest.mark.parametrize("bit", [8, 16, 24, 40, 48, 64, 72, 120, 128, 248, 256, 512])
def test_every_word_layout_equals_the_oracle_with_and_without_rows_left_out(bit):
    assert_equals_oracle(draw(bit, queries=3, rows=30, bit=bit), 10)
    data, exclude = draw(bit, queries=6, rows=30, bit=bit), np.array([0, 29, -1, 13, 14, -1])
    for topk in (5, 30, None):
        assert_equals_oracle(data, topk, exclude)
    assert evaluate_retrieval(*data, exclude=exclude).queries_leaving_out_a_row == 4


def test_a_large_database_equals_the_textbook():
    # More rows than one chunk of the scan, and a count that fills no whole group of 8.
    data = query_codes, query_labels, database_codes, database_labels = draw(5, 5, 70_003, 24)
    signs, query_signs = unpack_codes(database_codes), unpack_codes(query_codes)
    values = []
    for query, labels in zip(query_signs, query_labels):
        distance = (signs != query).sum(axis=1)
        relevant = (database_labels.astype(int) @ labels) > 0
        ranks = np.flatnonzero(relevant[np.argsort(distance, kind="stable")[:5000]]) + 1
        values.append((np.arange(1, len(ranks) + 1) / ranks).mean() if len(ranks) else 0)
    assert mean_average_precision(*data, 5000) == pytest.approx(np.mean(values), abs=1e-13)


def test_tie_average_is_the_mean_over_all_permutations():
    patterns = [(0,) * 6, (0, 1, 1, 1, 1, 2), (0, 0, 0, 1, 1, 1), (1, 1, 2, 2, 2), (0, 1, 2), (3,)]
    for dist in patterns:
        for relevant in itertools.product([0, 1], repeat=len(dist)):
            rows = np.bincount(dist, minlength=5)
            relevant_rows = np.bincount(dist, weights=relevant, minlength=5).astype(np.int64)
            for k in range(1, len(dist) + 2):
                exact = oracle.tie_averaged(list(dist), list(relevant), k)
                found = tie_averaged_average_precision(rows, relevant_rows, k)
                by_subsets = oracle.tie_averaged_by_subsets(list(dist), list(relevant), k)
                assert abs(found - exact) <= 1e-12 and abs(by_subsets - exact) <= 1e-15


def test_tie_average_of_large_groups_keeps_its_digits():
    # Groups of thousands: exact fractions against floating point.
    rows, relevant = [3, 900, 2500, 10], [1, 300, 1200, 4]
    dist = np.repeat(np.arange(4), rows).tolist()
    marks = list(itertools.chain(*([1] * m + [0] * (n - m) for n, m in zip(rows, relevant))))
    for topk in (2, 500, 903, 905):
        exact = oracle.tie_averaged_by_subsets(dist, marks, topk)
        found = tie_averaged_average_precision(np.array(rows), np.array(relevant), topk)
        assert abs(found - exact) <= 1e-12


@st.composite
def retrieval_data(draw):
    """Query codes, query labels, database codes and labels, and K; ties are common."""
    width, queries = draw(st.sampled_from([1, 2, 3, 9])), draw(st.integers(1, 6))
    rows, few, bits = (
        draw(st.integers(1, 25)),
        st.sampled_from([0, 1, 3, 7, 255]),
        st.integers(0, 1),
    )
    return (
        draw(arrays.arrays(np.uint8, (queries, width), elements=few)),
        draw(arrays.arrays(np.uint8, (queries, 3), elements=bits)),
        draw(arrays.arrays(np.uint8, (rows, width), elements=few)),
        draw(arrays.arrays(np.uint8, (rows, 3), elements=bits)),
        draw(st.integers(1, 30)),
    )


@cases(100)
@given(retrieval_data())
def test_many_ties_and_whatever_is_relevant_equal_the_oracle(data):
    assert_equals_oracle(data[:-1], data[-1])


def test_threads_label_types_and_frozen_inputs_change_no_bit_of_the_result():
    data, exclude = draw(7, queries=300, rows=500, bit=16), np.arange(300)
    for array in (*data, exclude):
        array.flags.writeable = False
    first = evaluate_retrieval(*data, 50, exclude=exclude, threads=1)
    for threads in (2, 5, None):
        assert evaluate_retrieval(*data, 50, exclude=exclude, threads=threads) == first
        score = mean_average_precision(*data, 50, exclude=exclude, threads=threads)
        assert score == first.map
    for dtype in (bool, np.int64, np.float32):
        typed = (data[0], data[1].astype(dtype), data[2], data[3].astype(dtype))
        assert mean_average_precision(*typed, 50, exclude=exclude) == first.map


def test_memory_does_not_grow_with_queries_times_database():
    data = draw(9, queries=1500, rows=6000, bit=16)
    tracemalloc.start()
    try:
        evaluate_retrieval(*data, 100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1500 * 6000 / 2  # one byte a pair would already take twice that


def test_default_cutoffs_hold_the_papers_and_stay_within_k():
    cutoffs = curve_cutoffs(5000)
    assert set(range(100, 1001, 100)) <= set(cutoffs.tolist())
    assert (cutoffs[0], cutoffs[-1]) == (1, 5000)
    assert curve_cutoffs(3).tolist() == [1, 2, 3]
    assert rank_cutoffs(1).tolist() == [1]
    assert (rank_cutoffs(999)[0], rank_cutoffs(999)[-1]) == (1, 999)
    for wrong in ([], [0, 1], [6]):
        with pytest.raises(UserError, match="from 1 to K = 5"):
            evaluate_retrieval(*draw(14, 4, 20, 16), 5, cutoffs=wrong)


def wrong_inputs():
    """Arguments, and what the one line of the error must say."""
    codes, labels, base, base_labels = draw(13, 4, 20, 16)
    yield (codes, labels[:3], base, base_labels), {}, "4 query codes, but 3 rows"
    yield (codes, labels, base[:19], base_labels), {}, "19 database codes, but 20 rows"
    yield (codes, labels[:, :4], base, base_labels), {}, "4 classes, database labels 5"
    yield (codes[:, :1], labels, base, base_labels), {}, "8 bits, database codes 16"
    yield (codes.astype(float), labels, base, base_labels), {}, "expected packed codes"
    yield (codes, labels, base[0], base_labels), {}, "expected packed codes"
    yield (codes, labels[0], base, base_labels), {}, "query labels: uint8 array of shape"
    yield (codes, labels, base, base_labels * 2), {}, "database labels: row"
    yield (codes, labels + np.nan, base, base_labels), {}, "holds nan"
    yield (codes, labels.astype(str), base, base_labels), {}, "query labels"
    yield (codes[:0], labels[:0], base, base_labels), {}, "no query codes"
    yield (codes, labels, base[:0], base_labels[:0]), {}, "no database codes"
    for options, message in (
        ({"topk": 0}, "top K = 0"),
        ({"exclude": np.zeros(3, int)}, "each of the 4"),
        ({"exclude": np.full(4, 20)}, "20 for query 0"),
    ):
        yield (codes, labels, base, base_labels), options, message


@pytest.mark.parametrize(("data", "options", "message"), list(wrong_inputs()))
def test_wrong_input_is_one_clear_line(data, options, message):
    for function in (mean_average_precision, evaluate_retrieval):
        with pytest.raises(UserError, match=message) as caught:
            function(*data, **options)
        assert "\n" not in str(caught.value)


def test_bits_that_only_fill_up_a_byte_count_nowhere():
    rng = np.random.default_rng(3)
    signs, labels = rng.normal(size=(60, 12)), rng.integers(0, 2, (60, 3))
    wide = np.concatenate([signs, np.full((60, 4), -1.0)], axis=1)
    data = [(pack_codes(z[:9]), labels[:9], pack_codes(z), labels) for z in (signs, wide)]
    found, expected = evaluate_retrieval(*data[0], bit=12), evaluate_retrieval(*data[1])
    assert (found.bit, found.by_radius.at) == (12, tuple(range(13)))
    assert found.by_radius.precision == expected.by_radius.precision[:13]
    assert (found.map, found.map_tie_averaged) == (expected.map, expected.map_tie_averaged)
    for bit in (0, 8, 11, 17):
        with pytest.raises(UserError, match=f"no packed codes of {bit} bits, but of up to 16"):
            evaluate_retrieval(*data[0], bit=bit)
