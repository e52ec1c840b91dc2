"""Weights and states come from strangers: nothing in them is run, whatever they ask for."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest
from small_network import SmallHashNet, values

from utils.system.errors import UserError
from utils.system.pickles import RefusedPickle, load_plain
from utils.system.state_files import read_state

ROOT = Path(__file__).resolve().parents[2]
MADE = "made_by_a_stranger"


class Harm:
    """Unpickled by a reader that trusts it, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Call:
    """A pickle that calls a function with arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def dumped(content, protocol=4) -> io.BytesIO:
    """A pickle, open."""
    return io.BytesIO(pickle.dumps(content, protocol))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_numbers_text_and_plain_containers_come_back(protocol):
    content = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "big-endian": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 4), np.uint8),
        "flag": np.array(True),
        "number": np.float64(0.5),
        "nested": OrderedDict(a=[1, 2.5, None, True], b=("x", {3, 4}), c=b"\xff\x00"),
        "é": "ü",
    }
    found = load_plain(dumped(content, protocol))
    assert found.keys() == content.keys()
    for name in ("array", "big-endian", "fortran", "empty", "flag"):
        np.testing.assert_array_equal(found[name], content[name])
        assert found[name].dtype.newbyteorder("=") == content[name].dtype.newbyteorder("=")
    assert found["number"] == 0.5 and found["nested"] == content["nested"] and found["é"] == "ü"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Call(os.system, "true"), r"posix\.system"),
        (Call(eval, "1"), r"builtins\.eval"),
        (Call(getattr, {}, "clear"), r"builtins\.getattr"),
        (Call(pickle.loads, pickle.dumps(1)), r"_pickle\.loads|pickle\.loads"),
        (np.array([{}], dtype=object), r"Python objects in an array"),
        ([np.zeros(2), {"deep": (np.array([None]),)}], r"Python objects in an array"),
        (Path("x"), r"pathlib"),
        (slice(3), r"builtins\.slice"),
    ],
)
def test_anything_else_is_refused_and_named(content, message):
    with pytest.raises(RefusedPickle, match=message):
        load_plain(dumped(content))


@pytest.mark.parametrize(
    "arguments",
    [
        ("numpy._core.multiarray", "_reconstruct", (np.ndarray, (10**12,), b"b")),
        ("numpy._core.multiarray", "_reconstruct", (dict, (0,), b"b")),
        ("numpy._core.multiarray", "scalar", (np.dtype("O"), pickle.dumps(1))),
        ("numpy._core.numeric", "_frombuffer", (b"12345678", np.dtype("O"), (1,), "C")),
        ("_codecs", "encode", ("text", "rot13")),
    ],
)
def test_functions_that_arrays_need_take_no_other_arguments(arguments):
    module, name, given = arguments
    head = pickle.dumps(given, 2)
    pickled = f"c{module}\n{name}\n".encode() + head[2:-1] + b"R."
    with pytest.raises(RefusedPickle):
        load_plain(io.BytesIO(pickled))


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        (b"c_codecs\nencode\n(N}X\x09\x00\x00\x00_functionK\x01stb", "sets the inside"),
        (b"c_codecs\nencode\nK\x01K\x02s", "sets items of an object of function"),
        (b"c_codecs\nencode\n(K\x02\x90", "adds to an object of function"),
        (b"]}b", "sets the inside of an object of list"),
        (b"c__builtin__\nset\n)\x81", "an object of a class"),
        (b"(c__builtin__\nset\no", "an object of a class"),
        (b"(i__builtin__\nset\n", "an object of a class"),
        (b"\x82\x01", "an object of a class"),
        (b"cnumpy\nndarray\n", "an object of object"),
        (b"}((ttK\x01s", "an object of tuple as a name"),
        (b"(((tl\x91", "an object of list as a name or in a set"),
    ],
)
def test_a_pickle_cannot_reach_the_inside_of_what_it_is_given(instructions, message):
    with pytest.raises(RefusedPickle, match=message):
        load_plain(io.BytesIO(b"\x80\x04" + instructions + b"."))


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"
FLOATS = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
OF_TWO = b"(K\x01K\x02\x85" + FLOATS + b"\x89C\x08abcdefghtb"


def test_an_array_written_by_hand_is_read():
    found = load_plain(io.BytesIO(b"\x80\x04" + ARRAY + b"R" + OF_TWO + b"."))
    np.testing.assert_array_equal(found, np.frombuffer(b"abcdefgh", np.float32))


@pytest.mark.parametrize(
    "state",
    [
        OF_TWO.replace(b"K\x02", b"K\x03"),  # more numbers than bytes
        OF_TWO.replace(b"K\x02", b"J\xfe\xff\xff\xff"),  # a side of -2
        OF_TWO.replace(b"K\x02\x85", b"K\x02"),  # a shape that is no tuple
        OF_TWO.replace(b"C\x08abcdefgh", b"K\x01"),  # a number for bytes
        OF_TWO.replace(FLOATS, b"K\x01"),
        OF_TWO.replace(b"f4", b"V4"),
        OF_TWO.replace(b"f4", b"O8"),
        OF_TWO.replace(b"f4K\x00K\x01tR", b"f4K\x00K\x01tR(K\x03U\x01<NU\x01aNtb"),
        OF_TWO + OF_TWO,
    ],
)
def test_what_numpy_could_not_bear_never_reaches_it(state):
    with pytest.raises(RefusedPickle):
        load_plain(io.BytesIO(b"\x80\x04" + ARRAY + b"R" + state + b"."))


def test_a_tuple_too_deep_to_hash_is_refused():
    for made_of in (b"}%sK\x01s.", b"\x8f(%s\x90.", b"(%s\x91."):
        with pytest.raises(RefusedPickle, match="tuple as a name or in a set"):
            load_plain(io.BytesIO(b"\x80\x04" + made_of % (b")" + b"\x85" * 10**6)))


def test_a_pickle_that_repeats_itself_is_read_in_no_time():
    nested = []
    for _ in range(200):
        nested = [nested, nested]
    assert load_plain(dumped(nested))


@pytest.mark.parametrize("protocol", [2, 4])
def test_states_that_paddle_writes_are_read_as_paddle_reads_them(tmp_path, protocol):
    network = SmallHashNet()
    optimizer = paddle.optimizer.Momentum(0.1, parameters=network.parameters(), weight_decay=0.1)
    (network(paddle.ones([1, 3, 12, 12])) ** 2).sum().backward()
    optimizer.step()
    states = {"bank": network.state_dict(), "progress": {"epoch": 3}, "other": [{"a": "b"}]}
    for name, state in (
        ("a.pdparams", network.state_dict()),
        ("b.pdopt", optimizer.state_dict()),
        ("c.pdstates", states),
    ):
        path = tmp_path / name
        paddle.save(state, str(path), protocol=protocol)
        ours, theirs = read_state(path, "x"), paddle.load(str(path), return_numpy=True)
        assert ours.keys() == theirs.keys()
        compare(ours, theirs)


def compare(ours, theirs):
    """The same arrays and values, however deep."""
    if isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            compare(ours[name], theirs[name])
    else:
        assert ours == theirs


def test_large_arrays_that_were_cut_up_are_put_together(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    parts = {"w@@.0": whole.ravel()[:8], "w@@.1": whole.ravel()[8:]}
    note = {"w": {"OriginShape": (3, 4), "slices": ["w@@.0", "w@@.1"]}}
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({**parts, "UnpackBigParamInfor@@": note}, 2))
    (name,) = read_state(path, "x")
    np.testing.assert_array_equal(read_state(path, "x")[name], whole)


@pytest.mark.parametrize("cut", [0, 1, 2, 50, 500, -1])
def test_a_truncated_file_is_one_line(tmp_path, cut):
    path = tmp_path / "a.pdparams"
    paddle.save(SmallHashNet().state_dict(), str(path))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.pdparams: not a file of weights"):
        read_state(path, "weights")


@pytest.fixture(scope="module")
def harmful(tmp_path_factory):
    """Weights and a training's state, each of whose files would make a folder when unpickled."""
    folder = tmp_path_factory.mktemp("harmful")
    for ending in (".pdparams", ".pdopt", ".pdstates"):
        state = {**values(SmallHashNet()), "extra": Harm(folder / MADE)}
        (folder / f"weights_8{ending}").write_bytes(pickle.dumps(state, 4))
    return folder


TRAIN = ["--bit", "8", "--dataset", "coco_lite", "--epoch", "1"]
COMMANDS = {
    "evaluate": ["main_single_gpu.py", *TRAIN, "--eval", "--pretrained", "{weights}"],
    "begin": ["main_single_gpu.py", *TRAIN, "--pretrained", "{weights}"],
    "backbone": ["main_single_gpu.py", *TRAIN, "--backbone-weights", "{weights}.pdparams"],
    "resume": ["main_single_gpu.py", *TRAIN, "--resume", "{weights}"],
    "ranks": [
        *("main_multi_gpu.py", *TRAIN, "--eval", "--nprocs", "2", "--device", "cpu"),
        *("--pretrained", "{weights}"),
    ],
    "predict": [
        *("predict.py", "--bit", "8", "--dataset", "coco_lite", "--pretrained", "{weights}"),
        *("--img", "datasets/coco_lite/val2014"),
    ],
    "export": ["export_model.py", "--bit", "8", "--pretrained", "{weights}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_harmful_weights(run, harmful, tmp_path, command):
    words = [word.format(weights=harmful / "weights_8") for word in COMMANDS[command]]
    result = run(*words, "--output-dir", tmp_path)
    assert result.returncode == 2
    assert "refused: the file asks for posix.mkdir" in result.stderr
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.stderr
    assert not (harmful / MADE).exists()


@pytest.mark.parametrize("ending", [".pdopt", ".pdstates"])
def test_a_harmful_file_beside_good_weights_is_refused(harmful, tmp_path, ending):
    path = Path(shutil.copy(harmful / f"weights_8{ending}", tmp_path))
    with pytest.raises(UserError, match=r"refused: the file asks for posix\.mkdir"):
        read_state(path, "a state")
    assert not (harmful / MADE).exists()
