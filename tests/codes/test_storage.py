"""Database code files: what is written, what is read, and every bad file refused in one line."""

from __future__ import annotations

import json
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


class Trap:
    """An object whose unpickling leaves a trace."""

    unpickled = False

    def __reduce__(self):
        return setattr, (Trap, "unpickled", True)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 8), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database_code_64.npy"


def refused(path: Path, message: str, bit: int | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_codes(path, bit)
    text = str(caught.value)
    assert "\n" not in text
    assert path.stem in text


def test_codes_and_provenance_come_back(codes, path):
    save_codes(path, codes, PROVENANCE)
    found, provenance = load_codes(path, 64)
    np.testing.assert_array_equal(found, codes)
    assert found.dtype == np.uint8
    assert provenance == PROVENANCE
    assert provenance_differences(provenance, PROVENANCE) == []


def test_the_files_are_what_they_say(codes, path):
    save_codes(path, codes, PROVENANCE)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), codes)
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (record["bit"], record["rows"], record["list"]) == (64, 7, "database.txt")
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "database_code_64.json",
        "database_code_64.npy",
    ]


def test_saving_again_replaces_both_files(codes, path):
    save_codes(path, codes, PROVENANCE)
    save_codes(path, codes[:3], {**PROVENANCE, "list_sha256": "c3"})
    found, provenance = load_codes(path)
    assert len(found) == 3
    assert provenance["list_sha256"] == "c3"


def test_codes_without_a_record(codes, path):
    np.save(path, codes)
    found, provenance = load_codes(path, 64)
    np.testing.assert_array_equal(found, codes)
    assert provenance is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_published_float_format(path, dtype, order):
    signs = np.sign(np.random.default_rng(1).standard_normal((9, 64)))
    np.save(path, np.asarray(signs, dtype=dtype, order=order))
    found, provenance = load_codes(path, 64)
    np.testing.assert_array_equal(found, pack_codes(signs))
    assert provenance is None


def test_codes_of_another_length(codes, path):
    save_codes(path, codes, PROVENANCE)
    refused(path, "holds 64-bit codes, but 32 bits are wanted", bit=32)
    np.save(path, np.ones((4, 16), np.float32))
    refused(path, "holds 16-bit codes, but 32 bits are wanted", bit=32)


def test_a_missing_file(path):
    refused(path, "cannot be read: No such file")


def test_a_folder_in_its_place(path):
    path.mkdir()
    refused(path, "cannot be read")


@pytest.mark.parametrize("size", [0, 3, 6, 40, 128, 130, 183])
def test_a_truncated_file(codes, path, size):
    np.save(path, codes)
    whole = path.read_bytes()
    assert size < len(whole)
    path.write_bytes(whole[:size])
    refused(path, "not a whole NumPy .npy file")


@pytest.mark.parametrize(
    "content", [b"hello", b"\x89PNG\r\n\x1a\n" * 20, b"PK\x03\x04" + bytes(99)]
)
def test_not_numpy(path, content):
    path.write_bytes(content)
    refused(path, "not a whole NumPy .npy file")


def test_an_archive_of_arrays_is_no_code_file(codes, path):
    with path.open("wb") as file:
        np.savez(file, codes)
    refused(path, "not a whole NumPy .npy file")


def test_objects_are_never_unpickled(path):
    np.save(path, np.array([[Trap()]], object), allow_pickle=True)
    refused(path, "Object arrays cannot be loaded")
    path.write_bytes(pickle.dumps(Trap()))
    refused(path, "not a whole NumPy .npy file")
    assert not Trap.unpickled


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 8), }", "not a whole"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8), }", "not a whole"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (1L, 8), }", "not a whole|shape"),
        (b"{'descr': '|u1', 'fortran_order': False, }", "not a whole"),
        (b"{'descr': ('u1', 'x', 'y', 3), 'fortran_order': 0, 'shape': (1, 8), }", "not a whole"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': ((", "not a whole"),
        (b"\xff\xfe((((", "not a whole"),
        (b"(" * 9000, "not a whole"),
    ],
)
def test_a_damaged_header(path, header, message):
    length = len(header).to_bytes(2, "little")
    path.write_bytes(b"\x93NUMPY\x01\x00" + length + header + bytes(4))
    refused(path, message)


def test_damaged_bytes_anywhere_never_raise_anything_else(codes, path):
    np.save(path, codes)
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    outcomes = set()
    for _ in range(1500):
        damaged = bytearray(whole)
        for place in rng.integers(0, 128, rng.integers(1, 4)):
            damaged[place] = rng.choice([*b"0'{}(),:L ", rng.integers(0, 256)])
        path.write_bytes(damaged)
        try:
            load_codes(path)
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(64, np.uint8), r"uint8 array of shape \(64,\)"),
        (np.zeros((2, 2, 8), np.uint8), "expected packed codes"),
        (np.zeros((4, 8), np.int64), "int64 array"),
        (np.zeros((4, 8), complex), "complex128 array"),
        (np.array([["a"] * 8]), "array of shape"),
        (np.zeros((4, 0), np.uint8), "0-bit codes"),
        (np.zeros((4, 65), np.uint8), "520-bit codes"),
        (np.ones((4, 12), np.float32), "12-bit codes"),
        (np.full((4, 16), 0.5, np.float32), "row 0, column 0 holds 0.5; expected -1 or 1"),
        (np.where(np.arange(64).reshape(4, 16) == 37, 0.0, 1.0), "row 2, column 5 holds 0.0"),
        (np.full((4, 16), np.nan), "holds nan"),
    ],
)
def test_arrays_that_are_no_codes(path, array, message):
    np.save(path, array)
    refused(path, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[1, 2]", "expected an object with bit, rows, codes_sha256"),
        ('{"bit": 64, "rows": 7}', "expected an object with"),
        ('{"bit": 32, "rows": 7, "codes_sha256": ""}', "says bit 32, but the .npy .* has 64"),
        ('{"bit": 64, "rows": 8, "codes_sha256": ""}', "says rows 8, but the .npy .* has 7"),
        ('{"bit": 64, "rows": 7, "codes_sha256": ""}', "does not belong to the .npy"),
        (b"\xff\xfe\x00", "not a JSON file"),
    ],
)
def test_damaged_records(codes, path, content, message):
    save_codes(path, codes, PROVENANCE)
    data = content if isinstance(content, bytes) else content.encode()
    path.with_suffix(".json").write_bytes(data)
    refused(path, message)


def test_a_pair_of_two_runs_is_noticed(codes, path):
    # As after a run that died between the two files: new codes, the old record.
    save_codes(path, codes, PROVENANCE)
    np.save(path, codes[::-1])
    refused(path, "a run may have died between the two")


def test_a_failed_write_leaves_the_old_pair(codes, path, monkeypatch):
    save_codes(path, codes, PROVENANCE)

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_codes(path, codes[:2], {})
    np.testing.assert_array_equal(load_codes(path)[0], codes)


def test_what_cannot_be_saved(codes, path):
    with pytest.raises(UserError, match="expected packed codes"):
        save_codes(path, codes.astype(np.float32), PROVENANCE)
    with pytest.raises(ValueError, match="bit"):
        save_codes(path, codes, {"bit": 64})
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights_sha256": "x"}, ["the weights have changed"]),
        ({"list_sha256": "x"}, ["the list has changed"]),
        ({"transform": {"resize": 256, "crop": 225}}, ["the transform has changed"]),
        ({"list": "elsewhere/database.txt", "weights": "copy.pdparams"}, []),
        (
            {"list_sha256": "x", "transform": None},
            ["the list has changed", "the transform has changed"],
        ),
        ({"normalisation": "z"}, ["the normalisation is not recorded"]),
    ],
)
def test_differences_in_plain_words(change, words):
    assert provenance_differences(PROVENANCE, {**PROVENANCE, **change}) == words


def test_differences_of_incomplete_records():
    assert provenance_differences(None, PROVENANCE) == [
        "there is no record of what the codes are of"
    ]
    found = {key: value for key, value in PROVENANCE.items() if key != "weights_sha256"}
    assert provenance_differences(found, PROVENANCE) == ["the weights are not recorded"]
    assert provenance_differences({**PROVENANCE, "more": 1}, PROVENANCE) == []
    assert provenance_differences({"size": [1, 2]}, {"size": (1, 2)}) == []
