"""Hamming distances from codes to a whole database, and the nearest rows in a defined order.

A few queries at a time, in buffers that are kept: memory grows with the database alone, never with
queries × database. The inner loops are NumPy's own. They leave the interpreter lock to other
threads, but each return from one has to take it again; a group of queries a call is what lets two
threads search nearly twice as fast as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from utils.system.runtime import usable_cores

# Queries and rows compared in one call: 512 KB of words stay in a core's cache.
GROUP_QUERIES = 8
CHUNK_ROWS = 8_192
# Queries a thread takes at a time. Fixed, so that sums over blocks do not depend on the threads.
BLOCK_QUERIES = 64
# What a first guess of the radius looks at: 64 runs of rows, more of a small database.
SAMPLE_RUN, SAMPLE_RUNS = 64, 64
# Distances in the sort keys of a group: 10 bits, and 3 more for the query. 16 bits sort by radix.
DISTANCE_BITS = 10

Result = TypeVar("Result")


def as_words(codes: np.ndarray) -> np.ndarray:
    """Packed codes, uint8 [n, bit / 8], as machine words, so that one XOR compares up to 64 bits.

    Returns unsigned integers [n_words, n], contiguous: the shortest word of 1, 2, 4 or 8 bytes
    that holds a code, several of 8 bytes for more than 64 bits. Missing bytes are zeros, which add
    nothing to a distance.
    """
    n, width = codes.shape
    word = min(8, 1 << (width - 1).bit_length())
    n_words = -(-width // word)
    padded = np.zeros((n, n_words * word), np.uint8)
    padded[:, :width] = codes
    return np.ascontiguousarray(padded.view(f"u{word}").reshape(n, n_words).T)


class HammingScanner:
    """Searches one database, group after group, in buffers of its own (one scanner a thread)."""

    def __init__(self, database_words: np.ndarray, bit: int) -> None:
        self._database, self._bit = database_words, bit
        self._n = n = database_words.shape[1]
        # One byte a distance wherever the largest one leaves room for the mark of an excluded row.
        kind = np.uint8 if bit < 255 else np.uint16
        self._excluded_mark = np.iinfo(kind).max
        # Rows are padded to whole groups of 8, marked False, for `_marked`.
        self._stride = 8 * -(-n // 8)
        self._distances = np.empty((GROUP_QUERIES, self._stride), kind)
        self._mark_words = np.zeros((GROUP_QUERIES, self._stride // 8), np.uint64)
        self._marks = self._mark_words.view(bool)[:, :n]
        self._differing = np.empty((GROUP_QUERIES, min(n, CHUNK_ROWS)), database_words.dtype)
        self._counts = np.empty((GROUP_QUERIES, min(n, CHUNK_ROWS)), np.uint8)

    def distances(self, query_words: np.ndarray, excluded: np.ndarray | None = None) -> np.ndarray:
        """Hamming distances of a group of queries, columns of `as_words`, to every database row.

        `excluded`, int [g], names a row to leave out for each query, or -1. Returns uint8 or uint16
        [g, n], a kept buffer that the next call overwrites; an excluded row has the largest value
        of that type, farther than any distance.
        """
        g = query_words.shape[1]
        for start in range(0, self._n, CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, self._n))
            distances = self._distances[:g, rows]
            differing = self._differing[:g, : distances.shape[1]]
            counts = self._counts[:g, : distances.shape[1]]
            np.bitwise_xor(self._database[0, rows], query_words[0][:, np.newaxis], out=differing)
            np.bitwise_count(differing, out=distances)
            for words, of_queries in zip(self._database[1:], query_words[1:]):
                np.bitwise_xor(words[rows], of_queries[:, np.newaxis], out=differing)
                np.add(distances, np.bitwise_count(differing, out=counts), out=distances)
        if excluded is not None:
            queries = np.flatnonzero(excluded >= 0)
            self._distances[queries, excluded[queries]] = self._excluded_mark
        return self._distances[:g, : self._n]

    def nearest_rows(self, depths: Sequence[int]) -> list[np.ndarray]:
        """Finds the nearest rows of each query of the group that `distances` was last called with.

        As many as its depth, which is at most the rows that are not excluded: intp, ordered by
        (distance, row).
        """
        counts = self._mark_candidates(depths)
        places = self._marked(len(depths))
        keys = self._distances.reshape(-1).take(places).astype(np.uint16)
        keys += np.repeat(np.arange(len(depths), dtype=np.uint16) << DISTANCE_BITS, counts)
        places = places.take(keys.argsort(kind="stable"))
        starts = np.cumsum(counts) - counts
        return [
            places[start : start + depth] - query * self._stride
            for query, (start, depth) in enumerate(zip(starts, depths))
        ]

    def _mark_candidates(self, depths: Sequence[int]) -> np.ndarray:
        """Marks, for each query, the rows within a radius that holds enough; how many they are.

        Rows too many are cut after sorting, which costs less than another look at all rows.
        """
        g = len(depths)
        distances, marks = self._distances[:g, : self._n], self._marks[:g]
        radii = self._likely_radii(distances, depths)
        np.less_equal(distances, radii[:, np.newaxis], out=marks)
        counts = np.array(list(map(np.count_nonzero, marks)), dtype=np.intp)
        for query, depth in enumerate(depths):
            while counts[query] < depth:
                radii[query] += 1
                np.less_equal(distances[query], radii[query], out=marks[query])
                counts[query] = np.count_nonzero(marks[query])
        return counts

    def _likely_radii(self, distances: np.ndarray, depths: Sequence[int]) -> np.ndarray:
        """Guesses a radius for each query that holds `depth` rows, from every k-th run of 64 rows.

        Of a small database the sample is all rows, and the radius certain.
        """
        g, bins = len(depths), self._bit + 2  # the last bin is for excluded rows
        runs = self._n // SAMPLE_RUN
        step = max(1, runs // SAMPLE_RUNS)
        if step > 1:
            distances = distances[:, : runs * SAMPLE_RUN].reshape(g, runs, SAMPLE_RUN)[:, ::step]
        sample = np.minimum(distances.reshape(g, -1), bins - 1).astype(np.intp)
        sample += bins * np.arange(g)[:, np.newaxis]
        within = np.bincount(sample.reshape(-1), minlength=g * bins).reshape(g, bins).cumsum(axis=1)
        share = sample.shape[1] / max(1, self._n)
        wanted = share * np.asarray(depths)
        if step > 1:
            wanted = wanted + np.sqrt(wanted)  # a little more, for the luck of the draw
        radii = (within < wanted[:, np.newaxis]).sum(axis=1)
        return np.minimum(radii, self._bit).astype(self._distances.dtype)

    def _marked(self, g: int) -> np.ndarray:
        """Places of the marks in the padded rows, ascending: `numpy.flatnonzero`, by groups of 8.

        On few and scattered marks flatnonzero waits for a mispredicted branch at each of them.
        """
        words = self._mark_words[:g].reshape(-1)
        groups = np.flatnonzero(words != 0)
        members = np.flatnonzero(words.take(groups).view(bool))
        return (groups.take(members >> 3) << 3) + (members & 7)


def query_groups(queries: range, size: int = GROUP_QUERIES) -> Iterator[range]:
    """Cuts queries into groups for a scanner."""
    for start in range(queries.start, queries.stop, size):
        yield range(start, min(start + size, queries.stop))


def map_blocks(
    work: Callable[[range], Result], n_queries: int, threads: int | None = None
) -> list[Result]:
    """Runs `work` over blocks of query numbers, in threads (None: one for each processor).

    Gives one result a block, in order. The blocks are the same whatever the number of threads.
    """
    blocks = list(query_groups(range(n_queries), BLOCK_QUERIES))
    threads = threads or (usable_cores() if len(blocks) > 1 else 1)
    if threads == 1:
        return list(map(work, blocks))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, blocks))
