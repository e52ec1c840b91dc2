"""The optimizers' steps against their formulas in NumPy; the hash layer learns 10 times faster."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from utils.lr_scheduler import halving_schedule, start_epoch
from utils.optimizer import OPTIMIZER_SCALARS, OPTIMIZER_SLOTS, build_optimizer

RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4


def arrays_of(tensors):
    """Their values, float64."""
    return [tensor.numpy().astype(np.float64) for tensor in tensors]


class Sgd:
    """v ← μv + (g + λw); w ← w - ηv."""

    def __init__(self):
        self.velocity = 0.0

    def step(self, w, gradient, rate):
        self.velocity = MOMENTUM * self.velocity + gradient + DECAY * w
        return w - rate * self.velocity


class RmsProp:
    """Paddle's documentation: r ← ρr + (1-ρ)g²; v ← μv + ηg / sqrt(r+ε); w ← w - v."""

    def __init__(self):
        self.square = self.velocity = 0.0

    def step(self, w, gradient, rate):
        gradient = gradient + DECAY * w
        self.square = 0.95 * self.square + 0.05 * gradient**2
        self.velocity = MOMENTUM * self.velocity + rate * gradient / np.sqrt(self.square + 1e-6)
        return w - self.velocity


class AdamW:
    """Loshchilov and Hutter (2019), β1 = 0.9, β2 = 0.999: the decay stands beside the moments."""

    def __init__(self):
        self.first = self.second = 0.0
        self.steps = 0

    def step(self, w, gradient, rate):
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.steps)
        deviation = np.sqrt(self.second / (1 - 0.999**self.steps))
        return w - rate * DECAY * w - rate * mean / (deviation + 1e-8)


@pytest.mark.parametrize(("name", "rule"), [("SGD", Sgd), ("RMSProp", RmsProp), ("AdamW", AdamW)])
def test_three_steps_follow_the_formula_with_ten_times_the_rate_in_the_hash_layer(name, rule):
    """On Σ (w - 1)² / 2, so that the oracle needs nothing from Paddle but the first weights."""
    paddle.seed(3)
    layers = [paddle.nn.Linear(5, 4).parameters(), paddle.nn.Linear(4, 3).parameters()]
    schedule = halving_schedule(RATE, 2)
    optimizer = build_optimizer(name, *layers, schedule, MOMENTUM, DECAY)
    tensors = [*layers[0], *layers[1]]
    expected, rules = [arrays_of(tensors), *([None] * 3)], [rule() for _ in tensors]
    for epoch, rate in ((1, RATE), (2, RATE), (3, RATE / 2)):
        assert start_epoch(schedule, epoch) == rate
        sum((0.5 * (w - 1) ** 2).sum() for w in tensors).backward()
        before = arrays_of(tensors)
        with paddle.utils.unique_name.guard():  # as the training loop does
            optimizer.step()
        optimizer.clear_grad()
        expected[epoch] = [
            oracle.step(w, w - 1, factor * rate)
            for oracle, w, factor in zip(rules, expected[epoch - 1], (1, 1, 10, 10))
        ]
        for found, wanted, start in zip(arrays_of(tensors), expected[epoch], before):
            np.testing.assert_allclose(found - start, wanted - start, rtol=1e-3, atol=2e-7)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    kind = type(optimizer).__name__
    kept = [*OPTIMIZER_SLOTS[kind], *OPTIMIZER_SCALARS.get(kind, ())]
    names = {f"{tensor.name}_{slot}_0" for tensor in tensors for slot in kept}
    assert optimizer.state_dict().keys() == {*names, "LR_Scheduler"}
