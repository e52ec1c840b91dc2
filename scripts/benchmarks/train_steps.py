"""Optimizer steps of the whole method on a batch that lies ready."""

from __future__ import annotations

import time

import numpy as np
import paddle

from models import HashNet
from models.normalization import PictureNormalization
from scripts.benchmarks.coco_codes import drawn_labels
from utils.engine import train_one_epoch
from utils.loss import HashNetLoss
from utils.lr_scheduler import halving_schedule
from utils.optimizer import build_optimizer

BIT, BANK, SIDE = 64, 10_000, 224


def seconds_a_step(batch: int, steps: int) -> float:
    """Seconds of a step, after one that does not count.

    Args:
        batch: pictures a step.
        steps: how many are timed.
    """
    paddle.seed(0)
    rng = np.random.default_rng(0)
    network = HashNet(BIT)
    optimizer = build_optimizer(
        "SGD",
        network.backbone_parameters(),
        network.hash_parameters(),
        halving_schedule(1e-4, 50),
        0.9,
        5e-4,
    )
    labels = drawn_labels(1, batch, rng).database
    example = (
        paddle.to_tensor(rng.integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)),
        paddle.to_tensor(labels),
        paddle.arange(batch),
    )
    step = (
        paddle.nn.Sequential(PictureNormalization(), network),
        HashNetLoss(BIT, BANK, num_class=labels.shape[1]),
        optimizer,
    )
    train_one_epoch(*step, [example], 1, lambda *_: None)
    begin = time.perf_counter()
    train_one_epoch(*step, [example] * steps, steps, lambda *_: None)
    return (time.perf_counter() - begin) / steps
