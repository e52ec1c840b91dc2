"""Learning rate and continuation over the recipe's 150 epochs, against closed forms."""

from __future__ import annotations

import random

import paddle
import pytest

from utils.lr_scheduler import (
    continuation_scale,
    halving_schedule,
    scaled_learning_rate,
    start_epoch,
)

EPOCHS = range(1, 151)


def closed_form(epoch: int) -> float:
    """1e-3, 5e-4, 2.5e-4 in epochs 1-50, 51-100, 101-150."""
    return 1e-3 / 2 ** ((epoch - 1) // 50)


def test_the_rate_halves_after_every_50_epochs():
    schedule = halving_schedule(1e-3, 50)
    rates = [start_epoch(schedule, epoch) for epoch in EPOCHS]
    assert rates == pytest.approx([closed_form(epoch) for epoch in EPOCHS], rel=1e-12)
    assert rates[49] == 1e-3 and rates[50] == 5e-4 and rates[149] == 2.5e-4


def test_the_rate_depends_on_the_epoch_alone_in_whatever_order_epochs_are_started():
    schedule = halving_schedule(1e-3, 50)
    optimizer = paddle.optimizer.Momentum(schedule, parameters=paddle.nn.Linear(2, 2).parameters())
    order = [*EPOCHS, *EPOCHS]
    random.Random(1).shuffle(order)
    for epoch in order:
        assert start_epoch(schedule, epoch) == optimizer.get_lr()
        assert optimizer.get_lr() == pytest.approx(closed_form(epoch), rel=1e-12)


@pytest.mark.parametrize(
    ("images", "shown"), [(10, "0.000156250"), (64, "0.001000000"), (128, "0.002000000")]
)
def test_the_base_rate_grows_with_the_images_of_a_step(images, shown):
    rate = start_epoch(halving_schedule(scaled_learning_rate(1e-3, images), 50), 1)
    assert f"{rate:.9f}" == shown


def test_the_scale_is_a_root_that_grows_every_20_epochs():
    steps = [1] * 20 + [2] * 20 + [3] * 20 + [4] * 20 + [5] * 20 + [6] * 20 + [7] * 20 + [8] * 10
    found = [continuation_scale(epoch, 20) for epoch in EPOCHS]
    assert found == pytest.approx([step**0.5 for step in steps], rel=1e-12)
    assert f"{found[0]:.3f} {found[20]:.3f} {found[149]:.3f}" == "1.000 1.414 2.828"
    assert {continuation_scale(epoch, 20, grows=False) for epoch in EPOCHS} == {1.0}
