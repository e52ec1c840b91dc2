"""Fuzzing of what programs write: states, code files, pictures."""

from __future__ import annotations

import io
import json
import pickle
import warnings

import numpy as np
import paddle
import pytest
from conftest import drawn_picture
from fuzzing import cases, mutated, only_user_errors
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from small_network import SmallHashNet

from utils.codes.storage import load_codes, save_codes
from utils.datasets.images import open_picture
from utils.system.errors import UserError
from utils.system.pickles import load_plain
from utils.system.state_files import read_state
from utils.training.checkpoint import load_weights

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::UserWarning:PIL")]
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def states(scratch):
    """Real state files: weights, an optimizer's state, a training's state; three protocols."""
    layer = paddle.nn.Linear(3, 2)
    optimizer = paddle.optimizer.AdamW(0.1, parameters=layer.parameters())
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    training = {"bank": layer.state_dict(), "config": {"bit": 8, "lr": 0.1}, "ranks": None}
    contents = []
    for state in (SmallHashNet(8).state_dict(), optimizer.state_dict(), training):
        for protocol in (2, 3, 4):
            paddle.save(state, str(scratch / "state"), protocol=protocol)
            contents.append((scratch / "state").read_bytes())
    return contents


CODES = b"(.0Nj]}e)tsuabRhqrcVXKJG\x80\x81\x85\x86\x87\x88\x8a\x8f\x90\x93\x94\x95"
NAMES = [
    *(b"numpy.core.multiarray\n_reconstruct", b"numpy.core.multiarray\nscalar", b"numpy\nndarray"),
    *(b"numpy\ndtype", b"collections\nOrderedDict", b"__builtin__\nset", b"_codecs\nencode"),
    *(b"__builtin__\neval", b"os\nsystem"),
]
VALUES = [b"U\x02f4", b"K\x00", b"h\x00", b"C\x08abcdefgh", b"\x8c\x06latin1", b"\x8c\x04data"]
instructions = st.sampled_from(
    [*(bytes([code]) for code in CODES), *(b"c%b\n" % name for name in NAMES), *VALUES]
)
"""Of a pickle: most of those that a state has, with what they ask for, and some that harm."""


@cases(500)
@given(st.integers(0, 8), seeds)
def test_states_that_were_changed(scratch, states, which, seed):
    path = scratch / "state.pdparams"
    path.write_bytes(mutated(states[which], seed))
    only_user_errors(lambda: read_state(path, "trained weights"), path)


@cases(700)
@given(st.one_of(st.binary(max_size=100), st.lists(instructions, max_size=40).map(b"".join)))
def test_programs_of_pickle_instructions(scratch, content):
    path = scratch / "state.pdparams"
    path.write_bytes(content)
    only_user_errors(lambda: read_state(path, "trained weights"), path)


@cases(200)
@given(st.integers(0, 2), seeds)
def test_weights_are_loaded_whole_or_not_at_all(scratch, states, protocol, seed):
    path = scratch / "weights.pdparams"
    path.write_bytes(mutated(states[protocol], seed))
    network = SmallHashNet(8)
    before = network.features[0].weight.numpy().copy()
    if not only_user_errors(lambda: load_weights(path, network), path):
        np.testing.assert_array_equal(network.features[0].weight.numpy(), before)


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.binary()), inner, max_size=4),
    ),
    max_leaves=12,
)


@cases(400)
@given(plain, st.integers(2, 5))
def test_plain_values_are_read_as_pickle_reads_them(value, protocol):
    content = pickle.dumps(value, protocol)
    assert repr(load_plain(io.BytesIO(content))) == repr(pickle.loads(content))


@pytest.fixture(scope="module")
def codes(scratch):
    """A code file, its record, and the published format, as bytes."""
    packed = np.random.default_rng(0).integers(0, 256, (20, 2), dtype=np.uint8)
    path = scratch / "codes.npy"
    save_codes(path, packed, {"list": "a.txt", "list_sha256": "ab", "transform": "t"})
    published = io.BytesIO()
    np.save(published, np.ones((3, 16), np.float32))
    return path.read_bytes(), path.with_suffix(".json").read_bytes(), published.getvalue()


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
records = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from(["bit", "rows", "codes_sha256", "list"]), json_values, max_size=4
    ).map(lambda record: json.dumps(record).encode()),
    st.just(b"[" * 100_000),
    st.just(b"9" * 10_000),
)


@cases(600)
@given(st.booleans(), seeds, st.one_of(st.none(), records, seeds))
def test_code_files(scratch, codes, published, seed, record):
    path = scratch / "changed.npy"
    content = codes[2] if published else codes[0]
    path.write_bytes(mutated(content, seed) if seed % 3 else content)
    beside = path.with_suffix(".json")
    if record is None:
        beside.unlink(missing_ok=True)
    else:
        beside.write_bytes(record if isinstance(record, bytes) else mutated(codes[1], record))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only_user_errors(lambda: load_codes(path), scratch / "changed")


@cases(300)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n")
def test_bytes_as_codes(scratch, content):
    path = scratch / "bytes.npy"
    path.write_bytes(content)
    only_user_errors(lambda: load_codes(path), path)


@pytest.fixture(scope="module")
def pictures():
    """Small pictures of all formats, as bytes."""
    drawn = drawn_picture(20, 12)
    kinds = [("RGB", form, {}) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
    kinds += [("CMYK", "JPEG", {}), ("L", "JPEG", {}), ("RGBA", "PNG", {}), ("P", "PNG", {})]
    kinds += [("1", "PNG", {}), ("P", "GIF", {}), ("RGB", "JPEG", {"progressive": True})]
    kinds += [("RGB", "TIFF", {"compression": "tiff_lzw"})]
    pictures = [(drawn.convert(mode), form, details) for mode, form, details in kinds]
    grey = Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20) * 200)
    contents = []
    for picture, form, details in (*pictures, (grey, "PNG", {})):
        file = io.BytesIO()
        picture.save(file, form, **details)
        contents.append(file.getvalue())
    return contents


@cases(1500)
@given(st.integers(0, 15), seeds)
def test_pictures_that_were_changed(scratch, pictures, which, seed):
    path = scratch / "picture.jpg"
    path.write_bytes(mutated(pictures[which % len(pictures)], seed))
    try:
        picture = open_picture(path, "a list, line 1")
    except UserError as error:
        assert str(path) in str(error) and len(str(error).splitlines()) == 1
    else:
        assert picture.mode == "RGB" and min(picture.size) > 0


@cases(300)
@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6\n"]
    ),
    st.binary(max_size=200),
)
def test_bytes_as_pictures(scratch, start, content):
    path = scratch / "bytes.png"
    path.write_bytes(start + content)
    only_user_errors(lambda: open_picture(path), path)
