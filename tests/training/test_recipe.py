"""What counts as another training where one goes on, and what does not."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from utils.config.command_line import command_to_resume
from utils.config.options import Config
from utils.system.errors import UserError
from utils.training.resume import change_of_ranks, differences, pictures_of_a_walk, step_after

DATA = {"train list": "aa", "test list": "bb", "database list": "cc"}
SAVED = {**asdict(Config()), "ranks": 1, "data": DATA}


def changed(**settings):
    """What `differences` says where these settings are others than the saved ones."""
    return differences(SAVED, {**SAVED, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.5},
        {"seed": 1},
        {"batch_size": 32},
        {"optimizer": "AdamW"},
        {"weight_decay": 0.0},
        {"crop_size": 200},
        {"fast_decode": True},
        {"step_continuation": 5},
        {"topK": 100},
        {"exclude_self": True},
        {"amp": True},
    ],
)
def test_a_setting_that_decides_what_is_computed_counts(settings):
    ((name, value),) = settings.items()
    assert changed(**settings) == [f"{name} is {value}, the saved training had {SAVED[name]}"]


@pytest.mark.parametrize(
    "settings",
    [
        {"epoch": 300},
        {"data_path": "elsewhere"},
        {"dataset": "a copy of the card"},
        {"num_workers": 7},
        {"cache_dir": "cache"},
        {"on_bad_image": "skip"},
        {"device": "cpu"},
        {"cpu_threads": 3},
        {"output_dir": "elsewhere"},
        {"debug_steps": 1},
        {"save_epoch": 5},
        {"eval_epoch": 5},
        {"resume": "output/last_64"},
        {"backbone_weights": "none"},
        {"sampling": "replicate"},
        {"ranks": 2},
        {"ranks": 2, "sampling": "replicate"},
        {"ranks": 2, "batch_size": 32},
    ],
)
def test_the_machine_and_how_long_and_how_often_do_not_count(settings):
    assert changed(**settings) == []


def test_all_differences_are_named():
    found = changed(alpha=0.2, seed=3, data={**DATA, "train list": "xx"})
    assert len(found) == 3
    assert "the train list is xx, the saved training had aa" in found


def test_between_several_ranks_another_sampling_counts_and_of_one_rank_it_is_the_same():
    shard = {**SAVED, "ranks": 2}
    replicate = {**shard, "sampling": "replicate"}
    (difference,) = differences(shard, replicate)
    assert difference == "sampling is replicate, the saved training had shard"
    assert differences(replicate, SAVED) == []
    assert differences(replicate, {**replicate, "batch_size": 32}) != []
    assert differences(shard, {**shard, "ranks": 4, "batch_size": 32}) == []


def test_another_number_of_ranks_is_told_with_what_it_changes():
    assert change_of_ranks(SAVED, {**SAVED, "sampling": "replicate"}) is None
    said = change_of_ranks(SAVED, {**SAVED, "ranks": 2})
    assert "pictures a step 64 → 128, base rate 0.001 → 0.002" in said


def test_what_an_earlier_version_did_not_save_is_not_compared():
    old = {"learning_rate": 1e-3, "batch_size": 64, "dataset": "coco", "ranks": 1, "data": {}}
    assert differences(old, SAVED) == []
    assert len(differences({**old, "dataset": "voc2012"}, SAVED)) == 1


@pytest.mark.parametrize("name", ["batch_size", "learning_rate", "sampling", "ranks", "data"])
def test_settings_that_are_none_are_told(name):
    with pytest.raises(UserError, match=name):
        differences({**SAVED, name: None}, SAVED)


@pytest.mark.parametrize(
    ("step", "before", "now", "expected"),
    # 21 rows: 3 steps of 8 (the last of 5); 6 of 4 (the last of 1); 2 of 16.
    [(1, 8, 4, 2), (2, 4, 8, 1), (3, 4, 8, 1), (3, 8, 4, 6), (6, 4, 8, 3), (1, 16, 8, 2)],
)
def test_the_place_in_an_epoch_is_found_in_other_steps(step, before, now, expected):
    assert step_after(step, before, now, 21) == expected


def test_a_step_comes_forward_by_the_pictures_of_all_ranks_that_share_the_order():
    two = {"batch_size": 16, "ranks": 2}
    assert pictures_of_a_walk({**two, "sampling": "shard"}) == 32
    assert pictures_of_a_walk({**two, "sampling": "replicate"}) == 16


@pytest.mark.parametrize(
    "beginning", [[], ["--resume", "a b"], ["--resume=old"], ["--last_epoch", "3", "--resume", "x"]]
)
def test_the_command_that_goes_on_names_the_new_state_alone(beginning):
    arguments = ["main_single_gpu.py", "--bit", "8", *beginning, "--epoch", "9"]
    expected = "python main_single_gpu.py --bit 8 --epoch 9 --resume 'out put/last_8'"
    assert command_to_resume("out put/last_8", arguments) == expected
    assert command_to_resume(None, ["m.py", "--bit", "8"]) == "python m.py --bit 8"
