"""Encoder backends and exported models: the network's codes; refused where they are not whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from helpers import COCO_LITE, file_size_limit
from small_network import SmallHashNet, values

from models import HashNet
from models.layers import Normalize
from utils.codes import pack_codes
from utils.datasets.images import open_image
from utils.datasets.transforms import build_transform
from utils.inference import export
from utils.inference.backends import DygraphBackend, InferenceBackend
from utils.inference.export import (
    ExportedBackend,
    Record,
    load_exported,
    normalize,
    read_exported,
    write_exported,
)
from utils.inference.predictor import Predictor
from utils.inference.program import PredictorOptions
from utils.system.errors import UserError
from utils.system.runtime import usable_gpus

IMAGES = np.zeros((1, 63, 63, 3), np.uint8)


def record_of(takes: str = "float", gives: str = "z", **rest) -> Record:
    """The record of a 16-bit model."""
    known = {"weights": "weights_16.pdparams", "weights_sha256": "0" * 64, "paddle": "3"}
    sizes = {"resize": "short_side", "resize_size": 256, "crop_size": 224, "fast_decode": False}
    return Record(**{"bit": 16, "input": takes, "output": gives, **sizes, **known, **rest})


@pytest.fixture(scope="module")
def network(weights_16):
    """HashNet for 16 bits, fitted to images so that its codes differ."""
    network = HashNet(16)
    network.load_weights(weights_16)
    network.eval()
    return network


def pixels_of(paths) -> np.ndarray:
    """What the evaluation transform makes of image files: [n, 224, 224, 3] uint8."""
    transform = build_transform("short_side", 256, 224)
    return np.stack([transform(open_image(path)) for path in paths])


@paddle.no_grad()
def z_of(network, images: np.ndarray) -> np.ndarray:
    """The network's own z, [n, 16]."""
    return network(Normalize()(paddle.to_tensor(images))).numpy()


@pytest.fixture(scope="module")
def drawn(network):
    """Some images of coco_lite, and the network's z of them."""
    images = pixels_of(sorted(COCO_LITE.rglob("*.jpg"))[::8])
    return images, z_of(network, images)


@pytest.fixture(scope="module")
def model(network, scratch):
    """A folder with an exported model of floats and z."""
    folder = scratch / "exported"
    written = write_exported(network, record_of(), folder)
    assert sorted(folder.iterdir()) == sorted(written), "nothing else is left there"
    return folder


def bits_differing(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where codes are not the signs of z, [n, bit] bool."""
    return np.unpackbits(codes, axis=1) != (z >= 0)


def assert_as_the_network(network, images: np.ndarray, z: np.ndarray, model: Path) -> None:
    """z within 1e-4 of the largest; codes equal wherever |z| is above that."""
    program, record = read_exported(model, 16)
    near = 1e-4 * np.abs(z).max()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    found = Predictor(program, PredictorOptions())(normalized)
    assert found.shape == z.shape and np.abs(found - z).max() < near
    exported = ExportedBackend(program, record, PredictorOptions())
    for backend in (exported, InferenceBackend(network, 224, PredictorOptions())):
        with backend:
            wrong = bits_differing(backend(images), z)
        assert not wrong[np.abs(z) > near].any()


def test_the_exported_model_gives_the_network_s_z_and_codes(network, drawn, model):
    assert_as_the_network(network, *drawn, model)


def test_so_it_does_for_real_photos(network, model, real_data):
    photos = pixels_of(sorted((real_data / "coco_photos").rglob("*.jpg")))
    assert len(photos) == 13
    assert_as_the_network(network, photos, z_of(network, photos), model)


def test_images_are_normalized_as_the_network_s_layer_does_to_the_bit():
    images = np.arange(3 * 256, dtype=np.uint8).reshape(2, 8, 16, 3)
    expected = Normalize()(paddle.to_tensor(images)).numpy()
    np.testing.assert_array_equal(normalize(images), expected, strict=True)


@pytest.mark.parametrize(("takes", "gives"), [("float", "codes"), ("uint8", "z")])
def test_every_kind_of_input_and_output_gives_the_same_codes(
    network, drawn, tmp_path, takes, gives
):
    images, z = drawn[0][:5], drawn[1][:5]
    write_exported(network, record_of(takes, gives), tmp_path)
    backend, record = load_exported(tmp_path, 16, PredictorOptions())
    assert (record.input, record.output) == (takes, gives)
    for size in (5, 1, 3):
        np.testing.assert_array_equal(backend(images[:size]), pack_codes(z[:size]))


def test_bfloat16_differs_in_few_bits_and_says_so(network, drawn):
    if not paddle.base.core.supports_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    images, z = drawn
    backend = InferenceBackend(network, 224, PredictorOptions(precision="bf16"))
    with backend:
        wrong = bits_differing(backend(images), z)
    assert backend.precision == "bf16"
    assert wrong.mean() < 0.03
    assert not wrong[np.abs(z) > 0.1 * np.abs(z).max()].any()
    uneven = InferenceBackend(SmallHashNet(16), 63, PredictorOptions(precision="bf16"))
    with uneven, pytest.raises(UserError, match=r"--precision bf16: .* images of this size; "):
        uneven(np.zeros((2, 63, 63, 3), np.uint8))


def test_the_backends_leave_the_network_and_what_it_computes_as_they_were(network, drawn):
    images, before = drawn[0][:2], values(network)
    z = z_of(network, images)
    for training in (True, False):
        network.train() if training else network.eval()
        inference = InferenceBackend(network, 224, PredictorOptions())
        for backend in (DygraphBackend(network), inference):
            with backend:
                backend(images)
            assert {layer.training for layer in network.sublayers(include_self=True)} == {training}
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(z_of(network, images), z)


def test_the_inference_backend_takes_the_weights_of_the_moment():
    network, images = SmallHashNet(16), np.zeros((2, 63, 63, 3), np.uint8)
    backend = InferenceBackend(network, 63, PredictorOptions())
    for value in (1e6, -1e6):
        network.classifier_plus[-1].bias.set_value(paddle.full([16], value))
        with backend:
            assert (backend(images) == (255 if value > 0 else 0)).all()


def test_neither_a_search_nor_an_export_needs_a_home(monkeypatch):
    monkeypatch.setenv("HOME", os.devnull)
    backend = InferenceBackend(SmallHashNet(16), 63, PredictorOptions())
    with backend:
        assert backend.z(np.zeros((1, 63, 63, 3), np.uint8)).shape == (1, 16)
    assert os.environ["HOME"] == os.devnull
    monkeypatch.delenv("HOME")
    with backend:
        assert "HOME" not in os.environ


@pytest.mark.skipif(usable_gpus() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_gpu": True}, "--use-gpu True: Paddle finds no GPU"),
        ({"use_tensorrt": True}, "--use-tensorrt True: TensorRT needs a GPU"),
        ({"precision": "fp16"}, "--precision fp16: needs a GPU"),
        ({"precision": "bf16", "use_mkldnn": False}, "--precision bf16: needs oneDNN"),
    ],
)
def test_what_the_machine_cannot_do_is_one_clear_error(options, message):
    with pytest.raises(UserError, match=message):
        PredictorOptions(**options).check()


@pytest.fixture()
def small(tmp_path):
    """An exported model of the small network, to be damaged."""
    write_exported(SmallHashNet(16), record_of(resize_size=64, crop_size=63), tmp_path)
    read_exported(tmp_path, 16)
    return tmp_path


def test_a_model_of_other_bits_is_missing_and_those_there_are_named(small):
    with pytest.raises(UserError, match=r"inference_32\.yaml: missing; .*holds inference_16"):
        read_exported(small, 32)


def test_files_that_do_not_belong_together_are_refused(small):
    parameters = small / "inference_16.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"inference_16\.pdiparams: is not what .*export it again"):
        read_exported(small, 16)


def test_a_model_that_is_replaced_while_it_is_loaded_is_refused(small, monkeypatch):
    def load_the_next(*of_the_first):
        backend = ExportedBackend(*of_the_first)
        write_exported(
            SmallHashNet(16),
            record_of(resize_size=64, crop_size=63, weights_sha256="1" * 64),
            small,
        )
        return backend

    monkeypatch.setattr(export, "ExportedBackend", load_the_next)
    with pytest.raises(UserError, match=r"was replaced while it was read; start again"):
        load_exported(small, 16, PredictorOptions())


def test_a_program_of_another_version_is_refused_and_not_left_by_an_export(small):
    other = {".json": ".pdmodel", ".pdmodel": ".json"}
    (program,) = (p for p in small.iterdir() if p.suffix in other)
    renamed = program.rename(program.with_suffix(other[program.suffix]))
    with pytest.raises(UserError, match=r"says nothing of inference_16"):
        read_exported(small, 16)
    write_exported(SmallHashNet(16), record_of(), small)
    assert program.is_file() and not renamed.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bit": "16"}, r"bit: expected int, found '16'"),
        ({"bit": 32}, r"is of 32 bits, --bit 16"),
        ({"files_sha256": 5}, r"says nothing of"),
        ({"output": "codes"}, r"_16\.\w+: gives float32 \(1, 16\), other than its record says"),
        ({"input": "uint8"}, r"cannot run .*inference_16\.\w+ on uint8 images"),
    ],
)
def test_a_damaged_record_is_told(small, change, message):
    path = small / "inference_16.yaml"
    record = {**yaml.safe_load(path.read_text(encoding="utf-8")), **change}
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        ExportedBackend(*read_exported(small, 16), PredictorOptions())(IMAGES)


def test_an_export_to_a_folder_that_paddle_cannot_name_is_told(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        write_exported(SmallHashNet(16), record_of(bit=16), folder)
    assert not list(folder.iterdir())


def test_an_export_into_a_full_disk_leaves_the_earlier_model(small):
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    network, record = SmallHashNet(512), record_of(bit=512)
    # Paddle 3 itself does not notice that parameters, of 28 KB, are cut off.
    with file_size_limit(24_000), pytest.raises(UserError, match=r"No space|too large"):
        write_exported(network, record, small)
    assert {path.name: path.read_bytes() for path in small.iterdir()} == before
