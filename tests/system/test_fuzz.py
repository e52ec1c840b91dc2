"""Fuzzing of every file that is read: each is taken or refused in one line that names it."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import warnings
import zipfile

import numpy as np
import paddle
import pytest
import yaml
from fuzzing import cases, mutated, only_user_errors
from helpers import drawn_image
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from small_network import SmallHashNet, values

from scripts.convert_weights import read_torch_weights
from scripts.prepare import coco, voc2012
from utils.codes.storage import load_codes, save_codes
from utils.config import PREDICT_COMMAND, TRAIN_COMMAND, Config, parse_config
from utils.datasets import open_splits
from utils.datasets.images import open_image
from utils.datasets.info import INFO_FILE, read_dataset_info
from utils.inference.export import Record, read_exported
from utils.system.state_files import read_state, read_training_state, write_training_state

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::Warning:PIL")]
seeds = st.integers(0, 2**32)
noise = st.one_of(st.binary(), st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))


def words_of(words, between=b""):
    """Bytes made of known words in any order."""
    return st.lists(st.sampled_from(words), max_size=40).map(between.join)


def written(path, content):
    """Writes a file and gives its path."""
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def states(scratch):
    """Weights, an optimizer's state and plain values in three protocols; a training state."""
    layer = paddle.nn.Linear(3, 2)
    optimizer = paddle.optimizer.AdamW(0.1, parameters=layer.parameters())
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    plain = {"bank": layer.state_dict(), "config": {"bit": 8, "lr": 0.1}, "ranks": None}
    path, contents = scratch / "state.npz", []
    for state in (SmallHashNet(8).state_dict(), optimizer.state_dict(), plain):
        for protocol in (2, 3, 4):
            paddle.save(state, str(path), protocol=protocol)
            contents.append(path.read_bytes())
    write_training_state(path, {"network": values(SmallHashNet(8))}, {"epoch": 1})
    return [*contents, path.read_bytes()]


CODES = b"(.0Nj]}e)tsuabRhqrcVXKJG\x80\x81\x85\x86\x87\x88\x8a\x8f\x90\x93\x94\x95"
NAMES = [b"numpy.core.multiarray\n_reconstruct", b"numpy.core.multiarray\nscalar", b"numpy\ndtype"]
NAMES += [b"numpy\nndarray", b"collections\nOrderedDict", b"_codecs\nencode", b"__builtin__\neval"]
VALUES = [b"U\x02f4", b"K\x00", b"h\x00", b"C\x08abcdefgh", b"\x8c\x06latin1", b"\x8c\x04data"]
INSTRUCTIONS = [*(b"%c" % code for code in CODES), *(b"c%b\n" % name for name in NAMES), *VALUES]
"""Of a pickle: most of those that a state has, with what they ask for, and some that harm."""


@cases(1900)
@given(st.one_of(st.integers(0, 9), words_of(INSTRUCTIONS), st.binary()), seeds)
def test_states(scratch, states, what, seed):
    content = what if isinstance(what, bytes) else mutated(states[what], seed)
    read = read_training_state if what == 9 else lambda path: read_state(path, "weights")
    path = written(scratch / "state", content)
    only_user_errors(lambda: read(path), path)


@pytest.fixture(scope="module")
def codes(scratch):
    """A code file, its record, and the published format, as bytes."""
    packed = np.random.default_rng(0).integers(0, 256, (20, 2), dtype=np.uint8)
    path, published = scratch / "codes.npy", io.BytesIO()
    save_codes(
        path, packed, {"list": "a.txt", "list_sha256": "ab", "transform": "t"}, 8 * packed.shape[1]
    )
    np.save(published, np.ones((3, 16), np.float32))
    return path.read_bytes(), path.with_suffix(".json").read_bytes(), published.getvalue()


RECORD = b'{"bit": [16], "rows": 1e999, "codes_sha256": null, "list": "a"}'
records = st.one_of(noise, st.sampled_from([RECORD, b"[" * 100_000, b"9" * 10_000]))


@cases(900)
@given(st.one_of(st.sampled_from([0, 2]), noise), seeds, st.one_of(st.none(), records, seeds))
def test_code_files(scratch, codes, what, seed, record):
    content = what if isinstance(what, bytes) else codes[what]
    path = written(scratch / "changed.npy", mutated(content, seed) if seed % 3 else content)
    beside = path.with_suffix(".json")
    beside.unlink(missing_ok=True)
    if record is not None:
        written(beside, record if isinstance(record, bytes) else mutated(codes[1], record))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only_user_errors(lambda: load_codes(path), scratch / "changed")


@pytest.fixture(scope="module")
def images():
    """Small images of all formats, as bytes."""
    drawn = drawn_image(20, 12)
    grey = Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20) * 200)
    kinds = [("RGB", form, {}) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
    kinds += [("CMYK", "JPEG", {}), ("L", "JPEG", {}), ("RGBA", "PNG", {}), ("P", "PNG", {})]
    kinds += [("1", "PNG", {}), ("P", "GIF", {}), ("RGB", "JPEG", {"progressive": True})]
    kinds += [("RGB", "TIFF", {"compression": "tiff_lzw"}), (None, "PNG", {})]
    contents = []
    for mode, form, details in kinds:
        file = io.BytesIO()
        (drawn.convert(mode) if mode else grey).save(file, form, **details)
        contents.append(file.getvalue())
    return contents


STARTS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6\n"]
started = st.builds(bytes.__add__, st.sampled_from(STARTS), st.binary())


@cases(1800)
@given(st.one_of(st.integers(0, 15), started), seeds)
def test_images(scratch, images, what, seed):
    content = what if isinstance(what, bytes) else mutated(images[what], seed)
    path, opened = written(scratch / "image.jpg", content), []
    if only_user_errors(lambda: opened.append(open_image(path, "a list, line 1")), path):
        assert opened[0].mode == "RGB" and min(opened[0].size) > 0


LIST = b"a b.png 0 1 0\n\nfolder/c.png 1 1 0\r\n./d.png  0 0 1\n../e.png 0 1 1\n"
PATHS = [b"0", b"1", b"2", b"a.png", b"../a.png", b"/a.png", b"..", b" ", b"\t", b"\n", b"\r\n"]
PATHS += [b"\0", "é".encode(), "\ufeff".encode()]


@cases(700)
@given(
    st.one_of(noise, words_of(PATHS, b" "), st.builds(mutated, st.just(LIST), seeds)), st.booleans()
)
@example(LIST, False)
@example(LIST, True)
def test_lists(scratch, content, allow_outside):
    written(scratch / INFO_FILE, yaml.safe_dump(INFO).encode())
    info, path = read_dataset_info(str(scratch)), written(scratch / "train.txt", content)
    only_user_errors(
        lambda: open_splits(info, ["train"], str(scratch), allow_outside=allow_outside), path
    )


known = ["coco_lite", "list", "cifar10", "square", "1e-3", "rest", "train", 0, 16, 10**30]
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.text())
yaml_values = st.recursive(
    st.one_of(leaves, st.binary(max_size=4), st.sampled_from(known)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
YAML_WORDS = [*map(b"%c".__mod__, b"[]{}|>#%~'\"a\n"), b"---", b"2001-99-99", b"1:60", b"0o8"]
YAML_WORDS += [b"- ", b": ", b"? ", b"  ", b"&a ", b"*a", b"<<: ", b"!!int ", b"!!binary "]
YAML_WORDS += [b"9" * 30, b":59" * 900, b"[" + b"a," * 9000, b"%d: " % (2**61 - 1)]
YAML_WORDS += [b"!!timestamp ", b"!!set ", b"!!omap ", b"!!python/name:os ", b".nan"]


def yaml_of(keys, good):
    """YAML bytes: words, known keys with values of any kind, a good file with some changed."""
    entries = st.dictionaries(st.sampled_from(sorted(keys)), yaml_values, max_size=6)
    files = st.one_of(entries, st.builds(lambda more: {**good, **more}, entries)).map(
        lambda content: yaml.safe_dump(content, allow_unicode=True).encode()
    )
    return st.one_of(noise, words_of(YAML_WORDS), files, st.builds(mutated, files, seeds))


INFO = {"name": "n", "num_class": 3, "topK": -1, "data_path": ".", "classes": ["a", "b", "c"]}
INFO_KEYS = [*INFO, "kind", "lists", "resize", "protocol", "provenance", "unknown"]


@cases(700)
@given(yaml_of(INFO_KEYS, INFO))
@example(b"[" * 100_000)
@example(b"a: " + b"9" * 10_000)
@example(b"a: 1" + b":59" * 340_000)
@example(b"a: [" + b"b," * 500_000)
@example(b"a: {" + b",".join(b"%d: 1" % (n * (2**61 - 1)) for n in range(1, 36_000)) + b"}")
def test_dataset_yaml(scratch, content):
    path = written(scratch / INFO_FILE, content)
    only_user_errors(lambda: read_dataset_info(str(scratch)), path)


@cases(700)
@given(yaml_of(Config.options(), {"bit": 16, "topK": 5, "pretrained": None}))
def test_settings_files(scratch, content):
    path = written(scratch / "settings.yaml", content)
    for command in (TRAIN_COMMAND, PREDICT_COMMAND):
        only_user_errors(lambda c=command: parse_config(c, ["--config", str(path)]), "")


PARTS = ("inference_8.json", "inference_8.pdiparams")
EXPORTED = Record(8, "uint8", "z", "square", 256, 224, False, "w", "ab", "3.3.1").__dict__
HASHES = {"files_sha256": dict.fromkeys(PARTS, hashlib.sha256(b"").hexdigest())}


@cases(700)
@given(yaml_of([*EXPORTED, *HASHES], {**EXPORTED, **HASHES}))
@example(yaml.safe_dump({**EXPORTED, "files_sha256": {PARTS[0]: "", "../a": ""}}).encode())
def test_records_of_exported_models(scratch, content):
    for name in PARTS:
        written(scratch / name, b"")
    path = written(scratch / "inference_8.yaml", content)
    only_user_errors(lambda: read_exported(str(scratch), 8), path.with_suffix(""))


flags = st.sampled_from([f"--{name}" for name in Config.options()] + ["--", "-bs", "-e"])
arguments = st.one_of(flags, st.text(st.characters(exclude_characters="\0"), max_size=300))


@cases(400)
@given(st.lists(arguments.filter(lambda word: word not in ("-h", "--help")), max_size=5))
@example(["--config", "x" * 300])
def test_command_lines(words):
    only_user_errors(lambda: parse_config(TRAIN_COMMAND, words), "")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=4,
)
COCO, VOC = (read_dataset_info(name).classes for name in ("coco", "voc2012"))
INSTANCES = {
    "images": [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg"} for n in range(3)],
    "annotations": [{"image_id": 1, "category_id": 2, "bbox": [0.5, 1]}],
    "categories": [{"id": number, "name": name} for number, name in enumerate(COCO)],
}
entries = st.lists(st.dictionaries(st.sampled_from(sorted(coco.KEYS)), json_values), max_size=3)
changes = st.dictionaries(st.sampled_from(sorted(INSTANCES)), st.one_of(json_values, entries))
instances = changes.map(lambda changed: json.dumps({**INSTANCES, **changed}).encode())
JSON_WORDS = [*map(b"%c".__mod__, b'[]{},:"0-.e'), b'"images"', b'"id"', b"NaN", b"1e999", b"null"]


@cases(700)
@given(st.one_of(noise, words_of(JSON_WORDS), instances, st.builds(mutated, instances, seeds)))
@example(b"[" * 100_000)
@example(json.dumps(INSTANCES).replace('"id": 1', '"id": ' + "9" * 5000).encode())
def test_coco_s_annotations(scratch, content):
    path = written(scratch / "instances.json", content)
    only_user_errors(lambda: coco._read_annotations(path, COCO), path)


XML = b"<annotation><object><name>dog</name><difficult>1</difficult></object></annotation>"
XML_WORDS = [b"<object>", b"</object>", b"<name>", b"</name>", b"dog", b"<a/>", b"&lt;", b"&#0;"]
XML_WORDS += [b"<!DOCTYPE a [", b"<!ENTITY b 'c'>", b"]>", b"&b;", b"<![CDATA[", b"<!--", b"<?a ?>"]


@cases(700)
@given(st.one_of(noise, words_of(XML_WORDS), st.builds(mutated, st.just(XML), seeds)))
@example(b"<object>" * 100_000)
@example(b"<a b='" + b"x" * 10**6 + b"'/>")
@example(XML.decode().encode("utf-16"))
def test_voc_s_annotations(scratch, content):
    path = written(scratch / "a.xml", content)
    only_user_errors(lambda: voc2012._labels(path, VOC, False), path)


saved = st.dictionaries(st.sampled_from(sorted(Config.options())), json_values, max_size=6)


@cases(400)
@given(st.one_of(saved, json_values))
@example({"epoch": 10**400})
@example({"dataset": "x" * 5000})
@example({"dataset": "\ud800"})
def test_settings_saved_with_a_state(scratch, settings):
    path = scratch / "last_8.npz"
    write_training_state(path, {"network": {"a": np.zeros(1)}}, {"settings": settings})
    only_user_errors(lambda: parse_config(TRAIN_COMMAND, ["--resume", str(path)]), "")


TORCH = [b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"Q", b"\x80\2"]
TORCH += [b"X\x07\0\0\0storage", b"X\1\0\0\0" + b"0", b"\x85", b"\x87", b"K\2", b"\x89"]


@cases(700)
@given(words_of([*INSTRUCTIONS, *TORCH]), st.booleans(), seeds)
def test_weights_of_pytorch(scratch, program, is_zip, seed):
    content = b"".join(pickle.dumps(head, 2) for head in (1, 1001, {})) + program
    if is_zip:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\2" + program)
            archive.writestr("a/data/0", bytes(16))
        content = file.getvalue()
    path = written(scratch / "a.pth", mutated(content, seed) if seed % 2 else content)
    only_user_errors(lambda: read_torch_weights(path), path)
