"""The paper's ablations: trained, killed and gone on with, evaluated, under their own name."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from helpers import SMALL_TRAINING, assert_same_state, epochs_of, log_of, read_until, running
from small_training import arguments_of, train_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.errors import UserError

BOTH = ["--no-weighting", "--no_continuation", "--step-continuation", "1", "--eval-epoch", "2"]


@pytest.fixture(scope="module")
def ablated(small_data, tmp_path_factory):
    """Output folder of twelve epochs of HashNet-W-sgn."""
    output = tmp_path_factory.mktemp("ablated")
    assert train_small(small_data, output, *BOTH, epochs=12) == 0
    return output


@pytest.mark.parametrize(
    ("flags", "variant"),
    [
        ("", "HashNet"),
        ("--no-weighting", "HashNet-W"),
        ("--no-continuation", "HashNet-sgn"),
        ("--no-weighting --no-continuation", "HashNet-W-sgn"),
    ],
)
def test_a_variant_is_named_after_what_is_left_out(flags, variant):
    assert parse_config(TRAIN_COMMAND, flags.split()).variant == variant


def test_log_lines_name_the_variant_and_the_scale_stays_one(ablated):
    log = log_of(ablated)
    for line in (
        r"HashNet-W-sgn\[ 3/12\] bit:8, lr:0\.001250000, scale:1\.000, train loss:0\.\d{3}$",
        r"HashNet-W-sgn epoch:12, bit:8, dataset:drawn, MAP:0\.\d{3}, Best MAP\(e\d+\): 0\.\d",
        r"Training completed for HashNet-W-sgn\(8\)\.$",
        r"not as published: .*step_continuation 1 \(20\), .*variant HashNet-W-sgn \(HashNet\)",
    ):
        assert re.search(line, log, re.MULTILINE), line
    assert [row["scale"] for row in epochs_of(ablated)] == [1.0] * 12


def test_a_killed_ablation_goes_on_as_one(small_data, ablated, tmp_path):
    arguments = arguments_of(small_data, tmp_path, 12, *BOTH)
    with running(SMALL_TRAINING, *arguments) as job:  # killed where the block ends
        read_until(job, r"HashNet-W-sgn\[ 3/12\]")
    assert train_small(small_data, tmp_path, "--resume", tmp_path / "last_8", epochs=12) == 0
    assert_same_state(tmp_path, ablated)
    assert "Training completed for HashNet-W-sgn(8)." in log_of(tmp_path)


def test_another_variant_than_the_saved_one_is_refused(small_data, trained_small):
    with pytest.raises(UserError, match=r"no_weighting is True, the saved training had False"):
        train_small(
            small_data, trained_small, "--resume", trained_small / "last_8", "--no-weighting"
        )


def evaluated(data, output, *flags):
    """The metrics file's first entries, and the variant of the last log line."""
    assert train_small(data, output, "--eval", *flags) == 0
    metrics = json.loads((output / "test/metrics_8.json").read_text(encoding="utf-8"))
    names = re.findall(r"EVAL-(\S+), bit:8, dataset:drawn", log_of(output, kind="test"))
    return metrics["variant"], metrics["seed"], metrics["epoch"], names[-1]


def test_an_evaluation_knows_the_training_from_the_record_or_from_flags(
    small_data, ablated, tmp_path
):
    output = shutil.copytree(ablated, tmp_path / "output")
    best = epochs_of(output)[-1]["best_epoch"]
    flags = ["--seed", "7", "--pretrained"]  # of the run; the training's is recorded
    found = evaluated(small_data, output, *flags, output / "weights_8")
    assert found == ("HashNet-W-sgn", 2000, best, "HashNet-W-sgn")
    found = evaluated(small_data, output, *flags, output / "last_8")
    assert found == ("HashNet-W-sgn", 2000, 12, "HashNet-W-sgn")
    record = output / "weights_8.json"
    before = json.loads(record.read_text())
    old = {name: each for name, each in before["settings"].items() if not name.startswith("no_")}
    for change in ({"settings": old}, {"epoch": "4"}, {"epoch": 10**99}, {"settings": []}):
        record.write_text(json.dumps({**before, **change}))
        found = evaluated(small_data, output, *flags, output / "weights_8")
        is_told = change == {"settings": old}  # of a time without ablations
        assert found[:3] == ("HashNet", *((2000, best) if is_told else (None, None)))
    record.unlink()
    found = evaluated(small_data, output, "--no-weighting", *flags, output / "weights_8")
    assert found == ("HashNet-W", None, None, "HashNet-W")
