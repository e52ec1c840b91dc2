"""The published runs: what a training has in common with them, and their figures beside its own.

The figures of a data set are in `data/<name>/published_runs.csv`, a line an epoch and code length:
`bit,epoch,learning_rate,scale,train_loss,map_at_5000`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from models import DEFAULT_BACKBONE
from utils.config import Config
from utils.system.files import MAX_TEXT, open_untrusted

RUNS_FILE = "published_runs.csv"
DATASET, DEVICES, IMAGES_A_STEP = "coco", 2, 128
SEEDS = {16: 0, 32: 2000, 48: 200, 64: 2000}
_RECIPE = (
    *("epoch", "learning_rate", "de_step", "optimizer", "momentum", "weight_decay", "alpha"),
    *("step_continuation", "crop_size", "resize_size", "fast_decode", "amp", "tf32"),
)
"""Settings whose defaults are the published ones."""


@dataclass(frozen=True)
class PublishedFigures:
    """What a published run came to in an epoch: its mean loss, and MAP where it was evaluated."""

    loss: float
    map: float | None


def read_published(folder: Path, bit: int) -> dict[int, PublishedFigures]:
    """The published figures of a code length, by epoch; none where the data set has no such file.

    Raises a `UserError` where the file is damaged.
    """
    path = folder / RUNS_FILE
    if not path.is_file():
        return {}
    figures = {}
    with open_untrusted(path, "a table of published runs", MAX_TEXT) as file:
        for row in csv.DictReader(file.read().decode().splitlines()):
            if int(row["bit"]) == bit and int(row["epoch"]) < 1 << 31:  # larger ones share hashes
                score = float(row["map_at_5000"]) if row["map_at_5000"] else None
                figures[int(row["epoch"])] = PublishedFigures(float(row["train_loss"]), score)
    return figures


def describe_recipe(config: Config, ranks: int, steps: int, rate: float) -> str:
    """One line: steps an epoch, images a step, base rate, and what is not as published."""
    images = f"{ranks} x {config.batch_size}" if ranks > 1 else str(config.batch_size)
    verdict = compare_with_published(config, config.info.name, ranks)
    return f"Recipe: {steps} steps an epoch of {images} images, base rate {rate:g}; {verdict}"


def compare_with_published(config: Config, dataset: str, ranks: int) -> str:
    """'as published', or what is not.

    The published figures come from two devices (`--sampling replicate`); the published script for
    one device has batches as large as theirs together.
    """
    found = {name: (getattr(config, name), getattr(Config, name)) for name in _RECIPE}
    found["variant"] = (config.variant, config.model)
    found["backbone"] = (config.backbone or DEFAULT_BACKBONE, DEFAULT_BACKBONE)
    found["data set"] = (dataset, DATASET)
    found["seed"] = (config.seed, SEEDS.get(config.bit, config.seed))
    found["images a step"] = (config.batch_size * ranks, IMAGES_A_STEP)
    if ranks > 1:
        found["devices"] = (ranks, DEVICES)
        found["sampling"] = (config.sampling, "replicate")
    if config.pretrained and not config.resume:
        found["first weights"] = (config.pretrained, "ImageNet's")
    elif not config.resume and config.backbone_weights in ("none", "paddle"):
        found["first weights"] = (config.backbone_weights, "torchvision's of ImageNet")
    others = [f"{name} {now} ({then})" for name, (now, then) in found.items() if now != then]
    verdict = f"not as published: {', '.join(others)}" if others else "as published"
    if ranks < DEVICES and not others:
        verdict += " for one device; the published figures come from two"
    return verdict
