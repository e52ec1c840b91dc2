"""The two schedules of the recipe, both pure functions of the epoch (counted from 1)."""

from __future__ import annotations

import math

from paddle.optimizer.lr import StepDecay

RECIPE_BATCH = 64


def scaled_learning_rate(learning_rate: float, images_per_step: int) -> float:
    """The base rate for a step of another size: in proportion to the images of all ranks."""
    return learning_rate * images_per_step / RECIPE_BATCH


def halving_schedule(learning_rate: float, epochs: int) -> StepDecay:
    """Paddle's schedule that halves the rate every `epochs` epochs."""
    return StepDecay(learning_rate, step_size=epochs, gamma=0.5)


def start_epoch(schedule: StepDecay, epoch: int) -> float:
    """Sets a schedule to an epoch, whatever came before, and returns the epoch's rate."""
    schedule.step(epoch - 1)
    return schedule.get_lr()


def continuation_scale(epoch: int, step: int, grows: bool = True) -> float:
    """β = sqrt((epoch - 1) // step + 1), the sharpness of tanh(βz) (paper, section 3.2).

    Where it does not grow (the ablation HashNet-sgn), it stays 1.
    """
    return math.sqrt((epoch - 1) // step + 1) if grows else 1.0
