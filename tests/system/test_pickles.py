"""Weights come from strangers: nothing in them is run, whatever they ask for, nor takes long."""

from __future__ import annotations

import json
import operator
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from small_network import SmallHashNet, values

from utils.system.errors import UserError
from utils.system.pickles import MAX_TUPLES, RefusedPickle, load_plain
from utils.system.state_files import read_state

MADE = "made_by_a_stranger"


class Call:
    """A pickle that calls a function with arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_numbers_text_and_plain_containers_come_back(protocol):
    shared = ["a", 1]
    arrays = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "large": np.arange(99_999, dtype=np.int16),
        "big-endian": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "flag": np.array(True),
        "text": np.array(["ü", "ab"]),
    }
    plain = {
        "number": np.float64(0.5),
        "nested": OrderedDict(a=[1, 2.5, None, True, 1 << 80], b=("x", (3, 4)), c=b"\xff\x00"),
        "é": "ü" * 99_999,
        "shared": [shared, {"again": shared}],
    }
    found = load_plain(pickle.dumps({**arrays, **plain}, protocol))
    assert found.keys() == arrays.keys() | plain.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert {name: found[name] for name in plain} == plain


def test_text_of_python_2_comes_as_text_or_as_bytes():
    content = b"\x80\x02}U\x04dataU\x01\xe9s."
    assert load_plain(content) == {"data": "é"}
    assert load_plain(content, "bytes") == {b"data": b"\xe9"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Call(os.system, "true"), r"posix\.system"),
        (Call(eval, "1"), r"builtins\.eval"),
        (Call(getattr, {}, "clear"), r"builtins\.getattr"),
        (Call(pickle.loads, pickle.dumps(1)), r"_pickle\.loads|pickle\.loads"),
        (np.array([{}], dtype=object), "Python objects"),
        ([np.zeros(2), {"deep": (np.array([None]),)}], "Python objects"),
        (np.zeros(2, [("a", "f4")]), "Python objects or the like: V4"),
        (Path("x"), "pathlib"),
        (slice(3), r"builtins\.slice"),
        ({1}, "EMPTY_SET"),
        (frozenset({1}), "FROZENSET"),
    ],
)
def test_anything_else_is_refused_and_named(content, message):
    with pytest.raises(RefusedPickle, match=message):
        load_plain(pickle.dumps(content, 4))


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
FLOATS = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
OF_TWO = b"(K\x01K\x02\x85" + FLOATS + b"\x89C\x08abcdefghtb"


@pytest.mark.parametrize(
    "instructions",
    [
        # Arrays and dtypes that NumPy could not bear.
        ARRAY + OF_TWO.replace(b"K\x02", b"K\x03"),  # more numbers than bytes
        ARRAY + OF_TWO.replace(b"K\x02", b"J\xfe\xff\xff\xff"),  # a side of -2
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"K\x02"),  # a shape that is no tuple
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"(" + b"K\x01" * 40_000 + b"t"),
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"(" + b"\x8a\x09" + b"\x01" * 9 + b"t"),
        ARRAY + OF_TWO.replace(b"C\x08abcdefgh", b"K\x01"),  # a number for bytes
        ARRAY + OF_TWO.replace(FLOATS, b"K\x01"),
        ARRAY + OF_TWO.replace(b"f4", b"V4"),
        ARRAY + OF_TWO.replace(b"f4", b"O8"),
        ARRAY + OF_TWO.replace(FLOATS, FLOATS + b"(K\x03U\x01<NU\x01aNtb"),
        FLOATS.replace(b"U\x02f4", b"]"),
        # Functions that arrays need, with other arguments.
        b"cnumpy.core.multiarray\nscalar\n(" + FLOATS.replace(b"f4", b"O8") + b"C\x01at",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x08abcdefghcnumpy\ndtype\nU\x02O8\x85RK\x01\x85tR",
        b"c_codecs\nencode\n(U\x01aU\x05rot13tR",
        b"cbuiltins\ntuple\n](K\x01e\x85R",
        # The inside of what it is given, objects of classes, what stands outside the file.
        b"c__builtin__\nset\n)\x81",
        b"(c__builtin__\nset\no",
        b"(i__builtin__\nset\n",
        b"\x82\x01",
        b"K\x01Q",
        b"}2\x86",
    ],
)
def test_no_instruction_reaches_numpy_or_python_where_they_trust_it(instructions):
    found = load_plain(b"\x80\x04" + ARRAY + OF_TWO + b".")
    np.testing.assert_array_equal(found, np.frombuffer(b"abcdefgh", np.float32))
    with pytest.raises(RefusedPickle):
        load_plain(b"\x80\x04" + instructions + b".")


def lists(times: int) -> bytes:
    """Lists, each of which holds the one before twice; the last stands at that place too."""
    return b"]q\0" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, times + 1))


def tuples(remember: bytes = b"q\1") -> bytes:
    """A tuple that holds the one before twice, forty times, as the key of a dict."""
    again = b"0h\1h\1\x86" + remember
    return b"})\x85" + remember + again * 40 + b"K\1s"


def behind_a_frame(hidden: bytes) -> bytes:
    """Text that a frame's end cuts in two: the unpickler then reads on further than it says."""
    frame = b"\x95" + (7).to_bytes(8, "little") + b"\x8c\x14" + b"x" * 5
    return frame + b"y" * 15 + b"B" + len(hidden).to_bytes(4, "little") + hidden


def numbers(count: int) -> bytes:
    """Whole numbers of one hash as the keys of a dict."""
    of_one = ((n * ((1 << 61) - 1)).to_bytes(10, "little") for n in range(1, count + 1))
    return b"}(" + b"".join(b"\x8a\x0a" + number + b"N" for number in of_one) + b"u"


HUGE = b"\x8b" + (10**6).to_bytes(4, "little") + b"\x7f" * 10**6
WASTE = {
    "15 bytes that claim 4 GiB": b"\x8d" + (1 << 32).to_bytes(8, "little") + b"abc",
    "a memory of 64 GiB": b"Nr\xff\xff\xff\xff",
    "a memory of 64 GiB, in digits": b"Np4294967295\n",
    "a tuple that doubles, as a key": tuples(),
    "the same, remembered twice": tuples(b"q\0q\1"),
    "the same, remembered later": tuples(b"N0q\1"),
    "the same, hidden by a frame's end": behind_a_frame(tuples()),
    "a deep tuple as a key": b"})" + b"\x85" * 10**6 + b"K\1s",
    "too many tuples": b"(" + b")\x85" * (MAX_TUPLES + 1) + b"l",
    "too many numbers that collide": numbers(MAX_TUPLES + 1),
    "a dtype called like a list that doubles": lists(40) + b"cnumpy\ndtype\nh\x28\x85R",
    "an encoding called so": lists(40) + b"c_codecs\nencode\n(U\1ah\x28tR",
    "a long list made tuples of": b"]q\0(" + b"N" * 10**6 + b"ecbuiltins\ntuple\nh\0\x85R" * 9000,
    "a long text made bytes of": b"X\x40\x42\x0f\0"
    + b"x" * 10**6
    + b"q\0"
    + b"c_codecs\nencode\nh\0U\x06latin1\x86R" * 9000,
    "an array of huge sides": ARRAY + OF_TWO.replace(b"K\2\x85", b"(" + HUGE * 20 + b"t"),
    "numbers that collide": numbers(MAX_TUPLES),
    "lists that double": lists(40),
}
PROBE = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from utils.system.pickles import load_plain
for name, content in json.load(sys.stdin).items():
    began = time.monotonic()
    try:
        outcome = type(load_plain(bytes.fromhex(content))).__name__
    except Exception as error:
        outcome = type(error).__name__
    print(json.dumps([name, outcome, time.monotonic() - began]), flush=True)
"""


def test_waste_of_time_and_memory_is_refused_at_once():
    pytest.importorskip("resource", reason="this system has no limit of memory")
    program = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps({name: (b"\x80\4" + c + b".").hex() for name, c in WASTE.items()}),
        cwd=REPOSITORY,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    found = dict(map(operator.itemgetter(0, 1), map(json.loads, program.stdout.splitlines())))
    taken = {"numbers that collide": "dict", "lists that double": "list"}
    claimed = {"15 bytes that claim 4 GiB": "ValueError"}
    assert found == {**dict.fromkeys(WASTE, "RefusedPickle"), **taken, **claimed}


@pytest.fixture(scope="module")
def harmful(tmp_path_factory):
    """Weights and an optimizer's state, each of which would make a folder when unpickled."""
    folder = tmp_path_factory.mktemp("harmful")
    for ending in (".pdparams", ".pdopt"):
        state = {**values(SmallHashNet()), "extra": Call(os.mkdir, str(folder / MADE))}
        (folder / f"weights_8{ending}").write_bytes(pickle.dumps(state, 4))
    return folder


TRAIN = "--bit 8 --dataset coco_lite --epoch 1"
COMMANDS = [
    f"main_single_gpu.py {TRAIN} --eval --pretrained WEIGHTS",
    f"main_single_gpu.py {TRAIN} --pretrained WEIGHTS",
    f"main_single_gpu.py {TRAIN} --backbone-weights WEIGHTS.pdparams",
    f"main_single_gpu.py {TRAIN} --resume WEIGHTS --last-epoch 1",
    f"main_multi_gpu.py {TRAIN} --eval --nprocs 2 --device cpu --pretrained WEIGHTS",
    "predict.py --bit 8 --dataset coco_lite --pretrained WEIGHTS --img datasets/coco_lite/val2014",
    "export_model.py --bit 8 --pretrained WEIGHTS",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_harmful_weights(run, harmful, tmp_path, command):
    words = command.replace("WEIGHTS", str(harmful / "weights_8")).split()
    result = run(*words, "--output-dir", tmp_path)
    assert result.returncode == 2
    assert "refused: the file asks for posix.mkdir" in result.stderr
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.stderr
    assert not (harmful / MADE).exists()


def test_a_harmful_optimizer_s_state_is_refused(harmful):
    with pytest.raises(UserError, match=r"refused: the file asks for posix\.mkdir"):
        read_state(harmful / "weights_8.pdopt", "a state")
    assert not (harmful / MADE).exists()
