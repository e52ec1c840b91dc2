"""Exported models: the same codes as the network, refused where they are not whole; infer.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from models.normalization import PictureNormalization
from utils.codes import pack_codes
from utils.datasets.transforms import CenterCrop
from utils.inference.backends import DygraphCoder, ExportedCoder, InferenceCoder
from utils.inference.export import Record, read_exported, write_exported
from utils.inference.predictor import Machine
from utils.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CODER_KINDS = [("float", "z"), ("float", "codes"), ("uint8", "z"), ("uint8", "codes")]


def record_of(takes: str = "float", gives: str = "z", **rest) -> Record:
    """The record of a 16-bit model."""
    known = {"weights": "weights_16.pdparams", "weights_sha256": "0" * 64, "paddle": "3"}
    sizes = {"resize": "short_side", "resize_size": 256, "crop_size": 224, "fast_decode": False}
    return Record(**{"bit": 16, "input": takes, "output": gives, **sizes, **known, **rest})


@pytest.fixture(scope="module")
def network(hashnet):
    """HashNet for 16 bits, fitted to pictures so that its codes differ, and back as it was."""
    import paddle

    from models.initialization import initialize_from_data

    before = {name: value.clone() for name, value in hashnet.state_dict().items()}
    paddle.seed(3)
    first = pixels_of(sorted((ROOT / "datasets/coco_lite/train2014").iterdir())[:16])
    initialize_from_data(hashnet, PictureNormalization()(paddle.to_tensor(first)))
    yield hashnet
    hashnet.set_state_dict(before)


def pixels_of(paths) -> np.ndarray:
    """What the evaluation transform makes of picture files: [n, 224, 224, 3] uint8."""
    transform = CenterCrop(256, 224)
    return np.stack([transform(Image.open(path).convert("RGB")) for path in paths])


def z_of(network, pictures: np.ndarray) -> np.ndarray:
    """The network's own z, [n, 16]."""
    import paddle

    with paddle.no_grad():
        return network(PictureNormalization()(paddle.to_tensor(pictures))).numpy()


@pytest.fixture(scope="module")
def drawn(network):
    """All pictures of coco_lite, and the network's z of them."""
    pictures = pixels_of(sorted((ROOT / "datasets/coco_lite").rglob("*.jpg")))
    return pictures, z_of(network, pictures)


@pytest.fixture(scope="module")
def model(network, scratch):
    """A folder with an exported model of floats and z."""
    folder = scratch / "exported"
    folder.mkdir()
    written = write_exported(network, record_of(), folder)
    assert sorted(folder.iterdir()) == sorted(written), "nothing else is left there"
    return folder


def bits_differing(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where codes are not the signs of z, [n, bit] bool."""
    return np.unpackbits(codes, axis=1) != (z >= 0)


def assert_as_the_network(network, pictures: np.ndarray, z: np.ndarray, model: Path) -> None:
    """z within 1e-4 of the largest; codes equal wherever |z| is above that."""
    from utils.inference.predictor import Predictor

    program, _ = read_exported(model, 16)
    predictor = Predictor(program, Machine())
    near = 1e-4 * np.abs(z).max()
    found = predictor(z_input(pictures))
    assert found.shape == z.shape and np.abs(found - z).max() < near
    for coder in (ExportedCoder(program, "float", "z", Machine()), inference_coder(network)):
        with coder:
            wrong = bits_differing(coder(pictures), z)
        assert not wrong[np.abs(z) > near].any()


def z_input(pictures: np.ndarray) -> np.ndarray:
    """Normalised pictures, by the definition: [n, 3, h, w] float32."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pictures / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)


def inference_coder(network, precision: str = "fp32") -> InferenceCoder:
    """The network through Paddle Inference."""
    return InferenceCoder(network, 224, Machine(precision=precision))


def test_the_exported_model_gives_the_network_s_z_and_codes(network, drawn, model):
    assert_as_the_network(network, *drawn, model)


def test_so_it_does_for_real_photos(network, model, real_data):
    photos = pixels_of(sorted((real_data / "coco_photos").rglob("*.jpg")))
    assert len(photos) == 13
    assert_as_the_network(network, photos, z_of(network, photos), model)


@pytest.mark.parametrize(("takes", "gives"), CODER_KINDS)
def test_every_kind_of_input_and_output_gives_the_same_codes(
    network, drawn, tmp_path, takes, gives
):
    pictures, z = drawn[0][:5], drawn[1][:5]
    write_exported(network, record_of(takes, gives), tmp_path)
    program, record = read_exported(tmp_path, 16)
    assert (record.input, record.output) == (takes, gives)
    coder = ExportedCoder(program, takes, gives, Machine())
    for size in (5, 1, 3):
        np.testing.assert_array_equal(coder(pictures[:size]), pack_codes(z[:size]))


def test_bfloat16_differs_in_few_bits_and_says_so(network, drawn):
    import paddle

    if not paddle.base.core.supports_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    pictures, z = drawn[0][:48], drawn[1][:48]
    coder = inference_coder(network, "bf16")
    with coder:
        wrong = bits_differing(coder(pictures), z)
    assert coder.precision == "bf16"
    assert wrong.mean() < 0.03
    assert not wrong[np.abs(z) > 0.1 * np.abs(z).max()].any()


def test_the_coders_leave_the_network_as_it_was(network):
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    for training in (True, False):
        network.train() if training else network.eval()
        for coder in (DygraphCoder(network), inference_coder(network)):
            with coder:
                coder(np.zeros((1, 224, 224, 3), np.uint8))
            assert {layer.training for layer in network.sublayers(include_self=True)} == {training}
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_what_is_computed_after_a_run_is_the_same_to_the_bit(network, drawn):
    pictures = drawn[0][:10]
    before = z_of(network, pictures)
    coder = inference_coder(network)
    with coder:
        coder(pictures)
    np.testing.assert_array_equal(z_of(network, pictures), before)


def test_the_inference_coder_takes_the_weights_of_the_moment(network, drawn):
    pictures = drawn[0][:2]
    coder = inference_coder(network)
    bias = network.classifier_plus[-1].bias
    with coder:
        before = coder(pictures)
    bias.set_value(bias + 1e6)
    try:
        with coder:
            assert (coder(pictures) == 255).all()
    finally:
        bias.set_value(bias - 1e6)
    assert (before != 255).any()


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Machine(use_gpu=True), "--use-gpu True: Paddle finds no GPU"),
        (Machine(use_tensorrt=True), "--use-tensorrt True: TensorRT needs a GPU"),
        (Machine(precision="fp16"), "--precision fp16: needs a GPU"),
        (Machine(precision="bf16", use_mkldnn=False), "--precision bf16: needs oneDNN"),
    ],
)
def test_what_the_machine_cannot_do_is_one_clear_error(machine, message):
    from utils.system.runtime import usable_gpus

    if usable_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=message):
        machine.check()


@pytest.fixture()
def copied(model, tmp_path):
    """A copy of the exported model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def test_a_model_of_other_bits_is_missing_and_those_there_are_named(copied):
    with pytest.raises(UserError, match=r"inference_32\.yaml: missing; .*holds inference_16"):
        read_exported(copied, 32)


def test_files_that_do_not_belong_together_are_refused(copied):
    parameters = copied / "inference_16.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"inference_16\.pdiparams: is not what .*export it again"):
        read_exported(copied, 16)


def test_a_program_of_another_version_is_refused(copied):
    other = {".json": ".pdmodel", ".pdmodel": ".json"}
    (program,) = (p for p in copied.iterdir() if p.suffix in other)
    program.rename(program.with_suffix(other[program.suffix]))
    with pytest.raises(UserError, match=r"says nothing of inference_16"):
        read_exported(copied, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bit": "16"}, r"bit: expected int, found '16'"),
        ({"bit": 32}, r"is of 32 bits, --bit 16"),
        ({"input": "text"}, r"unknown input or output"),
        ({"resize": None}, r"resize: expected str, found None"),
        ({"files_sha256": 5}, r"says nothing of"),
    ],
)
def test_a_damaged_record_is_told(copied, change, message):
    path = copied / "inference_16.yaml"
    record = {**yaml.safe_load(path.read_text(encoding="utf-8")), **change}
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_exported(copied, 16)


def test_an_export_that_breaks_off_leaves_the_earlier_model(network, copied, monkeypatch):
    from utils.inference import export as exported

    def break_off(*_):
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr(exported, "write_program", break_off)
    with pytest.raises(UserError, match="No space left on device"):
        write_exported(network, record_of("uint8", "codes"), copied)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
