"""The networks, by their backbone: settings know the names without Paddle, classes come later."""

from __future__ import annotations

import importlib
from typing import Any

from utils.system.errors import UserError, short_repr

NETWORKS = {"alexnet": "models.hashnet.HashNet", "resnet18": "models.resnet18.ResNet18HashNet"}
"""What `--backbone` takes → the class of the network."""
DEFAULT_BACKBONE = "alexnet"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1: what images are normalized with."""


def build_network(backbone: str, bit: int) -> Any:
    """A `models.hashnet.HashingNetwork` with new weights, which follow `paddle.seed`."""
    if backbone not in NETWORKS:
        raise UserError(f"unknown backbone {short_repr(backbone)}; known: {', '.join(NETWORKS)}")
    module, _, name = NETWORKS[backbone].rpartition(".")
    return getattr(importlib.import_module(module), name)(bit)


def __getattr__(name: str) -> Any:
    if name != "HashNet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from models.hashnet import HashNet

    return HashNet
