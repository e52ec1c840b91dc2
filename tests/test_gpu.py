"""What needs a GPU: steps, codes, copies, --amp and two GPUs against the CPU or one.

Skipped where Paddle finds none; scripts/gpu_check.sh runs them.
"""

from __future__ import annotations

import json
import pickle

import numpy as np
import paddle
import pytest
from helpers import succeed
from small_network import values

from models import HashNet
from models.layers import MixedPrecision, Normalize
from utils import engine
from utils.datasets import Split
from utils.datasets.images import ImageArray
from utils.datasets.loader import BatchLoader
from utils.datasets.transforms import build_transform
from utils.inference.backends import build_backend
from utils.loss import HashNetLoss
from utils.system.runtime import choose_device, usable_gpus

pytestmark = pytest.mark.skipif(usable_gpus() == 0, reason="Paddle finds no GPU it can use")
BIT, IMAGES, SIDE = 16, 8, 224


@pytest.fixture
def on():
    """Chooses a device for the rest of the test; afterwards the one of before is back."""
    before = paddle.device.get_device()
    yield choose_device
    paddle.device.set_device(before)


@pytest.fixture(scope="module")
def first_weights():
    """Name → array, of weights with which z is of size 1."""
    paddle.seed(3)
    network = HashNet(BIT)
    found = values(network)
    network.eval()
    z = network(Normalize()(paddle.to_tensor(drawn_images()[0])))
    found["classifier_plus.6.weight"] /= float(z.std())
    return found


def drawn_images() -> tuple[np.ndarray, np.ndarray]:
    """Images [n, h, w, 3] uint8 and their labels [n, 4] uint8."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    return pixels, np.eye(4, dtype=np.uint8)[np.arange(IMAGES) % 4]


def network_of(weights: dict[str, np.ndarray]) -> HashNet:
    """A network on the current device, without dropout: its masks differ by device."""
    network = HashNet(BIT)
    network.set_state_dict(weights)
    network.eval()
    return network


def step(weights: dict[str, np.ndarray], amp: bool = False) -> tuple[float, np.ndarray]:
    """The loss of a training step on the current device, and what it changes of the weights."""
    network = network_of(weights)
    pixels, labels = drawn_images()
    split = Split("train", ImageArray(pixels, [""] * IMAGES), labels, {})
    batches = BatchLoader(split, build_transform("square", SIDE, SIDE), IMAGES, seed=0)
    batches.set_epoch(1)
    optimizer = paddle.optimizer.Momentum(0.1, parameters=network.parameters())
    pixels_to_z = paddle.nn.Sequential(Normalize(), network)
    pixels_to_z = MixedPrecision(pixels_to_z) if amp else pixels_to_z
    criterion = HashNetLoss(BIT, IMAGES, num_class=labels.shape[1])
    result = engine.train_one_epoch(pixels_to_z, criterion, optimizer, batches)
    after = values(network)
    return result.losses[0], np.concatenate([(after[n] - weights[n]).ravel() for n in weights])


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The distance of two arrays, over the length of the expected one."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("amp", "tolerance"), [(False, 1e-4), (True, 0.1)])
def test_a_training_step_is_that_of_the_cpu(on, first_weights, amp, tolerance):
    on("cpu")
    loss, change = step(first_weights)
    assert np.linalg.norm(change) > 1e-3, "the step changes the weights"
    on("gpu")
    if amp and not paddle.amp.is_bfloat16_supported():
        pytest.skip("this GPU has no bfloat16")
    found, changed = step(first_weights, amp)
    assert found == pytest.approx(loss, rel=tolerance)
    # A rounding may decide which of two pixels a max-pool takes, and whether a ReLU passes.
    assert distance(changed, change) < 10 * tolerance


def test_codes_are_those_of_the_cpu_but_where_z_is_next_to_0(on, first_weights):
    z = {}
    for device in ("cpu", "gpu"):
        on(device)
        backend = build_backend(network_of(first_weights), SIDE, "auto", "fp32")
        with backend:
            z[device] = backend.z(drawn_images()[0])
    assert distance(z["gpu"], z["cpu"]) < 1e-4
    differing = (z["gpu"] >= 0) != (z["cpu"] >= 0)
    assert (np.abs(z["cpu"][differing]) < 1e-3).all()


def test_batches_arrive_as_they_were_sent(on):
    on("gpu")
    rng = np.random.default_rng(2)
    batches = [(rng.integers(0, 256, (64, SIDE, SIDE, 3), np.uint8),) for _ in range(6)]
    for number, (batch, (tensor,)) in enumerate(engine.on_device(batches)):
        assert batch is batches[number] and "gpu" in str(tensor.place)
        np.testing.assert_array_equal(tensor.numpy(), batch[0])


@pytest.mark.skipif(usable_gpus() < 2, reason="Paddle finds fewer than two GPUs")
def test_two_gpus_take_the_steps_of_one_with_their_batches_together(tmp_path):
    for ranks in (1, 2):
        task = {"batch": 8 // ranks, "rows": 21, "sampling": "shard", "bad": [], "weighted": True}
        task["folder"] = str(tmp_path / str(ranks))
        succeed("tests/multi_ranks.py", "train_all", json.dumps([task]), ranks, "gpu")
    (one,), two = (
        [pickle.loads((tmp_path / f"{n}/rank{r}.pkl").read_bytes()) for r in range(n)]
        for n in (1, 2)
    )
    for rank in two:
        for name, expected in one["weights"].items():
            assert distance(rank["weights"][name], expected) < 1e-9, name
        assert rank["losses"] == pytest.approx(one["losses"], rel=1e-9)
        np.testing.assert_array_equal(rank["codes"], one["codes"])
