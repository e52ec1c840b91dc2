"""Several ranks against one: the same steps, codes and counts; and how a failure ends them."""

from __future__ import annotations

import os
import pickle

import multi_ranks
import numpy as np
import pytest

from utils.errors import UserError
from utils.launcher import run_on_all_ranks
from utils.loader import GlobalBatchSampler


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Ranks share the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = os.path.dirname(__file__)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.path.dirname(here)]))


def trained(folder, ranks, batch, rows, sampling="shard", bad=()):
    """What each rank of a small training came to."""
    folder.mkdir()
    task = {"folder": str(folder), "batch": batch, "rows": rows, "sampling": sampling, "bad": bad}
    run_on_all_ranks(multi_ranks.train, task, ranks, "cpu")
    return [pickle.loads((folder / f"rank{r}.pkl").read_bytes()) for r in range(ranks)]


def distance(found: dict, expected: dict) -> float:
    """The distance of two states, over the length of the expected one."""
    ours, theirs = (
        np.concatenate([state[name].astype(np.float64).ravel() for name in sorted(expected)])
        for state in (found, expected)
    )
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


# 24 rows: 3 whole steps an epoch. 21: the last batch is 5, shares 3 and 2. 17: the last batch is
# one row, and all ranks but the first have none. With 3 ranks 19 = 2 · 9 + 1.
@pytest.mark.parametrize(("ranks", "rows"), [(2, 24), (2, 21), (2, 17), (3, 19)])
def test_ranks_take_the_steps_of_one_process_with_their_batches_together(tmp_path, ranks, rows):
    batch = 4 if ranks == 2 else 3
    (one,) = trained(tmp_path / "one", 1, ranks * batch, rows)
    many = trained(tmp_path / "many", ranks, batch, rows)
    assert len(one["steps"]) == 6, "three steps in each of two epochs"
    multi_ranks.paddle.seed(11)
    start = multi_ranks.values(multi_ranks.Small())
    assert distance(one["weights"], start) > 1e-2, "the training must move the weights"
    for rank in many:
        assert distance(rank["weights"], one["weights"]) < 1e-5
        assert distance(rank["bank"], one["bank"]) < 1e-5
        assert rank["steps"] == pytest.approx(one["steps"], rel=1e-5)
        assert rank["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert rank["pictures"] == rows
        np.testing.assert_array_equal(rank["codes"], one["codes"])


def test_ranks_replace_bad_pictures_as_one_process_does_and_leave_out_the_same_rows(tmp_path):
    bad = (0, 7, 8, 20)
    (one,) = trained(tmp_path / "one", 1, 8, 21, bad=bad)
    good = trained(tmp_path / "good", 1, 8, 21)[0]
    assert distance(one["weights"], good["weights"]) > 1e-4
    for rank in trained(tmp_path / "two", 2, 4, 21, bad=bad):
        assert distance(rank["weights"], one["weights"]) < 1e-5
        assert distance(rank["bank"], one["bank"]) < 1e-5
        np.testing.assert_array_equal(rank["codes"], one["codes"])
        assert list(rank["rows"]) == [row for row in range(21) if row not in bad]
        assert rank["bad"] == one["bad"] == {row: f"{row}: damaged" for row in bad}


def test_replicate_walks_the_whole_set_on_every_rank_with_a_bank_each(tmp_path):
    first, second = trained(tmp_path / "two", 2, 4, 21, "replicate")
    assert len(first["steps"]) == len(second["steps"]) == 2 * 6
    assert first["pictures"] == 2 * 21
    assert distance(first["weights"], second["weights"]) == 0
    assert distance(first["bank"], second["bank"]) > 1e-4
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


def test_a_mistake_found_by_all_ranks_is_told_once():
    with pytest.raises(UserError, match=r"^the lists are missing$"):
        run_on_all_ranks(multi_ranks.user_error, {}, 2, "cpu")


def test_an_error_of_one_rank_ends_all_and_shows_its_traceback():
    with pytest.raises(RuntimeError, match=r"rank 1 failed:\n(.|\n)*ValueError: a bug of rank 1"):
        run_on_all_ranks(multi_ranks.one_breaks, {}, 2, "cpu")
