"""MAP of real-valued codes: HashNet+C, what the paper compares the binary ones with."""

from __future__ import annotations

import itertools
import math

import numpy as np

from utils.codes import pack_codes
from utils.codes.hamming import map_blocks, query_groups
from utils.metrics.average_precision import average_precision, mean_of, precision_at_relevant_ranks
from utils.metrics.relevance import RetrievalTask
from utils.system.errors import UserError

VALUE_BITS, VALUE_QUERIES = 22, 16
"""Bits of a real value, so that 512 products add up exactly in float64; queries in one call."""


def mean_average_precision_of_values(
    query_values: np.ndarray,
    query_labels: np.ndarray,
    database_values: np.ndarray,
    database_labels: np.ndarray,
    topk: int | None = None,
    *,
    exclude: np.ndarray | None = None,
    threads: int | None = None,
) -> float:
    """MAP@K of real-valued codes, ranked by inner product, the largest first.

    Of tanh(βz) it is what the paper calls HashNet+C. Equal products stand in database order; to be
    equal on every machine, whatever order it adds in, values are rounded to steps of 2^-22 of the
    largest one. Memory grows with the database alone.

    Args:
        query_values: real numbers [n_q, bit], bit from 1 to 512.
        database_values: real numbers [n, bit]; all else as for `mean_average_precision`.

    Raises:
        UserError: as `mean_average_precision`; or a value is not finite.
    """
    queries, database = _in_steps(query_values, "query"), _in_steps(database_values, "database")
    if queries.shape[1] != database.shape[1]:
        raise UserError(f"query values have {queries.shape[1]} bits, others {database.shape[1]}")
    # The signs stand for the values where rows, labels and K are checked; they are not ranked.
    signs = pack_codes(queries >= 0), pack_codes(database >= 0)
    task = RetrievalTask(signs[0], query_labels, signs[1], database_labels, topk, exclude)

    def score(block: range) -> list[float]:
        values = []
        for group in query_groups(block, VALUE_QUERIES):
            products = queries[group.start : group.stop] @ database.T
            for query, of_query in zip(group, products):
                if task.leaves_out_a_row(query):
                    of_query[exclude[query]] = -np.inf
                ranked = task.relevant(query).take(_largest(of_query, task.depth(query)))
                values.append(average_precision(precision_at_relevant_ranks(ranked)))
        return values

    blocks = map_blocks(score, task.queries, threads)
    return mean_of(itertools.chain.from_iterable(blocks), task.queries)


def _in_steps(values: np.ndarray, side: str) -> np.ndarray:
    """Real numbers [n, bit] as whole numbers of a step, float64, none above 2^22."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise UserError(f"{side}: {values.dtype} array of shape {values.shape}; need [n, bit]")
    largest = float(np.abs(values).max())
    if not math.isfinite(largest):
        raise UserError(f"a {side} value is infinite or no number: it cannot be ranked")
    return np.rint(np.ldexp(values.astype(np.float64), VALUE_BITS - math.frexp(largest)[1]))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The rows of the largest values [n], the largest first, equal ones in order: intp [count]."""
    least = np.partition(values, -count)[-count]
    rows = np.flatnonzero(values >= least)
    return rows[np.argsort(-values[rows], kind="stable")][:count]
