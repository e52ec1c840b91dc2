"""Labels and codes of COCO's size and kind, for measuring retrieval without a network."""

from __future__ import annotations

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.codes import pack_codes
from utils.datasets.lists import read_list
from utils.system.errors import UserError

DATA_VARIABLE = "HASHNET_TEST_DATA"
LISTS = "coco_lists.tar.xz"
N_CLASS = 80
# Against class centres of variance 1: MAP@5000 at 64 bits is then near the published 0.73.
NOISE = 1.6


@dataclass(frozen=True)
class Labels:
    """Labels of queries that all stand in the database, as in the released split of COCO.

    Attributes:
        database: uint8 [n, 80].
        query_rows: int [n_q], the database row of each query.
        origin: where they come from, in words.
    """

    database: np.ndarray
    query_rows: np.ndarray
    origin: str


def coco_labels(queries: int, rows: int, rng: np.random.Generator) -> Labels:
    """The released lists where the environment names their folder, else labels drawn like them.

    Args:
        queries: at most so many queries.
        rows: at most so many database rows.
        rng: draws the labels where there are no lists.

    Raises:
        UserError: the folder is named, but the lists are not there or damaged.
    """
    folder = os.environ.get(DATA_VARIABLE)
    labels = released_labels(Path(folder, LISTS)) if folder else drawn_labels(queries, rows, rng)
    database = labels.database[:rows]
    query_rows = labels.query_rows[labels.query_rows < len(database)][:queries]
    return Labels(database, query_rows, labels.origin)


def released_labels(archive: Path) -> Labels:
    """Reads test.txt and database.txt from the archive of the released lists."""
    try:
        with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as members:
            lists = {}
            for member in members:
                name = Path(member.name).name
                if member.isfile() and name in ("test.txt", "database.txt"):
                    path = Path(folder, name)
                    path.write_bytes(members.extractfile(member).read())
                    lists[name] = read_list(path, N_CLASS)
            test, database = lists["test.txt"], lists["database.txt"]
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise UserError(
            f"{archive}: cannot read test.txt and database.txt ({error!r}); "
            f"expected the released lists of COCO, or {DATA_VARIABLE} unset"
        ) from error
    row_of = {picture: row for row, picture in enumerate(database.pictures)}
    query_rows = np.array([row_of[name] for name in test.pictures if name in row_of])
    return Labels(database.labels, query_rows, "labels of the released COCO lists")


def drawn_labels(queries: int, rows: int, rng: np.random.Generator) -> Labels:
    """Labels with COCO's density: 2.9 a picture; person on 55 %, the others on 11 … 0.3 %."""
    frequency = np.append(0.55, np.geomspace(0.11, 0.003, N_CLASS - 1))
    labels = np.empty((rows, N_CLASS), np.uint8)
    for block in np.array_split(labels, -(-rows // 8192)):
        block[:] = rng.random(block.shape) < frequency
    labels[~labels.any(axis=1), 0] = 1  # every picture of the lists has a label
    query_rows = rng.permutation(rows)[:queries]
    return Labels(labels, query_rows, "labels drawn at COCO's density")


def clustered_codes(labels: np.ndarray, bit: int, rng: np.random.Generator) -> np.ndarray:
    """Codes that gather by label, as a trained network's do: distances vary, ties are many.

    z is the sum of one normal centre for each label of the picture, plus normal noise.

    Args:
        labels: uint8 [n, n_class].
        bit: code length.
        rng: draws centres and noise.

    Returns:
        Packed codes, uint8 [n, bit / 8].
    """
    centres = rng.standard_normal((labels.shape[1], bit), dtype=np.float32)
    z = labels.astype(np.float32) @ centres
    z += NOISE * rng.standard_normal(z.shape, dtype=np.float32)
    return pack_codes(z)
