"""Binary codes: the sign of the hash layer packed into bytes, Hamming distance, nearest codes."""

from __future__ import annotations

import logging

import numpy as np

from utils.codes.hamming import HammingScanner, as_words, map_blocks, query_groups
from utils.system.errors import UserError

MAX_BIT = 512
_log = logging.getLogger(__name__)


def check_bit(bit: int, where: str = "") -> None:
    """Raises a `UserError`, beginning with `where`, unless `bit` is a code length, 1 to 512."""
    if not 1 <= bit <= MAX_BIT:
        raise UserError(f"{where}{bit}-bit codes: the code length must be from 1 to {MAX_BIT}")


def packed_bytes(bit: int) -> int:
    """Bytes of a packed code; the last one's bits beyond `bit` are 0, and add to no distance."""
    return -(-bit // 8)


def check_codes(codes: np.ndarray, name: str = "codes", bit: int | None = None) -> int:
    """The length of packed codes, uint8 [n, bit / 8 rounded up]; `bit` None: all their bits.

    Raises a `UserError`, which calls the array `name`, for another type, shape or length, and where
    a bit beyond `bit` is not 0.
    """
    if codes.dtype != np.uint8 or codes.ndim != 2:
        raise UserError(
            f"{name}: {codes.dtype} array of shape {codes.shape}; expected packed codes, "
            "uint8 [n, bit / 8], as pack_codes makes them"
        )
    room = 8 * codes.shape[1]
    check_bit(room, f"{name}: ")
    bit = room if bit is None else bit
    if packed_bytes(bit) * 8 != room or (codes[:, -1] & (0xFF >> ((bit - 1) % 8 + 1))).any():
        raise UserError(f"{name}: no packed codes of {bit} bits, but of up to {room}")
    return bit


def pack_codes(z: np.ndarray) -> np.ndarray:
    """Packs the signs of the hash layer's output: bit 1 where z >= 0 (HashNet, section 3: sgn z).

    Args:
        z: real numbers [n, bit], bit from 1 to 512; or the bits, of type bool.

    Returns:
        uint8 [n, bit / 8 rounded up], eight bits a byte in the order of `numpy.packbits` (first
        bit highest), the last byte filled up with 0.

    Raises:
        UserError: `z` is not a matrix of real numbers, has a NaN (which has no sign), is bits
            written as numbers (0 and 1 would both be a 1), or `bit` is not allowed.
    """
    z = np.asarray(z)
    if z.ndim != 2 or z.dtype.kind not in "bfiu":
        raise UserError(f"cannot make codes of a {z.dtype} array of shape {z.shape}: need [n, bit]")
    check_bit(z.shape[1])
    if z.dtype.kind == "f" and np.isnan(z).any():
        row = int(np.isnan(z).any(axis=1).argmax())
        raise UserError(
            f"row {row} of the network's output is NaN and has no code: "
            "the weights are damaged, or training diverged"
        )
    if z.dtype.kind == "b":
        return np.packbits(z, axis=1)
    zeros = z == 0
    if zeros.any() and (z == 1).any() and (zeros | (z == 1)).all():
        raise UserError(
            "codes of nothing but 0 and 1: expected signs or real numbers, where 0 is a 1 too; "
            "pack_codes(codes == 1) packs such bits"
        )
    return np.packbits(z >= 0, axis=1)


def unpack_codes(codes: np.ndarray, bit: int | None = None) -> np.ndarray:
    """The inverse of `pack_codes`: uint8 [n, bit / 8] → the signs, int8 [n, bit] of -1 and 1.

    `bit` is needed where it is no multiple of 8. Raises a `UserError` where `codes` are no packed
    codes of that length.
    """
    bit = check_codes(codes, bit=bit)
    return np.unpackbits(codes, axis=1, count=bit).view(np.int8) * np.int8(2) - np.int8(1)


def check_same_bit(
    query_codes: np.ndarray, database_codes: np.ndarray, bit: int | None = None
) -> int:
    """The length of two sets of packed codes, as `check_codes` has it; else a `UserError`."""
    query_bit = check_codes(query_codes, "query codes", bit)
    database_bit = check_codes(database_codes, "database codes", bit)
    if query_bit != database_bit:
        raise UserError(
            f"query codes have {query_bit} bits, database codes {database_bit}: "
            "encode both with the same weights"
        )
    return query_bit


def warn_of_equal_codes(codes: np.ndarray, name: str) -> None:
    """Warns where 4 packed codes [n, bit / 8] or fewer stand for 8 images each, called `name`."""
    distinct = len(np.unique(codes, axis=0))
    if distinct <= 4 and len(codes) >= 8 * distinct:
        _log.warning(
            f"{name}: {len(codes)} images have only {distinct} distinct codes: a search cannot "
            "tell them apart; a lower --learning-rate, more epochs or ImageNet weights may help"
        )


def hamming_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamming distances of all pairs, for small sets: the number of bits in which codes differ.

    Takes packed codes, uint8 [n_a, bit / 8] and [n_b, bit / 8]; returns int32 [n_a, n_b]. Raises a
    `UserError` where the arrays hold no packed codes or codes of different lengths.
    """
    check_same_bit(a, b)
    return np.bitwise_count(a[:, np.newaxis] ^ b).sum(axis=2, dtype=np.int32)


def nearest(
    query_codes: np.ndarray, database_codes: np.ndarray, k: int, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest database codes of every query, ordered by (distance, index).

    Args:
        query_codes: packed codes, uint8 [n_q, bit / 8].
        database_codes: packed codes, uint8 [n, bit / 8].
        k: how many, at least 1; clipped to n.
        threads: how many search at a time; None: all processors. The answer does not depend on it.

    Returns:
        Distances int32 [n_q, k] and indices of database codes, int64 [n_q, k].

    Raises:
        UserError: `k` is below 1, or the arrays hold no packed codes or codes of different lengths.
    """
    bit = check_same_bit(query_codes, database_codes)
    if k < 1:
        raise UserError(f"{k} nearest codes asked for: ask for 1 or more")
    k = min(k, len(database_codes))
    query_words, database_words = as_words(query_codes), as_words(database_codes)
    distances = np.empty((len(query_codes), k), np.int32)
    indices = np.empty((len(query_codes), k), np.int64)

    def search(block: range) -> None:
        scanner = HammingScanner(database_words, bit)
        for group in query_groups(block):
            found = scanner.distances(query_words[:, group.start : group.stop])
            for query, near, of_query in zip(group, scanner.nearest_rows([k] * len(group)), found):
                indices[query] = near
                distances[query] = of_query.take(near)

    map_blocks(search, len(query_codes), threads)
    return distances, indices
