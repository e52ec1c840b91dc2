"""Packing, Hamming distance and the nearest codes."""

from __future__ import annotations

import numpy as np
import pytest

from utils.codes import hamming, hamming_distance, nearest, pack_codes, unpack_codes
from utils.system.errors import UserError

EVERY_BIT = range(8, 513, 8)


def random_codes(seed: int, n: int, bit: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bit // 8), dtype=np.uint8)


def brute_force_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (np.unpackbits(a, axis=1)[:, None] != np.unpackbits(b, axis=1)[None]).sum(axis=2)


def test_pack_by_hand():
    # The first bit is the byte's highest; zero, of either sign, counts as positive.
    z = np.array([[3.0, -1.0, 0.0, -0.0, -1e-30, -9.0, -9.0, 1e-30, 1, 1, 1, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(pack_codes(z), [[0b10110001, 0xFF]])
    signs = [[1, -1, 1, 1, -1, -1, -1, 1] + [1] * 8]
    np.testing.assert_array_equal(unpack_codes(pack_codes(z)), signs)
    assert unpack_codes(pack_codes(z)).dtype == np.int8


@pytest.mark.parametrize("bit", EVERY_BIT)
def test_unpack_is_the_inverse_of_pack_for_every_bit_count(bit):
    z = np.random.default_rng(bit).standard_normal((5, bit)).astype(np.float32)
    codes = pack_codes(z)
    assert codes.dtype == np.uint8
    assert codes.shape == (5, bit // 8)
    np.testing.assert_array_equal(unpack_codes(codes), np.where(z >= 0, 1, -1))


def test_infinite_values_have_a_sign():
    z = np.array([[np.inf, -np.inf] * 4], np.float16)
    np.testing.assert_array_equal(pack_codes(z), [[0b10101010]])


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros((2, 12)), "12-bit codes"),
        (np.zeros((2, 0)), "0-bit codes"),
        (np.zeros((2, 520)), "520-bit codes"),
        (np.zeros(16), "shape"),
        (np.zeros((2, 8), complex), "complex128"),
        (np.array([["1"] * 8]), "array of shape"),
        (np.array([[0.0] * 8, [np.nan] * 8]), "row 1 of the network's output is NaN"),
    ],
)
def test_what_cannot_be_packed(z, message):
    with pytest.raises(UserError, match=message):
        pack_codes(z)


@pytest.mark.parametrize("codes", [np.zeros((2, 2)), np.zeros(2, np.uint8), np.zeros((2, 2), int)])
def test_what_is_no_packed_code(codes):
    with pytest.raises(UserError, match="expected packed codes"):
        unpack_codes(codes)
    with pytest.raises(UserError, match="expected packed codes"):
        hamming_distance(codes, codes)


@pytest.mark.parametrize("bit", EVERY_BIT)
def test_hamming_distance_for_every_bit_count(bit):
    a, b = random_codes(1, 4, bit), random_codes(2, 9, bit)
    b[0] = ~a[0]  # the farthest there can be
    b[1] = a[1]
    distance = hamming_distance(a, b)
    np.testing.assert_array_equal(distance, brute_force_distances(a, b))
    assert (distance[0, 0], distance[1, 1]) == (bit, 0)


def test_hamming_distance_of_no_codes():
    assert hamming_distance(random_codes(1, 0, 16), random_codes(1, 3, 16)).shape == (0, 3)
    assert hamming_distance(random_codes(1, 3, 16), random_codes(1, 0, 16)).shape == (3, 0)


def test_codes_in_any_memory_layout():
    wide = random_codes(3, 40, 64)
    a, b = np.asfortranarray(wide[::2]), wide[::-1, ::-1]
    np.testing.assert_array_equal(hamming_distance(a, b), brute_force_distances(a, b))


@pytest.mark.parametrize("bit", [8, 16, 24, 48, 64, 72, 248, 256, 512])
@pytest.mark.parametrize("k", [1, 3, 199, 200])
def test_nearest_is_ordered_by_distance_then_row(bit, k):
    queries, database = random_codes(4, 6, bit), random_codes(5, 200, bit)
    database[:, 1:] = 0  # many ties
    distances, rows = nearest(queries, database, k)
    expected = brute_force_distances(queries, database)
    order = np.argsort(expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_array_equal(distances, np.take_along_axis(expected, order, axis=1))
    assert (distances.dtype, rows.dtype) == (np.int32, np.int64)


def test_nearest_by_hand():
    database = np.array([[3], [0], [1], [255], [1], [0]], np.uint8)
    distances, rows = nearest(np.zeros((1, 1), np.uint8), database, 4)
    np.testing.assert_array_equal(rows, [[1, 5, 2, 4]])
    np.testing.assert_array_equal(distances, [[0, 0, 1, 1]])


def test_nearest_clips_k_to_the_database():
    distances, rows = nearest(random_codes(6, 2, 32), random_codes(7, 5, 32), 100)
    assert distances.shape == rows.shape == (2, 5)
    assert nearest(random_codes(6, 2, 32), random_codes(7, 0, 32), 3)[1].shape == (2, 0)
    assert nearest(random_codes(6, 0, 32), random_codes(7, 5, 32), 3)[1].shape == (0, 3)


@pytest.mark.parametrize("k", [0, -1])
def test_nearest_refuses_to_find_nothing(k):
    with pytest.raises(UserError, match="1 or more"):
        nearest(random_codes(1, 1, 8), random_codes(1, 1, 8), k)


def test_codes_of_different_lengths():
    for function in (hamming_distance, lambda a, b: nearest(a, b, 1)):
        with pytest.raises(UserError, match="query codes have 16 bits, database codes 32"):
            function(random_codes(1, 1, 16), random_codes(1, 1, 32))


def test_nearest_over_blocks_chunks_and_threads(monkeypatch):
    monkeypatch.setattr(hamming, "CHUNK_ROWS", 37)
    monkeypatch.setattr(hamming, "BLOCK_QUERIES", 3)
    queries, database = random_codes(8, 20, 72), random_codes(9, 201, 72)
    expected = brute_force_distances(queries, database)
    order = np.argsort(expected, axis=1, kind="stable")[:, :50]
    for threads in (1, 3):
        np.testing.assert_array_equal(nearest(queries, database, 50, threads)[1], order)


def test_the_radius_follows_queries_that_differ():
    # One query amid the database, the next one far from all of it, and so on.
    database = np.vstack([random_codes(10, 50, 64) & 1, np.zeros((50, 8), np.uint8)])
    queries = np.array([[0] * 8, [255] * 8] * 5, np.uint8)
    expected = brute_force_distances(queries, database)
    order = np.argsort(expected, axis=1, kind="stable")[:, :30]
    np.testing.assert_array_equal(nearest(queries, database, 30)[1], order)
