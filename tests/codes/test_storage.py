"""Database code files: what is written, what is read, and every bad file refused in one line."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from utils.codes import pack_codes
from utils.codes.storage import load_codes, provenance_differences, save_codes
from utils.system.errors import UserError

PROVENANCE = {
    "list": "database.txt",
    "list_sha256": "a1",
    "weights": "weights_64.pdparams",
    "weights_sha256": "b2",
    "transform": {"resize": 256, "crop": 224},
}
CODES = np.random.default_rng(0).integers(0, 256, (7, 8), dtype=np.uint8)
BIT = 64


class Trap:
    """An object whose unpickling leaves a trace."""

    unpickled = False

    def __reduce__(self):
        return setattr, (Trap, "unpickled", True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database_code_64.npy"


def refused(path: Path, message: str, bit: int | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_codes(path, bit)
    text = str(caught.value)
    assert "\n" not in text
    assert path.stem in text


def test_codes_and_provenance_come_back_and_are_replaced_together(path):
    save_codes(path, CODES, PROVENANCE, BIT)
    found, provenance = load_codes(path, 64)
    np.testing.assert_array_equal(found, CODES)
    assert found.dtype == np.uint8 and provenance == PROVENANCE
    assert provenance_differences(provenance, PROVENANCE) == []
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), CODES)
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (record["bit"], record["rows"], record["list"]) == (64, 7, "database.txt")
    save_codes(path, CODES[:3], {**PROVENANCE, "list_sha256": "c3"}, BIT)
    found, provenance = load_codes(path)
    assert len(found) == 3 and provenance["list_sha256"] == "c3"
    assert sorted(os.listdir(path.parent)) == ["database_code_64.json", "database_code_64.npy"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_published_float_format(path, dtype, order):
    signs = np.sign(np.random.default_rng(1).standard_normal((9, 64)))
    np.save(path, np.asarray(signs, dtype=dtype, order=order))
    found, provenance = load_codes(path, 64)
    np.testing.assert_array_equal(found, pack_codes(signs))
    assert provenance is None
    np.save(path, pack_codes(signs))
    np.testing.assert_array_equal(load_codes(path)[0], found)


def test_codes_of_another_length(path):
    save_codes(path, CODES, PROVENANCE, BIT)
    refused(path, "holds 64-bit codes, but 32 bits are wanted", bit=32)
    np.save(path, np.ones((4, 16), np.float32))
    refused(path, "holds 16-bit codes, but 32 bits are wanted", bit=32)


def header(text: bytes) -> bytes:
    """A .npy file with that header and four bytes of content."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(4)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" * 20,
        pickle.dumps(Trap()),
        header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 8), }"),
        header(b"{'descr': '|u1', 'fortran_order': False, }"),
        header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 8), }"),
        header(b"(" * 9000),
    ],
)
def test_not_numpy_or_a_damaged_header(path, content):
    path.write_bytes(content)
    refused(path, "not a NumPy .npy file of packed codes")
    assert not Trap.unpickled


def test_an_archive_and_objects_are_no_code_file(path):
    with path.open("wb") as file:
        np.savez(file, CODES)
    refused(path, "not a NumPy .npy file")
    np.save(path, np.array([[Trap()]], object), allow_pickle=True)
    refused(path, "Object arrays cannot be loaded")
    assert not Trap.unpickled


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(64, np.uint8), r"uint8 array of shape \(64,\)"),
        (np.zeros((4, 8), np.int64), "int64 array"),
        (np.zeros((4, 65), np.uint8), "520-bit codes"),
        (np.ones((4, 513), np.float32), "513-bit codes"),
        (np.full((4, 16), 0.5, np.float32), "row 0, column 0 holds 0.5; expected -1 or 1"),
        (np.where(np.arange(64).reshape(4, 16) == 37, 0.0, 1.0), "row 2, column 5 holds 0.0"),
    ],
)
def test_arrays_that_are_no_codes(path, array, message):
    np.save(path, array)
    refused(path, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON record"),
        (b"\xff\xfe\x00", "not a JSON record"),
        ("[1, 2]", "does not belong to the .npy beside it"),
        ('{"bit": 32, "rows": 7, "codes_sha256": ""}', "its bit differs"),
        ('{"bit": 64, "rows": 8, "codes_sha256": ""}', "its rows differs"),
        ('{"bit": 64, "rows": 7}', "its codes_sha256 differs"),
    ],
)
def test_damaged_records(path, content, message):
    save_codes(path, CODES, PROVENANCE, BIT)
    data = content if isinstance(content, bytes) else content.encode()
    path.with_suffix(".json").write_bytes(data)
    refused(path, message)


def test_a_pair_of_two_runs_is_noticed(path):
    # As after a run that died between the two files: new codes, the old record.
    save_codes(path, CODES, PROVENANCE, BIT)
    np.save(path, CODES[::-1])
    refused(path, "a run may have died between the two")


WITHOUT_WEIGHTS = {key: value for key, value in PROVENANCE.items() if key != "weights_sha256"}


@pytest.mark.parametrize(
    ("found", "change", "words"),
    [
        (PROVENANCE, {}, []),
        (PROVENANCE, {"weights_sha256": "x"}, ["the weights have changed"]),
        (PROVENANCE, {"list_sha256": "x"}, ["the list has changed"]),
        (PROVENANCE, {"transform": {"crop": 225}}, ["the transform has changed"]),
        (PROVENANCE, {"list": "elsewhere/database.txt", "weights": "copy.pdparams"}, []),
        (
            PROVENANCE,
            {"list_sha256": "x", "transform": None},
            ["the list has changed", "the transform has changed"],
        ),
        (PROVENANCE, {"normalisation": "z"}, ["the normalisation is not recorded"]),
        (WITHOUT_WEIGHTS, {}, ["the weights are not recorded"]),
        (None, {}, ["there is no record of what the codes are of"]),
    ],
)
def test_differences_in_plain_words(found, change, words):
    assert provenance_differences(found, {**PROVENANCE, **change}) == words


def test_a_length_that_fills_no_bytes_is_kept_in_the_record(tmp_path):
    path = tmp_path / "codes.npy"
    codes = pack_codes(np.random.default_rng(0).normal(size=(4, 12)))
    save_codes(path, codes, PROVENANCE, 12)
    found, provenance = load_codes(path, 12)
    np.testing.assert_array_equal(found, codes)
    assert provenance == PROVENANCE
    with pytest.raises(UserError, match="holds 12-bit codes, but 16 bits are wanted"):
        load_codes(path, 16)
    path.with_suffix(".json").unlink()
    assert load_codes(path, 12)[1] is None
