"""Several ranks against one: the same steps, codes and counts; and how a failure ends them."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from utils.datasets.loader import GlobalBatchSampler

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # ranks share the cores
    "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)]),
}
# 24 rows: 3 whole steps an epoch. 21: the last batch is 5, shares 3 and 2. 17: the last batch is
# one row, and all ranks but the first have none. With 3 ranks 19 = 2 · 9 + 1.
CASES = [(2, 24), (2, 21), (2, 17), (3, 19)]
BATCH = {2: 4, 3: 3}
BAD = (0, 7, 8, 20)
"""Rows whose pictures cannot be read, in one case."""


def run_ranks(run, function, argument, ranks):
    """Runs a function of multi_ranks.py on several ranks."""
    return run(
        *("tests/run_ranks.py", function, json.dumps(argument), ranks), environment=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def trained(run, scratch):
    """(dtype, rows, ranks, …) → what each rank of a small training came to."""
    folder = scratch
    tasks: dict[int, list] = {1: [], 2: [], 3: []}

    def folder_of(*case):
        return folder / "-".join(map(str, case))

    def add(batch, dtype, rows, ranks, sampling="shard", bad=()):
        task = {"batch": batch, "dtype": dtype, "rows": rows, "sampling": sampling, "bad": bad}
        task["folder"] = str(folder_of(dtype, rows, ranks, sampling, bad))
        tasks[ranks].append(task)

    for dtype in ("float32", "float64"):
        for ranks, rows in CASES:
            add(ranks * BATCH[ranks], dtype, rows, 1)
            add(BATCH[ranks], dtype, rows, ranks)
    for batch, ranks in ((8, 1), (4, 2)):
        add(batch, "float32", 21, ranks, bad=BAD)
    add(4, "float32", 21, 2, "replicate")
    for ranks, together in tasks.items():
        result = run_ranks(run, "train_all", together, ranks)
        assert result.returncode == 0, result.stderr

    def found(dtype, rows, ranks, sampling="shard", bad=()):
        came_to = folder_of(dtype, rows, ranks, sampling, bad)
        return [pickle.loads((came_to / f"rank{r}.pkl").read_bytes()) for r in range(ranks)]

    return found


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The distance of two arrays, over the length of the expected one."""
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    return float(difference / np.linalg.norm(expected.astype(np.float64)))


def joined(state: dict) -> np.ndarray:
    """All arrays of a state, one behind the other."""
    return np.concatenate([state[name].ravel() for name in sorted(state)])


@pytest.mark.parametrize(("ranks", "rows"), CASES)
def test_ranks_take_the_steps_of_one_process_with_their_batches_together(trained, ranks, rows):
    """In double precision, where rounding hides nothing, tensor by tensor."""
    (one,) = trained("float64", rows, 1)
    assert len(one["steps"]) == 6, "three steps in each of two epochs"
    for rank in trained("float64", rows, ranks):
        for part in ("weights", "bank"):
            for name, expected in one[part].items():
                assert distance(rank[part][name], expected) < 1e-11, name
        assert rank["steps"] == pytest.approx(one["steps"], rel=1e-12)
        assert rank["loss"] == pytest.approx(one["loss"], rel=1e-12)
    assert distance(joined(one["weights"]), joined(one["start"])) > 1e-2, "weights have moved"


@pytest.mark.parametrize(("ranks", "rows"), CASES)
def test_in_single_precision_they_differ_by_rounding_alone(trained, ranks, rows):
    """As a whole: a bias that has hardly left 0 is a small sum of large parts."""
    (one,) = trained("float32", rows, 1)
    for rank in trained("float32", rows, ranks):
        for part in ("weights", "bank"):
            assert distance(joined(rank[part]), joined(one[part])) < 1e-5
        assert rank["steps"] == pytest.approx(one["steps"], rel=1e-5)
        assert rank["pictures"] == rows
        np.testing.assert_array_equal(rank["codes"], one["codes"])


def test_ranks_replace_bad_pictures_as_one_process_does_and_leave_out_the_same_rows(trained):
    (one,), (good,) = (trained("float32", 21, 1, bad=bad) for bad in (BAD, ()))
    assert distance(joined(one["weights"]), joined(good["weights"])) > 1e-4
    for rank in trained("float32", 21, 2, bad=BAD):
        assert distance(joined(rank["weights"]), joined(one["weights"])) < 1e-5
        assert distance(joined(rank["bank"]), joined(one["bank"])) < 1e-5
        np.testing.assert_array_equal(rank["codes"], one["codes"])
        assert list(rank["rows"]) == [row for row in range(21) if row not in BAD]
        assert rank["bad"] == one["bad"] == {row: f"{row}: damaged" for row in BAD}


def test_replicate_walks_the_whole_set_on_every_rank_with_a_bank_each(trained):
    first, second = trained("float32", 21, 2, "replicate")
    assert len(first["steps"]) == len(second["steps"]) == 2 * 6
    assert first["pictures"] == 2 * 21
    np.testing.assert_array_equal(joined(first["weights"]), joined(second["weights"]))
    # A code in the bank is that of the weights when its picture was last met.
    other_step = (first["bank"]["codes"] != second["bank"]["codes"]).any(axis=1)
    assert other_step.sum() > 21 / 2
    assert first["steps"] != second["steps"]
    assert first["loss"] == second["loss"], "the epoch's loss is that of all ranks"


@pytest.mark.parametrize("rows", [1, 5, 12, 13, 23])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_shares_of_all_ranks_are_the_batches_of_one_process(rows, ranks):
    samplers = [GlobalBatchSampler(rows, 4, ranks, rank, True) for rank in range(ranks)]
    whole = GlobalBatchSampler(rows, 4 * ranks, 1, 0, True)
    for sampler in (*samplers, whole):
        sampler.set_seed(9)
    shares = list(zip(*samplers))
    assert len(shares) == len(whole) == len(samplers[0])
    for parts, batch in zip(shares, whole):
        assert len({len(part) for part in parts}) == 1 and len(parts[0]) <= 4
        assert [row for part in parts for row in part if row >= 0] == batch
        assert {~row for part in parts for row in part if row < 0} <= {batch[0]}


def test_the_order_of_one_process_is_that_of_paddle_s_sampler():
    from paddle.io import DistributedBatchSampler

    paddles = DistributedBatchSampler(range(23), 4, num_replicas=1, rank=0, shuffle=True)
    ours = GlobalBatchSampler(23, 4, 1, 0, True)
    for seed in (0, 7, 2**31 - 1):
        paddles.set_epoch(seed)
        ours.set_seed(seed)
        assert list(ours) == list(paddles)


def test_a_mistake_found_by_all_ranks_is_told_once(run):
    result = run_ranks(run, "user_error", {}, 2)
    assert result.returncode == 2
    assert result.stderr == "error: the lists are missing\n"


def test_an_error_of_one_rank_ends_all_and_shows_its_traceback(run):
    result = run_ranks(run, "one_breaks", {}, 2)
    assert result.returncode == 1
    assert re.search(r"rank 1 failed:\n(.|\n)*ValueError: a bug of rank 1", result.stderr)
