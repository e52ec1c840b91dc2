"""HashNet: AlexNet with a hash layer (Cao et al., ICCV 2017, section 3)."""

from __future__ import annotations

import paddle
from paddle import nn

from models.alexnet import FEATURE_SIZE, convolutional_features, hidden_layers, pool_to_vector


class HashNet(nn.Layer):
    """Pictures → z, one real number a bit.

    The binary code is sign(z); training sees tanh(βz) instead (paper, equation 6), which the
    loss applies, so that the network itself does not change while β grows.

    Parameters are named `features.{0,3,6,8,10}.{weight,bias}` and
    `classifier_plus.{1,4,6}.{weight,bias}`; the last of them is the hash layer.

    Args:
        bit: length of the codes.
        dropout: probability of dropping an input of fc6 and of fc7 in training.
    """

    def __init__(self, bit: int, dropout: float = 0.5):
        super().__init__()
        self.bit = bit
        self.features = convolutional_features()
        hash_layer = nn.Linear(
            FEATURE_SIZE,
            bit,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 0.01)),
            bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
        )
        self.classifier_plus = nn.Sequential(*hidden_layers(dropout), hash_layer)

    def forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Computes z, before tanh and before sign.

        Args:
            pictures: [n, 3, h, w] float32, normalised (see `models.normalization`).

        Returns:
            z: [n, bit] float32.
        """
        return self.classifier_plus(pool_to_vector(self.features(pictures)))

    def hash_parameters(self) -> list[paddle.Tensor]:
        """Weight [4096, bit] and bias [bit] of the hash layer, which learn 10 times faster."""
        return list(self.classifier_plus[-1].parameters())

    def backbone_parameters(self) -> list[paddle.Tensor]:
        """All parameters but the hash layer's."""
        of_hash_layer = {id(parameter) for parameter in self.hash_parameters()}
        return [p for p in self.parameters() if id(p) not in of_hash_layer]
