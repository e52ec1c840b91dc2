"""Weights and training states on disk: Paddle's pickles read strictly, our .npz without pickles."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from utils.system.errors import UserError
from utils.system.files import MAX_TEXT, atomic_write, open_untrusted
from utils.system.pickles import load_plain

if TYPE_CHECKING:
    import paddle  # what reads a state's record has no need of it

WEIGHTS, OPTIMIZER, TRAINING = ".pdparams", ".pdopt", ".npz"
MAX_STATE = 1 << 36
MAX_RECORD = 1 << 23
"""Bytes of a state file and of its record, at most."""
_log = logging.getLogger(__name__)
_MAX_PARTS = 10_000
_CUT_UP = "UnpackBigParamInfor@@"
_INTERNAL_NAMES = "StructuredToParameterName@@"
_RECORD = "record.npy"


def find_state(prefix: str | os.PathLike, *endings: str) -> Path:
    """`output/weights_64`, or a file beside it → the file of that name and an ending that is there.

    A path with one of the endings stays, where it is there; the others come in the order of
    preference. Where no file is there, the path as it is, or with the first of the endings.
    """
    text = os.fspath(prefix)
    if text.endswith(endings) and os.path.isfile(text):
        return Path(text)
    stem, ending = os.path.splitext(text)
    prefixes = (text, stem) if ending in (WEIGHTS, OPTIMIZER, TRAINING, ".json") else (text,)
    for each, known in itertools.product(prefixes, endings):
        if os.path.isfile(each + known):
            return Path(each + known)
    return Path(text if ending in endings else prefixes[-1] + endings[0])


def read_state(path: Path, expected: str) -> tuple[dict[str, Any], dict[str, str], str]:
    """Reads a state dict of Paddle's format; its tensors come as NumPy arrays.

    Returns:
        The state dict; the parameters' internal names, after which optimizer states are named, and
        which depend on all layers that a process had made; the SHA-256 of the bytes read.

    Raises:
        UserError: the file is missing, is not `expected`, or asks for anything else than a state
            needs (`utils.system.pickles`); then nothing of it was run.
    """
    with open_untrusted(path, expected, MAX_STATE) as file:
        content = file.read()
        state = load_plain(content)
        if not isinstance(state, dict):
            raise ValueError(f"found {type(state).__name__}")
        for name, whole in state.pop(_CUT_UP, {}).items():  # large tensors, as `paddle.save` cuts
            slices = [state.pop(part) for part in whole["slices"]]
            state[name] = np.concatenate(slices).reshape(tuple(whole["OriginShape"]))
        table = state.pop(_INTERNAL_NAMES, {})
        internal_names = {name: each for name, each in table.items() if isinstance(each, str)}
        for name, value in state.items():
            is_pair = isinstance(value, (list, tuple)) and len(value) == 2
            if is_pair and isinstance(value[1], np.ndarray):  # a tensor's internal name before it
                state[name] = value[1]
        return state, internal_names, hashlib.sha256(content).hexdigest()


def write_training_state(
    path: Path, parts: dict[str, dict[str, np.ndarray]], record: dict[str, Any]
) -> None:
    """Writes a training state as one .npz file, whole or not at all.

    `parts`, such as 'network' and 'optimizer', are name → array each; `record` is everything else,
    in JSON values.
    """
    arrays = {}
    for part, known in parts.items():
        arrays.update({f"{part}/{name}.npy": array for name, array in known.items()})
    # The last one: it is missing where others are.
    arrays[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    # As `numpy.savez` does; that leaves the archive open where the disk is full, and Python then
    # shows a traceback when it is closed at last.
    with atomic_write(path, alone=True) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)


def read_weights_record(path: Path, sha256: str) -> dict[str, Any]:
    """What a training has written of weights, in the .json beside them; nothing for other bytes."""
    try:
        with open_untrusted(path.with_suffix(".json"), "a record of weights", MAX_TEXT) as file:
            record = json.loads(file.read())
            return record if record["weights_sha256"] == sha256 else {}
    except UserError:
        return {}


def setting_of(record: dict[str, Any], *keys: str) -> str | None:
    """A text among the settings of a record, of weights or of a training state, or None."""
    value: Any = record
    for key in ("settings", *keys):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def warn_of_other_data(
    path: str | os.PathLike, trained_on: str | None, dataset: str | None
) -> None:
    """Warns where weights were trained on another data set than they are used on, both known."""
    if trained_on and dataset and trained_on != dataset:
        _log.warning(f"{path}: weights of the data set {trained_on}, used here on {dataset}")


def read_record(path: Path) -> dict[str, Any]:
    """Reads the record of a training state alone, which takes no time.

    Raises a `UserError` where the file is missing, damaged or not a training state.
    """
    with open_untrusted(path, "a training state", MAX_STATE) as file, open_stored(file) as archive:
        return _record_in(archive)


def open_stored(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a zip archive whose parts are together no larger than the file."""
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if any(m.compress_type for m in members) or size > os.fstat(file.fileno()).st_size:
        raise ValueError("its parts are compressed or overlap")
    if len(members) > _MAX_PARTS:
        raise ValueError(f"it has {len(members):,} parts")
    return archive


def _record_in(archive: zipfile.ZipFile) -> dict[str, Any]:
    member = archive.getinfo(_RECORD)
    if member.file_size > MAX_RECORD:
        raise ValueError("its record is too large")
    record = json.loads(_array_in(archive, member).tobytes())
    if not isinstance(record, dict):
        raise ValueError("its record is no JSON object")
    return record


def _array_in(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as part:
        array = np.lib.format.read_array(part, allow_pickle=False)
        part.read()  # to the end, where the checksum is compared
        return array


def read_training_state(
    path: Path,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any], str]:
    """Reads what `write_training_state` wrote; the zip format's checksums tell damage.

    Returns the parts, the record, and the SHA-256 of the file. Raises a `UserError` where the file
    is missing, damaged or not a training state.
    """
    with open_untrusted(path, "a training state", MAX_STATE) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        parts: dict[str, dict[str, np.ndarray]] = {}
        with open_stored(file) as archive:
            for member in archive.infolist():
                if member.filename != _RECORD:
                    part, _, name = member.filename[: -len(".npy")].partition("/")
                    parts.setdefault(part, {})[name] = _array_in(archive, member)
            return parts, _record_in(archive), digest.hexdigest()


def assign_strictly(
    layer: paddle.nn.Layer, state: dict[str, Any], source: str, partial: tuple[str, ...] = ()
) -> None:
    """Sets all parameters of a layer; a missing or surplus name or another shape is an error.

    The state (name → array of real numbers) leaves names with a beginning of `partial` alone; the
    message names its `source`. Where an error is found, nothing is set.
    """
    parameters = {n: p for n, p in layer.state_dict().items() if not n.startswith(partial)}
    missing = sorted(parameters.keys() - state.keys())
    surplus = sorted(map(str, state.keys() - parameters.keys()))
    if missing or surplus:
        found = [f"missing: {', '.join(missing)}"] if missing else []
        found += [f"unknown: {', '.join(surplus)}"] if surplus else []
        raise UserError(f"{source}: not weights of this network; {'; '.join(found)}")
    for name, parameter in parameters.items():
        array, wanted = state[name], tuple(parameter.shape)
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.shape != wanted:
            is_array = isinstance(array, np.ndarray)
            found = f"{array.dtype} {list(array.shape)}" if is_array else type(array).__name__
            raise UserError(f"{source}: {name} is {found}, the network's is float {list(wanted)}")
    for name, parameter in parameters.items():
        parameter.set_value(state[name].astype(np.float32))
