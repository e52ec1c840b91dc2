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


def build_optimizer(
    name: str,
    network: paddle.nn.Layer,
    schedule: LRScheduler,
    momentum: float,
    weight_decay: float,
) -> paddle.optimizer.Optimizer:
    """An optimizer over all parameters; the hash layer learns 10 times faster.

    Args:
        name: 'SGD' (with momentum), 'RMSProp' or 'AdamW'.
        network: a `models.HashNet`: its `backbone_parameters` learn at the schedule's rate, its
            `hash_parameters` at 10 times that rate.
        schedule: the learning rate.
        momentum: of SGD and RMSProp; AdamW keeps Paddle's β1 and β2.
        weight_decay: λ; AdamW decouples it, the others add λw to the gradient.
    """
    parameters = [
        {"params": network.backbone_parameters()},
        {"params": network.hash_parameters(), "learning_rate": HASH_LAYER_RATE},
    ]
    common = {
        "learning_rate": schedule,
        "parameters": parameters,
        "weight_decay": weight_decay,
    }
    if name == "SGD":
        return paddle.optimizer.Momentum(momentum=momentum, **common)
    if name == "RMSProp":
        return paddle.optimizer.RMSProp(momentum=momentum, **common)
    return paddle.optimizer.AdamW(**common)


def optimizer_arrays(optimizer: paddle.optimizer.Optimizer) -> dict:
    """An optimizer's state, such as Paddle saves, without its schedule's: name → tensor."""
    # What was loaded becomes the optimizer's own at its first step; Paddle 2.6 does not save it
    # before.
    held = getattr(optimizer, "_accumulators_holder", {})
    return {**held, **optimizer.state_dict()}
