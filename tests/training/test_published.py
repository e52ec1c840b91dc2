"""The published runs: what of a recipe is as theirs, and their figures in log and metrics file."""

from __future__ import annotations

import shutil

import pytest
from helpers import REPOSITORY, epochs_of, log_of
from small_training import train_small

from utils.config import TRAIN_MULTI_COMMAND, parse_config
from utils.system.errors import UserError
from utils.training.published import describe_recipe, read_published


def recipe(flags: str, ranks: int, steps: int, rate: float) -> str:
    """What a training with these flags says of its recipe."""
    return describe_recipe(parse_config(TRAIN_MULTI_COMMAND, flags.split()), ranks, steps, rate)


def test_two_devices_with_the_defaults_are_as_published():
    found = recipe("--bit 64", 2, 157, 0.002)
    assert found == "Recipe: 157 steps an epoch of 2 x 64 images, base rate 0.002; as published"


def test_one_device_with_batches_of_128_is_the_published_script_for_one():
    assert recipe("--bit 32 --batch-size 128", 1, 79, 0.002) == (
        "Recipe: 79 steps an epoch of 128 images, base rate 0.002; as published for one device; "
        "the published figures come from two"
    )


@pytest.mark.parametrize(
    ("flags", "ranks", "expected"),
    [
        ("", 1, ["seed 2000 (0)", "images a step 64 (128)"]),
        ("--seed 0 --sampling shard", 2, ["sampling shard (replicate)"]),
        ("--seed 0 --batch-size 32", 4, ["devices 4 (2)"]),
        (
            "--bit 48 --seed 200 --batch-size 128 --optimizer AdamW --epoch 20 --tf32",
            1,
            ["epoch 20 (150)", "optimizer AdamW (SGD)", "tf32 True (False)"],
        ),
        ("--bit 24 --batch-size 128 --dataset coco_lite", 1, ["data set coco_lite (coco)"]),
        (
            "--bit 64 --batch-size 128 --backbone-weights none",
            1,
            ["first weights none (torchvision's of ImageNet)"],
        ),
        ("--bit 64 --batch-size 128 --no-weighting", 1, ["variant HashNet-W (HashNet)"]),
        ("--bit 64 --batch-size 128 --pretrained mine", 1, ["first weights mine (ImageNet's)"]),
    ],
)
def test_what_differs_is_named_with_the_published_value(flags, ranks, expected):
    found = recipe(flags, ranks, 1, 0.001)
    assert found.endswith(f"; not as published: {', '.join(expected)}")


def test_the_figures_of_coco_are_those_of_the_published_logs():
    for bit, best in ((16, 0.619), (32, 0.682), (48, 0.716), (64, 0.734)):
        figures = read_published(REPOSITORY / "data/coco", bit)
        assert list(figures) == list(range(1, 151))
        assert max(each.map for each in figures.values() if each.map is not None) == best
    assert [figures[epoch].loss for epoch in (1, 10, 50, 150)] == [1.151, 0.855, 0.613, 0.562]
    assert [figures[epoch].map for epoch in (9, 10, 20, 100)] == [None, 0.706, 0.722, 0.733]
    assert read_published(REPOSITORY / "data/coco", 8) == {}
    assert read_published(REPOSITORY / "data/coco_lite", 64) == {}


def test_an_ablation_has_no_published_figures_beside_it(small_data, tmp_path):
    data = shutil.copytree(small_data, tmp_path / "data")
    (data / "published_runs.csv").write_text(TABLE)
    assert train_small(data, tmp_path / "output", "--no-continuation") == 0
    assert "variant HashNet-sgn (HashNet)" in log_of(tmp_path / "output")
    assert "Published run" not in log_of(tmp_path / "output")
    assert not [row for row in epochs_of(tmp_path / "output") if "published_loss" in row]


TABLE = "bit,epoch,learning_rate,scale,train_loss,map_at_5000\n8,2,0.01,1,1.25,\n8,3,0.01,1,1,0.5\n"


def test_a_training_shows_published_figures_beside_its_own(small_data, tmp_path):
    data = shutil.copytree(small_data, tmp_path / "data")
    (data / "published_runs.csv").write_text(TABLE)
    assert train_small(data, tmp_path / "output") == 0
    log, (first, second, third) = log_of(tmp_path / "output"), epochs_of(tmp_path / "output")
    assert f"Published run, epoch 2: loss 1.250, here {second['loss']:.3f}" in log
    assert f"Published run, epoch 3: MAP 0.500, here {third['map']:.3f}" in log
    assert "Published run, epoch 1" not in log and "published_loss" not in first
    assert (second["published_loss"], second["published_map"]) == (1.25, None)
    assert (third["published_loss"], third["published_map"]) == (1.0, 0.5)
    assert "Recipe: 3 steps an epoch of 4 images, base rate 0.00125; not as published" in log


@pytest.mark.parametrize("table", ["bit,epoch\n8,1\n", TABLE.replace("1.25", "much"), "\xff"])
def test_a_damaged_table_is_one_line(tmp_path, table):
    (tmp_path / "published_runs.csv").write_text(table, encoding="latin-1")
    if "\xff" in table:
        (tmp_path / "published_runs.csv").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match=r"published_runs\.csv: not a table of published runs"):
        read_published(tmp_path, 8)
