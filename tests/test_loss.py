"""The loss, its bank and its gradient, against an independent float64 oracle."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from oracle_loss import OracleLoss

from utils.loss import HashNetLoss

TOLERANCE = 1e-5


def relative_error(found, expected) -> float:
    """Distance over the expected length, so that a few tiny entries do not decide."""
    expected = np.asarray(expected, dtype=np.float64)
    distance = np.linalg.norm(np.asarray(found, dtype=np.float64) - expected)
    return float(distance / max(np.linalg.norm(expected), 1e-30))


class Pair:
    """The loss under test and the oracle, fed with the same batches."""

    def __init__(self, bit, num_train, num_class=4, alpha=0.1, weighted=True):
        both = {"alpha": alpha, "num_class": num_class, "weighted": weighted}
        self.tested = HashNetLoss(bit, num_train, **both)
        self.oracle = OracleLoss(bit, num_train, **both)

    def step(self, z, labels, index, scale=1.0):
        """One batch through both; checks value and gradient; returns them as the oracle's."""
        z = np.asarray(z, dtype=np.float32)
        labels, index = np.asarray(labels, dtype=np.uint8), np.asarray(index)
        self.tested.scale = scale
        leaf = paddle.to_tensor(z, stop_gradient=False)
        loss = self.tested(leaf, paddle.to_tensor(labels), paddle.to_tensor(index))
        loss.backward()
        value, gradient = self.oracle(z, labels, index, scale)
        assert relative_error(float(loss), value) < TOLERANCE
        assert relative_error(leaf.grad.numpy(), gradient) < TOLERANCE
        return value, gradient

    def check_bank(self):
        """The bank must be the oracle's."""
        assert relative_error(self.tested.codes.numpy(), self.oracle.codes) < 1e-6
        np.testing.assert_array_equal(self.tested.labels.numpy(), self.oracle.labels)


def batch(seed, size, bit, num_train, num_class=4, share=0.3):
    """Random z, labels and rows."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(size, bit))
    labels = (rng.random((size, num_class)) < share).astype(np.uint8)
    return z, labels, rng.choice(num_train, size, replace=False)


def test_the_oracle_s_gradient_is_the_slope_of_its_value_while_the_bank_stands_still():
    z, labels, index = batch(1, size=5, bit=8, num_train=12)
    oracle = OracleLoss(8, 12, num_class=4)
    _, gradient = oracle(z, labels, index, 1.5)
    similar = labels.astype(int) @ oracle.labels.astype(int).T > 0

    def value(at):
        theta = 0.1 * np.tanh(1.5 * at) @ oracle.codes.T
        pairs = np.log(1 + np.exp(theta)) - similar * theta
        return pairs[similar].mean() + pairs[~similar].mean()

    for place in np.ndindex(*z.shape):
        nudge = np.zeros_like(z)
        nudge[place] = 1e-6
        slope = (value(z + nudge) - value(z - nudge)) / 2e-6
        assert slope == pytest.approx(gradient[place], rel=1e-5, abs=1e-10)


@pytest.mark.parametrize(
    ("bit", "num_train", "size", "scales"),
    [
        (16, 50, 8, [1.0]),  # most of the bank is empty
        (24, 20, 12, [1.0, 1.0, 2**0.5, 3**0.5, 2.0]),  # rows come again under a growing scale
        (64, 40, 16, [10.0, 10.0]),  # most codes are saturated
    ],
)
@pytest.mark.parametrize("weighted", [True, False])
def test_steps_agree_with_the_oracle(bit, num_train, size, scales, weighted):
    pair = Pair(bit, num_train, weighted=weighted)
    for step, scale in enumerate(scales):
        pair.step(*batch(10 + step, size, bit, num_train), scale=scale)
        pair.check_bank()


@pytest.mark.parametrize("similar", [0, 1])
def test_where_pairs_of_one_kind_are_all_the_mean_over_them_is_left(similar):
    pair = Pair(bit=8, num_train=6)
    z, _, _ = batch(6, size=6, bit=8, num_train=6)
    value, _ = pair.step(z, np.full((6, 4), similar), np.arange(6))
    u = np.tanh(z.astype(np.float32).astype(np.float64))
    theta = 0.1 * u @ u.T
    assert value == pytest.approx(np.log(1 + np.exp(-theta if similar else theta)).mean())


def test_a_handful_of_pairs_among_many_others_weighs_in_exactly():
    pair = Pair(bit=64, num_train=10_000)
    rng = np.random.default_rng(11)
    codes = np.tile(np.tanh(rng.normal(size=64)), (10_000, 1)).astype(np.float32)
    labels = np.ones((10_000, 4), dtype=np.float32)
    labels[-1] = 0  # one image of 10,000 shares no label with the batch
    pair.tested.codes.set_value(codes)
    pair.tested.labels.set_value(labels)
    pair.oracle.codes[:], pair.oracle.labels[:] = codes, labels
    pair.step(3 * rng.normal(size=(64, 64)), labels[:64], np.arange(64))
    pair = Pair(bit=32, num_train=5000, num_class=32)  # and 32 similar ones of 160,000
    pair.step(rng.normal(size=(32, 32)), np.eye(32), np.arange(32))


def test_one_image_and_an_unseen_one_can_be_worked_out_by_hand():
    pair = Pair(bit=1, num_train=2, num_class=1, alpha=1.0)
    value, gradient = pair.step([[np.arctanh(0.5)]], [[1]], [0])
    # u = 1/2. With itself: similar, θ = 1/4. With the empty row: dissimilar, θ = 0.
    assert value == pytest.approx(np.log(1 + np.exp(-0.25)) + np.log(2), rel=1e-6)
    # Slope of the similar pair σ(1/4) - 1, times U = 1/2, times du/dz = 3/4; through the bank as
    # well it would be twice that.
    by_hand = (1 / (1 + np.exp(-0.25)) - 1) * 0.5 * 0.75
    assert gradient[0, 0] == pytest.approx(by_hand, rel=1e-6)


def test_unweighted_a_pair_in_four_weighs_a_quarter_by_hand():
    pair = Pair(bit=1, num_train=4, num_class=1, alpha=1.0, weighted=False)
    value, gradient = pair.step([[np.arctanh(0.5)]], [[1]], [0])
    # As above, but there are three empty rows, and the mean is over the four pairs.
    assert value == pytest.approx((np.log(1 + np.exp(-0.25)) + 3 * np.log(2)) / 4, rel=1e-6)
    assert gradient[0, 0] == pytest.approx((1 / (1 + np.exp(-0.25)) - 1) * 0.5 * 0.75 / 4, rel=1e-6)


def test_two_opposite_codes_can_be_worked_out_by_hand():
    pair = Pair(bit=2, num_train=2, num_class=2)
    criterion = pair.tested
    z = paddle.to_tensor([[20.0, 20.0], [-20.0, -20.0]])
    labels, rows = paddle.eye(2), paddle.to_tensor([0, 1])
    # Two similar pairs with θ = +0.2, two dissimilar ones with θ = -0.2: ln(1 + e^-0.2) each.
    assert float(criterion(z, labels, rows)) == pytest.approx(2 * np.log(1 + np.exp(-0.2)))
    # The same codes under a common label: half of the similar pairs are wrong.
    expected = (np.log(1 + np.exp(-0.2)) + np.log(1 + np.exp(0.2))) / 2
    loss = criterion(z, paddle.ones([2, 1]) * paddle.to_tensor([1.0, 0.0]), rows)
    assert float(loss) == pytest.approx(expected)


def test_codes_that_say_nothing_cost_two_ln_two():
    criterion = HashNetLoss(64, 100, num_class=4)
    _, labels, index = batch(13, size=16, bit=64, num_train=100)
    z = paddle.zeros([16, 64])
    loss = criterion(z, paddle.to_tensor(labels), paddle.to_tensor(index))
    assert float(loss) == pytest.approx(2 * np.log(2), rel=1e-6)
    assert loss.dtype == paddle.float32 and loss.numpy().shape == ()


@pytest.mark.parametrize(("bit", "expected"), [(16, 1.97), (64, 6.40)])
def test_equal_codes_cost_what_readme_says(bit, expected):
    criterion = HashNetLoss(bit, 2, num_class=2)
    loss = criterion(paddle.full([2, bit], 20.0), paddle.eye(2), paddle.to_tensor([0, 1]))
    assert float(loss) == pytest.approx(expected, abs=0.005)  # θ = bit / 10 in all pairs


def test_many_backward_passes_through_a_layer_work():
    layer = paddle.nn.Linear(6, 8)
    criterion = HashNetLoss(8, 10, num_class=4)
    for step in range(4):
        x, labels, index = batch(20 + step, size=6, bit=6, num_train=10)
        z = layer(paddle.to_tensor(x.astype(np.float32)))
        criterion(z, paddle.to_tensor(labels), paddle.to_tensor(index)).backward()
        assert np.abs(layer.weight.grad.numpy()).max() > 0
        layer.clear_gradients()
