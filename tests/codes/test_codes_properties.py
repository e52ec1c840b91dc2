"""Properties that hold for all codes and labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utils.codes import hamming_distance, nearest, pack_codes, unpack_codes
from utils.metrics import evaluate_retrieval, mean_average_precision

quick = settings(max_examples=60, deadline=None)
widths = st.integers(1, 64)


@st.composite
def retrieval_data(draw):
    """Query codes, query labels, database codes and labels, and K; ties are common."""
    width = draw(st.sampled_from([1, 2, 3, 9]))
    queries, rows = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    few = st.sampled_from([0, 1, 3, 7, 255])
    bits = st.integers(0, 1)
    return (
        draw(arrays.arrays(np.uint8, (queries, width), elements=few)),
        draw(arrays.arrays(np.uint8, (queries, 3), elements=bits)),
        draw(arrays.arrays(np.uint8, (rows, width), elements=few)),
        draw(arrays.arrays(np.uint8, (rows, 3), elements=bits)),
        draw(st.integers(1, 30)),
    )


@quick
@given(st.data(), widths)
def test_unpacking_gives_the_signs_that_were_packed(data, width):
    real = st.floats(allow_nan=False, width=32)
    shape = (data.draw(st.integers(0, 3)), 8 * width)
    z = data.draw(arrays.arrays(np.float32, shape, elements=real))
    np.testing.assert_array_equal(unpack_codes(pack_codes(z)), np.where(z >= 0, 1, -1))


@quick
@given(st.data(), widths)
def test_packing_gives_back_any_codes(data, width):
    codes = data.draw(arrays.arrays(np.uint8, (data.draw(st.integers(0, 3)), width)))
    np.testing.assert_array_equal(pack_codes(unpack_codes(codes)), codes)


@quick
@given(st.data(), widths)
def test_hamming_distance_is_a_metric(data, width):
    codes = data.draw(arrays.arrays(np.uint8, (5, width)))
    distance = hamming_distance(codes, codes)
    same = (codes[:, None] == codes[None]).all(axis=2)
    np.testing.assert_array_equal(distance == 0, same)
    np.testing.assert_array_equal(distance, distance.T)
    assert (distance[:, None] <= distance[:, :, None] + distance[None]).all()


@quick
@given(retrieval_data())
def test_nearest_is_a_stable_sort(data):
    query_codes, _, database_codes, _, k = data
    order = np.argsort(hamming_distance(query_codes, database_codes), axis=1, kind="stable")
    np.testing.assert_array_equal(nearest(query_codes, database_codes, k)[1], order[:, :k])


@quick
@given(retrieval_data(), st.randoms(use_true_random=False))
def test_map_does_not_depend_on_the_order_of_the_queries(data, random):
    query_codes, query_labels, database_codes, database_labels, k = data
    order = list(range(len(query_codes)))
    random.shuffle(order)
    score = mean_average_precision(*data)
    shuffled = (query_codes[order], query_labels[order], database_codes, database_labels)
    assert mean_average_precision(*shuffled, k) == score


@quick
@given(retrieval_data(), st.randoms(use_true_random=False))
def test_tie_average_does_not_depend_on_the_order_of_the_database(data, random):
    query_codes, query_labels, database_codes, database_labels, k = data
    order = list(range(len(database_codes)))
    random.shuffle(order)
    found = evaluate_retrieval(*data)
    shuffled = evaluate_retrieval(
        query_codes, query_labels, database_codes[order], database_labels[order], k
    )
    assert abs(found.map_tie_averaged - shuffled.map_tie_averaged) <= 1e-12
    assert found.by_radius == shuffled.by_radius
    assert found.by_rank == shuffled.by_rank


@quick
@given(retrieval_data(), st.integers(0, 255))
def test_flipping_the_same_bits_everywhere_changes_nothing(data, flipped):
    query_codes, query_labels, database_codes, database_labels, k = data
    flip = np.uint8(flipped)
    found = evaluate_retrieval(
        query_codes ^ flip, query_labels, database_codes ^ flip, database_labels, k
    )
    assert found == evaluate_retrieval(*data)


@quick
@given(retrieval_data())
def test_every_value_is_a_share_and_recall_grows(data):
    found = evaluate_retrieval(*data)
    for value in (found.map, found.map_tie_averaged, found.map_min_k_relevant, found.chance):
        assert 0 <= value <= 1 + 1e-12
    for curve in (found.at_n, found.by_radius, found.by_rank):
        assert np.all(np.diff(curve.recall) >= -1e-12)
        assert all(0 <= value <= 1 + 1e-12 for value in (*curve.precision, *curve.recall))
    if found.topk == found.database:  # both denominators are then all the relevant rows
        assert abs(found.map - found.map_min_k_relevant) <= 1e-12
