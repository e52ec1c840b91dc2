"""The recipe's optimizers, all Paddle's own."""

from __future__ import annotations

import paddle
from paddle.optimizer.lr import LRScheduler

HASH_LAYER_RATE = 10.0
OPTIMIZER_SLOTS = {
    "Momentum": ("velocity",),
    "RMSProp": ("mean_square", "mean_grad", "momentum"),
    "AdamW": ("moment1", "moment2"),
}
"""What each of Paddle's optimizers keeps for a parameter, of its shape, as its state names it."""
OPTIMIZER_SCALARS = {"AdamW": ("beta1_pow_acc", "beta2_pow_acc")}
"""What it keeps beside them for each parameter: one number each."""


def build_optimizer(
    name: str,
    backbone: list[paddle.Tensor],
    hash_layer: list[paddle.Tensor],
    schedule: LRScheduler,
    momentum: float,
    weight_decay: float,
) -> paddle.optimizer.Optimizer:
    """An optimizer over all parameters; the hash layer learns at 10 times the schedule's rate.

    `name` is 'SGD' (with momentum), 'RMSProp' or 'AdamW' (which keeps Paddle's β1 and β2, and
    decouples weight decay λ; the others add λw to the gradient).
    """
    parameters = [{"params": backbone}, {"params": hash_layer, "learning_rate": HASH_LAYER_RATE}]
    common = {"learning_rate": schedule, "parameters": parameters, "weight_decay": weight_decay}
    if name == "SGD":
        return paddle.optimizer.Momentum(momentum=momentum, **common)
    if name == "RMSProp":
        return paddle.optimizer.RMSProp(momentum=momentum, **common)
    return paddle.optimizer.AdamW(**common)
