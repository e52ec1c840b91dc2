"""The two loops over batches, with scripted losses and small networks."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from utils.engine import on_device, train_one_epoch
from utils.system.errors import UserError


class Script:
    """A criterion that gives the next of its losses and remembers what it was called with."""

    def __init__(self, *losses):
        self.losses = list(losses)
        self.calls = []

    def __call__(self, z, labels, index):
        self.calls.append((z.numpy(), labels.numpy(), index.numpy()))
        return (z - z.detach()).sum() + self.losses[len(self.calls) - 1]


class Batches:
    """Batches of the given sizes; the images are 2×2 of one grey each, its index."""

    first_step = 0

    def __init__(self, *sizes, train=True):
        self.sizes, self.train = sizes, train

    def __len__(self):
        return len(self.sizes)

    def dropout_seed(self, step):
        return step

    def __iter__(self):
        ends = np.cumsum(self.sizes)
        for begin, end in zip(ends - self.sizes, ends):
            index = np.arange(begin, end)
            images = np.broadcast_to(index[:, None, None, None], (len(index), 2, 2, 3))
            labels = (np.eye(50, dtype=np.uint8)[index],) if self.train else ()
            yield (images.astype(np.uint8), *labels, index)


def stop_at(step):
    """A stop that is asked for at a step."""

    def agreed(now):
        return now >= step

    return SimpleNamespace(agreed=agreed, pauses=agreed)


class Network(paddle.nn.Layer):
    """Images → their bytes times a weight that begins at 1, one a bit."""

    def __init__(self):
        super().__init__()
        one = paddle.nn.initializer.Constant(1.0)
        self.weight = self.create_parameter([12], default_initializer=one)

    def forward(self, images):
        return paddle.flatten(images.astype("float32"), 1) * self.weight


def epoch(criterion, sizes, network=None, **options):
    """One epoch of plain SGD at rate 1."""
    network = network or Network()
    optimizer = paddle.optimizer.SGD(1.0, parameters=network.parameters())
    return train_one_epoch(network, criterion, optimizer, Batches(*sizes), **options)


def test_an_epoch_comes_to_the_losses_and_images_of_its_steps():
    result = epoch(Script(1.0, 2.0, 7.0), [4, 4, 2])
    assert (result.losses, result.counts) == ((1.0, 2.0, 7.0), (4, 4, 2))
    assert 0 <= result.reader_seconds <= result.seconds


@pytest.mark.parametrize(("every", "steps"), [(1, range(5)), (2, [0, 2, 4]), (50, [0])])
def test_the_first_step_and_every_nth_after_it_are_logged_with_their_loss(caplog, every, steps):
    caplog.set_level(logging.INFO, "utils.engine")
    epoch(Script(*range(5)), [1] * 5, title="Epoch[001/150]", log_steps=every)
    assert len(caplog.messages) == len(steps)
    for step, line in zip(steps, caplog.messages):
        kept = rf"Epoch\[001/150\], Step\[000{step}/0005\], Loss: {step}\.0000, "
        assert re.match(kept + r"[\d.e+]+ img/s, reader \d+%$", line), line


def test_every_batch_is_one_step_on_its_own_output_labels_and_gradient():
    criterion, network = Script(1.0, 1.0), Network()
    epoch(criterion, [2, 2], network)
    z, labels, index = criterion.calls[0]
    np.testing.assert_array_equal(z, [[0] * 12, [1] * 12])
    np.testing.assert_array_equal(labels, np.eye(50)[:2])
    np.testing.assert_array_equal(index, [0, 1])
    np.testing.assert_array_equal(criterion.calls[1][2], [2, 3])
    # Steps of 0 + 1 and of 2 + 3, at rate 1; a gradient kept from the first would count it twice.
    np.testing.assert_allclose(network.weight.numpy(), 1 - (0 + 1) - (2 + 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("every", [1, 50])
def test_a_loss_that_is_not_finite_ends_the_epoch_and_names_the_step(bad, every):
    with pytest.raises(UserError, match=f"loss is {bad} at step 2 .*--learning-rate"):
        epoch(Script(1.0, 1.0, bad, 1.0), [1] * 4, log_steps=every)


@pytest.mark.parametrize("step", [0, 1, 3])
def test_an_epoch_stops_before_the_step_that_is_agreed_on(step):
    assert (
        epoch(Script(1.0, 2.0, 3.0), [1] * 3, stop=stop_at(step)).losses == (1.0, 2.0, 3.0)[:step]
    )


class Pinned:
    """Stands in for a tensor in pinned memory; tells when it is copied, and when it is gone."""

    def __init__(self, array, told):
        self.array, self.told = array, told

    def cuda(self, blocking):
        assert not blocking
        self.told.append(f"copy {self.array[0]}")
        return f"on the GPU: {self.array[0]}"

    def __del__(self):
        self.told.append(f"gone {self.array[0]}")


def test_on_a_gpu_each_batch_is_copied_one_ahead_and_its_source_outlives_its_step(monkeypatch):
    told = []

    def to_tensor(array, place):
        assert place == "pinned"
        return Pinned(array, told)

    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle, "CUDAPinnedPlace", lambda: "pinned")
    monkeypatch.setattr(paddle, "to_tensor", to_tensor)
    for (array,), (tensor,) in on_device([(np.array([number]),) for number in range(3)]):
        told.append(f"step {array[0]}")
        assert tensor == f"on the GPU: {array[0]}"
    assert told[:3] == ["copy 0", "copy 1", "step 0"]
    for number in range(3):
        assert told.index(f"step {number}") < told.index(f"gone {number}")
    assert told.index("copy 2") < told.index("step 1")


def test_on_a_cpu_batches_are_as_they_are():
    batches = [(np.full((2, 3), number, np.uint8), np.arange(2)) for number in range(3)]
    found = list(on_device(iter(batches)))
    assert [batch for batch, _ in found] == batches
    for batch, tensors in found:
        for array, tensor in zip(batch, tensors):
            assert tensor.numpy().dtype == array.dtype and (tensor.numpy() == array).all()
