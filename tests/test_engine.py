"""The two loops over batches, with scripted losses and small networks."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from utils.codes import pack_codes
from utils.engine import encode, train_one_epoch
from utils.system.errors import UserError


class Script:
    """A criterion that gives the next of its losses and remembers what it was called with."""

    def __init__(self, *losses):
        self.losses = list(losses)
        self.calls = []

    def __call__(self, z, labels, rows):
        self.calls.append((z.numpy(), labels.numpy(), rows.numpy()))
        return (z - z.detach()).sum() + self.losses[len(self.calls) - 1]


def batches(*sizes):
    """Batches of the given sizes; the pictures are 2×2 of one grey each, its row's number."""
    start = 0
    for size in sizes:
        rows = np.arange(start, start + size)
        pictures = np.broadcast_to(rows[:, None, None, None], (size, 2, 2, 3)).astype(np.uint8)
        labels = np.eye(50, dtype=np.uint8)[rows]
        yield pictures, labels, rows
        start += size


class Network(paddle.nn.Layer):
    """Pictures → their bytes times a weight that begins at 1, one a bit."""

    def __init__(self):
        super().__init__()
        one = paddle.nn.initializer.Constant(1.0)
        self.weight = self.create_parameter([12], default_initializer=one)

    def forward(self, pictures):
        return paddle.flatten(pictures.astype("float32"), 1) * self.weight


def epoch(criterion, sizes, report_every=1, network=None):
    """One epoch of plain SGD at rate 1; returns the summary and what was reported."""
    network = network or Network()
    optimizer = paddle.optimizer.SGD(1.0, parameters=network.parameters())
    reports = []
    summary = train_one_epoch(
        network,
        criterion,
        optimizer,
        batches(*sizes),
        report_every,
        lambda step, loss, pace: reports.append((step, loss)),
    )
    return summary, reports


def test_the_epoch_s_loss_is_the_mean_over_pictures_not_over_batches():
    summary, _ = epoch(Script(1.0, 2.0, 7.0), sizes=[4, 4, 2])
    assert summary.loss == pytest.approx((4 * 1 + 4 * 2 + 2 * 7) / 10)
    assert summary.pictures == 10
    assert 0 <= summary.reader_seconds <= summary.seconds


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3]), (50, [0])]
)
def test_the_first_step_and_every_nth_after_it_are_reported_with_their_loss(every, expected):
    losses = [5.0, 4.0, 3.0, 2.0, 1.0]
    _, reports = epoch(Script(*losses), sizes=[1] * 5, report_every=every)
    assert reports == [(step, losses[step]) for step in expected]


def test_the_criterion_gets_the_network_s_output_and_the_batch_s_labels_and_rows():
    criterion = Script(1.0, 1.0)
    epoch(criterion, sizes=[2, 1])
    z, labels, rows = criterion.calls[0]
    np.testing.assert_array_equal(z, [[0] * 12, [1] * 12])
    np.testing.assert_array_equal(labels, np.eye(50)[:2])
    np.testing.assert_array_equal(rows, [0, 1])
    np.testing.assert_array_equal(criterion.calls[1][2], [2])


def test_every_batch_is_one_step_on_its_own_gradient():
    network = Network()
    epoch(Script(1.0, 1.0), sizes=[2, 2], network=network)
    # Steps of 0 + 1 and of 2 + 3, at rate 1; a gradient kept from the first would count it twice.
    np.testing.assert_allclose(network.weight.numpy(), 1 - (0 + 1) - (2 + 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("every", [1, 50])
def test_a_loss_that_is_not_finite_ends_the_epoch_and_names_the_step(bad, every):
    with pytest.raises(UserError, match=f"loss is {bad} at step 2 .*--learning-rate"):
        epoch(Script(1.0, 1.0, bad, 1.0), sizes=[1] * 4, report_every=every)


def test_codes_come_in_the_order_of_the_rows():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(7, 16)).astype(np.float32)
    z[2, 3], z[2, 4] = 0.0, -0.0

    def to_codes(pictures):
        return pack_codes(z[pictures[:, 0, 0, 0]])

    found, rows = encode(to_codes, [(pictures, rows) for pictures, _, rows in batches(3, 3, 1)])
    np.testing.assert_array_equal(rows, np.arange(7))
    assert found.shape == (7, 2) and found.dtype == np.uint8
    np.testing.assert_array_equal(np.unpackbits(found, axis=1), z >= 0)
