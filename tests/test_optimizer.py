"""The optimizers' steps against their formulas in NumPy; the hash layer learns 10 times faster."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from utils.lr_scheduler import halving_schedule, start_epoch
from utils.optimizer import build_optimizer

RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4
FACTORS = {"backbone": 1.0, "hash_layer": 10.0}


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


def train(name, steps=3):
    """Steps on Σ (w - 1)² / 2 of two layers; yields (group, name, before, after) for each step.

    The gradient is w - 1, so that the oracle needs nothing from Paddle but the first weights. The
    rate is halved before the last step.
    """
    paddle.seed(3)
    groups = {"backbone": paddle.nn.Linear(5, 4), "hash_layer": paddle.nn.Linear(4, 3)}
    schedule = halving_schedule(RATE, steps - 1)
    optimizer = build_optimizer(
        name,
        groups["backbone"].parameters(),
        groups["hash_layer"].parameters(),
        schedule,
        MOMENTUM,
        DECAY,
    )
    tensors = [t for layer in groups.values() for t in layer.parameters()]
    rows = []
    for epoch in range(1, steps + 1):
        rate = start_epoch(schedule, epoch)
        sum((0.5 * (w - 1) ** 2).sum() for w in tensors).backward()
        before = [w.numpy().astype(np.float64) for w in tensors]
        optimizer.step()
        optimizer.clear_grad()
        after = [w.numpy().astype(np.float64) for w in tensors]
        rows.append((rate, before, after))
    factors = [FACTORS[group] for group, layer in groups.items() for _ in layer.parameters()]
    return factors, rows


@pytest.mark.parametrize(("name", "rule"), [("SGD", Sgd), ("RMSProp", RmsProp), ("AdamW", AdamW)])
def test_three_steps_follow_the_formula_with_ten_times_the_rate_in_the_hash_layer(name, rule):
    factors, rows = train(name)
    assert factors == [1, 1, 10, 10]
    for place, factor in enumerate(factors):
        oracle = rule()
        w = rows[0][1][place]
        for rate, before, after in rows:
            w = oracle.step(w, w - 1, factor * rate)
            moved, expected = after[place] - before[place], w - before[place]
            np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=2e-7)
            np.testing.assert_allclose(after[place], w, rtol=1e-5, atol=1e-6)


def test_the_rate_of_a_step_is_the_schedule_s():
    _, rows = train("SGD")
    assert [rate for rate, _, _ in rows] == [RATE, RATE, RATE / 2]


def test_decay_pulls_on_biases_too_and_without_a_gradient():
    layer, hash_layer = paddle.nn.Linear(2, 2), paddle.nn.Linear(2, 2)
    for tensor in (layer.bias, hash_layer.bias):
        tensor.set_value(paddle.ones([2]))
    schedule = halving_schedule(0.1, 50)
    optimizer = build_optimizer(
        "SGD", layer.parameters(), hash_layer.parameters(), schedule, 0.9, 0.5
    )
    sum((0 * w).sum() for w in [*layer.parameters(), *hash_layer.parameters()]).backward()
    optimizer.step()
    np.testing.assert_allclose(layer.bias.numpy(), 1 - 0.1 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(hash_layer.bias.numpy(), 1 - 10 * 0.1 * 0.5, rtol=1e-6)
