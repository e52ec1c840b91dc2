"""HashNet's loss and its gradient once more: float64, plain NumPy, masks, no autograd.

Written from the definition alone: the weighted maximum likelihood over pairs of a batch and a
bank of all training images.
"""

from __future__ import annotations

import numpy as np


class OracleLoss:
    """The loss with its bank; the same call as the one under test, but β comes with each call."""

    def __init__(self, bit, num_train, alpha=0.1, num_class=80, weighted=True):
        self.alpha, self.weighted = alpha, weighted
        self.codes = np.zeros((num_train, bit))
        self.labels = np.zeros((num_train, num_class))

    def __call__(self, z, labels, index, scale):
        """Writes the batch's rows of the bank; returns (loss, its gradient with respect to z)."""
        z = np.asarray(z, dtype=np.float64)
        u = np.tanh(scale * z)
        self.codes[index] = u
        self.labels[index] = labels
        similar = labels.astype(np.int64) @ self.labels.astype(np.int64).T > 0
        loss, slope = pair_loss(self.alpha * u @ self.codes.T, similar, self.weighted)
        # The bank is data: the gradient takes the left factor of θ = α u Uᵀ alone.
        gradient_of_u = self.alpha * slope @ self.codes
        return loss, gradient_of_u * scale * (1 - u**2)


def pair_loss(theta, similar, weighted=True):
    """The weighted mean over pairs, or the plain one; its derivative with respect to each θ."""
    pairs = np.log1p(np.exp(-np.abs(theta))) + np.maximum(theta, 0) - similar * theta
    weights = np.ones_like(theta)
    for side in (similar, ~similar) if weighted else ():
        if side.any():
            weights[side] = theta.size / side.sum()
    probability = 1 / (1 + np.exp(-theta))
    loss = (weights * pairs).sum() / theta.size
    return loss, weights * (probability - similar) / theta.size
