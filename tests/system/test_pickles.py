"""Weights come from strangers: nothing in them is run, whatever they ask for, nor takes long."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from fuzzing import only_user_errors
from small_network import SmallHashNet, values

from utils.system.pickles import RefusedPickle, load_plain
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
    rate, twice = np.float64(0.5), "a name that stands twice"
    arrays = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "large": np.arange(99_999, dtype=np.int16),
        "big-endian": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "flag": np.array(True),
        "empty": np.zeros((0, 4)),
        "text": np.array(["ü", "ab"]),
    }
    plain = {
        "rates": [rate, rate],
        "nested": OrderedDict(a=[1, 2.5, None, True, 1 << 80], b=("x", (3, 4)), c=b"\xff\x00"),
        "é": "ü" * 99_999,
        twice: [twice, {twice: ()}],
    }
    found = load_plain(pickle.dumps({**arrays, **plain}, protocol))
    assert found.keys() == arrays.keys() | plain.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert {name: found[name] for name in plain} == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Call(os.system, "true"), r"posix\.system"),
        (Call(eval, "1"), r"builtins\.eval"),
        (np.array([{}], dtype=object), "Python objects"),
        ([np.zeros(2), {"deep": (np.array([None]),)}], "Python objects"),
        (np.zeros(2, [("a", "f4")]), "Python objects or the like: V4"),
        (slice(3), r"builtins\.slice"),
        ({1}, "EMPTY_SET"),
        ({"a": {5: 1}}, "a name that is no text"),
    ],
)
def test_anything_else_is_refused_and_named(content, message):
    with pytest.raises(RefusedPickle, match=message):
        load_plain(pickle.dumps(content, 4))


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
FLOATS = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
OF_TWO = b"(K\x01K\x02\x85" + FLOATS + b"\x89U\x08\xe9bcdefghtb"
ENCODE = b"c_codecs\nencode\n"


def test_what_python_2_wrote_is_read():
    found = load_plain(b"\x80\x02}(U\x04dataU\x01\xe9U\x01a" + ARRAY + OF_TWO + b"u.")
    assert found["data"] == "é"
    np.testing.assert_array_equal(found["a"], np.frombuffer(b"\xe9bcdefgh", np.float32))


@pytest.mark.parametrize(
    "instructions",
    [
        # Arrays and dtypes that NumPy could not bear.
        ARRAY + OF_TWO.replace(b"K\x02", b"K\x03"),  # more numbers than bytes
        ARRAY + OF_TWO.replace(b"K\x02", b"J\xfe\xff\xff\xff"),  # a side of -2
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"K\x02"),  # a shape that is no tuple
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"(" + b"K\x01" * 40_000 + b"t"),
        ARRAY + OF_TWO.replace(b"K\x02\x85", b"(" + b"\x8a\x09" + b"\x01" * 9 + b"t"),
        ARRAY + OF_TWO.replace(b"U\x08\xe9bcdefgh", b"K\x01"),  # a number for bytes
        ARRAY + OF_TWO.replace(FLOATS, b"K\x01"),
        ARRAY + OF_TWO.replace(b"f4", b"V4"),
        ARRAY + OF_TWO.replace(b"f4", b"O8"),
        ARRAY + OF_TWO.replace(FLOATS, FLOATS + b"(K\x03U\x01<NU\x01aNtb"),
        FLOATS.replace(b"U\x02f4", b"]"),
        # Functions that arrays need, with other arguments.
        b"cnumpy.core.multiarray\nscalar\n(" + FLOATS.replace(b"f4", b"O8") + b"C\x01atR",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x08abcdefghcnumpy\ndtype\nU\x02O8\x85RK\x01\x85tR",
        ENCODE + b"U\x01aU\x05rot13\x86R",
        ENCODE + b"]U\x06latin1\x86R",
        # The inside of what it is given, objects of classes, what stands outside the file.
        ENCODE + b"N}U\x0c__defaults__U\x01x\x85s\x86b",
        b"c__builtin__\nset\n)\x81",
        b"(c__builtin__\nset\no",
        b"(i__builtin__\nset\n",
        b"\x82\x01",
        b"K\x01Q",
        b"}2\x86",
    ],
)
def test_no_instruction_reaches_numpy_or_python_where_they_trust_it(instructions):
    with pytest.raises((RefusedPickle, ValueError, TypeError, AttributeError, OverflowError)):
        load_plain(b"\x80\x04" + instructions + b".")


def numbers(count: int) -> bytes:
    """Whole numbers of one hash as the keys of a dict."""
    of_one = ((n * ((1 << 61) - 1)).to_bytes(10, "little") for n in range(1, count + 1))
    return b"}(" + b"".join(b"\x8a\x0a" + number + b"N" for number in of_one) + b"u"


LONG = (10**6).to_bytes(4, "little") + b"x" * 10**6 + b"q\0"
WASTE = {
    "lists": b"]" * 10**7,
    "15 bytes that claim 4 GiB": b"\x8d" + (1 << 32).to_bytes(8, "little") + b"abc",
    "a memory of 64 GiB": b"Nr\xff\xff\xff\xff",
    "a list that doubles": b"]q\0" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(40)),
    "a tuple that doubles, as a key": b"})q\0" + b"h\0h\0\x86q\0" * 40 + b"K\1s",
    "a deep tuple as a key": b"})" + b"\x85" * 10**5 + b"K\1s",
    "numbers that collide": numbers(30_000),
    "a large array many times": b"](" + ARRAY + OF_TWO + b"q\0" + b"h\0" * 10**6 + b"e",
    "a long text made bytes of": b"X" + LONG + (ENCODE + b"h\0U\x06latin1\x86R") * 9000,
    "a long text as a value": FLOATS.replace(b"\2f4", b"\x08S1000000")
    + b"q\1B"
    + LONG
    + b"cnumpy.core.multiarray\nscalar\nh\1h\0\x86R" * 9000,
    "an array of huge sides": ARRAY
    + OF_TWO.replace(b"K\2\x85", b"(" + b"\x8b".join([b""] + [LONG[:-2]] * 20) + b"t"),
}


@pytest.mark.parametrize("case", WASTE)
def test_waste_of_time_and_memory_is_refused_at_once(tmp_path, case):
    path = tmp_path / "a.pdparams"
    path.write_bytes(b"\x80\4" + WASTE[case] + b".")
    assert not only_user_errors(lambda: read_state(path, "weights"), path)


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
    assert "refused: it asks for posix.mkdir" in result.stderr
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.stderr
    assert not (harmful / MADE).exists()
