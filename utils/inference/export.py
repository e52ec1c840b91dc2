"""Exported models: a program for Paddle Inference or ONNX Runtime, and a record of what it is.

    inference_64.json (Paddle 2.6: .pdmodel)   the program
    inference_64.pdiparams                     its parameters
    inference_64.onnx                          instead of the two: both, for ONNX Runtime
    inference_64.yaml                          the record: `Record`, and the files' hashes

The record is written last. Where it and the files beside it do not belong together (an export that
was cut off), the model is refused. Paddle is imported for its own programs alone.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
import yaml

from models import IMAGENET_MEAN, IMAGENET_STD
from utils.codes import pack_codes, packed_bytes
from utils.datasets.info import RESIZES, read_yaml_mapping
from utils.datasets.transforms import MAX_SIDE, Transform, build_transform
from utils.inference.encoder import Backend
from utils.inference.onnx import OnnxPredictor, convert
from utils.inference.program import (
    ONNX,
    PARAMETERS,
    PROGRAM_ENDINGS,
    PredictorOptions,
    files_of,
    program_of,
)
from utils.system.errors import UserError, reason, short_repr
from utils.system.files import sha256_of_file, write_text
from utils.system.runtime import precision_on

if TYPE_CHECKING:
    from models.hashnet import HashingNetwork

_CHOICES = (("float", "uint8"), ("z", "codes"), RESIZES)
"""Of a record's input, output and resize."""
REMEDY = "export it again with export_model.py"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What an exported model is, and how its images are made.

    Attributes:
        input: 'float' (normalized images [n, 3, side, side] float32) or 'uint8' (RGB images
            [n, side, side, 3] uint8, normalized inside).
        output: 'z' ([n, bit] float32) or 'codes' ([n, bit / 8] uint8, packed).
        resize: like the two sizes, as for `utils.datasets.transforms.build_transform`.
        weights: name of the weights' file; then its hash.
        paddle: version that has exported it.
        data_set: what the weights were trained on; empty where that is not known.
    """

    bit: int
    input: str
    output: str
    resize: str
    resize_size: int
    crop_size: int
    fast_decode: bool
    weights: str
    weights_sha256: str
    paddle: str
    data_set: str = ""

    def transform(self) -> Transform:
        """What images go through before the network."""
        return build_transform(self.resize, self.resize_size, self.crop_size, self.fast_decode)

    def fingerprint(self) -> dict[str, str]:
        """Name and hash of the weights, for the provenance of codes."""
        return {"weights": self.weights, "weights_sha256": self.weights_sha256}


def write_exported(
    network: HashingNetwork, record: Record, folder: str | os.PathLike, format: str = "paddle"
) -> list[Path]:
    """Writes a network and its record; an earlier model is replaced when the new one is complete.

    The `format` is 'paddle' or 'onnx'; of a code length a folder has one of them. Returns the paths
    of the files, in a folder that is made where it is missing.
    """
    import paddle

    from models.layers import Binarize, Normalize
    from utils.inference.predictor import write_program

    folder, side = Path(folder), record.crop_size
    if record.input == "uint8":
        layers, shape, dtype = [Normalize(), network], [None, side, side, 3], "uint8"
    else:
        layers, shape, dtype = [network], [None, 3, side, side], "float32"
    if record.output == "codes":
        layers.append(Binarize(record.bit))
    prefix = folder / f"inference_{record.bit}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export_", dir=folder) as new:
            program = write_program(
                paddle.nn.Sequential(*layers), shape, dtype, record.output, Path(new, prefix.name)
            )
            if format == "onnx":
                model = convert(program, network, side)
                program = program.with_suffix(ONNX)
                program.write_bytes(model)
            hashes = {path.name: sha256_of_file(path) for path in files_of(program)}
            for ending in (*PROGRAM_ENDINGS, PARAMETERS, ONNX):
                prefix.with_suffix(ending).unlink(missing_ok=True)
            for name in hashes:
                os.replace(Path(new, name), folder / name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {reason(error)}") from error
    path = prefix.with_suffix(".yaml")
    text = yaml.safe_dump({**asdict(record), "files_sha256": hashes}, sort_keys=False)
    write_text(path, text)
    return [*(folder / name for name in hashes), path]


class ExportedBackend(Backend):
    """An exported model, as a backend of the encoder.

    As its record says, it takes 'uint8' (the images as they are) or 'float' (normalized here), and
    gives 'z' (packed here) or 'codes'.
    """

    def __init__(self, program: Path, record: Record, options: PredictorOptions):
        engine_name = ", TensorRT" if options.use_tensorrt else ""
        self.precision = precision_on(options.use_gpu, options.precision) + engine_name
        self.program, self._takes, is_z = program, record.input, record.output == "z"
        self._gives = ("f", record.bit) if is_z else ("u", packed_bytes(record.bit))
        if program.suffix == ONNX:
            self._predictor = OnnxPredictor(program, options)
        else:
            from utils.inference.predictor import Predictor

            self._predictor = Predictor(program, options)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        output = self._predictor(normalize(images) if self._takes == "float" else images)
        if (output.dtype.kind, *output.shape[1:]) != self._gives:
            found = f"{output.dtype} {output.shape}"
            raise UserError(f"{self.program}: gives {found}, other than its record says; {REMEDY}")
        return pack_codes(output) if output.dtype.kind == "f" else output


def normalize(images: np.ndarray) -> np.ndarray:
    """As `models.layers.Normalize`, to the bit: [n, h, w, 3] uint8 → [n, 3, h, w] float32."""
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    scale, shift = 1 / (255 * std), -mean / std
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    pixels *= scale.astype(np.float32).reshape(3, 1, 1)
    pixels += shift.astype(np.float32).reshape(3, 1, 1)
    return pixels


def load_exported(
    folder: str, bit: int, options: PredictorOptions
) -> tuple[ExportedBackend, Record]:
    """Loads an exported model; see `read_exported`, which finds the same before and after it."""
    program, record = found = read_exported(folder, bit)
    backend = ExportedBackend(program, record, options)
    if read_exported(folder, bit) != found:
        raise UserError(f"{program}: was replaced while it was read; start again")
    _log.info(f"----- Exported model: {program}")
    return backend, record


def read_exported(folder: str, bit: int) -> tuple[Path, Record]:
    """Finds an exported model and checks that its files belong together.

    Returns the program's path and the record. Raises a `UserError` where the model is missing, cut
    off, of other bits, or not one.
    """
    prefix = Path(folder, f"inference_{bit}")
    path = prefix.with_suffix(".yaml")
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in Path(folder).glob("inference_*.yaml")))
        raise UserError(
            f"{path}: missing; --model-dir names the folder that export_model.py wrote"
            + (f"; it holds {there}" if there else "")
        )
    entries = {"data_set": "", **read_yaml_mapping(path, "the record of an exported model")}
    hashes = entries.pop("files_sha256", None)
    record = _record_from(path, entries)
    if record.bit != bit:
        raise UserError(f"{path}: is of {record.bit} bits, --bit {bit} was asked for")
    program = program_of(prefix)
    if not isinstance(hashes, dict) or program.name not in hashes:
        raise UserError(f"{path}: says nothing of {program.name}; {REMEDY}")
    for part in files_of(program):
        if sha256_of_file(part) != hashes.get(part.name):
            raise UserError(f"{part}: is not what {path.name} says; {REMEDY}")
    return program, record


def _record_from(path: Path, entries: dict[str, Any]) -> Record:
    wanted = get_type_hints(Record)
    for name, kind in wanted.items():
        if type(entries.get(name)) is not kind:
            found = short_repr(entries[name]) if name in entries else "nothing"
            raise UserError(f"{path}: {name}: expected {kind.__name__}, found {found}; {REMEDY}")
    record = Record(**{name: entries[name] for name in wanted})
    if (record.input, record.output, record.resize) not in itertools.product(*_CHOICES):
        raise UserError(f"{path}: unknown input, output or resize; {REMEDY}")
    if not 63 <= record.crop_size <= record.resize_size < MAX_SIDE:
        raise UserError(f"{path}: sizes that cannot be: {record.crop_size}; {REMEDY}")
    return record
