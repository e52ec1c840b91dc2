"""What exact retrieval is measured against: the textbook's MAP loop, and faiss's search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

INSTALL_FAISS = "faiss is not installed, its column stays empty: pip install faiss-cpu"


def textbook_average_precisions(
    query_signs: np.ndarray,
    query_labels: np.ndarray,
    database_signs: np.ndarray,
    database_labels: np.ndarray,
    topk: int,
    order: str | None = None,
) -> np.ndarray:
    """AP@K as most published code has it: per query a label product, distances, and an argsort.

    Args:
        query_signs: float32 [n_q, bit] of -1 and 1.
        query_labels: int64 [n_q, n_class].
        database_signs: float32 [n, bit].
        database_labels: int64 [n, n_class].
        topk: K.
        order: kind of sort; None: NumPy's default, which leaves ties in no defined order.

    Returns:
        float64 [n_q].
    """
    bit = query_signs.shape[1]
    scores = np.zeros(len(query_signs))
    for query, (signs, labels) in enumerate(zip(query_signs, query_labels)):
        relevant = (np.dot(labels, database_labels.T) > 0).astype(np.float32)
        distances = 0.5 * (bit - np.dot(signs, database_signs.T))
        ranked = relevant[np.argsort(distances, kind=order)][:topk]
        hits = int(ranked.sum())
        if hits:
            ranks = np.asarray(np.where(ranked == 1)) + 1.0
            scores[query] = np.mean(np.linspace(1, hits, hits) / ranks)
    return scores


def faiss_search(
    query_codes: np.ndarray, database_codes: np.ndarray, topk: int, threads: int
) -> Callable[[], None] | None:
    """faiss's exact search of binary codes alone, ready to run: no labels, no metric.

    Returns:
        A function that searches all queries; None where faiss is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError:
        return None
    index = faiss.IndexBinaryFlat(8 * database_codes.shape[1])
    index.add(database_codes)

    def search() -> None:
        faiss.omp_set_num_threads(threads)
        index.search(query_codes, topk)

    return search
