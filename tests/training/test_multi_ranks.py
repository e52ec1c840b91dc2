"""Several ranks against one: the same steps, codes and counts; and how a failure ends them."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pytest
from helpers import run_script, succeed

# 24 rows: 3 whole steps an epoch. 21: the last batch is 5, shares 3 and 2. 17: the last batch is
# one row, and all ranks but the first have none. With 3 ranks 19 = 2 · 9 + 1.
CASES = [(2, 24), (2, 21), (2, 17), (3, 19)]
BATCH = {2: 4, 3: 3}
BAD = [0, 7, 8, 20]
"""Rows whose images cannot be read, in one case."""


@pytest.fixture(scope="module")
def trained(scratch):
    """(rows, ranks, …) → what each rank of a small training in double precision came to."""
    tasks: dict[int, list] = {1: [], 2: [], 3: []}

    def folder_of(*case):
        return scratch / "-".join(map(str, case))

    def add(batch, rows, ranks, sampling="shard", bad=(), weighted=True):
        task = {"batch": batch, "rows": rows, "sampling": sampling, "bad": bad}
        folder = str(folder_of(rows, ranks, sampling, bad, weighted))
        tasks[ranks].append({**task, "weighted": weighted, "folder": folder})

    for ranks, rows in CASES:
        add(ranks * BATCH[ranks], rows, 1)
        add(BATCH[ranks], rows, ranks)
    add(8, 21, 1, bad=BAD)
    add(4, 21, 2, bad=BAD)
    add(4, 21, 2, "replicate")
    add(8, 21, 1, weighted=False)
    add(4, 21, 2, weighted=False)
    for ranks, together in tasks.items():
        succeed("tests/multi_ranks.py", "train_all", json.dumps(together), ranks)

    def found(rows, ranks, sampling="shard", bad=(), weighted=True):
        came_to = folder_of(rows, ranks, sampling, bad, weighted)
        return [pickle.loads((came_to / f"rank{r}.pkl").read_bytes()) for r in range(ranks)]

    return found


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The distance of two arrays, over the length of the expected one."""
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    return float(difference / np.linalg.norm(expected.astype(np.float64)))


def joined(state: dict) -> np.ndarray:
    """All arrays of a state, one behind the other."""
    return np.concatenate([state[name].ravel() for name in sorted(state)])


def assert_equal(rank: dict, one: dict) -> None:
    """One of several ranks came to what one process came to, tensor by tensor."""
    for part in ("weights", "bank"):
        for name, expected in one[part].items():
            assert distance(rank[part][name], expected) < 1e-11, name
    assert rank["losses"] == pytest.approx(one["losses"], rel=1e-12)
    np.testing.assert_array_equal(rank["codes"], one["codes"])


@pytest.mark.parametrize(("ranks", "rows"), CASES)
def test_ranks_take_the_steps_of_one_process_with_their_batches_together(trained, ranks, rows):
    (one,) = trained(rows, 1)
    assert len(one["losses"]) == 6, "three steps in each of two epochs"
    for rank in trained(rows, ranks):
        assert_equal(rank, one)
        assert rank["images"] == rows
    assert distance(joined(one["weights"]), joined(one["start"])) > 1e-2, "weights have moved"


def test_ranks_replace_bad_images_as_one_process_does_and_leave_out_the_same(trained):
    (one,), (good,) = (trained(21, 1, bad=bad) for bad in (BAD, ()))
    assert distance(joined(one["weights"]), joined(good["weights"])) > 1e-4
    for rank in trained(21, 2, bad=BAD):
        assert_equal(rank, one)
        assert list(rank["index"]) == [row for row in range(21) if row not in BAD]
        assert rank["bad"] == one["bad"] == {row: f"{row}: damaged" for row in BAD}


def test_unweighted_ranks_count_the_pairs_of_the_whole_batch(trained):
    (one,), (full,) = (trained(21, 1, weighted=weighted) for weighted in (False, True))
    assert distance(joined(one["weights"]), joined(full["weights"])) > 1e-3
    for rank in trained(21, 2, weighted=False):
        assert_equal(rank, one)


def test_replicate_walks_the_whole_set_on_every_rank_with_a_bank_each(trained):
    first, second = trained(21, 2, "replicate")
    assert len(first["losses"]) == 2 * 6 and first["losses"] == second["losses"]
    assert first["images"] == 2 * 21
    np.testing.assert_array_equal(joined(first["weights"]), joined(second["weights"]))
    # A code in the bank is that of the weights when its image was last met.
    other_step = (first["bank"]["codes"] != second["bank"]["codes"]).any(axis=1)
    assert other_step.sum() > 21 / 2


def test_an_error_of_one_rank_ends_all_and_shows_its_traceback():
    result = run_script("tests/multi_ranks.py", "one_breaks", "{}", 2)
    assert result.returncode == 1
    assert re.search(r"rank 1 failed:\n(.|\n)*ValueError: a bug of rank 1", result.stderr)
