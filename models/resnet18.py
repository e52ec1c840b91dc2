"""ResNet-18 with a hash layer: the worked example of models/README.md."""

from __future__ import annotations

from typing import Any

import paddle

from models.hashnet import HashingNetwork, build_hash_layer


class ResNet18HashNet(HashingNetwork):
    """Paddle's ResNet-18 (He et al., CVPR 2016) up to its 512 averages, then a hash layer."""

    BACKBONE, HASH_LAYER = "resnet18", "hash_layer."

    def __init__(self, bit: int):
        super().__init__(bit)
        with paddle.utils.unique_name.guard():  # the same internal names in every process
            self.features = paddle.vision.models.resnet18(num_classes=0)
            self.hash_layer = build_hash_layer(512, bit)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Computes z, before tanh and before sign."""
        return self.hash_layer(paddle.flatten(self.features(images), start_axis=1))

    @staticmethod
    def backbone_state(state: dict[str, Any]) -> dict[str, Any]:
        """Names of Paddle's ResNet-18 → the network's, without its class layer `fc`."""
        return {f"features.{name}": a for name, a in state.items() if not name.startswith("fc.")}
