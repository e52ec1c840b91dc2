"""Exported models as ONNX: the bits of Paddle's, without Paddle; one line where a package lacks."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import COCO_LITE, REPOSITORY, fail, run_script, shorten_lists, succeed
from small_network import SmallHashNet
from test_export import bits_differing, pixels_of, record_of, z_of

from models import HashNet
from utils.inference import export, onnx
from utils.inference.export import load_exported, read_exported, write_exported
from utils.inference.program import PredictorOptions
from utils.system.errors import UserError

INFER = "deploy/inference_python/infer.py"
DATA = ["--bit", "16", "--dataset", "coco_lite"]


def without(*packages: str) -> list[str]:
    """How `infer.py` begins on a machine that lacks packages."""
    lacking = "".join(f"sys.modules[{name!r}] = None; " for name in packages)
    path = f"sys.path.insert(0, {str(REPOSITORY / INFER.rpartition('/')[0])!r}); "
    run = f"runpy.run_path({str(REPOSITORY / INFER)!r}, run_name='__main__')"
    return ["-c", f"import runpy, sys; {path}{lacking}{run}", *DATA]


@pytest.fixture(scope="module")
def packages():
    """Skips where what the extra installs is not there."""
    for package in ("paddle2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is of requirements-onnx.txt")


@pytest.fixture(scope="module")
def network(weights_16):
    """HashNet for 16 bits, fitted to images so that its codes differ."""
    network = HashNet(16)
    network.load_weights(weights_16)
    network.eval()
    return network


@pytest.fixture(scope="module")
def drawn(network):
    """Images of coco_lite, and the real photos where they are, with the network's z of them."""
    paths = sorted(COCO_LITE.rglob("*.jpg"))[::4]
    if "HASHNET_TEST_DATA" in os.environ:
        photos = sorted(Path(os.environ["HASHNET_TEST_DATA"], "coco_photos").rglob("*.jpg"))
        assert len(photos) == 13
        paths = photos + paths
    images = pixels_of(paths)
    return images, np.concatenate([z_of(network, part) for part in np.array_split(images, 8)])


@pytest.mark.parametrize(("takes", "gives"), [("float", "codes"), ("uint8", "z")])
def test_no_bit_differs_from_paddle_s(packages, network, drawn, tmp_path, takes, gives):
    (images, z), codes, records = drawn, [], []
    for format in ("paddle", "onnx"):
        write_exported(network, record_of(takes, gives), tmp_path, format)
        backend, record = load_exported(tmp_path, 16, PredictorOptions())
        codes.append(np.concatenate(list(map(backend, np.split(images, [1, 4])))))
        records.append((record, backend.precision))
    assert records[0] == records[1] and backend.program.suffix == ".onnx"
    assert "polygraphy" not in sys.modules, "no optimizer has run"
    differs = np.unpackbits(codes[0] ^ codes[1], axis=1).astype(bool)
    assert not differs[np.abs(z) > 1e-5 * np.abs(z).max()].any(), "but for rounding, next to 0"
    assert not bits_differing(codes[1], z)[np.abs(z) > 1e-4 * np.abs(z).max()].any()


def test_infer_needs_no_paddle_and_gives_the_same_answers(packages, weights_16, tmp_path):
    queries = sorted((COCO_LITE / "val2014").iterdir())[:8]
    flags = ["--json", "--save-path", tmp_path, "--img-path", *queries]
    flags += ["--list-path", shorten_lists(tmp_path / "lists", database=16)]
    answers = {}
    for format in ("paddle", "onnx"):
        folder = tmp_path / format
        export_flags = ["--format", format, "--save-inference-dir", folder]
        succeed("export_model.py", *DATA, "--pretrained", weights_16, *export_flags)
        command = [INFER, *DATA] if format == "paddle" else without("paddle")
        timed = ["--benchmark", "True", "--warmup", "0", "--batch-size", "2"]
        said = run_script(*command, "--model-dir", folder, *flags, *timed)
        answers[format] = json.loads(said.stdout)
    assert answers["onnx"] == answers["paddle"]
    for line in ("onnxruntime_version: ", "enable_mkldnn: False", "precision: fp32"):
        assert f"\n{line}" in said.stderr


def test_a_network_that_is_pooled_unevenly_is_not_converted(tmp_path):
    record = record_of(resize_size=300, crop_size=288)
    with pytest.raises(UserError, match=r"--crop-size 288: .*224 to 286 can be converted"):
        write_exported(HashNet(16), record, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def model(tmp_path, monkeypatch):
    """An ONNX model of the small network in a folder; what stands for it needs no package."""
    monkeypatch.setattr(export, "convert", lambda *_: b"a model")
    write_small(tmp_path, "onnx")
    return tmp_path


def write_small(folder, format: str) -> None:
    write_exported(SmallHashNet(16), record_of(resize_size=64, crop_size=63), folder, format)


def test_a_folder_has_a_model_in_one_format(model):
    for format, endings in (("onnx", {".onnx"}), ("paddle", None), ("onnx", {".onnx"})):
        write_small(model, format)
        found = {path.suffix for path in model.iterdir()} - {".yaml"}
        assert found == endings if endings else len(found) == 2 and ".onnx" not in found
        assert read_exported(model, 16)[0].suffix in found


def test_a_damaged_file_is_refused(model):
    (model / "inference_16.onnx").write_bytes(b"another")
    with pytest.raises(UserError, match=r"inference_16\.onnx: is not what inference_16\.yaml says"):
        read_exported(model, 16)


def test_what_is_no_onnx_model_is_one_line(packages, model):
    with pytest.raises(UserError, match=r"\.onnx: ONNX Runtime cannot run it: .*Protobuf"):
        load_exported(model, 16, PredictorOptions())


@pytest.mark.parametrize("options", [{"use_gpu": True}, {"precision": "bf16"}])
def test_what_an_onnx_model_does_not_run_with_is_one_line(model, options):
    with pytest.raises(UserError, match=r"\.onnx: an ONNX model runs on a CPU, in fp32: without "):
        load_exported(model, 16, PredictorOptions(**options))


def test_a_package_that_lacks_is_one_line_and_status_2(model, monkeypatch):
    flags = ["--model-dir", model, "--save-path", model]
    line = fail(*without("paddle", "onnxruntime"), *flags)
    assert line.startswith("error: ONNX: ") and "onnxruntime" in line
    assert line.endswith("; pip install -r requirements-onnx.txt")
    assert "inference_32.yaml: missing; " in fail(*without("paddle"), *flags, "--bit", "32")
    monkeypatch.setattr(export, "convert", onnx.convert)
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    before = sorted(path.read_bytes() for path in model.iterdir())
    with pytest.raises(UserError, match=r"ONNX: .*paddle2onnx.*; pip install -r requirements-onnx"):
        write_exported(HashNet(16), record_of(), model, "onnx")
    assert sorted(path.read_bytes() for path in model.iterdir()) == before
