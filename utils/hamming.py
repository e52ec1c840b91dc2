"""Hamming distances from one code to a whole database, and its nearest rows in a defined order.

One query at a time, in buffers that are kept: memory grows with the database alone, never with
queries × database. The inner loops are NumPy's own, and leave the interpreter lock to others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

# Rows whose differing bits are counted at a time: 256 KB of words stay in a core's cache.
CHUNK_ROWS = 32_768
# Queries a thread takes at a time. Fixed, so that sums over blocks do not depend on the threads.
BLOCK_QUERIES = 64

Result = TypeVar("Result")


def as_words(codes: np.ndarray) -> np.ndarray:
    """Packed codes as machine words, so that one XOR compares up to 64 bits.

    Args:
        codes: uint8 [n, bit / 8].

    Returns:
        Unsigned integers [n_words, n], contiguous: the shortest word of 1, 2, 4 or 8 bytes that
        holds a code, several of 8 bytes for more than 64 bits. Missing bytes are zeros, which add
        nothing to a distance.
    """
    n, width = codes.shape
    word = min(8, 1 << (width - 1).bit_length())
    n_words = -(-width // word)
    padded = np.zeros((n, n_words * word), np.uint8)
    padded[:, :width] = codes
    return np.ascontiguousarray(padded.view(f"u{word}").reshape(n, n_words).T)


class HammingScanner:
    """Searches one database, query after query, in buffers of its own (one scanner a thread).

    Args:
        database_words: unsigned integers [n_words, n], see `as_words`.
        bit: code length, up to 512.
    """

    def __init__(self, database_words: np.ndarray, bit: int) -> None:
        self._database = database_words
        n = database_words.shape[1]
        # One byte a distance wherever the largest one leaves room for the mark of an excluded row.
        self._distances = np.empty(n, np.uint8 if bit < 255 else np.uint16)
        self._excluded_mark = np.iinfo(self._distances.dtype).max
        # Padded with False to whole groups of 8, for `_marked_rows`.
        self._mark_groups = np.zeros(-(-n // 8), np.uint64)
        self._marks = self._mark_groups.view(bool)[:n]
        self._differing = np.empty(min(n, CHUNK_ROWS), database_words.dtype)
        self._counts = np.empty(min(n, CHUNK_ROWS), np.uint8)
        self._radius = bit // 2

    def distances(self, query_words: np.ndarray, excluded: int = -1) -> np.ndarray:
        """Hamming distances of one query to every row of the database.

        Args:
            query_words: unsigned integers [n_words], one column of `as_words`.
            excluded: a database row to leave out, or -1.

        Returns:
            uint8 or uint16 [n], a kept buffer that the next call overwrites. The excluded row has
            the largest value of that type, farther than any distance.
        """
        n = self._distances.size
        for start in range(0, n, CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, n))
            distances = self._distances[rows]
            differing = self._differing[: distances.size]
            counts = self._counts[: distances.size]
            np.bitwise_xor(self._database[0, rows], query_words[0], out=differing)
            np.bitwise_count(differing, out=distances)
            for words, query_word in zip(self._database[1:], query_words[1:]):
                np.bitwise_xor(words[rows], query_word, out=differing)
                np.add(distances, np.bitwise_count(differing, out=counts), out=distances)
        if excluded >= 0:
            self._distances[excluded] = self._excluded_mark
        return self._distances

    def nearest_rows(self, distances: np.ndarray, k: int) -> np.ndarray:
        """The k rows of smallest distance, ordered by (distance, row).

        Args:
            distances: [n], from `distances`.
            k: how many, at most the number of rows that are not excluded.

        Returns:
            intp [k] row numbers.
        """
        if k == 0:
            return np.empty(0, np.intp)
        radius = self._covering_radius(distances, k)
        # Only the rows inside the last shell need sorting: those on it stand in row order already.
        np.less(distances, radius, out=self._marks)
        inside = self._marked_rows()
        order = distances.take(inside).argsort(kind="stable")
        np.equal(distances, radius, out=self._marks)
        shell = self._marked_rows()
        return np.concatenate([inside.take(order), shell[: k - inside.size]])

    def _covering_radius(self, distances: np.ndarray, k: int) -> int:
        """The smallest radius with at least k rows; sought from the last query's, mostly near."""
        radius = self._radius
        while self._rows_within(distances, radius) < k:
            radius += 1
        while radius > 0 and self._rows_within(distances, radius - 1) >= k:
            radius -= 1
        self._radius = radius
        return radius

    def _rows_within(self, distances: np.ndarray, radius: int) -> int:
        return np.count_nonzero(np.less_equal(distances, radius, out=self._marks))

    def _marked_rows(self) -> np.ndarray:
        """The rows set in the marks, ascending: `numpy.flatnonzero`, first by groups of 8 rows.

        On few and scattered marks flatnonzero waits for a mispredicted branch at each of them; on
        denser ones it does not branch. Groups, and then the rows of marked groups, are dense.
        """
        groups = np.flatnonzero(self._mark_groups != 0)
        members = np.flatnonzero(self._mark_groups.take(groups).view(bool))
        return (groups.take(members >> 3) << 3) + (members & 7)


def map_blocks(
    work: Callable[[range], Result], n_queries: int, threads: int | None = None
) -> Iterator[Result]:
    """Runs `work` over blocks of queries in threads; gives the results in the order of the blocks.

    Args:
        work: takes the query numbers of one block.
        n_queries: how many queries there are.
        threads: how many work at a time; None: as many as this process has processors.

    Yields:
        One result a block. The blocks are the same whatever the number of threads.
    """
    blocks = [
        range(start, min(start + BLOCK_QUERIES, n_queries))
        for start in range(0, n_queries, BLOCK_QUERIES)
    ]
    threads = min(threads or available_processors(), len(blocks))
    if threads <= 1:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, blocks)


def available_processors() -> int:
    """Processors this process may use (a container or `taskset` may grant fewer than there are)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
