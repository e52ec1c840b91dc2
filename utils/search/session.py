"""A search from pictures to answers, the same for a network and for an exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from utils.datasets import Split
from utils.inference.encoder import Encoder, provenance, stored_or_new_codes
from utils.search import known_labels, search
from utils.search.report import report_search


def answer_queries(
    queries: Split,
    labelled: Split,
    database: Split,
    encoder: Encoder,
    weights: dict[str, str],
    codes_file: Path,
    bit: int,
    topk: int,
    folder: Path,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Finds each query's nearest database pictures, and shows them.

    Args:
        queries: pictures to search with.
        labelled: where labels of queries may be found, beside the database.
        database: pictures to search in.
        encoder: makes the codes.
        weights: name and hash of the encoder's weights.
        codes_file: `database_code_{bit}.npy`: read where it is of these weights and this list,
            else written.
        bit: length of the codes.
        topk: how many to find.
        folder: where contact sheets and copies of the nearest pictures go.
        say: takes a line for the user.

    Returns:
        A query each: its path, the sheet's, and the matches, in JSON values.

    Raises:
        UserError: a picture cannot be read, or a file cannot be written.
    """
    with encoder:
        asked = encoder.encode(queries)
        made_from = provenance(encoder, database, weights)
        known = stored_or_new_codes(codes_file, encoder, database, bit, made_from, say)
    for problem in (*asked.left_out.values(), *known.left_out.values()):
        say(f"Left out: {problem}")
    paths = [Path(asked.split.pictures.name(row)) for row in range(len(asked.split))]
    labels = known_labels(paths, [labelled, database])
    skips = encoder.loading.skip_bad
    results = search(asked.codes, labels, known.codes, known.split, topk)
    sheets = [
        report_search(query, asked.split, matches, database, folder, say, skips)
        for query, matches in enumerate(results)
    ]
    return _document(paths, sheets, results)


def _document(paths: Sequence[Path], sheets: Sequence[Path], results: Sequence) -> list[dict]:
    return [
        {"query": str(path), "sheet": str(sheet), "matches": [m.as_dict() for m in matches]}
        for path, sheet, matches in zip(paths, sheets, results)
    ]
