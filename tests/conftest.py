"""What tests are given: Paddle's start, real data, networks, a trained network."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tarfile
from pathlib import Path

import pytest
from helpers import COCO_LITE, REPOSITORY, run_script
from small_training import draw_data_set, draw_weights, train_small

from utils.system.runtime import setup_paddle

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share the cores, and compare bits
setup_paddle()  # as the commands do, before any test imports Paddle
# Where the tests run in the background of a shell, Ctrl-C would be ignored by all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photos and lists, which do not ship."""
    folder = os.environ.get("HASHNET_TEST_DATA")
    if not folder:
        pytest.skip("HASHNET_TEST_DATA is not set: it names the folder of the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def released_lists(real_data, tmp_path_factory):
    """Folder of the lists released for COCO, 10,000 / 5,000 / 112,218 rows."""
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(real_data / "coco_lists.tar.xz") as archive:
        for member in archive.getmembers():
            if member.isfile():
                name = member.name.rsplit("/", 1)[-1]
                (folder / name).write_bytes(archive.extractfile(member).read())
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all tests of a file, and all cases of fuzzing; gone after the last of them."""
    folder = tmp_path_factory.mktemp("scratch")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def loggers_as_they_were():
    """Undoes what a run in this process has made of the loggers."""
    yield
    for package in ("utils", "models"):
        logger = logging.getLogger(package)
        logger.handlers, logger.propagate = [], True


@pytest.fixture(scope="session")
def run():
    """Runs one of the repository's Python commands; see `run_script`."""
    return run_script


@pytest.fixture(scope="session")
def hashnet():
    """HashNet for 16 bits in evaluation mode; whoever changes it puts it back."""
    import paddle

    from models import HashNet

    paddle.seed(7)
    network = HashNet(16)
    network.eval()
    return network


@pytest.fixture(scope="session")
def alexnet():
    """Paddle's own AlexNet with random weights and 16 classes, in evaluation mode."""
    import paddle

    paddle.seed(8)
    network = paddle.vision.models.alexnet(num_classes=16)
    network.eval()
    return network


@pytest.fixture(scope="session")
def weights_16(tmp_path_factory):
    """A file of weights for 16 bits, random, but fitted to images so that their codes differ."""
    import paddle

    from models import HashNet
    from models.initialization import initialize_from_data
    from models.layers import Normalize
    from utils.datasets import unlisted_images
    from utils.datasets.loader import LoaderOptions, first_images
    from utils.datasets.transforms import build_transform

    paddle.seed(3)
    network, transform = HashNet(16), build_transform("short_side", 256, 224)
    paths = sorted(map(str, (COCO_LITE / "train2014").iterdir()))
    images = unlisted_images(paths[:16], "coco_lite")
    pixels = first_images(images, transform, 16, LoaderOptions())
    initialize_from_data(network, Normalize()(paddle.to_tensor(pixels)))
    path = tmp_path_factory.mktemp("weights") / "weights_16.pdparams"
    paddle.save(network.state_dict(), str(path))
    return path


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A drawn data set with first weights for the small network: three steps an epoch."""
    folder = tmp_path_factory.mktemp("small_data")
    draw_data_set(folder)
    draw_weights(folder / "first.pdparams")
    return folder


@pytest.fixture(scope="session")
def trained_small(small_data, tmp_path_factory):
    """Output folder of three epochs of the small network, the last of them evaluated."""
    output = tmp_path_factory.mktemp("trained")
    assert train_small(small_data, output) == 0
    return output
