"""Packing, Hamming distance and the nearest codes, by hand and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import cases
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from utils.codes import hamming, hamming_distance, nearest, pack_codes, unpack_codes
from utils.system.errors import UserError

quick = cases(60)
widths = st.integers(1, 64)


def random_codes(seed: int, n: int, bit: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bit // 8), dtype=np.uint8)


def brute_force_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (np.unpackbits(a, axis=1)[:, None] != np.unpackbits(b, axis=1)[None]).sum(axis=2)


def assert_nearest(queries: np.ndarray, database: np.ndarray, k: int, threads=None) -> None:
    """`nearest` is a stable sort of the brute-force distances."""
    distances, indices = nearest(queries, database, k, threads)
    expected = brute_force_distances(queries, database)
    order = np.argsort(expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(distances, np.take_along_axis(expected, order, axis=1))
    assert (distances.dtype, indices.dtype) == (np.int32, np.int64)


def test_pack_by_hand():
    # The first bit is the byte's highest; zero, of either sign, counts as positive.
    z = np.array([[3.0, -1.0, 0.0, -0.0, -1e-30, -9.0, -9.0, 1e-30, 1, 1, 1, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(pack_codes(z), [[0b10110001, 0xFF]])
    signs = [[1, -1, 1, 1, -1, -1, -1, 1] + [1] * 8]
    np.testing.assert_array_equal(unpack_codes(pack_codes(z)), signs)
    assert (pack_codes(z).dtype, unpack_codes(pack_codes(z)).dtype) == (np.uint8, np.int8)
    infinite = np.array([[np.inf, -np.inf] * 4], np.float16)
    np.testing.assert_array_equal(pack_codes(infinite), [[0b10101010]])


@quick
@given(st.data(), widths)
def test_unpacking_gives_the_signs_that_were_packed_and_packing_gives_them_back(data, width):
    real = st.floats(allow_nan=False, width=32)
    shape = (data.draw(st.integers(0, 3)), 8 * width)
    z = data.draw(arrays.arrays(np.float32, shape, elements=real))
    assume(not (np.isin(z, (0, 1)).all() and 0 in z))  # bits written as numbers: refused
    codes = pack_codes(z)
    assert codes.shape == (shape[0], width)
    np.testing.assert_array_equal(unpack_codes(codes), np.where(z >= 0, 1, -1))
    np.testing.assert_array_equal(pack_codes(unpack_codes(codes)), codes)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros((2, 513)), "513-bit codes: the code length must be from 1 to 512"),
        (np.zeros((2, 520)), "520-bit codes"),
        (np.zeros(16), "shape"),
        (np.zeros((2, 8), complex), "complex128"),
        (np.array([[0.0] * 8, [np.nan] * 8]), "row 1 of the network's output is NaN"),
        (np.eye(8), r"nothing but 0 and 1: .* pack_codes\(codes == 1\)"),
        (np.eye(8, dtype=np.uint8), "nothing but 0 and 1"),
    ],
)
def test_what_cannot_be_packed(z, message):
    with pytest.raises(UserError, match=message):
        pack_codes(z)


def test_what_is_no_packed_code_or_of_another_length_or_no_search_is_told():
    for codes in (np.zeros((2, 2)), np.zeros(2, np.uint8), np.zeros((2, 2), int)):
        for refuse in (unpack_codes, lambda c: hamming_distance(c, c)):
            with pytest.raises(UserError, match="expected packed codes"):
                refuse(codes)
    for function in (hamming_distance, lambda a, b: nearest(a, b, 1)):
        with pytest.raises(UserError, match="query codes have 16 bits, database codes 32"):
            function(random_codes(1, 1, 16), random_codes(1, 1, 32))
    for bit in (-8, 0, 8, 11, 17, 64):
        with pytest.raises(UserError, match=f"no packed codes of {bit} bits, but of up to 16"):
            unpack_codes(pack_codes(np.ones((1, 12))), bit)
    for k in (0, -1):
        with pytest.raises(UserError, match="1 or more"):
            nearest(random_codes(1, 1, 8), random_codes(1, 1, 8), k)


def test_hamming_distance_for_every_bit_count_and_memory_layout():
    for bit in range(8, 513, 8):
        a, b = random_codes(1, 4, bit), random_codes(2, 9, bit)
        b[0] = ~a[0]  # the farthest there can be
        b[1] = a[1]
        distance = hamming_distance(a, b)
        np.testing.assert_array_equal(distance, brute_force_distances(a, b))
        assert (distance[0, 0], distance[1, 1]) == (bit, 0)
    wide = random_codes(3, 40, 64)
    a, b = np.asfortranarray(wide[::2]), wide[::-1, ::-1]
    np.testing.assert_array_equal(hamming_distance(a, b), brute_force_distances(a, b))


def test_no_codes_have_no_distances_and_k_is_clipped_to_the_database():
    none, some, five = (random_codes(1, n, 32) for n in (0, 2, 5))
    assert hamming_distance(none, some).shape == (0, 2)
    assert hamming_distance(some, none).shape == nearest(some, none, 3)[1].shape == (2, 0)
    assert nearest(none, five, 3)[1].shape == (0, 3)
    distances, indices = nearest(some, five, 100)
    assert distances.shape == indices.shape == (2, 5)


def test_nearest_by_hand():
    database = np.array([[3], [0], [1], [255], [1], [0]], np.uint8)
    distances, indices = nearest(np.zeros((1, 1), np.uint8), database, 4)
    np.testing.assert_array_equal(indices, [[1, 5, 2, 4]])
    np.testing.assert_array_equal(distances, [[0, 0, 1, 1]])


@pytest.mark.parametrize("bit", [8, 16, 24, 48, 64, 72, 248, 256, 512])
def test_nearest_is_ordered_by_distance_then_index(bit):
    queries, database = random_codes(4, 6, bit), random_codes(5, 200, bit)
    database[:, 1:] = 0  # many ties
    for k in (1, 3, 199, 200):
        assert_nearest(queries, database, k)


def test_nearest_over_blocks_chunks_threads_and_queries_that_differ(monkeypatch):
    # One query amid the database, the next one far from all of it, and so on.
    database = np.vstack([random_codes(10, 50, 64) & 1, np.zeros((50, 8), np.uint8)])
    assert_nearest(np.array([[0] * 8, [255] * 8] * 5, np.uint8), database, 30)
    monkeypatch.setattr(hamming, "CHUNK_ROWS", 37)
    monkeypatch.setattr(hamming, "BLOCK_QUERIES", 3)
    for threads in (1, 3):
        assert_nearest(random_codes(8, 20, 72), random_codes(9, 201, 72), 50, threads)


def test_bits_and_numbers_that_only_look_like_bits():
    bits = np.random.default_rng(0).random((9, 16)) < 0.5
    np.testing.assert_array_equal(pack_codes(bits), np.packbits(bits, axis=1))
    assert (unpack_codes(pack_codes(bits)) == np.where(bits, 1, -1)).all()
    for same in (0.0, 1.0):  # a network whose outputs are all equal has codes, if useless ones
        assert (pack_codes(np.full((2, 8), same)) == 255).all()
    assert (pack_codes(np.eye(8) - 1e-9) == np.packbits(np.eye(8, dtype=bool), axis=1)).all()


@pytest.mark.parametrize("bit", [1, 7, 12, 24, 36, 100, 511])
def test_codes_of_any_length_pack_unpack_and_lie_as_far_apart_as_their_bits(bit):
    rng = np.random.default_rng(bit)
    a, b = rng.normal(size=(5, bit)), rng.normal(size=(9, bit))
    packed = pack_codes(a), pack_codes(b)
    assert packed[0].shape == (5, -(-bit // 8))
    np.testing.assert_array_equal(unpack_codes(packed[0], bit), np.where(a >= 0, 1, -1))
    expected = ((a >= 0)[:, None] != (b >= 0)[None]).sum(-1)
    np.testing.assert_array_equal(hamming_distance(*packed), expected)
    assert int(hamming_distance(*map(pack_codes, (a, -a))).max()) == bit
